"""Decodes a batch of sequences in one call of ONNX Runtime.

A call for eight sequences takes three times as long as a call for one, not eight times. Each row
of the batch is computed by itself, so that its logits do not depend on the others, to the last bit;
`batch_invariant` finds out whether that is so for this model on this processor, and where it is
not, each sequence is decoded in a call of its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from arena.models.local.engine import Foreign
from arena.models.local.onnx.kv_cache import KvCache, UnfitError
from arena.models.local.onnx.protocol import RunnerInfo, WorkerConfig
from arena.models.local.onnx.sampling import Floats
from arena.models.local.onnx.sequence import TokenSequence

MAX_BATCH_SIZE = 8
"""Sequences in one call; more would save little, and each token would come later."""
CHECKED_BATCH_SIZES = (2, 3)
"""Of the start's check, beside the largest: products are computed by twos, threes or fours."""
_LOG_ERRORS = 3
_DTYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16}


class BatchedRunner:
    """The loaded model; see `ModelRunner`.

    Raises:
        UnfitError: the model's cache is not one row of keys and values for each sequence, or the
            system gives no address space.
        RuntimeError: the model cannot be loaded.
    """

    def __init__(self, config: WorkerConfig) -> None:
        graph = config.graph
        if not graph.in_place:
            raise UnfitError("keys and values are not written in place")
        ort.disable_telemetry_events()
        self.config = config
        self._session = _session(config)
        inputs = {given.name: given.type for given in self._session.get_inputs()}
        outputs = {given.name for given in self._session.get_outputs()}
        known = {graph.input_ids, graph.attention_mask, graph.position_ids, *graph.past}
        types = {inputs.get(name) for name in graph.past}
        if not inputs.keys() <= known or not {graph.logits, *graph.present} <= outputs:
            raise UnfitError(f"inputs: {sorted(inputs)}")
        if len(types) != 1 or (dtype := _DTYPES.get(types.pop() or "")) is None:
            raise UnfitError("the cache has another number format")
        self._has_position_ids = graph.position_ids in inputs
        # One row more, to exchange two.
        rows = config.max_running + config.max_prefixes + 1
        capacity = min(config.context, config.cache_tokens)
        self.cache = KvCache(graph, rows, capacity, np.dtype(dtype))
        self._bindings: dict[tuple[int, int], Foreign] = {}
        self.info = RunnerInfo(
            "onnxruntime",
            {"onnxruntime": ort.__version__},
            np.dtype(dtype).itemsize,
            max_batch_size=min(MAX_BATCH_SIZE, config.max_running),
        )

    def new_sequence(self, capacity: int, *, long_rope: bool) -> TokenSequence:
        """See `ModelRunner`."""
        return BatchedSequence(self, capacity, long_rope=long_rope)

    def decode_step(self, sequences: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        """All of them in one call."""
        pairs = zip(sequences, tokens, strict=True)
        token_of = {_batched(sequence): token for sequence, token in pairs}
        ordered = self.cache.gather(list(token_of))
        self.run(ordered, [[token_of[sequence]] for sequence in ordered])
        for sequence in ordered:
            sequence.advance(1)

    def run(self, sequences: Sequence[BatchedSequence], ids: Sequence[Sequence[int]]) -> None:
        """Compute the next tokens, as many for each of these sequences, whose rows are neighbours.

        Raises:
            RuntimeError, MemoryError: the runtime's own, or a sequence is longer than a row.
        """
        graph, count = self.config.graph, len(ids[0])
        ends = [sequence.num_cached + count for sequence in sequences]
        if max(ends) > self.cache.capacity:
            raise RuntimeError(f"{max(ends)} tokens; the max. of a row is {self.cache.capacity}")
        # A model with LongRoPE chooses its rotary factors by the mask's width; every chunk of a
        # long sequence needs the long ones.
        width = max(ends)
        if sequences[0].long_rope:
            width = max(width, self.config.short_context + 1)
        begins = np.array([sequence.num_cached for sequence in sequences])
        mask = (np.arange(width) < np.array(ends)[:, None]).astype(np.int64)
        binding = self._binding(sequences[0].row, len(sequences))
        try:
            binding.bind_cpu_input(graph.input_ids, np.array(ids, dtype=np.int64))
            binding.bind_cpu_input(graph.attention_mask, mask)
            if self._has_position_ids:
                binding.bind_cpu_input(graph.position_ids, begins[:, None] + np.arange(count))
            binding.bind_output(graph.logits, "cpu")  # at each call, since its size may change
            self._session.run_with_iobinding(binding)
            (logits, *_) = binding.get_outputs()
        except Exception as error:  # its errors have no other base in common
            raise RuntimeError(f"{type(error).__name__}: {error}") from error
        last = logits.numpy()[:, -1].astype(np.float32)
        for sequence, row in zip(sequences, last, strict=True):
            sequence.last_logits = row

    def _binding(self, first: int, count: int) -> Foreign:
        """Ties these rows to the model's inputs and outputs; kept for the next call."""
        if (first, count) not in self._bindings:
            binding = self._session.io_binding()
            binding.bind_output(self.config.graph.logits, "cpu")
            self.cache.bind(binding, first, count)
            self._bindings[first, count] = binding
        return self._bindings[first, count]


def _session(config: WorkerConfig) -> Foreign:
    options = ort.SessionOptions()
    options.intra_op_num_threads = config.threads
    # Threads that spin while they wait take the cores from the page.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _LOG_ERRORS
    file = str(Path(config.folder) / config.graph.file)
    try:
        return ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # its errors have no other base in common
        raise RuntimeError(f"{type(error).__name__}: {error}") from error


class BatchedSequence(TokenSequence):
    """See `TokenSequence`. It has its row of the KV cache for as long as it is referred to."""

    def __init__(self, runner: BatchedRunner, capacity: int, *, long_rope: bool) -> None:
        super().__init__(runner.config, capacity, long_rope=long_rope)
        self._runner = runner
        self.last_logits: Floats | None = None
        self.row = runner.cache.take(self)

    def _forward(self, ids: Sequence[int]) -> None:
        self._runner.run([self], [ids])

    def _rewind(self, num_cached: int) -> None:
        self.last_logits = None  # keys and values behind are masked, and overwritten

    def logits(self) -> Floats:
        """See `TokenSequence`."""
        assert self.last_logits is not None  # noqa: S101 -- only computed tokens have logits
        return self.last_logits


def _batched(sequence: TokenSequence) -> BatchedSequence:
    assert isinstance(sequence, BatchedSequence)  # noqa: S101 -- it comes from `new_sequence`
    return sequence


def batch_invariant(runner: BatchedRunner) -> bool:
    """Whether a sequence has the same logits, to the last bit, in a batch and alone."""
    limit = runner.config.short_context or runner.config.context
    sequences: list[TokenSequence] = []
    for number in range(runner.info.max_batch_size):
        sequence = runner.new_sequence(limit, long_rope=False)
        sequence.prefill(range(1, 2 + number))
        sequences.append(sequence)
    tokens = list(range(1, 1 + len(sequences)))

    def decoded(begin: int, end: int) -> list[Floats]:
        runner.decode_step(sequences[begin:end], tokens[begin:end])
        found = [sequence.logits() for sequence in sequences[begin:end]]
        for sequence in sequences[begin:end]:
            sequence.rewind(sequence.num_cached - 1)
        return found

    alone = [decoded(number, number + 1)[0] for number in range(len(sequences))]
    sizes = {min(size, len(sequences)) for size in (*CHECKED_BATCH_SIZES, len(sequences))}
    return all(
        np.array_equal(one, other)
        for size in sorted(sizes)
        for one, other in zip(decoded(0, size), alone, strict=False)
    )
