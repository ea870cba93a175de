"""The copy on the Hub: whole, and the way back from it.

The real huggingface_hub talks to a loopback server (`hub_server.py`).
"""

from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from arena.dataset import hub as module
from arena.dataset.hub import derived_salt, make_hub_dataset
from arena.dataset.hub_repository import encode_line
from arena.domain import Exchange, Exclusion, Reason, Side
from arena.errors.base import SettingsError
from arena.store.changes import CopyState
from arena.store.store import VoteStore
from tests.dataset.hub_server import DATASET, TOKEN, Hub
from tests.dataset.hub_space import (
    ROOT,
    files,
    space,
)
from tests.environment import settings_from
from tests.store_tools import excluded_in, pairs_of
from tests.vote_samples import NOON, VOTER, answer, battle, vote

# --- there and back ----------------------------------------------------------------------------


async def test_everything_comes_back(hub: Hub, tmp_path: Path) -> None:
    """Battles with and without a vote, words of a vote, decisions; voters as the store has them."""
    async with space(hub, tmp_path / "one") as one:
        kept = await one.voted(3)
        odd = battle(system_prompt="a\x00b\u2028\ud800", provenance={"x": {"y\n": "z"}})
        await one.store.add_battle(odd)
        await one.store.cast_vote(vote(odd, "tie", signed_in=True))
        await one.store.annotate_vote(
            kept[0].id, VOTER, comment="改行\n\n", reasons=(Reason.CLEAR,)
        )
        await one.store.add_battle(battle("phi", None))
        await one.store.add_battle(battle(conversation_a=(Exchange("1+1は？"),)))
        lifted = Exclusion(kept[2].id, "not sure", NOON)
        later = replace(lifted, decided_at=NOON + timedelta(1), lifted=True)
        for decision in (Exclusion(kept[1].id, "a bot", NOON), lifted, later):
            await one.store.add_exclusion(decision)
        before = await one.contents()
    assert len(hub.votes()) == 4
    assert hub.repo.private
    async with space(hub, tmp_path / "two") as two:
        assert await two.contents() == before
        assert list(await excluded_in(two.store)) == [kept[1].id]
        assert (two.state.error, two.state.restoring) == (None, False)


async def test_nothing_is_restored_or_copied_twice(hub: Hub, tmp_path: Path) -> None:
    """A restart adds nothing, neither here nor there."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(3)
    first = files(hub)
    for disk in ("two", "one", "two"):
        async with space(hub, tmp_path / disk) as again:
            counts = await again.store.counts()
            assert (counts.battles, counts.votes) == (3, 3)
            assert again.state.unpushed == 0
    assert files(hub) == first
    assert len(hub.lines("battle")) == len(hub.lines("vote")) == 3


async def test_what_the_owner_removed_stays_removed(hub: Hub, tmp_path: Path) -> None:
    """A store is restored once in its life."""
    async with space(hub, tmp_path / "one") as one:
        gone, stays = await one.voted(2)
        with one.store.database.writer.begin() as connection:
            for table, column in (("votes", "battle_id"), ("battles", "id")):
                connection.exec_driver_sql(f"DELETE FROM {table} WHERE {column} = ?", (gone.id,))  # noqa: S608
    async with space(hub, tmp_path / "one") as again:
        assert await again.store.get_battle(gone.id) is None
        assert await again.store.get_vote(stays.id) is not None


async def test_store_and_copy_each_get_what_they_lack(hub: Hub, tmp_path: Path) -> None:
    """Also where the copy is turned on after people have voted."""
    async with space(hub, tmp_path / "one") as one:
        theirs = await one.voted(2)
    without = VoteStore.open(f"sqlite:///{tmp_path / 'two' / 'arena.db'}")
    mine = battle()
    await without.add_battle(mine)
    await without.cast_vote(vote(mine))
    await without.aclose()
    async with space(hub, tmp_path / "two") as two:
        counts = await two.store.counts()
        assert (counts.battles, counts.votes) == (3, 3)
    assert hub.votes() == {mine.id, *(b.id for b in theirs)}


async def test_an_old_disk_does_not_undo_what_was_added_to_a_vote(hub: Hub, tmp_path: Path) -> None:
    """A process that starts on an older disk pushes no vote that the copy has with more words."""
    async with space(hub, tmp_path / "one") as one:
        (made,) = await one.voted()
        await one.copy.push()
        async with space(hub, tmp_path / "old"):
            pass
        await one.store.annotate_vote(made.id, made.voter, comment="better")
    async with space(hub, tmp_path / "old"):
        pass
    async with space(hub, tmp_path / "new") as new:
        cast = await new.store.get_vote(made.id)
    assert cast is not None
    assert cast.comment == "better"


async def test_processes_share_a_dataset(hub: Hub, tmp_path: Path) -> None:
    """Each push is a file of its own, which no other process writes."""
    async with space(hub, tmp_path / "one") as one, space(hub, tmp_path / "two") as two:
        ours = [*await one.voted(2), *await two.voted(3, "tie")]
        await one.copy.push()
        await two.copy.push()
        ours += [*await one.voted(1), *await two.voted(1)]
    assert len(files(hub)) == 4
    hub.page = 2  # the Hub lists a long tree in pages
    async with space(hub, tmp_path / "three") as three:
        assert {b.id for b, v in await pairs_of(three.store) if v} == {b.id for b in ours}


async def test_more_than_a_file_holds_goes_in_several(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that no file is one for the Hub's large-file storage."""
    monkeypatch.setattr(module, "FILE_BYTES", 100)
    monkeypatch.setattr(module, "BATCH", 2)
    async with space(hub, tmp_path / "one") as one:
        await one.voted(3)
        await one.copy.push()
        assert one.state.unpushed == 0
        before = await one.contents()
    assert len(files(hub)) == 3
    async with space(hub, tmp_path / "two") as two:
        assert await two.contents() == before


