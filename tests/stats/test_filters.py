"""Which votes count: every reason by itself, their order, and what holds for any votes."""

from __future__ import annotations

import random
from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Mode, Winner
from arena.stats.filters import (
    MAIN_RULES,
    STEPS,
    FilterReason,
    Rules,
    StepName,
    decide,
    seconds_had,
    seconds_needed,
)
from arena.stats.vote_table import Bools, VoteFlag
from tests.stats.arenas import ANY_TIME, NAMES, A, B, C, VoteRow, row, table_of

NO_RULES = Rules(**{field.name: False for field in fields(Rules)})
EVERY_RULE = Rules(**{field.name: True for field in fields(Rules)})
SLOW = {"read_seconds": 60.0, "chars_a": 900.0, "chars_b": 900.0}
FAST = SLOW | {"read_seconds": 1.0}

ROWS = st.lists(
    st.builds(
        lambda sides, winner, mode, voter, prompt, moment, flags, read, signed_in: row(
            winner, a=NAMES[sides[0]], b=NAMES[sides[1]], mode=mode, voter=f"v{voter}",
            prompt=prompt, cast_at=float(moment), flags=VoteFlag(flags), read_seconds=read,
            signed_in=signed_in, chars_a=500.0, chars_b=500.0,
        ),
        st.tuples(st.integers(0, 2), st.integers(0, 2)),
        st.sampled_from(Winner),
        st.sampled_from([Mode.BLIND, Mode.BLIND, Mode.OPEN]),
        st.integers(0, 2),
        st.sampled_from(["", "p", "q"]),
        st.integers(0, 5),
        st.sets(st.sampled_from([*VoteFlag]), max_size=2).map(lambda found: sum(map(int, found))),
        st.sampled_from([0.1, 30.0, float("nan")]),
        st.booleans(),
    ),
    max_size=25,
)  # fmt: skip
RULES = st.builds(Rules, **{field.name: st.booleans() for field in fields(Rules)})


def counted(rows: list[VoteRow], rules: Rules = MAIN_RULES) -> list[bool]:
    found: list[bool] = decide(table_of(rows), rules).mask.tolist()
    return found


ONE_REASON = (
    (FilterReason.NAMES_SHOWN, row(mode=Mode.OPEN)),
    (FilterReason.NAMES_SHOWN, row(mode=Mode.OPEN, flags=VoteFlag.OPEN_MODE)),
    (FilterReason.IDENTICAL, row(Winner.MODEL_A, flags=VoteFlag.IDENTICAL)),
    (FilterReason.IDENTICAL, row(Winner.MODEL_B, flags=VoteFlag.IDENTICAL)),
    (FilterReason.PROMPT_CUT, row(flags=VoteFlag.PROMPT_CUT)),
    (FilterReason.TRUNCATED, row(flags=VoteFlag.TRUNCATED)),
    (FilterReason.LOOPING, row(flags=VoteFlag.LOOPING)),
    (FilterReason.STOPPED, row(flags=VoteFlag.STOPPED)),
    (FilterReason.RETRIED, row(flags=VoteFlag.RETRIED)),
    (FilterReason.EDITED_AFTER_LEAK, row(flags=VoteFlag.LEAK_EDITED)),
    (FilterReason.NAMED_ITSELF, row(flags=VoteFlag.LEAK_A)),
    (FilterReason.NAMED_ITSELF, row(flags=VoteFlag.LEAK_B)),
    (FilterReason.NAMED_IN_PROMPT, row(flags=VoteFlag.LEAK_PROMPT)),
    (FilterReason.EXCLUDED, row(flags=VoteFlag.EXCLUDED)),
    (FilterReason.NOT_SIGNED_IN, row(signed_in=False)),
    (FilterReason.IMPORTED, row(flags=VoteFlag.IMPORTED, signed_in=True)),
    (FilterReason.TOO_FAST, row(**FAST)),
)


@pytest.mark.parametrize(("reason", "vote"), ONE_REASON)
def test_each_rule_alone(reason: FilterReason, vote: VoteRow) -> None:
    """A rule takes out the votes of its own reason and no others."""
    good = row(Winner.TIE, signed_in=True, voter="w", **SLOW)
    alone = replace(NO_RULES, **{reason.value: True})
    found = decide(table_of([good, vote]), alone)
    assert found.mask.tolist() == [True, False]
    assert {r: n for step in found.funnel for r, n in step.removed_by_reason.items()} == {reason: 1}
    others = replace(EVERY_RULE, **{reason.value: False})
    signed = replace(vote, signed_in=True) if reason is not FilterReason.NOT_SIGNED_IN else vote
    assert counted([good, signed], others) == [True, True]


def test_the_defaults() -> None:
    """Which votes stay out of the main ranking, as the manual says."""
    out = [field.name for field in fields(Rules) if getattr(Rules(), field.name)]
    assert out == [
        "names_shown", "identical", "prompt_cut", "stopped", "retried", "edited_after_leak",
        "named_itself", "named_in_prompt", "excluded", "repeated", "too_fast",
    ]  # fmt: skip


