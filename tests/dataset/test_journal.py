"""The journal hears of everything that is on disk, of nothing else, and can break nothing."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from arena.domain import Battle, Exchange, Exclusion, Vote
from arena.errors.battle import AlreadyVoted, BattleLocked, NotYourBattle, UnknownBattle
from arena.errors.store import StoreError
from arena.store.journal import CopyState, NoJournal
from arena.store.store import VoteStore
from tests.store_tools import Outside, until
from tests.vote_samples import NOON, VOTER, battle, vote


@dataclass
class Notes:
    """A journal that writes down what it heard, and what was on disk then."""

    outside: Outside
    heard: list[object] = field(default_factory=list)
    on_disk: list[list[tuple[Any, ...]]] = field(default_factory=list)
    threads: set[int] = field(default_factory=set)
    lock: Any = field(default_factory=threading.Lock)
    broken: bool = False

    def battle(self, battle: Battle) -> None:
        self._note(battle, "SELECT updated_at FROM battles")

    def vote(self, vote: Vote) -> None:
        self._note(vote, "SELECT comment FROM votes")

    def exclusion(self, exclusion: Exclusion) -> None:
        self._note(exclusion, "SELECT why FROM exclusions")

    def state(self) -> CopyState:
        return CopyState()

    def _note(self, what: object, query: str) -> None:
        if self.broken:
            raise OSError(28, "No space left on device")
        assert self.lock.locked()
        self.threads.add(threading.get_ident())
        self.on_disk.append(self.outside.rows(query))
        self.heard.append(what)


@pytest.fixture
def notes(outside: Outside) -> Notes:
    return Notes(outside)


@pytest.fixture
async def store(url: str, notes: Notes) -> AsyncIterator[VoteStore]:
    """The test's store with a journal."""
    opened = VoteStore.open(url, clock=lambda: NOON, journal=notes)
    yield opened
    await opened.aclose()


async def test_journal_hears_of_each_change_after_it_is_on_disk(
    store: VoteStore, notes: Notes
) -> None:
    """A copy held votes that the store then refused, or never heard of a comment."""
    poor = battle(conversation_a=(), conversation_b=())
    made = battle(id=poor.id)
    await store.add_battle(poor)
    await store.update_battle(made)
    await store.cast_vote(vote(made, guess="phi"))
    await store.annotate_vote(made.id, VOTER, comment="良い")
    out = Exclusion(made.id, "x", NOON)
    await store.add_exclusion(out)
    cast = vote(made, guess="phi")
    assert notes.heard == [poor, made, cast, replace(cast, comment="良い"), out]
    assert [len(rows) for rows in notes.on_disk] == [1] * 5
    assert notes.on_disk[2:] == [[(None,)], [("良い",)], [("x",)]]
    assert threading.get_ident() not in notes.threads
    assert store.journal is notes


async def test_journal_does_not_hear_of_what_failed(store: VoteStore, notes: Notes) -> None:
    """A second vote, which the store had refused, was in the copy."""
    made = battle()
    await store.add_battle(made)
    await store.cast_vote(vote(made))
    del notes.heard[:]
    for failing, error in (
        (store.add_battle(made), StoreError),
        (store.update_battle(made), BattleLocked),
        (store.update_battle(battle()), UnknownBattle),
        (store.cast_vote(vote(made, "tie")), AlreadyVoted),
        (store.annotate_vote(made.id, "b" * 64, comment="x"), NotYourBattle),
        (store.add_exclusion(Exclusion("f" * 32, "x", NOON)), UnknownBattle),
    ):
        with pytest.raises(error):
            await failing
    await store.restore([battle()], [], [], mark="restored:x")
    assert notes.heard == []


async def test_broken_journal_breaks_no_vote(
    store: VoteStore, notes: Notes, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk under the copy refused votes that the store had taken, and said nothing."""
    notes.broken = True
    made = battle(system_prompt="private words")
    await store.add_battle(made)
    assert await store.cast_vote(vote(made)) == made
    assert await store.get_vote(made.id) == vote(made)
    assert len(caplog.records) == 2
    assert "No space left" in caplog.text
    assert "private words" not in caplog.text
    assert VOTER not in caplog.text


async def test_loop_is_free_while_the_journal_is_busy(
    store: VoteStore, notes: Notes, outside: Outside
) -> None:
    """While the copy was being pushed, every stream on the page stood still."""
    made = battle()
    with notes.lock:
        writing = asyncio.create_task(store.add_battle(made))
        await until(lambda: bool(outside.rows("SELECT 1 FROM battles")))
        assert not writing.done()
    await writing
    assert notes.heard == [made]


async def test_cancelled_write_is_heard_of(
    store: VoteStore, notes: Notes, outside: Outside
) -> None:
    """A tab that closed in the middle of a write left it on disk and out of the copy."""
    made = battle(conversation_a=(Exchange("p"),))
    with notes.lock:
        writing = asyncio.create_task(store.add_battle(made))
        await until(lambda: bool(outside.rows("SELECT 1 FROM battles")))
        writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert notes.heard == [made]


async def test_no_journal_is_a_journal(url: str) -> None:
    """Callers had to ask whether there is one."""
    opened = VoteStore.open(url)
    assert isinstance(opened.journal, NoJournal)
    assert opened.journal.state() == CopyState()
    await opened.add_battle(battle())
    await opened.aclose()


async def test_closed_store_says_so(url: str) -> None:
    """A write that came after the shutdown ended in a traceback of the thread pool's."""
    opened = VoteStore.open(url)
    await opened.aclose()
    with pytest.raises(StoreError):
        await opened.add_battle(battle())
