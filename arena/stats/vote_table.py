"""All votes as columns: what every statistic is computed from.

A row is one vote with what must be known of its battle. Columns make a million votes a matter of
milliseconds. A value that is unknown is an error and never becomes another one: an unknown label
counted as a tie moves every rating and shows nowhere.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from enum import IntFlag
from typing import Any, Final, Self

import numpy as np
import numpy.typing as npt

from arena.domain import Category, Flag, Mode, Winner
from arena.errors.store import BadVote

Bools = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.int32]
Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
ColumnValues = Sequence[Any]

WINNERS: Final = tuple(Winner)
MODES: Final = tuple(Mode)
LANGUAGES: Final = ("ja", "en", "other")
CATEGORIES: Final = tuple(Category)


@dataclass(frozen=True, slots=True, order=True)
class Contestant:
    """What the statistics compare: an alias that moved to another version is another one.

    Attributes:
        id: the stable slug of the model.
        served_model: what really answered.
    """

    id: str
    served_model: str


class VoteFlag(IntFlag):
    """What is remembered of a vote beside its columns: the battle's flags, and what was found.

    The values are kept in stores, so they never change.

    Attributes:
        LEAK_PROMPT: the prompt named a contestant.
        LEAK_A, LEAK_B: the answer on that side named its model before the vote.
        LEAK_EDITED: something was changed after a name had leaked.
        EXCLUDED: the owner decided that it does not count.
        IMPORTED: it was cast elsewhere and brought here.
        IDENTICAL: both sides gave the same answers, to the letter.
        GUESSED_RIGHT, GUESSED_WRONG: before the vote the voter said which of the two was on the
            left, and was right or not; neither where nothing was said. Read from the vote.
    """

    OPEN_MODE = 1 << 0
    PRESET_EDITED = 1 << 1
    STAND_IN = 1 << 2
    VARIANT = 1 << 3
    TRUNCATED = 1 << 4
    RETRIED = 1 << 5
    SYSTEM_PROMPT = 1 << 6
    LOOPING = 1 << 7
    PROMPT_CUT = 1 << 8
    STOPPED = 1 << 9
    LEAK_PROMPT = 1 << 16
    LEAK_A = 1 << 17
    LEAK_B = 1 << 18
    LEAK_EDITED = 1 << 19
    EXCLUDED = 1 << 20
    IMPORTED = 1 << 21
    GUESSED_RIGHT = 1 << 22
    GUESSED_WRONG = 1 << 23
    IDENTICAL = 1 << 24

    @classmethod
    def of(cls, flags: Iterable[Flag]) -> VoteFlag:
        """The same flags of a battle.

        Raises:
            KeyError: a flag that the statistics have not been told of.
        """
        found = cls(0)
        for flag in flags:
            found |= cls[flag.name]
        return found


_EVERY_FLAG: Final = sum(VoteFlag)


@dataclass(frozen=True, slots=True, eq=False)
class VoteTable:
    """n votes. Every array has shape (n,) and cannot be written to.

    Attributes:
        contestants: all of them, in order; what `a` and `b` point into.
        voters: salted hashes of all of them, in order; what `voter` points into.
        a, b: codes of the contestants on the left and on the right.
        winner, mode, language, category: codes into WINNERS, MODES, LANGUAGES, CATEGORIES; the
            language is the prompt's.
        cast_at: seconds since the epoch.
        prompt: the same code for the same prompt; -1 where unknown.
        flags: bits of `VoteFlag`.
        read_seconds: from the moment when both answers were complete to the vote; like all
            measures below, nan where unknown.
        chars_a, chars_b: characters of the shown answer, all turns together.
        tokens_a, tokens_b: the same in the model's own tokens.
        ttft_a, ttft_b: seconds to the first visible text of the first turn.
        total_a, total_b: seconds from request to end, all turns together.
        cost_a, cost_b: US dollars.
    """

    contestants: tuple[Contestant, ...]
    voters: tuple[str, ...]
    a: Codes
    b: Codes
    winner: Codes
    mode: Codes
    language: Codes
    category: Codes
    voter: Codes
    cast_at: Floats
    signed_in: Bools
    prompt: Ints
    flags: Codes
    read_seconds: Floats
    chars_a: Floats
    chars_b: Floats
    tokens_a: Floats
    tokens_b: Floats
    ttft_a: Floats
    ttft_b: Floats
    total_a: Floats
    total_b: Floats
    cost_a: Floats
    cost_b: Floats

    def __len__(self) -> int:
        return len(self.winner)

    def has(self, flags: VoteFlag) -> Bools:
        """Which votes have any of these flags; shape (n,)."""
        return np.asarray((self.flags & int(flags)) != 0)

    def take(self, selection: Bools | Ints) -> Self:
        """Only those votes, by mask or by index; contestants and voters keep their codes."""
        chosen = {name: _frozen(getattr(self, name)[selection]) for name in COLUMNS}
        return type(self)(self.contestants, self.voters, **chosen)

    @classmethod
    def from_columns(cls, columns: Mapping[str, ColumnValues]) -> Self:
        """From one sequence for each name of COLUMNS, all of one length.

        Args:
            columns: `a` and `b` hold contestants or (id, served model) tuples; the columns that are
                codes in the table hold words; None is an unknown prompt or measure.

        Raises:
            BadVote: a value is unknown; names the row, counted from 1, and the column.
            ValueError: a column is missing, unknown, or of another length.
        """
        _check_shape(columns)
        known, a, b = _sides(columns["a"], columns["b"])
        voters, voter = _voters(columns["voter"])
        made: dict[str, npt.NDArray[Any]] = {
            "a": a,
            "b": b,
            "voter": voter,
            "prompt": _prompts(columns["prompt"]),
            "flags": _flags(columns["flags"]),
        }
        for name, words in _WORDS.items():
            made[name] = _codes(name, columns[name], words)
        made["signed_in"] = made["signed_in"].astype(np.bool_)
        for name in set(COLUMNS) - set(made):
            made[name] = _measure(name, columns[name])
        return cls(known, voters, **{name: _frozen(array) for name, array in made.items()})


COLUMNS: Final = tuple(f.name for f in fields(VoteTable) if f.name not in ("contestants", "voters"))
_WORDS: Final[dict[str, tuple[object, ...]]] = {
    "winner": WINNERS,
    "mode": MODES,
    "language": LANGUAGES,
    "category": CATEGORIES,
    "signed_in": (False, True),
}


def _frozen(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    array.setflags(write=False)
    return array


def _check_shape(columns: Mapping[str, ColumnValues]) -> None:
    missing = sorted(set(COLUMNS) - set(columns))
    unknown = sorted(set(columns) - set(COLUMNS))
    if missing or unknown:
        raise ValueError(f"columns missing: {missing}, unknown: {unknown}")
    lengths = {name: len(column) for name, column in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of different lengths: {lengths}")


def _refuse(name: str, column: ColumnValues, bad: Bools) -> None:
    """Names the first bad row, if there is one."""
    if bad.any():
        row = int(np.argmax(bad))
        raise BadVote(row=row + 1, field=name, value=repr(column[row]))


def _codes(name: str, column: ColumnValues, words: Sequence[object]) -> Codes:
    """Codes of words of a closed list, checked."""
    table = {word: code for code, word in enumerate(words)}
    try:
        return _looked_up(column, table)
    except KeyError:
        _refuse(name, column, np.array([word not in table for word in column], np.bool_))
        raise


def _looked_up(column: ColumnValues, table: Mapping[Any, int]) -> Codes:
    return np.fromiter(map(table.__getitem__, column), np.int32, count=len(column))


def _numbered(*columns: ColumnValues) -> dict[Any, int]:
    """A number for each value, in the order in which the values appear."""
    seen: dict[Any, None] = {}
    for column in columns:
        seen.update(dict.fromkeys(column))
    return {value: number for number, value in enumerate(seen)}


def _sides(
    column_a: ColumnValues, column_b: ColumnValues
) -> tuple[tuple[Contestant, ...], Codes, Codes]:
    table = _numbered(column_a, column_b)
    a, b = _looked_up(column_a, table), _looked_up(column_b, table)
    strange = np.array([not _is_contestant(value) for value in table], np.bool_)
    for name, column, codes in (("a", column_a, a), ("b", column_b, b)):
        _refuse(name, column, strange[codes])
    found = [value if isinstance(value, Contestant) else Contestant(*value) for value in table]
    known = tuple(sorted(set(found)))
    # Codes by the order of the names, so that nothing depends on which vote came first.
    place = {who: code for code, who in enumerate(known)}
    moved = np.array([place[who] for who in found], np.int32)
    return known, moved[a], moved[b]


def _is_contestant(value: object) -> bool:
    if isinstance(value, tuple):
        return len(value) == 2 and all(isinstance(part, str) for part in value) and bool(value[0])
    return isinstance(value, Contestant) and bool(value.id)


def _voters(column: ColumnValues) -> tuple[tuple[str, ...], Codes]:
    table = _numbered(column)
    codes = _looked_up(column, table)
    strange = np.array([not isinstance(value, str) or not value for value in table], np.bool_)
    _refuse("voter", column, strange[codes])
    names = sorted(table)
    moved = np.empty(len(names), np.int32)
    moved[[table[name] for name in names]] = np.arange(len(names), dtype=np.int32)
    return tuple(names), moved[codes]


def _prompts(column: ColumnValues) -> Ints:
    """Codes of prompts; their order means nothing."""
    table = _numbered(column)
    unknown = np.array([value in ("", None) for value in table], np.bool_)
    codes = _looked_up(column, table)
    return np.where(unknown[codes], -1, codes).astype(np.int64)


def _flags(column: ColumnValues) -> Codes:
    given = np.asarray(column)
    if given.dtype.kind not in "iu" and len(column):
        _refuse("flags", column, np.array([not isinstance(v, int) for v in column], np.bool_))
    given = given.astype(np.int64)
    _refuse("flags", column, (given < 0) | ((given & ~_EVERY_FLAG) != 0))
    return given.astype(np.int32)


def _measure(name: str, column: ColumnValues) -> Floats:
    """Numbers that are not negative, nan where unknown; the time of a vote is always known."""
    try:
        values = np.array(column, dtype=np.float64)
    except (TypeError, ValueError):
        values = np.array([_number(value) for value in column])
        _refuse(name, column, np.isinf(values))
        raise
    bad = (values < 0) | np.isinf(values)
    _refuse(name, column, bad | np.isnan(values) if name == "cast_at" else bad)
    return values


def _number(value: object) -> float:
    """A number, nan for nothing, infinity for what is no number."""
    if value is None:
        return np.nan
    return float(value) if isinstance(value, int | float) else float("inf")
