"""A battle that was stopped: what both sides have written can be judged, and the vote is marked."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.battle.arena import Arena
from arena.battle.session import BattleSession, snapshot_of
from arena.blind import Phase
from arena.domain import READABLE_CHARS, Battle, Exchange, FinishReason, Flag, Mode, Side, Winner
from arena.errors.battle import VoteTooEarly
from arena.errors.models import Overloaded
from arena.stats.filters import MAIN_RULES, FilterReason, Rules
from arena.stats.verdict import verdict_on
from arena.store.store import VoteStore
from arena.ui.view import battle_view
from tests.battle.arenas import ANSWER, REQUEST, VISITOR, arena_of, play, side_of, until
from tests.scripted import ScriptedModel, Step
from tests.vote_samples import answer, battle

HALF = "It is because "
TEXTS = st.text(max_size=2 * READABLE_CHARS)
ANSWERS = st.none() | st.builds(
    lambda text, reason: answer(text, reason=reason), TEXTS, st.sampled_from(FinishReason)
)


def going_on(text: str = HALF) -> list[Step]:
    """A script that says this, and then thinks until it is stopped."""
    return [text, asyncio.Event()] if text else [asyncio.Event()]


async def stopped(
    store: VoteStore, one: list[Step], other: list[Step], shown: str
) -> tuple[Arena, BattleSession]:
    """A battle that is stopped when the first model shows that text."""
    arena = arena_of(
        store, ScriptedModel("xylo", one, ANSWER), ScriptedModel("yuzu", other, ANSWER)
    )
    session = await arena.begin(REQUEST)
    reading = asyncio.create_task(play(arena, session))
    await until(session, shown, side_of(session, "xylo"))
    await until(session, "".join(s for s in other if isinstance(s, str)), side_of(session, "yuzu"))
    await arena.stop(session)
    await reading
    return arena, session


@pytest.mark.parametrize("other", ["Well, there are ", "Because it is so.", "So."])
async def test_what_can_be_read_can_be_judged(store: VoteStore, other: str) -> None:
    """Both were stopped, or one was complete, however short; the record says so."""
    script = going_on(other) if other.endswith(" ") else [other]
    arena, session = await stopped(store, going_on(), script, HALF)
    snapshot = session.snapshot()
    assert snapshot.votable
    assert "Stopped. Which is better so far?" in battle_view(snapshot, "en", None).bar
    assert snapshot.retryable(Side.A)
    voted = await arena.vote(session.battle.id, Winner.MODEL_A, VISITOR)
    assert voted.flags == {Flag.STOPPED}
    vote = await store.get_vote(voted.id)
    assert vote is not None
    table = await store.own_votes(voted, vote)
    assert verdict_on(table, MAIN_RULES).reason is FilterReason.STOPPED
    assert verdict_on(table, Rules(stopped=False, too_fast=False)).reason is None
    phases = {side.phase for side in snapshot_of(voted).sides.values()}
    assert Phase.STOPPED in phases
    assert Phase.FAILED not in phases
    await arena.aclose()


@pytest.mark.parametrize("shown", ["", "Hm"])
async def test_what_cannot_be_read_cannot_be_judged(store: VoteStore, shown: str) -> None:
    """Without text, or with a word of it, there is no vote; the battle can be asked again."""
    arena, session = await stopped(store, going_on(shown), going_on(), shown)
    assert not session.snapshot().votable
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    await arena.aclose()


async def test_a_failure_beside_it_is_no_answer(store: VoteStore) -> None:
    """Who stops the other side of a failed one has nothing to compare."""
    arena = arena_of(
        store, ScriptedModel("xylo", [Overloaded()]), ScriptedModel("yuzu", going_on())
    )  # fmt: skip
    session = await arena.begin(REQUEST)
    reading = asyncio.create_task(play(arena, session))
    await until(session, HALF, side_of(session, "yuzu"))
    await arena.stop(session)
    await reading
    assert not session.snapshot().votable
    await arena.aclose()


async def test_a_retry_takes_the_mark_back(store: VoteStore) -> None:
    """Then both answers are complete, and the battle is one in which a side was asked again."""
    arena, session = await stopped(store, going_on(), going_on(), HALF)
    await arena.retry(session, Side.A, VISITOR)
    await play(arena, session)
    assert session.battle.flags == {Flag.RETRIED}
    assert session.snapshot().votable
    await arena.aclose()


@given(ANSWERS, ANSWERS, st.booleans(), st.booleans())
def test_what_is_votable(one: object, other: object, marked: object, later: object) -> None:
    """The same for either order of the sides; stopped answers only in a battle marked so."""

    def made(a: object, b: object) -> Battle:
        before = (Exchange("Why?", answer("So.")),) if later else ()
        return battle(
            conversation_a=(*before, Exchange("And?", a)),
            conversation_b=(*before, Exchange("And?", b)),
            flags=frozenset({Flag.STOPPED} if marked else ()),
        )

    found = made(one, other)
    assert found.votable == made(other, one).votable
    both = [found.conversation(side)[-1].answer for side in Side]
    if all(a is not None and a.usable for a in both):
        assert found.votable
    elif not marked or None in both:
        assert not found.votable
    else:
        reasons = {a.finished.reason for a in both if a is not None and not a.usable}
        assert not found.votable or reasons == {FinishReason.CANCELLED}


def test_earlier_turns_must_be_complete() -> None:
    """Only the answers to the last prompt may have been stopped."""
    half = Exchange("Why?", answer(HALF, reason="cancelled"))
    whole = Exchange("And?", answer("So."))
    made = battle(
        conversation_a=(half, whole), conversation_b=(whole, whole),
        flags=frozenset({Flag.STOPPED}),
    )  # fmt: skip
    assert not made.votable
    assert not battle("phi", None, flags=frozenset({Flag.STOPPED}), mode=Mode.SINGLE).votable
