"""Texts that share a call of ONNX Runtime: nobody's scores change, and rows are given back."""

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

from arena.models.local.onnx import batch as onnx_rows
from arena.models.local.onnx import genai as onnx_generators
from arena.models.local.onnx import worker as onnx_worker
from arena.models.local.onnx.batch import BatchedRunner, UnfitError, agrees
from arena.models.local.onnx.genai import Generators
from arena.models.local.onnx.protocol import Forget, Plan, WorkerFailure
from arena.models.local.onnx.worker import load
from tests.models.local.onnx.desk import CHUNK, Desk, NotedRows, fresh, same, watched, words
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
def test_company_changes_no_bit_of_anybodys_scores(
    noted_rows: NotedRows, visitors: list[tuple[int, int, int, bool]]
) -> None:
    """A seed would not repeat an answer, and a neighbour could turn a vote."""
    with Desk(noted_rows) as desk, watched() as seen:
        for number, (prompt, count, steps, leaves) in enumerate(visitors):
            desk.ask(number, words(prompt, seed=number), count, temperature=1.0, seed=number)
            for _ in range(steps):
                if desk.rounds.busy:
                    desk.rounds.step()
            if leaves:
                desk.rounds.add(Forget(number))
        desk.work()
    for number, (prompt, count, _, leaves) in enumerate(visitors):
        with watched() as alone:
            fresh(noted_rows, words(prompt, seed=number), count, temperature=1.0, seed=number)
        mine = seen.get(number, [])
        assert leaves or len(mine) == count
        assert same(mine, alone[number][: len(mine)])


