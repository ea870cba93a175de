"""A text that a model has read, whatever holds its keys and values, and texts kept for later.

Whatever is read gives the same scores, to the last bit, whoever else is served meanwhile: a runtime
lets texts share a call only where that is so. The same holds for a text that continues a kept one,
by construction: numbers depend, in their last bits, on how many tokens one call reads, so texts are
read in pieces of one fixed size, and of a kept text only such whole pieces count. What an answer's
own tokens left in the cache, one by one, is read again in pieces.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from arena.models.local.onnx.protocol import Plan
from arena.models.local.onnx.sampling import Floats


class TokenSequence(ABC):
    """Tokens that were read, with their keys and values.

    Args:
        plan: the model's bounds.
        capacity: most tokens it may come to hold.
        long: whether LongRoPE's long factors serve it.
    """

    def __init__(self, plan: Plan, capacity: int, *, long: bool) -> None:
        limit = plan.short_context
        if limit:
            capacity = max(capacity, limit + 1) if long else min(capacity, limit)
        self.capacity = capacity
        self.long = long
        self.held = 0
        self.whole = 0
        """Tokens that were read in whole pieces, counted from the beginning."""
        self._chunk = plan.chunk

    def read(self, ids: Sequence[int]) -> None:
        """Read on; at most a piece at a time, so that others need not wait long.

        Raises:
            RuntimeError, MemoryError: the runtime's own; the text is of no use after it.
        """
        self._read(ids)
        self._has_read(len(ids))

    def _has_read(self, count: int) -> None:
        if self.whole == self.held and count == self._chunk:
            self.whole += count
        self.held += count

    def rewind(self, held: int) -> None:
        """Forget all but the first tokens."""
        if held < self.held:
            self._rewind(held)
        self.held = held
        self.whole = min(self.whole, held - held % self._chunk)

    @abstractmethod
    def scores(self) -> Floats:
        """One number for each token that could follow."""

    @abstractmethod
    def _read(self, ids: Sequence[int]) -> None: ...

    @abstractmethod
    def _rewind(self, held: int) -> None: ...


class Runtime(Protocol):
    """A loaded model.

    Attributes:
        plan: what it was loaded by.
        together: most texts that are written on in one call.
        why_alone: why that is one; else empty.
        engine: its name in the facts.
        versions: of its libraries.
        kv_itemsize: bytes of one number in the cache.
    """

    plan: Plan
    together: int
    why_alone: str
    engine: str
    versions: dict[str, str]
    kv_itemsize: int

    def text(self, capacity: int, *, long: bool) -> TokenSequence:
        """An empty one.

        Raises:
            RuntimeError, MemoryError: there is no room for it.
        """

    def write(self, texts: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        """Let each text read its one token; at most `together`, and none of them long if several.

        Raises:
            RuntimeError, MemoryError: the runtime's own; of several, each can be tried again.
        """


@dataclass(slots=True, eq=False)
class Kept:
    """A text, all its tokens (those that it has yet to read, too), and how long it is kept."""

    text: TokenSequence
    ids: list[int]
    until: float


class PrefixCache:
    """Texts whose answer has ended, the oldest first.

    Args:
        plan: how many, how long, and the size of a piece.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._kept: list[Kept] = []

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def tokens(self) -> int:
        """What they take of the cache."""
        return sum(kept.text.capacity for kept in self._kept)

    def put(self, text: TokenSequence, ids: list[int]) -> None:
        """Keep it; `ids` are its tokens and those that it has yet to read."""
        if self._plan.keep == 0 or len(ids) < self._plan.chunk:
            return
        text.rewind(text.whole)
        self._kept.append(Kept(text, ids, time.monotonic() + self._plan.keep_s))
        while len(self._kept) > self._plan.keep:
            self.drop_oldest()

    def find(self, ids: Sequence[int], capacity: int, *, long: bool) -> tuple[Kept, int] | None:
        """The kept text that shares the longest beginning with these ids, and that length.

        Whole pieces count, and at least one token is left to be read: the scores come with it.
        """
        best: tuple[Kept, int] | None = None
        for kept in self._kept:
            text = kept.text
            if text.long != long or text.capacity < capacity:
                continue
            shared = _common(ids, kept.ids, min(text.whole, len(ids) - 1))
            shared -= shared % self._plan.chunk
            if shared > (best[1] if best else 0):
                best = kept, shared
        return best

    def take(self, kept: Kept, shared: int) -> TokenSequence:
        """It leaves the shelf, cut to what is shared."""
        self._kept.remove(kept)
        kept.text.rewind(shared)
        return kept.text

    def drop_oldest(self, spare: Kept | None = None) -> bool:
        """Make room, but for one that is to stay; whether there was something to drop."""
        for kept in self._kept:
            if kept is not spare:
                self._kept.remove(kept)
                return True
        return False

    def drop_old(self) -> float | None:
        """Drop what was kept long enough; seconds until the next one, None without any."""
        now = time.monotonic()
        self._kept = [kept for kept in self._kept if kept.until > now]
        return min((kept.until - now for kept in self._kept), default=None)

    def settle(self) -> bool:
        """Read one piece of an answer anew, so that its continuation begins at once.

        Called when there is nothing else to do. Returns whether there was anything to read.
        """
        size = self._plan.chunk
        for kept in reversed(self._kept):
            text = kept.text
            if text.whole + size <= min(len(kept.ids), text.capacity):
                text.read(kept.ids[text.whole : text.whole + size])
                return True
        return False


def _common(first: Sequence[int], second: Sequence[int], most: int) -> int:
    """Length of the beginning that both share."""
    most = min(most, len(first), len(second))
    for index in range(most):
        if first[index] != second[index]:
            return index
    return most
