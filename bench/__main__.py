"""`python -m bench page`: the embedded model through the app's page against its bare engine.

`python -m bench stats`: how long the statistics take. `python -m bench coverage`: how often they
are right.

`python -m bench consumers`: our exports, read by the tools that they are for.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable


def page(chosen: argparse.Namespace) -> str:
    """Needs the browser."""
    from bench.page import run

    return run(chosen.pairs, chosen.tokens)


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


COMMANDS: dict[str, Callable[[argparse.Namespace], str]] = {
    "page": page,
    "stats": stats,
    "coverage": coverage,
    "consumers": consumers,
}


def main() -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("--pairs", type=int, default=5, help="measured rounds; the median counts")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of each answer (page)")
    parser.add_argument("--arenas", type=int, default=1000, help="simulated arenas (coverage)")
    chosen = parser.parse_args()
    print(COMMANDS[chosen.what](chosen))
    return 0


sys.exit(main())
