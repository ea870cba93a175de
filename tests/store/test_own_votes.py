"""What of one voter is read to judge one vote."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from arena.domain import Battle, Exchange, Flag
from arena.stats.vote_table import WINNERS, VoteFlag
from arena.store.store import VoteStore
from tests.store.test_features import voted
from tests.vote_samples import NOON, answer, battle, vote


def asking(prompt: str, **changes: Any) -> Battle:
    """A battle with that prompt."""
    return battle(
        conversation_a=(Exchange(prompt, answer()),),
        conversation_b=(Exchange(prompt, answer("So")),),
        **changes,
    )


async def test_own_votes_are_those_on_the_same_question(store: VoteStore) -> None:
    """The voter's final ones, whoever played, and last the given one, which nobody has stored."""
    early = await voted(store, battle("phi", "smol"))
    await voted(store, battle(voter="b" * 64))
    await voted(store, asking("Something else"))
    waits = battle()
    await store.add_battle(waits)
    await store.cast_vote(vote(waits), NOON + timedelta(seconds=5))
    now = asking("  1+1は? ", flags=frozenset({Flag.RETRIED}))
    found = await store.own_votes(now, vote(now, "tie", cast_at=NOON + timedelta(hours=1)))
    assert list(found.cast_at - NOON.timestamp()) == [0, 3600]
    assert list(found.winner) == [WINNERS.index("model_a"), WINNERS.index("tie")]
    assert list(found.has(VoteFlag.RETRIED)) == [False, True]
    assert [c.id for c in found.contestants] == ["gemini", "phi", "smol"]
    again = await store.own_votes(early, vote(early))
    assert len(again) == 1, "the battle's own stored vote is not there twice"


async def test_own_votes_go_by_the_names_that_are_given(store: VoteStore) -> None:
    """A name in the question is found by the labels of the pool, not only of the two who play."""
    made = asking("Is Hazel good?")
    cast = vote(made)
    assert not (await store.own_votes(made, cast)).has(VoteFlag.LEAK_PROMPT)[-1]
    assert (await store.own_votes(made, cast, ["Hazel"])).has(VoteFlag.LEAK_PROMPT)[-1]
