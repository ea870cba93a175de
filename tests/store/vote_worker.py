"""Another process of the arena, for tests.

Commands: open, vote, count, take, spend, salt, restore, write, pend, load. It imports everything,
says `ready`, and starts on the first line of its input.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import count as numbers

from arena.errors.battle import AlreadyVoted
from arena.errors.store import StoreError
from arena.store.store import VoteStore
from arena.store.usage import RateWindow
from tests.vote_samples import NOON, battle, vote


def say(word: object) -> None:
    sys.stdout.write(f"{word}\n")
    sys.stdout.flush()


async def cast(store: VoteStore, battle_id: str) -> None:
    found = await store.get_battle(battle_id)
    assert found is not None

    async def once() -> str:
        try:
            await store.cast_vote(vote(found))
        except AlreadyVoted:
            return "refused"
        return "counted"

    say(" ".join(await asyncio.gather(*(once() for _ in range(8)))))


async def count(store: VoteStore, limit: str) -> None:
    taken = await asyncio.gather(*(store.count_today("gemini", int(limit)) for _ in range(20)))
    say(sum(taken))


async def take(store: VoteStore, limit: str) -> None:
    """Half of the racers name their windows the other way round."""
    windows = [RateWindow("visitor", 60, int(limit)), RateWindow("address", 86_400, 10**6)]
    racing = (store.consume(windows if n % 2 else windows[::-1]) for n in range(16))
    say(sum(refusal is None for refusal in await asyncio.gather(*racing)))


async def spend(store: VoteStore, limit: str) -> None:
    """Reserves 100 again and again, and settles what it got at 60."""
    got = 0
    for _ in range(20):
        some = await asyncio.gather(
            *(store.reserve_spend("gemini", 100, int(limit)) for _ in range(4))
        )
        for reservation in some:
            if reservation is not None:
                got += 1
                await store.settle_spend(reservation, 60)
    say(got)


async def restore(store: VoteStore) -> None:
    made = [battle(id=f"{n:032x}") for n in range(60)]
    counts = await store.restore(made, [vote(one) for one in made], [])
    say(f"{counts.battles} {counts.votes}")


async def write(store: VoteStore, pending_until: datetime | None = None) -> None:
    """Battles and votes until the store is gone; what is printed was acknowledged."""
    with suppress(StoreError):
        for number in numbers():
            made = battle(id=f"{number:032x}")
            await store.add_battle(made)
            await store.cast_vote(vote(made), pending_until)
            say(made.id)


async def pend(store: VoteStore) -> None:
    """As `write`, with votes that can be taken back for five seconds."""
    await write(store, NOON + timedelta(seconds=5))


async def load(store: VoteStore, name: str, voters: str) -> None:
    """All that an arena writes, from several visitors at once, without end.

    Says what was acknowledged: `vote ID`, `day`, `take` and `spend`. Amounts are settled at 70.
    """
    words = ("model_a", "model_b", "tie", "both_bad")

    async def visitor(mine: int) -> None:
        for number in numbers():
            made = battle("phi", "gem", id=f"{name:0>2}{mine:02x}{number:028x}", conversation_a=())
            if await store.consume([RateWindow("all", 86_400, 10**6)]) is None:
                say("take")
            await store.add_battle(made)
            if await store.count_today("gemini", 10**6):
                say("day")
            reservation = await store.reserve_spend("gemini", 100, 10**9)
            assert reservation is not None
            say("spend")
            await store.update_battle(battle("phi", "gem", id=made.id))
            await store.settle_spend(reservation, 70)
            await store.cast_vote(vote(made, words[number % 4]))
            say(f"vote {made.id} {words[number % 4]}")

    await asyncio.gather(*(visitor(n) for n in range(int(voters))))


COMMANDS = {
    "vote": cast,
    "count": count,
    "take": take,
    "spend": spend,
    "restore": restore,
    "write": write,
    "pend": pend,
    "load": load,
}


async def main(command: str, url: str, *arguments: str) -> None:
    say("ready")
    sys.stdin.readline()
    store = VoteStore.open(url, clock=lambda: NOON)
    match command:
        case "open":
            say((await store.counts()).battles)
        case "salt":
            say(await store.salt())
        case _:
            await COMMANDS[command](store, *arguments)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
