"""Sequences that are kept after their answer, so that the next turn need not prefill them again."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from arena.models.local.onnx.protocol import WorkerConfig
from arena.models.local.onnx.sequence import TokenSequence


@dataclass(slots=True, eq=False)
class CachedPrefix:
    """A sequence, all its tokens (those that are yet to be prefilled, too), and its last moment."""

    sequence: TokenSequence
    ids: list[int]
    expires_at: float


class PrefixCache:
    """Sequences of finished answers, the oldest first.

    Args:
        config: how many, for how long, and the size of a chunk.
    """

    def __init__(self, config: WorkerConfig) -> None:
        self._config = config
        self._prefixes: list[CachedPrefix] = []

    def __len__(self) -> int:
        return len(self._prefixes)

    @property
    def tokens(self) -> int:
        """What they reserve of the KV cache."""
        return sum(prefix.sequence.capacity for prefix in self._prefixes)

    def put(self, sequence: TokenSequence, ids: list[int]) -> None:
        """Keep it; `ids` are its tokens and those that are yet to be prefilled."""
        if self._config.max_prefixes == 0 or len(ids) < self._config.chunk:
            return
        sequence.rewind(sequence.num_prefilled)
        expires_at = time.monotonic() + self._config.prefix_ttl_s
        self._prefixes.append(CachedPrefix(sequence, ids, expires_at))
        while len(self._prefixes) > self._config.max_prefixes:
            self.drop_oldest()

    def find(
        self, ids: Sequence[int], capacity: int, *, long_rope: bool
    ) -> tuple[CachedPrefix, int] | None:
        """The sequence that shares the longest beginning with these ids, and that length.

        Whole chunks count, and at least one token is left to prefill: it brings the logits.
        """
        best: tuple[CachedPrefix, int] | None = None
        for prefix in self._prefixes:
            sequence = prefix.sequence
            if sequence.long_rope != long_rope or sequence.capacity < capacity:
                continue
            shared = _common(ids, prefix.ids, min(sequence.num_prefilled, len(ids) - 1))
            shared -= shared % self._config.chunk
            if shared > (best[1] if best else 0):
                best = prefix, shared
        return best

    def take(self, prefix: CachedPrefix, shared: int) -> TokenSequence:
        """Remove it from the cache, cut to the tokens that are shared."""
        self._prefixes.remove(prefix)
        prefix.sequence.rewind(shared)
        return prefix.sequence

    def drop_oldest(self, but: CachedPrefix | None = None) -> bool:
        """Drop the oldest one, or the next if that is `but`; False if there is none to drop."""
        for prefix in self._prefixes:
            if prefix is not but:
                self._prefixes.remove(prefix)
                return True
        return False

    def drop_expired(self) -> float | None:
        """Drop what has expired; seconds until the next one does, None if nothing is left."""
        now = time.monotonic()
        self._prefixes = [prefix for prefix in self._prefixes if prefix.expires_at > now]
        return min((prefix.expires_at - now for prefix in self._prefixes), default=None)

    def prefill_chunk(self) -> bool:
        """Prefill one chunk of what an answer wrote, so that the next turn begins at once.

        Called when there is nothing else to do. Returns False if there is nothing to prefill.
        """
        size = self._config.chunk
        for prefix in reversed(self._prefixes):
            sequence = prefix.sequence
            begin = sequence.num_prefilled
            if begin + size <= min(len(prefix.ids), sequence.capacity):
                sequence.prefill(prefix.ids[begin : begin + size])
                return True
        return False


def _common(first: Sequence[int], second: Sequence[int], most: int) -> int:
    """Length of the beginning that both share."""
    most = min(most, len(first), len(second))
    for index in range(most):
        if first[index] != second[index]:
            return index
    return most
