"""What the web server takes, and what it tells browsers."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

from arena.store.store import VoteStore
from arena.ui.surface import BODY_BYTES, surface
from tests.battle.arenas import ANSWER, arena_of
from tests.scripted import ScriptedModel
from tests.ui.served import served

OPEN = (
    "/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/health", "/ready",
    "/gradio_api/info",
)  # fmt: skip
CLOSED = (
    "/gradio_api/upload_progress?upload_id=x", "/gradio_api/proxy=https://example.org/",
    "/gradio_api/file=https://example.org/",
    "/gradio_api/file/etc/passwd", "/gradio_api/dev/reload", "/gradio_api/token",
    "/gradio_api/app_id", "/gradio_api/deep_link", "/gradio_api/openapi.json",
    "/gradio_api/stream/a/b/1/playlist.m3u8", "/gradio_api/custom_component/a/b/c/d.js",
    "/gradio_api/vibe-code/", "/gradio_api/runs", "/monitoring", "/monitoring/summary",
    "/docs", "/openapi.json", "/svelte/x.js", "/pwa_icon", "/../etc/passwd",
)  # fmt: skip


async def pieces(number: int) -> AsyncIterator[bytes]:
    """A body of so many KiB, of which nobody tells the length."""
    for _ in range(number):
        yield b" " * 1024


@pytest.fixture
async def page(store: VoteStore) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a served page."""
    arena = arena_of(store, ScriptedModel("one", ANSWER), ScriptedModel("two", ANSWER))
    async with served(arena) as shown, httpx.AsyncClient(base_url=shown.address) as client:
        yield client


async def test_only_what_the_page_needs_is_there(page: httpx.AsyncClient) -> None:
    """Uploads, fetching foreign addresses and tools for developers are not there."""
    assert {path: (await page.get(path)).status_code for path in OPEN} == dict.fromkeys(OPEN, 200)
    assert {path: (await page.get(path)).status_code for path in CLOSED} == dict.fromkeys(
        CLOSED, 404
    )
    for path in ("/gradio_api/upload", "/gradio_api/upload/", "/gradio_api/component_server"):
        assert (await page.post(path, files={"files": b"x" * 100})).status_code == 404
    for path in ("/etc/passwd", "//example.org/x", str(Path(__file__))):
        assert (await page.get(f"/gradio_api/file={path}")).status_code == 403


async def test_the_page_reaches_every_script_that_it_names(page: httpx.AsyncClient) -> None:
    """No asset of the first page is closed."""
    named = set(
        re.findall(
            r'(?:src|href)="(?:\./|/)([^"]+\.(?:js|css|svg|json))"', (await page.get("/")).text
        )
    )
    assert named
    assert {path: (await page.get(f"/{path}")).status_code for path in named} == dict.fromkeys(
        named, 200
    )


@pytest.mark.parametrize("path", ["/", "/health", "/config", "/gradio_api/upload"])
async def test_every_answer_has_the_policy(page: httpx.AsyncClient, path: str) -> None:
    """Browsers are told what the page may load, and who may show it in a frame."""
    headers = (await page.get(path)).headers
    policy = dict(part.split(" ", 1) for part in headers["content-security-policy"].split("; "))
    assert policy["default-src"] == policy["connect-src"] == policy["base-uri"] == "'self'"
    assert policy["object-src"] == "'none'"
    assert policy["img-src"] == "'self' data: blob:"
    assert policy["frame-ancestors"] == "'self' https://huggingface.co https://*.hf.space"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "strict-origin-when-cross-origin"


async def test_a_large_body_is_refused(page: httpx.AsyncClient) -> None:
    """A body above the cap is refused, with its length told or in pieces, and nothing runs."""
    join = {"data": ["x" * BODY_BYTES], "fn_index": 0, "session_hash": "s"}
    assert (await page.post("/gradio_api/queue/join", json=join)).status_code == 413
    assert (
        await page.post("/gradio_api/queue/join", content=pieces(BODY_BYTES // 1024 + 1))
    ).status_code in {400, 413}


async def test_no_more_than_the_cap_is_taken() -> None:
    """A body without a length is taken up to the cap; a longer prompt's cap makes room for it."""
    taken = 0

    async def count(request: Request) -> PlainTextResponse:
        nonlocal taken
        async for piece in request.stream():
            taken += len(piece)
        return PlainTextResponse("all")

    async def posted(prompt_chars: int) -> int:
        own = [Route("/own", count, methods=["POST"])]
        app = Starlette(routes=own, middleware=[surface(prompt_chars, own)])
        transport = httpx.ASGITransport(app)
        async with httpx.AsyncClient(transport=transport, base_url="http://here") as client:
            return (await client.post("/own", content=pieces(2048))).status_code

    assert await posted(8000) == 413
    assert taken == BODY_BYTES
    assert await posted(100_000) == 200
