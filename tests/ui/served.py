"""The real page of an arena of scripted models, served over HTTP in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from arena.battle.arena import Arena
from arena.dataset.public import PublicExports
from arena.ui.page import Page, launch_options, prepare_server
from tests.environment import settings_from


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class ServedPage:
    """A page that is served.

    Attributes:
        address: without a slash at its end.
        loop: the server's, in a thread of its own, as in the app.
    """

    address: str
    loop: asyncio.AbstractEventLoop | None = None

    @asynccontextmanager
    async def lifespan(self, _app: object) -> AsyncGenerator[None, None]:
        """Scripted models need no start."""
        self.loop = asyncio.get_running_loop()
        yield

    def release(self, event: asyncio.Event) -> None:
        """Set an event for which a scripted model waits."""
        assert self.loop is not None
        self.loop.call_soon_threadsafe(event.set)


@asynccontextmanager
async def served(
    arena: Arena, port: int | None = None, **settings: str
) -> AsyncGenerator[ServedPage, None]:
    """The arena's page on a loopback port.

    Gradio is built beside a running loop: without one it makes some that it does not close.
    """
    port = port or free_port()
    page = ServedPage(f"http://127.0.0.1:{port}")
    exports = PublicExports(arena.store, on=False)
    given = settings_from(settings)
    demo = Page(arena, [], given, exports).build()
    prepare_server(demo, given)
    options = launch_options(arena, page.lifespan)
    demo.launch(prevent_thread_lock=True, quiet=True, server_port=port, **options)
    try:
        yield page
    finally:
        await asyncio.to_thread(demo.close)
