"""The files of the copy: lines that come back, places that count, folders with one writer."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import sys
import threading
from datetime import datetime, timedelta
from io import FileIO
from itertools import pairwise
from pathlib import Path

import httpx2
import pytest
from huggingface_hub import get_session
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from arena.dataset.hub_index import Index, Source
from arena.dataset.hub_lines import all_ended, decode_line, encode_line, fullness
from arena.dataset.hub_merge import BATCH, missing, restore
from arena.dataset.hub_remote import Courier, Remote
from arena.dataset.hub_spool import Spool
from arena.domain import Exclusion
from arena.errors.reasons import ErrorReason
from arena.store.serialization import RecordError
from arena.store.store import VoteStore
from tests.vote_samples import NOON, answer, battle, battles, hexes, moments, texts, vote, votes

DATABASES = ("sqlite",)

exclusions = st.builds(
    Exclusion, battle_id=hexes(32), why=texts, decided_at=moments, lifted=st.booleans()
)
changes = battles | votes | exclusions


def source(path: Path, content: bytes) -> Source:
    path.write_bytes(content)
    return Source(path, path.name, len(content))


# --- lines -------------------------------------------------------------------------------------


@given(change=changes, at=moments)
def test_a_line_is_one_line_and_comes_back(change: object, at: datetime) -> None:
    """A text with the end of a line in it broke the file there."""
    line = encode_line(change, at)  # type: ignore[arg-type]
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    back, when = decode_line(line)
    assert when == at
    if isinstance(back, Exclusion):
        assert back == change
    assert encode_line(back, at) == line


@given(change=changes, data=st.data())
def test_a_part_of_a_line_is_not_a_line(change: object, data: st.DataObject) -> None:
    """A cut record that still reads as JSON would come back without its end."""
    line = encode_line(change, NOON).rstrip(b"\n")  # type: ignore[arg-type]
    with pytest.raises(RecordError):
        decode_line(line[: data.draw(st.integers(0, len(line) - 1))])


EXCLUSION = b'{"kind":"exclusion","at":"2025-06-01T12:00:00+00:00","record":%s}'


@pytest.mark.parametrize(
    "line",
    [
        b"[]",
        b'{"kind":"vote"}',
        b'{"kind":"vote","at":"2025-06-01T12:00:00+00:00","record":[]}',
        b'{"kind":"vote","at":"noon","record":{}}',
        b'{"kind":"vote","at":"2025-06-01T12:00:00","record":{}}',
        b'{"kind":"exclusion","at":7,"record":{}}',
        EXCLUSION % b'{"battle_id":"a","why":"b","decided_at":"2025-06-01T12:00:00","lifted":true}',
        EXCLUSION % b'{"battle_id":"a","why":"b","decided_at":"2025-06-01T12:00:00Z","lifted":1}',
        EXCLUSION % b'{"battle_id":"a","why":2,"decided_at":"2025-06-01T12:00:00Z","lifted":true}',
        EXCLUSION % b'{"battle_id":"a","why":"b","decided_at":"2025-06-01T12:00:00Z"}',
    ],
)
def test_what_is_no_line_is_refused(line: bytes) -> None:
    """A value of the wrong type was found out in the database, and ended the whole restore."""
    with pytest.raises(RecordError):
        decode_line(line)


def test_a_moment_without_a_zone_is_not_written() -> None:
    """What can't be read back must not be written."""
    with pytest.raises(RecordError):
        encode_line(Exclusion("a", "b", NOON.replace(tzinfo=None)), NOON)


def test_a_single_battle_has_one_side_to_wait_for() -> None:
    """A battle in single mode waited for its other side for ever."""
    assert all_ended(battle("phi", None))
    assert not all_ended(battle(conversation_b=()))
    assert fullness(battle()) == 2


