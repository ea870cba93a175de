"""Writes made-up battles and votes into a new database, to look at the leaderboard.

    python -m bench.simulated_votes /tmp/five.db --models 5 --votes 5000

Every contestant says `(simulated)` in its label and in what served it, and the leaderboard says so
above everything else.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import secrets
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from arena import domain
from arena.leaderboard.names import SIMULATED
from arena.store.store import VoteStore, voter_hash

BATCH = 500
CATEGORIES = (*domain.Category, domain.Category.FREE, domain.Category.FREE)
PROMPTS = {"en": "Simulated question number {}.", "ja": "模擬の質問 {}。"}


@dataclass(frozen=True, slots=True)
class Made:
    """A made-up contestant.

    Attributes:
        strength: log-odds of being preferred.
        speed: tokens a second.
        first: seconds to the first text.
        price: US dollars per million generated tokens.
        tokens: length of an answer.
    """

    label: str
    provider: str
    strength: float
    speed: float
    first: float
    price: float
    tokens: int

    @property
    def spec(self) -> domain.ModelSpec:
        """As the registry would have it."""
        name = f"{self.label} {SIMULATED}"
        slug = self.label.lower().replace(" ", "-")
        return domain.ModelSpec(
            f"{slug}-simulated", name, self.provider, name, price_out=self.price
        )


MODELS = (
    Made("Phi-4-mini", "local", 0.0, 38.0, 0.35, 0.0, 310),
    Made("Gemini Pro", "google", 0.55, 92.0, 1.9, 12.0, 420),
    Made("Gemini Flash", "google", 0.3, 210.0, 0.6, 2.5, 380),
    Made("Qwen3 4B", "local", 0.1, 34.0, 0.4, 0.0, 360),
    Made("SmolLM2-135M", "local", -1.5, 96.0, 0.12, 0.0, 260),
)


def battle_and_vote(
    models: list[Made], rng: random.Random, now: datetime
) -> tuple[domain.Battle, domain.Vote]:
    """One of each, cast in the last sixty days."""
    a, b = rng.sample(models, 2)
    language = rng.choice(["ja", "ja", "en"])
    category = rng.choice(CATEGORIES)
    created = now - timedelta(days=60 * rng.random() ** 1.5)
    odds = (
        a.strength
        - b.strength
        + (0.8 if category is domain.Category.CODING else 0.0)
        * ((a.provider == "google") - (b.provider == "google"))
    )
    chance = 1.0 / (1.0 + 2.718281828 ** (-odds))
    winner = domain.Winner.MODEL_A if rng.random() < chance else domain.Winner.MODEL_B
    drawn = rng.random()
    if drawn < 0.22:
        winner = domain.Winner.TIE if drawn < 0.14 else domain.Winner.BOTH_BAD
    answers = [_answer(made, rng) for made in (a, b)]
    cut = any(answer.finished.reason is domain.FinishReason.LENGTH for answer in answers)
    mode = domain.Mode.OPEN if rng.random() < 0.12 else domain.Mode.BLIND
    flags = {
        flag
        for flag, on in (
            (domain.Flag.OPEN_MODE, mode is domain.Mode.OPEN),
            (domain.Flag.TRUNCATED, cut),
        )
        if on
    }
    voter = voter_hash("simulated", f"voter {int(rng.paretovariate(0.6))}")
    prompt = PROMPTS[language].format(rng.randrange(10_000_000))
    battle = domain.Battle(
        id=secrets.token_hex(16),
        mode=mode,
        language=language,
        ui_language=language,
        category=category,
        preset=None,
        params=domain.GenerationParams(seed=1),
        spec_a=a.spec,
        spec_b=b.spec,
        created_at=created,
        voter=voter,
        conversation_a=(domain.Exchange(prompt, answers[0]),),
        conversation_b=(domain.Exchange(prompt, answers[1]),),
        flags=frozenset(flags),
    )
    cast_at = created + timedelta(seconds=rng.uniform(25, 120))
    signed_in = rng.random() < 0.3
    guess = None
    if rng.random() < 0.25:  # some guess, and see a little through the blind
        known = battle.spec_a if rng.random() < 0.57 else battle.spec_b
        guess = None if known is None else known.id
    return battle, domain.Vote(battle.id, winner, voter, cast_at, guess=guess, signed_in=signed_in)


def _answer(made: Made, rng: random.Random) -> domain.Answer:
    tokens = max(8, int(rng.lognormvariate(0.0, 0.45) * made.tokens))
    speed = made.speed * rng.uniform(0.8, 1.2)
    first = made.first * rng.uniform(0.7, 1.6)
    finished = domain.Finished(
        reason=domain.FinishReason.LENGTH if rng.random() < 0.03 else domain.FinishReason.STOP,
        prompt_tokens=40,
        completion_tokens=tokens,
        ttft_s=first,
        total_s=first + tokens / speed,
        served_model=f"{made.label} {SIMULATED}",
    )
    text = "Simulated answer. " * (tokens // 4 + 1)
    return domain.Answer(text, finished, tokens * made.price / 1e6)


async def write(path: Path, models: int, votes: int, seed: int) -> None:
    """Fill a new database.

    Raises:
        FileExistsError: there is a file of that name, perhaps with votes that people cast.
    """
    await asyncio.to_thread(path.touch, exist_ok=False)
    rng, now = random.Random(seed), datetime.now(UTC)  # noqa: S311 - no secrets here
    store = await asyncio.to_thread(VoteStore.open, f"sqlite:///{path}")
    try:
        for begin in range(0, votes, BATCH):
            made = [
                battle_and_vote(list(MODELS[:models]), rng, now)
                for _ in range(min(BATCH, votes - begin))
            ]
            battles, cast = [battle for battle, _ in made], [vote for _, vote in made]
            await store.restore(battles, cast, ())
    finally:
        await store.aclose()


def main() -> None:
    """Read the arguments and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", type=Path, help="a new SQLite file")
    parser.add_argument("--models", type=int, default=2, choices=range(2, len(MODELS) + 1))
    parser.add_argument("--votes", type=int, default=30)
    parser.add_argument("--seed", type=int, default=1)
    chosen = parser.parse_args()
    asyncio.run(write(chosen.file, chosen.models, chosen.votes, chosen.seed))
    print(f"{chosen.votes} simulated votes written to {chosen.file}")


if __name__ == "__main__":
    main()
