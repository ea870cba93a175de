"""A page that opens has its visitor's battle back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from typing import Any

import gradio as gr

from arena.battle.resume import TakenUp
from arena.battle.session import snapshot_of
from arena.domain import Vote
from arena.errors.base import ArenaError
from arena.ui import view
from arena.ui.arena_tab import ArenaTab
from arena.ui.components import Updates, merge_updates
from arena.ui.feedback_view import Feedback
from arena.ui.i18n import say
from arena.ui.page_state import PageState, random_id


async def take_up(
    tab: ArenaTab, state: PageState, client: Mapping[str, Any], request: gr.Request
) -> Updates:
    """Put the visitor's battle on a page that opens; its link's where there is none.

    What this page showed before comes before the link, which may still be in its address.

    Args:
        tab: of the page.
        state: of the page, with its visitor.
        client: what the page's script sent.
        request: of the page.
    """
    shown = client.get("shown")
    link = random_id(client.get("battle"))
    taken: TakenUp | None = None
    if state.visitor or state.account:
        try:
            visitor = await tab.visitor(state, request)
            taken = await tab.arena.pages.take_up(
                visitor.voter, request.session_hash or "",
                shown if isinstance(shown, str) else None, shown_only=link is not None,
            )  # fmt: skip
        except ArenaError as error:
            return tab.complain(error, state.language)
        if taken is None:
            await tab.unfinished.look(state, visitor)
    if taken is None:
        return await _open_link(tab, state, link) if link else {}
    return await _restored(tab, state, taken, str(client.get("draft", "")))


async def _open_link(tab: ArenaTab, state: PageState, battle_id: str) -> Updates:
    """Put the battle of a link on the page, to be read only."""
    try:
        found = await tab.arena.shared(battle_id)
    except ArenaError as error:
        return tab.complain(error, state.language)
    if found is None:
        return tab.complain(say(state.language, "error.no_such_link"))
    battle, vote = found
    state.forget_battle()
    state.shared, state.vote, state.mode = snapshot_of(battle), vote.winner, battle.mode
    await state.guarded.prepare(view.shown_texts(state.shared))
    return {}


async def _restored(tab: ArenaTab, state: PageState, taken: TakenUp, draft: str) -> Updates:
    """The page's memory of the battle, as far as the record has it, and its settings."""
    battle = taken.session.battle
    state.forget_battle()
    state.battle_id, state.mode = battle.id, battle.mode
    state.played = tab.by_id.get(battle.preset.id) if battle.preset else None
    if taken.vote is not None:
        state.vote, state.feedback = taken.vote.winner, feedback_of(taken.vote)
    await state.guarded.prepare(view.shown_texts(taken.session.snapshot()))
    slugs = {side: entry.slug for side, entry in taken.session.entries.items()}
    updates = tab.models_of(battle.mode, state.language, slugs) | {
        tab.mode: gr.update(value=battle.mode.value),
        tab.temperature: battle.params.temperature,
        tab.top_p: battle.params.top_p,
        tab.max_new_tokens: battle.params.max_new_tokens,
        tab.system: battle.system_prompt or "",
    }
    if draft.strip() == battle.conversation_a[-1].prompt:  # it was sent
        updates[tab.prompt] = gr.update(value="")
    return updates


async def take_up_unfinished(tab: ArenaTab, state: PageState, request: gr.Request) -> Updates:
    """The newest battle that waits for its vote, on an empty page."""
    try:
        visitor = await tab.visitor(state, request)
        taken = await tab.arena.pages.take_up_unfinished(visitor.voter, request.session_hash or "")
    except ArenaError as error:
        return tab.complain(error, state.language)
    if taken is None:  # it has its vote by now, or another page shows it
        await tab.unfinished.look(state, visitor)
        return tab.unfinished.shown(state)
    updates = await _restored(tab, state, taken, "")
    shown = tab.show(await tab.judged(taken.session, state), state)
    return merge_updates(updates, shown, {tab.notice: ""})


def feedback_of(vote: Vote) -> Feedback:
    """What the voter has added so far, as the store has it."""
    return Feedback(vote.guess, vote.reasons, vote.grade_a, vote.grade_b, vote.comment or "")


async def follow(tab: ArenaTab, state: PageState) -> AsyncGenerator[Updates, None]:
    """What still changes in a battle that was taken up: its answers, or its vote's end."""
    yield {tab.notice: gr.skip()}  # Gradio empties the outputs of an event without an update
    session = tab.arena.find_session(state.battle_id)
    if session is None:
        return
    if session.running:
        async for update in tab.show_all(state, session, {}):
            yield update
        return
    yield tab.show(await tab.judged(session, state), state)
    if state.vote is not None:
        async for update in tab.show_end_of_vote(state, session, state.vote):
            yield update
