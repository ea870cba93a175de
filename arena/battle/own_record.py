"""The voter's own votes on a contestant of the battle that they have just judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from arena.domain import Battle, ModelSpec
from arena.store.store import VoteStore
from arena.store.visitors import Tally

FEWEST_VOTES: Final = 5
"""With fewer of them there is nothing to see."""


@dataclass(frozen=True, slots=True)
class OwnRecord:
    """How one contestant has fared in one voter's votes.

    Attributes:
        label: the contestant's name.
        tally: of all their final votes on it.
    """

    label: str
    tally: Tally


async def own_record(store: VoteStore, battle: Battle) -> OwnRecord | None:
    """The record of the battle's asker; None while there are few votes. The vote must be final.

    It is that of the local model: it is what this arena is about.

    Raises:
        StoreError: the store can't be read.
    """
    spec = min((battle.spec(side) for side in battle.sides), key=_order)
    tally = await store.own_tally(battle.voter, spec.id)
    return OwnRecord(spec.label, tally) if tally.votes >= FEWEST_VOTES else None


def _order(spec: ModelSpec) -> tuple[bool, bool, bool, str]:
    """Local models first, then those that are no variant and no stand-in."""
    return spec.provider != "local", spec.variant_of is not None, spec.stand_in, spec.id
