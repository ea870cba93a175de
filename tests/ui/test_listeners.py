"""Every listener that fails leaves a page that can be used, with a sentence in its language."""

from __future__ import annotations

import asyncio
import functools
import inspect
import json
import re
from collections.abc import AsyncGenerator, Callable
from typing import Any, cast

import gradio as gr
import pytest
from gradio.blocks import BlockFunction

from arena.dataset.public import PublicExports
from arena.errors.battle import UnknownBattle
from arena.store.store import VoteStore
from arena.ui.i18n import LANGUAGES, error_texts
from arena.ui.listeners import protected
from arena.ui.page import Page
from tests.battle.arenas import ANSWER, arena_of
from tests.environment import settings_from
from tests.scripted import ScriptedModel
from tests.ui.in_process import DATA, JOIN, Browser, browser, outputs, serving
from tests.ui.pages import PRESETS

SAID = {
    "en": r"Something went wrong here \(error [0-9a-f]{8}\)",
    "ja": r"アリーナ側で問題が起きました（エラー [0-9a-f]{8}）",
}


class Fault(RuntimeError):
    """What a test lets a handler raise."""


def failing(handler: Callable[..., Any], error: BaseException) -> Callable[..., Any]:
    """A handler of the same kind and signature that raises."""
    if inspect.isasyncgenfunction(handler):

        @functools.wraps(handler)
        async def updates(*_: object, **__: object) -> AsyncGenerator[Any, None]:
            raise error
            yield {}

        return updates
    if inspect.iscoroutinefunction(handler):

        @functools.wraps(handler)
        async def update(*_: object, **__: object) -> Any:
            raise error

        return update

    @functools.wraps(handler)
    def plain(*_: object, **__: object) -> Any:
        raise error

    return plain


def break_all(page: Page, demo: gr.Blocks, error: BaseException) -> None:
    """Let every listener's own handler raise; the wrapper stays."""
    for listener in demo.fns.values():
        if listener.fn is not None:
            inner = listener.fn.__wrapped__
            listener.fn = protected(failing(inner, error), listener, page.arena_tab.settle)


async def call(tab: Browser, number: int, listener: BlockFunction) -> str:
    """All bytes of one event, with the components' first values."""
    inputs = [
        None if isinstance(p, gr.State) else getattr(p, "value", None) for p in listener.inputs
    ]
    body = {"data": inputs, "fn_index": number, "session_hash": tab.session_hash}
    joined = await tab.http.post(JOIN, json=body | {"event_data": None, "trigger_id": None})
    joined.raise_for_status()
    stream = await tab.http.get(DATA, params={"session_hash": tab.session_hash})
    return joined.text + stream.text


async def result(handler: Callable[..., Any], *args: object) -> Any:
    """The last that a handler of any kind gives."""
    found = handler(*args)
    if inspect.isasyncgen(found):
        return [update async for update in found][-1]
    return await found if inspect.isawaitable(found) else found


@pytest.fixture
def page(store: VoteStore) -> Page:
    """A page with all that it can have."""
    arena = arena_of(store, ScriptedModel("one", ANSWER), ScriptedModel("two", ANSWER))
    settings = settings_from({"ARENA_PUBLIC_EXPORT": "1", "ARENA_LANGUAGE": "en"})
    return Page(arena, PRESETS, settings, PublicExports(store, on=True))


async def test_every_listener_that_fails_leaves_a_usable_page(page: Page) -> None:
    """Through Gradio: each answers with the sentence and an id, and Send is on, Stop is off."""
    async with serving(page) as app:
        demo = app.get_blocks()
        break_all(page, demo, Fault("words for the log alone"))
        tried = 0
        for number, listener in demo.fns.items():
            if listener.fn is None or not listener.targets:
                continue
            async with browser(app, f"tab{number}") as tab:
                sent = await call(tab, number, listener)
            name = listener.fn.__qualname__
            assert "words for the log" not in sent, name
            assert "returned" not in sent, name
            if not listener.outputs:
                continue
            assert any(re.search(said, readable(sent)) for said in SAID.values()), name
            tried += 1
            parts = {part.elem_id: place for place, part in enumerate(listener.outputs)}
            if "send" in parts:
                values = outputs(sent)
                assert values[parts["send"]]["interactive"] is True, name
                assert values[parts["stop"]]["interactive"] is False, name
        assert tried > 15


