"""Rows into a file: JSON Lines, CSV or Parquet. A path holds the old file or the whole new one."""

from __future__ import annotations

import csv
import json
import os
import secrets
import shutil
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Protocol

from arena.dataset.columns import Column, ColumnKind, FileFormat
from arena.dataset.lmarena import CRITERIA
from arena.errors.store import PackageMissing
from arena.store.serialization import Plain

if TYPE_CHECKING:
    import pyarrow as pa


class RowWriter(Protocol):
    """Takes rows, some at a time, and at least once: no rows make an empty table. Blocks."""

    def write(self, rows: Sequence[Plain]) -> None:
        """Writes those rows after the ones before."""
        ...

    def finish(self) -> None:
        """Writes what belongs at the end; nothing may follow."""
        ...


class JsonLines:
    """One JSON object a line; nested values stay nested."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream

    def write(self, rows: Sequence[Plain]) -> None:
        """Writes those rows."""
        lines = (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        self._stream.writelines(lines)

    def finish(self) -> None:
        """Nothing to do."""


class Csv:
    """A header, then rows; null is empty, and what is nested is JSON text."""

    def __init__(self, stream: IO[str], columns: Sequence[Column]) -> None:
        self._rows = csv.DictWriter(stream, [c.name for c in columns], lineterminator="\n")
        self._begun = False

    def write(self, rows: Sequence[Plain]) -> None:
        """Writes those rows."""
        if not self._begun:
            self._begun = True
            self._rows.writeheader()
        self._rows.writerows({name: _cell(value) for name, value in row.items()} for row in rows)

    def finish(self) -> None:
        """Nothing to do."""


def _cell(value: object) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


class Parquet:
    """Typed columns, in row groups of the size in which the rows come."""

    def __init__(self, stream: IO[bytes], columns: Sequence[Column]) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        self._columns = columns
        self._schema = pa.schema([(column.name, _type(column.kind)) for column in columns])
        self._table = pa.Table
        self._file: pq.ParquetWriter | None = None
        # Opened with the first rows: whoever opens it must come to `finish`, or it writes into
        # the closed stream when it is thrown away.
        self._open = partial(pq.ParquetWriter, stream, self._schema)

    def write(self, rows: Sequence[Plain]) -> None:
        """Writes those rows as one group."""
        self._file = self._file or self._open()
        if rows:
            made = [{c.name: _typed(c.kind, row[c.name]) for c in self._columns} for row in rows]
            self._file.write_table(self._table.from_pylist(made, schema=self._schema))

    def finish(self) -> None:
        """Writes the footer, without which the file can't be read."""
        if self._file is not None:
            self._file.close()


def _typed(kind: ColumnKind, value: Any) -> Any:  # noqa: ANN401 - whatever a column holds
    if value is None:
        return None
    if kind is ColumnKind.JSON:
        return json.dumps(value, ensure_ascii=False, allow_nan=False)
    return datetime.fromisoformat(value) if kind is ColumnKind.TIME else value


def _type(kind: ColumnKind) -> pa.DataType:
    """The type of a column in Parquet."""
    import pyarrow as pa

    text, whole, yes = pa.string(), pa.int64(), pa.bool_()
    part = pa.struct([("type", text), ("text", text), ("image", text), ("mimeType", text)])
    message = pa.struct([("role", text), ("content", pa.list_(part))])
    plain = {
        ColumnKind.TEXT: text,
        ColumnKind.JSON: text,
        ColumnKind.BOOL: yes,
        ColumnKind.INT: whole,
        ColumnKind.TIME: pa.timestamp("us", tz="UTC"),
        ColumnKind.TEXTS: pa.list_(text),
        ColumnKind.MESSAGES: pa.list_(pa.struct([("role", text), ("content", text)])),
        ColumnKind.PARTS: pa.list_(message),
        ColumnKind.TURNS: pa.list_(
            pa.struct([("user", message), ("model_side_a", message), ("model_side_b", message)])
        ),
        ColumnKind.TAGS: pa.struct(
            [
                ("creative_writing_v0.1", pa.struct([("creative_writing", yes), ("score", text)])),
                ("criteria_v0.1", pa.struct([(name, yes) for name in CRITERIA])),
                ("if_v0.1", pa.struct([("if", yes), ("score", whole)])),
                ("math_v0.1", pa.struct([("math", yes)])),
            ]
        ),
    }
    return plain[kind] if kind in plain else _metadata_type()


