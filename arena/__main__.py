"""`python -m arena`."""

import os
import sys

from arena.cli import main

try:
    code = main()
    sys.stdout.flush()
except BrokenPipeError:
    # Whoever reads had enough, e.g. `| head`; the interpreter's own last flush must not complain.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    code = 1
sys.exit(code)
