"""The composition root: settings, models, store, page. Exposes `demo`; `main()` launches it."""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena.errors import ArenaError
from arena.settings import Settings, load_settings

if TYPE_CHECKING:
    import gradio as gr

    from arena.battle import Arena

HERE = Path(__file__).parent
log = logging.getLogger("arena")


@dataclass(frozen=True, slots=True)
class Parts:
    """What the process is made of."""

    arena: Arena
    demo: gr.Blocks

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncGenerator[None, None]:
        """Models start when the page is served, on its event loop, and end with it."""
        self.arena.registry.start()
        try:
            yield
        finally:
            await self.arena.aclose()
            await self.arena.registry.aclose()
            await self.arena.store.aclose()
            log.info("all answers stopped, all votes on disk")


def compose(settings: Settings) -> Parts:
    """Build every part; nothing runs yet.

    Raises:
        SettingsError, PresetError, RegistryError, StoreError: what stops the start, and its remedy.
    """
    # Analytics would call out at the start. Gradio reads this variable when it is imported.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    from arena.battle import Arena
    from arena.guard.limits import Limits
    from arena.models.registry import build_registry
    from arena.presets import load_presets
    from arena.ui.page import build_page
    from arena.votes.store import VoteStore

    presets = load_presets(HERE / "prompts")
    store = VoteStore.open(settings.database_url)
    registry = build_registry(settings, store.count_today)
    limits = Limits(
        prompt_chars=settings.max_prompt_chars,
        turns=settings.max_turns,
        battles=settings.max_battles,
        new_tokens=settings.max_new_tokens,
    )
    arena = Arena(registry, store, limits, even_cadence=settings.blind_cadence == "even")
    return Parts(arena, build_page(arena, presets, settings))


def main() -> None:
    """Serve the page until SIGINT or SIGTERM, then stop all answers and close the store."""
    from arena.ui.page import launch_options

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    options: dict[str, Any] = launch_options()
    demo.queue(default_concurrency_limit=None, api_open=False)
    demo.launch(prevent_thread_lock=True, app_kwargs={"lifespan": parts.lifespan}, **options)
    ended.wait()
    demo.close()


logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
for name in ("httpx", "httpx2", "alembic", "google_genai"):
    logging.getLogger(name).setLevel(logging.WARNING)
# It writes token ids of visitors' prompts when a request fails.
logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
try:
    parts = compose(load_settings(HERE / ".env"))
except ArenaError as error:
    sys.exit(f"{error.sentence}\n{error.remedy_text}")
demo = parts.demo

if __name__ == "__main__":
    main()
