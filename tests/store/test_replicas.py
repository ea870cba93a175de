"""Several apps on one server, and the ends that they and the server can come to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest

from arena.errors.store import StoreError
from arena.store.store import VoteStore
from tests.postgres_server import Server
from tests.store_tools import Outside, Worker, tally
from tests.vote_samples import NOON

DATABASES = ("postgres",)


def heard(worker: Worker, number: int) -> list[str]:
    """What a worker says until it has acknowledged that many votes."""
    lines: list[str] = []
    while sum(line.startswith("vote") for line in lines) < number:
        lines.append(worker.line())
        assert lines[-1], lines[-5:]
    return lines


async def test_two_apps_under_load_and_one_is_killed(
    url: str, outside: Outside, start: Callable[..., Worker]
) -> None:
    """A killed app loses no acknowledged vote, leaves no lock, and the caps agree."""
    visitors = 4
    one, two = (start("load", url, name, str(visitors)) for name in ("1", "2"))
    assert [one.line(), two.line()] == ["ready", "ready"]
    one.go()
    two.go()
    lines = heard(one, 15) + heard(two, 15) + heard(one, 15)
    lines += one.kill()
    lines += heard(two, 30)  # it goes on: nothing of the dead one's is in its way
    lines += two.kill()
    acknowledged = {words[1]: words[2] for line in lines if len(words := line.split()) == 3}
    assert len(acknowledged) >= 75
    stored = dict(outside.rows("SELECT battle_id, winner FROM votes"))
    assert acknowledged.items() <= stored.items()
    running = 2 * visitors  # each visitor can have had one step done and not yet said
    assert len(stored) <= len(acknowledged) + running
    store = VoteStore.open(url, clock=lambda: NOON)
    said = {word: lines.count(word) for word in ("day", "take", "spend")}
    assert said["day"] <= await store.today("gemini") <= said["day"] + running
    ((uses,),) = outside.rows("SELECT count FROM uses")
    assert said["take"] <= uses <= said["take"] + running
    # Settled at 70, or still reserved at 100.
    spent = await store.spent_today("gemini")
    assert said["spend"] * 70 <= spent <= said["spend"] * 70 + running * 100
    winners = Counter(f"phi gem {winner}" for winner in stored.values())
    assert await tally(store) == dict(winners)
    await store.aclose()


@pytest.fixture
def durable(postgres: Server) -> Iterator[Server]:
    """Another server, which writes to the disk as a real one does."""
    server = Server(postgres.programs, durable=True)
    try:
        server.start()
        yield server
    finally:
        server.close()


async def test_power_cut_of_the_server_loses_nothing_acknowledged(
    durable: Server, start: Callable[..., Worker]
) -> None:
    """Every acknowledged vote is there after the server's power was cut."""
    durable.sql("CREATE DATABASE arena")
    url = durable.url("arena")
    store = VoteStore.open(url)
    worker = start("write", url)
    worker.line()
    worker.go()
    acknowledged = [worker.line() for _ in range(25)]
    durable.crash()
    acknowledged += worker.rest()
    with pytest.raises(StoreError):
        await store.counts()
    durable.start()
    assert len(set(acknowledged)) >= 25
    for battle_id in acknowledged:
        assert await store.get_vote(battle_id) is not None
    await store.aclose()
