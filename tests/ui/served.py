"""The real page of an arena of scripted models, served over HTTP in this process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from arena.battle.arena import Arena
from arena.dataset.public import PublicExports
from arena.ui.page import QUEUE_OPTIONS, Page, launch_options
from tests.environment import settings_from


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@asynccontextmanager
async def no_more(_app: object) -> AsyncGenerator[None, None]:
    """Scripted models need no start."""
    yield


@asynccontextmanager
async def served(arena: Arena, **settings: str) -> AsyncGenerator[str, None]:
    """The address of the page, without a slash at its end.

    The server has an event loop in a thread of its own, as in the app. Gradio is built beside a
    running loop: without one it makes some that it does not close.
    """
    port = free_port()
    exports = PublicExports(arena.store, on=False)
    demo = Page(arena, [], settings_from(settings), exports).build()
    demo.queue(**QUEUE_OPTIONS)
    options = launch_options(arena, no_more)
    demo.launch(prevent_thread_lock=True, quiet=True, server_port=port, **options)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await asyncio.to_thread(demo.close)
