"""What each part of the arena tab does. The UI shows; the arena decides."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import gradio as gr

from arena.battle.admission import Slot
from arena.battle.limits import Visitor
from arena.battle.request import BattleRequest
from arena.battle.session import BattleSession, Snapshot, snapshot_of
from arena.domain import Mode, Side, Winner
from arena.errors.base import ArenaError
from arena.presets import Preset, pick
from arena.ui import presets_view, status_view, view
from arena.ui.arena_parts import VOTES, ArenaParts
from arena.ui.feedback_view import guess_on
from arena.ui.i18n import say
from arena.ui.page_state import PageState, params_from, preset_behind
from arena.ui.translator import Updates, news

PRIVATE: dict[str, Any] = {
    "api_visibility": "private",
    "show_progress": "hidden",
    "concurrency_limit": None,
}
DICE = random.Random()  # noqa: S311 -- for examples, nothing secret


class ArenaTab(ArenaParts):
    """The parts, connected."""

    # --- connections ---------------------------------------------------------------------------

    def connect(self) -> None:
        """Register what each part does."""
        asked = [
            self.visit, self.prompt, self.mode, self.use_gemini, *self.models.values(),
            self.temperature, self.top_p, self.max_new_tokens, self.seed, self.system,
        ]  # fmt: skip
        outputs = self.live_outputs()
        gr.on(
            [self.prompt.submit, self.send.click], self.on_send, asked, outputs,
            trigger_mode="once", **PRIVATE,
        )  # fmt: skip
        for side, pane in self.panes.items():
            pane.retry.click(self.retry_handler(side), [self.visit], outputs, **PRIVATE)
        self.stop.click(self.on_stop, [self.visit], [self.notice], queue=False, **PRIVATE)
        for winner, button in self.votes.items():
            button.click(self.vote_handler(winner), [self.visit], outputs, **PRIVATE)
        self.extras.box.select(
            self.on_extra, [self.visit], [self.extras.box, self.notice], **PRIVATE
        )
        fresh = [self.visit, self.mode]
        self.new_battle.click(self.on_new, fresh, outputs, **PRIVATE)
        self.mode.input(self.on_new, fresh, outputs, **PRIVATE)
        self.use_gemini.input(
            self.on_gemini, [self.visit, self.use_gemini], [self.privacy], **PRIVATE
        )
        self.preset_list.select(
            self.on_preset, [self.visit], [self.prompt, self.notice], **PRIVATE
        ).then(None, js="() => window.arenaFocusPrompt && window.arenaFocusPrompt()")

    # --- what they do --------------------------------------------------------------------------

    async def on_send(  # noqa: PLR0917 -- Gradio passes the inputs by position
        self, visit: PageState, text: str, mode: str, use_gemini: bool, model_a: str | None,  # noqa: FBT001
        model_b: str | None, temperature: float, top_p: float, max_new_tokens: int, seed: str,
        system: str, request: gr.Request,
    ) -> AsyncGenerator[Updates, None]:  # fmt: skip
        """Send the prompt: the next turn of an open battle, or a new battle."""
        try:
            params = params_from(temperature, top_p, max_new_tokens, seed)
            kind = Mode(mode)
        except ValueError:
            yield self.complain(say(visit.language, "error.invalid_params"))
            return
        text = str(text or "")
        preset = preset_behind(text, visit.preset)
        session = self._open_battle(visit)
        goes_on = session if preset is None else None
        try:
            battle_request = BattleRequest(
                text=text, mode=kind, params=params, visitor=await self._visitor(visit, request),
                session_hash=request.session_hash or "", ui_language=visit.language,
                use_gemini=bool(use_gemini), preset=preset, system_prompt=system,
                model_a=model_a, model_b=model_b,
            )  # fmt: skip
            async with aclosing(
                self._admitted(visit, battle_request, begins=goes_on is None)
            ) as waiting:
                async for step in waiting:
                    if not isinstance(step, Slot):
                        yield step
                        continue
                    session = await self._begin(visit, battle_request, goes_on, step)
                    visit.preset = None
                    async for update in self._stream(visit, session):
                        yield update
                    return
        except ArenaError as error:
            yield self.settle(visit) | self.complain(error, visit.language)
            return
        yield self.settle(visit)  # stopped while it waited

    async def _begin(
        self,
        visit: PageState,
        battle_request: BattleRequest,
        goes_on: BattleSession | None,
        place: Slot,
    ) -> BattleSession:
        """The next turn of the open battle, or a new battle in its stead."""
        if goes_on is not None:
            await self.arena.follow_up(goes_on, battle_request.text, battle_request.visitor, place)
            return goes_on
        session = await self.arena.begin(battle_request, place)
        await self.arena.close_page(battle_request.session_hash, keep=session.battle.id)
        visit.forget_battle()
        visit.battle_id, visit.played = session.battle.id, battle_request.preset
        return session

    async def _admitted(
        self, visit: PageState, battle_request: BattleRequest | None, *, begins: bool
    ) -> AsyncGenerator[Updates | Slot, None]:
        """Say what is awaited, models first, then a place; the last item is the place.

        Stop ends it without one. A place that no battle took is given back.
        """
        visit.wait()
        try:
            if begins and battle_request is not None:
                async for text in self._models_awaited(visit, battle_request):
                    yield self._awaiting(text)
            if visit.gave_up():
                return
            slot = self.arena.admission.queue.acquire()
            try:
                async for position in self.arena.admission.queue_positions(slot):
                    if visit.gave_up():
                        return
                    yield self._awaiting(say(visit.language, "wait.line", position=position))
                visit.waiting = False
                yield slot
            finally:
                if not slot.in_use:
                    slot.release()
        finally:
            visit.waiting = False

    async def _models_awaited(
        self, visit: PageState, battle_request: BattleRequest
    ) -> AsyncGenerator[str, None]:
        self.arena.registry.revive()
        async for entries in self.arena.wait_for_contestants(battle_request):
            if not visit.waiting:
                return
            names = ", ".join(status_view.state_line(e, visit.language) for e in entries)
            yield say(visit.language, "wait.loading", names=names or "…")

    def _awaiting(self, text: str) -> Updates:
        return {
            self.notice: status_view.notice_html(text, error=False),
            self.stop: gr.update(interactive=True),
            self.send: gr.update(interactive=False),
        }

    async def _stream(
        self, visit: PageState, session: BattleSession
    ) -> AsyncGenerator[Updates, None]:
        first = True
        sent: Updates = {}
        language = visit.language
        snapshots = self.arena.snapshots(session)
        try:
            async for snapshot in snapshots:
                if visit.language != language:  # the other language has replaced what was sent
                    language, sent = visit.language, {}
                update = self.show(snapshot, visit)
                if first:
                    update |= {self.prompt: gr.update(value=""), self.notice: ""}
                    first = False
                if not snapshot.saved and not snapshot.running:
                    text = self._not_saved(visit.language)
                    update |= {self.notice: status_view.notice_html(text)}
                yield news(update, sent)
        finally:
            await snapshots.aclose()

    def _not_saved(self, language: str) -> str:
        words = {"place": self.arena.store.place}
        return " ".join(
            say(language, f"error.store.{part}", **words) for part in ("message", "remedy")
        )

    def _open_battle(self, visit: PageState) -> BattleSession | None:
        """The battle that the next prompt continues, if there is one."""
        if visit.battle_id is None or visit.vote is not None:
            return None
        session = self.arena.find_session(visit.battle_id)
        if session is None or not (session.running or self._complete(session)):
            return None
        return session

    @staticmethod
    def _complete(session: BattleSession) -> bool:
        turns = [session.battle.conversation(side)[-1].answer for side in session.battle.sides]
        return all(answer is not None and answer.usable for answer in turns)

    async def _visitor(self, visit: PageState, request: gr.Request) -> Visitor:
        """Who asks; the address is what the server believes, see ARENA_TRUSTED_PROXIES."""
        address = request.client.host if request.client else ""
        return await self.arena.admission.visitor(
            visit.identity(), address, signed_in=visit.account is not None
        )

    def retry_handler(self, side: Side) -> Any:  # noqa: ANN401 -- a Gradio listener
        """The listener of one retry button."""

        async def on_retry(visit: PageState, request: gr.Request) -> AsyncGenerator[Updates, None]:
            try:
                session = self.arena.session(visit.battle_id)
                self.arena.registry.revive()
                visitor = await self._visitor(visit, request)
                async with aclosing(self._admitted(visit, None, begins=False)) as waiting:
                    async for step in waiting:
                        if not isinstance(step, Slot):
                            yield step
                            continue
                        await self.arena.retry(session, side, visitor, step)
                        async for update in self._stream(visit, session):
                            yield update
                        return
            except ArenaError as error:
                yield self.settle(visit) | self.complain(error, visit.language)
                return
            yield self.settle(visit)

        return on_retry

    async def on_stop(self, visit: PageState) -> Updates:
        """Stop what runs; the handler that streams then shows the end of it."""
        visit.waiting = False
        session = self.arena.find_session(visit.battle_id)
        if session is not None:
            await self.arena.stop(session)
        return {self.notice: ""}

    def vote_handler(self, winner: Winner) -> Any:  # noqa: ANN401 -- a Gradio listener
        """The listener of one vote button."""

        async def on_vote(visit: PageState, request: gr.Request) -> Updates:
            try:
                session = self.arena.session(visit.battle_id)
                visitor = await self._visitor(visit, request)
                guess = guess_on(session.battle, visit.extras)
                await self.arena.vote(session.battle.id, winner, visitor, guess)
            except ArenaError as error:
                return self.complain(error, visit.language)
            visit.vote = winner
            return self.show(session.snapshot(), visit) | {self.notice: ""}

        return on_vote

    async def on_extra(self, visit: PageState, event: gr.EventData, request: gr.Request) -> Updates:
        """A guess, a reason, a grade or a comment."""
        kind, value = (str(getattr(event, name, "")) for name in ("kind", "value"))
        try:
            await self.extras.click(visit, await self._visitor(visit, request), kind, value)
        except ArenaError as error:
            return self.complain(error, visit.language)
        except ValueError:
            return self.complain(say(visit.language, "error.invalid_params"))
        session = self.arena.find_session(visit.battle_id)
        shown = self.extras.shown(session.snapshot() if session else None, visit)
        return {self.extras.box: shown, self.notice: ""}

    async def on_new(self, visit: PageState, mode: str, request: gr.Request) -> Updates:
        """An empty page in the chosen mode."""
        await self.arena.close_page(request.session_hash or "")
        visit.forget_battle()
        visit.mode = Mode(mode)
        return self.fresh(visit.language, visit.mode) | {self.notice: ""}

    def fresh(self, language: str, mode: Mode) -> Updates:
        """The page before a battle, with the choice of models that the mode has."""
        updates = self._page(view.idle_view(language, mode), language)
        choices = self.model_choices(ready_only=True)
        for place, (side, box) in enumerate(self.models.items()):
            wanted = mode is Mode.OPEN or (mode is Mode.SINGLE and side is Side.A)
            value = choices[min(place, len(choices) - 1)][1] if choices and wanted else None
            key = "model.single" if mode is Mode.SINGLE else f"model.{side}"
            updates[box] = gr.update(
                choices=choices, value=value, interactive=wanted, label=say(language, key),
                visible=True if wanted else "hidden",
            )  # fmt: skip
        return updates

    def on_gemini(self, visit: PageState, use_gemini: bool) -> str:  # noqa: FBT001 -- a component's value
        """Say where the text goes now."""
        return self.privacy_html(visit.language, use_gemini=bool(use_gemini))

    def on_preset(self, visit: PageState, event: gr.EventData) -> Updates:
        """Fill the prompt box; Send sends it."""
        wanted = str(getattr(event, "preset", ""))
        if wanted == "*":
            preset: Preset | None = pick(self.presets, self._first(visit.language), DICE)
        else:
            preset = self.by_id.get(wanted)
        if preset is None:
            return {self.notice: ""}
        visit.preset = preset
        return {self.prompt: gr.update(value=preset.text), self.notice: ""}

    # --- showing -------------------------------------------------------------------------------

    def settle(self, visit: PageState) -> Updates:
        """The page as the present battle, if any, has it."""
        session = self.arena.find_session(visit.battle_id)
        if session is None:
            return {
                self.send: gr.update(interactive=True),
                self.stop: gr.update(interactive=False),
                self.notice: "",
            }
        return self.show(session.snapshot(), visit) | {self.notice: ""}

    def show(self, snapshot: Snapshot, visit: PageState) -> Updates:
        """One snapshot as updates of the components."""
        shared = snapshot is visit.shared
        page = view.battle_view(snapshot, visit.language, visit.vote, shared=shared)
        return self._page(page, visit.language) | {
            self.judge: presets_view.judge_html(
                None if snapshot.running else visit.played, visit.language
            ),
            self.extras.box: "" if shared else self.extras.shown(snapshot, visit),
        }

    async def open_link(self, visit: PageState, battle_id: str) -> Updates:
        """Put the battle of a link on the page, to be read only."""
        try:
            found = await self.arena.shared(battle_id)
        except ArenaError as error:
            return self.complain(error, visit.language)
        if found is None:
            return self.complain(say(visit.language, "error.no_such_link"))
        battle, vote = found
        visit.forget_battle()
        visit.shared, visit.vote, visit.mode = snapshot_of(battle), vote.winner, battle.mode
        return {}

    def relabel(self, session: BattleSession | None, visit: PageState) -> Updates:
        """The panes in the visit's language; the prompt that is being written stays."""
        snapshot = session.snapshot() if session is not None else visit.shared
        if snapshot is not None:
            return self.show(snapshot, visit)
        idle = view.idle_view(visit.language, visit.mode)
        return {pane.head: idle.panes[side].head for side, pane in self.panes.items()}

    def _page(self, page: view.PageView, language: str) -> Updates:
        updates: Updates = {}
        for side, pane in self.panes.items():
            shown = page.panes[side]
            updates[pane.head] = shown.head
            updates[pane.chat] = shown.messages
            updates[pane.stats] = shown.stats
            updates[pane.retry] = gr.update(interactive=shown.retry)
        for winner, button in self.votes.items():
            classes = ["vote", VOTES[winner][0], *(["chosen"] if page.chosen is winner else [])]
            updates[button] = gr.update(interactive=page.votable, elem_classes=classes)
        key = "prompt.next" if page.follow_up else "prompt.placeholder"
        kind = ["panes", *(["single"] if page.single else [])]
        return updates | {
            self.reveal: page.bar,
            self.new_battle: gr.update(interactive=bool(page.bar)),
            self.prompt: gr.update(placeholder=say(language, key)),
            self.send: gr.update(interactive=not page.running),
            self.stop: gr.update(interactive=page.running),
            self.mode: gr.update(interactive=not page.running),
            self.panes_row: gr.update(elem_classes=kind),
            self.judge: "",
            self.extras.box: "",
        }

    def complain(self, problem: ArenaError | str, language: str = "ja") -> Updates:
        """Say what is wrong by the prompt box."""
        if isinstance(problem, ArenaError):
            return {self.notice: status_view.error_notice(language, problem)}
        return {self.notice: status_view.notice_html(problem)}