def test_a_vote_is_charged_to_its_first_reason() -> None:
    """Each vote that is taken out is counted once, under the first reason that applies."""
    everything = row(
        mode=Mode.OPEN, flags=VoteFlag.TRUNCATED | VoteFlag.LEAK_EDITED | VoteFlag.EXCLUDED, **FAST
    )
    rows = [everything, replace(everything, mode=Mode.BLIND), row(flags=VoteFlag.EXCLUDED), row()]
    found = decide(table_of(rows))
    assert [(step.name, step.left) for step in found.funnel] == [
        (StepName.ALL, 4),
        (StepName.BLIND, 3),
        (StepName.COMPLETE, 3),
        (StepName.NO_LEAK, 2),
        (StepName.COUNTED, 1),
    ]
    assert [dict(step.removed_by_reason) for step in found.funnel] == [
        {},
        {FilterReason.NAMES_SHOWN: 1},
        {},
        {FilterReason.EDITED_AFTER_LEAK: 1},
        {FilterReason.EXCLUDED: 1},
    ]
    assert found.counted == 1


def test_every_reason_stands_in_one_step() -> None:
    """Every reason belongs to one step of the funnel, and has a rule of its name."""
    listed = [reason for reasons in STEPS.values() for reason in reasons]
    assert listed == list(FilterReason)
    rules = {field.name for field in fields(Rules)}
    assert rules == {reason.value for reason in FilterReason} - {FilterReason.SAME_CONTESTANT.value}


def test_a_contestant_against_itself_never_counts() -> None:
    """No rule brings in a vote between a contestant and itself."""
    assert counted([row(a=A, b=A), row()], NO_RULES) == [False, True]


def test_identical_answers_may_be_a_tie_and_nothing_else() -> None:
    """Twenty votes for one of two answers that are the same once told two models apart."""
    same = [row(winner, flags=VoteFlag.IDENTICAL) for winner in Winner]
    assert counted(same) == [winner in (Winner.TIE, Winner.BOTH_BAD) for winner in Winner]


def test_the_first_of_repeated_votes_counts() -> None:
    """Of votes of one voter on one prompt and pair the first counts; unknown prompts differ."""
    first = row(Winner.TIE, prompt="p", cast_at=1.0)
    rows = [
        replace(first, cast_at=3.0, winner=Winner.MODEL_A),
        first,
        replace(first, cast_at=2.0, a=B, b=A),
        replace(first, cast_at=4.0, voter="w"),
        replace(first, cast_at=5.0, prompt="q"),
        replace(first, cast_at=6.0, b=C),
        replace(first, cast_at=7.0, prompt=""),
        replace(first, cast_at=8.0, prompt=""),
    ]
    assert counted(rows) == [False, True, False, True, True, True, True, True]


def test_a_repeat_stays_one_when_the_first_does_not_count() -> None:
    """A repeat stays out even where the first vote does: the names were shown after it."""
    first = row(prompt="p", flags=VoteFlag.LEAK_A)
    assert counted([first, replace(first, flags=VoteFlag(0), cast_at=1.0)]) == [False, False]


def test_what_nobody_can_have_read() -> None:
    """1,800 English characters: a quarter at 60 a second is 7.5 s; in Japanese at 25, 18 s.

    Never more than ten seconds are asked for, and reading begins when the first text appears.
    """
    lengths = {"chars_a": 900.0, "chars_b": 900.0}
    rows = [
        row(read_seconds=7.4, **lengths),
        row(read_seconds=7.6, **lengths),
        row(read_seconds=9.9, language="ja", **lengths),
        row(read_seconds=10.1, language="ja", **lengths),
        row(read_seconds=7.6, language="other", **lengths),
        row(read_seconds=0.5, ttft_a=2.0, ttft_b=1.0, total_a=5.0, total_b=8.1, **lengths),
        row(read_seconds=0.5, ttft_a=2.0, ttft_b=1.0, total_a=5.0, total_b=7.9, **lengths),
        row(read_seconds=0.0, chars_a=900.0),
        row(**lengths),
        row(read_seconds=0.5, total_a=9.0, **lengths),
        row(read_seconds=0.1, chars_a=10.0, chars_b=10.0),
        row(read_seconds=0.5, ttft_a=1.0, total_a=9.0, **lengths),
    ]
    table = table_of(rows)
    assert counted(rows) == [
        False, True, False, True, True, True, False, True, True, False, True, True,
    ]  # fmt: skip
    assert seconds_needed(table)[:5].tolist() == [7.5, 7.5, 10.0, 10.0, 7.5]
    assert seconds_had(table)[5] == pytest.approx(7.6)


