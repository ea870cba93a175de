"""The copy on the Hub: whole, private, never in the way, and the way back from it.

The real huggingface_hub talks to a loopback server (`hub_server.py`).
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import resource
import shutil
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from huggingface_hub import close_session

from arena.dataset.hub import HubBackup, derived_salt, make_journal
from arena.dataset.hub_lines import encode_line
from arena.domain import Battle, Exchange, Exclusion, Reason, Side
from arena.errors.base import SettingsError
from arena.errors.store import BackupFailed, StoreError
from arena.store.journal import CopyState, NoJournal
from arena.store.store import VoteStore, voter_hash
from tests.dataset.hub_arena import NEVER, Space, space
from tests.dataset.hub_server import DATASET, TOKEN, Hub, Reply, refuse, running_hub, serving
from tests.environment import settings_from
from tests.store_tools import excluded_in, pairs_of
from tests.vote_samples import NOON, VOTER, answer, battle, vote

EMPTY_CARD = b"---\nlicense: mit\n---\nmine\n"


@pytest.fixture(autouse=True)
def threads_end() -> Iterator[None]:
    """No thread of one test talks to the Hub of the next one, over connections that both share."""
    yield
    for thread in hub_threads():
        thread.join(30)
        assert not thread.is_alive()
    close_session()


def hub_threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name in ("hub-push", "hub-read")]


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as server:
        yield server


@pytest.fixture
async def one(hub: Hub, tmp_path: Path) -> AsyncIterator[Space]:
    """A process whose store is empty, as is the Hub."""
    async with space(hub, tmp_path / "one") as made:
        yield made


async def contents(store: VoteStore) -> dict[str, object]:
    """All that the store holds and the copy must bring back."""
    return {
        "battles": {battle.id: (battle, vote) for battle, vote in await pairs_of(store)},
        "exclusions": await excluded_in(store),
    }


def unanswered() -> Battle:
    """A battle as it begins."""
    talk = (Exchange("1+1は？"),)
    return battle(conversation_a=talk, conversation_b=talk)


def answered(begun: Battle, side: Side, **how: str) -> Battle:
    """The same when that side has ended."""
    return begun.with_conversation(side, (Exchange("1+1は？", answer(**how)),))


# --- there and back ----------------------------------------------------------------------------


async def test_everything_comes_back(hub: Hub, tmp_path: Path) -> None:
    """A Space's disk is emptied at each restart, and with it went every vote."""
    async with space(hub, tmp_path / "one") as one:
        kept = await one.voted(3)
        odd = battle(system_prompt="a\x00b\u2028\ud800", provenance={"x": {"y\n": "z"}})
        await one.store.add_battle(odd)
        await one.store.cast_vote(vote(odd, "tie", signed_in=True))
        await one.store.annotate_vote(
            kept[0].id, VOTER, comment="改行\n\n", reasons=(Reason.CLEAR,)
        )
        await one.store.add_battle(battle("phi", None))
        decided = Exclusion(kept[1].id, "a bot", NOON)
        lifted = Exclusion(kept[2].id, "not sure", NOON)
        for decision in (
            decided,
            lifted,
            replace(lifted, decided_at=NOON + timedelta(1), lifted=True),
        ):
            await one.store.add_exclusion(decision)
        before = await contents(one.store)
    assert len(hub.votes()) == 4
    assert hub.repo.private
    async with space(hub, tmp_path / "two") as two:
        after = await contents(two.store)
        assert after == before
        assert list(after["exclusions"]) == [kept[1].id]  # type: ignore[call-overload]
        assert two.backup.state().error is None
        assert not two.backup.state().restoring


