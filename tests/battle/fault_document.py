"""`python -m tests.battle.fault_document > docs/faults.md` writes the table of faults as a page."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence

from arena.errors import battle, models, store  # noqa: F401 -- all classes are known
from arena.errors.base import ArenaError
from tests.battle.fault_table import (
    HUB_DOWN,
    KEPT,
    LOCAL_FAULTS,
    PROVIDER,
    STORE_FAULTS,
    STORE_MOMENTS,
)

_HEAD = """# Faults

What a battle does when a provider, the local model, the store or the Hub fails. This page is made
from the table that the tests play (`tests/battle/fault_table.py`): each row is a real battle with
the real SDKs against servers on this machine, for Gemini and for OpenAI-compatible engines, before
the first text and after some.

Always: the other side goes on unharmed, there is no vote without two usable answers, the log has
the details under the error's id, and slots, sessions, tasks, sockets, memory and the engine's
requests are given back. The sentences are shown in the page's language. In blind mode nothing may
tell the sides apart before the vote.

"After the rest": the model is tried again by itself after 2 seconds, then after waits that double
up to 10 minutes; until then a retry gets the same sentence at once.

| fault | when | code | what the visitor reads | the battle | retry |
|---|---|---|---|---|---|
"""
_RESTS = {"key_rejected", "model_gone", "no_free_quota", "engine_unreachable"}
_WHEN = {
    "before": "before the first text",
    "mid": "after some text",
    "begin": "at the beginning",
    "save": "when an answer is stored",
    "vote": "when the vote is stored",
    "any": "at any time",
}
_TAIL = """
When the machine's clock jumps, a running battle goes on, since nothing in it waits by the wall
clock.
"""


def _classes(found: type[ArenaError] = ArenaError) -> dict[str, type[ArenaError]]:
    """All errors by their code."""
    classes = {found.code: found}
    for kind in found.__subclasses__():
        classes |= _classes(kind)
    return classes


def _sentences(codes: Iterable[str]) -> str:
    texts = (f"{_classes()[code].message} {_classes()[code].remedy}" for code in codes)
    return " / ".join(re.sub(r"{\w+}", "…", text) for text in texts)


def _retry(codes: Sequence[str]) -> str:
    if "rate_limited" in codes:
        return "after the wait that was named"
    return "after the rest" if set(codes) <= _RESTS else "at once"


def _row(name: str, when: str, codes: Sequence[str], mark: str) -> str:
    if KEPT in codes:
        marked = "" if mark == "stop" else ", which is marked"
        cells = [name, when, "", f"the answer{marked}", "goes on; there is a vote", ""]
    else:
        code = " / ".join(f"`{code}`" for code in codes)
        cells = [name, when, code, _sentences(codes), "the other side goes on; no vote"]
        cells.append(_retry(codes))
    return f"| {' | '.join(cells)} |\n"


def document() -> str:
    """The table as Markdown."""
    text = _HEAD
    for fault in PROVIDER:
        for moment, codes in (("before", fault.before), ("mid", fault.mid)):
            if codes is not None:
                shown = [code for code in dict.fromkeys(codes) if code is not None]
                text += _row(fault.name, _WHEN[moment], shown, fault.mark)
    for house in (*LOCAL_FAULTS, HUB_DOWN):
        for moment, code in house.moments.items():
            shown = [house.name, _WHEN[moment], f"`{code}`" if code else ""]
            said = _sentences([code]) if code else "the whole answer"
            if house.owner:
                said += f"; the owner: {_sentences([house.owner])}"
            text += f"| {' | '.join([*shown, said, house.battle, house.retry])} |\n"
    for name, moments in STORE_FAULTS.items():
        for moment in moments:
            does = STORE_MOMENTS[moment]
            cells = [f"the store: {name}", _WHEN[moment], "`store`", _sentences(["store"]), does]
            text += f"| {' | '.join([*cells, 'once the store takes it'])} |\n"
    return text + _TAIL


if __name__ == "__main__":
    sys.stdout.write(document())
