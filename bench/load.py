"""Many visitors of the page at once: answers that stream, visitors who only look, and votes.

The app's page in a process of its own (`python -m bench.load_server`), with two paced models in the
place of real ones: each writes `TOKENS` short pieces at `RATE` a second, so that the page is
measured and no model. The visitors are in this process and speak Gradio's own protocol. An idle
visitor asks what is new, as a page does whose model loads. Lag is how much later than asked for a
sleep of 10 ms ends on the server's event loop.
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psutil

from bench.load_server import RATE, TOKENS
from tests.ui.served import free_port
from tests.ui.visitors import PageVisitor, client, config_of

PULSE_S = 5.0
"""How often such a page asks, as the script `pulse.js` has it."""


@dataclass
class Seen:
    """What the visitors saw, in seconds."""

    first: list[float] = field(default_factory=list)
    gaps: list[float] = field(default_factory=list)
    votes: list[float] = field(default_factory=list)
    battles: int = 0
    errors: list[str] = field(default_factory=list)


async def battle(page: PageVisitor, seen: Seen) -> None:
    """One question, both answers to their end, and a vote."""
    listener = page.listener("send", "click")
    asked = last = time.perf_counter()
    ended = "nothing came"
    body = page.body(listener, {"prompt": "Tell me a story."})
    async with aclosing(page.messages(listener, body)) as messages:
        async for message in messages:
            now = time.perf_counter()
            if message["msg"] == "process_generating":
                (seen.gaps if last > asked else seen.first).append(now - last)
                last = now
            elif message["msg"] == "process_completed":
                ended = "" if message["success"] else str(message["output"])
    if ended:
        seen.errors.append(ended)
        return
    asked = time.perf_counter()
    (said,) = [m for m in await page.fire("vote-a", "click") if m["msg"] == "process_completed"]
    seen.votes.append(time.perf_counter() - asked)
    seen.battles += 1
    if not said["success"]:
        seen.errors.append(str(said["output"]))


async def reader(page: PageVisitor, seen: Seen, until: float) -> None:
    """Battle after battle."""
    await page.open()
    while time.perf_counter() < until:
        try:
            await battle(page, seen)
        except httpx.HTTPError as error:
            seen.errors.append(repr(error))


async def looker(page: PageVisitor, seen: Seen, until: float, number: int, all_of: int) -> None:
    """An open page that asks what is new, as one does whose model loads; others ask nothing."""
    pulse = page.listener("pulse-status", "select")
    await asyncio.sleep(PULSE_S * number / all_of)
    with suppress(httpx.ReadError):
        async with page.connected():
            await page.open()
            while time.perf_counter() < until:
                try:
                    await page.post(pulse, page.body(pulse, {}))
                except httpx.HTTPError as error:
                    seen.errors.append(repr(error))
                await asyncio.sleep(PULSE_S)


def server(folder: Path, port: int, streams: int) -> subprocess.Popen[str]:
    """The page's process; it says its lags, in seconds, as JSON when its input ends."""
    return subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "bench.load_server", str(folder), str(port), str(streams)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=dict(os.environ),
    )  # fmt: skip


def percentile(values: Sequence[float], share: float) -> float:
    """That percentile in milliseconds; 0 of nothing."""
    ordered = sorted(values)
    return 1000 * ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else 0.0


async def measure(streams: int, idle: int, seconds: float) -> str:
    """One row."""
    with tempfile.TemporaryDirectory() as name:
        port = free_port()
        process = server(Path(name), port, streams)
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        memory = psutil.Process(process.pid).memory_info
        before = memory().rss
        seen = Seen()
        async with client(f"http://127.0.0.1:{port}") as http:
            config = await config_of(http)
            pages = [PageVisitor(http, config) for _ in range(streams + idle)]
            until = time.perf_counter() + seconds
            async with asyncio.TaskGroup() as group:
                for number, page in enumerate(pages[streams:]):
                    group.create_task(looker(page, seen, until, number, idle))
                for page in pages[:streams]:
                    group.create_task(reader(page, seen, until))
                await asyncio.sleep(seconds / 3)
                early = memory().rss
                await asyncio.sleep(seconds * 0.6)
                late = memory().rss
        process.communicate()
        lags = json.loads((Path(name) / "lags.json").read_text())
    cells = [
        streams, idle, seen.battles, len(seen.errors),
        *(f"{percentile(v, 0.5):.0f} / {percentile(v, 0.99):.0f}"
          for v in (seen.first, seen.gaps, seen.votes, lags)),
        f"{max(lags) * 1000:.0f}", f"{(late - before) / 2**20 / (streams + idle):.2f}",
        f"{(late - early) / 2**20:+.0f}",
    ]  # fmt: skip
    for error in seen.errors[:3]:
        print(error, file=sys.stderr)
    return f"| {' | '.join(map(str, cells))} |"


def run(streams: Sequence[int], idle: int, seconds: float) -> str:
    """The table, a row for each number of streams."""
    head = (
        "| streams | idle | battles | errors | first snapshot, ms | gap, ms | vote, ms | lag, ms | "
        "longest lag, ms | MiB a visitor | MiB later |"
    )
    rows = [head, "|---" * 11 + "|"]
    rows += [asyncio.run(measure(number, idle, seconds)) for number in streams]
    pace = f"p50 / p99; two paced models, {RATE} pieces a second, {TOKENS} in an answer"
    return "\n".join([*rows, "", pace])