async def test_the_newest_line_of_a_record_counts(hub: Hub, tmp_path: Path) -> None:
    """In whatever file it stands; a battle's line with more answers is newer by any clock."""
    begun = battle(conversation_a=(Exchange("1+1は？"),))
    failed = begun.with_conversation(Side.A, (Exchange("1+1は？", answer("", reason="error")),))
    retried = begun.with_conversation(
        Side.A, (Exchange("1+1は？", answer("2"), (answer("", reason="error"),)),)
    )
    later = NOON + timedelta(hours=1)
    hub.put("data/1.jsonl", encode_line(retried, NOON))
    hub.put("data/2.jsonl", encode_line(failed, later) + encode_line(begun, later))
    cast = vote(retried)
    noted = replace(cast, comment="because")
    hub.put("data/3.jsonl", encode_line(noted, later) + encode_line(cast, NOON))
    async with space(hub, tmp_path / "one") as one:
        assert await one.store.get_battle(begun.id) == retried
        assert await one.store.get_vote(begun.id) == noted
        assert one.state.unpushed == 0
    assert len(files(hub)) == 3


async def test_what_the_copy_lacks_is_pushed_at_the_next_start(hub: Hub, tmp_path: Path) -> None:
    """Whatever was written without a push: a crash may come between the two."""
    made = battle()
    async with space(hub, tmp_path / "one") as one:
        await one.store.add_battle(made)
        await one.voted(1)
    unheard = VoteStore.open(f"sqlite:///{tmp_path / 'one' / 'arena.db'}")
    await unheard.cast_vote(vote(made, "both_bad"))
    await unheard.add_exclusion(Exclusion(made.id, "a bot", NOON))
    await unheard.aclose()
    async with space(hub, tmp_path / "one") as again:
        before = await again.contents()
        assert len(hub.lines("battle")) == len(hub.lines("vote")) == 2
    async with space(hub, tmp_path / "two") as two:
        assert await two.contents() == before


async def test_a_restore_that_breaks_off_is_not_taken_for_whole(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The mark comes with the last of it, and the next attempt brings the rest."""
    async with space(hub, tmp_path / "one") as one:
        await one.voted(3)
        before = await one.contents()
    monkeypatch.setattr(module, "BATCH", 2)
    calls = 0
    whole = VoteStore.restore

    async def restore(self: VoteStore, *given: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            assert await self.get_meta(f"restored:{DATASET}") is None
            assert (await self.counts()).battles == 2
            raise OSError(errno.EIO, "the disk")
        return await whole(self, *given)

    monkeypatch.setattr(VoteStore, "restore", restore)
    async with space(hub, tmp_path / "two") as two:
        assert calls == 2 + 2 + 2
        assert await two.contents() == before
        assert await two.store.get_meta(f"restored:{DATASET}") is not None


# --- settings ----------------------------------------------------------------------------------


async def test_settings_choose_the_copy(tmp_path: Path) -> None:
    """No dataset, no copy; a dataset without a token stops the start."""
    store = VoteStore.open(f"sqlite:///{tmp_path / 'arena.db'}")
    assert make_hub_dataset(settings_from({"HF_TOKEN": TOKEN}), store) is None
    assert store.copy_state() == CopyState()
    values = {
        "ARENA_VOTES_DATASET": DATASET,
        "HF_TOKEN": TOKEN,
        "ARENA_CACHE_DIR": str(tmp_path),
        "ARENA_VOTES_PUSH_MINUTES": "0.5",
    }
    copy = make_hub_dataset(settings_from(values), store)
    assert copy is not None
    assert store.copy_state() == CopyState(place=DATASET)
    await copy.aclose()
    del values["HF_TOKEN"]
    with pytest.raises(SettingsError) as caught:
        make_hub_dataset(settings_from(values), store)
    assert "HF_TOKEN" in caught.value.sentence
    assert "ARENA_VOTES_DATASET" in caught.value.sentence
    await store.aclose()


def test_salt_lasts_as_long_as_the_token() -> None:
    """A voter is known again after a lost disk, so it must never change."""
    salt = derived_salt(TOKEN)
    assert salt == derived_salt(TOKEN) != derived_salt(TOKEN + "2")
    assert len(salt) == 64
    assert TOKEN not in salt
    assert derived_salt("hf_x") == (
        "438dfff9e33db17678a1bcb59fa46762c292dd9bbea99c1e3099a896f3f7bc7f"
    )


def test_no_library_is_loaded_where_no_copy_is_kept() -> None:
    """Commands and battles do without the Hub's library."""
    code = "import sys, arena.cli, arena.battle.arena; print('huggingface_hub' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert done.stdout.strip() == "False"
