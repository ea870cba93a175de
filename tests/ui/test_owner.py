"""Who the owner is, over HTTP, and what nobody else sees or may do."""

from __future__ import annotations

import asyncio
import hmac
import logging
from hashlib import sha256

import httpx
import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from arena.dataset.public import PublicExports
from arena.errors.models import Overloaded
from arena.models.base import Ready, Unavailable
from arena.store.store import VoteStore
from arena.ui.i18n import LANGUAGES, say
from arena.ui.owner import COOKIE, Owner, refusal_html
from arena.ui.page import Page, launch_options, prepare_server
from tests.battle.arenas import ANSWER, arena_of
from tests.environment import settings_from
from tests.scripted import ScriptedModel
from tests.ui.in_process import browser, no_more, outputs, serving
from tests.ui.served import free_port

# Gradio counts its requests with forms of pandas that pandas calls old.
pytestmark = pytest.mark.filterwarnings("ignore::pandas.errors.Pandas4Warning")
KEY = "the key of the owner"
RIGHT = {COOKIE: hmac.new(KEY.encode(), COOKIE.encode(), sha256).hexdigest()}
FORGED = ({}, {COOKIE: ""}, {COOKIE: KEY}, {COOKIE: "0" * 64}, {COOKIE: "キー"})


class Request:
    """What the owner is known by."""

    def __init__(self, cookies: dict[str, str]) -> None:
        self.cookies = cookies


def opened(query: str, base: str = "http://arena.test") -> TestClient:
    """A browser that opened the owner's page with that query; `last` is its answer."""
    client = TestClient(Starlette(routes=[Owner(KEY).route()]), base, follow_redirects=False)
    client.last = client.get(f"/owner{query}")  # type: ignore[attr-defined]
    return client


def test_the_link_makes_its_browser_the_owners() -> None:
    """The cookie is out of scripts' and other sites' reach, and the key is not in it."""
    client = opened(f"?key={KEY}")
    reply = client.last  # type: ignore[attr-defined]
    assert (reply.status_code, reply.headers["location"]) == (303, "./")
    assert dict(client.cookies) == RIGHT
    said = reply.headers["set-cookie"].lower()
    assert "httponly" in said
    assert "samesite=strict" in said
    assert "secure" not in said
    assert KEY not in str(reply.headers)
    assert reply.headers["referrer-policy"] == "no-referrer"
    assert reply.headers["cache-control"] == "no-store"
    https = opened(f"?key={KEY}", "https://arena.test").last  # type: ignore[attr-defined]
    assert "secure" in https.headers["set-cookie"].lower()


@pytest.mark.parametrize("query", ["", "?key=", "?key=wrong", "?key=%E3%82%AD%E3%83%BC", "?k=1"])
def test_a_wrong_key_learns_nothing(query: str) -> None:
    """Every other key gets the same bytes and no cookie."""
    client = opened(query)
    reply = client.last  # type: ignore[attr-defined]
    assert (reply.status_code, reply.text) == (403, refusal_html())
    assert "set-cookie" not in reply.headers
    assert reply.headers["cache-control"] == "no-store"


def test_a_wrong_key_is_answered_in_both_languages() -> None:
    """A sentence and what to do, for whoever opened an old link."""
    for language in LANGUAGES:
        for key in ("owner.refused", "owner.refused_do", "owner.back"):
            assert say(language, key) in refusal_html()


async def test_no_key_reaches_the_log(
    store: VoteStore, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    """Neither a wrong one, which may be a typing mistake, nor the right one."""
    arena = arena_of(store, ScriptedModel("one", ANSWER))
    page = Page(arena, [], settings_from({"ARENA_OWNER_KEY": KEY}), PublicExports(store, on=False))
    options = launch_options(arena, no_more, [page.owner.route()])
    demo = page.build()
    prepare_server(demo, page.settings)
    caplog.set_level(logging.DEBUG, "uvicorn")
    demo.launch(prevent_thread_lock=True, quiet=True, server_port=free_port(), **options)
    try:
        async with httpx.AsyncClient(base_url=demo.local_url) as http:
            for key in (KEY, "a-wrong-key"):
                await http.get("owner", params={"key": key})
    finally:
        await asyncio.to_thread(demo.close)
    out, err = capfd.readouterr()
    ours = [one.getMessage() for one in caplog.records if not one.name.startswith("http")]
    for key in ("wrong-key", "key of", "key+of", "key%20of", "key="):
        assert key not in out + err + "".join(ours)


def test_only_the_keys_own_cookie_is_known() -> None:
    """No forged cookie is, nor that of another start with another key."""
    owner = Owner(KEY)
    assert owner.knows(Request(RIGHT), None)
    assert not any(owner.knows(Request(cookies), None) for cookies in FORGED)
    assert not Owner().knows(Request(RIGHT), None)


def test_the_spaces_owner_is_known_by_account() -> None:
    """On a Space that account is the owner; elsewhere none is, whatever it is called."""
    nobody = Request({})
    assert Owner(KEY, "taro").knows(nobody, {"preferred_username": "taro", "sub": "1"})
    for profile in (None, {}, {"preferred_username": "hanako"}, {"name": "taro"}):
        assert not Owner(KEY, "taro").knows(nobody, profile)
    assert not Owner(KEY).knows(nobody, {"preferred_username": None})


def test_a_drawn_key_is_in_the_printed_link_and_a_set_one_is_not() -> None:
    """Each start draws another key; one from the environment is no text for a log."""
    one, other = (Owner().link("http://127.0.0.1:7860/") for _ in range(2))
    assert one != other
    assert one.startswith("http://127.0.0.1:7860/owner?key=")
    assert KEY not in Owner(KEY).link("http://x/")


async def test_visitors_see_no_costs_and_can_start_nothing(store: VoteStore) -> None:
    """Over HTTP: the owner's listeners give and do nothing for a visitor or a forged cookie."""
    starts = []

    def started() -> Ready:
        starts.append(1)
        return Ready()

    broken, sound = ScriptedModel("broken", ANSWER), ScriptedModel("sound", ANSWER)
    broken.state = Unavailable(Overloaded(variable="GEMINI_API_KEY"))
    broken.starts = started
    arena = arena_of(store, broken, sound)
    page = Page(arena, [], settings_from({"ARENA_OWNER_KEY": KEY}), PublicExports(store, on=False))
    again = {"slug": "broken"}
    async with serving(page) as app:
        for number, cookies in enumerate(FORGED[:-1]):
            async with browser(app, f"visitor{number}", cookies) as visitor:
                shown = await visitor.call("ModelsTab.on_show", event={"tab": "models"})
                shown += await visitor.call("ModelsTab.on_try_again", event=again)
                for told in ("1 分ほど", store.place, "data-slug"):
                    assert told not in shown
        assert not starts
        async with browser(app, "owner", RIGHT) as owner:
            (cards,) = outputs(await owner.call("ModelsTab.on_show", event={"tab": "models"}))
            assert store.place in cards
            assert 'data-slug="broken"' in cards
            (cards,) = outputs(await owner.call("ModelsTab.on_try_again", event=again))
    assert starts
    assert isinstance(broken.state, Ready)


def test_settings_take_a_long_key_only() -> None:
    """A key that could be guessed stops the start."""
    from arena.errors.base import SettingsError

    with pytest.raises(SettingsError, match="16 characters"):
        settings_from({"ARENA_OWNER_KEY": "short"})
