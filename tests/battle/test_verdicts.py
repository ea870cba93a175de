"""What a battle's page says of its vote: the rule's own word, and before the vote nothing more."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from arena.battle.arena import Arena
from arena.battle.limits import Limits
from arena.battle.own_record import OwnRecord, own_record
from arena.battle.pending import PendingVotes
from arena.battle.session import BattleSession
from arena.battle.verdicts import Verdicts
from arena.domain import Mode, Winner
from arena.errors.store import StoreError
from arena.models.registry import Entry, Registry
from arena.stats.filters import MAIN_RULES, FilterReason, Rules
from arena.stats.verdict import Verdict
from arena.store.store import VoteStore
from arena.store.visitors import Tally
from tests.battle.arenas import ANSWER, REQUEST, VISITOR, play
from tests.scripted import ScriptedModel, Step
from tests.vote_samples import NOON, battle, spec, vote


class Table:
    """Some models, and a visitor who takes a minute for everything."""

    def __init__(self, store: VoteStore, rules: Rules = MAIN_RULES, **scripts: list[Step]) -> None:
        registry = Registry([Entry(n, ScriptedModel(n, script)) for n, script in scripts.items()])
        self.moment = NOON
        self.arena = Arena(
            registry, store, Limits(battles_per_minute=1000), rng=random.Random(7), now=self.now
        )
        self.verdicts = Verdicts(store, rules)

    def now(self) -> datetime:
        self.moment += timedelta(minutes=1)
        return self.moment

    async def play(self, *, signed_in: bool = False, **changes: Any) -> BattleSession:
        session = await self.arena.begin(replace(REQUEST, **changes))
        await play(self.arena, session)
        await self.verdicts.look(session, signed_in=signed_in)
        return session

    async def vote(self, session: BattleSession) -> Verdict | None:
        await self.arena.vote(session.battle.id, Winner.TIE, VISITOR)
        await self.verdicts.look(session, signed_in=False)
        return session.snapshot().verdict


async def test_the_same_question_again(store: VoteStore) -> None:
    """The first vote counts; of the second it is known before that it will not."""
    table = Table(store, xylo=ANSWER, yuzu=["So."])
    first = await table.play()
    assert first.snapshot().verdict == Verdict(None)
    assert await table.vote(first) == Verdict(None, cast=True)
    again = await table.play(text=" WHY? ")
    assert again.snapshot().verdict == Verdict(FilterReason.REPEATED)
    assert await table.vote(again) == Verdict(FilterReason.REPEATED, cast=True)
    other = await table.play(text="Who?")
    assert other.snapshot().verdict == Verdict(None)
    await table.arena.aclose()


async def test_of_a_larger_pool_it_is_said_for_every_pair(store: VoteStore) -> None:
    """Who has judged the question hears the same of each pair; the vote itself is exact."""
    table = Table(store, xylo=ANSWER, yuzu=["So."], zest=["Thus."])
    judged = []
    for _ in range(6):
        session = await table.play()
        likely = Verdict(FilterReason.REPEATED, certain=False) if judged else Verdict(None)
        assert session.snapshot().verdict == likely
        pair = {session.battle.spec(side).id for side in session.battle.sides}
        told = await table.vote(session)
        assert told is not None
        assert told.reason == (FilterReason.REPEATED if pair in judged else None)
        judged.append(pair)
    await table.arena.aclose()


@pytest.mark.parametrize("named", ["xylo", "yuzu", "zest"])
async def test_a_name_is_looked_for_among_all_that_could_play(store: VoteStore, named: str) -> None:
    """A name of the pool is said to be one whoever plays: else it would tell who does."""
    table = Table(store, xylo=ANSWER, yuzu=["So."], zest=["Thus."])
    session = await table.play(text=f"Is {named.title()} good?")
    told = Verdict(FilterReason.NAMED_IN_PROMPT, certain=False)
    assert session.snapshot().verdict == told
    await table.arena.aclose()


async def test_open_battles_and_accounts(store: VoteStore) -> None:
    """Both are known before the vote."""
    table = Table(store, Rules(not_signed_in=True), xylo=ANSWER, yuzu=["So."])
    shown = await table.play(mode=Mode.OPEN, model_a="xylo", model_b="yuzu")
    assert shown.snapshot().verdict == Verdict(FilterReason.NAMES_SHOWN)
    assert (await table.play()).snapshot().verdict == Verdict(FilterReason.NOT_SIGNED_IN)
    assert (await table.play(signed_in=True)).snapshot().verdict == Verdict(None)
    alone = await table.play(mode=Mode.SINGLE, model_a="xylo")
    assert alone.snapshot().verdict is None
    await table.arena.aclose()


async def test_nothing_old_is_said(store: VoteStore) -> None:
    """What was known before the vote is not said after it, nor of a turn that came later."""
    table = Table(store, xylo=ANSWER, yuzu=["So."])
    session = await table.play(text="Is Xylo good?")
    assert session.snapshot().verdict == Verdict(FilterReason.NAMED_IN_PROMPT)
    await table.arena.follow_up(session, "More?", VISITOR)
    assert session.snapshot().verdict is None
    await play(table.arena, session)
    await table.verdicts.look(session, signed_in=False)
    assert session.snapshot().verdict == Verdict(FilterReason.NAMED_IN_PROMPT)
    await table.arena.vote(session.battle.id, Winner.TIE, VISITOR)
    assert session.snapshot().verdict is None
    await table.arena.aclose()


async def test_a_store_that_is_away_keeps_nothing_from_the_page(
    store: VoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The battle can be voted on; there is just no word on whether it counts."""

    async def away(*_: object) -> object:
        raise StoreError

    table = Table(store, xylo=ANSWER, yuzu=["So."])
    monkeypatch.setattr(store, "own_votes", away)
    session = await table.play()
    assert session.snapshot().votable
    assert session.snapshot().verdict is None
    await table.arena.aclose()


