"""The composition root: settings, models, store, page. Exposes `demo`; `main()` launches it."""

from __future__ import annotations

if __name__ == "__main__":
    from arena.interrupt import leave_at_once

    leave_at_once()

import asyncio
import logging
import os
import signal
import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from arena.concurrency import CLOSE_SECONDS
from arena.errors.base import ArenaError
from arena.errors.start import PortTaken
from arena.preflight import DEFAULT_PORT, look
from arena.settings import ROOT, Settings, load_settings

if TYPE_CHECKING:
    import gradio as gr

    from arena.battle.arena import Arena
    from arena.battle.retention import Retention
    from arena.dataset.hub import HubDataset
    from arena.dataset.public import PublicExports
    from arena.leaderboard.watch import VoteWatch
    from arena.ui.owner import Owner

log = logging.getLogger("arena")


@dataclass(eq=False)
class Parts:
    """The parts of the process, started and stopped together."""

    arena: Arena
    hub: HubDataset | None
    exports: PublicExports
    demo: gr.Blocks
    settings: Settings
    owner: Owner
    watch: VoteWatch
    retention: Retention
    _loop: asyncio.AbstractEventLoop | None = field(default=None, init=False)
    _stopping: asyncio.Task[None] | None = field(default=None, init=False)

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncGenerator[None, None]:
        """Models start when the page is served, on its event loop, and end with it."""
        self._loop = asyncio.get_running_loop()
        if self.hub is not None:
            await self.hub.start()
        await self.arena.pending.start()
        self.arena.registry.start()
        tasks = [asyncio.create_task(part.run()) for part in (self.watch, self.retention)]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            await self.stop()

    async def stop(self) -> None:
        """Stop all answers, push the last votes, close the store, remove files; once."""
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop())
        await self._stopping

    async def _stop(self) -> None:
        await self.arena.aclose()
        # The last push may take seconds, and so may the end of a model's threads.
        parts = (self.hub, self.arena.registry, self.exports)
        await asyncio.gather(*(part.aclose() for part in parts if part is not None))
        await self.arena.store.aclose()
        log.info("all answers stopped, all votes on disk")

    def end(self) -> None:
        """`stop` from the main thread, for `CLOSE_SECONDS` at most.

        Comes before the web server's own end, which waits for open pages.
        """
        if self._loop is None:
            return
        try:
            asyncio.run_coroutine_threadsafe(self.stop(), self._loop).result(CLOSE_SECONDS)
        except TimeoutError:
            log.warning("not everything has stopped in %s s", CLOSE_SECONDS)


def checked_settings() -> Settings:
    """The settings, after a look at what would stop the start; warnings go to the log.

    Raises:
        SettingsError, StartError: what is wrong with a variable or with `.env`.
        SystemExit: names everything else that stops the start, with its remedy.
    """
    settings = load_settings()
    problems = look(settings)
    for problem in problems:
        if not problem.stops:
            log.warning("%s %s", problem.error.sentence, problem.error.remedy_text)
    if faults := [told(problem.error) for problem in problems if problem.stops]:
        sys.exit("\n".join(faults))
    return settings


def told(error: ArenaError) -> str:
    """An error that stops the start: its sentence, its remedy, and its cause if there is one."""
    return "\n".join(filter(None, (error.sentence, error.remedy_text, error.detail)))


def compose(settings: Settings) -> Parts:
    """Build every part. Starts none of them; on ZeroGPU the local model is loaded.

    Raises:
        SettingsError, PresetError, RegistryError, StoreError: what stops the start, and its remedy.
    """
    if settings.zero_gpu:
        import spaces  # noqa: F401 - before torch and gradio, since it imitates a GPU in this process
    from arena.presets import load_presets
    from arena.store.store import VoteStore

    # First what is quick to load and may be wrong.
    presets = load_presets(ROOT / "prompts")
    store = VoteStore.open(settings.database_url, pool=settings.database_pool)
    log.info("battles and votes are in %s", store.place)

    from arena.battle.arena import Arena
    from arena.battle.retention import Retention
    from arena.dataset.hub import make_hub_dataset
    from arena.dataset.public import PublicExports
    from arena.models.registry import build_registry
    from arena.ui.page import Page

    hub = make_hub_dataset(settings, store)
    arena = Arena(
        build_registry(settings, store),
        store,
        settings.limits,
        even_cadence=settings.blind_cadence == "even",
        salt=salt_of(settings),
        undo_seconds=settings.undo_seconds,
        grace_seconds=settings.page_grace_seconds,
    )
    if settings.zero_gpu:
        arena.registry.load_before_launch()
    exports = PublicExports(store, on=settings.public_export)
    page = Page(arena, presets, settings, exports)
    retention = Retention(store, settings.retention_days)
    return Parts(arena, hub, exports, page.build(), settings, page.owner, page.watch, retention)


def salt_of(settings: Settings) -> str | None:
    """The salt of the visitors' hashes; None leaves it to the store.

    It is the owner's, or, where the votes are copied to the Hub, derived from the Hub's token: so a
    store that is restored on an empty disk knows its voters again.
    """
    if settings.voter_salt is not None:
        return settings.voter_salt.get_secret_value()
    if settings.votes_dataset is not None and settings.hf_token is not None:
        from arena.dataset.hub import derived_salt

        return derived_salt(settings.hf_token.get_secret_value())
    return None


def address_options(settings: Settings) -> dict[str, Any]:
    """Where Gradio serves the page; it takes another port only where none was chosen."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return {"server_name": host, "server_port": settings.gradio_server_port}


def main() -> None:
    """Serve the page until SIGINT or SIGTERM, then stop all answers and close the store."""
    from arena.ui.page import launch_options, prepare_server

    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    prepare_server(demo, parts.settings)
    options = launch_options(parts.arena, parts.lifespan, [parts.owner.route()])
    try:
        demo.launch(prevent_thread_lock=True, **options, **address_options(parts.settings))
    except OSError as error:  # it was free a moment ago, or so many after it are in use
        port = parts.settings.gradio_server_port or DEFAULT_PORT
        sys.exit(told(PortTaken(str(error), port=port)))
    if parts.settings.gradio_server_port is None and demo.server_port != DEFAULT_PORT:
        log.warning(
            "port %s is in use by another program, perhaps by another arena: the page is at %s; "
            "GRADIO_SERVER_PORT chooses a port", DEFAULT_PORT, demo.local_url,
        )  # fmt: skip
    host = parts.settings.space_host
    base = f"https://{host.split(',')[0].strip()}/" if host else str(demo.local_url)
    sys.stdout.write(
        f"* Owner: {parts.owner.link(base)}\n"
        "  (costs, remedies and 'try again' on the Models tab; keep the link to yourself)\n"
    )
    sys.stdout.flush()
    ended.wait()
    parts.end()
    demo.server.config.timeout_graceful_shutdown = 1  # open pages keep their connections
    demo.close()
    # All is on disk. An orderly exit of the libraries would take seconds that a Space lacks.
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
# The preflight says the same, with what is wrong in the line.
logging.getLogger("dotenv.main").setLevel(logging.ERROR)
for name in ("httpx", "httpx2", "alembic", "google_genai"):
    logging.getLogger(name).setLevel(logging.WARNING)
# It would write token ids of visitors' prompts when a request fails.
logging.getLogger("ContinuousBatchingLogger").setLevel(logging.ERROR)
try:
    parts = compose(checked_settings())
except ArenaError as error:
    sys.exit(told(error))
demo = parts.demo

if __name__ == "__main__":
    main()
