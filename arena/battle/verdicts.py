"""What is said beside a vote: whether it counts, and, when it is final, the voter's own record.

Before it is cast, whether it counts is said as far as that gives nothing away.
"""

from __future__ import annotations

import logging

from arena.battle.own_record import own_record
from arena.battle.session import BattleSession
from arena.blind import hides_sides
from arena.domain import Mode, Vote, Winner
from arena.errors.base import ArenaError
from arena.stats.filters import Rules
from arena.stats.verdict import Verdict, verdict_before, verdict_on
from arena.store.store import VoteStore

log = logging.getLogger(__name__)

_KNOWN_PAIR = 2
"""Of a pool of so many contestants everybody knows which play."""


class Verdicts:
    """Looks up what the rules of the leaderboard say to one vote.

    Args:
        store: has the voter's other votes.
        rules: of the leaderboard.
    """

    def __init__(self, store: VoteStore, rules: Rules) -> None:
        self._store = store
        self._rules = rules

    async def look(self, session: BattleSession, *, signed_in: bool) -> None:
        """Note in the session what is known of its vote now; nothing where nothing is.

        A store that can't be read is no reason to keep the battle from the page.

        Args:
            session: of a battle of two sides, whose answers are complete.
            signed_in: the voter has signed in.
        """
        session.verdict = session.record = None
        if session.battle.mode is Mode.SINGLE:
            return
        try:
            if session.revealed:
                session.verdict = await self._after(session)
                session.record = await own_record(self._store, session.battle)
            elif session.snapshot().votable:
                session.verdict = await self._before(session, signed_in=signed_in)
        except ArenaError as error:
            log.warning("whether %s counts is not known: %s", session.battle.id, error.detail)

    async def _after(self, session: BattleSession) -> Verdict | None:
        vote = await self._store.get_vote(session.battle.id)
        if vote is None:
            return None
        return verdict_on(await self._store.own_votes(session.battle, vote), self._rules)

    async def _before(self, session: BattleSession, *, signed_in: bool) -> Verdict:
        battle = session.battle
        vote = Vote(battle.id, Winner.TIE, battle.voter, self._store.clock(), signed_in=signed_in)
        if not hides_sides(battle, voted=False):
            votes = await self._store.own_votes(battle, vote)
            return verdict_before(votes, self._rules, pair_known=True)
        # By all names that could play, which does not hang on who does.
        labels = sorted({spec.label for spec in session.pool})
        votes = await self._store.own_votes(battle, vote, labels)
        return verdict_before(votes, self._rules, pair_known=len(session.pool) <= _KNOWN_PAIR)
