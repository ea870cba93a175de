"""What programs may call: `compare`, `leaderboard` and `models`. All else is the page's own.

A comparison is an open-mode battle like one from the page: recorded, flagged, left out of the
main ranking, and under the same caps.
"""

from __future__ import annotations

from contextlib import aclosing
from typing import Any

import gradio as gr
from gradio.events import api

from arena.battle.arena import Arena
from arena.battle.request import BattleRequest
from arena.battle.session import SideSnapshot
from arena.domain import Finished, Mode, ModelSpec, Side
from arena.errors.base import ArenaError
from arena.leaderboard.cache import LeaderboardCache
from arena.leaderboard.report_json import report_json
from arena.models.registry import Entry
from arena.settings import Settings
from arena.stats.filters import rules_of
from arena.ui.page_state import params_from

Json = dict[str, Any]


class Api:
    """The public functions."""

    def __init__(self, arena: Arena, leaderboard: LeaderboardCache, settings: Settings) -> None:
        self.arena = arena
        self.leaderboard_cache = leaderboard
        self.settings = settings

    def publish(self) -> None:
        """Register them; call inside the page's context."""
        api(self.compare, api_name="compare", concurrency_limit=None)
        api(self.leaderboard, api_name="leaderboard", concurrency_limit=None)
        api(self.models, api_name="models", concurrency_limit=None)

    async def compare(  # noqa: PLR0917 -- a program passes them by name
        self, prompt: str, model_a: str, model_b: str, request: gr.Request,
        system_prompt: str = "", temperature: float = 0.7, top_p: float = 1.0,
        max_new_tokens: int = 512, seed: int = -1,
    ) -> dict[str, Any]:  # fmt: skip
        """Send one prompt to two models and wait for both answers.

        Args:
            prompt: the question.
            model_a: a `slug` of `models`.
            model_b: another one, or the same.
            request: put in by Gradio.
            system_prompt: goes to both; empty sends none.
            temperature: 0 (greedy) to 2.
            top_p: above 0, up to 1.
            max_new_tokens: budget of visible tokens.
            seed: 0 to 2147483647 repeats an answer of a local model; -1 draws one.

        Returns:
            `battle`, `prompt`, and for `a` and `b`: `model`, `text`, `finish`, `error` (null, or
            code, message and remedy) and the numbers of `stats`.
        """
        texts = {
            "prompt": prompt, "model_a": model_a, "model_b": model_b,
            "system_prompt": system_prompt,
        }  # fmt: skip
        if wrong := [name for name, text in texts.items() if not isinstance(text, str)]:
            raise gr.Error(f"invalid_params: {wrong[0]} must be text", print_exception=False)
        try:
            params = params_from(temperature, top_p, max_new_tokens, "" if seed == -1 else seed)
        except ValueError as error:
            raise gr.Error(f"invalid_params: {error}", print_exception=False) from None
        session_hash = request.session_hash or ""
        address = request.client.host if request.client else ""
        try:
            wanted = BattleRequest(
                text=prompt,
                system_prompt=system_prompt,
                mode=Mode.OPEN,
                params=params,
                # A program has no browser: its address identifies it, else its session.
                visitor=await self.arena.admission.visitor(
                    f"api:{address or session_hash}", address
                ),
                session_hash=session_hash,
                ui_language="en",
                model_a=model_a,
                model_b=model_b,
            )
            return await self._compared(wanted)
        except ArenaError as error:
            raise _public_error(error) from None

    async def _compared(self, wanted: BattleRequest) -> Json:
        session = await self.arena.begin(wanted)
        try:
            async with aclosing(self.arena.snapshots(session)) as snapshots:
                async for snapshot in snapshots:
                    last = snapshot
        finally:
            await self.arena.pages.close(wanted.session_hash)
        return {
            "battle": session.battle.id,
            "prompt": session.battle.conversation_a[0].prompt,
            **{side.value: _answer(last.sides[side], last.battle.spec(side)) for side in Side},
        }

    async def leaderboard(self) -> dict[str, Any]:
        """The leaderboard as the page shows it without filters.

        Returns:
            `votes`, the number of those that count; `pairs`: for each two contestants their ids,
            what really answered, wins of each, ties, both bad; and everything else that
            `python -m arena leaderboard --json` prints.
        """
        rules = rules_of(self.settings)
        try:
            return report_json(await self.leaderboard_cache.report(rules))
        except ArenaError as error:
            raise _public_error(error) from None

    async def models(self) -> list[dict[str, Any]]:
        """The contestants: `slug` (what `compare` takes), label, id, state, price, and facts."""
        return [_model(entry) for entry in self.arena.public_registry.entries]


def _public_error(error: ArenaError) -> gr.Error:
    """The error as a program gets it: code, sentence, remedy; never its detail."""
    return gr.Error(f"{error.code}: {error.sentence} {error.remedy_text}", print_exception=False)


def _answer(side: SideSnapshot, spec: ModelSpec) -> Json:
    answer, error = side.facts.answer, side.facts.error
    finished = answer.finished if answer else None
    return {
        "model": spec.id,
        "label": spec.label,
        "text": side.text,
        "finish": finished.reason.value if finished else None,
        "error": None
        if error is None
        else {"code": error.code, "message": error.sentence, "remedy": error.remedy_text},
        "stats": _stats(finished, answer.cost_usd if answer else None),
    }


def _stats(finished: Finished | None, cost_usd: float | None) -> Json:
    if finished is None:
        return {}
    names = ("prompt_tokens", "completion_tokens", "thinking_tokens", "ttft_s", "total_s")
    return {name: getattr(finished, name) for name in (*names, "served_model")} | {
        "cost_usd": cost_usd
    }


def _model(entry: Entry) -> Json:
    spec = entry.model.spec
    return {
        "slug": entry.slug,
        "id": spec.id,
        "label": spec.label,
        "provider": spec.provider,
        "licence": spec.licence,
        "variant_of": spec.variant_of,
        "price_in": spec.price_in,
        "price_out": spec.price_out,
        "state": entry.state,
        "facts": entry.facts,
    }
