"""Runs `ZeroGpuEngine` in a process of its own, since it forks, and reports what it saw as JSON."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
import time
import traceback
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import spaces
import torch
from torch.overrides import TorchFunctionMode

from arena.domain import GenerationParams, Message, Role
from arena.errors.models import ModelError
from arena.models.base import Ready
from arena.models.local.engine import TokenRequest
from arena.models.local.model import LocalModel
from arena.models.local.transformers.engine import TransformersEngine
from tests.models.local.open_requests import open_requests
from tests.models.local.tiny_phi import LONG
from tests.models.local.transformers.zerogpu_engine import (
    CONFIG,
    ENDLESS,
    ENGINE,
    FORWARDS,
    LOADED,
    PROMPTS,
    SEEN,
    WANTED,
    alive,
    collect,
    failure,
    in_child,
    loaded,
    request,
    until,
)

Scenario = Callable[[], Awaitable[dict[str, Any]]]


async def tokens() -> dict[str, Any]:
    """What the forked processes write, and what `generate` writes here."""
    SEEN.clear()
    with in_child(lambda: SEEN.append(os.getpid())):
        forked = [await collect(ENGINE, one) for one in WANTED]
        seen_here = list(SEEN)
    thread = ENGINE._runner._thread
    stop = forked[0]["ids"][4]
    ends = replace(WANTED[0], stop_ids=frozenset({stop, 9999}))
    stopped = await collect(ENGINE, ends)
    expected = await expectations([*WANTED, ends])
    calls = spaces.platform.calls
    return {
        "forked": [*forked, stopped],
        "expected": expected,
        "greedy": plain_generate(WANTED[2]),
        "crossing_prompt": len(PROMPTS[2]),
        "seen_here": seen_here,
        "thread": thread is None,
        "pids": len({call.pid for call in calls}),
        "alive": [call.pid for call in calls if alive(call.pid)],
    }


async def expectations(wanted: list[TokenRequest]) -> list[dict[str, Any]]:
    other = loaded()
    engine = TransformersEngine(other.model, shape=other.shape, device="cpu", batching=False)
    engine.start()
    found = [await collect(engine, one) for one in wanted]
    engine.stop()
    return found


def plain_generate(one: TokenRequest) -> list[int]:
    ids = torch.tensor([list(one.ids)])
    out = loaded().model.generate(
        input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=one.max_new_tokens,
        do_sample=False, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    return out[0, ids.shape[1] :].tolist()


async def reused() -> dict[str, Any]:
    """One process for several calls, the long one first."""
    before = len(spaces.platform.calls)
    spaces.platform.keep = True
    try:
        order = [WANTED[3], WANTED[0], WANTED[2], WANTED[1]]
        found = [await collect(ENGINE, one) for one in order]
    finally:
        spaces.platform.keep = False
    calls = spaces.platform.calls[before:]
    return {
        "found": found,
        "expected": await expectations(order),
        "pids": len({call.pid for call in calls}),
    }


async def left_early() -> dict[str, Any]:
    """Closed between two pieces."""
    FORWARDS.write_bytes(b"")
    with in_child(until_left):
        pieces = ENGINE.generate(ENDLESS)
        await anext(pieces)
        pid = spaces.platform.calls[-1].pid
        was_alive = alive(pid)
        await pieces.aclose()
        await until(lambda: not alive(pid))
    forwards = FORWARDS.stat().st_size
    return {"was_alive": was_alive, "forwards": forwards, "open": open_requests(ENGINE)}


async def cancelled_in_a_step() -> dict[str, Any]:
    """Cancelled while a thread waits for the first piece, in the first half of a slow pass."""
    FORWARDS.write_bytes(b"")
    second = LOADED.model.model.layers[1]
    with in_child(wait_until_left), in_child(lambda: _append(FORWARDS), second):
        reader = asyncio.create_task(collect(ENGINE, ENDLESS))
        calls = len(spaces.platform.calls)
        await until(lambda: len(spaces.platform.calls) > calls)
        call = spaces.platform.calls[-1]
        await until(lambda: call.pid != 0 and next(iter(ENGINE._calls))._lock.locked())
        reader.cancel()
        await asyncio.wait([reader])
        await until(lambda: not alive(call.pid))
    return {
        "cancelled": reader.cancelled(),
        "second_halves": FORWARDS.stat().st_size,
        "open": open_requests(ENGINE),
    }


async def given_back_idle() -> dict[str, Any]:
    """A process that goes on living has stopped its work when it gives the GPU back."""
    FORWARDS.write_bytes(b"")

    def slow_pass() -> None:
        _append(FORWARDS)
        time.sleep(0.3)
        _append(FORWARDS)

    spaces.platform.keep = True
    with in_child(slow_pass):
        pieces = ENGINE.generate(ENDLESS)
        await anext(pieces)
        await pieces.aclose()
        await until(lambda: not open_requests(ENGINE))
        marks = FORWARDS.stat().st_size
        alive_after = alive(spaces.platform.calls[-1].pid)
    spaces.platform.keep = False
    return {"marks": marks, "alive": alive_after}


async def cancelled_in_the_queue() -> dict[str, Any]:
    """Cancelled before there is a GPU, which comes later and must be given back at once."""
    FORWARDS.write_bytes(b"")
    spaces.platform.free.clear()
    with in_child(until_left):
        reader = asyncio.create_task(collect(ENGINE, ENDLESS))
        await until(lambda: bool(open_requests(ENGINE)))
        await until(next(iter(ENGINE._calls))._lock.locked)
        reader.cancel()
        await asyncio.wait([reader])
        waiting = open_requests(ENGINE)
        spaces.platform.free.set()
        await until(lambda: not open_requests(ENGINE))
    written = FORWARDS.stat().st_size
    again = await collect(ENGINE, WANTED[0])
    return {
        "waiting": waiting,
        "written": written,
        "again": len(again["ids"]),
    }


def wait_until_left() -> None:
    """In the forked process: until its answer is to be written no more."""
    job = ENGINE._runner._current
    assert job is not None
    assert job.cancelled.wait(60)


def until_left() -> None:
    """Three passes, and a fourth one that waits."""
    _append(FORWARDS)
    if FORWARDS.stat().st_size > 3:
        wait_until_left()


def _append(file: Path) -> None:
    with file.open("ab") as opened:
        opened.write(b".")


async def crashes() -> dict[str, Any]:
    """Killed from outside, gone from inside, out of memory, any other fault; then well again."""
    reader = asyncio.create_task(failure(ENDLESS))
    with in_child(lambda: time.sleep(0.02)):
        calls = len(spaces.platform.calls)
        await until(lambda: len(spaces.platform.calls) > calls)
        await until(lambda: spaces.platform.calls[-1].pid != 0)
        os.kill(spaces.platform.calls[-1].pid, signal.SIGKILL)
        killed = await reader
    with in_child(lambda: os._exit(7)):
        gone = await failure(ENDLESS)
    with in_child(_full):
        full = await failure(ENDLESS)
    with in_child(lambda: [].remove(1)):
        fault = await failure(ENDLESS)
    with in_child(sys.exit):  # ends the thread that writes, and tells nobody
        silent = await failure(ENDLESS)
    well = await collect(ENGINE, WANTED[0])
    return {
        "killed": killed, "gone": gone, "full": full, "fault": fault, "silent": silent,
        "well": well,
    }  # fmt: skip


def _full() -> None:
    raise RuntimeError("CUDA error: out of memory")


async def not_finite() -> dict[str, Any]:
    """The numbers go wrong in the forked process, from the fourth pass on."""
    FORWARDS.write_bytes(b"")

    def spoil(_: object, args: tuple[Any, ...]) -> tuple[Any, ...]:
        _append(FORWARDS)
        spoilt = FORWARDS.stat().st_size > 3
        return (args[0] * torch.nan, *args[1:]) if spoilt else args

    handle = LOADED.model.model.layers[0].register_forward_pre_hook(spoil)
    try:
        failed = await failure(WANTED[0])
    finally:
        handle.remove()
    return {"failed_with": failed, "passes": FORWARDS.stat().st_size}


async def refused() -> dict[str, Any]:
    """The platform gives no GPU."""
    forks = [call.pid for call in spaces.platform.calls]
    sentence = (
        "You have exceeded your free ZeroGPU quota (39s requested vs. 12s left). "
        "Try again in 3:59:12. "
    )
    spaces.platform.refuse = spaces.Error("ZeroGPU quota exceeded", sentence)
    try:
        quota = await failure(WANTED[0])
    finally:
        spaces.platform.refuse = None
    return {
        "quota": quota,
        "forked": spaces.platform.calls[-1].pid,
        "before": len(forks),
        "long": checked(LONG + 1),
        "fits": checked(LONG),
        "large": checked(LONG, room=LONG - 1),
    }


def checked(total: int, room: int | None = None) -> str:
    """Code of what `check` says to so many tokens, in so much room."""
    before = ENGINE._room
    ENGINE._room = before if room is None else room
    try:
        ENGINE.check(request([1], total - 1))
    except ModelError as error:
        return error.code
    finally:
        ENGINE._room = before
    return ""


async def context() -> dict[str, Any]:
    """Two visitors at once: each call is on its own visitor's account."""
    before = len(spaces.platform.calls)

    async def ask(name: str) -> None:
        spaces.visitor.set(name)
        await collect(ENGINE, WANTED[0])

    await asyncio.gather(*(asyncio.create_task(ask(name)) for name in ("aiko", "ben")))
    calls = spaces.platform.calls[before:]
    return {"visitors": [call.visitor for call in calls], "seconds": [c.seconds for c in calls]}


