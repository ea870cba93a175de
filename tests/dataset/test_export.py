"""An export is whole, readable by others' tools, and leads to no person."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import subprocess
import sys
from collections.abc import Coroutine
from datetime import timedelta
from itertools import count
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from arena.dataset.columns import COLUMNS
from arena.dataset.export import ExportReport, ExportShape, FileFormat, card_path, export
from arena.dataset.formats import rows_into
from arena.domain import Battle, Exchange, Exclusion, Grade, Mode
from arena.errors.store import ExportNeedsFile, StoreError
from arena.store.store import VoteStore, voter_hash
from tests.store_tools import Outside
from tests.vote_samples import NOON, VOTER, answer, battle, vote


async def exported(store: VoteStore, salt: str | None = None) -> list[dict[str, Any]]:
    stream = io.StringIO()
    report = await export(store, stream, salt=salt)
    lines = [json.loads(line) for line in stream.getvalue().split("\n")[:-1]]
    assert len(lines) == report.rows
    return lines


async def written(
    store: VoteStore, folder: Path, shape: ExportShape, file_format: FileFormat, **more: Any
) -> tuple[list[dict[str, Any]], ExportReport]:
    """The rows of a file as its own reader gives them."""
    target = folder / f"{shape}.{file_format}"
    report = await export(store, target, shape=shape, file_format=file_format, **more)
    if file_format is FileFormat.PARQUET:
        rows: list[dict[str, Any]] = pq.read_table(target).to_pylist()
    elif file_format is FileFormat.CSV:
        with target.open(encoding="utf-8", newline="") as stream:
            rows = list(csv.DictReader(stream))
    else:
        rows = [json.loads(line) for line in target.read_text("utf-8").split("\n")[:-1]]
    return rows, report


async def test_lines_have_lmarena_names(store: VoteStore) -> None:
    """The shape `arena` has LMArena's names for what LMArena has; an open battle has nulls."""
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
        {"role": "assistant", "content": "正解"},
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


async def test_excluded_and_signed_in_votes_are_marked(store: VoteStore) -> None:
    """An excluded vote is written, with the reason; a lifted exclusion is none."""
    made = [battle(created_at=NOON + timedelta(minutes=n)) for n in range(3)]
    for one in made:
        await store.add_battle(one)
    await store.cast_vote(vote(made[0], signed_in=True))
    await store.cast_vote(vote(made[1]))
    await store.add_exclusion(Exclusion(made[1].id, "同じ人", NOON))
    await store.add_exclusion(Exclusion(made[0].id, "mistake", NOON))
    await store.add_exclusion(Exclusion(made[0].id, "", NOON + timedelta(seconds=1), lifted=True))
    lines = await exported(store)
    assert [line["winner"] for line in lines] == ["model_a", "model_a", None]
    assert [line["excluded"] for line in lines] == [None, "同じ人", None]
    assert [line["signed_in"] for line in lines] == [True, False, None]


async def test_voters_are_hashed_again(store: VoteStore) -> None:
    """Voters are told apart within an export, not across exports, nor by the store's salt."""
    for _ in range(2):
        await store.add_battle(battle())
    first, second = await exported(store), await exported(store)
    assert first[0]["voter"] == first[1]["voter"]
    assert len({VOTER, first[0]["voter"], second[0]["voter"]}) == 3


async def test_file_is_the_old_one_or_the_new_one(
    store: VoteStore, outside: Outside, tmp_path: Path
) -> None:
    """A failure in the middle leaves the file that was there before."""
    target = tmp_path / "out" / "votes.jsonl"
    made = battle(voter="c" * 64)
    await store.add_battle(made)
    assert (await export(store, target)).rows == 1
    good = target.read_bytes()
    assert json.loads(good)["id"] == made.id
    await store.add_battle(battle(created_at=NOON + timedelta(hours=1)))
    outside.rows(f"UPDATE battles SET mode = 'broken' WHERE voter != '{'c' * 64}'")  # noqa: S608
    with pytest.raises(StoreError):
        await export(store, target)
    assert target.read_bytes() == good
    assert sorted(target.parent.iterdir()) == [target, card_path(target)]


