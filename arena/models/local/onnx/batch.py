"""Texts as rows of one cache of ONNX Runtime, so that all that are being written share one call.

A call for eight answers takes three times as long as a call for one, not eight times. Each row is
computed by itself, so that company changes no bit of its scores; `agrees` finds out whether that is
so for this model on this processor, and where it is not the rows are written one by one.

The cache is laid out for the longest text in every row, and the system gives memory only to what
is written to: an address costs nothing. A row that is left gives its memory back.
"""

from __future__ import annotations

import math
import mmap
import weakref
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from arena.models.local.onnx.protocol import Graph, Plan
from arena.models.local.onnx.sampling import Floats
from arena.models.local.onnx.sequence import TokenSequence

TOGETHER = 8
"""Rows in one call; more would save little, and each token would come later."""

Foreign: TypeAlias = Any
"""An object of ONNX Runtime, which has no types."""
_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class UnfitError(Exception):
    """This kind of model, or this machine, needs `onnx_generators.py`."""


class BatchedRunner:
    """The loaded model; see `Runtime`.

    Raises:
        UnfitError: the model's cache is not one row of keys and values for each text, or the
            system gives no address space.
        RuntimeError: the model cannot be loaded.
    """

    engine = "onnxruntime"

    def __init__(self, plan: Plan) -> None:
        graph = plan.graph
        if not graph.shared:
            raise UnfitError("keys and values are not written in place")
        ort.disable_telemetry_events()
        self.plan = plan
        self.versions = {"onnxruntime": ort.__version__}
        self._session = _session(plan)
        inputs = {given.name: given.type for given in self._session.get_inputs()}
        outputs = {given.name for given in self._session.get_outputs()}
        known = {graph.ids, graph.mask, graph.position, *graph.past}
        types = {inputs.get(name) for name in graph.past}
        if not inputs.keys() <= known or not {graph.logits, *graph.present} <= outputs:
            raise UnfitError(f"inputs: {sorted(inputs)}")
        if len(types) != 1 or (dtype := _TYPES.get(types.pop() or "")) is None:
            raise UnfitError("the cache has another number format")
        self._has_position = graph.position in inputs
        # A spare row, to exchange two.
        rows = plan.running + plan.keep + 1
        self._cache = _Cache(graph, rows, min(plan.context, plan.cache_tokens), np.dtype(dtype))
        self._bindings: dict[tuple[int, int], Foreign] = {}
        self.kv_itemsize = np.dtype(dtype).itemsize
        self.together = min(TOGETHER, plan.running)
        self.why_alone = ""

    def text(self, capacity: int, *, long: bool) -> TokenSequence:
        """An empty one."""
        return _RowText(self, self._cache, capacity, long=long)

    def write(self, texts: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        """All of them in one call."""
        rows = {_row(text): token for text, token in zip(texts, tokens, strict=True)}
        ordered = self._cache.gather(list(rows))
        self.run(ordered, [[rows[text]] for text in ordered])
        for text in ordered:
            text.wrote()

    def run(self, texts: Sequence[_RowText], ids: Sequence[Sequence[int]]) -> None:
        """Read these tokens, the same number for each of these texts, whose rows are neighbours.

        Raises:
            RuntimeError, MemoryError: the runtime's own, or a text is longer than a row.
        """
        graph, count = self.plan.graph, len(ids[0])
        ends = [text.held + count for text in texts]
        if max(ends) > self._cache.capacity:
            raise RuntimeError(f"{max(ends)} tokens; the max. of a row is {self._cache.capacity}")
        # A model with LongRoPE chooses its rotary factors by the mask's width; every piece of a
        # long text is to be read with the long ones.
        width = max(ends)
        if texts[0].long:
            width = max(width, self.plan.short_context + 1)
        tokens = np.array(ids, dtype=np.int64)
        mask = (np.arange(width) < np.array(ends)[:, None]).astype(np.int64)
        position = np.array([text.held for text in texts])[:, None] + np.arange(count)
        binding = self._binding(texts[0].row, len(texts))
        try:
            binding.bind_cpu_input(graph.ids, tokens)
            binding.bind_cpu_input(graph.mask, mask)
            if self._has_position:
                binding.bind_cpu_input(graph.position, position)
            binding.bind_output(graph.logits, "cpu")  # it is made anew: its size may change
            self._session.run_with_iobinding(binding)
            (scores, *_) = binding.get_outputs()
        except Exception as error:  # its errors have no other base in common
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        last = scores.numpy()[:, -1].astype(np.float32)
        for text, row in zip(texts, last, strict=True):
            text.last = row

    def _binding(self, first: int, count: int) -> Foreign:
        """What ties these rows to the model's inputs and outputs; made once."""
        if (first, count) not in self._bindings:
            binding = self._session.io_binding()
            binding.bind_output(self.plan.graph.logits, "cpu")
            self._cache.bind(binding, first, count)
            self._bindings[first, count] = binding
        return self._bindings[first, count]


def _session(plan: Plan) -> Foreign:
    options = ort.SessionOptions()
    options.intra_op_num_threads = plan.threads
    # Threads that spin while they wait take the cores from the page.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    file = str(Path(plan.folder) / plan.graph.file)
    try:
        return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no other base in common
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


class _RowText(TokenSequence):
    """See `TokenSequence`. It has its row until nobody refers to it any more."""

    def __init__(self, runtime: BatchedRunner, cache: _Cache, capacity: int, *, long: bool) -> None:
        super().__init__(runtime.plan, capacity, long=long)
        self._runtime = runtime
        self.last: Floats | None = None
        self.row = cache.take(self)

    def wrote(self) -> None:
        """One token was read, with others' tokens."""
        self._has_read(1)

    def _read(self, ids: Sequence[int]) -> None:
        self._runtime.run([self], [ids])

    def _rewind(self, held: int) -> None:
        self.last = None  # what lies behind is never looked at, and is written over

    def scores(self) -> Floats:
        """See `TokenSequence`."""
        assert self.last is not None  # noqa: S101 -- only what was read has scores
        return self.last


def _row(text: TokenSequence) -> _RowText:
    assert isinstance(text, _RowText)  # noqa: S101 -- it comes from `Rows.text`
    return text


class _Cache:
    """Keys and values: for each of the model's inputs an array (rows, kv_heads, tokens, head_dim).

    Args:
        graph: names and sizes.
        rows: texts that it can hold.
        capacity: tokens of the longest one.
        dtype: of its numbers.
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
            self._maps = [_addresses(rows * self._row_bytes) for _ in graph.past]
        except (OSError, ValueError, OverflowError) as error:
            raise UnfitError(f"{type(error).__name__}: {error}") from error
        self._arrays: list[npt.NDArray[Any]] = [
            np.frombuffer(memory, dtype=dtype).reshape(shape) for memory in self._maps
        ]
        self._texts: list[weakref.ref[_RowText] | None] = [None] * rows

    def bind(self, binding: Foreign, first: int, count: int) -> None:
        """Tie neighbouring rows to the model: it reads them and writes on in their place."""
        shape = (count, *self._shape[1:])
        names = zip(self._graph.past, self._graph.present, self._arrays, strict=True)
        for past, present, array in names:
            begin = array.ctypes.data + first * self._row_bytes
            binding.bind_input(past, "cpu", 0, self._dtype.type, shape, begin)
            binding.bind_output(present, "cpu", 0, self._dtype.type, shape, begin)

    def take(self, text: _RowText) -> int:
        """A free row, the last one.

        Raises:
            MemoryError: there is none.
        """
        row = self._free()
        self._put(text, row)
        return row

    def gather(self, texts: Sequence[_RowText]) -> list[_RowText]:
        """Make them neighbours; in the order in which they then lie.

        They move to where the fewest rows have to, so that nobody moves twice: when one begins or
        ends. One that is alone stays where it is.
        """
        own = {text.row for text in texts}
        count = len(texts)
        if max(own) - min(own) >= count:
            begin = min(
                range(len(self._texts) - count + 1),
                key=lambda first: sum(map(self._cost, set(range(first, first + count)) - own)),
            )
            window = range(begin, begin + count)
            # Free ones first: what moves there leaves a row free for who has to go.
            holes = sorted(set(window) - own, key=self._cost)
            outside = [text for text in texts if text.row not in window]
            for text, row in zip(outside, holes, strict=True):
                if (other := self._at(row)) is not None:
                    self._move(other, self._free())
                self._move(text, row)
        return sorted(texts, key=lambda text: text.row)

    def _cost(self, row: int) -> int:
        """Moves until a row holds a text of ours."""
        return 1 if self._at(row) is None else 2

    def _free(self) -> int:
        for row in reversed(range(len(self._texts))):
            if self._at(row) is None:
                return row
        raise MemoryError("no row is free")

    def _at(self, row: int) -> _RowText | None:
        found = self._texts[row]
        return None if found is None else found()

    def _put(self, text: _RowText, row: int) -> None:
        def left(_: object) -> None:
            self._leave(row)

        self._texts[row] = weakref.ref(text, left)

    def _move(self, text: _RowText, row: int) -> None:
        before = text.row
        for array in self._arrays:
            array[row, :, : text.held] = array[before, :, : text.held]
        self._put(text, row)
        text.row = row
        self._leave(before)

    def _leave(self, row: int) -> None:
        """Give the row's memory back."""
        self._texts[row] = None
        if hasattr(mmap, "MADV_DONTNEED"):
            for memory in self._maps:
                memory.madvise(mmap.MADV_DONTNEED, row * self._row_bytes, self._row_bytes)


def _addresses(size: int) -> mmap.mmap:
    if not hasattr(mmap, "MAP_PRIVATE"):
        return mmap.mmap(-1, size)
    memory = mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):
        # A huge page is two megabytes, of which a short text writes a few kilobytes.
        memory.madvise(mmap.MADV_NOHUGEPAGE)
    return memory


def agrees(runtime: BatchedRunner) -> bool:
    """Whether a text has the same scores, to the last bit, whoever is written in the same call."""
    limit = runtime.plan.short_context or runtime.plan.context
    texts: list[TokenSequence] = []
    for number in range(runtime.together):
        text = runtime.text(limit, long=False)
        text.read(range(1, 2 + number))
        texts.append(text)
    tokens = list(range(1, 1 + len(texts)))

    def written(count: int) -> list[Floats]:
        runtime.write(texts[:count], tokens[:count])
        found = [text.scores() for text in texts[:count]]
        for text in texts[:count]:
            text.rewind(text.held - 1)
        return found

    alone = []
    for text, token in zip(texts, tokens, strict=True):
        runtime.write([text], [token])
        alone.append(text.scores())
        text.rewind(text.held - 1)
    return all(
        np.array_equal(one, other)
        # An even number, an odd one, and the most: products are computed by twos, threes or fours.
        for count in sorted({min(size, len(texts)) for size in (2, 3, len(texts))})
        for one, other in zip(written(count), alone, strict=False)
    )
