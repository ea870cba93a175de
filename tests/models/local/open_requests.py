"""What an engine still holds, read from inside: no product code asks for it."""

from __future__ import annotations

from typing import Any


def open_requests(engine: Any) -> int:
    """Requests whose tokens are still read."""
    match type(engine).__name__:
        case "OnnxEngine":
            return len(engine._link._sinks) if engine._link else 0
        case "TransformersEngine":
            return len(engine._batch._router._deliver) if engine._batch else 0
        case "ZeroGpuEngine":
            return len(engine._calls)
        case name:
            raise ValueError(name)


def num_waiting(semaphore: Any) -> int:
    """How many wait for a permit."""
    return len(semaphore._waiting)
