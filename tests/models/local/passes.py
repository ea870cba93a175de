"""Holds an engine back, so that an answer does not end before its reader leaves it."""

from __future__ import annotations

import asyncio
import threading
from typing import Any


class Passes:
    """Counts an engine's passes of its model, each of which waits for turns of the event loop.

    So an answer does not end before its reader can leave it, however busy the machine is.
    """

    TURNS = 20

    def __init__(self, engine: Any) -> None:
        self.begun = 0
        self._loop = asyncio.get_running_loop()
        for model in (engine._batch._model, engine._generate_runner._model):
            model.model.layers[0].register_forward_pre_hook(self._wait)

    def _wait(self, *_: object) -> None:
        self.begun += 1
        turned = threading.Event()
        self._loop.call_soon_threadsafe(self._turn, self.TURNS, turned)
        assert turned.wait(30), "the event loop stands still"

    def _turn(self, left: int, turned: threading.Event) -> None:
        if left:
            self._loop.call_soon(self._turn, left - 1, turned)
        else:
            turned.set()
