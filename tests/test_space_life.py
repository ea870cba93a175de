"""The life of a Space: its disk is gone at every restart, and its votes are not.

Real processes, ended by real signals, against a loopback Hub (`dataset/hub_server.py`).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.dataset.hub_server import DATASET, TOKEN, Hub, refuse, running_hub

ROOT = Path(__file__).parents[1]
_ids = count(1)


class Life:
    """One process of a Space, from its start to a signal."""

    def __init__(self, hub: Hub, disk: Path, part: str = "store", **settings: str) -> None:
        cache = Path(settings.get("ARENA_CACHE_DIR", str(disk / "cache")))
        self.folders = [disk, cache / "votes"]
        # What huggingface_hub keeps of its own is on this disk too.
        self.environment = {
            "HF_ENDPOINT": hub.url,
            "HF_HOME": str(disk / "hf"),
            "HF_TOKEN": TOKEN,
            "ARENA_VOTES_DATASET": DATASET,
            "ARENA_DATABASE_URL": f"sqlite:///{disk / 'arena.db'}",
            "ARENA_CACHE_DIR": str(cache),
            "ARENA_VOTES_PUSH_MINUTES": "0.005",
            "PYTHONPATH": str(ROOT),
            "PATH": os.environ["PATH"],
            "HOME": str(disk),
        } | settings
        self.process = subprocess.Popen(
            [sys.executable, "-W", "ignore", str(ROOT / "tests/dataset/space_worker.py"), part],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=self.environment, cwd=ROOT,
        )  # fmt: skip

    def ready(self) -> Life:
        assert self._line() == "ready"
        return self

    def ask(self, command: str, argument: str = "") -> Any:
        """What it says to that."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{command} {argument}".strip() + "\n")
        self.process.stdin.flush()
        return self._line()

    def vote(self, number: int) -> set[str]:
        """So many new votes; their battles."""
        names = [f"{next(_ids):032x}" for _ in range(number)]
        assert self.ask("vote", ",".join(names)) == names
        return set(names)

    def pushed(self) -> None:
        """Waits until it has heard that all is on the Hub."""
        end = time.monotonic() + 30
        while self.ask("state")["unpushed"]:
            assert time.monotonic() < end

    def _line(self) -> Any:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            assert self.process.stderr is not None
            pytest.fail(f"it ended with {self.process.wait()}: {self.process.stderr.read()}")
        return json.loads(line)

    def kill(self) -> None:
        """SIGKILL: nothing can be saved any more."""
        self.process.kill()
        self.process.communicate()

    def end(self) -> str:
        """SIGTERM, and what it said on the way out."""
        self.process.terminate()
        _, said = self.process.communicate(timeout=60)
        assert self.process.returncode == 0, said
        return said

    def lose_disk(self) -> None:
        for folder in self.folders:
            shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as server:
        yield server


@pytest.fixture
def live(hub: Hub, tmp_path: Path) -> Iterator[Callable[..., Life]]:
    """Starts a process on a disk of that name; none outlives the test."""
    lives: list[Life] = []

    def begin(disk: str, *arguments: str, **settings: str) -> Life:
        lives.append(Life(hub, tmp_path / disk, *arguments, **settings))
        return lives[-1].ready()

    yield begin
    for life in lives:
        life.kill()


def expected(votes: set[str]) -> dict[str, int]:
    """The tally of those votes, counted by hand."""
    found = Counter(("model_a", "model_b", "tie")[int(name, 16) % 3] for name in votes)
    return {f"phi gemini {winner}": number for winner, number in found.items()}


