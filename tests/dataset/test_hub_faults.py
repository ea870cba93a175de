"""A Hub that fails, is slow or refuses: never in the way, and no secret in a word of it.

The real huggingface_hub talks to a loopback server (`hub_server.py`).
"""

from __future__ import annotations

import asyncio
import errno
import logging
import time
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import get_session
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

from arena.dataset.hub import derived_salt
from arena.dataset.hub_repository import HubRepository
from arena.errors.reasons import ErrorReason
from arena.errors.store import BackupFailed, StoreError
from arena.store.store import voter_hash
from tests.dataset.hub_server import DATASET, TOKEN, Hub, Reply, refuse, serving
from tests.dataset.hub_space import (
    EMPTY_CARD,
    Space,
    files,
    space,
    wait_for_threads,
)
from tests.vote_samples import VOTER, battle, vote

# --- a Hub that fails --------------------------------------------------------------------------

FAULTS = {
    "overloaded": (refuse(503, "/commit/"), ErrorReason.DO_WAIT_FOR_HUB),
    "no token": (refuse(401, "/commit/"), ErrorReason.DO_GRANT_WRITE),
    "may only read": (refuse(403, "/commit/"), ErrorReason.DO_GRANT_WRITE),
    "someone else was first": (refuse(412, "/commit/"), ErrorReason.DO_WAIT_FOR_HUB),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_push_that_fails_is_tried_again(one: Space, hub: Hub, fault: str) -> None:
    """What could not be pushed waits; the state says how much, and what to do."""
    hub.answers, remedy = FAULTS[fault]
    await one.voted(2)
    error = await one.refused()
    assert one.state.error is error
    assert error.values["remedy"] is remedy
    assert error.values["place"] == DATASET
    assert one.state.unpushed == 4
    await one.voted(1)
    hub.answers = None
    await one.copy.push()
    state = one.state
    assert (state.unpushed, state.error) == (0, None)
    assert state.pushed_at is not None
    assert abs(state.pushed_at - time.time()) < 60
    assert len(hub.votes()) == 3


async def test_nothing_is_sent_to_a_public_dataset(one: Space, hub: Hub) -> None:
    """Votes and texts stay here until it is private again."""
    hub.repo.private = False
    await one.voted(1)
    error = await one.refused()
    assert error.values["remedy"] is ErrorReason.DO_MAKE_PRIVATE
    assert "private" in error.remedy_text
    assert not files(hub)
    hub.repo.private = True
    await one.copy.push()
    assert len(hub.votes()) == 1


BOOT_FAULTS = {
    "overloaded": refuse(503, "/repos/create"),
    "no token": refuse(401),
    "may not": refuse(403),
    "hidden": refuse(404),
    "tree": refuse(400, "/tree/"),
    "not the Hub": lambda _m, path: Reply(200, b"<html>") if "/datasets/" in path else None,
}


@pytest.mark.parametrize("fault", BOOT_FAULTS)
async def test_a_hub_that_fails_at_the_start_stops_nothing(
    hub: Hub, tmp_path: Path, fault: str
) -> None:
    """The arena serves, and store and copy come together when the Hub answers."""
    async with space(hub, tmp_path / "one") as one:
        theirs = await one.voted(2)
    hub.answers = BOOT_FAULTS[fault]
    async with space(hub, tmp_path / "two", settle=False) as two:
        mine = await two.voted(1)
        await two.until(lambda: two.state.error)
        assert two.state.restoring
        assert isinstance(two.state.error, BackupFailed)
        assert await two.store.get_meta(f"restored:{DATASET}") is None
        hub.answers = None
        await two.settled()
        await two.copy.push()
        assert two.state.error is None
        assert (await two.store.counts()).votes == 3
    assert hub.votes() == {b.id for b in [*theirs, *mine]}


async def test_a_hub_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    """No network at the start, or in the middle: the connections of before are not used again."""
    hub = Hub()
    with serving(hub):
        async with space(hub, tmp_path / "one") as one:
            await one.voted(2)
    port = int(hub.url.rsplit(":", 1)[1])
    async with space(hub, tmp_path / "two", settle=False) as two:
        await two.voted(1)
        await two.until(lambda: two.state.error)
        assert "network" in two.state.error.remedy_text  # type: ignore[union-attr]
        with serving(hub, port):
            await two.settled()
            assert (await two.store.counts()).votes == 3
            assert len(hub.votes()) == 3
        await two.voted(1)
        await two.refused()
        with serving(hub, port):
            await two.copy.push()
            assert len(hub.votes()) == 4
    wait_for_threads()


async def test_no_vote_waits_for_a_push(one: Space, hub: Hub) -> None:
    """What comes during a push is not in it, and is not taken for pushed."""
    first = await one.voted(1)
    with hub.held("/commit/"):
        pushing = asyncio.create_task(one.copy.push())
        await one.until(lambda: hub.count("/commit/"))
        second = await asyncio.wait_for(one.voted(2), 60)  # would wait for the push otherwise
        await one.store.annotate_vote(first[0].id, VOTER, comment="more")
        assert not pushing.done()
        assert one.state.unpushed == 6
        assert not hub.votes()
    await pushing
    assert hub.votes() == {first[0].id}
    assert one.state.unpushed == 5
    await one.copy.push()
    assert hub.votes() == {b.id for b in [*first, *second]}
    commits = hub.count("/commit/")
    await one.copy.push()
    assert hub.count("/commit/") == commits  # nothing new, no commit


async def test_a_push_that_was_cancelled_is_not_done_twice(one: Space, hub: Hub) -> None:
    """Its thread goes on; the next push waits for it and sends what it did not."""
    await one.voted(1)
    with hub.held("/commit/"):
        pushing = asyncio.create_task(one.copy.push())
        await one.until(lambda: hub.count("/commit/"))
        pushing.cancel()
        await asyncio.wait([pushing])
        again = asyncio.create_task(one.copy.push())
    await again
    assert len(hub.lines("vote")) == len(files(hub)) == 1
    assert one.state.unpushed == 0


async def test_pushes_come_by_themselves(hub: Hub, tmp_path: Path) -> None:
    """Every `every_minutes`, where something has changed."""
    async with space(hub, tmp_path, every_minutes=0.001) as one:
        for number in (1, 2):
            await one.voted(1)
            await one.until(lambda n=number: len(hub.votes()) == n)  # type: ignore[misc]


async def test_a_cache_that_cannot_be_written_stops_nothing(hub: Hub, tmp_path: Path) -> None:
    """A folder in which nothing can be downloaded keeps no vote from the copy."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(1)
    (tmp_path / "two").mkdir()
    (tmp_path / "two" / "cache").write_text("a file in the folder's place")
    async with space(hub, tmp_path / "two", settle=False) as two:
        await two.voted(1)
        await two.until(lambda: two.state.error and len(hub.votes()) == 2)
        assert "ARENA_CACHE_DIR" in two.state.error.remedy_text  # type: ignore[union-attr]
        (tmp_path / "two" / "cache").unlink()
        await two.settled()
        assert two.state.error is None
        assert (await two.store.counts()).votes == 2
        assert not list((tmp_path / "two" / "cache").rglob("*.jsonl"))


# --- the end -----------------------------------------------------------------------------------


@pytest.mark.parametrize("started", [True, False])
async def test_the_end_pushes_what_is_left(hub: Hub, tmp_path: Path, *, started: bool) -> None:
    """Also of a process that lives for a second, such as a command, and never starts it."""
    one = Space(hub, tmp_path)
    if started:
        await one.copy.start()
        await one.settled()
    await one.voted(2)
    await one.aclose()
    assert len(hub.votes()) == 2
    assert (one.state.unpushed, one.state.error) == (0, None)
    requests = len(hub.requests)
    await one.copy.aclose()  # twice is harmless
    assert len(hub.requests) == requests


@pytest.mark.parametrize("where", ["/repos/create", "/commit/", "/resolve/"])
async def test_the_end_is_not_held_up(hub: Hub, tmp_path: Path, where: str) -> None:
    """A Hub that says nothing is waited for `final_s`; reading from it holds up no push."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(1)
    with hub.held(where):
        before = hub.count(where)
        reads = where == "/resolve/"
        two = Space(hub, tmp_path / "two", final_s=300 if reads else 0.2)
        await two.copy.start()
        await two.until(lambda: where == "/commit/" or hub.count(where) > before)
        await two.voted(1)
        await asyncio.wait_for(two.copy.aclose(), 60)
        if reads:
            assert two.state.unpushed == 0
            assert await two.store.get_meta(f"restored:{DATASET}") is None
        else:
            assert two.state.unpushed == 2
            assert isinstance(two.state.error, StoreError)
        await two.store.aclose()


# --- what is private ---------------------------------------------------------------------------


async def test_nothing_private_leaves(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """Neither salts, names and addresses to the Hub, nor the token to a log or the page."""
    caplog.set_level(logging.INFO)
    private = {
        "salt": derived_salt(TOKEN),
        "visitor": "visitor-0123456789abcdef",
        "account": "account-name",
        "address": "203.0.113.77",
        "cap": "window-of-203.0.113.77",
    }
    async with space(hub, tmp_path / "one") as one:
        private["drawn salt"] = await one.store.salt()
        voter = voter_hash(private["salt"], private["visitor"])
        made = battle(voter=voter)
        await one.store.add_battle(made)
        await one.store.cast_vote(vote(made, signed_in=True))
        await one.store.count_today(private["cap"], 5)
        await one.store.set_meta("owner", private["account"])
        await one.copy.push()

        def echo(_method: str, path: str) -> Reply | None:
            message = f"bad token {TOKEN}"
            headers = {"X-Error-Message": message}
            return Reply(403, {"error": message}, headers) if "/commit/" in path else None

        hub.answers = echo
        await one.voted(1)
        error = await one.refused()
        shown = " ".join([str(error), error.detail, error.remedy_text, repr(one.state)])
        hub.answers = None
    sent = b"\n".join(hub.received)
    assert voter.encode() in sent  # needed to know a voter again
    for name, secret in (private | {"token": TOKEN}).items():
        assert secret.encode() not in sent, name
    logged = caplog.text + "".join(capfd.readouterr()) + shown
    assert TOKEN not in logged
    assert "(token)" in shown


def response(status: int) -> HfHubHTTPError:
    request = httpx2.Request("GET", "https://huggingface.co/api")
    return HfHubHTTPError("hf_secret", response=httpx2.Response(status, request=request))


def wrapped(cause: Exception) -> RuntimeError:
    error = RuntimeError("Error while uploading")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (response(404), ErrorReason.DO_GRANT_WRITE),
        (wrapped(response(403)), ErrorReason.DO_GRANT_WRITE),
        (response(503), ErrorReason.DO_WAIT_FOR_HUB),
        (httpx2.ConnectError("no hf_secret"), ErrorReason.DO_WAIT_FOR_HUB),
        (OfflineModeIsEnabled("offline"), ErrorReason.DO_UNSET_HUB_OFFLINE),
        (OSError(errno.ENOSPC, "full"), ErrorReason.DO_FREE_CACHE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ErrorReason.DO_WAIT_FOR_HUB),
        (KeyError("hf_secret"), ErrorReason.DO_WAIT_FOR_HUB),
    ],
)
def test_errors_say_what_to_do_and_never_the_token(
    tmp_path: Path, error: Exception, remedy: ErrorReason
) -> None:
    """Each fault has a remedy, and no text of it holds the token."""
    found = HubRepository("a/b", "hf_secret", tmp_path, None).explain(error)
    assert found.values["remedy"] is remedy
    assert "{" not in found.remedy_text + found.sentence
    assert "hf_secret" not in found.detail + found.remedy_text + found.sentence + str(found)


def test_a_silent_hub_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """The library's commits have no timeout of their own."""
    HubRepository("a/b", "hf_secret", tmp_path, None)
    timeout = get_session().timeout
    assert timeout.connect is not None
    assert timeout.read is not None
    assert timeout.read <= 60


async def test_the_card_says_what_it_is_and_is_not_overwritten(hub: Hub, tmp_path: Path) -> None:
    """A dataset without a card gets one; an owner's words stay."""
    async with space(hub, tmp_path / "one"):
        assert b"data_files: data/*.jsonl" in hub.files()["README.md"]
    hub.put("README.md", EMPTY_CARD)
    commits = len(hub.repo.commits)
    async with space(hub, tmp_path / "two"):
        assert hub.files()["README.md"] == EMPTY_CARD
    assert len(hub.repo.commits) == commits


async def test_a_card_that_is_refused_stops_nothing(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is tried once at each start."""
    hub.answers = refuse(400, "/validate-yaml")
    async with space(hub, tmp_path) as one:
        await one.voted(1)
        await one.copy.push()
        assert one.state.error is None
    assert hub.count("/validate-yaml") == 1
    assert len(hub.votes()) == 1
    assert "has no card" in caplog.text
