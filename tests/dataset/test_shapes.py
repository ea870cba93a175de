"""Training data says what voters said, and nothing that they did not say."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.dataset.columns import COLUMNS, ExportShape
from arena.dataset.lmarena import lmarena_row
from arena.dataset.shapes import ROWS, Case, LeftOut, ShapedRows, dpo_rows, kto_rows
from arena.domain import Exchange, Exclusion, Flag, Grade, Mode, Winner
from arena.store.serialization import Plain
from tests.vote_samples import NOON, answer, battle, vote, votes

USER = {"role": "user", "content": "問"}


def said(text: str) -> list[dict[str, str]]:
    return [{"role": "assistant", "content": text}]


def case(winner: str | None, *, ties: bool = False, **changes: Any) -> Case:
    """A battle in which the left said 左 and the right 右; None is without a vote."""
    ballot = {k: changes.pop(k) for k in ("grade_a", "grade_b") if k in changes}
    texts = {
        "conversation_a": (Exchange("問", answer("左")),),
        "conversation_b": (Exchange("問", answer("右")),),
    }
    made = battle(**(texts | changes))
    cast = None if winner is None else vote(made, winner, **ballot)
    return Case(made, cast, None, "v" * 64, ties=ties)


def rows(found: ShapedRows) -> list[Plain]:
    assert not isinstance(found, LeftOut)
    return found


@pytest.mark.parametrize(
    ("winner", "chosen", "rejected"), [("model_a", "左", "右"), ("model_b", "右", "左")]
)
def test_better_answer_is_chosen(winner: str, chosen: str, rejected: str) -> None:
    """`chosen` is the side that won the vote."""
    (row,) = rows(dpo_rows(case(winner)))
    assert row["prompt"] == [USER]
    assert (row["chosen"], row["rejected"]) == (said(chosen), said(rejected))
    models = {"左": "phi", "右": "gemini"}
    assert (row["model_chosen"], row["model_rejected"]) == (models[chosen], models[rejected])


@pytest.mark.parametrize(
    "shape", [shape for shape in ExportShape if shape is not ExportShape.ARENA]
)
def test_stopped_answers_teach_nothing(shape: ExportShape) -> None:
    """A text that breaks off is no example of an answer; the complete export has it, marked."""
    stopped = case("model_a", flags=frozenset({Flag.STOPPED}))
    assert ROWS[shape](stopped) is LeftOut.STOPPED
    (row,) = rows(ROWS[ExportShape.ARENA](stopped))
    assert row["flags"] == ["stopped"]


@pytest.mark.parametrize("winner", ["tie", "both_bad"])
def test_ties_prefer_no_side(winner: str) -> None:
    """A tie gives the pair both ways round, or no row."""
    assert dpo_rows(case(winner)) is LeftOut.TIE
    first, second = rows(dpo_rows(case(winner, ties=True)))
    assert (first["chosen"], first["rejected"]) == (second["rejected"], second["chosen"])
    assert first["winner"] == winner


@pytest.mark.parametrize("shape", [ExportShape.DPO, ExportShape.KTO, ExportShape.LMARENA])
def test_what_does_not_count_gives_no_rows(shape: ExportShape) -> None:
    """An excluded vote gives no row of training data."""
    won = case("model_a")
    excluded = replace(won, exclusion=Exclusion(won.battle.id, "x", NOON))
    assert ROWS[shape](case(None)) is LeftOut.NO_VOTE
    assert ROWS[shape](excluded) is LeftOut.EXCLUDED
    assert len(rows(ROWS[shape](won))) == (2 if shape is ExportShape.KTO else 1)


def test_open_mode_is_no_blind_vote() -> None:
    """Votes in open mode are not among LMArena's rows."""
    shown = case("model_a", mode=Mode.OPEN)
    assert ROWS[ExportShape.LMARENA](shown) is LeftOut.OPEN_MODE
    assert rows(dpo_rows(shown))[0]["mode"] == "open"


def test_same_answers_are_no_pair() -> None:
    """Two equal answers give no pair."""
    assert dpo_rows(case("model_a", conversation_b=(Exchange("問", answer("左")),))) is (
        LeftOut.SAME_ANSWERS
    )


def talk(*turns: tuple[str, str]) -> tuple[Exchange, ...]:
    return tuple(Exchange(prompt, answer(text)) for prompt, text in turns)


