"""`python -m bench page`: the embedded model through the app's page against its bare engine."""

from __future__ import annotations

import argparse
import sys

from bench.page import run

COMMANDS = {"page": run}


def main() -> int:
    """Run one benchmark."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", choices=sorted(COMMANDS))
    parser.add_argument("--pairs", type=int, default=5, help="measured pairs; the median counts")
    parser.add_argument("--tokens", type=int, default=128, help="tokens of each answer")
    chosen = parser.parse_args()
    print(COMMANDS[chosen.what](chosen.pairs, chosen.tokens))
    return 0


sys.exit(main())
