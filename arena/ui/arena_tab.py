"""What each part of the arena tab does. The UI shows; the arena decides."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from functools import partial
from typing import Any

import gradio as gr

from arena.battle.admission import Slot
from arena.battle.limits import Visitor
from arena.battle.request import BattleRequest, answered
from arena.battle.session import BattleSession, Snapshot
from arena.blind import valid_guess
from arena.domain import Mode, Side, Winner
from arena.errors.base import ArenaError
from arena.errors.store import StoreError
from arena.presets import Preset, pick
from arena.ui import presets_view, status_view, view
from arena.ui.arena_parts import ArenaParts, stage_classes, vote_id
from arena.ui.components import PRIVATE, Updates, diff_updates
from arena.ui.feedback_view import Feedback
from arena.ui.i18n import say
from arena.ui.page_state import PageState, SeedError, params_from, preset_behind

UNLIMITED: dict[str, Any] = PRIVATE | {"concurrency_limit": None}
TICK_SECONDS = 1.0
DICE = random.Random()  # noqa: S311 -- for examples, nothing secret


class ArenaTab(ArenaParts):
    """The parts, connected."""

    # --- connections ---------------------------------------------------------------------------

    def connect(self) -> None:
        """Register what each part does."""
        state, outputs = self.state, self.battle_outputs()
        asked = [
            state, self.prompt, self.mode, self.use_gemini, *self.models.values(),
            self.temperature, self.top_p, self.max_new_tokens, self.seed, self.system,
        ]  # fmt: skip
        gr.on(
            [self.prompt.submit, self.send.click], self.on_send, asked, outputs,
            trigger_mode="once", js="(...inputs) => window.arenaSending(...inputs)", **UNLIMITED,
        )  # fmt: skip
        self.prompt.change(
            None, [self.prompt], None, js="(text) => window.arenaPrompt && window.arenaPrompt(text)"
        )
        for side, pane in self.panes.items():
            pane.retry.click(self.retry_handler(side), [state], outputs, **UNLIMITED)
        self.stop.click(self.on_stop, [state], [self.notice], queue=False, **UNLIMITED)
        for winner, button in self.votes.items():
            button.click(
                self.vote_handler(winner), [state], outputs, trigger_mode="multiple", **UNLIMITED
            )
        self.undo.click(self.on_undo, [state], outputs, **UNLIMITED)
        self.feedback.box.select(
            self.on_feedback, [state], [self.feedback.box, self.notice], **UNLIMITED
        )
        for event in (self.new_battle.click, self.mode.input):
            event(self.on_new, [state, self.mode], outputs, **UNLIMITED)
        self.erasure.connect(state, self.visitor, self._emptied, outputs)
        self.use_gemini.input(self.on_gemini, [state, self.use_gemini], [self.privacy], **UNLIMITED)
        self.preset_list.select(
            self.on_preset, [state], [self.prompt, self.notice], **UNLIMITED
        ).then(None, js="() => window.arenaFocusPrompt && window.arenaFocusPrompt()")

    # --- what they do --------------------------------------------------------------------------

    async def on_send(  # noqa: PLR0917 -- Gradio passes the inputs by position
        self, state: PageState, text: str, mode: str, use_gemini: bool, model_a: str | None,  # noqa: FBT001
        model_b: str | None, temperature: float, top_p: float, max_new_tokens: int, seed: str,
        system: str, request: gr.Request,
    ) -> AsyncGenerator[Updates, None]:  # fmt: skip
        """Send the prompt: the next turn of an open battle, or a new battle."""
        try:
            params = params_from(temperature, top_p, max_new_tokens, seed)
            kind = Mode(mode)
        except ValueError as error:
            which = "invalid_seed" if isinstance(error, SeedError) else "invalid_params"
            yield self.complain(say(state.language, f"error.{which}"))
            return
        text = str(text or "")
        preset = preset_behind(text, state.preset)
        session = self._open_session(state) if preset is None else None
        try:
            wanted = BattleRequest(
                text=text, mode=kind, params=params, visitor=await self.visitor(state, request),
                session_hash=request.session_hash or "", ui_language=state.language,
                use_gemini=bool(use_gemini), preset=preset, system_prompt=system,
                model_a=model_a, model_b=model_b,
            )  # fmt: skip
            begin = partial(self._begin, state, wanted, session)
            updates = self._run(state, begin, None if session else wanted)
            async with aclosing(updates):
                async for update in updates:
                    yield update
        except ArenaError as error:
            yield self.settle(state) | self.complain(error, state.language)

    async def _begin(
        self, state: PageState, wanted: BattleRequest, session: BattleSession | None, slot: Slot
    ) -> BattleSession:
        """The next turn of the open battle, or a new battle in its stead."""
        if session is not None:
            await self.arena.follow_up(session, wanted.text, wanted.visitor, slot)
        else:
            session = await self.arena.begin(wanted, slot)
            # First, so that the old battle's listeners show no more of it.
            state.forget_battle()
            state.battle_id, state.played = session.battle.id, wanted.preset
            await self.arena.pages.close(wanted.session_hash, keep=session.battle.id)
        state.preset = None
        return session

    async def _run(
        self, state: PageState, begin: Callable[[Slot], Awaitable[BattleSession]],
        wanted: BattleRequest | None,
    ) -> AsyncGenerator[Updates, None]:  # fmt: skip
        """Wait for models and a slot, begin, and show the battle; Stop ends the wait.

        Args:
            state: of the page.
            begin: takes the slot.
            wanted: the battle whose models may have to be awaited; None where none are.
        """
        slot: Slot | None = None
        told = ""  # a visitor who waits is told what changed: the wait is looked at more often
        state.waiting = True
        try:
            async for text in self._models_awaited(state, wanted):
                if text != told:
                    told = text
                    yield self._awaiting(text)
            if not state.gave_up():
                slot = self.arena.admission.queue.acquire()
                async for position in self.arena.admission.queue_positions(slot):
                    if state.gave_up():
                        break
                    text = say(state.language, "wait.line", position=position)
                    if text != told:
                        told = text
                        yield self._awaiting(text)
            if slot is None or state.gave_up():
                yield self.settle(state)
                return
            state.waiting = False
            first: Updates = {self.prompt: gr.update(value=""), self.notice: ""}
            updates = self.show_all(state, await begin(slot), first)
            async with aclosing(updates):
                async for update in updates:
                    yield update
        finally:
            state.waiting = False
            if slot is not None and not slot.in_use:
                slot.release()

    async def _models_awaited(
        self, state: PageState, wanted: BattleRequest | None
    ) -> AsyncGenerator[str, None]:
        if wanted is None:
            return
        self.arena.registry.restart_failed()
        async for entries in self.arena.wait_for_contestants(wanted):
            if state.gave_up():
                return
            public = self.arena.public_registry
            loading = [e for e in (public[entry.slug] for entry in entries) if not e.ready]
            names = ", ".join(status_view.state_line(e, state.language) for e in loading)
            yield say(state.language, "wait.loading", names=names or "…")

    def _awaiting(self, text: str) -> Updates:
        return {
            self.notice: status_view.notice_html(text, error=False),
            self.stop: gr.update(interactive=True),
            self.send: gr.update(interactive=False),
        }

    async def show_all(
        self, state: PageState, session: BattleSession, first: Updates
    ) -> AsyncGenerator[Updates, None]:
        """What changes on the page until no answer is being written; `first` goes before it.

        What can't be shown is stopped; a page that goes away stops nothing, see `Pages`.
        """
        try:
            async with aclosing(self._changes(state, session, first)) as changes:
                async for changed in changes:
                    yield changed
        except Exception:
            await self.arena.stop(session)
            raise

    async def _changes(
        self, state: PageState, session: BattleSession, first: Updates
    ) -> AsyncGenerator[Updates, None]:
        sent: Updates = {}
        language = state.language
        async with aclosing(self.arena.snapshots(session)) as snapshots:
            async for shown in snapshots:
                snapshot = shown if shown.running else await self.judged(session, state)
                if state.language != language:  # the other language has replaced what was sent
                    language, sent = state.language, {}
                await state.guarded.prepare(view.shown_texts(snapshot))
                if state.battle_id != session.battle.id:  # its texts were deleted meanwhile
                    yield first or {self.notice: ""}
                    return
                update = self.show(snapshot, state) | first
                first = {}
                if not snapshot.saved and not snapshot.running:
                    update |= self.complain(StoreError(), language)
                if changed := diff_updates(update, sent):  # Gradio ends an event at an empty one
                    yield changed

    async def judged(self, session: BattleSession, state: PageState) -> Snapshot:
        """The battle with what is known of its vote."""
        await self.verdicts.look(session, signed_in=state.account is not None)
        return session.snapshot()

    def _open_session(self, state: PageState) -> BattleSession | None:
        """The battle that the next prompt continues, if there is one."""
        if state.vote is not None:
            return None
        session = self.arena.find_session(state.battle_id)
        if session is None or session.running:
            return session
        battle = session.battle
        return session if all(answered(battle, side) for side in battle.sides) else None

    async def visitor(self, state: PageState, request: gr.Request) -> Visitor:
        """The visitor; the address is what the server believes, see ARENA_TRUSTED_PROXIES."""
        address = request.client.host if request.client else ""
        return await self.arena.admission.visitor(
            state.identity(), address, signed_in=state.account is not None
        )

    def retry_handler(self, side: Side) -> Any:  # noqa: ANN401 -- a Gradio listener
        """The listener of one retry button."""

        async def on_retry(state: PageState, request: gr.Request) -> AsyncGenerator[Updates, None]:
            async def begin(slot: Slot) -> BattleSession:
                await self.arena.retry(session, side, visitor, slot)
                return session

            try:
                session = self.arena.session(state.battle_id)
                self.arena.registry.restart_failed()
                visitor = await self.visitor(state, request)
                updates = self._run(state, begin, None)
                async with aclosing(updates):
                    async for update in updates:
                        yield update
            except ArenaError as error:
                yield self.settle(state) | self.complain(error, state.language)

        return on_retry

    async def on_stop(self, state: PageState) -> Updates:
        """Stop what runs; the handler that streams then shows the end of it."""
        state.waiting = False
        session = self.arena.find_session(state.battle_id)
        if session is not None:
            await self.arena.stop(session)
        return {self.notice: ""}

    def vote_handler(self, winner: Winner) -> Any:  # noqa: ANN401 -- a Gradio listener
        """The listener of one vote button: says that it is saved, then, when final, the names."""

        async def on_vote(state: PageState, request: gr.Request) -> AsyncGenerator[Updates, None]:
            try:
                session = self.arena.session(state.battle_id)
                visitor = await self.visitor(state, request)
                guess = valid_guess(session.battle, state.feedback.guess)
                await self.arena.vote(session.battle.id, winner, visitor, guess)
            except ArenaError as error:
                yield self.complain(error, state.language)
                return
            state.vote = winner
            yield self.show(await self.judged(session, state), state) | {self.notice: ""}
            async for update in self.show_end_of_vote(state, session, winner):
                yield update

        return on_vote

    async def show_end_of_vote(
        self, state: PageState, session: BattleSession, winner: Winner
    ) -> AsyncGenerator[Updates, None]:
        """What changes on the page until a vote can't be taken back any more."""
        pending = session.pending
        if pending is None or pending.ended.is_set():
            return
        while not await pending.wait(TICK_SECONDS):
            yield {self.reveal: view.pending_line(session.snapshot(), state.language, winner)}
        # It may have been taken back, or the page may show another battle by now.
        if pending.final and state.battle_id == session.battle.id:
            yield self.show(await self.judged(session, state), state)

    async def on_undo(self, state: PageState, request: gr.Request) -> Updates:
        """Take the vote back; the guess stays, words that were added to the vote go with it."""
        try:
            session = self.arena.session(state.battle_id)
            await self.arena.undo(session.battle.id, await self.visitor(state, request))
        except ArenaError as error:
            return self.complain(error, state.language)
        state.vote, state.feedback = None, Feedback(guess=state.feedback.guess)
        return self.show(session.snapshot(), state) | {self.notice: ""}

    async def on_feedback(
        self, state: PageState, event: gr.EventData, request: gr.Request
    ) -> Updates:
        """A guess, a reason, a grade or a comment."""
        kind, value = (str(getattr(event, name, "")) for name in ("kind", "value"))
        try:
            await self.feedback.click(state, await self.visitor(state, request), kind, value)
        except ArenaError as error:
            return self.complain(error, state.language)
        except ValueError:
            return self.complain(say(state.language, "error.invalid_params"))
        session = self.arena.find_session(state.battle_id)
        shown = self.feedback.shown(session.snapshot() if session else None, state)
        return {self.feedback.box: shown, self.notice: ""}

    async def on_new(self, state: PageState, mode: str, request: gr.Request) -> Updates:
        """An empty page in the chosen mode, with the choice of models that the mode has.

        A battle that could be voted on waits for that among the unfinished ones.
        """
        state.forget_battle()  # first, so that the old battle's listeners show no more of it
        state.mode = Mode(mode)
        await self.arena.pages.close(request.session_hash or "")
        await self.unfinished.look(state, await self.visitor(state, request))
        return self._emptied(state)

    def _emptied(self, state: PageState) -> Updates:
        """The page without a battle, in its mode."""
        state.forget_battle()
        language = state.language
        updates = self._page(view.idle_view(language, state.mode), language)
        updates |= self.models_of(state.mode, language) | self.shown.update(None, state)
        updates |= self.unfinished.shown(state)
        return updates | {self.notice: ""}

    def on_gemini(self, state: PageState, use_gemini: bool) -> str:  # noqa: FBT001 -- a component's value
        """Say where the text goes now."""
        return self.privacy_html(state.language, use_gemini=bool(use_gemini))

    async def on_preset(
        self, state: PageState, event: gr.EventData, request: gr.Request
    ) -> Updates:
        """Fill the prompt box; Send sends it."""
        wanted = str(getattr(event, "preset", ""))
        try:
            dice = wanted == presets_view.DICE_ID
            preset = await self._rolled(state, request) if dice else self.by_id.get(wanted)
        except ArenaError as error:
            return self.complain(error, state.language)
        if preset is None:
            return {self.notice: ""}
        state.give(preset)
        return {self.prompt: gr.update(value=preset.text), self.notice: ""}

    async def _rolled(self, state: PageState, request: gr.Request) -> Preset | None:
        """An example that this visitor has neither judged nor been given on this page, if any."""
        if not self.presets:
            return None
        visitor = await self.visitor(state, request)
        seen = [*await self.arena.store.judged_presets(visitor.voter), *state.given]
        return pick(self.presets, self.first_language(state.language), DICE, seen)

    # --- showing -------------------------------------------------------------------------------

    def settle(self, state: PageState) -> Updates:
        """The page as the present battle, if any, has it."""
        session = self.arena.find_session(state.battle_id)
        if session is None:
            return {
                self.send: gr.update(interactive=True),
                self.stop: gr.update(interactive=False),
                self.notice: "",
            }
        return self.show(session.snapshot(), state) | {self.notice: ""}

    def show(self, snapshot: Snapshot, state: PageState) -> Updates:
        """One snapshot as updates of the components."""
        shared = snapshot is state.shared
        played = None if snapshot.running else state.played
        page = view.battle_view(
            snapshot, state.language, state.vote, shared=shared, guard=state.guarded.safe
        )
        return (
            self._page(page, state.language)
            | self.shown.update(snapshot, state)
            | {
                self.judge: presets_view.judge_html(played, state.language),
                self.feedback.box: "" if shared else self.feedback.shown(snapshot, state),
            }
        )

    def relabel(self, state: PageState) -> Updates:
        """The panes in the page's language; the prompt that is being written stays."""
        session = self.arena.find_session(state.battle_id)
        snapshot = session.snapshot() if session is not None else state.shared
        if snapshot is not None:
            return self.show(snapshot, state)
        idle = view.idle_view(state.language, state.mode)
        heads = {pane.head: idle.panes[side].head for side, pane in self.panes.items()}
        return heads | self.shown.update(None, state) | self.unfinished.shown(state)

    def _page(self, page: view.PageView, language: str) -> Updates:
        updates: Updates = {}
        for side, pane in self.panes.items():
            shown = page.panes[side]
            updates[pane.head] = shown.head
            updates[pane.earlier] = shown.earlier
            updates[pane.answer] = shown.answer
            updates[pane.stats] = shown.stats
            updates[pane.retry] = gr.update(interactive=shown.retry)
        for winner, button in self.votes.items():
            classes = ["vote", vote_id(winner), *(["chosen"] if page.chosen is winner else [])]
            updates[button] = gr.update(interactive=page.votable, elem_classes=classes)
        key = "prompt.next" if page.follow_up else "prompt.placeholder"
        ended = page.stage in {view.Stage.VOTE, view.Stage.REVEALED}
        return updates | {
            self.stage: gr.update(elem_classes=stage_classes(page.stage, single=page.single)),
            self.question: page.question,
            self.reveal: page.bar,
            self.link: page.link,
            self.undo: gr.update(interactive=page.undo),
            self.new_battle: gr.update(interactive=ended),
            self.prompt: gr.update(placeholder=say(language, key)),
            self.send: gr.update(interactive=not page.running),
            self.stop: gr.update(interactive=page.running),
            self.mode: gr.update(interactive=not page.running),
            self.judge: "",
            self.feedback.box: "",
        }

    def complain(self, problem: ArenaError | str, language: str = "ja") -> Updates:
        """Say what is wrong by the prompt box."""
        if isinstance(problem, ArenaError):
            return {self.notice: status_view.error_notice(language, problem)}
        return {self.notice: status_view.notice_html(problem)}