def _metadata_type() -> pa.DataType:
    import pyarrow as pa

    whole = pa.int64()
    fields = [("sum_user_tokens", whole), ("turns", whole)]
    for side in ("a", "b"):
        fields += [
            (f"sum_assistant_{side}_tokens", whole),
            (f"context_{side}_tokens", whole),
            (f"bold_count_{side}", pa.struct([("**", whole), ("__", whole)])),
            (f"header_count_{side}", pa.struct([(f"h{n}", whole) for n in range(1, 7)])),
            (f"list_count_{side}", pa.struct([("ordered", whole), ("unordered", whole)])),
        ]
    return pa.struct(fields)


def need_pyarrow() -> None:
    """Looks whether Parquet can be read and written here.

    Raises:
        PackageMissing: pyarrow is not installed.
    """
    try:
        import pyarrow.parquet  # noqa: F401 - whether it is there
    except ImportError as error:
        raise PackageMissing(
            str(error), package="pyarrow", file="requirements-export.txt"
        ) from None


def rows_into(stream: IO[Any], file_format: FileFormat, columns: Sequence[Column]) -> RowWriter:
    """What takes rows for that stream; nothing is written yet."""
    if file_format is FileFormat.PARQUET:
        return Parquet(stream, columns)
    return Csv(stream, columns) if file_format is FileFormat.CSV else JsonLines(stream)


class NewFile:
    """A file and its card while they are written, under hidden names in the same folder. Blocks.

    Args:
        path: of the file.
        card: of the text beside it.
        binary: whether the stream takes bytes.
    """

    def __init__(self, path: Path, card: Path, *, binary: bool) -> None:
        self._path, self._card, self._binary = path, card, binary
        self._part = _hidden(path)
        self._stream: IO[Any] | None = None

    def open(self) -> IO[Any]:
        """The stream that takes the file's content.

        Raises:
            OSError: the folder can't be written.
        """
        self._path.parent.mkdir(parents=True, exist_ok=True)
        if self._binary:
            self._stream = self._part.open("xb")
        else:
            self._stream = self._part.open("x", encoding="utf-8", newline="")
        return self._stream

    def keep(self, card: str) -> None:
        """Puts the file and its card into their places, both or neither.

        Raises:
            OSError: that failed; what was there before is there again.
        """
        assert self._stream is not None  # noqa: S101 - it was opened
        _to_disk(self._stream)
        new_card = _hidden(self._card)
        try:
            with new_card.open("x", encoding="utf-8", newline="") as stream:
                stream.write(card)
                _to_disk(stream)
            _replace_both(self._part, self._path, new_card, self._card)
        finally:
            new_card.unlink(missing_ok=True)

    def close(self) -> None:
        """Removes what did not come to its place."""
        if self._stream is not None:
            # The text may be still unwritten on a full disk; it is not wanted any more.
            with suppress(OSError):
                self._stream.close()
            self._part.unlink(missing_ok=True)


def _hidden(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(8)}.part")


def _to_disk(stream: IO[Any]) -> None:
    stream.flush()
    os.fsync(stream.fileno())
    stream.close()


def _replace_both(new: Path, path: Path, new_card: Path, card: Path) -> None:
    """Renames both; where one rename fails, the files that were there are put back.

    The old card goes first. So if the process is killed between two steps, the file, old or new,
    has no card, and never one that tells of another file.
    """
    saved: dict[Path, Path | None] = {}
    try:
        for place in (path, card):
            saved[place] = _saved(place)
        try:
            card.unlink(missing_ok=True)
            new.replace(path)
            new_card.replace(card)
        except BaseException:
            for place, old in saved.items():
                place.unlink(missing_ok=True) if old is None else old.replace(place)
            raise
    finally:
        for old in saved.values():
            if old is not None:
                old.unlink(missing_ok=True)


def _saved(path: Path) -> Path | None:
    """A second, hidden name of the file, or a copy where the disk has no links; None without it."""
    if not path.exists():
        return None
    second = _hidden(path)
    try:
        second.hardlink_to(path)
    except OSError:
        shutil.copyfile(path, second)
    return second