async def side_by_side() -> dict[str, Any]:
    """Two write at the same time; a third gets the place of the first that leaves."""
    with in_child(lambda: time.sleep(0.02)):
        first, second = ENGINE.generate(ENDLESS), ENGINE.generate(replace(ENDLESS, seed=9))
        one, two = await anext(first), await anext(second)
        pids = [call.pid for call in spaces.platform.calls[-2:]]
        calls = len(spaces.platform.calls)
        third, gone = (asyncio.create_task(collect(ENGINE, WANTED[0])) for _ in range(2))
        for _ in range(5):
            await anext(first)
        held = len(spaces.platform.calls) == calls
        both = [alive(pid) for pid in pids]
        gone.cancel()
        await first.aclose()
        await third
        await second.aclose()
    return {
        "pids": len(set(pids)),
        "alive": both,
        "first": [bool(one.ids), bool(two.ids)],
        "held": held,
    }


async def stopped() -> dict[str, Any]:
    """The engine stops under a reader, and starts again."""
    FORWARDS.write_bytes(b"")
    with in_child(until_left):
        reader = asyncio.create_task(failure(ENDLESS))
        calls = len(spaces.platform.calls)
        await until(lambda: len(spaces.platform.calls) > calls)
        await until(lambda: spaces.platform.calls[-1].pid != 0)
        await asyncio.to_thread(ENGINE.stop)
        await until(lambda: not alive(spaces.platform.calls[-1].pid))
        ended = await reader
        after = await failure(WANTED[0])
    ENGINE.start()
    return {
        "ended": ended,
        "after": after,
        "again": await collect(ENGINE, WANTED[0]),
    }


