"""The file `.env`: read as text, and looked at for lines that set nothing."""

from __future__ import annotations

import re
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

from dotenv.parser import Binding, parse_stream

from arena.errors.reasons import ErrorReason
from arena.errors.start import EnvFileEncoding, EnvFileUnreadable, EnvLineIgnored

_COLON = re.compile(r"\s*(export\s+)?\w+\s*[:：]")
_QUOTE = re.compile(r"=\s*[\"']")


def read_env_file(path: Path) -> str:
    """Its text, without a byte order mark; empty where there is no such file.

    Raises:
        EnvFileUnreadable: it is there and can't be read.
        EnvFileEncoding: it is not text in UTF-8.
    """
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        return ""
    except OSError as error:
        raise EnvFileUnreadable(str(error), file=path) from error
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise EnvFileEncoding(file=path, encoding=_encoding_of(raw)) from None
    if "\0" in text:  # UTF-16 without its mark is valid UTF-8, with a NUL beside each letter
        raise EnvFileEncoding(file=path, encoding="UTF-16")
    return text


def _encoding_of(raw: bytes) -> str:
    """What a file that is not UTF-8 seems to be."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        return "UTF-16"
    try:
        raw.decode("cp932")
    except UnicodeDecodeError:
        return "another encoding"
    return "Shift_JIS"


def names_in(text: str) -> list[str]:
    """The names that a text in the form of `.env` sets, in their order."""
    return [each.key for each in parse_stream(StringIO(text)) if each.key and each.value]


def odd_lines(text: str, path: Path) -> Iterator[EnvLineIgnored]:
    """One error for each line that sets nothing, or takes in the lines that follow it.

    The error names the line by its number alone: the line may hold a key.
    """
    for binding in parse_stream(StringIO(text)):
        why = _why(binding)
        if why is not None:
            yield EnvLineIgnored(file=path, line=binding.original.line, why=why)


def _why(binding: Binding) -> ErrorReason | None:
    line = binding.original.string.strip()
    if not binding.error and (binding.key is None or binding.value is not None):
        return ErrorReason.OPEN_QUOTE if "\n" in (binding.value or "") else None
    if "＝" in line.split("=", 1)[0]:
        return ErrorReason.FULL_WIDTH_EQUALS
    if _COLON.match(line):
        return ErrorReason.COLON_FOR_EQUALS
    return ErrorReason.OPEN_QUOTE if _QUOTE.search(line) else ErrorReason.NO_EQUALS
