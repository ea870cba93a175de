"""The composition root: settings, models, store, page. Exposes `demo`; `main()` launches it."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from arena.errors.base import ArenaError
from arena.settings import Settings, load_settings

if TYPE_CHECKING:
    import gradio as gr

    from arena.battle.arena import Arena
    from arena.dataset.public import PublicExports

HERE = Path(__file__).parent
log = logging.getLogger("arena")
CLOSE_SECONDS = 8.0  # a last push is given five of them; whoever sends SIGTERM waits ten or more


class Parts:
    """What the process is made of, and its life."""

    def __init__(
        self, arena: Arena, exports: PublicExports, demo: gr.Blocks, settings: Settings
    ) -> None:
        self.arena = arena
        self.exports = exports
        self.demo = demo
        self.settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Task[None] | None = None

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncGenerator[None, None]:
        """Models start when the page is served, on its event loop, and end with it."""
        self._loop = asyncio.get_running_loop()
        journal = self.arena.store.journal
        await journal.start(self.arena.store)
        self.arena.registry.start()
        try:
            yield
        finally:
            await self.stop()

    async def stop(self) -> None:
        """Stop all answers, push the last votes, close the store, remove files; once."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await self._stopping

    async def _stop(self) -> None:
        await self.arena.aclose()
        # The last push may take seconds, and so may the end of a model's threads.
        await asyncio.gather(
            self.arena.store.journal.aclose(), self.arena.registry.aclose(), self.exports.aclose()
        )
        await self.arena.store.aclose()
        log.info("all answers stopped, all votes on disk")

    def end(self) -> None:
        """The same from the main thread, within `CLOSE_SECONDS`.

        The web server would wait for open pages first, which may stay open for ever.
        """
        if self._loop is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(CLOSE_SECONDS)
        except TimeoutError:
            log.warning("not everything has stopped in %s s", CLOSE_SECONDS)


def compose(settings: Settings) -> Parts:
    """Build every part; nothing runs yet, but on ZeroGPU the local model is loaded.

    Raises:
        SettingsError, PresetError, RegistryError, StoreError: what stops the start, and its remedy.
    """
    # Analytics would call out at the start. Gradio reads this variable when it is imported.
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    if settings.zero_gpu:
        import spaces  # noqa: F401 - before torch and gradio, since it imitates a GPU in this process
    from arena.battle.arena import Arena
    from arena.dataset.hub import make_journal
    from arena.dataset.public import PublicExports
    from arena.models.registry import build_registry
    from arena.presets import load_presets
    from arena.store.store import VoteStore
    from arena.ui.page import build_page

    presets = load_presets(HERE / "prompts")
    journal = make_journal(settings)
    store = VoteStore.open(settings.database_url, journal=journal, pool=settings.database_pool)
    arena = Arena(
        build_registry(settings, store),
        store,
        settings.limits,
        even_cadence=settings.blind_cadence == "even",
        salt=salt_of(settings),
    )
    if settings.zero_gpu:
        arena.registry.load_before_launch()
    exports = PublicExports(store, on=settings.public_export)
    return Parts(arena, exports, build_page(arena, presets, settings, exports), settings)


def salt_of(settings: Settings) -> str | None:
    """The salt of the visitors' hashes: the owner's, or one that follows from the Hub's token.

    The latter where there is a copy on the Hub: a store that is restored on an empty disk keeps
    its voters. None leaves it to the store.
    """
    from arena.dataset.hub import derived_salt

    if settings.voter_salt is not None:
        return settings.voter_salt.get_secret_value()
    if settings.votes_dataset is not None and settings.hf_token is not None:
        return derived_salt(settings.hf_token.get_secret_value())
    return None


def server_options(parts: Parts) -> dict[str, Any]:
    """What the web server gets beside the page: the life of the parts, and the health page."""
    from starlette.requests import Request
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from arena.ui.health import health

    async def answer(request: Request) -> JSONResponse:
        status, body = await health(parts.arena)
        if request.url.path.endswith("/ready") and not body["ready"]:
            status = 503
        return JSONResponse(body, status)

    routes = [Route("/health", answer), Route("/ready", answer)]
    return {"lifespan": parts.lifespan, "routes": routes}


def main() -> None:
    """Serve the page until SIGINT or SIGTERM, then stop all answers and close the store."""
    from arena.ui.page import launch_options

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    # The server believes X-Forwarded-For of these peers and of no other. Set empty it believes
    # nobody, while unset it would believe whatever runs on this machine.
    os.environ["FORWARDED_ALLOW_IPS"] = parts.settings.trusted_proxies
    options: dict[str, Any] = launch_options()
    demo.queue(default_concurrency_limit=None, api_open=False)
    demo.launch(prevent_thread_lock=True, app_kwargs=server_options(parts), **options)
    ended.wait()
    parts.end()
    demo.server.config.timeout_graceful_shutdown = 1  # open pages keep their connections
    demo.close()
    # All is on disk. Taking the libraries apart would cost seconds that a stopped Space lacks.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


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
