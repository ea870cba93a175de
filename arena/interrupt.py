"""Ctrl-C before a command has begun: nothing to tidy up, and no traceback of a half-made import.

An exception would not do: libraries that are interrupted in their import print it, or turn it into
an error of their own.
"""

from __future__ import annotations

import os
import signal

STATUS = 128 + signal.SIGINT
"""Exit code of what Ctrl-C ended, as shells count it."""


def leave_at_once() -> None:
    """From now on Ctrl-C ends this process; call before anything else is imported.

    Where Ctrl-C is ignored, as in a background job of a shell, it stays so.
    """
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, lambda *_: os._exit(STATUS))


def raise_again() -> None:
    """From now on Ctrl-C is an exception, so that what has begun is tidied up."""
    if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