async def test_nothing_is_restored_or_copied_twice(hub: Hub, tmp_path: Path) -> None:
    """Each restart added all battles once more to the copy."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(3)
    first = hub.files()
    for disk in ("two", "one", "two"):
        async with space(hub, tmp_path / disk) as again:
            counts = await again.store.counts()
            assert (counts.battles, counts.votes) == (3, 3)
            assert again.backup.state().unpushed == 0
    assert {name for name in hub.files() if name.startswith("data/")} == {
        name for name in first if name.startswith("data/")
    }
    assert len(hub.lines("battle")) == len(hub.lines("vote")) == 3


async def test_what_the_owner_removed_stays_removed(hub: Hub, tmp_path: Path) -> None:
    """A visitor asked for a deletion, and the next restart brought it back."""
    async with space(hub, tmp_path / "one") as one:
        gone, stays = await one.voted(2)
        with one.store.database.writer.begin() as connection:
            for table, column in (("votes", "battle_id"), ("battles", "id")):
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = ?", (gone.id,))  # noqa: S608
    async with space(hub, tmp_path / "one") as again:
        assert await again.store.get_battle(gone.id) is None
        assert await again.store.get_vote(stays.id) is not None


async def test_store_with_votes_of_its_own_is_restored_too(hub: Hub, tmp_path: Path) -> None:
    """The backup was turned on, or the first boot failed, after people had voted already."""
    async with space(hub, tmp_path / "one") as one:
        theirs = await one.voted(2)
    without = VoteStore.open(f"sqlite:///{tmp_path / 'two' / 'arena.db'}")
    mine = battle()
    await without.add_battle(mine)
    await without.cast_vote(vote(mine))
    await without.aclose()
    async with space(hub, tmp_path / "two") as two:
        counts = await two.store.counts()
        assert (counts.battles, counts.votes) == (3, 3)
    assert hub.votes() == {mine.id, *(b.id for b in theirs)}


async def test_files_of_two_processes_are_one_copy(hub: Hub, tmp_path: Path) -> None:
    """Two writers of one file overwrote each other's votes."""
    async with space(hub, tmp_path / "one") as one, space(hub, tmp_path / "two") as two:
        ours = [*await one.voted(2), *await two.voted(3, "tie")]
        assert await one.pushed() is None
        assert await two.pushed() is None
        ours += [*await one.voted(1), *await two.voted(1)]
    assert sum(name.startswith("data/") for name in hub.files()) == 2
    hub.page = 2  # the Hub lists a long tree in pages
    async with space(hub, tmp_path / "three") as three:
        assert {b.id for b, v in await pairs_of(three.store) if v} == {b.id for b in ours}


# The library gives the large-file store a file in a way that its HTTP library has renamed.
@pytest.mark.filterwarnings("ignore:Use 'content:DeprecationWarning")
@pytest.mark.parametrize("large", [False, True], ids=["inline", "large-file storage"])
async def test_a_growing_file_is_pushed_as_far_as_it_is_whole(
    hub: Hub, tmp_path: Path, *, large: bool
) -> None:
    """The Hub may want its large-file storage, which the library feeds in another way."""
    if large:
        hub.lfs_above = 100
    async with space(hub, tmp_path / "one") as one:
        for _ in range(3):
            await one.voted(1)
            assert await one.pushed() is None
            assert one.backup.state().unpushed == 0
        before = await contents(one.store)
    assert hub.count("/large/") == (3 if large else 0)
    async with space(hub, tmp_path / "two") as two:
        assert await contents(two.store) == before


# --- what is noted -----------------------------------------------------------------------------


async def test_a_battle_is_noted_when_both_answers_have_ended(one: Space, hub: Hub) -> None:
    """Every line of a half-written battle is one more to push, and tells nothing."""
    begun = unanswered()
    half = answered(begun, Side.A)
    whole = answered(half, Side.B)
    await one.store.add_battle(begun)
    await one.store.update_battle(half)
    assert one.backup.state().unpushed == 0
    await one.store.update_battle(whole)
    assert one.backup.state().unpushed == 1
    turn = Exchange("続けて")
    more = replace(
        whole,
        conversation_a=(*whole.conversation_a, turn),
        conversation_b=(*whole.conversation_b, turn),
    )
    await one.store.update_battle(more)
    assert one.backup.state().unpushed == 1
    ended = replace(
        more,
        conversation_a=(*whole.conversation_a, Exchange("続けて", answer("a"))),
        conversation_b=(*whole.conversation_b, Exchange("続けて", answer("b"))),
    )
    await one.store.update_battle(ended)
    assert one.backup.state().unpushed == 2
    assert await one.pushed() is None
    assert len(hub.lines("battle")) == 2


