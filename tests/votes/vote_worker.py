"""Another process of the arena, for tests. Commands: open, vote, count, salt, write.

It imports everything, says `ready`, and starts on the first line of its input.
"""

from __future__ import annotations

import asyncio
import sys

from vote_samples import battle, vote

from arena.errors import AlreadyVoted
from arena.votes.store import VoteStore


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


async def write(store: VoteStore) -> None:
    """Battles and votes without end; what is printed was acknowledged."""
    for number in range(10**9):
        made = battle(id=f"{number:032x}")
        await store.add_battle(made)
        await store.cast_vote(vote(made))
        say(made.id)


async def main(command: str, url: str, *arguments: str) -> None:
    say("ready")
    sys.stdin.readline()
    store = VoteStore.open(url)
    match command:
        case "open":
            say((await store.counts()).battles)
        case "salt":
            say(await store.salt())
        case "vote":
            await cast(store, *arguments)
        case "count":
            await count(store, *arguments)
        case "write":
            await write(store)
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
