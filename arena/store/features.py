"""The table of votes for the statistics, and what is computed from each record for it.

The features of a battle are costly to compute, so they are kept in the table `features`. It is
filled when the table of votes is asked for, some battles at a time, so that no visitor waits for
it. It is derived from the records and can be emptied at any time.
"""

from __future__ import annotations

import hashlib
import math
import re
import unicodedata
from collections.abc import Callable, Container, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Connection, Select, or_, select

from arena.domain import Battle, Conversation, Side, Vote
from arena.stats import leaks
from arena.stats.vote_table import COLUMNS, VoteFlag, VoteTable
from arena.store.database import inserting
from arena.store.queries import battles_of, in_force
from arena.store.schema import battles, exclusions, features
from arena.store.schema import final_votes as votes
from arena.store.serialization import battle_row, vote_row

if TYPE_CHECKING:
    from arena.store.database import Database

VERSION: Final = 3
"""Raised with every change of what is computed here, `VoteFlag`'s values included.

A change of the leak patterns raises their own number.
"""
BATCH: Final = 100
_SPACES: Final = re.compile(r"\s+")

_LEAKS: Final = {Side.A: VoteFlag.LEAK_A, Side.B: VoteFlag.LEAK_B}


@dataclass(frozen=True, slots=True)
class Features:
    """What is computed from one battle with a vote; the columns of the table, by name.

    Attributes:
        marks: bits of `VoteFlag`: the battle's flags, the leaks, and whether it was imported.
        prompt: the same for the same prompts, up to letter case, width and spaces; 63 bits.
        read_seconds: from the moment when both answers were complete to the vote; None if that
            moment was not noted, or a clock was set back.
        chars_a, chars_b: characters of the shown answers, all turns together.
        tokens_a, tokens_b: the same in the model's own tokens; None if one is unknown.
        ttft_a, ttft_b: seconds to the first visible text of the first turn.
        total_a, total_b: seconds from request to end, all turns together.
        cost_a, cost_b: US dollars of the shown answers; None if one is unknown.
    """

    marks: int
    prompt: int
    read_seconds: float | None
    chars_a: int
    chars_b: int
    tokens_a: int | None
    tokens_b: int | None
    ttft_a: float | None
    ttft_b: float | None
    total_a: float
    total_b: float
    cost_a: float | None
    cost_b: float | None


_FOUND: Final = tuple(Features.__dataclass_fields__)
_MEASURES: Final = tuple(name for name in _FOUND if name not in ("marks", "prompt"))


def features_of(battle: Battle, cast_at: datetime, labels: Sequence[str] | None = None) -> Features:
    """The features of a battle whose vote was cast at that moment. Pure; `labels` as below."""
    read = None
    if battle.answered_at is not None and battle.answered_at <= cast_at:
        read = (cast_at - battle.answered_at).total_seconds()
    a, b = _measures(battle.conversation_a), _measures(battle.conversation_b)
    if (erased := battle.erased) is not None:
        a["chars"], b["chars"] = erased.chars_a, erased.chars_b
    sides = {f"{name}_a": value for name, value in a.items()}
    sides |= {f"{name}_b": value for name, value in b.items()}
    return Features(
        marks=int(flags_of(battle, labels)),
        prompt=prompts_code(battle),
        read_seconds=read,
        **sides,
    )


def flags_of(battle: Battle, labels: Sequence[str] | None = None) -> VoteFlag:
    """The battle's flags, whether it was imported, and what is found in its texts."""
    flags = VoteFlag.of(battle.flags)
    if battle.source:
        flags |= VoteFlag.IMPORTED
    return flags | found_in_texts(battle, labels)


def found_in_texts(battle: Battle, labels: Sequence[str] | None = None) -> VoteFlag:
    """Whether both sides wrote the same, and where a model's name stands.

    Of erased texts it is what was found before. The visitor's system prompt counts as a prompt. The
    text of a failed attempt was seen, so it counts as that side's. `LEAK_EDITED`: a name stood in
    what came before the last answers, and the visitor went on with another prompt or a retry.

    Args:
        battle: whose texts they are.
        labels: the names that count beside those that all know; None takes those of the two.
    """
    if battle.erased is not None:
        return VoteFlag(battle.erased.found)
    if labels is None:
        labels = tuple(battle.spec(side).label for side in battle.sides)
    flags = VoteFlag(0)
    if _same_answers(battle):
        flags |= VoteFlag.IDENTICAL
    prompts = [turn.prompt for side in battle.sides for turn in battle.conversation(side)]
    said = dict.fromkeys([*prompts, battle.system_prompt or ""])
    if any(leaks.names_anyone(text, labels) for text in said):
        flags |= VoteFlag.LEAK_PROMPT
    for side in battle.sides:
        named = [leaks.names_anyone(text, labels) for text in _shown(battle.conversation(side))]
        if any(named):
            flags |= _LEAKS[side]
        if any(named[:-1]):
            flags |= VoteFlag.LEAK_EDITED
    return flags


