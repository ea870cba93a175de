"""What a copy holds comes back, once, and never in the place of something better."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest

from arena.domain import Battle, Exchange, Exclusion
from arena.errors.store import StoreError
from arena.store.queries import Counts
from arena.store.store import VoteStore
from tests.store_tools import Outside, excluded_in, pairs_of, tally
from tests.vote_samples import NOON, VOTER, answer, battle, vote


def begun(**changes: object) -> Battle:
    """A battle whose answers have not ended."""
    return battle(conversation_a=(Exchange("p"),), conversation_b=(Exchange("p"),), **changes)


def longer(made: Battle) -> Battle:
    """The same battle, one turn later."""
    turn = Exchange("続き", answer("次"))
    return replace(
        made,
        conversation_a=(*made.conversation_a, turn),
        conversation_b=(*made.conversation_b, turn),
    )


async def everything(store: VoteStore) -> object:
    return await pairs_of(store), await excluded_in(store), await store.counts()


async def test_empty_store_gets_it_all_and_a_second_time_nothing(store: VoteStore) -> None:
    """A restore may be repeated, with records in any order."""
    made = [battle(created_at=NOON + timedelta(minutes=n)) for n in range(3)]
    votes = [vote(made[0], "tie", comment="良い", signed_in=True), vote(made[2])]
    out = [Exclusion(made[2].id, "x", NOON), Exclusion(made[0].id, "y", NOON)]
    out.append(Exclusion(made[0].id, "", NOON + timedelta(minutes=1), lifted=True))
    assert await store.restore(made, votes, out) == Counts(3, 2)
    first = await everything(store)
    assert first == (
        [(made[0], votes[0]), (made[1], None), (made[2], votes[1])],
        {made[2].id: out[0]},
        Counts(3, 2),
    )
    # Lines of a copy repeat, and come in any order.
    again = await store.restore(made[::-1] * 2, votes[::-1] * 2, out[::-1] * 2)
    assert again == Counts(0, 0)
    assert await everything(store) == first


async def test_richer_record_wins_until_the_vote(store: VoteStore) -> None:
    """A battle is replaced by a record with more answers, until it has its vote."""
    poor = begun()
    rich = battle(id=poor.id)
    await store.add_battle(poor)
    assert await store.restore([rich], [], []) == Counts(0, 0)
    assert await store.get_battle(poor.id) == rich
    await store.restore([poor, replace(rich, system_prompt="other")], [], [])
    assert await store.get_battle(poor.id) == rich
    cast = vote(rich, "tie", comment="mine")
    await store.cast_vote(cast)
    later = longer(rich)
    await store.restore([later], [replace(cast, comment="theirs")], [])
    assert await store.get_battle(poor.id) == rich
    assert await store.get_vote(poor.id) == cast


async def test_vote_arrives_with_the_record_that_it_is_about(store: VoteStore) -> None:
    """The fuller battle is stored before the vote on it."""
    poor = begun()
    rich = battle(id=poor.id)
    await store.add_battle(poor)
    assert await store.restore([rich], [vote(rich)], []) == Counts(0, 1)
    assert await store.get_battle(poor.id) == rich
    assert await tally(store) == {"phi gemini model_a": 1}


async def test_what_has_no_battle_is_left_out(
    store: VoteStore, caplog: pytest.LogCaptureFixture
) -> None:
    """A vote or a decision without its battle is left out and logged."""
    lost, kept = battle(), battle()
    ballots_, out = [vote(lost), vote(kept)], [Exclusion(lost.id, "x", NOON)]
    with caplog.at_level(logging.WARNING):
        assert await store.restore([kept], ballots_, out) == Counts(1, 1)
    assert "1 votes of the copy have no battle" in caplog.text
    assert "1 exclusions of the copy have no battle" in caplog.text
    assert VOTER not in caplog.text


async def test_it_is_one_transaction(store: VoteStore, outside: Outside) -> None:
    """A restore that fails leaves nothing."""
    made = battle()
    with pytest.raises(StoreError):
        await store.restore([made], [replace(vote(made), winner="x")], [])
    outside.rows("ALTER TABLE exclusions RENAME TO hidden")
    with pytest.raises(StoreError):
        await store.restore([made], [vote(made)], [Exclusion(made.id, "x", NOON)])
    assert await store.counts() == Counts(0, 0)
    outside.rows("ALTER TABLE hidden RENAME TO exclusions")
    assert await store.restore([made], [vote(made)], []) == Counts(1, 1)


async def test_more_than_one_batch(store: VoteStore) -> None:
    """The counts are those of all batches."""
    made = [battle(created_at=NOON + timedelta(seconds=n)) for n in range(450)]
    assert await store.restore(made[:300], [], []) == Counts(300, 0)
    counts = await store.restore(made, [vote(one) for one in made], [])
    assert counts == Counts(150, 450)
    assert [found for found, _ in await pairs_of(store)] == made


def test_two_processes_restore_at_the_same_time(
    url: str, outside: Outside, two: Callable[..., list[str]]
) -> None:
    """Two replicas may restore one empty database at once."""
    words = [int(word) for line in two("restore", url) for word in line.split()]
    assert (words[0] + words[2], words[1] + words[3]) == (60, 60)
    assert outside.rows("SELECT count(*) FROM votes") == [(60,)]
