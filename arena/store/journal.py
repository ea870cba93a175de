"""What hears of every change of the store: the copy on the Hub, or nobody."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from arena.domain import Battle, Exclusion, Vote
from arena.errors.store import StoreError

if TYPE_CHECKING:
    from arena.store.store import VoteStore


@dataclass(frozen=True, slots=True)
class CopyState:
    """How the copy stands.

    Attributes:
        place: where it is, for people; empty where there is none.
        unpushed: changes that are on this disk alone.
        pushed_at: seconds since the epoch of the last push that worked; None before it.
        error: why the last push or the restore failed; None when it worked.
        restoring: the store is being restored at the start.
        unreadable: lines of the copy that could not be read; the log says which.
    """

    place: str = ""
    unpushed: int = 0
    pushed_at: float | None = None
    error: StoreError | None = None
    restoring: bool = False
    unreadable: int = 0


class Journal(Protocol):
    """Hears of each change after it is on disk, in the thread that wrote it.

    A journal never raises and never waits for a network: the visitor has been told already that
    it is saved, and the store is the truth.
    """

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held while a change is noted."""
        ...

    def battle(self, battle: Battle) -> None:
        """A battle was begun or an answer of it has ended."""
        ...

    def vote(self, vote: Vote) -> None:
        """A vote was cast, or words were added to it."""
        ...

    def exclusion(self, exclusion: Exclusion) -> None:
        """The owner decided about a vote."""
        ...

    def state(self) -> CopyState:
        """How the copy stands; never blocks."""
        ...

    async def start(self, store: VoteStore) -> None:
        """Restores the store and begins to copy it; returns at once and never raises for a Hub."""
        ...

    async def aclose(self) -> None:
        """Copies what is left, within a bound, and stops. Changes after this are not copied."""
        ...


class NoJournal:
    """Nobody hears; the same calls and the same lock, so that callers need not ask."""

    lock: AbstractContextManager[object] = nullcontext()

    def battle(self, battle: Battle) -> None:
        """Nothing to do."""

    def vote(self, vote: Vote) -> None:
        """Nothing to do."""

    def exclusion(self, exclusion: Exclusion) -> None:
        """Nothing to do."""

    def state(self) -> CopyState:
        """No copy."""
        return CopyState()

    async def start(self, store: VoteStore) -> None:
        """Nothing to do."""

    async def aclose(self) -> None:
        """Nothing to do."""
