"""What several test folders share."""

from __future__ import annotations

import random
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from arena.presets import Preset, load_presets
from arena.votes.store import VoteStore


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last.

    The quick ones fail first, and Playwright keeps an event loop running in this thread until the
    session ends, beside which no asyncio test can run.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncGenerator[VoteStore, None]:
    """A real store on disk."""
    opened = VoteStore.open(f"sqlite:///{tmp_path / 'arena.db'}")
    yield opened
    await opened.aclose()


@pytest.fixture
def rng() -> random.Random:
    """Draws the same every time."""
    return random.Random(7)


@pytest.fixture(scope="session")
def presets() -> tuple[Preset, ...]:
    """The arena's own examples."""
    return load_presets(Path(__file__).parent.parent / "prompts")


@pytest.fixture(scope="session")
def embedded_cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the embedded model is converted to, once for all tests of a run."""
    return tmp_path_factory.mktemp("embedded")
