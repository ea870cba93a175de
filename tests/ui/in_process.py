"""Gradio's real HTTP traffic without a socket: the page's server and its browsers on one loop."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import gradio as gr
import httpx

from arena.ui.page import Page, launch_options, prepare_server

ADDRESS = "http://arena.test"
JOIN, DATA = "/gradio_api/queue/join", "/gradio_api/queue/data"


class Browser:
    """One open page.

    Attributes:
        http: its client, with its cookies.
        session_hash: of the page.
    """

    def __init__(self, demo: gr.Blocks, http: httpx.AsyncClient, session_hash: str) -> None:
        self.http = http
        self.session_hash = session_hash
        self._demo = demo

    def _listeners(self, name: str) -> list[int]:
        """The numbers of the listeners whose qualified names end so."""
        names = {n: getattr(f.fn, "__qualname__", "") for n, f in self._demo.fns.items()}
        return [n for n, of in names.items() if of.endswith(name)]

    def places(self, name: str, wanted: Sequence[str]) -> list[int]:
        """The places of these components, by their ids, among the updates of a listener."""
        for number in self._listeners(name)[:1]:
            ids = [component.elem_id for component in self._demo.fns[number].outputs]
            return [ids.index(one) for one in wanted if one in ids]
        return []

    async def join(
        self, name: str, *inputs: object, event: object = None, index: int = 0
    ) -> httpx.Response:
        """Let a listener work; what it sends comes with `stream`.

        Args:
            name: the end of the handler's qualified name.
            inputs: values of the components; what the state stands for is never sent.
            event: what the component's script sent.
            index: of those with that name.
        """
        body = {
            "data": [None, *inputs], "fn_index": self._listeners(name)[index],
            "session_hash": self.session_hash, "event_data": event, "trigger_id": None,
        }  # fmt: skip
        # As a browser writes it: half an emoji is an escape.
        headers = {"content-type": "application/json"}
        joined = await self.http.post(JOIN, content=json.dumps(body), headers=headers)
        joined.raise_for_status()
        return joined

    async def stream(self) -> httpx.Response:
        """All that the server sends to this page until its listeners have nothing to do."""
        return await self.http.get(DATA, params={"session_hash": self.session_hash})

    async def call(self, name: str, *inputs: object, event: object = None) -> str:
        """All bytes that the server sends for one event of a listener, as text; see `join`."""
        joined = await self.join(name, *inputs, event=event)
        return joined.text + (await self.stream()).text


def outputs(sent: str) -> list[Any]:
    """The values of the last update in the bytes of one event."""
    lines = [json.loads(one[6:]) for one in sent.splitlines() if one.startswith("data: ")]
    (done,) = [line for line in lines if line["msg"] == "process_completed"]
    assert done["success"], done
    found: list[Any] = done["output"]["data"]
    return found


@asynccontextmanager
async def no_more(_app: object) -> AsyncGenerator[None, None]:
    """Scripted models need no start."""
    yield


@asynccontextmanager
async def serving(page: Page) -> AsyncGenerator[gr.routes.App, None]:
    """The page's server; it must be entered and left in one task."""
    demo = page.build()
    prepare_server(demo, page.settings)
    options = launch_options(page.arena, no_more, [page.owner.route()])
    demo.theme, demo.css, demo.head = (options[name] for name in ("theme", "css", "head"))
    demo.theme_css, demo.theme_hash, demo.stylesheets = "", "", []
    demo.config = demo.get_config_file()
    app = gr.routes.App.create_app(demo, app_kwargs=options["app_kwargs"])
    async with app.router.lifespan_context(app):
        demo.run_startup_events()
        yield app


@asynccontextmanager
async def browser(
    app: gr.routes.App, session_hash: str, cookies: Mapping[str, str] | None = None
) -> AsyncGenerator[Browser, None]:
    """A page that is open."""
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(
        transport=transport, base_url=ADDRESS, cookies=dict(cookies or {})
    ) as http:
        yield Browser(app.get_blocks(), http, session_hash)
