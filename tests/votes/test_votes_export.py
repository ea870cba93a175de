"""An export is whole, readable by others' tools, and leads back to nobody."""

from __future__ import annotations

import io
import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from vote_samples import NOON, VOTER, answer, battle, vote

from arena.domain import Exchange
from arena.errors import StoreError
from arena.votes.export import export_jsonl
from arena.votes.store import VoteStore, voter_hash


async def exported(store: VoteStore, salt: str | None = None) -> list[dict[str, Any]]:
    stream = io.StringIO()
    number = await export_jsonl(store, stream, salt)
    lines = [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]
    assert len(lines) == number
    return lines


async def test_lines_have_lmarena_names(store: VoteStore) -> None:
    """Tools for the LMArena sets found other columns; an open battle looked like a lost vote."""
    failed = answer("", reason="error", error_code="network")
    # Line separators of Unicode are not ends of lines in JSON Lines.
    talk = (Exchange("一\u2028つ", answer("答"), (failed,)), Exchange("二つ"))
    made = battle("phi", "gem")
    later = battle(
        "phi", None, conversation_a=talk, created_at=NOON + timedelta(hours=1), preset=None
    )
    await store.add_battle(later)
    await store.add_battle(made)
    await store.cast_vote(vote(made, "both_bad", reasons=("wrong",), comment="残念"))
    voted, alone = await exported(store, "salt")
    lmarena = ("id", "model_a", "model_b", "winner", "category_tag", "language", "timestamp")
    assert [voted[name] for name in lmarena] == [
        made.id, "phi", "gem", "both_bad", "math", "ja", "2025-06-01T12:00:00+00:00",
    ]  # fmt: skip
    assert voted["conversation_b"] == [
        {"role": "user", "content": "1+1は？"},
        {"role": "assistant", "content": "答え"},
    ]
    assert (voted["reasons"], voted["comment"]) == (["wrong"], "残念")
    assert voted["voter"] == voter_hash("salt", VOTER)
    assert voted["params"]["seed"] == 42
    assert voted["turns_a"][0]["finished"]["served_model"] == "v1"
    assert (alone["model_b"], alone["winner"], alone["conversation_b"]) == (None, None, [])
    assert [m["content"] for m in alone["conversation_a"]] == ["一\u2028つ", "答", "二つ"]
    assert alone["turns_a"][0]["failed"][0]["finished"]["error_code"] == "network"
    assert alone["turns_a"][1] == {"finished": None, "cost_usd": None, "failed": []}
    assert voted.keys() == alone.keys()


async def test_voters_are_hashed_again(store: VoteStore) -> None:
    """Whoever had the store's salt could find one visitor's lines in a published file."""
    for _ in range(2):
        await store.add_battle(battle())
    first, second = await exported(store), await exported(store)
    assert first[0]["voter"] == first[1]["voter"]
    assert len({VOTER, first[0]["voter"], second[0]["voter"]}) == 3


async def test_file_is_the_old_one_or_the_new_one(store: VoteStore, tmp_path: Path) -> None:
    """A failure in the middle left half an export in the place of a good one."""
    target = tmp_path / "out" / "votes.jsonl"
    made = battle(voter="c" * 64)
    await store.add_battle(made)
    assert await export_jsonl(store, target) == 1
    good = target.read_bytes()
    assert json.loads(good)["id"] == made.id
    await store.add_battle(battle(created_at=NOON + timedelta(hours=1)))
    with store._writer.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE battles SET mode = 'broken' WHERE voter != ?", ("c" * 64,)
        )
    with pytest.raises(StoreError):
        await export_jsonl(store, target)
    assert target.read_bytes() == good
    assert list(target.parent.iterdir()) == [target]


async def test_path_that_cannot_be_written_is_named(store: VoteStore, tmp_path: Path) -> None:
    """A wrong path ended in a traceback."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        await export_jsonl(store, tmp_path / "file" / "votes.jsonl")
    assert "votes.jsonl" in caught.value.remedy_text