def test_every_pushed_vote_survives_a_kill_and_a_lost_disk(
    hub: Hub, live: Callable[..., Life]
) -> None:
    """Every pushed vote is counted once after kills with and without the disk."""
    first = live("disk")
    cast = first.vote(7)
    first.pushed()
    assert hub.votes() == cast
    hub.answers = refuse(503, "/commit/")  # the Hub takes no more
    late = first.vote(4)
    assert first.ask("state")["unpushed"] == 8  # each a battle and a vote
    first.kill()
    first.lose_disk()
    hub.answers = None

    acknowledged = hub.votes()
    second = live("disk")
    second.ask("settled")
    found = second.ask("contents")
    assert set(found["votes"]) == acknowledged == cast
    assert found["tally"] == expected(acknowledged)
    assert found["battles"] == len(found["votes"])
    # At most what came after the last push is missing, and nothing that was acknowledged.
    assert (cast | late) - set(found["votes"]) == late
    assert second.ask("again", next(iter(cast))) == "refused"

    cast |= second.vote(3)
    hub.answers = refuse(503, "/commit/")
    second.kill()  # and this time the disk stays
    hub.answers = None
    third = live("disk")
    third.ask("settled")
    assert set(third.ask("contents")["votes"]) == cast
    third.end()
    assert hub.votes() == cast
    # The file that was cut off by the kill may be there twice, as far as it had come; no other.
    assert len(cast) <= len(hub.lines("vote")) <= len(cast) + 3

    fourth = live("new-disk")
    fourth.ask("settled")
    found = fourth.ask("contents")
    assert set(found["votes"]) == cast
    assert found["tally"] == expected(cast)


def test_sigterm_pushes_the_last_votes(hub: Hub, live: Callable[..., Life]) -> None:
    """SIGTERM pushes the votes since the last tick."""
    space = live("disk", ARENA_VOTES_PUSH_MINUTES="1000")
    space.ask("settled")
    cast = space.vote(5)
    said = space.end()
    assert hub.votes() == cast
    assert TOKEN not in said
    space.lose_disk()
    again = live("disk")
    again.ask("settled")
    assert set(again.ask("contents")["votes"]) == cast


def test_a_command_pushes_its_decision(hub: Hub, live: Callable[..., Life]) -> None:
    """`arena exclude` copies what it decided before it ends, and says so where it could not."""
    space = live("disk")
    space.ask("settled")
    (voted,) = space.vote(1)
    space.end()

    def decide(*words: str) -> str:
        command = [sys.executable, "-m", "arena", "exclude", voted, *words]
        done = subprocess.run(
            command, env=space.environment, cwd=ROOT, capture_output=True, text=True, check=True
        )
        return done.stderr

    assert "not in the copy" not in decide("--why", "a bot")
    hub.answers = refuse(503, "/commit/")
    assert "1 changes are not in the copy yet" in decide("--undo")
    assert [(e["battle_id"], e["why"]) for e in hub.lines("exclusion")] == [(voted, "a bot")]


@pytest.mark.parametrize("how", ["SIGTERM", "leaves without a word"])
def test_a_silent_hub_does_not_keep_the_process(
    hub: Hub, live: Callable[..., Life], how: str
) -> None:
    """The end is bounded, whatever the Hub does; the disk keeps what was not pushed."""
    space = live("disk")
    space.ask("settled")
    with hub.held("/commit/"):
        space.vote(1)
        hub.until(lambda: hub.count("/commit/"))
        cast = space.vote(1)
        if how == "SIGTERM":
            said = space.end()
            assert "this disk alone" in said
        else:
            assert space.process.stdin is not None
            space.process.stdin.write("leave\n")
            space.process.stdin.flush()
            assert space.process.wait(60) == 7
    # The disk stayed, so the next life has all of it, and copies it.
    again = live("disk")
    again.ask("settled")
    again.end()
    assert hub.votes() > cast
    assert len(hub.votes()) == 2


@pytest.mark.slow
def test_the_whole_app_keeps_its_votes(
    hub: Hub, live: Callable[..., Life], embedded_cache: Path
) -> None:
    """The app starts, pushes and closes the copy."""
    settings = {"ARENA_CACHE_DIR": str(embedded_cache), "ARENA_LOCAL_MODEL": "embedded"}
    first = live("disk", "app", **settings)
    cast = first.vote(3)
    first.pushed()
    assert hub.votes() == cast
    first.kill()
    first.lose_disk()
    second = live("disk", "app", ARENA_VOTES_PUSH_MINUTES="1000", **settings)
    second.ask("settled")
    found = second.ask("contents")
    assert set(found["votes"]) == cast
    assert found["tally"] == expected(cast)
    cast |= second.vote(2)
    second.end()
    assert hub.votes() == cast
