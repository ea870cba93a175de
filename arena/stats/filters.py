"""Which votes count, decided in one place, with the reason for each that does not.

A leaderboard that counts votes cast with the names in sight shows the fame of a name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from arena.domain import Mode, Winner
from arena.stats.outcomes import outcome_codes
from arena.stats.vote_table import (
    LANGUAGES,
    MODES,
    WINNERS,
    Bools,
    Codes,
    Floats,
    Ints,
    VoteFlag,
    VoteTable,
)

if TYPE_CHECKING:
    from arena.settings import Settings


class FilterReason(StrEnum):
    """Why a vote does not count. A vote with several is charged to the first of this order."""

    NAMES_SHOWN = "names_shown"
    SAME_CONTESTANT = "same_contestant"
    IDENTICAL = "identical"
    PROMPT_CUT = "prompt_cut"
    TRUNCATED = "truncated"
    LOOPING = "looping"
    STOPPED = "stopped"
    RETRIED = "retried"
    EDITED_AFTER_LEAK = "edited_after_leak"
    NAMED_ITSELF = "named_itself"
    NAMED_IN_PROMPT = "named_in_prompt"
    EXCLUDED = "excluded"
    NOT_SIGNED_IN = "not_signed_in"
    IMPORTED = "imported"
    REPEATED = "repeated"
    TOO_FAST = "too_fast"


class StepName(StrEnum):
    """The levels of the funnel, from all votes to those that count."""

    ALL = "all"
    BLIND = "blind"
    COMPLETE = "complete"
    NO_LEAK = "no_leak"
    COUNTED = "counted"


STEPS: Final[Mapping[StepName, tuple[FilterReason, ...]]] = MappingProxyType(
    {
        StepName.ALL: (),
        StepName.BLIND: (FilterReason.NAMES_SHOWN,),
        StepName.COMPLETE: (
            FilterReason.SAME_CONTESTANT,
            FilterReason.IDENTICAL,
            FilterReason.PROMPT_CUT,
            FilterReason.TRUNCATED,
            FilterReason.LOOPING,
            FilterReason.STOPPED,
            FilterReason.RETRIED,
        ),
        StepName.NO_LEAK: (
            FilterReason.EDITED_AFTER_LEAK,
            FilterReason.NAMED_ITSELF,
            FilterReason.NAMED_IN_PROMPT,
        ),
        StepName.COUNTED: (
            FilterReason.EXCLUDED,
            FilterReason.NOT_SIGNED_IN,
            FilterReason.IMPORTED,
            FilterReason.REPEATED,
            FilterReason.TOO_FAST,
        ),
    }
)

# Characters a second that are too many to read. People read silently at about 240 English
# words a minute (M. Brysbaert (2019), Journal of Memory and Language 109, 104047), aloud at 987
# English or 357 Japanese characters a minute (S. Trauzettel-Klosinski and K. Dietz (2012),
# Investigative Ophthalmology & Visual Science 53, 5452-5461); above some 600 words a minute they
# skim (K. Rayner et al. (2016), Psychological Science in the Public Interest 17, 4-34). 600 words
# are 60 characters a second; Japanese says as much in 0.36 times the characters: 25, rounded up.
TOP_SPEED: Final[Mapping[str, float]] = MappingProxyType({"en": 60.0, "ja": 25.0, "other": 60.0})
# People judge before the end: a vote is too fast only without the time for this share of both.
SHARE_READ: Final = 0.25
# A vote that took this long is never too fast, however long the answers are.
ALWAYS_ENOUGH_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Rules:
    """Which votes stay out; each can be switched. The defaults are those of the main ranking.

    A contestant against itself stays out always: such a vote compares nothing.

    Attributes:
        names_shown: votes of other modes than blind.
        identical: decisive votes on two answers that are the same to the letter. They say
            something of the voter or of the sides' places, and nothing of the models; a tie, or
            "both bad", is a verdict.
        prompt_cut: an engine read less than it was sent. What was judged is the engine's setting.
        truncated: battles in which an answer was cut off at its budget. Counted by default: both
            sides have the same budget, and to say too much is a fault.
        looping: an answer repeated itself without end and was stopped. Counted by default: people
            have read what it wrote, and to fall into a loop is the model's fault.
        stopped: an answer was stopped by people before its end; what follows might have changed
            the verdict.
        retried: a side failed and was asked again. The other answer was read meanwhile, the side
            had a second try that others don't get, and that it failed hints at the remote model.
        edited_after_leak: something was changed after a name had leaked.
        named_itself: an answer named its model before the vote.
        named_in_prompt: the prompt named a contestant.
        excluded: the owner decided so.
        not_signed_in: the voter had not signed in with an account. Counted by default.
        imported: votes cast elsewhere. Counted by default.
        repeated: the same voter, prompt and pair again; the first counts. After it the names were
            shown, so a second is not blind, whatever became of the first.
        too_fast: too little time to have read enough; see `seconds_needed`.
    """

    names_shown: bool = True
    identical: bool = True
    prompt_cut: bool = True
    truncated: bool = False
    looping: bool = False
    stopped: bool = True
    retried: bool = True
    edited_after_leak: bool = True
    named_itself: bool = True
    named_in_prompt: bool = True
    excluded: bool = True
    not_signed_in: bool = False
    imported: bool = False
    repeated: bool = True
    too_fast: bool = True


MAIN_RULES: Final = Rules()


def rules_of(settings: Settings) -> Rules:
    """The rules of the main ranking, as the owner has set them."""
    return Rules(
        not_signed_in=settings.signed_in_votes_only, stopped=not settings.count_stopped_votes
    )


@dataclass(frozen=True, slots=True)
class Step:
    """One level of the funnel.

    Attributes:
        left: votes that passed this level and all before it.
        removed_by_reason: votes that this level took out, by reason; reasons without any are
            absent.
    """

    name: StepName
    left: int
    removed_by_reason: Mapping[FilterReason, int]


@dataclass(frozen=True, slots=True, eq=False)
class Decision:
    """Which votes count.

    Attributes:
        mask: shape (n,).
        charged: the place in `FilterReason` of the reason why a vote does not count, -1 where it
            does; shape (n,).
        funnel: one step a level, from all votes to those that count.
    """

    mask: Bools
    charged: Codes
    funnel: tuple[Step, ...]

    @property
    def counted(self) -> int:
        """How many votes count."""
        return self.funnel[-1].left


def decide(votes: VoteTable, rules: Rules = MAIN_RULES) -> Decision:
    """Which votes count under these rules, and why the others do not.

    Every reason is looked at for every vote by itself, so no rule can bring a vote back or push
    another one out: with a rule switched off, all that counted still counts.

    Args:
        votes: n of them.
        rules: those of the main ranking by default.
    """
    left = np.ones(len(votes), np.bool_)
    charged = np.full(len(votes), -1, np.int32)
    places = {reason: place for place, reason in enumerate(FilterReason)}
    funnel = []
    for step, reasons in STEPS.items():
        removed: dict[FilterReason, int] = {}
        for reason in reasons:
            if _applies(rules, reason):
                out = left & _CHECKS[reason](votes)
                left &= ~out
                charged[out] = places[reason]
                if out.any():
                    removed[reason] = int(out.sum())
        funnel.append(Step(step, int(left.sum()), MappingProxyType(removed)))
    left.setflags(write=False)
    charged.setflags(write=False)
    return Decision(left, charged, tuple(funnel))


def _applies(rules: Rules, reason: FilterReason) -> bool:
    """Whether that reason is switched on; a rule bears the name of its reason."""
    return reason is FilterReason.SAME_CONTESTANT or bool(getattr(rules, reason.value))


def seconds_needed(votes: VoteTable) -> Floats:
    """The shortest time in which both answers can be judged; shape (n,), seconds.

    A quarter of the shown characters at TOP_SPEED, ten seconds at most; nan where a length is
    unknown.
    """
    speed = np.array([TOP_SPEED[language] for language in LANGUAGES])[votes.language]
    shown = votes.chars_a + votes.chars_b
    return np.asarray(np.minimum(SHARE_READ * shown / speed, ALWAYS_ENOUGH_S))


def seconds_had(votes: VoteTable) -> Floats:
    """How long there was something to read before the vote; shape (n,), seconds.

    Answers are read while they are written, so this is the time from the first text to the vote.
    Where the times of writing are unknown, it is `read_seconds` alone; where that is unknown, nan.
    """
    total = np.fmax(votes.total_a, votes.total_b)
    first = np.fmin(votes.ttft_a, votes.ttft_b)
    writing = np.nan_to_num(np.maximum(total - first, 0.0), nan=0.0)
    return np.asarray(votes.read_seconds + writing)


def _too_fast(votes: VoteTable) -> Bools:
    """What is unknown is not held against a vote: comparisons with nan are false."""
    return seconds_had(votes) < seconds_needed(votes)


def _repeated(votes: VoteTable) -> Bools:
    """All but the first vote of one voter on one prompt and pair; unknown prompts are all new."""
    first, second, outcome = outcome_codes(votes)
    same_for_repeats = (first, second, votes.prompt, votes.voter)
    known = np.flatnonzero(votes.prompt >= 0)
    rows = known[_has_twin(_mixed([key[known] for key in same_for_repeats]))]
    # Votes of the same moment are told apart by what they say, so that row order never matters.
    keys = [key[rows] for key in (outcome, votes.cast_at, *same_for_repeats)]
    order = np.lexsort(keys)
    same = np.ones(max(len(order) - 1, 0), np.bool_)
    for key in keys[2:]:
        in_order = key[order]
        same &= in_order[1:] == in_order[:-1]
    repeated = np.zeros(len(votes), np.bool_)
    repeated[rows[order[1:][same]]] = True
    return repeated


def _mixed(keys: Sequence[Codes | Ints]) -> npt.NDArray[np.uint64]:
    """One number a row, the same for the same keys, and rarely for others."""
    mixed = np.zeros(len(keys[0]), np.uint64)
    for key in keys:
        # The multiplier of Knuth's MMIX generator; the shift brings high bits down again.
        mixed = (mixed ^ key.astype(np.uint64)) * np.uint64(6364136223846793005)
        mixed ^= mixed >> np.uint64(32)
    return mixed


def _has_twin(values: npt.NDArray[np.uint64]) -> Bools:
    """Which values occur more than once; sorting one number is quicker than sorting five."""
    order = np.argsort(values)
    in_order = values[order]
    same = in_order[1:] == in_order[:-1]
    twin = np.zeros(len(values), np.bool_)
    twin[order[1:][same]] = True
    twin[order[:-1][same]] = True
    return twin


_DECISIVE: Final = [WINNERS.index(winner) for winner in (Winner.MODEL_A, Winner.MODEL_B)]
_CHECKS: Final[Mapping[FilterReason, Callable[[VoteTable], Bools]]] = {
    FilterReason.NAMES_SHOWN: lambda votes: votes.mode != MODES.index(Mode.BLIND),
    FilterReason.SAME_CONTESTANT: lambda votes: votes.a == votes.b,
    FilterReason.IDENTICAL: lambda votes: (
        votes.has(VoteFlag.IDENTICAL) & np.isin(votes.winner, _DECISIVE)
    ),
    FilterReason.PROMPT_CUT: lambda votes: votes.has(VoteFlag.PROMPT_CUT),
    FilterReason.TRUNCATED: lambda votes: votes.has(VoteFlag.TRUNCATED),
    FilterReason.LOOPING: lambda votes: votes.has(VoteFlag.LOOPING),
    FilterReason.STOPPED: lambda votes: votes.has(VoteFlag.STOPPED),
    FilterReason.RETRIED: lambda votes: votes.has(VoteFlag.RETRIED),
    FilterReason.EDITED_AFTER_LEAK: lambda votes: votes.has(VoteFlag.LEAK_EDITED),
    FilterReason.NAMED_ITSELF: lambda votes: votes.has(VoteFlag.LEAK_A | VoteFlag.LEAK_B),
    FilterReason.NAMED_IN_PROMPT: lambda votes: votes.has(VoteFlag.LEAK_PROMPT),
    FilterReason.EXCLUDED: lambda votes: votes.has(VoteFlag.EXCLUDED),
    FilterReason.NOT_SIGNED_IN: lambda votes: ~votes.signed_in,
    FilterReason.IMPORTED: lambda votes: votes.has(VoteFlag.IMPORTED),
    FilterReason.REPEATED: _repeated,
    FilterReason.TOO_FAST: _too_fast,
}
