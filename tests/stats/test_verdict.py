"""One vote's verdict is the leaderboard's, and what is said before it promises no more than it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from arena.domain import Mode, Winner
from arena.stats.filters import MAIN_RULES, FilterReason, Rules, decide
from arena.stats.verdict import Verdict, verdict_before, verdict_on
from arena.stats.vote_table import VoteFlag, VoteTable
from tests.stats.arenas import A, B, C, VoteRow, row, table_of
from tests.stats.test_filters import ROWS, RULES

SOME_ROWS = ROWS.filter(bool)


def of_one_voter(rows: list[VoteRow]) -> list[VoteRow]:
    """What the store gives: the last one's voter and prompt, each at its own moment."""
    last = rows[-1]
    return [
        replace(one, voter=last.voter, prompt=last.prompt, cast_at=float(place))
        for place, one in enumerate(rows)
    ]


def swapped(rows: list[VoteRow]) -> VoteTable:
    """The same battles with the sides swapped, before anybody voted on the last one."""
    found = []
    for one in rows:
        left, right = (bool(one.flags & side) for side in (VoteFlag.LEAK_A, VoteFlag.LEAK_B))
        flags = one.flags & ~(VoteFlag.LEAK_A | VoteFlag.LEAK_B)
        flags |= VoteFlag.LEAK_B if left else VoteFlag(0)
        flags |= VoteFlag.LEAK_A if right else VoteFlag(0)
        found.append(
            replace(one, a=one.b, b=one.a, flags=flags, chars_a=one.chars_b, chars_b=one.chars_a)
        )
    return table_of(found)


@given(SOME_ROWS, RULES)
def test_a_cast_vote_is_judged_as_on_the_leaderboard(rows: list[VoteRow], rules: Rules) -> None:
    """The reason is the one that the leaderboard charges."""
    votes = table_of(rows)
    found = verdict_on(votes, rules)
    decided = decide(votes, rules)
    assert (found.reason is None) == bool(decided.mask[-1])
    if found.reason is not None:
        assert decided.charged[-1] == list(FilterReason).index(found.reason)
    assert found.cast
    assert found.certain


@given(rows=SOME_ROWS, rules=RULES, pair_known=st.booleans(), winner=st.sampled_from(Winner))
def test_what_is_said_before_holds(
    rows: list[VoteRow], rules: Rules, *, pair_known: bool, winner: Winner
) -> None:
    """A certain reason keeps every vote out; without any reason only haste does."""
    rows = of_one_voter(rows)
    assume(all(one.a != one.b for one in rows))
    told = verdict_before(table_of(rows), rules, pair_known=pair_known)
    cast = verdict_on(table_of([*rows[:-1], replace(rows[-1], winner=winner)]), rules)
    if told.reason is None:
        assert cast.reason in {None, FilterReason.TOO_FAST}
    elif told.certain:
        assert cast.reason is not None
    assert not told.cast


@given(rows=SOME_ROWS, rules=RULES, pair_known=st.booleans())
def test_what_is_said_before_tells_no_side(
    rows: list[VoteRow], rules: Rules, *, pair_known: bool
) -> None:
    """With the sides swapped it is the same."""
    told = verdict_before(table_of(rows), rules, pair_known=pair_known)
    assert told == verdict_before(swapped(rows), rules, pair_known=pair_known)


@given(SOME_ROWS, RULES, st.lists(st.permutations([A, B, C]), min_size=25, max_size=25))
def test_what_is_said_before_tells_no_pair(
    rows: list[VoteRow], rules: Rules, others: list[list[object]]
) -> None:
    """Where the pair is not known, it is the same whichever two play, then and now."""
    told = verdict_before(table_of(rows), rules, pair_known=False)
    votes = table_of([replace(one, a=a, b=b) for one, (a, b, _) in zip(rows, others, strict=False)])
    assert told == verdict_before(votes, rules, pair_known=False)


IDENTICAL = row(flags=VoteFlag.IDENTICAL)
NAMED = row(flags=VoteFlag.LEAK_A)
CASES = (
    ([row()], True, None, True),
    ([row(mode=Mode.OPEN)], True, FilterReason.NAMES_SHOWN, True),
    ([IDENTICAL], True, FilterReason.IDENTICAL, False),
    ([replace(IDENTICAL, flags=VoteFlag.IDENTICAL | VoteFlag.RETRIED)], True,
     FilterReason.RETRIED, True),
    ([NAMED], True, FilterReason.NAMED_ITSELF, True),
    ([NAMED], False, FilterReason.NAMED_ITSELF, False),
    ([row(prompt="p"), row(prompt="p", cast_at=9.0)], True, FilterReason.REPEATED, True),
    ([row(prompt="p"), row(prompt="p", cast_at=9.0)], False, FilterReason.REPEATED, False),
    ([row(prompt="p", a=A, b=C), row(prompt="p", cast_at=9.0)], True, None, True),
    ([row(prompt="p", a=A, b=C), row(prompt="p", cast_at=9.0)], False,
     FilterReason.REPEATED, False),
    ([row(flags=VoteFlag.TRUNCATED | VoteFlag.LOOPING)], True, None, True),
    ([row(read_seconds=0.0, chars_a=900.0, chars_b=900.0)], True, None, True),
)  # fmt: skip


@pytest.mark.parametrize(("rows", "pair_known", "reason", "certain"), CASES)
def test_each_reason_before_the_vote(
    rows: list[VoteRow], *, pair_known: bool, reason: FilterReason | None, certain: bool
) -> None:
    """What hangs on the choice or on the pair is no more than likely; haste is not known yet."""
    found = verdict_before(table_of(rows), MAIN_RULES, pair_known=pair_known)
    assert found == Verdict(reason, certain=certain)


def test_the_table_stays_as_it_is() -> None:
    """Neither looks back into the votes that it was given."""
    votes = table_of([row(Winner.BOTH_BAD)])
    verdict_before(votes, MAIN_RULES, pair_known=False)
    assert np.array_equal(votes.winner, table_of([row(Winner.BOTH_BAD)]).winner)