async def test_the_fifth_vote_brings_the_own_record(store: VoteStore) -> None:
    """It is the local model's, with this vote in it, and shows with the final vote alone."""
    table = Table(store, xylo=ANSWER, yuzu=["So."])
    for number in range(5):
        session = await table.play(text=f"Question {number}?")
        assert session.snapshot().record is None
        await table.vote(session)
        record = session.snapshot().record
        if number < 4:
            assert record is None
    assert record == OwnRecord("Xylo", Tally(ties=5))
    await table.arena.aclose()


async def test_a_vote_that_can_be_taken_back_brings_no_record(store: VoteStore) -> None:
    """Names of the record are named when this battle's are, and not before."""
    table = Table(store, xylo=ANSWER, yuzu=["So."])
    for number in range(6):
        session = await table.play(text=f"Question {number}?")
        if number == 5:
            table.arena.pending = PendingVotes(store, 5, table.now)
        await table.vote(session)
    assert session.snapshot().record is None
    assert session.snapshot().verdict is None
    await table.arena.pending.close(session)
    await table.verdicts.look(session, signed_in=False)
    assert session.snapshot().record == OwnRecord("Xylo", Tally(ties=6))
    await table.arena.aclose()


@pytest.mark.parametrize(
    ("one", "other", "label"),
    [
        ({"provider": "google"}, {}, "Phi"),
        ({"variant_of": "phi"}, {}, "Phi"),
        ({"stand_in": True}, {}, "Phi"),
        ({"provider": "google"}, {"stand_in": True}, "Phi"),
    ],
)
async def test_whose_record_it_is(
    store: VoteStore, one: dict[str, Any], other: dict[str, Any], label: str
) -> None:
    """The local model's; of two local ones the one that stands for itself."""
    for flip in (False, True):
        specs = [spec("alpha", **one), spec("phi", **other)]
        left, right = reversed(specs) if flip else specs
        for _ in range(3):
            made = battle(spec_a=left, spec_b=right)
            await store.add_battle(made)
            await store.cast_vote(vote(made, "model_a"))
    found = await own_record(store, made)
    assert found == OwnRecord(label, Tally(wins=3, losses=3))