def _same_answers(battle: Battle) -> bool:
    """Whether the answers of all turns are the same, but for space around them."""
    a, b = (
        [turn.answer.text.strip() for turn in talk if turn.answer is not None]
        for talk in (battle.conversation_a, battle.conversation_b)
    )
    return bool(a) and a == b


def prompts_code(battle: Battle) -> int:
    """The number of the battle's prompts; of erased ones it is what it was before."""
    if battle.erased is not None:
        return battle.erased.prompt
    return prompt_code([turn.prompt for turn in battle.conversation_a])


def chars_of(conversation: Conversation) -> int:
    """Characters of the shown answers, all turns together."""
    return sum(len(turn.answer.text) for turn in conversation if turn.answer is not None)


def prompt_code(prompts: Sequence[str]) -> int:
    """A number that is the same for the same prompts, up to letter case, width and spaces."""
    plain = (_SPACES.sub(" ", unicodedata.normalize("NFKC", text)).strip() for text in prompts)
    digest = hashlib.sha256("\0".join(text.casefold() for text in plain).encode()).digest()
    # One bit less than the column has, since it has a sign.
    return int.from_bytes(digest[:8], "big") >> 1


def _shown(conversation: Conversation) -> list[str]:
    """Every text that a side wrote, in the order in which the visitor saw them."""
    texts: list[str] = []
    for turn in conversation:
        texts += [attempt.text for attempt in turn.failed]
        if turn.answer is not None:
            texts.append(turn.answer.text)
    return texts


def _measures(conversation: Conversation) -> dict[str, Any]:
    """One side's numbers, by the name of the column without the side."""
    answers = [turn.answer for turn in conversation if turn.answer is not None]
    return {
        "chars": chars_of(conversation),
        "tokens": _total(sum, [answer.finished.completion_tokens for answer in answers]),
        "ttft": answers[0].finished.ttft_s if answers else None,
        "total": math.fsum(answer.finished.total_s for answer in answers),
        "cost": _total(math.fsum, [answer.cost_usd for answer in answers]),
    }


def _total(add: Callable[[list[Any]], float], numbers: Sequence[float | None]) -> float | None:
    """The sum; None where there are no numbers, or one is unknown."""
    known = [number for number in numbers if number is not None]
    return add(known) if numbers and len(known) == len(numbers) else None


async def fill(database: Database, voter: str | None = None) -> None:
    """Computes what is missing or of an older version.

    Each batch is read, computed and written by itself: no other work waits for more than one, and
    a task that is cancelled ends after the one in hand.

    Args:
        database: the store's.
        voter: whose votes are looked at; None looks at all.

    Raises:
        StoreError: the database can't be read or written.
    """
    after = ""

    def step() -> list[dict[str, Any]]:
        due = database.transact(database.reader, _due, after, voter)
        rows = [_row(battle, cast_at) for battle, cast_at in due]
        if rows:
            database.transact(database.writer, _keep, rows)
        return rows

    while rows := await database.in_thread(step):
        after = rows[-1]["battle_id"]


async def vote_table(database: Database) -> VoteTable:
    """All votes as of one moment, oldest first, as columns for the statistics.

    Raises:
        BadVote: a value that the statistics do not know.
        StoreError: the database can't be read or written.
    """
    await fill(database)
    columns = await database.read(vote_columns)
    return await database.in_thread(lambda: VoteTable.from_columns(columns))


async def own_votes(
    database: Database, battle: Battle, vote: Vote, labels: Sequence[str] | None = None
) -> VoteTable:
    """The voter's other final votes on the same prompts, and last the given one.

    Args:
        database: the store's.
        battle: as it is now.
        vote: on it; it need not be stored.
        labels: as in `found_in_texts`, for that battle.

    Raises:
        BadVote, StoreError: as in `vote_table`.
    """
    await fill(database, vote.voter)

    def work() -> VoteTable:
        columns = database.transact(database.reader, _own_columns, battle, vote, labels)
        return VoteTable.from_columns(columns)

    return await database.in_thread(work)


def _row(battle: Battle, cast_at: datetime) -> dict[str, Any]:
    key = {"battle_id": battle.id, "version": VERSION, "patterns": leaks.VERSION}
    return key | asdict(features_of(battle, cast_at))


def _is_old() -> Any:  # noqa: ANN401 - a condition of SQLAlchemy's
    """Whether the features are missing, or of another version."""
    return or_(
        features.c.battle_id.is_(None),
        features.c.version != VERSION,
        features.c.patterns != leaks.VERSION,
    )


def _due(connection: Connection, after: str, voter: str | None) -> list[tuple[Battle, datetime]]:
    """The next battles to work on, with the moments of their votes, in the order of the ids."""
    chosen = (
        select(votes.c.battle_id, votes.c.cast_at)
        .join_from(votes, features, features.c.battle_id == votes.c.battle_id, isouter=True)
        .where(votes.c.battle_id > after, _is_old())
        .order_by(votes.c.battle_id)
        .limit(BATCH)
    )
    if voter is not None:
        chosen = chosen.where(votes.c.voter == voter)
    moments = {row.battle_id: row.cast_at for row in connection.execute(chosen)}
    return [(battle, moments[battle.id]) for battle in battles_of(connection, list(moments))]