# --- the index ---------------------------------------------------------------------------------


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.permutations(range(6)),
    cuts=st.sets(st.integers(1, 5)),
    minutes=st.lists(st.integers(0, 3), min_size=6, max_size=6),
)
def test_the_best_line_counts_wherever_it_stands(
    tmp_path: Path, order: list[int], cuts: set[int], minutes: list[int]
) -> None:
    """Which file was listed first decided what came back."""
    both = battle()
    one = both.with_conversation(next(iter(both.sides)), ())
    shapes = [one, both, one, both]
    made = [
        (shape, vote(both), NOON + timedelta(minutes=m))
        for shape, m in zip(shapes, minutes, strict=False)
    ]
    lines = [encode_line(shape, at) for shape, _, at in made]
    ballots = [vote(both, comment=str(number)) for number in range(2)]
    lines += [
        encode_line(b, NOON + timedelta(minutes=minutes[4 + n])) for n, b in enumerate(ballots)
    ]
    bounds = [0, *sorted(cuts), 6]
    sources = [
        source(tmp_path / f"{n}.jsonl", b"".join(lines[i] for i in order[start:end]))
        for n, (start, end) in enumerate(pairwise(bounds))
    ]
    index = Index.build(sources)
    (best,) = index.load([index.battles[both.id]])
    assert best == both
    assert index.battles[both.id].at == NOON + timedelta(minutes=max(minutes[1], minutes[3]))
    (cast,) = index.load([index.votes[both.id]])
    if minutes[4] != minutes[5]:
        assert cast == ballots[minutes[5] > minutes[4]]
    assert (index.cut, index.broken) == (0, 0)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_file_that_ends_anywhere_is_read_as_far_as_it_goes(
    tmp_path: Path, data: st.DataObject
) -> None:
    """A kill can come after any byte."""
    made = [battle() for _ in range(3)]
    lines = [encode_line(each, NOON) for each in made]
    content = b"".join(lines)
    end = data.draw(st.integers(0, len(content)))
    (tmp_path / "a.jsonl").write_bytes(content)
    index = Index.build(
        [Source(tmp_path / "a.jsonl", "a", end)]
    )  # what is written later is not read
    # A whole record without its line's end is whole.
    ends = [sum(map(len, lines[: n + 1])) - 1 for n in range(3)]
    whole = sum(e <= end for e in ends)
    assert set(index.battles) == {each.id for each in made[:whole]}
    assert index.broken == 0
    assert index.cut == (end not in {0, *ends, *(e + 1 for e in ends)})


# --- store and files ---------------------------------------------------------------------------


async def test_a_restore_that_breaks_off_is_not_taken_for_whole(
    store: VoteStore, tmp_path: Path
) -> None:
    """The half that was missing was never looked for again."""
    made = [battle() for _ in range(2 * BATCH)]
    lines = [encode_line(b, NOON) + encode_line(vote(b), NOON) for b in made]
    index = Index.build([source(tmp_path / "a.jsonl", b"".join(lines))])
    calls = 0

    async def load(places: object) -> list[object]:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise OSError(errno.EIO, "the disk")
        return index.load(places)  # type: ignore[arg-type, return-value]

    with pytest.raises(OSError, match="the disk"):
        await restore(store, index, load, "mark", "part")  # type: ignore[arg-type]
    assert await store.get_meta("mark") is None
    counts = await store.counts()
    # In parts, so that a visitor's vote need not wait for all of it; each vote with its battle.
    assert (counts.battles, counts.votes) == (BATCH, BATCH)
    added = await restore(store, index, load, "mark", "part")  # type: ignore[arg-type]
    assert (added.battles, added.votes) == (BATCH, BATCH)
    assert await store.get_meta("mark") is not None