def reference(rows: list[VoteRow], rules: Rules) -> list[bool]:
    """The same rules, one vote at a time and without arrays."""
    seen: dict[tuple[object, ...], list[tuple[float, int, int]]] = {}
    for place, vote in enumerate(rows):
        if vote.prompt:
            sides = sorted((vote.a, vote.b))
            won = {Winner.MODEL_A: vote.a, Winner.MODEL_B: vote.b}.get(vote.winner)
            rank = sides.index(won) if won else 2 + (vote.winner is Winner.BOTH_BAD)
            key = (vote.voter, vote.prompt, *sides)
            seen.setdefault(key, []).append((vote.cast_at, rank, place))
    firsts = {min(votes)[2] for votes in seen.values()}
    found = []
    for place, vote in enumerate(rows):
        quick = vote.read_seconds < min(0.25 * (vote.chars_a + vote.chars_b) / 60.0, 10.0)
        out = (
            (rules.names_shown and vote.mode is not Mode.BLIND)
            or vote.a == vote.b
            or (
                rules.identical
                and VoteFlag.IDENTICAL in vote.flags
                and vote.winner in (Winner.MODEL_A, Winner.MODEL_B)
            )
            or (rules.prompt_cut and VoteFlag.PROMPT_CUT in vote.flags)
            or (rules.looping and VoteFlag.LOOPING in vote.flags)
            or (rules.stopped and VoteFlag.STOPPED in vote.flags)
            or (rules.retried and VoteFlag.RETRIED in vote.flags)
            or (rules.truncated and VoteFlag.TRUNCATED in vote.flags)
            or (rules.edited_after_leak and VoteFlag.LEAK_EDITED in vote.flags)
            or (rules.named_itself and bool(vote.flags & (VoteFlag.LEAK_A | VoteFlag.LEAK_B)))
            or (rules.named_in_prompt and VoteFlag.LEAK_PROMPT in vote.flags)
            or (rules.excluded and VoteFlag.EXCLUDED in vote.flags)
            or (rules.not_signed_in and not vote.signed_in)
            or (rules.imported and VoteFlag.IMPORTED in vote.flags)
            or (rules.repeated and bool(vote.prompt) and place not in firsts)
            or (rules.too_fast and quick)
        )
        found.append(not out)
    return found


@ANY_TIME
@given(ROWS.map(lambda rows: [r for r in rows if r.a != r.b]), RULES)
def test_the_arrays_say_what_a_loop_says(rows: list[VoteRow], rules: Rules) -> None:
    """The same votes count as by a loop over rows, for any rows and rules."""
    assert counted(rows, rules) == reference(rows, rules)


@ANY_TIME
@given(ROWS, RULES, st.sampled_from([field.name for field in fields(Rules)]))
def test_a_rule_only_removes(rows: list[VoteRow], rules: Rules, name: str) -> None:
    """Switching a rule on takes no vote in, and switching it off takes none out."""
    table = table_of(rows)
    without = decide(table, replace(rules, **{name: False})).mask
    with_it = decide(table, replace(rules, **{name: True})).mask
    assert not (with_it & ~without).any()


@ANY_TIME
@given(ROWS, RULES)
def test_the_funnel_adds_up(rows: list[VoteRow], rules: Rules) -> None:
    """Each step has the votes of the one before without those it removed."""
    found = decide(table_of(rows), rules)
    assert [step.name for step in found.funnel] == list(StepName)
    left = len(rows)
    for step in found.funnel:
        assert set(step.removed_by_reason) <= set(STEPS[step.name])
        assert all(number > 0 for number in step.removed_by_reason.values())
        left -= sum(step.removed_by_reason.values())
        assert step.left == left
    assert found.counted == int(found.mask.sum())


@ANY_TIME
@given(ROWS, RULES, st.randoms(use_true_random=False))
def test_the_order_of_votes_does_not_matter(
    rows: list[VoteRow], rules: Rules, rng: random.Random
) -> None:
    """The same votes count in any order of the rows."""

    def what_counts(given_rows: list[VoteRow], mask: Bools) -> list[tuple[object, ...]]:
        kept = [vote for vote, counts in zip(given_rows, mask, strict=True) if counts]
        return sorted((vote.voter, vote.prompt, vote.cast_at, vote.winner) for vote in kept)

    shuffled = rows[:]
    rng.shuffle(shuffled)
    clear = [(v.voter, v.prompt, v.cast_at, v.winner, v.flags, v.signed_in) for v in rows]
    if len({(v.voter, v.prompt, v.cast_at) for v in rows}) == len(clear):
        one = what_counts(rows, decide(table_of(rows), rules).mask)
        other = what_counts(shuffled, decide(table_of(shuffled), rules).mask)
        assert one == other


def test_a_decision_cannot_be_changed() -> None:
    """The mask and the reasons cannot be written to."""
    found = decide(table_of([row()]))
    with pytest.raises(ValueError, match="read-only"):
        found.mask[0] = False
    with pytest.raises(TypeError):
        found.funnel[0].removed_by_reason[FilterReason.REPEATED] = 3  # type: ignore[index]
