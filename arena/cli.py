"""`python -m arena`: what is done without the page."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import re
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from arena.domain import Exclusion
from arena.errors.base import ArenaError
from arena.errors.battle import UnknownBattle
from arena.errors.store import StoreError
from arena.interrupt import STATUS, raise_again
from arena.preflight import elsewhere
from arena.settings import Settings, load_settings

if TYPE_CHECKING:
    from arena.dataset.hub import HubDataset
    from arena.store.store import VoteStore

_BATTLE_OR_VOTER = re.compile("[0-9a-f]{32}|[0-9a-f]{64}")
Command = Callable[[Settings, argparse.Namespace], Coroutine[None, None, int]]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Returns:
        The exit code. 0: done, or the arena can run. 1: the arena can't run, not all was done, or
        the reader of the output is gone. 2: a setting or the store is wrong. 130: Ctrl-C.
    """
    chosen = _parser().parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    try:
        raise_again()
        code: int = asyncio.run(chosen.run(load_settings(), chosen))
        sys.stdout.flush()
    except ArenaError as error:
        print(f"{error.sentence}\n{error.remedy_text}\n{error.detail}".strip(), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return STATUS
    except BrokenPipeError:
        # As with `| head`. The interpreter's own last flush would fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


def _parser() -> argparse.ArgumentParser:
    from arena.dataset.columns import ExportShape, FileFormat

    parser = argparse.ArgumentParser(prog="python -m arena", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    def command(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        made = commands.add_parser(name, help=text)
        made.set_defaults(run=run)
        return made

    command("doctor", _doctor, "what this machine has, and what to do for each gap")
    board = command("leaderboard", _leaderboard, "the leaderboard as text")
    board.add_argument("--json", action="store_true", help="all of it, for a program")
    export = command("export", _export, "write battles and votes to a file")
    export.add_argument("file", nargs="?", default="-", help="where to; - is standard output")
    export.add_argument("--format", choices=list(FileFormat), default=FileFormat.JSONL)
    export.add_argument("--shape", choices=list(ExportShape), default=ExportShape.ARENA)
    export.add_argument("--ties", action="store_true", help="ties give training data too")
    export.add_argument("--mask", action="store_true", help="mask what may lead to a person")
    given = command("import", _import, "read an export, or a set like LMArena's, back")
    given.add_argument("file", type=Path)
    given.add_argument("--source", help="what its votes are marked with; else the file's name")
    given.add_argument("--skip-bad", action="store_true", help="leave bad rows out")
    exclude = command("exclude", _exclude, "let a battle's vote not count; it is kept")
    exclude.add_argument("battle", help="the battle's id")
    reason = exclude.add_mutually_exclusive_group(required=True)
    reason.add_argument("--why", help="the reason, for whoever reads the data")
    reason.add_argument("--undo", action="store_true", help="let it count again")
    forget = command("forget", _forget, "remove texts for good; votes and numbers are kept")
    forget.add_argument(
        "target", type=_target, metavar="BATTLE|VOTER",
        help="a battle's id, or a voter's hash for all of their battles",
    )  # fmt: skip
    forget.add_argument("--yes", action="store_true", help="do not ask first")
    move = command("move", _move, "copy the store to another database and compare both")
    move.add_argument("target", help="where to, e.g. postgresql+psycopg://user:password@host/name")
    move.add_argument("--source", help="where from; the store of ARENA_DATABASE_URL if not given")
    return parser


async def _doctor(settings: Settings, _chosen: argparse.Namespace) -> int:
    from arena.doctor import can_run, examine
    from arena.ui.terminal import doctor_text

    findings = await examine(settings)
    works = can_run(findings)
    print(doctor_text(findings, can_run=works))
    return 0 if works else 1


async def _leaderboard(settings: Settings, chosen: argparse.Namespace) -> int:
    from arena.stats.filters import rules_of
    from arena.ui.terminal import leaderboard

    language = "en" if settings.language == "auto" else settings.language
    async with _opened(settings) as store:
        text = await leaderboard(
            store, language=language, rules=rules_of(settings), as_json=chosen.json
        )  # fmt: skip
    print(text)
    return 0


async def _export(settings: Settings, chosen: argparse.Namespace) -> int:
    from arena.dataset.columns import ExportShape, FileFormat
    from arena.dataset.export import export

    target = sys.stdout if chosen.file == "-" else Path(chosen.file)
    async with _opened(settings) as store:
        report = await export(
            store, target, file_format=FileFormat(chosen.format), shape=ExportShape(chosen.shape),
            ties=chosen.ties, mask=chosen.mask,
        )  # fmt: skip
    print(report.text, file=sys.stderr)
    return 0


async def _import(settings: Settings, chosen: argparse.Namespace) -> int:
    from arena.dataset.imports import import_file

    async with _opened(settings) as store:
        report = await import_file(
            store, chosen.file, source=chosen.source, skip_bad=chosen.skip_bad
        )
    print(report.text, file=sys.stderr)
    return 0


async def _exclude(settings: Settings, chosen: argparse.Namespace) -> int:
    """Decide about one vote; where there is a copy on the Hub, it hears of it at once."""
    why = chosen.why or "taken back"
    decided = Exclusion(chosen.battle, why, datetime.now(UTC), lifted=bool(chosen.undo))
    async with _opened(settings) as store, _copied(settings, store):
        await store.add_exclusion(decided)
        vote = await store.get_vote(decided.battle_id)
    kept = "has no vote" if vote is None else f"vote {vote.winner}, kept"
    done = "counts again" if decided.lifted else "does not count any more"
    print(f"battle {decided.battle_id} ({kept}) {done}", file=sys.stderr)
    return 0


def _target(given: str) -> str:
    if not _BATTLE_OR_VOTER.fullmatch(given):
        raise argparse.ArgumentTypeError(
            "give a battle's id (32 hexadecimal digits) or a voter's hash (64)"
        )
    return given


async def _forget(settings: Settings, chosen: argparse.Namespace) -> int:
    """Erase texts in the store and in its copy on the Hub; doing it again finishes what failed."""
    async with _opened(settings) as store:
        found = await store.erasable(chosen.target)
        if not found.ids and not found.erased:
            raise UnknownBattle(chosen.target)
        print(found.text, file=sys.stderr)
        if found.ids and not chosen.yes and not await asyncio.to_thread(_agreed):
            print("Nothing was removed.", file=sys.stderr)
            return 1
        left: list[StoreError] = []
        async with _copied(settings, store) as hub:
            await store.erase(found.ids)
            print("The texts are removed; every vote counts as before.", file=sys.stderr)
            try:
                if not await store.vacuum():
                    print("Postgres keeps old rows until VACUUM, and in backups.", file=sys.stderr)
            except StoreError as error:
                print("The file could not be written anew; stop the arena first.", file=sys.stderr)
                left.append(error)
            if hub is not None:
                try:
                    await hub.erase()
                    print("The copy and its history have none of them.", file=sys.stderr)
                except StoreError as error:
                    print("The copy still has them; the arena tries every hour.", file=sys.stderr)
                    left.append(error)
    for failed in left:
        print(f"{failed.sentence} {failed.remedy_text} {failed.detail}", file=sys.stderr)
    return 1 if left else 0


def _agreed() -> bool:
    print("Remove them for good? [y/N] ", end="", file=sys.stderr, flush=True)
    return sys.stdin.readline().strip().lower() in ("y", "yes")


async def _move(settings: Settings, chosen: argparse.Namespace) -> int:
    from arena.store.move import copy_database

    report = await copy_database(chosen.source or settings.database_url, chosen.target)
    print(report.text, file=sys.stderr)
    return 0


@asynccontextmanager
async def _opened(settings: Settings) -> AsyncGenerator[VoteStore, None]:
    """The store that the settings name; says so where another one may be meant."""
    from arena.store.store import VoteStore

    for _, error in elsewhere(settings):
        print(f"{error.sentence} {error.remedy_text}", file=sys.stderr)

    store = await asyncio.to_thread(VoteStore.open, settings.database_url)
    try:
        yield store
    finally:
        await store.aclose()


@asynccontextmanager
async def _copied(settings: Settings, store: VoteStore) -> AsyncGenerator[HubDataset | None, None]:
    """Pushes what is changed inside to the copy on the Hub, if there is one.

    For some seconds at most; what could not be pushed is at the arena's next start, if its disk is
    still there.
    """
    from arena.dataset.hub import make_hub_dataset

    hub = make_hub_dataset(settings, store)
    yield hub
    if hub is not None:
        await hub.aclose()
        if (left := hub.state()).unpushed:
            reason = left.error.sentence if left.error else ""
            print(f"{left.unpushed} changes are not in the copy yet. {reason}", file=sys.stderr)
