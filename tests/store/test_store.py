"""What is acknowledged is on disk, once, and by the right person."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from sqlalchemy import insert
from sqlalchemy.exc import IntegrityError

from arena.domain import Battle, Exchange, Exclusion, PresetUse, Reason, Winner
from arena.errors.battle import (
    AlreadyVoted,
    BattleLocked,
    NotYourBattle,
    UnknownBattle,
    VoteTooEarly,
)
from arena.errors.store import StoreError
from arena.store import queries
from arena.store.queries import Counts
from arena.store.schema import battles, votes
from arena.store.serialization import Serializer
from arena.store.store import VoteStore, voter_hash
from tests.store_tools import Outside, Worker, excluded_in
from tests.vote_samples import NOON, VOTER, answer, battle, spec, vote
from tests.vote_samples import battles as drawn_battles

OTHER = "b" * 64
_example = count()


def raw(file: Path) -> closing[sqlite3.Connection]:
    return closing(sqlite3.connect(file, isolation_level=None, timeout=0))


async def added(store: VoteStore, made: Battle) -> Battle:
    await store.add_battle(made)
    return made


async def test_battle_comes_back_whole(store: VoteStore) -> None:
    """A battle is read as it was written; an unknown id gives None."""
    failed = answer(text="", reason="error", error_code="network")
    made = battle(conversation_a=(Exchange("問い\u2028😀", answer(), failed=(failed,)),))
    await store.add_battle(made)
    assert await store.get_battle(made.id) == made
    in_japan = datetime.fromisoformat("2025-06-01T21:00:00.000001+09:00")
    alone = await added(store, battle("phi", None, created_at=in_japan))
    assert await store.get_battle(alone.id) == alone
    assert await store.get_battle("0" * 31 + "x") is None


@settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=drawn_battles)
def test_any_battle_comes_back_whole(store: VoteStore, made: Battle) -> None:
    """Columns and drivers keep every text, number and moment."""
    made = replace(made, id=f"{next(_example):032x}")  # the store is the same for all examples
    database = store.database
    database.transact(database.writer, queries.add_battle, made, NOON)
    assert database.transact(database.reader, queries.get_battle, made.id) == made


async def test_what_no_database_holds_is_stored_as_its_stand_in(store: VoteStore) -> None:
    """NUL and lone surrogates are stored as U+FFFD on every database."""
    dirty, kept = "a\x00b\ud800", "a\ufffdb\ufffd"
    made = await added(
        store,
        battle(
            system_prompt=dirty,
            preset=PresetUse(dirty),
            conversation_a=(Exchange(dirty, answer(dirty, served=dirty)),),
            provenance={dirty: {dirty: dirty}},
            spec_a=spec(dirty),
        ),
    )
    found = await store.get_battle(made.id)
    assert found is not None
    assert (found.system_prompt, found.spec_a.id, found.preset) == (kept, kept, PresetUse(kept))
    assert found.conversation_a == (Exchange(kept, answer(kept, served=kept)),)
    assert found.provenance == {kept: {kept: kept}}
    await store.cast_vote(vote(made, comment=dirty, guess=dirty))
    noted = await store.get_vote(made.id)
    assert noted == vote(made, comment=kept, guess=kept)
    await store.set_meta("note", dirty)
    assert await store.get_meta("note") == kept
    await store.add_exclusion(Exclusion(made.id, dirty, NOON))
    assert (await excluded_in(store))[made.id].why == kept


async def test_update_replaces_the_record_until_the_vote(store: VoteStore) -> None:
    """A battle can be replaced until it has its vote."""
    made = await added(store, battle(conversation_a=(), conversation_b=()))
    ready = battle(id=made.id)
    await store.update_battle(ready)
    assert await store.get_battle(made.id) == ready
    await store.cast_vote(vote(ready))
    with pytest.raises(BattleLocked):
        await store.update_battle(replace(ready, conversation_a=()))
    assert await store.get_battle(made.id) == ready
    with pytest.raises(UnknownBattle):
        await store.update_battle(battle())


async def test_second_battle_of_an_id_is_refused(store: VoteStore) -> None:
    """An id that is taken is an error, and the first battle stays."""
    made = await added(store, battle())
    with pytest.raises(StoreError):
        await store.add_battle(replace(made, voter=OTHER))
    assert await store.get_battle(made.id) == made


async def test_vote_is_on_disk_when_it_is_acknowledged(store: VoteStore, outside: Outside) -> None:
    """When `cast_vote` returns, the vote is committed."""
    made = await added(store, battle())
    cast = vote(made, "tie", reasons=("clear",), comment="良い", guess="phi")
    assert await store.cast_vote(cast) == made
    found = outside.rows("SELECT battle_id, winner, voter FROM votes")
    assert found == [(made.id, "tie", VOTER)]
    assert await store.get_vote(made.id) == cast
    assert await store.counts() == Counts(battles=1, votes=1)


async def test_vote_is_refused_with_its_reason(store: VoteStore) -> None:
    """Unknown, another's, too early, single, forged and repeated votes each have their error."""
    made = await added(store, battle())
    running = await added(store, battle(conversation_b=(Exchange("p"),)))
    empty = await added(store, battle(conversation_b=()))
    alone = await added(store, battle("phi", None))
    with pytest.raises(UnknownBattle):
        await store.cast_vote(vote(battle()))
    with pytest.raises(NotYourBattle):
        await store.cast_vote(vote(made, voter=OTHER))
    for early in (running, empty, alone):
        with pytest.raises(VoteTooEarly):
            await store.cast_vote(vote(early))
    with pytest.raises(StoreError):
        await store.cast_vote(replace(vote(made), winner="model_c"))
    assert (await store.counts()).votes == 0
    await store.cast_vote(vote(made))
    for again in ("model_a", "model_b"):
        with pytest.raises(AlreadyVoted):
            await store.cast_vote(vote(made, again))
    found = await store.get_vote(made.id)
    assert found is not None
    assert found.winner is Winner.MODEL_A