def readable(sent: str) -> str:
    """The events without JSON's escapes."""
    events = [json.loads(line[6:]) for line in sent.splitlines() if line.startswith("data: ")]
    return json.dumps(events, ensure_ascii=False)


async def test_every_listener_is_protected(page: Page) -> None:
    """A new one is, without a word of its own."""
    for listener in page.build().fns.values():
        handler = listener.fn
        assert handler is None or handler.__module__ == handler.__wrapped__.__module__
        assert handler is None or hasattr(handler, "__wrapped__")


@pytest.mark.parametrize("language", LANGUAGES)
async def test_a_failure_while_an_answer_is_shown(page: Page, language: str) -> None:
    """Send fails in the middle: what was written stays, and the next question can be asked."""
    demo = page.build()
    tab = page.arena_tab
    shown = tab.show
    times = 0

    def breaks_once(*args: Any) -> Any:
        nonlocal times
        times += 1
        if times == 2:
            raise Fault
        return shown(*args)

    tab.show = breaks_once  # type: ignore[method-assign]
    send = next(f for f in demo.fns.values() if f.fn and f.fn.__qualname__.endswith("on_send"))
    assert send.fn is not None
    state = page.state.value
    state.language = language
    request = gr.Request(session_hash="tab", client=None)
    last: dict[Any, Any] = {}
    async for update in send.fn(
        state, "Why?", "blind", True, None, None, 0.7, 1.0, 64, "", "", request
    ):
        last = update
    assert last[tab.send]["interactive"] is True
    assert last[tab.stop]["interactive"] is False
    notice = last[tab.notice]
    assert re.search(SAID[language], notice)


@pytest.mark.parametrize("prompt", ["half \ud83d an emoji", "\udc00", "a\x00b"])
async def test_half_an_emoji_in_a_prompt(page: Page, prompt: str) -> None:
    """Through Gradio: the battle is played, and the stream ends as it should."""
    async with serving(page) as app, browser(app, "tab") as tab:
        asked = [prompt, "blind", True, None, None, 0.7, 1.0, 64, "", "\ud83d"]
        sent = await tab.call("on_send", *asked)
    assert "Because." in readable(sent)
    assert "\ufffd" in readable(sent)
    assert '"success": true' in readable(sent)


async def test_a_page_that_cannot_be_shown_is_usable_too(page: Page) -> None:
    """Where the page as it stands fails as well, Send and Stop and the sentence are left."""
    demo = page.build()

    def breaks(*_: object) -> Any:
        raise Fault

    for listener in demo.fns.values():
        if listener.fn is not None and page.arena_tab.send in listener.outputs:
            handler = protected(failing(listener.fn.__wrapped__, Fault()), listener, breaks)
            update = await result(handler, page.state.value)
            assert update[page.arena_tab.send]["interactive"] is True
            assert update[page.arena_tab.stop]["interactive"] is False


async def test_cancellation_passes_through(page: Page) -> None:
    """A handler that is stopped is stopped; that is no failure."""
    for listener in page.build().fns.values():
        if listener.fn is None or not inspect.isasyncgenfunction(listener.fn):
            continue
        broken = failing(listener.fn.__wrapped__, asyncio.CancelledError())
        handler = protected(broken, listener, page.arena_tab.settle)
        with pytest.raises(asyncio.CancelledError):
            await result(handler, page.state.value)


async def test_a_typed_error_says_its_own_sentence(page: Page) -> None:
    """An error that a handler forgot to catch is said in its own words."""
    demo = page.build()
    listener = next(f for f in demo.fns.values() if page.arena_tab.notice in f.outputs)
    assert listener.fn is not None
    broken = failing(listener.fn.__wrapped__, UnknownBattle())
    handler = protected(broken, listener, page.arena_tab.settle)
    update = await result(handler, page.state.value)
    assert error_texts("ja", UnknownBattle())[0] in update[page.arena_tab.notice]


def test_a_generator_that_is_not_async_is_refused() -> None:
    """Closing one would hold the event loop."""

    def generator() -> Any:
        yield {}

    with pytest.raises(TypeError):
        protected(generator, cast("BlockFunction", None), lambda _: {})