def _keep(connection: Connection, rows: list[dict[str, Any]]) -> None:
    """Inserts or replaces the rows; another process may do the same."""
    new = inserting(connection, features)
    changes = {name: new.excluded[name] for name in ("version", "patterns", *_FOUND)}
    connection.execute(new.on_conflict_do_update(index_elements=["battle_id"], set_=changes), rows)


def _joined() -> Select[Any]:
    return (
        select(
            votes.c.battle_id,
            votes.c.winner,
            votes.c.voter,
            votes.c.cast_at,
            votes.c.signed_in,
            votes.c.guess,
            battles.c.mode,
            battles.c.language,
            battles.c.category,
            battles.c.model_a,
            battles.c.served_model_a,
            battles.c.model_b,
            battles.c.served_model_b,
            _is_old().label("is_old"),
            *(features.c[name] for name in _FOUND),
        )
        .join_from(votes, battles)
        .join(features, features.c.battle_id == votes.c.battle_id, isouter=True)
        .order_by(votes.c.cast_at, votes.c.battle_id)
    )


def vote_columns(connection: Connection) -> dict[str, Any]:
    """One list a column of `VoteTable`, all of one moment."""
    found = connection.execute(_joined())
    names, rows = tuple(found.keys()), found.all()
    if not rows:
        return {name: [] for name in COLUMNS}
    # Votes that came in since the table was filled are few: they are computed here.
    fresh = _computed(connection, {row.battle_id: row.cast_at for row in rows if row.is_old})
    values = ((*row[: -len(_FOUND)], *fresh[row.battle_id]) if row.is_old else row for row in rows)
    excluded = set(connection.scalars(in_force().with_only_columns(exclusions.c.battle_id)))
    return _table_columns(names, values if fresh else rows, excluded)


def _own_columns(
    connection: Connection, battle: Battle, vote: Vote, labels: Sequence[str] | None
) -> dict[str, Any]:
    """As `vote_columns`, of the votes of `own_votes`."""
    computed = features_of(battle, vote.cast_at, labels)
    same = (votes.c.voter == vote.voter, features.c.prompt == computed.prompt)
    found = connection.execute(_joined().where(*same, votes.c.battle_id != battle.id))
    names = tuple(found.keys())
    known = battle_row(battle) | vote_row(vote) | asdict(computed) | {"is_old": False}
    decided = in_force().where(exclusions.c.battle_id == battle.id)
    excluded = set(connection.scalars(decided.with_only_columns(exclusions.c.battle_id)))
    return _table_columns(names, [*found, tuple(known[name] for name in names)], excluded)


def _table_columns(
    names: Sequence[str], rows: Iterable[Sequence[Any]], excluded: Container[str]
) -> dict[str, Any]:
    """The table's columns from at least one row of `_joined`; `excluded` are ids of battles."""
    by_name = dict(zip(names, zip(*rows, strict=True), strict=True))
    sides = zip(by_name["guess"], by_name["model_a"], by_name["model_b"], strict=True)
    guessed = [_guessed(*side) for side in sides]
    out = int(VoteFlag.EXCLUDED)
    same = ("winner", "mode", "language", "category", "voter", "signed_in", "prompt", *_MEASURES)
    return {
        "a": list(zip(by_name["model_a"], _known(by_name["served_model_a"]), strict=True)),
        "b": list(zip(by_name["model_b"], _known(by_name["served_model_b"]), strict=True)),
        "cast_at": [moment.timestamp() for moment in by_name["cast_at"]],
        "flags": [
            flags | guess | (out if battle_id in excluded else 0)
            for flags, guess, battle_id in zip(
                by_name["marks"], guessed, by_name["battle_id"], strict=True
            )
        ],
        **{name: by_name[name] for name in same},
    }


def _guessed(guess: str | None, model_a: str, model_b: str | None) -> int:
    """The flag of a guess; none where it named neither, or both are one contestant."""
    if guess is None or model_a == model_b or guess not in (model_a, model_b):
        return 0
    return int(VoteFlag.GUESSED_RIGHT if guess == model_a else VoteFlag.GUESSED_WRONG)


def _known(served: Sequence[str | None]) -> list[str]:
    """What served each answer; empty where that is unknown."""
    return [name or "" for name in served]


def _computed(
    connection: Connection, moments: Mapping[str, datetime]
) -> dict[str, tuple[Any, ...]]:
    """The features of those battles, whose votes were cast at these moments."""
    ids = list(moments)
    found: dict[str, tuple[Any, ...]] = {}
    for start in range(0, len(ids), BATCH):
        for battle in battles_of(connection, ids[start : start + BATCH]):
            found[battle.id] = astuple(features_of(battle, moments[battle.id]))
    return found
