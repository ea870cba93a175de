"""The commands of `python -m arena` on a real store."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from arena.cli import main
from arena.store.store import VoteStore
from tests.vote_samples import VOTER, battle, vote

ROOT = Path(__file__).parents[1]
OURS = ("ARENA_", "HF_", "SPACE")


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """The settings' store, with three votes in it; no other setting of this machine counts."""
    for name in [name for name in os.environ if name.startswith(OURS)]:
        monkeypatch.delenv(name)
    url = f"sqlite:///{tmp_path / 'arena.db'}"
    monkeypatch.setenv("ARENA_DATABASE_URL", url)
    monkeypatch.setenv("ARENA_LANGUAGE", "en")
    asyncio.run(fill(url))
    return url


async def fill(url: str) -> None:
    """Three battles, each with its vote for side a."""
    store = VoteStore.open(url)
    for number in range(3):
        fought = battle(id=f"{number:032x}")
        await store.add_battle(fought)
        await store.cast_vote(vote(fought))
    await store.aclose()


def board(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """The leaderboard as a program reads it."""
    capsys.readouterr()
    assert main(["leaderboard", "--json"]) == 0
    return dict(json.loads(capsys.readouterr().out))


def left_out(capsys: pytest.CaptureFixture[str]) -> int:
    """How many votes the owner left out, as the funnel says it."""
    funnel = board(capsys)["funnel"]
    assert isinstance(funnel, list)
    return int(sum(step["removed"].get("excluded", 0) for step in funnel))


def test_an_excluded_vote_is_kept_and_can_count_again(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Excluding deletes nothing, reaches the statistics, and can be undone."""
    assert left_out(capsys) == 0
    assert main(["exclude", f"{1:032x}", "--why", "a bot"]) == 0
    assert "kept" in capsys.readouterr().err
    assert left_out(capsys) == 1
    assert board(capsys)["all_votes"] == 3
    assert main(["exclude", f"{1:032x}", "--undo"]) == 0
    assert left_out(capsys) == 0


def test_a_vote_that_can_be_taken_back_is_in_nothing(url: str, tmp_path: Path) -> None:
    """While one process has a pending vote, exports and numbers of another do not know it."""

    def said(*words: str) -> str:
        command = [sys.executable, "-m", "arena", *words]
        return subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout

    async def around() -> list[str]:
        store = VoteStore.open(url)
        fought = battle(id="f" * 32)
        await store.add_battle(fought)
        until = datetime.now(UTC) + timedelta(hours=1)
        await store.cast_vote(vote(fought, "both_bad"), until)
        pending = await asyncio.to_thread(look)
        await store.finalise_votes(until)
        final = await asyncio.to_thread(look)
        await store.aclose()
        return [pending, final]

    def look() -> str:
        rows = [json.loads(line) for line in said("export").splitlines()]
        winners = [row["winner"] for row in rows if row["id"] == "f" * 32]
        pairs = said("export", "--shape", "lmarena-140k").splitlines()
        return f"{winners} {len(pairs)} {json.loads(said('leaderboard', '--json'))['all_votes']}"

    assert asyncio.run(around()) == ["[None] 3 3", "['both_bad'] 4 4"]


def everything(folder: Path) -> bytes:
    """All bytes of the store's files."""
    return b"".join(path.read_bytes() for path in sorted(folder.glob("arena.db*")))


@pytest.mark.parametrize("target", [f"{1:032x}", VOTER])
def test_forgotten_texts_are_gone_and_the_leaderboard_is_the_same(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], target: str
) -> None:
    """Not a byte of them is in the file, and not a digit of the leaderboard has changed."""
    before = board(capsys)
    answers = "正解".encode()
    assert json.dumps("正解").encode() in everything(tmp_path) or answers in everything(tmp_path)
    assert main(["forget", target, "--yes"]) == 0
    said = capsys.readouterr().err
    assert ("1 battles" if target != VOTER else "3 battles") in said
    assert everything(tmp_path).count(answers) == (2 if target != VOTER else 0)
    after = board(capsys)
    for report in (before, after):
        report.pop("made_at", None)
    assert after == before
    file = tmp_path / "votes.jsonl"
    assert main(["export", str(file)]) == 0
    assert "erased" in capsys.readouterr().err
    assert len(file.read_text("utf-8").splitlines()) == (2 if target != VOTER else 0)
    assert main(["forget", target, "--yes"]) == 0, "doing it again is harmless"


@pytest.mark.parametrize(("said", "expected"), [("y\n", (0, 2)), ("n\n", (1, 3)), ("", (1, 3))])
def test_forgetting_asks_first(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, expected: tuple[int, int]
) -> None:
    """Without --yes it shows what there is, and removes nothing unless told so."""
    monkeypatch.setattr("sys.stdin", io.StringIO(said))
    code = main(["forget", f"{1:032x}"])
    assert (code, everything(tmp_path).count("正解".encode())) == expected


def test_only_a_battle_or_a_voter_is_forgotten(
    url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is neither an id nor a hash is refused; one that is not known is an error."""
    with pytest.raises(SystemExit):
        main(["forget", "somebody", "--yes"])
    assert main(["forget", "f" * 32, "--yes"]) == 2
    assert main(["forget", "f" * 64, "--yes"]) == 2
    assert capsys.readouterr().err.count("not known") == 2


def test_a_wrong_id_is_an_error_with_a_code(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """An unknown id ends with code 2 and a sentence."""
    assert main(["exclude", "nothing", "--why", "a bot"]) == 2
    assert capsys.readouterr().err.strip()


def test_move_and_export_say_what_they_did(
    url: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Moving reports counts and a hash; what was exported can be imported again."""
    target = f"sqlite:///{tmp_path / 'new.db'}"
    assert main(["move", target]) == 0
    said = capsys.readouterr().err
    assert "3 battles" in said
    assert "3 votes" in said
    assert "SHA-256" in said
    file = tmp_path / "votes.jsonl"
    assert main(["export", str(file)]) == 0
    assert len(file.read_text("utf-8").splitlines()) == 3
    assert main(["import", str(file), "--source", "elsewhere"]) == 0, "doing it again is harmless"


def test_who_reads_only_the_beginning_sees_no_traceback(url: str) -> None:
    """A closed pipe, as with `| head`, ends the command without a traceback."""
    child = subprocess.Popen(
        [sys.executable, "-m", "arena", "leaderboard"], cwd=ROOT,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert child.stdout is not None
    assert child.stderr is not None
    child.stdout.close()
    said = child.stderr.read()
    child.stderr.close()
    child.wait(60)
    assert b"Traceback" not in said
    assert b"Exception ignored" not in said
