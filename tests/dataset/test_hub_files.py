"""Lines and files of the copy on the Hub, and how files are merged.

The real huggingface_hub talks to a loopback server (`hub_server.py`).
"""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from huggingface_hub.errors import HfHubHTTPError
from hypothesis import given
from hypothesis import strategies as st

from arena.dataset.hub_repository import HubRepository, decode_line, encode_line
from arena.domain import Exclusion
from arena.errors.store import BackupFailed
from arena.store.changes import Record
from arena.store.serialization import RecordError
from tests.dataset.hub_server import DATASET, TOKEN, Hub, Reply
from tests.dataset.hub_space import (
    files,
    space,
)
from tests.vote_samples import NOON, battle, battles, hexes, moments, texts, vote
from tests.vote_samples import votes as sampled_votes

# --- lines -------------------------------------------------------------------------------------

exclusions = st.builds(
    Exclusion, battle_id=hexes(32), why=texts, decided_at=moments, lifted=st.booleans()
)
records = battles | sampled_votes | exclusions


@given(record=records, at=moments)
def test_a_line_is_one_line_and_comes_back(record: Record, at: datetime) -> None:
    """Whatever the texts hold, such as the end of a line."""
    line = encode_line(record, at)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back, version = decode_line(line)
    assert version.at == at
    assert encode_line(back, at) == line


@given(record=records, data=st.data())
def test_a_part_of_a_line_is_not_a_line(record: Record, data: st.DataObject) -> None:
    """A record without its end never reads as a record."""
    line = encode_line(record, NOON).rstrip(b"\n")
    with pytest.raises(RecordError):
        decode_line(line[: data.draw(st.integers(0, len(line) - 1))])


EXCLUSION = b'{"kind":"exclusion","at":"2025-06-01T12:00:00+00:00","record":%s}'


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'{"kind":"vote"}',
        b'{"kind":"vote","at":"2025-06-01T12:00:00+00:00","record":[7]}',
        b'{"kind":"vote","at":"noon","record":{}}',
        b'{"kind":"vote","at":"2025-06-01T12:00:00","record":{}}',
        b'{"kind":"exclusion","at":7,"record":{}}',
        EXCLUSION % b'{"battle_id":"a","why":"b","decided_at":"2025-06-01T12:00:00","lifted":true}',
        EXCLUSION % b'{"battle_id":"a","why":"b","decided_at":"2025-06-01T12:00:00Z","lifted":1}',
        EXCLUSION % b'{"battle_id":"a","why":2,"decided_at":"2025-06-01T12:00:00Z","lifted":true}',
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    """Before it comes near the store."""
    with pytest.raises(RecordError):
        decode_line(line)


# --- broken lines, and files that are merged ----------------------------------------------------


async def test_a_broken_line_is_reported_and_the_rest_is_read(
    hub: Hub, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is counted and logged by its place, without its text; a file may end in its middle."""
    first, second, third = battle(), battle(), battle()
    good = [encode_line(b, NOON) + encode_line(vote(b), NOON) for b in (first, second, third)]
    newer = json.loads(encode_line(battle(), NOON))
    newer["record"]["colour"] = "secret words"
    bad = [
        b"secret words\n",
        b"\xff\xfe\n",
        b'{"kind":"secret words","at":"2025-06-01T00:00:00+00:00","record":{}}\n',
        encode_line(battle(), NOON).replace(b'"blind"', b'"secret words"'),
        json.dumps(newer).encode() + b"\n",
        b"[" * 20000 + b"\n",
        b"\n",  # an empty line breaks nothing
    ]
    hub.put("data/1.jsonl", good[0] + b"".join(bad) + good[1])
    hub.put("data/2.jsonl", good[2] + encode_line(battle(), NOON)[:-40])
    hub.put("data/notes.txt", b"not ours")
    hub.put("other.jsonl", b"not ours\n")
    hub.put("data/3.jsonl", encode_line(vote(battle()), NOON))  # the battle's line was lost
    async with space(hub, tmp_path / "one") as one:
        state = one.state
        assert state.unreadable == 7
        assert isinstance(state.error, BackupFailed)
        assert state.error.remedy_text.startswith("7 lines")
        counts = await one.store.counts()
        assert (counts.battles, counts.votes) == (3, 3)
        assert not state.restoring
        await one.voted(1)
        await one.copy.push()
        assert one.state.error is state.error  # a push that works does not hide it
    lines = [record.getMessage() for record in caplog.records if "line" in record.getMessage()]
    assert any("line 3 of data/1.jsonl" in line for line in lines)
    assert "secret words" not in caplog.text


def old_files(hub: Hub, *contents: bytes) -> list[str]:
    """Files of the copy that are more than a day old."""
    days = [datetime.now(UTC) - timedelta(days=9 - number) for number in range(len(contents))]
    names = [f"data/{day:%Y%m%dT%H%M%SZ}-{n:012}.jsonl" for n, day in enumerate(days)]
    for name, content in zip(names, contents, strict=True):
        hub.put(name, content)
    return names


@pytest.fixture
def repository(hub: Hub, tmp_path: Path) -> HubRepository:
    return HubRepository(DATASET, TOKEN, tmp_path / "merging", hub.url)


async def test_old_files_are_merged_into_one(
    hub: Hub, tmp_path: Path, repository: HubRepository
) -> None:
    """The newest line of each record is kept, in one commit with the removal of the files."""
    first, second = battle(), battle()
    noted = vote(first, comment="because")
    names = old_files(
        hub,
        encode_line(first, NOON) + encode_line(noted, NOON + timedelta(hours=1)),
        encode_line(vote(first), NOON) + encode_line(second, NOON).rstrip(),
    )
    old, commits = hub.files(), len(hub.repo.commits)
    repository.compact()
    (merged,) = files(hub)
    assert merged not in names
    assert hub.files()[merged].count(b"\n") == 3
    assert len(hub.repo.commits) == commits + 1
    repository.compact()
    assert files(hub) == {merged}  # a day has to pass
    hub.put(names[1], old[names[1]])  # a reader between two commits finds a record twice
    async with space(hub, tmp_path / "one") as one:
        assert await one.store.get_vote(first.id) == noted
        assert (await one.store.counts()).battles == 2


async def test_a_merge_loses_nothing(hub: Hub, repository: HubRepository) -> None:
    """Another process's commit in between refuses it; what can't be read is left for people."""
    made = [encode_line(battle(), NOON) for _ in range(3)]
    names = old_files(hub, made[0], made[1], b"broken\n", made[2])

    def another_commit(_method: str, path: str) -> Reply | None:
        if "/preupload/" in path:
            hub.put("data/of-another.jsonl", b"")
        return None

    hub.answers = another_commit
    with pytest.raises(HfHubHTTPError, match="412"):
        repository.compact()
    assert files(hub) == {*names, "data/of-another.jsonl"}
    hub.answers = None
    repository.compact()
    left = files(hub)
    assert left & set(names) == {names[2]}
    assert sorted(b"".join(hub.files()[name] for name in left).splitlines()) == sorted(
        [b"broken", *(line.strip() for line in made)]
    )


async def test_a_running_process_merges(hub: Hub, tmp_path: Path) -> None:
    """Without being asked."""
    old_files(hub, *(encode_line(battle(), NOON) for _ in range(3)))
    async with space(hub, tmp_path, every_minutes=0.001) as one:
        await one.until(lambda: len(files(hub)) == 1)
        assert (await one.store.counts()).battles == len(hub.battles()) == 3