async def test_the_fullest_line_of_a_battle_counts(hub: Hub, tmp_path: Path) -> None:
    """A retried answer, or a later turn, was lost behind an older line in a later file."""
    begun = unanswered()
    failed = answered(answered(begun, Side.A), Side.B, text="", reason="error")
    retried = failed.with_conversation(
        Side.B, (Exchange("1+1は？", answer("2"), (answer("", reason="error"),)),)
    )
    later = NOON + timedelta(hours=1)
    hub.put("data/1.jsonl", encode_line(retried, NOON))
    hub.put("data/2.jsonl", encode_line(failed, later) + encode_line(begun, later))
    cast = vote(retried)
    noted = replace(cast, comment="because")
    hub.put("data/3.jsonl", encode_line(noted, later) + encode_line(cast, NOON))
    async with space(hub, tmp_path / "one") as one:
        assert await one.store.get_battle(begun.id) == retried
        assert await one.store.get_vote(begun.id) == noted


async def test_a_battle_that_never_ended_is_noted_at_the_next_start(
    hub: Hub, tmp_path: Path
) -> None:
    """A killed process leaves battles that count as begun; the copy never heard of them."""
    begun = unanswered()
    async with space(hub, tmp_path / "one") as one:
        await one.store.add_battle(begun)
    assert not hub.battles()
    async with space(hub, tmp_path / "one"):
        pass
    assert hub.battles() == {begun.id}
    async with space(hub, tmp_path / "two") as two:
        assert await two.store.get_battle(begun.id) == begun


async def test_a_change_between_commit_and_note_is_noted_at_the_next_start(
    hub: Hub, tmp_path: Path
) -> None:
    """A crash between the two left a gap in the copy for ever."""
    made = battle()
    async with space(hub, tmp_path / "one") as one:
        await one.store.add_battle(made)
        await one.voted(1)
    unheard = VoteStore.open(f"sqlite:///{tmp_path / 'one' / 'arena.db'}")
    await unheard.cast_vote(vote(made, "both_bad"))
    await unheard.add_exclusion(Exclusion(made.id, "a bot", NOON))
    await unheard.aclose()
    async with space(hub, tmp_path / "one") as again:
        before = await contents(again.store)
    assert len(hub.lines("battle")) == len(hub.lines("vote")) == 2
    async with space(hub, tmp_path / "two") as two:
        assert await contents(two.store) == before


async def test_a_vote_while_the_store_is_gone_through_is_noted_once(one: Space) -> None:
    """It was no more in the list of the copy's lines, and already in the store."""
    assert await one.pushed() is None
    index = await asyncio.to_thread(one.backup._index)
    await one.voted(1)
    await one.backup._reconcile(one.store, index)
    assert one.backup.state().unpushed == 2


# --- a Hub that fails --------------------------------------------------------------------------

FAULTS = {
    "overloaded": (refuse(503, "/commit/"), "DO_WAIT_FOR_HUB"),
    "no token": (refuse(401, "/commit/"), "DO_GRANT_WRITE"),
    "may only read": (refuse(403, "/commit/"), "DO_GRANT_WRITE"),
    "someone else was first": (refuse(412, "/commit/"), "DO_WAIT_FOR_HUB"),
}


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_push_that_fails_is_tried_again(
    one: Space, hub: Hub, tmp_path: Path, fault: str
) -> None:
    """Votes of an outage were never pushed, or somebody had to notice and start again."""
    hub.answers, remedy = FAULTS[fault]
    await one.voted(2)
    error = await one.pushed()
    state = one.backup.state()
    assert isinstance(error, BackupFailed)
    assert isinstance(state.error, BackupFailed)
    assert state.error.values["remedy"].name == remedy  # type: ignore[attr-defined]
    assert state.error.values["place"] == DATASET
    assert (state.unpushed, state.pushed_at) == (4, None)
    await one.voted(1)
    hub.answers = None
    assert await one.pushed() is None
    state = one.backup.state()
    assert (state.unpushed, state.error) == (0, None)
    assert state.pushed_at is not None
    assert abs(state.pushed_at - time.time()) < 60
    assert len(hub.votes()) == 3


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
    """The arena did not start without the Hub, or took a failing one for an empty copy."""
    async with space(hub, tmp_path / "one") as one:
        theirs = await one.voted(2)
    hub.answers = BOOT_FAULTS[fault]
    async with space(hub, tmp_path / "two", settle=False) as two:
        mine = await two.voted(1)
        await two.failed()
        state = two.backup.state()
        assert state.restoring
        assert isinstance(state.error, BackupFailed)
        assert await two.store.get_meta(f"restored:{DATASET}") is None
        hub.answers = None
        await two.settled()
        assert await two.pushed() is None
        assert two.backup.state().error is None
        assert (await two.store.counts()).votes == 3
    assert hub.votes() == {b.id for b in [*theirs, *mine]}


