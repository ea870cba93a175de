"""Battles and votes as JSON Lines: LMArena's field names where it has one, ours beside them."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

from arena.domain import Battle, Conversation, Role, Side, Vote
from arena.votes.codec import Plain, clean, encode_battle, encode_vote
from arena.votes.engine import store_errors
from arena.votes.store import VoteStore, voter_hash

_BATCH = 50


async def export_jsonl(store: VoteStore, target: Path | TextIO, salt: str | None = None) -> int:
    """Writes one line per battle, oldest first.

    Voters are hashed again: who reads the export can tell one visitor from another, but even with
    the store's salt can't find a given one.

    Args:
        store: where the battles are.
        target: a path, which holds the old file or the whole new one, never a part; or a stream.
        salt: of the voters' second hash; None draws one that nobody keeps.

    Returns:
        The number of lines.

    Raises:
        StoreError: the store can't be read, or the path can't be written.
    """
    salt = secrets.token_hex(32) if salt is None else salt
    if not isinstance(target, Path):
        return await _write_lines(store, target, salt)
    with store_errors(str(target)):
        async with _replacing(target) as stream:
            return await _write_lines(store, stream, salt)


async def _write_lines(store: VoteStore, stream: TextIO, salt: str) -> int:
    number, batch = 0, list[str]()
    async for battle, vote in store.iter_battles():
        record = export_record(battle, vote, salt)
        batch.append(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n")
        number += 1
        if len(batch) == _BATCH:
            await asyncio.to_thread(stream.writelines, batch)
            batch = []
    await asyncio.to_thread(stream.writelines, batch)
    return number


@asynccontextmanager
async def _replacing(path: Path) -> AsyncIterator[TextIO]:
    """A stream whose text takes the path's place when all of it is on disk."""
    stream = await asyncio.to_thread(_beside, path)
    part = Path(stream.name)
    try:
        with stream:
            yield stream
            await asyncio.to_thread(_flush, stream)
        await asyncio.to_thread(part.replace, path)
    finally:
        await asyncio.to_thread(part.unlink, missing_ok=True)


def _beside(path: Path) -> TextIO:
    """A new file in the same folder: only there is a rename one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")
    return part.open("x", encoding="utf-8", newline="\n")


def _flush(stream: TextIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())


def export_record(battle: Battle, vote: Vote | None, salt: str) -> Plain:
    """One line: LMArena's fields first, then ours."""
    record = encode_battle(battle)
    ballot = encode_vote(vote) if vote is not None else {}
    line: Plain = {
        "id": record["id"],
        "model_a": battle.spec_a.id,
        "model_b": None if battle.spec_b is None else battle.spec_b.id,
        "winner": ballot.get("winner"),
        "conversation_a": _messages(battle.conversation_a),
        "conversation_b": _messages(battle.conversation_b),
        "category_tag": record["category"],
        "language": record["language"],
        "timestamp": record["created_at"],
        "voter": voter_hash(salt, battle.voter),
        "voted_at": ballot.get("cast_at"),
        "reasons": ballot.get("reasons"),
        "comment": ballot.get("comment"),
        "guess": ballot.get("guess"),
    }
    ours = ("mode", "ui_language", "preset", "params", "system_prompt", "flags", "provenance")
    line |= {name: record[name] for name in ours}
    for side in Side:
        line[f"spec_{side}"] = record[f"spec_{side}"]
        line[f"turns_{side}"] = [_turn(turn) for turn in record[f"conversation_{side}"]]
    return line


def _messages(conversation: Conversation) -> list[dict[str, str]]:
    """The turns as roles and contents; a failed answer's text is what the visitor saw of it."""
    messages: list[dict[str, str]] = []
    for turn in conversation:
        messages.append({"role": Role.USER.value, "content": clean(turn.prompt)})
        if turn.answer is not None:
            messages.append({"role": Role.ASSISTANT.value, "content": clean(turn.answer.text)})
    return messages


def _turn(turn: Plain) -> Plain:
    """How a turn went, without the texts that the messages hold already."""
    answer = turn["answer"] or {}
    return {
        "finished": answer.get("finished"),
        "cost_usd": answer.get("cost_usd"),
        "failed": turn["failed"],
    }
