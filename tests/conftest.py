"""What several test folders share."""

from __future__ import annotations

import gc
import hashlib
import random
import shutil
from collections.abc import AsyncGenerator
from pathlib import Path

import hypothesis
import pytest

from arena.presets import Preset, load_presets
from arena.store.store import VoteStore

ROOT = Path(__file__).parents[1]
MAKERS = (
    "arena/models/local/embedded.py",
    "arena/models/local/onnx/build.py",
    "requirements-cpu.txt",
)

# The same examples in every run, however busy the machine is.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.load_profile("suite")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Browser tests last.

    The quick ones fail first, and Playwright keeps an event loop running in this thread until the
    session ends, beside which no asyncio test can run.
    """
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)


def pytest_collection_finish() -> None:
    """What was imported and collected stays until the end: no later collection goes through it.

    An engine that stops collects garbage, which in a process full of tests took a second each time.
    """
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SQLite's file of a store that holds nothing yet: a copy of it needs no migrations."""
    file = tmp_path_factory.mktemp("empty") / "arena.db"
    VoteStore.open(f"sqlite:///{file}").database.close()
    return file


@pytest.fixture
async def store(tmp_path: Path, empty_store: Path) -> AsyncGenerator[VoteStore, None]:
    """A real store on disk."""
    shutil.copyfile(empty_store, tmp_path / "arena.db")
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
    return load_presets(ROOT / "prompts")


@pytest.fixture(scope="session")
def embedded_cache(pytestconfig: pytest.Config) -> Path:
    """Where the embedded model is converted to: once, for all processes that run tests.

    The folder's name changes with the code that fills it, so an old model is never tested.
    """
    code = hashlib.sha256(b"".join((ROOT / maker).read_bytes() for maker in MAKERS)).hexdigest()
    return pytestconfig.cache.mkdir(f"embedded-{code[:12]}")
