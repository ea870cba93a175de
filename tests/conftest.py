"""What several test folders share."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from arena.presets import Preset, load_presets
from arena.votes.store import VoteStore


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
