"""Loading before the page is served: what ZeroGPU asks for."""

from __future__ import annotations

from arena.models.local.model import LocalModel
from arena.models.registry import Registry


def load_before_launch(registry: Registry) -> None:
    """Load the local models on this thread; the stand-in only where the primary one failed.

    Blocks for as long as that takes. On ZeroGPU the weights have to be there when the page is
    launched, and they leave this process then: what was not loaded by now never will be.
    """
    local = [(e, e.model) for e in registry.entries if isinstance(e.model, LocalModel)]
    for entry, model in local:
        if not entry.standby:
            model.load_now()
    if not any(entry.primary and entry.ready for entry, _ in local):
        for entry, model in local:
            if entry.standby:
                model.load_now()
