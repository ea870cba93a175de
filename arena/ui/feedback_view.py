"""A voter's feedback: a guess before the vote; reasons, grades and a comment after it. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from arena.domain import Grade, Reason, Side
from arena.ui.i18n import say

COMMENT_CHARS = 1000
GOOD = (Reason.CORRECT, Reason.COMPLETE, Reason.CLEAR, Reason.CONCISE, Reason.NATURAL)


@dataclass(frozen=True, slots=True)
class Feedback:
    """What the voter has added so far.

    Attributes:
        guess: id of the contestant that the voter takes for side a.
    """

    guess: str | None = None
    reasons: tuple[Reason, ...] = ()
    grade_a: Grade | None = None
    grade_b: Grade | None = None
    comment: str = ""


def guess_html(choices: Sequence[tuple[str, str]], feedback: Feedback, language: str) -> str:
    """The guess, one click each.

    Args:
        choices: labels and ids, from `guess_choices`.
        feedback: what was added.
        language: of the page.
    """
    buttons = "".join(
        _choice("guess", label, label, chosen=feedback.guess == identity)
        for label, identity in choices
    )
    line = _line(say(language, "extra.guess"), buttons)
    return _fold(say(language, "extra.guess.open"), line)


def feedback_html(feedback: Feedback, language: str) -> str:
    """Reasons, a grade for each answer, and a comment."""
    tags = "".join(
        _choice(
            "reason", reason, say(language, f"reason.{reason}"),
            chosen=reason in feedback.reasons, colour="good" if reason in GOOD else "bad",
        )
        for reason in Reason
    )  # fmt: skip
    rows = [_line(say(language, "extra.why"), tags)]
    for side, chosen in ((Side.A, feedback.grade_a), (Side.B, feedback.grade_b)):
        grades = "".join(
            _choice(f"grade_{side}", grade, say(language, f"grade.{grade}"), chosen=chosen is grade)
            for grade in Grade
        )
        rows.append(_line(say(language, f"extra.grade.{side}"), grades))
    rows.append(_comment(feedback, language))
    return _fold(say(language, "extra.open"), "".join(rows))


def _fold(title: str, content: str) -> str:
    return (
        f'<details id="why"><summary class="link">{escape(title)}</summary>'
        f'<div class="sheet up">{content}</div></details>'
    )


def _comment(feedback: Feedback, language: str) -> str:
    label = escape(say(language, "extra.comment"), quote=True)
    saved = say(language, "extra.comment.saved") if feedback.comment else ""
    box = (
        f'<input type="text" maxlength="{COMMENT_CHARS}" aria-label="{label}" '
        f'placeholder="{label}" value="{escape(feedback.comment, quote=True)}">'
        f'<button type="button" data-kind="comment">{escape(say(language, "extra.save"))}</button>'
        f'<span class="saved">{escape(saved)}</span>'
    )
    return f'<div class="extra comment">{box}</div>'


def _line(title: str, buttons: str) -> str:
    return f'<div class="extra"><span class="lead">{escape(title)}</span>{buttons}</div>'


def _choice(kind: str, value: str, label: str, *, chosen: bool, colour: str = "") -> str:
    pressed = "true" if chosen else "false"
    return (
        f'<button type="button" class="tag {colour}" data-kind="{kind}" '
        f'data-value="{escape(value, quote=True)}" aria-pressed="{pressed}">'
        f"{escape(label)}</button>"
    )
