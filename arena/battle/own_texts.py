"""A visitor's own texts: how many battles have some, and their removal for good.

It goes by who the visitor is, and by nothing that a browser says about battles. A battle that is
open is closed first: what still runs is stopped, and a vote that could be taken back is final. So
no answer is being written that the store would then refuse, and nothing is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Collection

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.store.erasure import Erasable


class OwnTexts:
    """Counts and removes; each look and each removal counts against the visitor's rates."""

    def __init__(self, arena: Arena) -> None:
        self._arena = arena

    async def found(self, visitor: Visitor) -> Erasable:
        """What there is of this visitor.

        Raises:
            ErasureTooOften: not before some time has passed.
            StoreError: the store can't be read.
        """
        await self._arena.admission.count_erasure(visitor)
        return await self._arena.store.erasable(visitor.voter)

    async def erase(
        self, visitor: Visitor, confirmed: Collection[str], *,
        closing: Callable[[Collection[str]], None] = lambda _: None,
    ) -> int:  # fmt: skip
        """Remove the texts of this visitor's battles among those; the votes on them stay.

        Args:
            visitor: whose battles they must be; others are left alone.
            confirmed: ids of the battles that the visitor was told of.
            closing: called with what will be removed, before those that are open are closed.

        Returns:
            How many battles had texts.

        Raises:
            ErasureTooOften, StoreError: as in `found`; doing it again removes the rest.
        """
        left = await self.found(visitor)
        own = [name for name in left.ids if name in confirmed]
        closing(own)
        await self._arena.pages.close_where(lambda one: one.battle.id in own)
        return await self._arena.store.erase(own)