async def whole_model() -> dict[str, Any]:
    """A `LocalModel` with it: text, status, and one crash that concerns one answer alone."""
    model = LocalModel(CONFIG)
    await model.start()
    dormant = type(model.status()).__name__
    model.load_now()
    status = model.status()
    assert isinstance(status, Ready), status
    question = [Message(Role.USER, "What is the capital of France?")]
    params = GenerationParams(temperature=0, max_new_tokens=12)
    events = [event async for event in model.stream(question, params)]
    layer = model.engine._runner._model.model.layers[0]  # type: ignore[union-attr]
    handle = layer.register_forward_pre_hook(lambda *_: os._exit(1))
    try:
        crash = "none"
        async for _ in model.stream(question, params):
            pass
    except ModelError as error:
        crash = error.code
    handle.remove()
    after = type(model.status()).__name__
    again = [event async for event in model.stream(question, params)]
    await model.aclose()
    return {
        "dormant": dormant,
        "engine": model.spec.engine,
        "facts": dict(status.facts),
        "text": "".join(e.text for e in events if hasattr(e, "text")),
        "again": "".join(e.text for e in again if hasattr(e, "text")),
        "crash": crash,
        "after": after,
    }


class Moved(TorchFunctionMode):
    """Counts what goes from the RAM to `meta`, on this thread: torch's modes hold for one."""

    count = 0

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        found = func(*args, **(kwargs or {}))
        if func is torch.Tensor.to and args[0].device.type == "cpu":
            self.count += found.device.type == "meta"
        return found


async def moved_here() -> dict[str, Any]:
    """Whose thread moves the weights; `meta` stands for the GPU that `spaces` imitates."""
    model = LocalModel(replace(CONFIG, device="meta"))
    with Moved() as moved:
        model.load_now()
    status = model.status()
    await model.aclose()
    facts = dict(status.facts) if isinstance(status, Ready) else {}
    parameters = len(list(LOADED.model.parameters()))
    return {"moved": moved.count, "parameters": parameters, "device": facts.get("device")}


async def main() -> None:
    scenarios: tuple[Scenario, ...] = (
        tokens, reused, left_early, given_back_idle, cancelled_in_a_step, cancelled_in_the_queue,
        crashes, not_finite, refused, context, side_by_side, stopped, whole_model, moved_here,
    )  # fmt: skip
    report = {}
    for scenario in scenarios:
        try:
            found = await scenario()
        except Exception:  # noqa: BLE001 - it is reported, and the others still run
            found = {"failed": traceback.format_exc()}
        report[scenario.__name__] = found
    sys.stdout.write(json.dumps(report) + "\n")


if __name__ == "__main__":
    asyncio.run(main())
