"""The leaderboard's numbers from the store, made once for each state of the votes."""

from __future__ import annotations

import asyncio
from typing import Final

from arena.domain import ModelName
from arena.leaderboard.report import EVERYTHING, LeaderboardReport, Selection, make_report
from arena.stats.filters import Rules
from arena.stats.vote_table import VoteTable
from arena.store.queries import VotesVersion
from arena.store.store import VoteStore

# Reports that are kept: each visitor's filters make one, and votes make all of them old.
MOST_KEPT: Final = 64


class LeaderboardCache:
    """Reads the votes when they changed, and computes a report when it is first asked for.

    Visitors who open the page at once wait for one computation, which runs in a thread.
    """

    def __init__(self, store: VoteStore) -> None:
        self._store = store
        self._lock = asyncio.Lock()
        self._version: VotesVersion | None = None
        self._votes: VoteTable | None = None
        self._names: dict[str, ModelName] = {}
        self._reports: dict[tuple[Rules, Selection], LeaderboardReport] = {}

    async def report(self, rules: Rules, selection: Selection = EVERYTHING) -> LeaderboardReport:
        """The leaderboard as it stands now.

        Raises:
            StoreError: the votes can't be read.
            BadVote: one of them has a value that is unknown.
        """
        key = (rules, selection)
        async with self._lock:
            votes = await self._current_votes()
            if key not in self._reports:
                made = await asyncio.to_thread(
                    make_report, votes, self._names, rules=rules, selection=selection
                )
                while len(self._reports) >= MOST_KEPT:
                    self._reports.pop(next(iter(self._reports)))
                self._reports[key] = made
            return self._reports[key]

    async def _current_votes(self) -> VoteTable:
        """The votes, read again if any was cast, imported, excluded or taken back."""
        # Looked at before the votes are read: one that is cast in between is read again later.
        version = await self._store.votes_version()
        if self._votes is None or version != self._version:
            votes = await self._store.vote_table()
            ids = sorted({who.id for who in votes.contestants})
            self._names = await self._store.model_names(ids)
            self._reports.clear()
            self._votes, self._version = votes, version
        return self._votes