async def test_path_that_cannot_be_written_is_named(store: VoteStore, tmp_path: Path) -> None:
    """The error's detail, which commands print and visitors never see, names the path."""
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError) as caught:
        await export(store, tmp_path / "file" / "votes.jsonl")
    assert "votes.jsonl" in caught.value.detail


async def some(store: VoteStore) -> list[Battle]:
    """One battle of each fate: won, tied, excluded, open, without a vote, single."""
    kinds: list[dict[str, Any]] = [{}, {}, {}, {"mode": Mode.OPEN}, {}, {"id_b": None}]
    made = []
    for n, kind in enumerate(kinds):
        sides = {"conversation_a": (Exchange("問", answer(f"左{n}")),)}
        if "id_b" not in kind:
            sides["conversation_b"] = (Exchange("問", answer(f"右{n}")),)
        made.append(battle(**kind, **sides, created_at=NOON + timedelta(minutes=n)))
        await store.add_battle(made[-1])
    for n, winner in enumerate(["model_b", "tie", "model_a", "model_a"]):
        await store.cast_vote(vote(made[n], winner, cast_at=NOON + timedelta(hours=n)))
    await store.add_exclusion(Exclusion(made[2].id, "同じ人", NOON))
    return made


@pytest.mark.parametrize("shape", ExportShape)
async def test_every_format_has_the_same_rows(
    store: VoteStore, tmp_path: Path, shape: ExportShape
) -> None:
    """Parquet and CSV hold the same rows and columns as JSON Lines."""
    await some(store)
    found = {
        kind: await written(store, tmp_path, shape, kind, salt="s", ties=True)
        for kind in FileFormat
    }
    lines, report = found[FileFormat.JSONL]
    names = [column.name for column in COLUMNS[shape]]
    assert lines
    assert {tuple(row) for rows, _ in found.values() for row in rows} == {tuple(names)}
    table, cells = found[FileFormat.PARQUET][0], found[FileFormat.CSV][0]
    kinds = {column.name: column.kind.value for column in COLUMNS[shape]}
    for line, row, cell in zip(lines, table, cells, strict=True):
        for name, value in line.items():
            typed = row[name]
            if kinds[name] == "json" and typed is not None:
                typed = json.loads(typed)
            if kinds[name] == "time" and typed is not None:
                typed = typed.isoformat()
            assert typed == value, name
            text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            assert cell[name] == ("" if value is None else text), name
    assert {r.rows for _, r in found.values()} == {len(lines)}
    assert {r.battles for _, r in found.values()} == {6}
    assert report.text.startswith(f"{len(lines)} rows of 6 battles written to ")


@pytest.mark.parametrize("shape", ExportShape)
async def test_empty_store_gives_readable_files(
    store: VoteStore, tmp_path: Path, shape: ExportShape
) -> None:
    """A file without rows has its columns."""
    for kind in FileFormat:
        rows, report = await written(store, tmp_path, shape, kind)
        assert (rows, report.rows, report.battles) == ([], 0, 0)
    schema = pq.read_schema(tmp_path / f"{shape}.parquet")
    names = [column.name for column in COLUMNS[shape]]
    assert schema.names == names
    assert (tmp_path / f"{shape}.csv").read_text("utf-8") == ",".join(names) + "\n"


def test_parquet_is_whole_when_it_is_finished() -> None:
    """`finish` writes the footer of a Parquet file."""
    stream = io.BytesIO()
    rows = rows_into(stream, FileFormat.PARQUET, COLUMNS[ExportShape.DPO])
    rows.write([])
    rows.finish()
    assert pq.read_table(io.BytesIO(stream.getvalue())).num_rows == 0