def test_what_the_copy_lacks(tmp_path: Path) -> None:
    """All records were noted again at each start, or a poorer one took a fuller one's place."""
    same, richer, poorer, other, new = (battle() for _ in range(5))
    side = next(iter(same.sides))
    lines = [
        encode_line(same, NOON),
        encode_line(vote(same), NOON),
        encode_line(richer.with_conversation(side, ()), NOON),
        encode_line(poorer, NOON),
        encode_line(other, NOON),
    ]
    index = Index.build([source(tmp_path / "a.jsonl", b"".join(lines))])
    changed = other.with_conversation(side, (type(other.conversation_a[0])("?", answer("x")),))
    pairs = [
        (same, vote(same)),
        (richer, None),
        (poorer.with_conversation(side, ()), None),
        (changed, vote(changed)),
        (new, vote(new)),
    ]
    assert missing(index, pairs) == [richer, changed, vote(changed), new, vote(new)]
    said_more = vote(same, comment="because")
    assert missing(index, [(same, said_more)]) == [said_more]


# --- the folder --------------------------------------------------------------------------------


def spool(root: Path, **options: int) -> Spool:
    return Spool(root, **options)


def test_files_end_and_the_next_begins(tmp_path: Path) -> None:
    """A file of months was sent whole at every push, until the Hub refused its size."""
    mine = spool(tmp_path, file_bytes=10)
    for number in range(5):
        mine.append(b"%06d\n" % number)
    # Their names tell seconds and then chance, so files of one second have no order.
    assert sorted(path.read_bytes() for path in mine.sizes()) == [
        b"000000\n000001\n",
        b"000002\n000003\n",
        b"000004\n",
    ]
    assert all(s.name == f"data/{s.path.name}" for s in mine.sources())
    mine.close(remove=True)
    assert not list(tmp_path.iterdir())


def test_half_a_line_is_taken_away(tmp_path: Path) -> None:
    """The next line was glued to what a full disk had left."""
    mine = spool(tmp_path)
    mine.append(b"one\n")
    assert mine._file is not None
    mine._file = _Short(mine._file)  # type: ignore[assignment]
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        mine.append(b"two\n")
    mine._file = mine._file.file  # type: ignore[union-attr, assignment]
    mine.append(b"three\n")
    (path,) = mine.sizes()
    assert path.read_bytes() == b"one\nthree\n"
    mine.close(remove=True)


class _Short:
    """A file on a disk that is full after two bytes."""

    def __init__(self, file: FileIO) -> None:
        self.file = file

    def write(self, line: bytes) -> int:
        return self.file.write(line[:2])

    def __getattr__(self, name: str) -> object:
        return getattr(self.file, name)


def test_a_folder_that_is_in_use_is_left_alone(tmp_path: Path) -> None:
    """A living process's file was moved from under it."""
    alive, dead, mine = spool(tmp_path), spool(tmp_path), spool(tmp_path)
    alive.append(b"alive\n")
    dead.append(b"one\ntwo\n")
    pushed = spool(tmp_path)
    pushed.append(b"pushed\n")
    (known,) = pushed.sources()
    for ended in (dead, pushed):
        ended.close(remove=False)
    assert mine.adopt({known.name: known.size}) == 2
    (path,) = mine.sizes()
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.name not in {s.name for s in dead.sources()}
    assert {f.name for f in tmp_path.iterdir()} == {alive.folder.name, mine.folder.name}
    assert mine.adopt({}) == 0
    mine.check()
    for each in (alive, mine):
        each.close(remove=True)


def test_a_kill_lets_the_folder_go(tmp_path: Path) -> None:
    """A lock that outlived its process kept the votes in its folder for ever."""
    code = (
        "import sys; from pathlib import Path; from arena.dataset.hub_spool import Spool\n"
        "mine = Spool(Path(sys.argv[1])); mine.append(b'line\\n')\n"
        "print('ready', flush=True); input()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2],
    ) as other:  # fmt: skip
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        mine = spool(tmp_path)
        assert mine.adopt({}) == 0
        other.kill()
    assert mine.adopt({}) == 1
    mine.close(remove=True)


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_removed_file_is_noticed_once(tmp_path: Path, what: str) -> None:
    """Lines went into a file that had no name any more."""
    mine = spool(tmp_path)
    mine.append(b"one\n")
    mine.check()
    (path,) = mine.sizes()
    path.unlink() if what == "file" else shutil.rmtree(mine.folder)
    with pytest.raises(OSError, match="removed"):
        mine.append(b"two\n")
    mine.append(b"three\n")
    with pytest.raises(OSError, match="removed"):
        mine.check()
    mine.check()
    (path,) = mine.sizes()
    assert path.read_bytes() == b"three\n"
    mine.close(remove=True)