def test_last_turn_counts_where_all_before_is_the_same() -> None:
    """Where the histories differ, the row is of the first turn, which both sides share."""
    same = case(
        "model_b",
        conversation_a=talk(("問", "同"), ("次", "左")),
        conversation_b=talk(("問", "同"), ("次", "右")),
        system_prompt="短く",
    )
    (row,) = rows(dpo_rows(same))
    assert [m["content"] for m in row["prompt"]] == ["短く", "問", "同", "次"]
    assert [m["role"] for m in row["prompt"]] == ["system", "user", "assistant", "user"]
    assert (row["chosen"], row["turns"]) == (said("右"), 2)
    differing = case(
        "model_b",
        conversation_a=talk(("問", "左一"), ("次", "左二")),
        conversation_b=talk(("問", "右一"), ("次", "右二")),
    )
    (row,) = rows(dpo_rows(differing))
    assert (row["prompt"], row["chosen"], row["rejected"]) == ([USER], said("右一"), said("左一"))


@pytest.mark.parametrize(
    ("winner", "grades", "ties", "labels"),
    [
        ("model_a", {}, False, [("左", True, "vote"), ("右", False, "vote")]),
        ("model_b", {}, False, [("左", False, "vote"), ("右", True, "vote")]),
        ("both_bad", {}, False, [("左", False, "vote"), ("右", False, "vote")]),
        ("tie", {}, False, LeftOut.TIE),
        ("tie", {}, True, [("左", True, "vote"), ("右", True, "vote")]),
        # A grade says more of one answer than the vote does.
        ("model_a", {"grade_a": Grade.BAD}, False, [("左", False, "grade"), ("右", False, "vote")]),
        ("model_b", {"grade_a": Grade.GOOD}, False, [("左", True, "grade"), ("右", True, "vote")]),
        ("tie", {"grade_b": Grade.BAD}, False, [("右", False, "grade")]),
        ("model_a", {"grade_a": Grade.OK}, False, [("右", False, "vote")]),
        ("model_a", {"grade_a": Grade.OK, "grade_b": Grade.OK}, False, LeftOut.NO_VERDICT),
    ],
)
def test_labels_are_what_people_said(
    winner: str, grades: dict[str, Grade], *, ties: bool, labels: Any
) -> None:
    """A grade decides a label before the vote does."""
    found = kto_rows(case(winner, ties=ties, **grades))
    if isinstance(labels, LeftOut):
        assert found is labels
        return
    short = [(row["completion"][0]["content"], row["label"], row["basis"]) for row in rows(found)]
    assert short == labels


def test_each_side_keeps_its_own_history() -> None:
    """Each side's row has that side's own history."""
    both = case(
        "model_a",
        conversation_a=talk(("問", "左一"), ("次", "左二")),
        conversation_b=talk(("問", "右一"), ("次", "右二")),
    )
    left, right = rows(kto_rows(both))
    assert [m["content"] for m in left["prompt"]] == ["問", "左一", "次"]
    assert [m["content"] for m in right["prompt"]] == ["問", "右一", "次"]


def test_lmarena_metadata_counts_what_it_says() -> None:
    """Counts for style control are of each side's own answers."""
    text = "# 題\n\n**太** と **字**\n\n- 一\n- 二\n1. 三\n\n```py\n## no\n```\n### 末"
    made = battle(conversation_a=talk(("# 問", text)), conversation_b=talk(("# 問", "答")))
    row = lmarena_row(made, vote(made), "s", 3)
    found = row["conv_metadata"]
    assert found["bold_count_a"] == {"**": 2, "__": 0}
    assert found["list_count_a"] == {"ordered": 1, "unordered": 2}
    # Lines of code that look like headers count, as in the original's plain patterns.
    assert found["header_count_a"] == {"h1": 1, "h2": 1, "h3": 1, "h4": 0, "h5": 0, "h6": 0}
    assert sum(found["header_count_b"].values()) == 0
    assert (found["sum_assistant_a_tokens"], found["turns"]) == (7, 1)
    assert (row["is_code"], row["evaluation_order"]) == (True, 3)
    assert row["category_tag"]["math_v0.1"] == {"math": True}


def test_unknown_counts_are_null() -> None:
    """Tokens that were not reported are null."""
    quiet = answer()
    quiet = replace(quiet, finished=replace(quiet.finished, completion_tokens=None))
    made = battle(conversation_a=(Exchange("問", quiet), Exchange("次", answer())))
    found = lmarena_row(made, vote(made), "s", 1)["conv_metadata"]
    assert found["sum_assistant_a_tokens"] is None


@given(given_vote=votes, shape=st.sampled_from(ExportShape), ties=st.booleans())
def test_rows_have_exactly_their_columns(
    given_vote: Any, shape: ExportShape, *, ties: bool
) -> None:
    """Every kind of vote gives the same columns."""
    one = case("model_a", ties=ties)
    found = ROWS[shape](replace(one, vote=replace(given_vote, battle_id=one.battle.id)))
    names = [column.name for column in COLUMNS[shape]]
    if not isinstance(found, LeftOut):
        assert all(list(row) == names for row in found)
    if shape is ExportShape.DPO and given_vote.winner in (Winner.MODEL_A, Winner.MODEL_B):
        assert len(rows(found)) == 1