async def test_lmarena_has_exactly_its_columns(store: VoteStore, tmp_path: Path) -> None:
    """The shape `lmarena-140k` has these columns in this order, of blind votes that count."""
    made = await some(store)
    rows, report = await written(store, tmp_path, ExportShape.LMARENA, FileFormat.PARQUET)
    assert list(rows[0]) == [
        "id", "model_a", "model_b", "winner", "evaluation_session_id", "evaluation_order",
        "conversation_a", "conversation_b", "full_conversation", "conv_metadata", "category_tag",
        "is_code", "language", "timestamp",
    ]  # fmt: skip
    assert [row["id"] for row in rows] == [made[0].id, made[1].id]
    assert [row["winner"] for row in rows] == ["model_b", "tie"]
    assert report.left_out == {"excluded": 1, "open_mode": 1, "no_vote": 2}
    assert [row["evaluation_order"] for row in rows] == [1, 2]
    assert len({row["evaluation_session_id"] for row in rows}) == 1
    part = {"type": "text", "text": "右0", "image": None, "mimeType": None}
    assert rows[0]["conversation_b"][1] == {"role": "assistant", "content": [part]}
    assert rows[0]["full_conversation"][0]["model_side_b"] == rows[0]["conversation_b"][1]
    assert rows[0]["timestamp"] == NOON
    assert pq.read_schema(tmp_path / "lmarena-140k.parquet").field("timestamp").type == (
        pa.timestamp("us", tz="UTC")
    )


async def test_card_stands_beside_the_file_and_can_be_a_readme(
    store: VoteStore, tmp_path: Path
) -> None:
    """It tells what was left out and whether anything was masked."""
    await some(store)
    target = tmp_path / "votes.jsonl"
    report = await export(store, target, shape=ExportShape.DPO, now=lambda: NOON)
    assert report.card == card_path(target)
    text = card_path(target).read_text("utf-8")
    front = yaml.safe_load(text.split("---")[1])
    assert front["license"] == "other"
    assert front["configs"] == [{"config_name": "default", "data_files": "votes.jsonl"}]
    assert front["language"] == ["ja"]
    wanted = (
        "2025-06-01 12:00 UTC", "2 rows of 6 battles", "1 excluded, 2 no_vote, 1 tie",
        "HMAC-SHA256", "Nothing was masked", "`phi`: not known here", "voted on in this arena",
    )  # fmt: skip
    for words in (*wanted, *(f"| `{c.name}` |" for c in COLUMNS[ExportShape.DPO])):
        assert words in text, words


async def test_masked_export_says_so(store: VoteStore, tmp_path: Path) -> None:
    """Every text is masked, and report and card tell how many places were."""
    mail = "taro@example.co.jp"
    made = battle(
        conversation_a=(
            Exchange(f"私は{mail}です", answer(mail), (answer(mail, reason="error"),)),
        ),
        conversation_b=(Exchange(f"私は{mail}です", answer("答")),),
        system_prompt=mail,
    )
    await store.add_battle(made)
    await store.cast_vote(vote(made, comment=mail))
    await store.add_exclusion(Exclusion(made.id, mail, NOON))
    target = tmp_path / "votes.jsonl"
    report = await export(store, target, mask=True)
    assert mail not in target.read_text("utf-8")
    assert report.masked == {"email": 7}
    assert "7 email" in card_path(target).read_text("utf-8")
    assert "masked: 7 email" in report.text
    assert await store.get_battle(made.id) == made


def contents(folder: Path) -> dict[str, bytes]:
    """The files of a folder by their names."""
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("before", [{}, {"votes.parquet": b"old", "votes.parquet.card.md": b"old"}])
async def test_cancelled_export_leaves_the_old_pair_or_the_new_one(
    store: VoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: dict[str, bytes]
) -> None:
    """File and card come together or not at all, at whatever step of it the export is cancelled."""
    await some(store)
    in_thread = asyncio.to_thread
    steps = 0

    def step(work: Any, *args: Any, **options: Any) -> Coroutine[Any, Any, Any]:
        nonlocal steps
        steps += 1
        task = asyncio.current_task()
        if steps == cancelled_at and task is not None:
            task.cancel()
        return in_thread(work, *args, **options)

    monkeypatch.setattr(asyncio, "to_thread", step)
    for cancelled_at in count(1):
        steps, folder = 0, tmp_path / str(cancelled_at)
        folder.mkdir()
        for name, content in before.items():
            (folder / name).write_bytes(content)
        target = folder / "votes.parquet"
        writing = asyncio.create_task(export(store, target, file_format=FileFormat.PARQUET))
        await asyncio.wait([writing])
        left = contents(folder)
        if left != before:
            assert left.keys() == {target.name, card_path(target).name}
            assert b"old" not in left.values()
        if not writing.cancelled():
            break
    assert cancelled_at > 5