# --- the library -------------------------------------------------------------------------------


def response(status: int) -> HfHubHTTPError:
    request = httpx2.Request("GET", "https://huggingface.co/api")
    return HfHubHTTPError("hf_secret", response=httpx2.Response(status, request=request))


def wrapped(cause: Exception) -> RuntimeError:
    error = RuntimeError("Error while uploading")
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (response(401), ErrorReason.DO_GRANT_WRITE),
        (response(403), ErrorReason.DO_GRANT_WRITE),
        (wrapped(response(403)), ErrorReason.DO_GRANT_WRITE),
        (response(503), ErrorReason.DO_WAIT_FOR_HUB),
        (httpx2.ConnectError("no hf_secret"), ErrorReason.DO_WAIT_FOR_HUB),
        (TimeoutError("late"), ErrorReason.DO_WAIT_FOR_HUB),
        (OfflineModeIsEnabled("offline"), ErrorReason.DO_UNSET_HUB_OFFLINE),
        (OSError(errno.ENOSPC, "full"), ErrorReason.DO_FREE_CACHE),
        (PermissionError(errno.EACCES, "no"), ErrorReason.DO_FREE_CACHE),
        (ConnectionResetError(errno.ECONNRESET, "reset"), ErrorReason.DO_WAIT_FOR_HUB),
        (KeyError("hf_secret"), ErrorReason.DO_WAIT_FOR_HUB),
    ],
)
def test_errors_say_what_to_do_and_never_the_token(
    tmp_path: Path, error: Exception, remedy: ErrorReason
) -> None:
    """A failure without a remedy helps nobody; a log with a token in it helps somebody else."""
    remote = Remote("a/b", "hf_secret", tmp_path)
    found = remote.explain(error)
    assert found.values["remedy"] is remedy
    assert "{" not in found.remedy_text + found.sentence
    assert "hf_secret" not in found.detail + found.remedy_text + found.sentence + str(found)
    assert remote.explain(found) is found
    remote.courier.close()


def test_a_silent_hub_is_not_waited_for_for_ever(tmp_path: Path) -> None:
    """By default the library's commits have no timeout, and all later pushes wait behind one."""
    Remote("a/b", "hf_secret", tmp_path).courier.close()
    timeout = get_session().timeout
    assert timeout.read is not None
    assert timeout.connect is not None
    assert timeout.read <= 60


def test_a_courier_keeps_order_and_ends(tmp_path: Path) -> None:
    """A pool's threads are joined at the end of the process, however long the Hub is silent."""
    courier = Courier("test-courier")
    (thread,) = [t for t in threading.enumerate() if t.name == "test-courier"]
    assert thread.daemon
    gate, seen = threading.Event(), list[int]()
    first = courier.submit(gate.wait, 10)
    others = [courier.submit(seen.append, number) for number in range(3)]
    failing = courier.submit(lambda: 1 // 0)
    assert others[1].cancel()
    courier.close()
    gate.set()
    assert first.result(10)
    assert isinstance(failing.exception(10), ZeroDivisionError)
    thread.join(10)
    assert not thread.is_alive()
    assert seen == [0, 2]


def test_no_library_is_loaded_where_no_copy_is_kept() -> None:
    """Every command paid for a library that only a backup needs."""
    code = "import sys, arena.dataset.hub; print('huggingface_hub' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert done.stdout.strip() == "False"
