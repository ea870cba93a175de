"""All checks of the votes that count."""

from __future__ import annotations

from arena.stats.bias.base import CheckResult
from arena.stats.bias.drift import drift
from arena.stats.bias.guesses import guesses
from arena.stats.bias.length import length_bias
from arena.stats.bias.position import position_bias
from arena.stats.bias.voters import voter_concentration
from arena.stats.outcomes import Pair
from arena.stats.vote_table import VoteTable


def run_checks(votes: VoteTable, pair: Pair | None) -> tuple[CheckResult, ...]:
    """What each check finds, in the order in which they are shown.

    Args:
        votes: those that count.
        pair: the two that the checks of one pair are about; None if no pair has votes.
    """
    return (
        position_bias(votes),
        length_bias(votes),
        voter_concentration(votes, pair),
        drift(votes, pair),
        guesses(votes),
    )
