"""The process that runs an ONNX model: loads it, prefills prompts, decodes answers side by side.

A step takes a core for a hundredth of a second to several, and ONNX Runtime GenAI holds the
interpreter's lock for all of it, so it has a process of its own. It ends when the arena's end of
the connection closes, however the arena ended.

Imports the standard library, numpy and ONNX Runtime, and no torch.
"""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from dataclasses import replace
from multiprocessing.connection import Connection

import numpy as np

from arena.models.local.onnx.batch import BatchedRunner, batch_invariant
from arena.models.local.onnx.kv_cache import UnfitError
from arena.models.local.onnx.protocol import OUT_OF_MEMORY_STATUS, WorkerConfig
from arena.models.local.onnx.scheduler import Scheduler, failure
from arena.models.local.onnx.sequence import ModelRunner

IDLE_S = 1.0
"""How long the worker is idle before it prefills cached prefixes: a chunk takes a tenth of a
second, for which the next question would wait."""


def load(config: WorkerConfig) -> ModelRunner:
    """The model on the quickest runner that it has here, warm.

    Raises:
        ArithmeticError: it computes nonsense here.
        RuntimeError, MemoryError: it cannot be loaded.
    """
    try:
        batched = BatchedRunner(config)
    except UnfitError as error:
        why = str(error)
    else:
        warm_up(batched)
        if not batch_invariant(batched):
            why = "a batch changes logits on this processor"
            batched.info = replace(batched.info, max_batch_size=1, why_unbatched=why)
        return batched
    # Here, what was loaded is gone with the error: the weights may not fit twice.
    from arena.models.local.onnx.genai import GenaiRunner

    genai = GenaiRunner(config, why)
    warm_up(genai)
    return genai


def warm_up(runner: ModelRunner) -> None:
    """Prefill and decode a little.

    Raises:
        ArithmeticError: the model computes nonsense here.
    """
    sequence = runner.new_sequence(4, long_rope=False)
    sequence.prefill([0, 0, 0])
    runner.decode_step([sequence], [0])
    if not np.isfinite(sequence.logits()).all():
        raise ArithmeticError("the logits are not finite")


def serve(connection: Connection, scheduler: Scheduler) -> None:
    """Work until the connection closes.

    Raises:
        EOFError, ConnectionError: it has.
    """
    quiet = False
    while True:
        timeout: float | None = 0.0
        if not scheduler.busy and not quiet:
            timeout = IDLE_S
        elif not scheduler.busy and not scheduler.prefix_cache.prefill_chunk():
            timeout = scheduler.prefix_cache.drop_expired()
        heard = False
        while connection.poll(timeout):
            scheduler.add(connection.recv())
            heard, timeout = True, 0.0
        quiet = not heard and not scheduler.busy
        if scheduler.busy:
            scheduler.step()


def main() -> int:
    """Load and serve; the exit status."""
    # Ctrl-C in a terminal, and a service's stop, reach every process; the arena ends its worker
    # itself, and would otherwise take it for crashed and load another one while it stops.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    connection: Connection = Connection(int(sys.argv[1]))
    # The connection closes at the arena's end.
    with suppress(EOFError, ConnectionError):
        config: WorkerConfig = connection.recv()
        try:
            runner = load(config)
            connection.send(runner.info)
            serve(connection, Scheduler(runner, connection.send))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - the arena logs it and starts another worker
            try:
                connection.send(failure(None, error))
            except MemoryError:
                os._exit(OUT_OF_MEMORY_STATUS)  # which takes none
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
