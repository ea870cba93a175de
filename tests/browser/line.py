"""A network between a browser and a server that can be cut; and a server that can be restarted."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Coroutine
from pathlib import Path
from typing import Any, TypeVar

from arena.battle.arena import Arena
from arena.store.store import VoteStore
from tests.battle.arenas import arena_of
from tests.scripted import ScriptedModel, Step
from tests.ui.served import ServedPage, served

T = TypeVar("T")


class Line:
    """Passes bytes on between an address of its own and the server.

    `cut` ends every connection, as a network that goes does, and takes no new one until `mend`.
    """

    def __init__(self) -> None:
        self.server = 0
        self._open = True
        self._sockets: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}/"
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        with self._lock:
            self._open = False
            found, self._sockets = self._sockets, set()
        for one in found:
            _end(one)

    def mend(self) -> None:
        self._open = True

    def close(self) -> None:
        self.cut()
        _end(self._listener)

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            with contextlib.suppress(OSError):
                far = socket.create_connection(("127.0.0.1", self.server)) if self._open else None
                with self._lock:
                    if far is not None and self._open:
                        self._sockets |= {near, far}
                        for one, other in ((near, far), (far, near)):
                            threading.Thread(target=_pump, args=(one, other), daemon=True).start()
                        continue
            _end(near)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    _end(source)
    _end(target)


def _end(one: socket.socket) -> None:
    with contextlib.suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()


class Host:
    """The real page over two scripted models, on a thread of its own, behind a line."""

    def __init__(self, folder: Path) -> None:
        self.database = folder / "arena.db"
        self.line = Line()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self.script: list[Step] = ["A whole answer."]
        self.models: list[ScriptedModel] = []
        self.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """The result of work on the host's own loop."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def start(self) -> None:
        """A new process, as far as the visitor can tell."""
        self.models = [ScriptedModel(name, []) for name in ("xylo", "yuzu")]
        self.plays(*self.script)
        self.store = VoteStore.open(f"sqlite:///{self.database}")
        self.arena: Arena = arena_of(self.store, *self.models, grace=60)
        self._page = served(self.arena)
        self.page: ServedPage = self.run(self._page.__aenter__())
        self.line.server = int(self.page.address.rsplit(":", 1)[1])

    def stop(self) -> None:
        """The server ends as at a restart: without a word to the page, all battles stored."""
        self.line.cut()
        loop = self.page.loop
        assert loop is not None
        for work in (self.arena.aclose(), self.store.aclose()):
            asyncio.run_coroutine_threadsafe(work, loop).result(30)
        self.run(self._page.__aexit__(None, None, None))

    def plays(self, *script: Step) -> None:
        """What both models say from now on."""
        self.script = list(script)
        for model in self.models:
            model.scripts = [self.script]

    def close(self) -> None:
        self.stop()
        self.line.close()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
