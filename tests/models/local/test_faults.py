"""The local model's faults of `fault_table.py`: battles with a tiny model in the real process."""

from __future__ import annotations

import asyncio
import fcntl
import os
import resource
import shutil
import signal
import struct
import termios
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from arena.battle.arena import Arena
from arena.battle.session import Phase
from arena.domain import GenerationParams, Mode, Side, Winner
from arena.errors.battle import VoteTooEarly
from arena.models.base import Ready
from arena.models.local.memory import reservations
from arena.models.local.model import LocalModel
from arena.models.local.onnx import client
from arena.models.local.onnx.engine import OnnxEngine
from arena.models.registry import Entry, Registry
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.battle.arenas import REQUEST, VISITOR
from tests.battle.ends import ended, forgotten, readable
from tests.battle.fault_table import KEPT, LOCAL_FAULTS
from tests.models.conftest import local_model, started
from tests.scripted import ScriptedModel
from tests.store_tools import until as soon_so

LOCAL, OTHER = Side.A, Side.B
SECOND = {
    "the local model's process is killed": signal.SIGKILL,
    "its process has no memory left": signal.SIGCONT,
}
"""What follows a fault's first blow."""
LARGE = 32 * 1024**2
"""More than a process has free that may take no more: it can't even read such a message."""


@pytest.fixture(scope="module")
def weights(
    wide_onnx_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """A copy that may be deleted."""
    target = tmp_path_factory.mktemp("weights") / "wide"
    shutil.copytree(wide_onnx_folder, target)
    return target


@pytest.fixture(scope="module")
def engine(weights: Path) -> Iterator[LocalModel]:
    """Restarts only when told; each test leaves it ready."""
    model = started(local_model("wide", weights, engine="onnx", restart_after_s=None))
    yield model
    asyncio.run(model.aclose())


def worker_of(model: LocalModel) -> int:
    """Its process."""
    assert isinstance(model.engine, OnnxEngine)
    return model.engine.worker_pid


def link_of(model: LocalModel) -> client.WorkerLink:
    """What holds the answers that its process owes, and writes to it."""
    assert isinstance(model.engine, OnnxEngine)
    assert model.engine._link is not None
    return model.engine._link


def unread(link: client.WorkerLink) -> int:
    """Bytes on the way to the process."""
    assert link._socket is not None
    (size,) = struct.unpack("i", fcntl.ioctl(link._socket, termios.TIOCOUTQ, bytes(4)))
    return int(size)


CASES = [
    pytest.param(fault.name, moment, code, id=f"{fault.name}-{moment}")
    for fault in LOCAL_FAULTS
    for moment, code in fault.moments.items()
    if moment != "begin"
]


@pytest.mark.parametrize(("name", "moment", "code"), CASES)
async def test_the_local_model_fails(
    engine: LocalModel, weights: Path, store: VoteStore, monkeypatch: pytest.MonkeyPatch,
    *, name: str, moment: str, code: str,
) -> None:  # fmt: skip
    """The other side is unharmed, the reason can be read, and a retry works after a restart.

    Afterwards neither a slot nor a session, a request to the engine or memory is held.
    """
    memory = reservations.total
    rest = asyncio.Event()
    other = ScriptedModel("other", ["Other ", rest, "answer."])
    registry = Registry([Entry("wide", engine), Entry("other", other)])
    arena = Arena(registry, store, Limits(battles=1, battles_per_minute=1000))
    params = GenerationParams(temperature=0.0, max_new_tokens=200 if code else 8)
    request = replace(REQUEST, mode=Mode.OPEN, params=params, model_a="wide", model_b="other")
    before = moment == "before"
    with ExitStack() as undo:
        if before:
            await strike(name, engine, weights, undo)
        session = await arena.begin(request)
        if before and code:
            await soon_so(lambda: engine.throughput().answering == 1)
        if not before:
            await soon_so(lambda: bool(session.streams[LOCAL].text) or not session.running)
            await strike(name, engine, weights, undo)
        if name.endswith("hangs"):
            monkeypatch.setattr(client, "HANG_S", 0.5)
        elif code:
            os.kill(worker_of(engine), SECOND[name])
        await ended(session, LOCAL)
        assert session.streams[OTHER].running, "the other side goes on"
        rest.set()
        await ended(session, OTHER)
    snapshot = session.snapshot()
    assert snapshot.sides[OTHER].text == "Other answer."
    assert snapshot.votable is (code == KEPT)
    if code != KEPT:
        readable(snapshot.sides[LOCAL].facts.error, code)
        assert bool(session.streams[LOCAL].text) is not before
        with pytest.raises(VoteTooEarly):
            await arena.vote(session.battle.id, Winner.TIE, VISITOR)
        monkeypatch.undo()
        await registry.try_again()
        assert isinstance(engine.status(), Ready)
        session.battle = replace(session.battle, params=replace(params, max_new_tokens=8))
        await arena.retry(session, LOCAL, VISITOR)
        await ended(session, LOCAL)
        assert session.snapshot().sides[LOCAL].phase is Phase.DONE
    await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    held = (engine.throughput().answering, len(link_of(engine)._sinks), other.running)
    assert held == (0, 0, 0)
    assert reservations.total == memory
    await forgotten(arena, session)


async def strike(name: str, model: LocalModel, weights: Path, undo: ExitStack) -> None:
    """The fault's first blow; it ends with the stack."""
    pid, link = worker_of(model), link_of(model)
    if name.endswith(("killed", "hangs", "left")):
        os.kill(pid, signal.SIGSTOP)  # so that it writes nothing before the end
    if name.endswith("left"):
        old = resource.prlimit(pid, resource.RLIMIT_AS, (1, resource.RLIM_INFINITY))
        undo.enter_context(suppress(ProcessLookupError))  # it may have ended
        undo.callback(lambda: resource.prlimit(pid, resource.RLIMIT_AS, old))
        link._outbox.put(cast("Any", bytes(LARGE)))
        await soon_so(lambda: unread(link) > 0)
    if name.endswith("runs"):
        away = weights.with_name("away")
        await asyncio.to_thread(weights.rename, away)
        undo.callback(away.rename, weights)
