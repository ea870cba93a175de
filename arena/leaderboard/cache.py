"""The leaderboard's numbers from the store, made once for each state of the votes."""

from __future__ import annotations

import asyncio
from typing import Final

from arena.leaderboard.names import ModelName
from arena.leaderboard.report import Report, Selection, make_report
from arena.stats.filters import Rules
from arena.stats.vote_table import VoteTable
from arena.store.store import VoteStore
from arena.store.votes_version import VotesVersion, called, glance

# Reports that are kept: each visitor's filters make one, and votes make all of them old.
MOST_KEPT: Final = 64


class LeaderboardCache:
    """Reads the votes when they changed, and computes a report when nobody has asked for it yet.

    Visitors who open the page at once wait for one computation, which runs in a thread.
    """

    def __init__(self, store: VoteStore) -> None:
        self._store = store
        self._turn = asyncio.Lock()
        self._seen: VotesVersion | None = None
        self._ballots = VoteTable.from_rows(())
        self._names: dict[str, ModelName] = {}
        self._made: dict[tuple[Rules, Selection], Report] = {}

    async def report(self, rules: Rules, selection: Selection | None = None) -> Report:
        """The leaderboard as it stands now.

        Raises:
            StoreError: the votes can't be read.
            BadVote: one of them has a value that is unknown.
        """
        key = (rules, selection or Selection())
        async with self._turn:
            await self._catch_up()
            if key not in self._made:
                made = await asyncio.to_thread(
                    make_report, self._ballots, self._names, rules=key[0], selection=key[1]
                )
                while len(self._made) >= MOST_KEPT:
                    self._made.pop(next(iter(self._made)))
                self._made[key] = made
            return self._made[key]

    async def _catch_up(self) -> None:
        """Reads the votes anew if any was cast, brought, excluded or taken back."""
        # Looked at before the votes are read: one that is cast in between is read again later.
        seen = await self._store.database.read(glance)
        if seen == self._seen:
            return
        ballots = await self._store.ballots()
        ids = sorted({who.id for who in ballots.contestants})
        found = await self._store.database.read(called, ids)
        self._names = {
            model: ModelName(name.label, local=name.provider == "local")
            for model, name in found.items()
        }
        self._made.clear()
        self._ballots, self._seen = ballots, seen
