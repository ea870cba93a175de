"""Whether one vote counts, by the rules of the leaderboard, and what is known before it is cast.

What is said before the vote must tell nobody who plays. Which question it is, what stands in both
answers together and what the voter has judged before may be known; which two of a larger pool
play may not. So there a reason that hangs on the pair is looked for among all pairs, and is no
more than likely.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from arena.domain import Winner
from arena.stats.filters import FilterReason, Rules, decide
from arena.stats.vote_table import WINNERS, Contestant, VoteTable


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a vote counts.

    Attributes:
        reason: the first reason why not; None if it counts.
        certain: False where it hangs on what the voter chooses, or on who plays.
        cast: it is about a vote that was cast.
    """

    reason: FilterReason | None
    certain: bool = True
    cast: bool = False


def verdict_on(votes: VoteTable, rules: Rules) -> Verdict:
    """Whether the last of these votes counts.

    Args:
        votes: at least all of its voter on the same prompt and pair.
        rules: of the leaderboard.
    """
    return Verdict(_last(votes, rules), cast=True)


def verdict_before(votes: VoteTable, rules: Rules, *, pair_known: bool) -> Verdict:
    """Whether a vote will count that is not cast yet: the last one, whatever it says.

    How fast it is cast is not known yet.

    Args:
        votes: as in `verdict_on`; where the pair is not known, of any pair, and the flags of the
            last one go by the names of all who could play.
        rules: of the leaderboard.
        pair_known: the voter knows which two play, if not on which side.
    """
    rules = sure = replace(rules, too_fast=False)
    if not pair_known:
        votes = _of_one_pair(votes)
        sure = replace(
            rules, repeated=False, edited_after_leak=False, named_itself=False,
            named_in_prompt=False,
        )  # fmt: skip
    tie, decisive = (_with_last(votes, winner) for winner in (Winner.TIE, Winner.MODEL_A))
    if (found := _last(tie, sure)) is not None:
        return Verdict(found)
    likely = _last(tie, rules) or _last(decisive, rules)
    return Verdict(likely, certain=likely is None)


def _last(votes: VoteTable, rules: Rules) -> FilterReason | None:
    charged = int(decide(votes, rules).charged[-1])
    return None if charged < 0 else tuple(FilterReason)[charged]


def _with_last(votes: VoteTable, winner: Winner) -> VoteTable:
    """The same votes, the last one for that winner."""
    changed = votes.winner.copy()
    changed[-1] = WINNERS.index(winner)
    return replace(votes, winner=changed)


def _of_one_pair(votes: VoteTable) -> VoteTable:
    """The same votes as if one pair had played all of their battles."""
    left = np.zeros(len(votes), np.int32)
    return replace(
        votes, contestants=(Contestant("a", ""), Contestant("b", "")), a=left, b=left + 1
    )