async def test_a_hub_that_cannot_be_reached_at_the_start(tmp_path: Path) -> None:
    """A machine without a network ended in a traceback of the library."""
    hub = Hub()
    with serving(hub):
        async with space(hub, tmp_path / "one") as one:
            await one.voted(2)
    port = int(hub.url.rsplit(":", 1)[1])
    async with space(hub, tmp_path / "two", settle=False) as two:
        await two.voted(1)
        await two.failed()
        assert "network" in two.backup.state().error.remedy_text  # type: ignore[union-attr]
        with serving(hub, port):
            await two.settled()
            assert (await two.store.counts()).votes == 3
            await two.aclose()
        assert len(hub.votes()) == 3


async def test_a_hub_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    """After an outage the connections of before were used for ever."""
    hub = Hub()
    with serving(hub):
        one = Space(hub, tmp_path)
        await one.backup.start(one.store)
        await one.settled()
        await one.voted(1)
        assert await one.pushed() is None
    port = int(hub.url.rsplit(":", 1)[1])
    await one.voted(1)
    scheduler = one.backup._scheduler
    assert scheduler is not None
    future = scheduler.trigger()
    with serving(hub, port):
        assert await asyncio.to_thread(future.exception, 60) is None
        assert len(hub.votes()) == 2
        await one.aclose()


async def test_no_vote_waits_for_a_push(one: Space, hub: Hub) -> None:
    """A slow Hub held the lock, and every voter waited for it."""
    assert await one.pushed() is None
    first = await one.voted(1)
    scheduler = one.backup._scheduler
    assert scheduler is not None
    with hub.held("/commit/"):
        future = scheduler.trigger()
        await one.until(lambda: hub.count("/commit/"))
        second = await asyncio.wait_for(one.voted(2), 10)  # would wait for the push otherwise
        assert not future.done()
        assert one.backup.state().unpushed == 6
        assert not hub.votes()
    assert await asyncio.to_thread(future.exception, 60) is None
    # What came during the push is not in it, and is not taken for pushed.
    assert hub.votes() == {first[0].id}
    assert one.backup.state().unpushed == 4
    assert await one.pushed() is None
    assert hub.votes() == {b.id for b in [*first, *second]}


async def test_a_change_in_the_same_moment_as_a_push_is_pushed_next(
    hub: Hub, tmp_path: Path
) -> None:
    """The library compares times of change, and file systems have coarse clocks."""
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")  # as /tmp is on some systems
    async with space(hub, tmp_path / "link") as one:
        await one.voted(1)
        assert await one.pushed() is None
        (path,) = one.backup._spool.sizes()
        before = path.stat()
        await one.voted(1)
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert await one.pushed() is None
        assert len(hub.votes()) == 2
        commits = hub.count("/commit/")
        assert await one.pushed() is None
        assert hub.count("/commit/") == commits  # nothing new, no commit


async def test_pushes_come_by_themselves(hub: Hub, tmp_path: Path) -> None:
    """Without the scheduler's ticks all depended on the last push."""
    async with space(hub, tmp_path, every_minutes=0.001) as one:
        for number in (1, 2):
            await one.voted(1)
            await one.until(lambda n=number: len(hub.votes()) == n)  # type: ignore[misc]


# --- broken files ------------------------------------------------------------------------------


