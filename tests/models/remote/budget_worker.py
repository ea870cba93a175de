"""A process that asks Gemini as often as it is told, within the budget in the store.

    budget_worker.py <number of calls>          its settings are in the environment

Says `ready`, waits for a line, asks all at once, and prints how many were answered and refused.
"""

from __future__ import annotations

import asyncio
import sys

from arena.domain import Finished, GenerationParams, Message, Role
from arena.errors.models import BudgetSpent
from arena.models.base import ChatModel
from arena.models.registry import build_registry
from arena.settings import load_settings
from arena.store.store import VoteStore

PARAMS = GenerationParams(max_new_tokens=100)


async def ask(model: ChatModel) -> bool:
    """Whether one question was answered; False where the budget refused it."""
    try:
        async for event in model.stream((Message(Role.USER, "Why?"),), PARAMS):
            if isinstance(event, Finished):
                return True
    except BudgetSpent:
        return False
    raise AssertionError("the stream had no end")


def say(line: str) -> None:
    """One line to whoever started this."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


async def main(calls: int) -> None:
    """All calls at once."""
    settings = load_settings()
    store = VoteStore.open(settings.database_url)
    model = build_registry(settings, store)["gemini"].model
    await model.start()
    say("ready")
    await asyncio.to_thread(sys.stdin.readline)
    answered = await asyncio.gather(*(ask(model) for _ in range(calls)))
    say(f"{sum(answered)} {calls - sum(answered)}")
    await model.aclose()
    await store.aclose()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
