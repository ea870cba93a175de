"""A token sequence with its keys and values, and what a model runner offers.

The logits of a sequence are the same, to the last bit, whatever else is computed meanwhile: a
runner decodes several sequences in one call only where that holds. It holds for a sequence that
continues a cached prefix, too: the last bits depend on how many tokens one call computes, so
prompts are prefilled in chunks of one fixed size, and of a cached prefix only whole chunks count.
Tokens that an answer left in the KV cache one by one are prefilled again in chunks.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from arena.models.local.onnx.protocol import RunnerInfo, WorkerConfig
from arena.models.local.onnx.sampling import Floats


class TokenSequence(ABC):
    """Tokens whose keys and values are in the KV cache.

    Args:
        config: the worker's.
        capacity: most tokens that it may come to hold.
        long_rope: whether LongRoPE's long factors serve it.

    Attributes:
        num_cached: tokens in the KV cache.
        num_prefilled: those of them that were computed in whole chunks, from the beginning on.
    """

    def __init__(self, config: WorkerConfig, capacity: int, *, long_rope: bool) -> None:
        limit = config.short_context
        if limit:
            capacity = max(capacity, limit + 1) if long_rope else min(capacity, limit)
        self.capacity = capacity
        self.long_rope = long_rope
        self.num_cached = 0
        self.num_prefilled = 0
        self._chunk = config.chunk

    def prefill(self, ids: Sequence[int]) -> None:
        """Compute keys and values of the next tokens; at most a chunk, so that no one waits long.

        Raises:
            RuntimeError, MemoryError: the runtime's own; the sequence cannot be used after it.
        """
        self._forward(ids)
        self.advance(len(ids))

    def advance(self, count: int) -> None:
        """Count tokens that one call has computed."""
        if self.num_prefilled == self.num_cached and count == self._chunk:
            self.num_prefilled += count
        self.num_cached += count

    def rewind(self, num_cached: int) -> None:
        """Drop all but the first tokens."""
        if num_cached < self.num_cached:
            self._rewind(num_cached)
        self.num_cached = num_cached
        self.num_prefilled = min(self.num_prefilled, num_cached - num_cached % self._chunk)

    @abstractmethod
    def logits(self) -> Floats:
        """A score for each token that could follow."""

    @abstractmethod
    def _forward(self, ids: Sequence[int]) -> None: ...

    @abstractmethod
    def _rewind(self, num_cached: int) -> None: ...


class ModelRunner(Protocol):
    """A loaded model.

    Attributes:
        config: what it was loaded by.
        info: what the arena wants to know of it.
    """

    config: WorkerConfig
    info: RunnerInfo

    def new_sequence(self, capacity: int, *, long_rope: bool) -> TokenSequence:
        """An empty one.

        Raises:
            RuntimeError, MemoryError: there is no room for it.
        """

    def decode_step(self, sequences: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        """Append one token to each sequence.

        Args:
            sequences: at most `info.max_batch_size`; none of them `long_rope` if they are several.
            tokens: one for each.

        Raises:
            RuntimeError, MemoryError: the runtime's own; of several, each can be tried again.
        """
