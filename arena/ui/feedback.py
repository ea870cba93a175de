"""The voter's extra words: the component, and what a click on it does."""

from __future__ import annotations

from dataclasses import replace

import gradio as gr

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.battle.session import Snapshot
from arena.domain import Grade, Mode, Reason
from arena.errors.battle import VoteTooEarly
from arena.ui.feedback_view import Feedback, extras_html, guess_html
from arena.ui.page_state import PageState
from arena.ui.translator import html

COMMENT_CHARS = 1000
EXTRAS_JS = """
const send = (kind, value) => trigger('select', {kind, value});
element.addEventListener('click', (event) => {
  const button = event.target.closest('button[data-kind]');
  if (!button) return;
  const comment = button.dataset.kind === 'comment';
  send(button.dataset.kind, comment ? element.querySelector('input').value : button.dataset.value);
});
element.addEventListener('keydown', (event) => {
  if (event.key === 'Enter' && !event.isComposing && event.target.tagName === 'INPUT') {
    send('comment', event.target.value);
  }
});
"""


class FeedbackPart:
    """One line before the vote, a few after it; all optional, one click each."""

    def __init__(self, arena: Arena) -> None:
        self.arena = arena

    def build(self) -> gr.HTML:
        """Make the component; call inside the tab's context."""
        self.box = html("", elem_id="extras", elem_classes="extras", js_on_load=EXTRAS_JS)
        return self.box

    def shown(self, snapshot: Snapshot | None, visit: PageState) -> str:
        """What the voter may add now; empty while there is nothing."""
        if snapshot is None or snapshot.battle.mode is Mode.SINGLE:
            return ""
        if visit.vote is not None:
            return extras_html(visit.extras, visit.language)
        if snapshot.votable and snapshot.battle.mode is Mode.BLIND:
            return guess_html(self.pool(), visit.extras, visit.language)
        return ""

    def pool(self) -> list[tuple[str, str]]:
        """Labels and ids of all contestants that could be drawn."""
        return [(e.model.spec.label, e.model.spec.id) for e in self.arena.registry.pool()]

    async def click(self, visit: PageState, visitor: Visitor, kind: str, value: str) -> None:
        """Take one click. The store has it when this returns; a guess waits for the vote.

        Raises:
            VoteTooEarly: it belongs after the vote, or there is no battle.
            NotYourBattle: somebody else's battle.
            StoreError: it was not saved.
            ValueError: not a click that the page can make.
        """
        if visit.battle_id is None:
            raise VoteTooEarly
        if kind == "guess":
            known = dict(self.pool())
            if visit.vote is not None or value not in known:
                raise ValueError(kind)
            again = visit.extras.guess == known[value]
            visit.extras = replace(visit.extras, guess=None if again else known[value])
            return
        wanted = changed(visit.extras, kind, value)
        await self.arena.store.annotate_vote(
            visit.battle_id, visitor.voter, reasons=wanted.reasons, comment=wanted.comment,
            grade_a=wanted.grade_a, grade_b=wanted.grade_b,
        )  # fmt: skip
        visit.extras = wanted


def changed(extras: Feedback, kind: str, value: str) -> Feedback:
    """What was added, after one more click.

    Raises:
        ValueError: an unknown kind or value.
    """
    if kind == "reason":
        kept = {*extras.reasons} ^ {Reason(value)}
        return replace(extras, reasons=tuple(r for r in Reason if r in kept))
    if kind == "grade_a":
        return replace(extras, grade_a=Grade(value))
    if kind == "grade_b":
        return replace(extras, grade_b=Grade(value))
    if kind == "comment":
        return replace(extras, comment=value.strip()[:COMMENT_CHARS])
    raise ValueError(kind)