@pytest.mark.parametrize("reason", ["error", "blocked", "cancelled"])
async def test_failed_battle_is_kept_and_not_votable(
    store: VoteStore, outside: Outside, reason: str
) -> None:
    """A battle with a failed side is stored and can't be voted on."""
    text = "half" if reason == "cancelled" else ""
    failed = answer(text, reason=reason, error_code="network")
    made = await added(store, battle(conversation_b=(Exchange("p", failed),)))
    assert await store.get_battle(made.id) == made
    assert outside.rows("SELECT finish_a, finish_b FROM battles") == [("stop", reason)]
    with pytest.raises(VoteTooEarly):
        await store.cast_vote(vote(made))


async def test_annotations_come_from_the_voter_after_the_vote(store: VoteStore) -> None:
    """Only the voter may annotate, only after the vote, and only what is annotation."""
    made = await added(store, battle())
    with pytest.raises(VoteTooEarly):
        await store.annotate_vote(made.id, VOTER, comment="早い")
    await store.cast_vote(vote(made, guess="phi"))
    with pytest.raises(NotYourBattle):
        await store.annotate_vote(made.id, OTHER, comment="x")
    with pytest.raises(UnknownBattle):
        await store.annotate_vote("f" * 32, VOTER, comment="x")
    await store.annotate_vote(made.id, VOTER, reasons=("clear", "correct"))
    noted = await store.annotate_vote(made.id, VOTER, comment="良\ud800い")
    assert noted == await store.get_vote(made.id)
    assert (noted.reasons, noted.comment) == (("clear", "correct"), "良\ufffdい")
    assert (noted.guess, noted.winner, noted.cast_at) == ("phi", Winner.MODEL_A, NOON)


