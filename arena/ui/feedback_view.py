"""What a voter may add: a guess before the vote; reasons, grades and a comment after it. Pure.

Before the vote nothing here may depend on which side is which: the guess offers the whole pool, in
the order of its labels, and a click sends the label. Ids stay behind until the vote.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from arena.domain import Battle, Grade, Reason, Side
from arena.ui.i18n import say

GOOD = (Reason.CORRECT, Reason.COMPLETE, Reason.CLEAR, Reason.CONCISE, Reason.NATURAL)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the voter has added so far.

    Attributes:
        guess: id of the contestant whom the voter takes for side a.
    """

    guess: str | None = None
    reasons: tuple[Reason, ...] = ()
    grade_a: Grade | None = None
    grade_b: Grade | None = None
    comment: str = ""


def guess_on(battle: Battle, extras: Feedback) -> str | None:
    """The guess, if it names one of the two.

    The page offers the whole pool, since a choice of two would tell who plays. To refuse a vote
    with a guess at a third one would tell it as well: such a guess is left out.
    """
    ids = [battle.spec(side).id for side in battle.sides]
    return extras.guess if extras.guess in ids else None


def guess_html(pool: Sequence[tuple[str, str]], extras: Feedback, language: str) -> str:
    """The guess, one click each.

    Args:
        pool: labels and ids of all who could have been drawn.
        extras: what was added.
        language: of the page.
    """
    buttons = "".join(
        _button("guess", label, label, chosen=extras.guess == identity)
        for label, identity in sorted(pool)
    )
    return _row(say(language, "extra.guess"), buttons)


def extras_html(extras: Feedback, language: str) -> str:
    """Reasons, a grade for each answer, and a comment."""
    tags = "".join(
        _button(
            "reason", reason, say(language, f"reason.{reason}"),
            chosen=reason in extras.reasons, colour="good" if reason in GOOD else "bad",
        )
        for reason in Reason
    )  # fmt: skip
    rows = [_row(say(language, "extra.why"), tags)]
    for side, chosen in ((Side.A, extras.grade_a), (Side.B, extras.grade_b)):
        grades = "".join(
            _button(f"grade_{side}", grade, say(language, f"grade.{grade}"), chosen=chosen is grade)
            for grade in Grade
        )
        rows.append(_row(say(language, f"extra.grade.{side}"), grades))
    rows.append(_comment(extras, language))
    return f'<div class="extras-rows">{"".join(rows)}</div>'


def _comment(extras: Feedback, language: str) -> str:
    label = escape(say(language, "extra.comment"), quote=True)
    saved = say(language, "extra.comment.saved") if extras.comment else ""
    box = (
        f'<input type="text" maxlength="1000" aria-label="{label}" placeholder="{label}" '
        f'value="{escape(extras.comment, quote=True)}">'
        f'<button type="button" data-kind="comment">{escape(say(language, "extra.save"))}</button>'
        f'<span class="saved">{escape(saved)}</span>'
    )
    return f'<div class="extra comment">{box}</div>'


def _row(title: str, buttons: str) -> str:
    return f'<div class="extra"><span class="lead">{escape(title)}</span>{buttons}</div>'


def _button(kind: str, value: str, label: str, *, chosen: bool, colour: str = "") -> str:
    pressed = "true" if chosen else "false"
    return (
        f'<button type="button" class="tag {colour}" data-kind="{kind}" '
        f'data-value="{escape(value, quote=True)}" aria-pressed="{pressed}">'
        f"{escape(label)}</button>"
    )
