"""The batch's keys and values: arrays with a row for each sequence.

Every row has room for the longest sequence, and the system gives memory only to what is written
to: an address costs nothing. A row that becomes free gives its memory back.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Sequence
from typing import Any, Protocol, TypeVar

import numpy as np
import numpy.typing as npt

from arena.models.local.engine import Foreign
from arena.models.local.onnx.protocol import Graph


class UnfitError(Exception):
    """This model, or this machine, needs `genai.GenaiRunner`."""


class RowOwner(Protocol):
    """A sequence that has a row of the cache for as long as it is referred to."""

    row: int
    num_cached: int


Owner = TypeVar("Owner", bound=RowOwner)


class KvCache:
    """For each of the model's inputs an array (rows, kv_heads, tokens, head_dim).

    Args:
        graph: names and sizes.
        rows: sequences that it can hold.
        capacity: tokens of the longest one.
        dtype: of its numbers.

    Raises:
        UnfitError: the system gives no address space.
    """

    def __init__(self, graph: Graph, rows: int, capacity: int, dtype: np.dtype[Any]) -> None:
        # Rows of whole pages, so that each can be given back.
        token = graph.kv_heads * graph.head_dim * dtype.itemsize
        least = mmap.PAGESIZE // math.gcd(mmap.PAGESIZE, token)
        self.capacity = -(-capacity // least) * least
        shape = (rows, graph.kv_heads, self.capacity, graph.head_dim)
        self._graph = graph
        self._dtype = dtype
        self._shape = shape
        self._row_bytes = math.prod(shape[1:]) * dtype.itemsize
        try:
            self._maps = [address_space(rows * self._row_bytes) for _ in graph.past]
        except (OSError, ValueError, OverflowError) as error:
            raise UnfitError(f"{type(error).__name__}: {error}") from error
        self.arrays: list[npt.NDArray[Any]] = [
            np.frombuffer(memory, dtype=dtype).reshape(shape) for memory in self._maps
        ]
        self._owners: list[weakref.ref[RowOwner] | None] = [None] * rows

    def bind(self, binding: Foreign, first: int, count: int) -> None:
        """Tie neighbouring rows to the model, which reads them and extends them in place."""
        shape = (count, *self._shape[1:])
        names = zip(self._graph.past, self._graph.present, self.arrays, strict=True)
        for past, present, array in names:
            begin = array.ctypes.data + first * self._row_bytes
            binding.bind_input(past, "cpu", 0, self._dtype.type, shape, begin)
            binding.bind_output(present, "cpu", 0, self._dtype.type, shape, begin)

    def take(self, sequence: RowOwner) -> int:
        """A free row, the last one.

        Raises:
            MemoryError: there is none.
        """
        row = self.free_row()
        self._put(sequence, row)
        return row

    def gather(self, sequences: Sequence[Owner]) -> list[Owner]:
        """Make their rows neighbours; the sequences in the order of their rows.

        They move to where the fewest rows have to, so that none moves twice. One that is alone
        stays where it is.
        """
        own = {sequence.row for sequence in sequences}
        count = len(sequences)
        if max(own) - min(own) >= count:
            begin = min(
                range(len(self._owners) - count + 1),
                key=lambda first: sum(map(self._cost, set(range(first, first + count)) - own)),
            )
            window = range(begin, begin + count)
            # Free rows first: what moves there leaves a free row for a sequence that must go.
            holes = sorted(set(window) - own, key=self._cost)
            outside = [sequence for sequence in sequences if sequence.row not in window]
            for sequence, row in zip(outside, holes, strict=True):
                if (other := self.owner_of(row)) is not None:
                    self.move(other, self.free_row())
                self.move(sequence, row)
        return sorted(sequences, key=lambda sequence: sequence.row)

    def _cost(self, row: int) -> int:
        """Moves until a row holds one of the sequences that are gathered."""
        return 1 if self.owner_of(row) is None else 2

    def free_row(self) -> int:
        """The last one.

        Raises:
            MemoryError: there is none.
        """
        for row in reversed(range(len(self._owners))):
            if self.owner_of(row) is None:
                return row
        raise MemoryError("no row is free")

    def owner_of(self, row: int) -> RowOwner | None:
        """The sequence in a row; None if it is free."""
        found = self._owners[row]
        return None if found is None else found()

    def _put(self, sequence: RowOwner, row: int) -> None:
        def unused(_: object) -> None:
            self._free(row)

        self._owners[row] = weakref.ref(sequence, unused)

    def move(self, sequence: RowOwner, row: int) -> None:
        """Copy a sequence to a free row, and free its own."""
        before = sequence.row
        for array in self.arrays:
            array[row, :, : sequence.num_cached] = array[before, :, : sequence.num_cached]
        self._put(sequence, row)
        sequence.row = row
        self._free(before)

    def _free(self, row: int) -> None:
        """Give the row's memory back."""
        self._owners[row] = None
        if hasattr(mmap, "MADV_DONTNEED"):
            for memory in self._maps:
                memory.madvise(mmap.MADV_DONTNEED, row * self._row_bytes, self._row_bytes)


def address_space(size: int) -> mmap.mmap:
    """So many bytes of addresses; a page takes memory when it is written to.

    Raises:
        OSError, ValueError, OverflowError: the system gives none.
    """
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # A huge page is two megabytes, of which a short sequence writes a few kilobytes.
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory
