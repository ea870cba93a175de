"""Texts that are erased leave the copy on the Hub, its history too, and never come back from it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from arena.battle.limits import Visitor
from arena.battle.own_texts import OwnTexts
from arena.dataset.hub_repository import encode_line
from arena.domain import Battle, Exchange
from arena.errors.store import BackupFailed
from tests.battle.arenas import arena_of
from tests.dataset.hub_server import Hub, refuse
from tests.dataset.hub_space import Space, files, space
from tests.vote_samples import NOON, VOTER, answer, battle, vote

SECRET = "himitsu"


def history(hub: Hub) -> bytes:
    """All that the repository holds at any commit."""
    return b"".join(content for _, tree in hub.repo.commits for content in tree.values())


def telling() -> Battle:
    talk = (Exchange(f"{SECRET}?", answer(SECRET)),)
    return battle(conversation_a=talk, conversation_b=talk, system_prompt=SECRET)


async def told(made: Space) -> Battle:
    """A battle with its vote, pushed in several files as it grows."""
    one = telling()
    await made.store.add_battle(replace(one, conversation_b=(Exchange(f"{SECRET}?"),)))
    await made.copy.push()
    await made.store.update_battle(one)
    await made.store.cast_vote(vote(one, "tie"))
    await made.copy.push()
    await made.store.annotate_vote(one.id, VOTER, comment=SECRET)
    await made.copy.push()
    return one


async def test_the_texts_leave_files_and_history(hub: Hub, one: Space, tmp_path: Path) -> None:
    """Everything else stays, and a store that is restored from it is the same."""
    (other,) = await one.voted()
    made = await told(one)
    assert SECRET.encode() in history(hub)
    assert await one.store.erase([made.id]) == 1
    await one.copy.erase()
    assert SECRET.encode() not in history(hub)
    assert len(hub.repo.commits) == 1
    assert hub.votes() == {made.id, other.id}
    before = await one.contents()
    async with space(hub, tmp_path / "two") as two:
        assert await two.contents() == before
        assert two.state.unpushed == 0
    squashed = hub.count("super-squash")
    await one.copy.erase()
    assert hub.count("super-squash") == squashed == 1, "nothing new is erased"


async def test_what_a_visitor_deletes_leaves_the_copy_too(hub: Hub, one: Space) -> None:
    """Only the visitor's own; the copy's next hourly look takes it out."""
    made = await told(one)
    other = replace(telling(), id="e" * 32, voter="e" * 64, system_prompt="not mine")
    await one.store.add_battle(other)
    own = OwnTexts(arena_of(one.store))
    found = await own.found(Visitor(VOTER))
    assert await own.erase(Visitor(VOTER), found.ids) == 1
    await one.copy.erase()
    assert made.id.encode() in history(hub)
    lines = [line for line in history(hub).splitlines() if SECRET.encode() in line]
    assert lines
    assert all(b"not mine" in line for line in lines)


async def test_an_old_disk_neither_brings_them_back_nor_keeps_them(
    hub: Hub, one: Space, tmp_path: Path
) -> None:
    """A store of before the erasure that starts on the copy erases its own."""
    made = await told(one)
    async with space(hub, tmp_path / "old"):
        pass
    await one.store.erase([made.id])
    await one.copy.erase()
    async with space(hub, tmp_path / "old") as old:
        assert SECRET not in str(await old.contents())
        assert old.state.unpushed == 0
        await old.copy.erase()
    assert SECRET.encode() not in history(hub)


async def test_lines_of_another_process_count_less_than_the_mark(
    hub: Hub, one: Space, tmp_path: Path
) -> None:
    """A longer line, a later one, a comment, a line that is broken: whatever comes after it."""
    made = await told(one)
    await one.store.erase([made.id])
    await one.copy.push()
    longer = replace(made, conversation_a=(*made.conversation_a, Exchange("", answer(SECRET))))
    late = NOON.replace(year=2090)
    cut = encode_line(made, NOON)[:-9] + b"\n"
    said = encode_line(vote(made, "tie", comment=SECRET), late)
    hub.put("data/of-another.jsonl", encode_line(longer, late) + said + cut)
    await one.copy.erase()
    assert SECRET.encode() not in history(hub)
    assert hub.votes() == {made.id}
    async with space(hub, tmp_path / "two") as two:
        assert await two.contents() == await one.contents()


async def test_what_failed_is_done_later(hub: Hub, tmp_path: Path) -> None:
    """Also by another process on the same disk: the store knows what is still due."""
    async with space(hub, tmp_path) as one:
        made = await told(one)
        await one.store.erase([made.id])
        hub.answers = refuse(503, "super-squash")
        with pytest.raises(BackupFailed):
            await one.copy.erase()
        assert one.state.error is not None
        hub.answers = None
        assert SECRET.encode() in history(hub)
    async with space(hub, tmp_path, every_minutes=0.001) as again:
        await again.until(lambda: hub.count("super-squash") and len(hub.repo.commits) == 1)
        assert again.state.error is None
    assert SECRET.encode() not in history(hub)


async def test_an_upgrade_copies_nothing_again(hub: Hub, tmp_path: Path) -> None:
    """Lines of before the mark was known are the same record."""
    line = encode_line(battle(), NOON).replace(b',"erased":null', b"")
    hub.put("data/old.jsonl", line)
    async with space(hub, tmp_path) as one:
        assert (await one.store.counts()).battles == 1
        assert one.state.unpushed == 0
    assert files(hub) == {"data/old.jsonl"}
