"""What the store knows of one visitor: only their own, and only what they judged."""

from __future__ import annotations

from datetime import timedelta

from arena.domain import Battle, Exchange, Flag, PresetUse
from arena.store.store import VoteStore
from arena.store.visitors import Tally
from tests.store_tools import Outside
from tests.vote_samples import NOON, VOTER, answer, battle, vote

OTHER = "b" * 64


async def judged(store: VoteStore, preset: str | None, minutes: int, voter: str = VOTER) -> Battle:
    """A battle about an example whose vote was cast so many minutes after noon."""
    made = battle(preset=None if preset is None else PresetUse(preset), voter=voter)
    await store.add_battle(made)
    await store.cast_vote(vote(made, cast_at=NOON + timedelta(minutes=minutes)))
    return made


async def test_judged_examples_come_the_longest_ago_first(store: VoteStore) -> None:
    """By the last vote on each; others' votes, own texts and battles without a vote are none."""
    assert await store.judged_presets(VOTER) == []
    await judged(store, "often", 1)
    await judged(store, "once", 2)
    await judged(store, "often", 3)
    await judged(store, None, 4)
    await judged(store, "theirs", 5, OTHER)
    await store.add_battle(battle(preset=PresetUse("open")))
    assert await store.judged_presets(VOTER) == ["once", "often"]
    assert await store.judged_presets(OTHER) == ["theirs"]


async def test_a_vote_that_can_be_taken_back_is_one(store: VoteStore) -> None:
    """The visitor has seen that example; after an undo it is as if they had not judged it."""
    made = battle(preset=PresetUse("now"))
    await store.add_battle(made)
    await store.cast_vote(vote(made), NOON + timedelta(seconds=5))
    assert await store.judged_presets(VOTER) == ["now"]
    await store.undo_vote(made.id, VOTER, NOON)
    assert await store.judged_presets(VOTER) == []


async def test_others_votes_are_not_read(store: VoteStore, outside: Outside, database: str) -> None:
    """An index finds a visitor's own: nothing here takes longer with more visitors."""
    if database == "sqlite":
        plan = outside.rows(
            "EXPLAIN QUERY PLAN SELECT battles.preset_id FROM votes JOIN battles "
            "ON battles.id = votes.battle_id WHERE votes.voter = 'a'"
        )
        assert any("ix_votes_voter" in str(row) for row in plan), plan


async def test_own_tally_follows_the_model_over_the_sides(store: VoteStore) -> None:
    """Each verdict goes to the model on whichever side it was; only final votes of one's own."""
    assert await store.own_tally(VOTER, "phi") == Tally()
    for left, right, winner in (
        ("phi", "gem", "model_a"), ("gem", "phi", "model_b"), ("gem", "phi", "model_a"),
        ("phi", "smol", "tie"), ("smol", "phi", "both_bad"), ("gem", "smol", "model_a"),
        ("phi", "phi", "model_a"),
    ):  # fmt: skip
        made = battle(left, right)
        await store.add_battle(made)
        await store.cast_vote(vote(made, winner))
    theirs, waits = battle("phi", "gem", voter=OTHER), battle("phi", "gem")
    for made, until in ((theirs, None), (waits, NOON + timedelta(seconds=5))):
        await store.add_battle(made)
        await store.cast_vote(vote(made), until)
    assert await store.own_tally(VOTER, "phi") == Tally(wins=2, losses=1, ties=1, both_bad=1)
    assert await store.own_tally(VOTER, "gem") == Tally(wins=2, losses=2)


async def test_unfinished_battles_can_be_voted_on(store: VoteStore) -> None:
    """The visitor's own without any vote, newest first; of a stopped one only what is readable."""
    half, word = (answer(text, reason="cancelled") for text in ("It is because", "It"))
    stopped = {"flags": frozenset({Flag.STOPPED}), "conversation_b": (Exchange("?", half),)}
    waiting = [battle(created_at=NOON + timedelta(minutes=n)) for n in range(3)]
    waiting.append(battle(created_at=NOON + timedelta(minutes=3), **stopped))
    others = [
        battle(voter=OTHER), battle("phi", None), battle(created_at=NOON - timedelta(days=2)),
        battle(conversation_b=(Exchange("?", answer("", reason="error")),)),
        battle(flags=frozenset({Flag.STOPPED}), conversation_b=(Exchange("?", word),)),
        battle(conversation_b=(Exchange("?"),)), battle(), battle(),
    ]  # fmt: skip
    for made in (*waiting, *others):
        await store.add_battle(made)
    await store.cast_vote(vote(others[-1]))
    await store.cast_vote(vote(others[-2]), NOON + timedelta(seconds=5))
    found = await store.unfinished_battles(VOTER, NOON - timedelta(days=1))
    assert found == [made.id for made in reversed(waiting)]
    await store.undo_vote(others[-2].id, VOTER, NOON)
    assert others[-2].id in await store.unfinished_battles(VOTER, NOON - timedelta(days=1))
