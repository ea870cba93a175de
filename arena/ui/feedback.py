"""A voter's feedback: the component, and what a click on it does."""

from __future__ import annotations

from dataclasses import replace

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.battle.session import Snapshot
from arena.blind import guess_choices
from arena.domain import Grade, Mode, Reason, clean
from arena.errors.battle import VoteTooEarly
from arena.ui.components import html
from arena.ui.feedback_view import COMMENT_CHARS, Feedback, feedback_html, guess_html
from arena.ui.page_state import PageState


class FeedbackPart:
    """A guess before the vote, more after it; all optional, one click each."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def build(self) -> None:
        """Make the component; call inside the tab's context."""
        self.box = html(
            elem_id="extras", elem_classes="extras", js_on_load="arenaFeedback(element, trigger)"
        )

    def shown(self, snapshot: Snapshot | None, state: PageState) -> str:
        """What the voter may add now; empty while there is nothing."""
        if snapshot is None or snapshot.battle.mode is Mode.SINGLE:
            return ""
        if state.vote is not None:
            return feedback_html(state.feedback, state.language)
        if snapshot.votable and snapshot.battle.mode is Mode.BLIND:
            return guess_html(self._choices(state), state.feedback, state.language)
        return ""

    def _choices(self, state: PageState) -> list[tuple[str, str]]:
        session = self.arena.find_session(state.battle_id)
        return guess_choices(session.pool if session else ())

    async def click(self, state: PageState, visitor: Visitor, kind: str, value: str) -> None:
        """Take one click. The store has it when this returns; a guess waits for the vote.

        Raises:
            VoteTooEarly: it belongs after the vote, or there is no battle.
            NotYourBattle: another visitor's battle.
            StoreError: it was not saved.
            ValueError: not a click that the page can make.
        """
        if state.battle_id is None:
            raise VoteTooEarly
        if kind == "guess":
            known = dict(self._choices(state))
            if state.vote is not None or value not in known:
                raise ValueError(kind)
            again = state.feedback.guess == known[value]
            state.feedback = replace(state.feedback, guess=None if again else known[value])
            return
        wanted = changed(state.feedback, kind, value)
        await self.arena.store.annotate_vote(
            state.battle_id, visitor.voter, reasons=wanted.reasons, comment=wanted.comment,
            grade_a=wanted.grade_a, grade_b=wanted.grade_b,
        )  # fmt: skip
        state.feedback = wanted


def changed(feedback: Feedback, kind: str, value: str) -> Feedback:
    """What was added, after one more click.

    Raises:
        ValueError: an unknown kind or value.
    """
    if kind == "reason":
        kept = {*feedback.reasons} ^ {Reason(value)}
        return replace(feedback, reasons=tuple(r for r in Reason if r in kept))
    if kind == "grade_a":
        return replace(feedback, grade_a=Grade(value))
    if kind == "grade_b":
        return replace(feedback, grade_b=Grade(value))
    if kind == "comment":
        return replace(feedback, comment=clean(value[: 2 * COMMENT_CHARS]).strip()[:COMMENT_CHARS])
    raise ValueError(kind)
