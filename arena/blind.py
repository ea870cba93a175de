"""What a browser may see of a battle before its vote: nothing that tells the sides apart. Pure.

In blind mode the pool of contestants is public, and which of them plays on which side is not.
With the sides swapped, all that is shown before the vote is the same, but for the answers' own
text and its timing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from arena.domain import Answer, Battle, Mode, ModelSpec, Side
from arena.errors.base import ArenaError

EVEN_CHARS_PER_SECOND = 60.0


@dataclass(frozen=True, slots=True)
class SideFacts:
    """What is known of one side beside its phase and its text.

    Attributes:
        error_id: finds the details of `error` in the log.
        ttft_s: seconds to the first text; None before it.
        elapsed_s: seconds since the request, while it runs.
    """

    answer: Answer | None = None
    error: ArenaError | None = None
    error_id: str = ""
    ttft_s: float | None = None
    elapsed_s: float = 0.0


def hides_sides(battle: Battle, *, voted: bool) -> bool:
    """Whether the sides' names, numbers and errors stay on the server."""
    return battle.mode is Mode.BLIND and not voted


def visible_side(
    battle: Battle, side: Side, facts: SideFacts, *, voted: bool
) -> tuple[ModelSpec | None, SideFacts]:
    """What may be shown of one side; where sides are hidden, that is an error's id alone.

    Where they are not, the error itself is shown in place of its id.
    """
    if hides_sides(battle, voted=voted):
        return None, SideFacts(error_id=facts.error_id)
    return battle.spec(side), replace(facts, error_id="")


def even_chars(elapsed_s: float, running: Iterable[int]) -> int:
    """How many characters of each text to show so that no side tells its speed.

    Args:
        elapsed_s: since the prompt was sent.
        running: lengths of the texts that are still being written; none is passed.
    """
    return min([int(elapsed_s * EVEN_CHARS_PER_SECOND), *running])


def guess_choices(pool: Iterable[ModelSpec]) -> list[tuple[str, str]]:
    """Label and id of all contestants that could be drawn, in the order of the labels.

    A click sends a label: ids tell more of a model, and stay on the server until the vote.
    """
    return sorted((spec.label, spec.id) for spec in pool)


def valid_guess(battle: Battle, guess: str | None) -> str | None:
    """The guessed id, if it is one of the two.

    The page offers the whole pool, since a choice of two would tell who plays. To refuse a vote
    with a guess at a third one would tell it as well: such a guess is left out.
    """
    return guess if guess in [battle.spec(side).id for side in battle.sides] else None