async def test_a_vote_is_encoded_and_decoded_once(
    store: VoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A vote and its reasons read the battle once, and each write a record once."""
    made = await added(store, battle())
    done: list[str] = []
    for name in ("encode", "decode", "stored_form"):
        work = getattr(Serializer, name)

        def counted(self: Serializer[Any], value: Any, name: str = name, work: Any = work) -> Any:
            result = work(self, value)
            kind = type(result if name == "decode" else value).__name__
            done.append(f"{name} {kind}")
            return result

        monkeypatch.setattr(Serializer, name, counted)
    # What is encoded is decoded once by `stored_form`, so that nothing unreadable is stored.
    write = ["decode Vote", "stored_form Vote"]
    await store.cast_vote(vote(made))
    assert done == ["decode Battle", *write, "encode Vote"]
    done.clear()
    await store.annotate_vote(made.id, VOTER, reasons=(Reason.CLEAR,))
    assert done == ["decode Vote", *write]


async def test_sixteen_votes_at_once_count_once(store: VoteStore, url: str) -> None:
    """Of votes that race on one battle exactly one counts."""
    made = await added(store, battle())
    second = VoteStore.open(url)
    racing = [(store, second)[n % 2].cast_vote(vote(made)) for n in range(16)]
    results = await asyncio.gather(*racing, return_exceptions=True)
    await second.aclose()
    assert sorted(type(result).__name__ for result in results) == ["AlreadyVoted"] * 15 + ["Battle"]
    assert (await store.counts()).votes == 1


async def test_two_processes_count_a_vote_once(
    store: VoteStore, url: str, two: Callable[..., list[str]]
) -> None:
    """Of votes from two processes exactly one counts."""
    made = await added(store, battle())
    words = " ".join(two("vote", url, made.id)).split()
    assert sorted(words) == ["counted"] + ["refused"] * 15


async def test_kill_loses_nothing_acknowledged(
    url: str, file: Path, start: Callable[..., Worker]
) -> None:
    """After a kill the file is whole and has every acknowledged vote."""
    worker = start("write", url)
    worker.line()
    worker.go()
    acknowledged = [worker.line() for _ in range(25)]
    acknowledged += worker.kill()
    with raw(file) as other:
        assert other.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    store = VoteStore.open(url)
    assert len(set(acknowledged)) >= 25
    for battle_id in acknowledged:
        assert await store.get_vote(battle_id) is not None
    await store.aclose()


async def test_pragmas_are_in_force_on_every_connection(store: VoteStore, file: Path) -> None:
    """Each connection has foreign keys, full sync, the journal mode and the timeout."""
    with store.database.reader.connect() as one, store.database.writer.connect() as two:
        assert one.connection.dbapi_connection is not two.connection.dbapi_connection
        for connection in (one, two):
            found = {
                name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
            assert found == {
                "journal_mode": "delete",
                "synchronous": 2,
                "foreign_keys": 1,
                "busy_timeout": 10000,
            }


async def test_write_lock_is_taken_at_the_start(store: VoteStore, file: Path) -> None:
    """A transaction that writes takes the write lock before it reads."""
    with store.database.writer.begin() as one:
        one.exec_driver_sql("SELECT 1")
        with store.database.reader.begin() as two:
            two.exec_driver_sql("PRAGMA busy_timeout=0")
            with pytest.raises(Exception, match="locked"):
                two.execute(insert(battles).values(id="x"))
            two.exec_driver_sql("PRAGMA busy_timeout=10000")


async def test_database_itself_refuses_wrong_votes(store: VoteStore) -> None:
    """The tables refuse a second vote, one without a battle, and an unknown winner."""
    made = await added(store, battle())
    good = {"battle_id": made.id, "winner": "tie", "voter": VOTER, "cast_at": NOON, "reasons": []}
    for wrong in ({"winner": "model_c"}, {"battle_id": "f" * 32}, {"voter": None}):
        with pytest.raises(IntegrityError), store.database.writer.begin() as connection:
            connection.execute(insert(votes).values(**good | wrong))
    await store.cast_vote(vote(made))
    with pytest.raises(IntegrityError), store.database.writer.begin() as connection:
        connection.execute(insert(votes).values(**good))


async def test_loop_is_free_while_a_write_waits(store: VoteStore, outside: Outside) -> None:
    """The event loop runs while a write waits."""
    made = battle()
    with outside.holding():
        writing = asyncio.create_task(store.add_battle(made))
        for _ in range(200):
            await asyncio.sleep(0)
        assert not writing.done()  # reached only if the loop was free
    await writing
    assert await store.get_battle(made.id) == made


async def test_cancelled_write_ends_before_its_task(store: VoteStore, outside: Outside) -> None:
    """A cancelled write ends in its thread before its task does."""
    made = await added(store, battle(conversation_a=()))
    newer = battle(id=made.id)
    with outside.holding():
        stale = asyncio.create_task(store.update_battle(newer))
        for _ in range(20):
            await asyncio.sleep(0)
        stale.cancel()
        for _ in range(20):
            await asyncio.sleep(0)
        assert not stale.done()
    with pytest.raises(asyncio.CancelledError):
        await stale
    assert await store.get_battle(made.id) == newer


async def test_daily_count_stops_at_its_limit_and_starts_again(url: str) -> None:
    """A daily count stops at its limit and starts again at midnight UTC."""
    now = [NOON]
    store = VoteStore.open(url, clock=lambda: now[0])
    assert [await store.count_today("gemini", 2) for _ in range(3)] == [True, True, False]
    assert await store.count_today("other", 0) is False
    assert (await store.today("gemini"), await store.today("other")) == (2, 0)
    now[0] = datetime.fromisoformat("2025-06-02T08:59:00+09:00")  # still June 1 in UTC
    assert await store.count_today("gemini", 2) is False
    now[0] += timedelta(minutes=1)
    assert await store.today("gemini") == 0
    assert await store.count_today("gemini", 2) is True
    await store.aclose()


async def test_daily_count_holds_across_processes(
    store: VoteStore, url: str, two: Callable[..., list[str]]
) -> None:
    """Two processes together count to the limit and not further."""
    assert sum(map(int, two("count", url, "30"))) == 30
    assert await store.today("gemini") == 30


def test_salt_is_drawn_once(url: str, two: Callable[..., list[str]]) -> None:
    """Two processes that ask first get the same salt."""
    first, second = two("salt", url)
    assert first == second
    assert len(bytes.fromhex(first)) == 32


async def test_salt_is_kept(store: VoteStore, url: str, new_url: Callable[..., str]) -> None:
    """A store keeps its salt, and each store has its own."""
    kept = await store.salt()
    again, elsewhere = VoteStore.open(url), VoteStore.open(new_url())
    assert await again.salt() == kept
    assert await elsewhere.salt() != kept
    await again.aclose()
    await elsewhere.aclose()


def test_voter_hash() -> None:
    """The hash is HMAC-SHA-256 with the salt as its key."""
    # From RFC 4231's case 2.
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert voter_hash("Jefe", "what do ya want for nothing?") == expected
    assert voter_hash("a", "s") != voter_hash("b", "s")


async def test_iteration_is_a_snapshot_that_blocks_nobody(store: VoteStore) -> None:
    """Iteration gives the state of one moment and holds no lock between batches."""
    # Added newest first, so that neither the ids nor the rows have the order of time.
    made = [battle(created_at=NOON - timedelta(minutes=n)) for n in range(120)]
    for one in made:
        await store.add_battle(one)
    made.reverse()
    await store.cast_vote(vote(made[0]))
    seen = []
    async for batch in store.iter_records():
        if not seen:
            await store.cast_vote(vote(made[119]))
            await store.annotate_vote(made[0].id, VOTER, comment="later")
            await store.add_exclusion(Exclusion(made[0].id, "later", NOON))
            await store.add_battle(battle(created_at=NOON + timedelta(days=1)))
        seen += batch
    assert [found for found, _, _ in seen] == made
    assert [cast for _, cast, _ in seen] == [vote(made[0]), *[None] * 119]
    assert {decision for _, _, decision in seen} == {None}


@pytest.mark.parametrize("name", ["file/arena.db", "file/deeper/arena.db", "folder", "garbage"])
def test_what_cannot_be_opened_says_where(tmp_path: Path, name: str) -> None:
    """A path that can't be opened is an error that names it."""
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder").mkdir()
    (tmp_path / "garbage").write_text("not a database " * 100)
    with pytest.raises(StoreError) as caught:
        VoteStore.open(f"sqlite:///{tmp_path / name}")
    assert str(tmp_path / name) in caught.value.sentence
    assert caught.value.detail


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_memory_is_refused(url: str) -> None:
    """A database in memory is refused, since each thread would have its own."""
    with pytest.raises(StoreError):
        VoteStore.open(url)


async def test_errors_do_not_quote_the_visitor(store: VoteStore) -> None:
    """An error holds no value of the failed statement."""
    made = await added(store, battle(system_prompt="private words"))
    with pytest.raises(StoreError) as caught:
        await store.add_battle(made)
    assert "private words" not in caught.value.detail
    assert VOTER not in caught.value.detail


async def test_damaged_record_is_an_error(store: VoteStore, outside: Outside) -> None:
    """A stored record with an unknown value is an error that names its place."""
    made = await added(store, battle(spec_a=spec("phi")))
    outside.rows("UPDATE battles SET mode = 'public'")
    with pytest.raises(StoreError, match="saved") as caught:
        await store.get_battle(made.id)
    assert "battle.mode" in caught.value.detail
