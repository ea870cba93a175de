"""The copy on the Hub: whole, private, never in the way, and the way back from it.

The real huggingface_hub talks to a loopback server (`hub_server.py`).
"""

from __future__ import annotations

import asyncio
import errno
import json
import logging
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from huggingface_hub import close_session, get_session
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from hypothesis import given
from hypothesis import strategies as st

from arena.dataset import hub as module
from arena.dataset.hub import HubDataset, derived_salt, make_hub_dataset
from arena.dataset.hub_repository import HubRepository, decode_line, encode_line
from arena.domain import Battle, Exchange, Exclusion, Reason, Side
from arena.errors.base import SettingsError
from arena.errors.reasons import ErrorReason
from arena.errors.store import BackupFailed, StoreError
from arena.store.changes import CopyState, Record
from arena.store.serialization import RecordError
from arena.store.store import VoteStore, voter_hash
from tests.dataset.hub_server import DATASET, TOKEN, Hub, Reply, refuse, running_hub, serving
from tests.environment import settings_from
from tests.store_tools import decisions_in, excluded_in, pairs_of
from tests.vote_samples import NOON, VOTER, answer, battle, battles, hexes, moments, texts, vote
from tests.vote_samples import votes as sampled_votes

NEVER = 1000.0
"""Minutes between two pushes, where a test says itself when to push."""
EMPTY_CARD = b"---\nlicense: mit\n---\nmine\n"
ROOT = Path(__file__).parents[2]


class Space:
    """One process of the arena: a store and its copy. Its disk is `folder`."""

    def __init__(self, hub: Hub, folder: Path, **options: Any) -> None:
        defaults: dict[str, Any] = {"endpoint": hub.url, "every_minutes": NEVER, "retry_s": 0.01}
        self.hub = hub
        self.store = VoteStore.open(f"sqlite:///{folder / 'arena.db'}")
        self.copy = HubDataset(self.store, DATASET, TOKEN, folder / "cache", **(defaults | options))

    @property
    def state(self) -> CopyState:
        return self.store.copy_state()

    async def settled(self) -> None:
        """Waits until store and copy hold the same."""
        async with asyncio.timeout(30):
            await self.copy.settled.wait()

    async def voted(self, number: int = 1, winner: str = "model_a") -> list[Battle]:
        """New battles, each with its vote."""
        made = [battle() for _ in range(number)]
        for each in made:
            await self.store.add_battle(each)
            await self.store.cast_vote(vote(each, winner))
        return made

    async def refused(self) -> BackupFailed:
        """Pushes, and what that raises."""
        with pytest.raises(BackupFailed) as caught:
            await self.copy.push()
        return caught.value

    async def until(self, true: Callable[[], object]) -> None:
        """Waits until it is true; looks after each request to the Hub."""
        await asyncio.to_thread(self.hub.until, true)

    async def contents(self) -> dict[str, object]:
        """All that the store holds and the copy must bring back."""
        return {
            "battles": {b.id: (b, v) for b, v in await pairs_of(self.store)},
            "decisions": await decisions_in(self.store),
        }

    async def aclose(self) -> None:
        await self.copy.aclose()
        await self.store.aclose()


@asynccontextmanager
async def space(
    hub: Hub, folder: Path, *, settle: bool = True, **options: Any
) -> AsyncIterator[Space]:
    """A process from its start to its end by SIGTERM."""
    made = Space(hub, folder, **options)
    try:
        await made.copy.start()
        if settle:
            await made.settled()
        yield made
    finally:
        await made.aclose()


def wait_for_threads() -> None:
    """No thread of one test talks to the Hub of the next one, over connections that both share."""
    for thread in threading.enumerate():
        if thread.name in ("hub-push", "hub-work"):
            thread.join(30)
            assert not thread.is_alive()
    close_session()


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as server:
        yield server
        wait_for_threads()


@pytest.fixture
async def one(hub: Hub, tmp_path: Path) -> AsyncIterator[Space]:
    """A process whose store is empty, as is the Hub."""
    async with space(hub, tmp_path / "one") as made:
        yield made


def files(hub: Hub) -> set[str]:
    """The names of the copy's files."""
    return {name for name in hub.files() if name.startswith("data/")}


# --- lines -------------------------------------------------------------------------------------

exclusions = st.builds(
    Exclusion, battle_id=hexes(32), why=texts, decided_at=moments, lifted=st.booleans()
)
records = battles | sampled_votes | exclusions


@given(record=records, at=moments)
def test_a_line_is_one_line_and_comes_back(record: Record, at: datetime) -> None:
    """Whatever the texts hold, such as the end of a line."""
    line = encode_line(record, at)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back, version = decode_line(line)
    assert version.at == at
    assert encode_line(back, at) == line


