"""`python -m bench page`: the embedded model through the app's page against its bare engine.

`python -m bench stats`: how long the statistics take. `python -m bench coverage`: how often they
are right.

`python -m bench consumers`: our exports, read by the tools that they are for.

`python -m bench latency`: how soon a slot is free again, and how long the event loop is held.

`python -m bench blindness`: how well the remote model's side is told before the vote.

`python -m bench durability`: kill -9 under concurrent votes.

`python -m bench load`: many visitors at once, and how long the event loop is held.

`python -m bench markdown`: how long a long answer's Markdown holds the event loop.

`python -m bench pictures`: the page in each state, both languages and themes, laptop and phone.

`python -m bench engines`: our engines against the ways in which people run the same model.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable
from pathlib import Path


def page(chosen: argparse.Namespace) -> str:
    """Needs the browser."""
    from bench.page import run

    return run(chosen.pairs, chosen.tokens or 128)


def stats(chosen: argparse.Namespace) -> str:
    """Needs a minute."""
    from bench.stats import run

    return run(chosen.pairs)


def coverage(chosen: argparse.Namespace) -> str:
    """Needs minutes."""
    from bench.coverage import run

    return run(chosen.arenas)


def consumers(chosen: argparse.Namespace) -> str:
    """Needs packages that it installs, and minutes."""
    from bench.consumers import run

    return run(chosen)


def latency(chosen: argparse.Namespace) -> str:
    """Needs a minute."""
    from bench.latency import run

    return run(chosen.pairs)


def blindness(chosen: argparse.Namespace) -> str:
    """Needs some ten minutes."""
    from bench.blindness import run
    from bench.page import CACHE

    return run(chosen.battles, chosen.minutes, CACHE)


def durability(chosen: argparse.Namespace) -> str:
    """Needs minutes."""
    from bench.durability import run

    return run(chosen.rounds)


def load(chosen: argparse.Namespace) -> str:
    """Needs minutes."""
    from bench.load import run

    return run(chosen.streams, chosen.idle, chosen.seconds)


def markdown(_: argparse.Namespace) -> str:
    """Needs minutes."""
    from bench.markdown import run

    return run()


def pictures(chosen: argparse.Namespace) -> str:
    """Needs the browser, and some minutes."""
    from bench.page import CACHE
    from bench.pictures import run

    return run(chosen.out, CACHE)


def engines(chosen: argparse.Namespace) -> str:
    """Needs minutes to hours, by the number of visitors and of pairs."""
    from bench.engines import run

    chosen.tokens = chosen.tokens or 64
    return run(chosen)


COMMANDS: dict[str, Callable[[argparse.Namespace], str]] = {
    "page": page,
    "stats": stats,
    "coverage": coverage,
    "consumers": consumers,
    "latency": latency,
    "blindness": blindness,
    "durability": durability,
    "load": load,
    "markdown": markdown,
    "pictures": pictures,
    "engines": engines,
}


def numbers(words: str) -> list[int]:
    """Whole numbers above 0, with commas."""
    found = [int(word) for word in words.split(",")]
    if min(found) < 1:
        raise ValueError(words)
    return found


def for_engines(group: argparse._ArgumentGroup) -> None:
    """Its own options."""
    group.add_argument("--only", type=lambda words: words.split(","), help="contestants, by name")
    group.add_argument("--visitors", type=numbers, default=[1, 4, 8, 16], help="how many arrive")
    group.add_argument(
        "--stagger", type=float, default=0.25, help="seconds between arrivals; 0: only together"
    )
    group.add_argument("--llama-python", help="a Python that has llama-cpp-python")
    group.add_argument("--shape", choices=["phi-4-mini"], help="on a GPU, with --random-weights")
    group.add_argument("--random-weights", action="store_true", help="no download: see --shape")
    group.add_argument("--json", help="a file for all figures")


def main() -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("--pairs", type=int, default=5, help="measured rounds; the median counts")
    parser.add_argument("--tokens", type=int, help="tokens of each answer (page: 128; engines: 64)")
    parser.add_argument("--arenas", type=int, default=1000, help="simulated arenas (coverage)")
    parser.add_argument("--battles", type=int, default=400, help="in each cadence (blindness)")
    parser.add_argument("--minutes", type=float, default=30, help="for each of them (blindness)")
    parser.add_argument("--rounds", type=int, default=100, help="kills (durability)")
    parser.add_argument("--out", type=Path, default=Path("pictures"), help="folder (pictures)")
    many = parser.add_argument_group("load")
    many.add_argument("--streams", type=numbers, default=[48], help="how many stream at once")
    many.add_argument("--idle", type=int, default=200, help="visitors who only look")
    many.add_argument("--seconds", type=float, default=60, help="how long each is measured")
    for_engines(parser.add_argument_group("engines"))
    chosen = parser.parse_args()
    print(COMMANDS[chosen.what](chosen))
    return 0


sys.exit(main())