@pytest.mark.parametrize("failing", [1, 2])
async def test_a_rename_that_fails_puts_the_old_pair_back(
    store: VoteStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failing: int
) -> None:
    """Also the second one, when the new file has its place already."""
    target = tmp_path / "out" / "votes.jsonl"
    rename = Path.replace
    renames = 0

    def replace_file(self: Path, place: Path) -> Path:
        nonlocal renames
        renames += 1
        if renames == failing:
            raise OSError(5, "the disk")
        return rename(self, place)

    monkeypatch.setattr(Path, "replace", replace_file)
    with pytest.raises(StoreError):
        await export(store, target)
    assert not contents(target.parent)
    renames = failing
    await export(store, target)
    before = contents(target.parent)
    renames = 0
    await store.add_battle(battle())
    with pytest.raises(StoreError):
        await export(store, target)
    assert contents(target.parent) == before


async def test_a_folder_in_the_place_of_the_card_changes_nothing(
    store: VoteStore, tmp_path: Path
) -> None:
    """It is not moved away, and no file comes without its card."""
    target = tmp_path / "out" / "votes.jsonl"
    card_path(target).mkdir(parents=True)
    with pytest.raises(StoreError):
        await export(store, target)
    card_path(target).rmdir()
    assert not contents(target.parent)


async def test_parquet_needs_a_file(store: VoteStore) -> None:
    """Parquet into a stream of text is an error with a sentence."""
    with pytest.raises(ExportNeedsFile):
        await export(store, io.StringIO(), file_format=FileFormat.PARQUET)


def test_missing_pyarrow_is_named(tmp_path: Path) -> None:
    """Without pyarrow the error names the package and its file of requirements."""
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "from arena.errors.store import PackageMissing\n"
        "from arena.dataset.formats import need_pyarrow\n"
        "try:\n    need_pyarrow()\n"
        "except PackageMissing as error:\n    print(error.sentence, error.remedy_text)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True,
        cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert "pyarrow" in done.stdout
    assert "pip install -r requirements-export.txt" in done.stdout


def test_json_and_csv_need_no_pyarrow(tmp_path: Path) -> None:
    """Without pyarrow the other formats can be written."""
    code = (
        "import sys; sys.modules['pyarrow'] = None\n"
        "import asyncio, pathlib\n"
        "from arena.dataset.export import FileFormat, export\n"
        "from arena.store.store import VoteStore\n"
        "async def main(url, file):\n"
        "    store = VoteStore.open(url)\n"
        "    for kind in (FileFormat.JSONL, FileFormat.CSV):\n"
        "        await export(store, pathlib.Path(file + kind), file_format=kind)\n"
        "    await store.aclose()\n"
        f"asyncio.run(main('sqlite:///{tmp_path}/x.db', '{tmp_path}/x.'))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
    assert (tmp_path / "x.csv").read_text("utf-8").startswith("id,model_a,")


async def test_grades_are_exported(store: VoteStore) -> None:
    """Each answer's grade is in the export."""
    made = battle()
    await store.add_battle(made)
    await store.cast_vote(vote(made, "tie", grade_a=Grade.GOOD))
    await store.annotate_vote(made.id, VOTER, grade_b=Grade.BAD)
    (line,) = await exported(store)
    assert (line["grade_a"], line["grade_b"], line["source"]) == ("good", "bad", "")