@given(record=records, data=st.data())
def test_a_part_of_a_line_is_not_a_line(record: Record, data: st.DataObject) -> None:
    """A record without its end never reads as a record."""
    line = encode_line(record, NOON).rstrip(b"\n")
    with pytest.raises(RecordError):
        decode_line(line[: data.draw(st.integers(0, len(line) - 1))])


EXCLUSION = b'{"kind":"exclusion","at":"2025-06-01T12:00:00+00:00","record":%s}'


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'{"kind":"vote"}',
        b'{"kind":"vote","at":"2025-06-01T12:00:00+00:00","record":[7]}',
        b'{"kind":"vote","at":"noon","record":{}}',
        b'{"kind":"vote","at":"2025-06-01T12:00:00","record":{}}',
        b'{"kind":"exclusion","at":7,"record":{}}',
        EXCLUSION % b'{"battle_id":"a","why":"b","decided_at":"2025-06-01T12:00:00","lifted":true}',
        EXCLUSION % b'{"battle_id":"a","why":"b","decided_at":"2025-06-01T12:00:00Z","lifted":1}',
        EXCLUSION % b'{"battle_id":"a","why":2,"decided_at":"2025-06-01T12:00:00Z","lifted":true}',
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    """Before it comes near the store."""
    with pytest.raises(RecordError):
        decode_line(line)


# --- there and back ----------------------------------------------------------------------------


async def test_everything_comes_back(hub: Hub, tmp_path: Path) -> None:
    """Battles with and without a vote, words of a vote, decisions; voters as the store has them."""
    async with space(hub, tmp_path / "one") as one:
        kept = await one.voted(3)
        odd = battle(system_prompt="a\x00b\u2028\ud800", provenance={"x": {"y\n": "z"}})
        await one.store.add_battle(odd)
        await one.store.cast_vote(vote(odd, "tie", signed_in=True))
        await one.store.annotate_vote(
            kept[0].id, VOTER, comment="改行\n\n", reasons=(Reason.CLEAR,)
        )
        await one.store.add_battle(battle("phi", None))
        await one.store.add_battle(battle(conversation_a=(Exchange("1+1は？"),)))
        lifted = Exclusion(kept[2].id, "not sure", NOON)
        later = replace(lifted, decided_at=NOON + timedelta(1), lifted=True)
        for decision in (Exclusion(kept[1].id, "a bot", NOON), lifted, later):
            await one.store.add_exclusion(decision)
        before = await one.contents()
    assert len(hub.votes()) == 4
    assert hub.repo.private
    async with space(hub, tmp_path / "two") as two:
        assert await two.contents() == before
        assert list(await excluded_in(two.store)) == [kept[1].id]
        assert (two.state.error, two.state.restoring) == (None, False)


async def test_nothing_is_restored_or_copied_twice(hub: Hub, tmp_path: Path) -> None:
    """A restart adds nothing, neither here nor there."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(3)
    first = files(hub)
    for disk in ("two", "one", "two"):
        async with space(hub, tmp_path / disk) as again:
            counts = await again.store.counts()
            assert (counts.battles, counts.votes) == (3, 3)
            assert again.state.unpushed == 0
    assert files(hub) == first
    assert len(hub.lines("battle")) == len(hub.lines("vote")) == 3


async def test_what_the_owner_removed_stays_removed(hub: Hub, tmp_path: Path) -> None:
    """A store is restored once in its life."""
    async with space(hub, tmp_path / "one") as one:
        gone, stays = await one.voted(2)
        with one.store.database.writer.begin() as connection:
            for table, column in (("votes", "battle_id"), ("battles", "id")):
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = ?", (gone.id,))  # noqa: S608
    async with space(hub, tmp_path / "one") as again:
        assert await again.store.get_battle(gone.id) is None
        assert await again.store.get_vote(stays.id) is not None


async def test_store_and_copy_each_get_what_they_lack(hub: Hub, tmp_path: Path) -> None:
    """Also where the copy is turned on after people have voted."""
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


async def test_processes_share_a_dataset(hub: Hub, tmp_path: Path) -> None:
    """Each push is a file of its own, which no other process writes."""
    async with space(hub, tmp_path / "one") as one, space(hub, tmp_path / "two") as two:
        ours = [*await one.voted(2), *await two.voted(3, "tie")]
        await one.copy.push()
        await two.copy.push()
        ours += [*await one.voted(1), *await two.voted(1)]
    assert len(files(hub)) == 4
    hub.page = 2  # the Hub lists a long tree in pages
    async with space(hub, tmp_path / "three") as three:
        assert {b.id for b, v in await pairs_of(three.store) if v} == {b.id for b in ours}


async def test_more_than_a_file_holds_goes_in_several(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no file is one for the Hub's large-file storage."""
    monkeypatch.setattr(module, "FILE_BYTES", 100)
    monkeypatch.setattr(module, "BATCH", 2)
    async with space(hub, tmp_path / "one") as one:
        await one.voted(3)
        await one.copy.push()
        assert one.state.unpushed == 0
        before = await one.contents()
    assert len(files(hub)) == 3
    async with space(hub, tmp_path / "two") as two:
        assert await two.contents() == before


