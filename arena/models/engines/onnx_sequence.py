"""One text in one `Generator` of ONNX Runtime GenAI, and texts kept for their continuation.

Whatever is read gives the same scores, to the last bit, whoever else is served meanwhile, since
each text has a generator of its own and no batch exists. The same holds for a text that continues
a kept one, by construction: numbers depend, in their last bits, on how many tokens one call reads,
so texts are read in pieces of one fixed size, and of a kept text only such whole pieces count. What
an answer's own tokens left in the cache, one by one, is read again in pieces.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import onnxruntime_genai as og

from arena.models.engines.onnx_protocol import Plan
from arena.models.engines.onnx_sampling import Floats

Foreign: TypeAlias = Any
"""An object of ONNX Runtime GenAI, which has no types."""


class Runtime:
    """The loaded model; makes generators."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        config = og.Config(plan.folder)
        config.overlay(_overlay(plan))
        self._model: Foreign = og.Model(config)

    def generator(self, capacity: int, mask: Foreign = None) -> Foreign:
        """A fresh one with room for so many tokens.

        Args:
            capacity: its memory is taken at once, and does not grow.
            mask: an attention mask of ours, which it reads anew at every step.
        """
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=capacity, do_sample=False)
        generator = og.Generator(self._model, params)
        if mask is not None:
            generator.set_model_input(self.plan.mask, mask)
        return generator


def _overlay(plan: Plan) -> str:
    import json

    decoder: dict[str, object] = {
        "session_options": {
            "intra_op_num_threads": plan.threads,
            # Threads that spin while they wait take the cores from the page.
            "session.intra_op.allow_spinning": "0",
        }
    }
    if plan.short_context:
        # A name that the model does not have, so that the mask is ours; see `Text`.
        decoder["inputs"] = {"attention_mask": f"no_{plan.mask}"}
    return json.dumps({"model": {"decoder": decoder}})


class Text:
    """Tokens that were read, with their keys and values.

    A model with LongRoPE chooses its rotary factors at every call by the width of the attention
    mask. Left alone, it would read the first pieces of a long text with the short factors and the
    rest with the long ones. So the mask is ours: as wide as the text may become, within the short
    context or beyond it, and with as many ones as there are tokens.

    Args:
        runtime: the model.
        capacity: most tokens it may come to hold.
        long: whether LongRoPE's long factors serve it.
    """

    def __init__(self, runtime: Runtime, capacity: int, *, long: bool) -> None:
        limit = runtime.plan.short_context
        if limit:
            capacity = max(capacity, limit + 1) if long else min(capacity, limit)
            self._mask = np.zeros((1, capacity), dtype=np.int64)
        self.capacity = capacity
        self.long = long
        self.held = 0
        self.whole = 0
        """Tokens that were read in whole pieces, counted from the beginning."""
        self._chunk = runtime.plan.chunk
        self._masked = bool(limit)
        self._generator = runtime.generator(capacity, self._mask if limit else None)

    def read(self, ids: Sequence[int]) -> None:
        """Read on; at most a piece at a time, so that others need not wait long.

        Raises:
            RuntimeError, MemoryError: the runtime's own; the text is of no use after it.
        """
        if self._masked:
            self._mask[0, : self.held + len(ids)] = 1
        self._generator.append_tokens(np.asarray(ids, dtype=np.int32))
        if self.whole == self.held and len(ids) == self._chunk:
            self.whole += len(ids)
        self.held += len(ids)

    def rewind(self, held: int) -> None:
        """Forget all but the first tokens."""
        if held < self.held:
            self._generator.rewind_to(held)
            if self._masked:
                self._mask[0, held:] = 0
        self.held = held
        self.whole = min(self.whole, held - held % self._chunk)

    def scores(self) -> Floats:
        """One number for each token that could follow."""
        scores: Floats = self._generator.get_logits()[0, -1]
        return scores

    def kv_itemsize(self, present: str) -> int:
        """Bytes of one number in the cache."""
        return int(self._generator.get_output(present).dtype.itemsize)


@dataclass(slots=True, eq=False)
class Kept:
    """A text, all its tokens (those that it has yet to read, too), and how long it is kept."""

    text: Text
    ids: list[int]
    until: float


class Shelf:
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

    def put(self, text: Text, ids: list[int]) -> None:
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

    def take(self, kept: Kept, shared: int) -> Text:
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
