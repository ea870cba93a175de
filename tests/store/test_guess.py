"""What a voter adds to a vote is of a closed list, or names one of the two."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from arena.domain import Grade, Reason
from arena.errors.store import BadGuess, StoreError
from arena.stats.vote_table import VoteFlag
from arena.store.queries import Counts
from arena.store.store import VoteStore
from tests.vote_samples import VOTER, battle, vote


@pytest.mark.parametrize("guess", ["llama", "", "a=phi", "Phi"])
async def test_guess_names_one_of_the_two(store: VoteStore, guess: str) -> None:
    """A guess is the id of one of the two contestants, exactly."""
    made = battle("phi", "gemini")
    await store.add_battle(made)
    with pytest.raises(BadGuess) as caught:
        await store.cast_vote(vote(made, guess=guess))
    assert "phi, gemini" in caught.value.remedy_text
    assert await store.counts() == Counts(1, 0)
    await store.cast_vote(vote(made, guess="gemini"))
    with pytest.raises(BadGuess):
        await store.annotate_vote(made.id, VOTER, guess=guess)
    noted = await store.annotate_vote(made.id, VOTER, guess="phi", reasons=(Reason.UNSAFE,))
    assert (noted.guess, noted.reasons) == ("phi", (Reason.UNSAFE,))


@pytest.mark.parametrize("change", [{"reasons": ("nice",)}, {"grade_a": "great"}, {"grade_b": ""}])
async def test_unknown_words_are_refused(store: VoteStore, change: dict[str, Any]) -> None:
    """Reasons and grades are of the domain's lists."""
    made = battle()
    await store.add_battle(made)
    with pytest.raises(StoreError):
        await store.cast_vote(vote(made, **change))
    await store.cast_vote(vote(made))
    with pytest.raises(StoreError):
        await store.annotate_vote(made.id, VOTER, **change)
    assert await store.get_vote(made.id) == vote(made)
    noted = await store.annotate_vote(made.id, VOTER, grade_a=Grade.GOOD)
    # None leaves what is there.
    both = await store.annotate_vote(made.id, VOTER, grade_b=Grade.OK)
    assert both == replace(noted, grade_b=Grade.OK)


async def test_the_table_knows_which_guesses_were_right(store: VoteStore) -> None:
    """A guess is compared with side a, also one that is given after the vote."""
    guesses = ("phi", "gemini", None)
    made = [battle("phi", "gemini") for _ in guesses]
    for one, guess in zip(made, guesses, strict=True):
        await store.add_battle(one)
        await store.cast_vote(vote(one, "model_b", guess=guess))
    same = battle("phi", "phi")
    await store.add_battle(same)
    await store.cast_vote(vote(same, guess="phi"))
    found = await store.vote_table()
    assert found.has(VoteFlag.GUESSED_RIGHT).sum() == 1
    assert found.has(VoteFlag.GUESSED_WRONG).sum() == 1
    # What is kept of a battle does not hold what a voter may still add.
    await store.annotate_vote(made[2].id, VOTER, guess="phi")
    await store.annotate_vote(made[0].id, VOTER, guess="gemini")
    found = await store.vote_table()
    assert found.has(VoteFlag.GUESSED_RIGHT).sum() == 1
    assert found.has(VoteFlag.GUESSED_WRONG).sum() == 2
