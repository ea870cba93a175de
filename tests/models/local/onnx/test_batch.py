"""Batches of sequences: no logit depends on the batch, and rows are given back."""

from __future__ import annotations

import mmap
import shutil
import weakref
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from arena.models.local.onnx import genai as onnx_genai
from arena.models.local.onnx import kv_cache
from arena.models.local.onnx import worker as onnx_worker
from arena.models.local.onnx.batch import BatchedRunner, BatchedSequence, batch_invariant
from arena.models.local.onnx.genai import GenaiRunner
from arena.models.local.onnx.kv_cache import UnfitError
from arena.models.local.onnx.protocol import Cancel, WorkerConfig
from arena.models.local.onnx.worker import load
from tests.models.local.onnx.harness import (
    CHUNK,
    Harness,
    LoggedBatched,
    fresh,
    same,
    watched,
    words,
)
from tests.models.local.tiny_phi import LONG, SHORT


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.integers(1, SHORT + 20), st.integers(1, 20), st.integers(0, 8), st.booleans()),
        min_size=2,
        max_size=9,
    )
)
def test_logits_do_not_depend_on_the_batch(
    batched_runner: LoggedBatched, visitors: list[tuple[int, int, int, bool]]
) -> None:
    """Each request has the logits that it has alone, to the last bit, so that a seed repeats it."""
    with Harness(batched_runner) as harness, watched() as seen:
        for number, (prompt, count, steps, leaves) in enumerate(visitors):
            harness.ask(number, words(prompt, seed=number), count, temperature=1.0, seed=number)
            for _ in range(steps):
                if harness.scheduler.busy:
                    harness.scheduler.step()
            if leaves:
                harness.scheduler.add(Cancel(number))
        harness.work()
    for number, (prompt, count, _, leaves) in enumerate(visitors):
        with watched() as alone:
            fresh(batched_runner, words(prompt, seed=number), count, temperature=1.0, seed=number)
        mine = seen.get(number, [])
        assert leaves or len(mine) == count
        assert same(mine, alone[number][: len(mine)])


def test_all_that_decode_share_a_call_up_to_the_largest_batch(
    batched_runner: LoggedBatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All running answers get their token in one call, or in as few as the largest batch allows."""

    def sizes() -> set[int]:
        with Harness(batched_runner, max_prefixes=0) as harness:
            for number in range(5):
                harness.ask(number, words(4, seed=number), 12)
            harness.work()
            return {len(call) for call in batched_runner.log.batches}

    assert max(sizes()) == 5
    limit_batch(batched_runner, 2, monkeypatch)
    assert sizes() == {1, 2}


def test_a_long_sequence_is_decoded_alone(batched_runner: LoggedBatched) -> None:
    """In one call all get the rotary factors of the longest: who may need others is alone."""
    with Harness(batched_runner, max_prefixes=0) as harness:
        for number in (1, 2):
            harness.ask(number, words(SHORT + 9, seed=number), 12)
            harness.ask(10 + number, words(5, seed=number), 40)
        harness.work()
        calls = batched_runner.log.batches
        assert [True] in calls
        assert [False, False] in calls
        assert all(call == [True] or True not in call for call in calls)
    with Harness(batched_runner, max_prefixes=0) as harness:
        for number in (1, 2):
            harness.ask(number, words(SHORT - 5, seed=number), 12)
        harness.work()
        assert {len(call) for call in batched_runner.log.batches} == {1}, (
            "nor one that may become it"
        )


def test_one_that_fails_in_a_batch_fails_alone(
    batched_runner: LoggedBatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The others of its batch go on, with the tokens that they have without it."""
    expected = {n: fresh(batched_runner, words(6, seed=n), 10) for n in (1, 3)}
    run = batched_runner.run
    with Harness(batched_runner, max_prefixes=0) as harness:
        for number in (1, 2, 3):
            harness.ask(number, words(6, seed=number), 10)
        harness.work(lambda: all(len(harness.ids(number)) > 2 for number in (1, 2, 3)))
        bad = next(s.sequence for s in harness.scheduler.running if s.number == 2)

        def refuse(sequences: Any, ids: Sequence[Sequence[int]]) -> None:
            if bad in sequences:
                raise RuntimeError("bad")
            run(sequences, ids)

        monkeypatch.setattr(batched_runner, "run", refuse)
        harness.work()
        assert [failure.number for failure in harness.failed()] == [2]
        assert {n: harness.ids(n) for n in (1, 3)} == expected
        assert not harness.scheduler.busy


def test_a_cached_prefix_that_moves_keeps_its_keys(batched_runner: LoggedBatched) -> None:
    """A conversation goes on with the same logits after its row was copied."""
    first = words(19)
    with Harness(batched_runner) as harness:
        for number in (1, 2):
            harness.ask(number, [*first[:-1], number], 20)
        harness.work()
        harness.prefill_ahead()
        cache = batched_runner.cache
        for sequence in list(batched_runner.log.alive):
            assert isinstance(sequence, BatchedSequence)
            cache.move(sequence, cache.free_row())
        for number in (3, 4):
            harness.ask(number, words(30, seed=number), 4)
        harness.work()
        for number in (1, 2):
            second = [*first[:-1], number, *harness.ids(number), *words(5)]
            with watched() as continued:
                harness.ask(10 + number, second, 6, seed=number)
                harness.work()
            with watched() as anew:
                fresh_harness(batched_runner, second, number)
            assert same(continued[number], anew[number])


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    gone=st.sets(st.integers(0, 11), max_size=9),
    chosen=st.permutations(range(12)),
    count=st.integers(2, 8),
)
@example(gone=set(), chosen=[11, 7, 3, 0, 1, 2, 4, 5, 6, 8, 9, 10], count=3)
def test_gathered_rows_are_neighbours_and_all_keep_their_keys(
    batched_runner: LoggedBatched, *, gone: set[int], chosen: list[int], count: int
) -> None:
    """Each sequence has a row of its own with its keys, and none is moved twice."""
    cache = batched_runner.cache
    sequences: dict[int, Any] = {}
    for number in range(batched_runner.config.max_running + batched_runner.config.max_prefixes):
        sequences[number] = batched_runner.new_sequence(8, long_rope=False)
        sequences[number].prefill([number + 1, 7])
    for number in gone:
        del sequences[number]
    group = [sequences[number] for number in chosen if number in sequences][:count]
    before = {n: [a[t.row, :, :2].copy() for a in cache.arrays] for n, t in sequences.items()}

    places = {number: sequence.row for number, sequence in sequences.items()}
    moves = batched_runner.moves
    ordered = cache.gather(group)
    moved = sum(sequence.row != places[number] for number, sequence in sequences.items())
    assert batched_runner.moves - moves == moved, "none is moved twice"
    assert [t.row for t in ordered] == list(range(ordered[0].row, ordered[0].row + len(group)))
    assert {id(t) for t in ordered} == {id(t) for t in group}
    assert len({t.row for t in sequences.values()}) == len(sequences)
    assert all(cache.owner_of(t.row) is t for t in sequences.values())
    for number, sequence in sequences.items():
        assert same([a[sequence.row, :, :2] for a in cache.arrays], before[number])