async def test_a_last_line_that_is_cut_off_is_skipped(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A process was killed while it wrote, and nothing of its file could be read any more."""
    first, second = battle(), battle(system_prompt="secret words")
    whole = encode_line(first, NOON) + encode_line(vote(first), NOON)
    hub.put("data/1.jsonl", whole + encode_line(second, NOON)[:-40])
    async with space(hub, tmp_path / "one") as one:
        state = one.backup.state()
        assert (state.unreadable, state.error) == (1, None)
        assert (await one.store.counts()).battles == 1
        assert await one.store.get_vote(first.id) is not None
    assert "data/1.jsonl" in caplog.text


async def test_a_broken_line_is_reported_and_the_rest_is_read(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """One bad line of a year ago kept every vote after it from coming back."""
    first, second, third = battle(), battle(), battle()
    good = [encode_line(b, NOON) + encode_line(vote(b), NOON) for b in (first, second, third)]
    newer = json.loads(encode_line(battle(), NOON))
    newer["record"]["colour"] = "secret words"
    bad = [
        b"secret words\n",
        b"\xff\xfe\n",
        b'{"kind":"secret words","at":"2025-06-01T00:00:00+00:00","record":{}}\n',
        encode_line(battle(), NOON).replace(b'"blind"', b'"secret words"'),
        json.dumps(newer).encode() + b"\n",
        b"[" * 20000 + b"\n",
        b"\n",  # an empty line breaks nothing
    ]
    hub.put("data/1.jsonl", good[0] + b"".join(bad) + good[1])
    hub.put("data/2.jsonl", good[2])
    hub.put("data/notes.txt", b"not ours")
    hub.put("other.jsonl", b"not ours\n")
    lost = battle()
    hub.put("data/3.jsonl", encode_line(vote(lost), NOON))  # the battle's line was lost
    async with space(hub, tmp_path / "one") as one:
        state = one.backup.state()
        assert state.unreadable == 6
        assert isinstance(state.error, BackupFailed)
        assert state.error.remedy_text.startswith("6 lines")
        counts = await one.store.counts()
        assert (counts.battles, counts.votes) == (3, 3)
        assert not state.restoring
        await one.voted(1)
        assert await one.pushed() is None
        assert one.backup.state().error is state.error  # a push that works does not hide it
    lines = [record.getMessage() for record in caplog.records if "line" in record.getMessage()]
    assert any("line 3 of data/1.jsonl" in line for line in lines)
    assert "secret words" not in caplog.text


async def test_no_file_of_the_hub_is_ever_made_shorter(hub: Hub, tmp_path: Path) -> None:
    """What another process pushed was overwritten by a poorer file of the same name."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(1)
        assert await one.pushed() is None
    before = hub.files()
    async with space(hub, tmp_path / "one") as one, space(hub, tmp_path / "two") as two:
        await one.voted(1)
        await two.voted(1)
    after = hub.files()
    assert all(after[name].startswith(content) for name, content in before.items())


# --- this disk ---------------------------------------------------------------------------------


@contextmanager
def full_disk(more: int) -> Iterator[None]:
    """No file of this process may grow past so many bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_leaves_no_gap(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A note that failed was never made up for, and half a line spoiled the next one."""
    async with space(hub, tmp_path, every_minutes=0.001) as one:
        (first,) = await one.voted(1)
        await one.until(lambda: hub.votes() and not one.backup.state().unpushed)
        (path,) = one.backup._spool.sizes()
        second = battle()
        unheard = VoteStore.open(one.store.database.reader.url.render_as_string())
        await unheard.add_battle(second)
        await unheard.cast_vote(vote(second))
        await unheard.add_exclusion(Exclusion(first.id, "a bot", NOON))
        await unheard.aclose()
        lift = Exclusion(first.id, "no bot", NOON + timedelta(1), lifted=True)
        with full_disk(path.stat().st_size + 10), one.backup.lock:
            # As the store's threads do it: its own file could not grow either.
            one.backup.battle(second)
            one.backup.vote(vote(second))
            one.backup.exclusion(lift)
            state = one.backup.state()
        assert state.unpushed == 3
        assert isinstance(state.error, BackupFailed)
        assert "ARENA_CACHE_DIR" in state.error.remedy_text
        assert str(tmp_path) in state.error.remedy_text
        await one.until(lambda: len(hub.votes()) == 2 and len(hub.lines("exclusion")) >= 2)
        await one.until(lambda: not one.backup.state().unpushed)
        assert one.backup.state().error is None
    lines = b"".join(c for name, c in hub.files().items() if name.startswith("data/")).splitlines()
    assert all(json.loads(line) for line in lines)
    assert [e["lifted"] for e in hub.lines("exclusion") if e["why"] == "no bot"] == [True]
    assert "note failed" in caplog.text


@pytest.mark.parametrize("when", ["a vote comes", "nothing comes"])
async def test_files_that_somebody_removed_are_made_up_for(
    hub: Hub, tmp_path: Path, when: str
) -> None:
    """A cleaner of caches took the folder, and votes went into a file without a name."""
    async with space(hub, tmp_path, every_minutes=0.001) as one:
        hub.answers = refuse(503, "/commit/")
        await one.voted(1)
        shutil.rmtree(tmp_path / "cache")
        if when == "a vote comes":
            await one.voted(1)
        hub.answers = None
        number = (await one.store.counts()).votes
        await one.until(lambda: len(hub.votes()) == number)


async def test_a_cache_that_cannot_be_written_stops_nothing(hub: Hub, tmp_path: Path) -> None:
    """A folder that belongs to somebody else ended the start, or a vote."""
    (tmp_path / "cache").write_text("a file in the folder's place")
    async with space(hub, tmp_path, settle=False) as one:
        await one.voted(1)
        await one.failed()
        assert "ARENA_CACHE_DIR" in one.backup.state().error.remedy_text  # type: ignore[union-attr]
        (tmp_path / "cache").unlink()
        await one.settled()
        await one.until(hub.votes)
        assert one.backup.state().error is None


async def test_what_a_killed_process_left_is_taken_over(hub: Hub, tmp_path: Path) -> None:
    """The database's disk was lost and the cache's was not: the votes in it were thrown away."""
    hub.answers = refuse(503, "/commit/")
    async with space(hub, tmp_path) as one:
        await one.voted(2)
        before = await contents(one.store)
    assert one.backup.state().unpushed == 4
    hub.answers = None
    (tmp_path / "arena.db").unlink()
    async with space(hub, tmp_path) as two:
        assert await contents(two.store) == before
    assert len(hub.votes()) == len(hub.lines("vote")) == 2
    assert not list((tmp_path / "cache").rglob("*.jsonl"))  # pushed, so the disk is free again


async def test_what_a_living_process_writes_is_left_alone(hub: Hub, tmp_path: Path) -> None:
    """Two processes on one machine took each other's files away."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(1)
        (tmp_path / "two").mkdir()
        (tmp_path / "two" / "cache").symlink_to(tmp_path / "one" / "cache")
        async with space(hub, tmp_path / "two") as two:
            await two.voted(1)
            await one.voted(1)
            assert await one.pushed() is None
            assert one.backup.state().error is None
    assert len(hub.votes()) == len(hub.lines("vote")) == 3


# --- the end -----------------------------------------------------------------------------------


async def test_the_end_pushes_what_is_left(hub: Hub, tmp_path: Path) -> None:
    """Votes of the last minutes before a restart were lost every time."""
    one = Space(hub, tmp_path, every_minutes=NEVER)
    await one.backup.start(one.store)
    await one.settled()
    await one.voted(2)
    await one.aclose()
    assert len(hub.votes()) == 2
    assert one.backup.state().unpushed == 0
    requests = len(hub.requests)
    await one.aclose()  # twice is harmless
    assert len(hub.requests) == requests
    assert one.backup.state().error is None


async def test_the_end_before_the_start_was_done_pushes_too(hub: Hub, tmp_path: Path) -> None:
    """A process that lives for a second, such as a command, copied nothing."""
    one = Space(hub, tmp_path)
    await one.voted(1)
    await one.aclose()
    assert len(hub.votes()) == 1


@pytest.mark.parametrize("where", ["/repos/create", "/commit/", "/resolve/"])
async def test_the_end_is_not_held_up(hub: Hub, tmp_path: Path, where: str) -> None:
    """A Hub that says nothing kept a process alive until it was killed."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(1)
    with hub.held(where):
        before = hub.count(where)
        two = Space(hub, tmp_path / "two", final_s=0.2)
        await two.backup.start(two.store)
        await two.voted(1)
        await two.until(lambda: where == "/commit/" or hub.count(where) > before)
        if where == "/commit/":
            await asyncio.wait_for(two.backup.settled.wait(), 30)
        start = time.monotonic()
        await two.backup.aclose()
        assert time.monotonic() - start < 5
        state = two.backup.state()
        if where == "/resolve/":  # reading holds up no push
            assert state.unpushed == 0
            assert await two.store.get_meta(f"restored:{DATASET}") is None
        else:
            assert state.unpushed == 2
            assert isinstance(state.error, StoreError)
            assert list((tmp_path / "two").rglob("data/*.jsonl"))
        await two.store.aclose()


# --- what is private ---------------------------------------------------------------------------


async def test_nothing_private_leaves(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    """A data set on the Hub can be published by one click."""
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
        assert await one.pushed() is None

        def echo(_method: str, path: str) -> Reply | None:
            message = f"bad token {TOKEN}"
            headers = {"X-Error-Message": message}
            return Reply(403, {"error": message}, headers) if "/commit/" in path else None

        hub.answers = echo
        await one.voted(1)
        error = await one.pushed()
        assert isinstance(error, BackupFailed)
        shown = " ".join([str(error), error.detail, error.remedy_text, repr(one.backup.state())])
        hub.answers = None
    sent = b"\n".join(hub.received)
    assert voter.encode() in sent  # needed to know a voter again
    for name, secret in (private | {"token": TOKEN}).items():
        assert secret.encode() not in sent, name
    logged = caplog.text + "".join(capfd.readouterr()) + shown
    assert TOKEN not in logged
    assert "(token)" in shown


async def test_the_card_says_what_it_is_and_is_not_overwritten(hub: Hub, tmp_path: Path) -> None:
    """A folder of files without a word is edited or removed; an owner's words were replaced."""
    async with space(hub, tmp_path / "one") as one:
        await one.until(lambda: "README.md" in hub.files())
    assert b"data_files: data/*.jsonl" in hub.files()["README.md"]
    hub.put("README.md", EMPTY_CARD)
    commits = len(hub.repo.commits)
    async with space(hub, tmp_path / "two") as two:
        await asyncio.to_thread(two.backup._remote.write_card)
    assert hub.files()["README.md"] == EMPTY_CARD
    assert len(hub.repo.commits) == commits


async def test_a_card_that_is_refused_stops_nothing(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The copy was read again and again because of a text that nobody needs."""
    hub.answers = refuse(400, "/validate-yaml")
    async with space(hub, tmp_path) as one:
        await one.until(lambda: hub.count("/validate-yaml"))
        await one.voted(1)
        assert await one.pushed() is None
        assert one.backup.state().error is None
    assert hub.count("/validate-yaml") == 1
    assert len(hub.votes()) == 1
    assert "has no card" in caplog.text


# --- settings ----------------------------------------------------------------------------------


async def test_settings_choose_the_journal(tmp_path: Path) -> None:
    """A dataset without a token looked like a backup and was none."""
    none = make_journal(settings_from({"HF_TOKEN": TOKEN}))
    assert isinstance(none, NoJournal)
    assert none.state() == CopyState()
    store = VoteStore.open(f"sqlite:///{tmp_path / 'arena.db'}", journal=none)
    await none.start(store)
    await none.aclose()
    await store.aclose()
    values = {
        "ARENA_VOTES_DATASET": DATASET,
        "HF_TOKEN": TOKEN,
        "ARENA_CACHE_DIR": str(tmp_path),
        "ARENA_VOTES_PUSH_MINUTES": "0.5",
    }
    copy = make_journal(settings_from(values))
    assert isinstance(copy, HubBackup)
    assert copy.state() == CopyState(place=DATASET)
    assert copy._every_minutes == 0.5
    await copy.aclose()
    del values["HF_TOKEN"]
    with pytest.raises(SettingsError) as caught:
        make_journal(settings_from(values))
    assert "HF_TOKEN" in caught.value.sentence
    assert "ARENA_VOTES_DATASET" in caught.value.sentence


def test_salt_lasts_as_long_as_the_token() -> None:
    """After a lost disk everybody was a new voter and could vote again."""
    salt = derived_salt(TOKEN)
    assert salt == derived_salt(TOKEN) != derived_salt(TOKEN + "2")
    assert len(salt) == 64
    assert TOKEN not in salt
    # It must never change: this is what stores of today are salted with.
    assert derived_salt("hf_x") == (
        "438dfff9e33db17678a1bcb59fa46762c292dd9bbea99c1e3099a896f3f7bc7f"
    )
