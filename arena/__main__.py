"""`python -m arena`, and the command `arena`."""

import sys

from arena.interrupt import leave_at_once


def main() -> int:
    """Run one command; its imports take a second, in which Ctrl-C must be quiet too."""
    leave_at_once()
    from arena.cli import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