def test_all_that_are_written_share_a_call_and_no_more_than_may(
    noted_rows: NotedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One by one, eight visitors would get three times less; too many, each token later."""

    def sizes() -> set[int]:
        with Desk(noted_rows, keep=0) as desk:
            for number in range(5):
                desk.ask(number, words(4, seed=number), 12)
            desk.work()
            return {len(call) for call in noted_rows.notes.calls}

    assert max(sizes()) == 5
    monkeypatch.setattr(noted_rows, "together", 2)
    assert sizes() == {1, 2}


def test_a_long_text_is_written_alone(noted_rows: NotedRows) -> None:
    """In one call all texts get the rotary factors of the longest."""
    with Desk(noted_rows, keep=0) as desk:
        for number in (1, 2):
            desk.ask(number, words(SHORT + 9, seed=number), 12)
            desk.ask(10 + number, words(5, seed=number), 40)
        desk.work()
        calls = noted_rows.notes.calls
        assert [True] in calls
        assert [False, False] in calls
        assert all(call == [True] or True not in call for call in calls)
    with Desk(noted_rows, keep=0) as desk:
        for number in (1, 2):
            desk.ask(number, words(SHORT - 5, seed=number), 12)
        desk.work()
        assert {len(call) for call in noted_rows.notes.calls} == {1}, "nor one that may become it"


def test_one_that_fails_in_a_shared_call_fails_alone(
    noted_rows: NotedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One bad text must not end everybody's answers."""
    expected = {n: fresh(noted_rows, words(6, seed=n), 10) for n in (1, 3)}
    run = noted_rows.run
    with Desk(noted_rows, keep=0) as desk:
        for number in (1, 2, 3):
            desk.ask(number, words(6, seed=number), 10)
        desk.work(lambda: all(len(desk.ids(number)) > 2 for number in (1, 2, 3)))
        bad = next(answer.text for answer in desk.rounds._running if answer.number == 2)

        def refuse(texts: Any, ids: Sequence[Sequence[int]]) -> None:
            if bad in texts:
                raise RuntimeError("bad")
            run(texts, ids)

        monkeypatch.setattr(noted_rows, "run", refuse)
        desk.work()
        assert [r.number for r in desk.said if isinstance(r, WorkerFailure)] == [2]
        assert {n: desk.ids(n) for n in (1, 3)} == expected
        assert not desk.rounds.busy


def test_a_kept_text_that_has_to_move_is_still_the_same(noted_rows: NotedRows) -> None:
    """A conversation would go on from somebody else's keys, or from half of its own."""
    first = words(19)
    with Desk(noted_rows) as desk:
        for number in (1, 2):
            desk.ask(number, [*first[:-1], number], 20)
        desk.work()
        desk.settle()
        cache = noted_rows._cache
        for kept in desk.rounds.shelf._kept:
            cache._move(kept.text, cache._free())  # type: ignore[arg-type]
        for number in (3, 4):
            desk.ask(number, words(30, seed=number), 4)
        desk.work()
        for number in (1, 2):
            second = [*first[:-1], number, *desk.ids(number), *words(5)]
            with watched() as continued:
                desk.ask(10 + number, second, 6, seed=number)
                desk.work()
            with watched() as anew:
                fresh_desk(noted_rows, second, number)
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
def test_those_who_write_become_neighbours_and_all_keep_what_they_read(
    noted_rows: NotedRows, *, gone: set[int], chosen: list[int], count: int
) -> None:
    """With few free rows a text was left without one, or two had the same."""
    cache = noted_rows._cache
    texts: dict[int, Any] = {}
    for number in range(noted_rows.plan.running + noted_rows.plan.keep):
        texts[number] = noted_rows.text(8, long=False)
        texts[number].read([number + 1, 7])
    for number in gone:
        del texts[number]
    group = [texts[number] for number in chosen if number in texts][:count]
    before = {n: [a[t.row, :, :2].copy() for a in cache._arrays] for n, t in texts.items()}

    places = {number: text.row for number, text in texts.items()}
    moves = noted_rows.moves
    ordered = cache.gather(group)
    moved = sum(text.row != places[number] for number, text in texts.items())
    assert noted_rows.moves - moves == moved, "nobody is moved twice"
    assert [t.row for t in ordered] == list(range(ordered[0].row, ordered[0].row + len(group)))
    assert {id(t) for t in ordered} == {id(t) for t in group}
    assert len({t.row for t in texts.values()}) == len(texts)
    assert all(cache._at(t.row) is t for t in texts.values())
    for number, text in texts.items():
        assert same([a[text.row, :, :2] for a in cache._arrays], before[number])


def fresh_desk(rows: NotedRows, ids: list[int], seed: int) -> None:
    """Ask without what is kept, and leave the bounds of a desk that is open as they are."""
    desk = Desk(rows)
    desk.ask(99, ids, 6, seed=seed)
    desk.work()


def test_who_lies_well_is_not_moved(noted_rows: NotedRows, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two calls of a round that both wanted the same rows copied everybody's keys at each token."""
    monkeypatch.setattr(noted_rows, "together", 3)
    before = noted_rows.moves
    with Desk(noted_rows) as desk:
        for number in range(8):  # every second one ends soon, and leaves a gap or a kept text
            desk.ask(number, words(9, seed=number), 40 if number % 2 else 4)
        desk.work(lambda: all(desk.ended(number) for number in (0, 2, 4, 6)))
        for number in (9, 11, 13):
            desk.ask(number, words(9, seed=number), 40)
        desk.work(lambda: len(desk.ids(13)) > 2)
        moves = noted_rows.moves
        assert moves > before, "else this shows nothing"
        desk.work(lambda: len(desk.ids(13)) > 20)
        assert noted_rows.moves == moves


@pytest.mark.skipif(not hasattr(mmap, "MADV_DONTNEED"), reason="this system cannot do it")
def test_a_row_that_is_left_gives_its_memory_back(noted_rows: NotedRows) -> None:
    """A busy hour would leave every row as large as its longest text."""
    arrays = noted_rows._cache._arrays
    with Desk(noted_rows, keep=0) as desk:
        for number in range(5):
            desk.ask(number, words(20, seed=number), 20)
        desk.work(lambda: all(desk.ids(number) for number in range(5)))
        assert sum(bool(row.any()) for row in arrays[0]) >= 5
        desk.work()
    assert not any(array.any() for array in arrays)


def test_more_texts_than_rows_are_an_error_with_a_name(noted_rows: NotedRows) -> None:
    """An index past the last row would write into somebody else's."""
    rows = noted_rows.plan.running + noted_rows.plan.keep + 1
    texts = [noted_rows.text(8, long=False) for _ in range(rows)]
    assert len({text.row for text in texts}) == rows  # type: ignore[attr-defined]
    with pytest.raises(MemoryError, match="no row"):
        noted_rows.text(8, long=False)
    texts.clear()
    noted_rows.text(8, long=False).read([1, 2])


def test_a_text_longer_than_its_row_is_an_error_with_the_number(noted_rows: NotedRows) -> None:
    """It would be written on in the next row, which is somebody else's."""
    text = noted_rows.text(LONG, long=True)
    ids = words(LONG)
    for begin in range(0, LONG, CHUNK):
        text.read(ids[begin : begin + CHUNK])
    with pytest.raises(RuntimeError, match=rf"{LONG + 1} tokens; the max. of a row is {LONG}"):
        text.read([5])


def test_where_company_would_change_scores_each_is_written_alone(
    noted_rows: NotedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another processor's products may depend on how many rows one call has."""
    assert agrees(noted_rows)
    run = noted_rows.run

    def other(texts: Any, ids: Sequence[Sequence[int]]) -> None:
        run(texts, ids)
        if len(texts) == 3:
            texts[1].last[7] += 1.0

    monkeypatch.setattr(noted_rows, "run", other)
    assert not agrees(noted_rows)
    monkeypatch.setattr(onnx_worker, "agrees", lambda _: False)
    alone = load(noted_rows.plan)
    assert (alone.together, alone.why_alone) == (1, "company changes scores on this processor")
    monkeypatch.undo()
    assert load(noted_rows.plan).together == noted_rows.plan.running


def test_what_rows_cannot_run_is_left_to_generators(
    noted_rows: NotedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder that the runtime itself can run would be refused."""

    def changed(**values: Any) -> Plan:
        return replace(noted_rows.plan, graph=replace(noted_rows.plan.graph, **values))

    for plan in (
        changed(shared=False),
        changed(mask="of another kind"),
        changed(past=("state.0",)),
        changed(present=("state.0",)),
        changed(past=("input_ids",)),
    ):
        with pytest.raises(UnfitError):
            BatchedRunner(plan)
    assert load(changed(shared=False)).engine == "onnxruntime-genai"

    def none(_: int) -> mmap.mmap:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(onnx_rows, "_addresses", none)
    found = load(noted_rows.plan)
    assert found.engine == "onnxruntime-genai"
    assert "Cannot allocate memory" in found.why_alone


def test_weights_are_not_in_memory_twice_when_generators_take_over(
    noted_rows: NotedRows, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Phi-4-mini's gigabytes fit once into a laptop, and the second time end the worker."""
    begun: list[weakref.ref[BatchedRunner]] = []
    alive: list[BatchedRunner | None] = []

    class Begun(BatchedRunner):
        def __init__(self, plan: Plan) -> None:
            begun.append(weakref.ref(self))
            super().__init__(plan)

    class Looking(Generators):
        def __init__(self, plan: Plan, why: str) -> None:
            alive.extend(one() for one in begun)
            super().__init__(plan, why)

    def none(_: int) -> mmap.mmap:
        raise OSError("Cannot allocate memory")

    monkeypatch.setattr(onnx_rows, "_addresses", none)
    monkeypatch.setattr(onnx_worker, "BatchedRunner", Begun)
    monkeypatch.setattr(onnx_generators, "Generators", Looking)
    assert load(noted_rows.plan).engine == "onnxruntime-genai"
    assert alive == [None]


def test_a_model_that_wants_positions_gets_them(
    noted_rows: NotedRows, wide_onnx_folder: Path, tmp_path: Path
) -> None:
    """Older folders have no rotary factors in their attention: all tokens would be at one place."""
    folder = shutil.copytree(wide_onnx_folder, tmp_path / "with-positions")
    model = onnx.load(folder / "model.onnx", load_external_data=False)
    graph, helper = model.graph, onnx.helper
    graph.input.append(
        helper.make_tensor_value_info("position_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    )
    for node in graph.node:  # so that the last position shows in the scores
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
    rows = BatchedRunner(replace(noted_rows.plan, folder=str(folder)))

    def scores(runtime: BatchedRunner) -> list[Any]:
        texts = [runtime.text(20, long=False) for _ in range(2)]
        texts[0].read([5, 6, 7])
        texts[0].read([8, 9])
        texts[1].read([5])
        runtime.write(texts, [3, 4])
        return [text.scores() for text in texts]

    for with_place, plain, place in zip(scores(rows), scores(noted_rows), (5, 1), strict=True):
        assert np.allclose(with_place - plain, place, atol=1e-4)
