"""The app as a Space runs it: accounts of a loopback OpenID provider, and votes to download."""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from playwright.sync_api import Locator, Page, expect

from tests.browser.conftest import Served, end, serve
from tests.browser.oidc_server import CLIENT_ID, Provider, running_provider
from tests.browser.steps import Open, ask, finished, ready, vote

pytestmark = pytest.mark.browser


@dataclass(frozen=True)
class Space:
    """The app as a Space with OAuth runs it, and the provider that it trusts."""

    app: Served
    provider: Provider

    @property
    def url(self) -> str:
        """By name: only there does Chromium keep a secure cookie without TLS."""
        return self.app.url.replace("127.0.0.1", "localhost")


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory, embedded_cache: Path) -> Iterator[Space]:
    """A Space's environment, whose only invented part is the provider's address."""
    folder = tmp_path_factory.mktemp("space")
    with running_provider() as provider:
        served = serve(
            folder, embedded_cache, TMPDIR=str(folder), ARENA_LOCAL_MODEL="embedded",
            ARENA_PUBLIC_EXPORT="1",
            ARENA_MAX_NEW_TOKENS="16", ARENA_SIGNED_IN_VOTES_ONLY="1", SYSTEM="spaces",
            SPACE_ID="someone/arena", OAUTH_CLIENT_ID=CLIENT_ID, OAUTH_SCOPES="openid profile",
            OAUTH_CLIENT_SECRET="secret-of-the-tests", OPENID_PROVIDER_URL=provider.url,
        )  # fmt: skip
        yield Space(served, provider)
        assert end(served) == 0
    assert list(folder.glob("arena-export-*")) == [], "a stopped app leaves no export behind"


def person(sub: str, name: str) -> dict[str, str]:
    """An account as the provider describes it."""
    return {
        "sub": sub, "name": name.title(), "preferred_username": name,
        "profile": f"https://example.test/{name}", "picture": "https://example.test/p.png",
    }  # fmt: skip


def sign_in(page: Page, name: str) -> None:
    """Follow the link, to the provider and back."""
    page.locator("#sign-in").click()
    expect(page.locator("#account .who")).to_have_text(name)


def battle_and_vote(page: Page) -> None:
    """One battle and its vote."""
    ready(page)
    ask(page, "Say hello.")
    finished(page)
    vote(page)


def first_step(page: Page) -> Locator:
    """The first step of the funnel."""
    return page.locator("#leaderboard .lb-funnel li").first


def test_one_person_is_one_voter_in_every_browser(space: Space, open_page: Open) -> None:
    """An account is one voter in all browsers, and two accounts are two."""
    space.provider.person = person("user-7", "hanako")
    for _ in range(2):
        page = open_page(space.url)
        expect(page.locator("#sign-in")).to_have_attribute(
            "title", re.compile("Only votes of people")
        )
        sign_in(page, "hanako")
        battle_and_vote(page)
    rows = space.app.rows("select voter, signed_in from votes")
    assert len(rows) == 2
    assert len({voter for voter, _ in rows}) == 1
    assert all(signed_in for _, signed_in in rows)

    space.provider.person = person("user-8", "taro")
    page = open_page(space.url)
    sign_in(page, "taro")
    battle_and_vote(page)
    assert len(set(space.app.rows("select voter from votes"))) == 2

    page.locator("#tab-leaderboard").click()
    expect(first_step(page)).to_have_text(re.compile(r"^3\s*all votes"))


def test_a_vote_without_an_account_is_kept_but_not_counted(space: Space, open_page: Open) -> None:
    """Where only signed-in votes count, others are kept and shown as not counted."""
    page = open_page(space.url)
    battle_and_vote(page)
    kept, guests = (
        len(space.app.rows("select 1 from votes")),
        "select 1 from votes where not signed_in",
    )
    assert len(space.app.rows(guests)) == 1
    page.locator("#tab-leaderboard").click()
    expect(first_step(page)).to_have_text(re.compile(rf"^{kept}\s*all votes"))
    page.locator("#leaderboard .lb-funnel details").click()
    expect(page.locator("#leaderboard .lb-funnel details")).to_contain_text(
        "1 the voter had not signed in"
    )


def test_signing_out_ends_it_and_no_name_is_stored(space: Space, open_page: Open) -> None:
    """Signing out ends the session, and no name or account id is in the database."""
    space.provider.person = person("user-9", "secretname")
    page = open_page(space.url)
    sign_in(page, "secretname")
    page.locator("#sign-in").click()
    expect(page.locator("#account .who")).to_have_count(0)
    stored = space.app.database.read_bytes()
    for word in (b"secretname", b"user-9", b"hanako", b"user-7"):
        assert word not in stored


def test_votes_can_be_downloaded_where_the_owner_says_so(space: Space, open_page: Open) -> None:
    """Where the owner allows it, the votes come as one zip without voters' hashes."""
    page = open_page(space.url)
    battle_and_vote(page)
    voters = {voter for (voter,) in space.app.rows("select voter from votes")}
    number = len(space.app.rows("select 1 from votes"))
    page.locator("#tab-leaderboard").click()
    page.locator("#lb-more summary").click()
    expect(page.locator("#export-save")).to_be_hidden()
    page.locator("#export-make").click()
    said = re.compile(rf"{number} rows? of {number} battles?")
    expect(page.locator("#export-note")).to_contain_text(said)
    with page.expect_download() as waited:
        page.locator("#export-save").click()
    assert waited.value.suggested_filename == "arena-votes-arena.jsonl.zip"
    with zipfile.ZipFile(waited.value.path()) as packed:
        text = packed.read("arena-votes-arena.jsonl").decode()
        assert "# Votes of an arena" in packed.read("README.md").decode()
    assert [json.loads(line)["winner"] for line in text.splitlines()] == ["model_a"] * number
    assert not any(voter in text for voter in voters)
