"""Between the store and the files of the copy: what one of them lacks of the other."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence

from arena.dataset.hub_index import Index, Place
from arena.dataset.hub_lines import Change, fullness
from arena.domain import Battle, Exclusion, Vote
from arena.store.queries import Counts
from arena.store.store import VoteStore

BATCH = 50
"""Battles in one transaction of a restore: a visitor's vote must not wait for many more."""

Load = Callable[[Sequence[Place]], Awaitable[Sequence[Change]]]
Pair = tuple[Battle, Vote | None]


async def restore(store: VoteStore, index: Index, load: Load, mark: str, part_mark: str) -> Counts:
    """Brings into the store what it lacks of the copy. May be done again.

    Args:
        store: it may be used meanwhile.
        index: of the copy.
        load: the records at places of the index, read in a thread.
        mark: set with the last transaction, so a restore that broke off is not taken for a whole.
        part_mark: set with those before it.

    Returns:
        How much was missing.

    Raises:
        StoreError: the store can't be written.
    """
    battles = votes = 0
    ids = sorted(index.battles.keys() | index.votes.keys())
    for start in range(0, len(ids), BATCH):
        # A vote comes with its battle: without it the store can't hold it.
        changes = await load(_places(index, ids[start : start + BATCH]))
        counts = await store.restore(
            [change for change in changes if isinstance(change, Battle)],
            [change for change in changes if isinstance(change, Vote)],
            [],
            mark=part_mark,
        )
        battles, votes = battles + counts.battles, votes + counts.votes
    await store.restore([], [], list(index.exclusions.values()), mark=mark)
    return Counts(battles, votes)


def missing(index: Index, pairs: Sequence[Pair]) -> list[Change]:
    """What the copy lacks of those battles and votes, or has in a poorer form. Blocks.

    Raises:
        OSError: a file of the copy can't be read any more.
    """
    battles: dict[str, Battle] = {}
    votes: dict[str, Vote] = {}
    for change in index.load(_places(index, [battle.id for battle, _ in pairs])):
        if isinstance(change, Battle):
            battles[change.id] = change
        elif isinstance(change, Vote):
            votes[change.battle_id] = change
    found: list[Change] = []
    for battle, vote in pairs:
        copied = battles.get(battle.id)
        # An answer may have come after the store was read.
        if copied is None or (copied != battle and fullness(copied) <= fullness(battle)):
            found.append(battle)
        if vote is not None and votes.get(battle.id) != vote:
            found.append(vote)
    return found


def missing_decisions(index: Index, decisions: Iterable[Exclusion]) -> list[Change]:
    """The decisions that the copy lacks."""
    copied = set(index.exclusions.values())
    return [decision for decision in decisions if decision not in copied]


def _places(index: Index, ids: Sequence[str]) -> list[Place]:
    """Where the copy has those battles and their votes."""
    return [found[name] for name in ids for found in (index.battles, index.votes) if name in found]
