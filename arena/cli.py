"""`python -m arena`: what is done without the page."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from arena.errors import ArenaError
from arena.settings import Settings, load_settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit code is 0 when it did what it should.

    0: done, or the arena can run. 1: the arena can't run. 2: a setting or the store is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m arena", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("doctor", help="what this machine has, and what to do for each gap")
    export = commands.add_parser("export", help="write all battles and votes, one JSON a line")
    export.add_argument("file", nargs="?", default="-", help="where to; - is standard output")
    chosen = parser.parse_args(arguments)
    logging.basicConfig(level=logging.ERROR)
    try:
        settings = load_settings()
        if chosen.command == "doctor":
            return asyncio.run(_doctor(settings))
        return asyncio.run(_export(settings, str(chosen.file)))
    except ArenaError as error:
        print(f"{error.sentence}\n{error.remedy_text}\n{error.detail}".strip(), file=sys.stderr)
        return 2


async def _doctor(settings: Settings) -> int:
    from arena.doctor import can_run, examine, report

    findings = await examine(settings)
    print(report(findings))
    return 0 if can_run(findings) else 1


async def _export(settings: Settings, file: str) -> int:
    from arena.votes.export import export_jsonl
    from arena.votes.store import VoteStore

    store = await asyncio.to_thread(VoteStore.open, settings.database_url)
    try:
        lines = await export_jsonl(store, sys.stdout if file == "-" else Path(file))
    finally:
        await store.aclose()
    print(f"{lines} battles written to {file}", file=sys.stderr)
    return 0