async def test_the_newest_line_of_a_record_counts(hub: Hub, tmp_path: Path) -> None:
    """In whatever file it stands; a battle's line with more answers is newer by any clock."""
    begun = battle(conversation_a=(Exchange("1+1は？"),))
    failed = begun.with_conversation(Side.A, (Exchange("1+1は？", answer("", reason="error")),))
    retried = begun.with_conversation(
        Side.A, (Exchange("1+1は？", answer("2"), (answer("", reason="error"),)),)
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
        assert one.state.unpushed == 0
    assert len(files(hub)) == 3


async def test_what_the_copy_lacks_is_pushed_at_the_next_start(hub: Hub, tmp_path: Path) -> None:
    """Whatever was written without a push: a crash may come between the two."""
    made = battle()
    async with space(hub, tmp_path / "one") as one:
        await one.store.add_battle(made)
        await one.voted(1)
    unheard = VoteStore.open(f"sqlite:///{tmp_path / 'one' / 'arena.db'}")
    await unheard.cast_vote(vote(made, "both_bad"))
    await unheard.add_exclusion(Exclusion(made.id, "a bot", NOON))
    await unheard.aclose()
    async with space(hub, tmp_path / "one") as again:
        before = await again.contents()
        assert len(hub.lines("battle")) == len(hub.lines("vote")) == 2
    async with space(hub, tmp_path / "two") as two:
        assert await two.contents() == before


async def test_a_restore_that_breaks_off_is_not_taken_for_whole(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark comes with the last of it, and the next attempt brings the rest."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(3)
        before = await one.contents()
    monkeypatch.setattr(module, "BATCH", 2)
    calls = 0
    whole = VoteStore.restore

    async def restore(self: VoteStore, *given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            assert await self.get_meta(f"restored:{DATASET}") is None
            assert (await self.counts()).battles == 2
            raise OSError(errno.EIO, "the disk")
        return await whole(self, *given)

    monkeypatch.setattr(VoteStore, "restore", restore)
    async with space(hub, tmp_path / "two") as two:
        assert calls == 2 + 2 + 2
        assert await two.contents() == before
        assert await two.store.get_meta(f"restored:{DATASET}") is not None


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
        second = await asyncio.wait_for(one.voted(2), 10)  # would wait for the push otherwise
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


# --- broken lines, and files that are merged ----------------------------------------------------


async def test_a_broken_line_is_reported_and_the_rest_is_read(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and logged by its place, without its text; a file may end in its middle."""
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
    hub.put("data/2.jsonl", good[2] + encode_line(battle(), NOON)[:-40])
    hub.put("data/notes.txt", b"not ours")
    hub.put("other.jsonl", b"not ours\n")
    hub.put("data/3.jsonl", encode_line(vote(battle()), NOON))  # the battle's line was lost
    async with space(hub, tmp_path / "one") as one:
        state = one.state
        assert state.unreadable == 7
        assert isinstance(state.error, BackupFailed)
        assert state.error.remedy_text.startswith("7 lines")
        counts = await one.store.counts()
        assert (counts.battles, counts.votes) == (3, 3)
        assert not state.restoring
        await one.voted(1)
        await one.copy.push()
        assert one.state.error is state.error  # a push that works does not hide it
    lines = [record.getMessage() for record in caplog.records if "line" in record.getMessage()]
    assert any("line 3 of data/1.jsonl" in line for line in lines)
    assert "secret words" not in caplog.text


def old_files(hub: Hub, *contents: bytes) -> list[str]:
    """Files of the copy that are more than a day old."""
    days = [datetime.now(UTC) - timedelta(days=9 - number) for number in range(len(contents))]
    names = [f"data/{day:%Y%m%dT%H%M%SZ}-{n:012}.jsonl" for n, day in enumerate(days)]
    for name, content in zip(names, contents, strict=True):
        hub.put(name, content)
    return names


@pytest.fixture
def repository(hub: Hub, tmp_path: Path) -> HubRepository:
    return HubRepository(DATASET, TOKEN, tmp_path / "merging", hub.url)


async def test_old_files_are_merged_into_one(
    hub: Hub, tmp_path: Path, repository: HubRepository
) -> None:
    """The newest line of each record is kept, in one commit with the removal of the files."""
    first, second = battle(), battle()
    noted = vote(first, comment="because")
    names = old_files(
        hub,
        encode_line(first, NOON) + encode_line(noted, NOON + timedelta(hours=1)),
        encode_line(vote(first), NOON) + encode_line(second, NOON).rstrip(),
    )
    old, commits = hub.files(), len(hub.repo.commits)
    repository.compact()
    (merged,) = files(hub)
    assert merged not in names
    assert hub.files()[merged].count(b"\n") == 3
    assert len(hub.repo.commits) == commits + 1
    repository.compact()
    assert files(hub) == {merged}  # a day has to pass
    hub.put(names[1], old[names[1]])  # a reader between two commits finds a record twice
    async with space(hub, tmp_path / "one") as one:
        assert await one.store.get_vote(first.id) == noted
        assert (await one.store.counts()).battles == 2


async def test_a_merge_loses_nothing(hub: Hub, repository: HubRepository) -> None:
    """Another process's commit in between refuses it; what can't be read is left for people."""
    made = [encode_line(battle(), NOON) for _ in range(3)]
    names = old_files(hub, made[0], made[1], b"broken\n", made[2])

    def another_commit(_method: str, path: str) -> Reply | None:
        if "/preupload/" in path:
            hub.put("data/of-another.jsonl", b"")
        return None

    hub.answers = another_commit
    with pytest.raises(HfHubHTTPError, match="412"):
        repository.compact()
    assert files(hub) == {*names, "data/of-another.jsonl"}
    hub.answers = None
    repository.compact()
    left = files(hub)
    assert left & set(names) == {names[2]}
    assert sorted(b"".join(hub.files()[name] for name in left).splitlines()) == sorted(
        [b"broken", *(line.strip() for line in made)]
    )


async def test_a_running_process_merges(hub: Hub, tmp_path: Path) -> None:
    """Without being asked."""
    old_files(hub, *(encode_line(battle(), NOON) for _ in range(3)))
    async with space(hub, tmp_path, every_minutes=0.001) as one:
        await one.until(lambda: len(files(hub)) == 1)
        assert (await one.store.counts()).battles == len(hub.battles()) == 3


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
        two = Space(hub, tmp_path / "two", final_s=30 if reads else 0.2)
        await two.copy.start()
        await two.until(lambda: where == "/commit/" or hub.count(where) > before)
        await two.voted(1)
        await asyncio.wait_for(two.copy.aclose(), 25)
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


# --- settings ----------------------------------------------------------------------------------


async def test_settings_choose_the_copy(tmp_path: Path) -> None:
    """No dataset, no copy; a dataset without a token stops the start."""
    store = VoteStore.open(f"sqlite:///{tmp_path / 'arena.db'}")
    assert make_hub_dataset(settings_from({"HF_TOKEN": TOKEN}), store) is None
    assert store.copy_state() == CopyState()
    values = {
        "ARENA_VOTES_DATASET": DATASET,
        "HF_TOKEN": TOKEN,
        "ARENA_CACHE_DIR": str(tmp_path),
        "ARENA_VOTES_PUSH_MINUTES": "0.5",
    }
    copy = make_hub_dataset(settings_from(values), store)
    assert copy is not None
    assert store.copy_state() == CopyState(place=DATASET)
    await copy.aclose()
    del values["HF_TOKEN"]
    with pytest.raises(SettingsError) as caught:
        make_hub_dataset(settings_from(values), store)
    assert "HF_TOKEN" in caught.value.sentence
    assert "ARENA_VOTES_DATASET" in caught.value.sentence
    await store.aclose()


def test_salt_lasts_as_long_as_the_token() -> None:
    """A voter is known again after a lost disk, so it must never change."""
    salt = derived_salt(TOKEN)
    assert salt == derived_salt(TOKEN) != derived_salt(TOKEN + "2")
    assert len(salt) == 64
    assert TOKEN not in salt
    assert derived_salt("hf_x") == (
        "438dfff9e33db17678a1bcb59fa46762c292dd9bbea99c1e3099a896f3f7bc7f"
    )


def test_no_library_is_loaded_where_no_copy_is_kept() -> None:
    """Commands and battles do without the Hub's library."""
    code = "import sys, arena.cli, arena.battle.arena; print('huggingface_hub' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"