def limit_batch(runner: LoggedBatched, size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runner, "info", replace(runner.info, max_batch_size=size))


def fresh_harness(runner: LoggedBatched, ids: list[int], seed: int) -> None:
    """Ask without what is kept, and leave the bounds of a harness that is open as they are."""
    harness = Harness(runner)
    harness.ask(99, ids, 6, seed=seed)
    harness.work()


def test_rows_in_place_are_not_moved(
    batched_runner: LoggedBatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a round of several calls rows are copied only when a request begins or ends."""
    limit_batch(batched_runner, 3, monkeypatch)
    before = batched_runner.moves
    with Harness(batched_runner) as harness:
        for number in range(8):  # every second one ends soon, and leaves a gap or a kept sequence
            harness.ask(number, words(9, seed=number), 40 if number % 2 else 4)
        harness.work(lambda: {0, 2, 4, 6} <= set(harness.ended()))
        for number in (9, 11, 13):
            harness.ask(number, words(9, seed=number), 40)
        harness.work(lambda: len(harness.ids(13)) > 2)
        moves = batched_runner.moves
        assert moves > before, "else this shows nothing"
        harness.work(lambda: len(harness.ids(13)) > 20)
        assert batched_runner.moves == moves


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system cannot do it")
def test_a_free_row_gives_its_memory_back(batched_runner: LoggedBatched) -> None:
    """What a finished answer wrote to the KV cache takes no memory."""
    arrays = batched_runner.cache.arrays
    with Harness(batched_runner, max_prefixes=0) as harness:
        for number in range(5):
            harness.ask(number, words(20, seed=number), 20)
        harness.work(lambda: all(harness.ids(number) for number in range(5)))
        assert sum(bool(row.any()) for row in arrays[0]) >= 5
        harness.work()
    assert not any(array.any() for array in arrays)


def test_more_sequences_than_rows_are_a_memory_error(batched_runner: LoggedBatched) -> None:
    """A row has one sequence at a time; a freed one can be taken again."""
    rows = batched_runner.config.max_running + batched_runner.config.max_prefixes + 1
    sequences = [batched_runner.new_sequence(8, long_rope=False) for _ in range(rows)]
    assert len({sequence.row for sequence in sequences}) == rows  # type: ignore[attr-defined]
    with pytest.raises(MemoryError, match="no row"):
        batched_runner.new_sequence(8, long_rope=False)
    sequences.clear()
    batched_runner.new_sequence(8, long_rope=False).prefill([1, 2])


def test_a_sequence_longer_than_its_row_is_an_error(
    batched_runner: LoggedBatched,
) -> None:
    """Its keys never reach the next row; the error names both numbers."""
    sequence = batched_runner.new_sequence(LONG, long_rope=True)
    ids = words(LONG)
    for begin in range(0, LONG, CHUNK):
        sequence.prefill(ids[begin : begin + CHUNK])
    with pytest.raises(RuntimeError, match=rf"{LONG + 1} tokens; the max. of a row is {LONG}"):
        sequence.prefill([5])


def test_without_batch_invariance_each_is_decoded_alone(
    batched_runner: LoggedBatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check at the start finds a batch size that changes one logit of one row."""
    assert batch_invariant(batched_runner)
    run = batched_runner.run

    def other(sequences: Any, ids: Sequence[Sequence[int]]) -> None:
        run(sequences, ids)
        if len(sequences) == 3:
            sequences[1].last_logits[7] += 1.0

    monkeypatch.setattr(batched_runner, "run", other)
    assert not batch_invariant(batched_runner)
    monkeypatch.setattr(onnx_worker, "batch_invariant", lambda _: False)
    alone = load(batched_runner.config)
    assert (alone.info.max_batch_size, alone.info.why_unbatched) == (
        1,
        "a batch changes logits on this processor",
    )
    monkeypatch.undo()
    assert load(batched_runner.config).info.max_batch_size == batched_runner.config.max_running


def test_what_cannot_be_batched_runs_on_genai(
    batched_runner: LoggedBatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that ONNX Runtime GenAI runs is served, batched or not."""

    def changed(**values: Any) -> WorkerConfig:
        return replace(batched_runner.config, graph=replace(batched_runner.config.graph, **values))

    for config in (
        changed(in_place=False),
        changed(attention_mask="of another kind"),
        changed(past=("state.0",)),
        changed(present=("state.0",)),
        changed(past=("input_ids",)),
    ):
        with pytest.raises(UnfitError):
            BatchedRunner(config)
    assert load(changed(in_place=False)).info.engine == "onnxruntime-genai"

    def none(_: int) -> mmap.mmap:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(kv_cache, "address_space", none)
    found = load(batched_runner.config)
    assert found.info.engine == "onnxruntime-genai"
    assert "Cannot allocate memory" in found.info.why_unbatched


def test_weights_are_not_in_memory_twice_when_genai_takes_over(
    batched_runner: LoggedBatched, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The batched runner is gone before GenAI loads the weights, which may not fit twice."""
    begun: list[weakref.ref[BatchedRunner]] = []
    alive: list[BatchedRunner | None] = []

    class Begun(BatchedRunner):
        def __init__(self, config: WorkerConfig) -> None:
            begun.append(weakref.ref(self))
            super().__init__(config)

    class Looking(GenaiRunner):
        def __init__(self, config: WorkerConfig, why: str) -> None:
            alive.extend(one() for one in begun)
            super().__init__(config, why)

    def none(_: int) -> mmap.mmap:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(kv_cache, "address_space", none)
    monkeypatch.setattr(onnx_worker, "BatchedRunner", Begun)
    monkeypatch.setattr(onnx_genai, "GenaiRunner", Looking)
    assert load(batched_runner.config).info.engine == "onnxruntime-genai"
    assert alive == [None]


def test_a_model_with_position_ids_gets_them(
    batched_runner: LoggedBatched, wide_onnx_folder: Path, tmp_path: Path
) -> None:
    """Older folders have no rotary factors in their attention, and take positions as an input."""
    folder = shutil.copytree(wide_onnx_folder, tmp_path / "with-positions")
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    graph, helper = model.graph, onnx.helper
    graph.input.append(
        helper.make_tensor_value_info("position_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    )
    for node in graph.node:  # so that the last position shows in the logits
        node.output[:] = ["plain" if name == "logits" else name for name in node.output]
    graph.initializer.append(helper.make_tensor("axis", onnx.TensorProto.INT64, [1], [1]))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["position_ids", "axis"], ["last"], keepdims=1),
            helper.make_node("Unsqueeze", ["last", "axis"], ["wide"]),
            helper.make_node("Cast", ["wide"], ["place"], to=onnx.TensorProto.FLOAT),
            helper.make_node("Add", ["plain", "place"], ["logits"]),
        ]
    )
    onnx.save(model, folder / "model.onnx")
    with_positions = BatchedRunner(replace(batched_runner.config, folder=str(folder)))

    def logits(runner: BatchedRunner) -> list[Any]:
        sequences = [runner.new_sequence(20, long_rope=False) for _ in range(2)]
        sequences[0].prefill([5, 6, 7])
        sequences[0].prefill([8, 9])
        sequences[1].prefill([5])
        runner.decode_step(sequences, [3, 4])
        return [sequence.logits() for sequence in sequences]

    for with_place, plain, place in zip(
        logits(with_positions), logits(batched_runner), (5, 1), strict=True
    ):
        assert np.allclose(with_place - plain, place, atol=1e-4)
