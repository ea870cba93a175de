"""All faults that a battle must survive, as one table: `test_faults.py` plays it.

`fault_document.py` makes the page in the manuals of it.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from arena.models.base import ANSWER_CHARS
from tests.models.remote import gemini_server, openai_server
from tests.models.remote.loopback import HangUp, Pause, Reply, Reset, Step, as_json

KEPT = ""
"""In place of an error's code: the answer stays, whole."""
WHOLE = "偶数 and 😀 more."
FIRST = "Half an "
APIS = ("gemini", "openai")


@dataclass(frozen=True, kw_only=True)
class ProviderFault:
    """What a provider, or the way to it, does wrong.

    Attributes:
        name: as it stands in the document.
        reply: the server's reply in the words of an API, after these first steps; None where the
            fault is on the way to the server (`way`).
        before, mid: the code of the error that ends the answer of Gemini and of an
            OpenAI-compatible engine, when it comes before the first text and after some; None
            where it can't come. `KEPT`: it is no error.
        way: `refused`, `dns` or `tls`.
        text: the answer's, where it is kept.
        silent: the provider says nothing, so that a timeout has to end it: `wholly` or, with signs
            of life, `but alive`.
        slow: it goes on for so long that the clock has to end it.
        mark: the finish reason of an answer that is kept.
    """

    name: str
    reply: Callable[[Any, list[Step]], Reply] | None = None
    before: tuple[str | None, str | None] | None = None
    mid: tuple[str | None, str | None] | None = None
    way: str = ""
    text: str = WHOLE
    silent: str = ""
    slow: bool = False
    mark: str = "stop"


def by(*, gemini: Any = None, openai: Any = None) -> Callable[[ModuleType], Any]:
    """One value for each API."""
    return lambda wire: {"gemini": gemini, "openai": openai}[wire.MODULE]


def _steps(*steps: Any) -> Callable[[Any, list[Step]], Reply]:
    """A stream that says so after its first steps; a function is asked for the API's own step."""

    def reply(wire: Any, first: list[Step]) -> Reply:
        return Reply([*first, *(step(wire) if callable(step) else step for step in steps)])

    return reply


def _status(gemini: Reply | None, openai: Reply | None) -> Callable[[Any, list[Step]], Reply]:
    """An error in place of an answer."""
    return lambda wire, _: {"gemini": gemini, "openai": openai}[wire.MODULE]


def _whole(wire: Any) -> bytes:
    """One event with the whole answer, as it goes over the wire."""
    event = as_json(wire.chunk(WHOLE, finish=wire.STOP))
    return b"data: " + event + b"\n\n"


def _split(wire: Any, first: list[Step]) -> Reply:
    event = _whole(wire)
    cuts = sorted({event.index("偶".encode()) + 1, event.index("😀".encode()) + 2})
    pieces = [event[a:b] for a, b in zip([0, *cuts], [*cuts, len(event)], strict=True)]
    return Reply([*first, *pieces])


def _odd_events(wire: Any, first: list[Step]) -> Reply:
    """All that server-sent events allow beside `data: `."""
    event = as_json(wire.chunk(WHOLE, finish=wire.STOP))
    return Reply(
        [
            *first,
            b": a comment\n\n",
            b"id: 7\nevent: message\nretry: 10\n",
            b"data:" + event,
            b"\n\n",
        ]
    )


def _gzip(wire: Any, first: list[Step]) -> Reply:
    return Reply([*first, _whole(wire)], gzip=True)


def _keep_alive(_: Any, first: list[Step]) -> Reply:
    return Reply([*first, *([b": keep-alive\n\n", Pause(0.05)] * 2000)])


def _silent_head(_: Any, __: list[Step]) -> Reply:
    return Reply(before=Pause())


def _thoughts_only(wire: Any, _: list[Step]) -> Reply:
    end = {"finish": wire.LENGTH, "usage": wire.usage_of(9, 0, 64)}
    return Reply([wire.thought("Hm."), wire.chunk(**end)])


_WAIT_S = 31.0
# No text that repeats itself, which would be stopped as a loop.
_NOISE = "".join(random.Random(7).choices("abcdefgh ", k=ANSWER_CHARS + 50_000))
NETWORK = ("network", "engine_unreachable")
BROKEN = ("stream_broken", "stream_broken")
BLOCKED = ("content_blocked", "content_blocked")
BOTH_KEPT = (KEPT, KEPT)

PROVIDER: tuple[ProviderFault, ...] = (
    ProviderFault(name="connection refused", way="refused", before=NETWORK),
    ProviderFault(name="no such host (DNS)", way="dns", before=NETWORK),
    ProviderFault(name="TLS fails", way="tls", before=NETWORK),
    ProviderFault(
        name="silence before the headers", reply=_silent_head, before=("network", "network"),
        silent="wholly",
    ),
    ProviderFault(
        name="silence", reply=_steps(Pause()), before=("network", "network"), mid=BROKEN,
        silent="wholly",
    ),
    ProviderFault(
        name="comments that keep it alive, and nothing else", reply=_keep_alive,
        before=("network", "network"), mid=BROKEN, silent="but alive",
    ),
    ProviderFault(
        name="key refused (400 or 401)",
        reply=_status(gemini_server.key_invalid(), openai_server.fails(401)),
        before=("key_rejected", "key_rejected"),
    ),
    ProviderFault(
        name="forbidden (403)", reply=_status(gemini_server.fails(403), openai_server.fails(403)),
        before=("key_rejected", "key_rejected"),
    ),
    ProviderFault(
        name="no such model (404)",
        reply=_status(gemini_server.fails(404), openai_server.unknown_model()),
        before=("model_gone", "model_gone"),
    ),
    ProviderFault(
        name="too many requests (429), with a wait",
        reply=_status(gemini_server.busy(_WAIT_S), openai_server.busy(_WAIT_S)),
        before=("rate_limited", "rate_limited"),
    ),
    ProviderFault(
        name="no quota at all (429, limit 0)",
        reply=_status(
            gemini_server.no_free_quota(), openai_server.fails(429, code="insufficient_quota")
        ),
        before=("no_free_quota", "key_rejected"),
    ),
    ProviderFault(
        name="server error (500)",
        reply=_status(gemini_server.fails(500), openai_server.fails(500)),
        before=("overloaded", "overloaded"),
    ),
    ProviderFault(
        name="overloaded (503)", reply=_status(gemini_server.fails(503), openai_server.fails(503)),
        before=("overloaded", "overloaded"),
    ),
    ProviderFault(
        name="no candidates",
        reply=_steps(by(gemini={"candidates": []}, openai={"choices": []})),
        before=BROKEN, mid=BROKEN,
    ),
    ProviderFault(
        name="prompt blocked",
        reply=_status(
            Reply([{"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}]),
            openai_server.fails(400, "The response was filtered.", code="content_filter"),
        ),
        before=BLOCKED,
    ),
    ProviderFault(
        name="blocked for safety, without text",
        reply=_steps(lambda wire: wire.chunk(finish=wire.BLOCKED)), before=BLOCKED, mid=BLOCKED,
    ),
    ProviderFault(
        name="blocked midway (RECITATION)",
        reply=_steps(
            lambda wire: wire.chunk(
                " of it", finish="RECITATION" if wire.MODULE == "gemini" else wire.BLOCKED
            )
        ),
        mid=BLOCKED,
    ),
    ProviderFault(
        name="all tokens went into thinking", reply=_thoughts_only,
        before=("only_thoughts", "only_thoughts"),
    ),
    ProviderFault(
        name="an ending without any text", reply=_steps(lambda wire: wire.chunk(finish=wire.STOP)),
        before=("empty_answer", "empty_answer"),
    ),
    ProviderFault(
        name="a finish reason that is not known, with text",
        reply=_steps(lambda wire: wire.chunk(WHOLE, finish="NEW_REASON")),
        before=BOTH_KEPT, mid=BOTH_KEPT, mark="other",
    ),
    ProviderFault(
        name="a finish reason that is not known, without text",
        reply=_steps(lambda wire: wire.chunk(finish="NEW_REASON")),
        before=("bad_reply", "bad_reply"),
    ),
    ProviderFault(
        name="a call of a tool that was not offered",
        reply=_steps(
            lambda wire: (
                wire.chunk(finish=wire.STOP)
                | {
                    "candidates": [
                        {
                            "content": {
                                "role": "model",
                                "parts": [{"functionCall": {"name": "f", "args": {}}}],
                            },
                            "finishReason": "STOP",
                        }
                    ]
                }
                if wire.MODULE == "gemini"
                else wire.chunk(
                    finish="tool_calls",
                    tool_calls=[
                        {"index": 0, "id": "1", "function": {"name": "f", "arguments": "{}"}}
                    ],
                )
            )
        ),
        before=("empty_answer", "empty_answer"), mid=BOTH_KEPT, text="",
    ),
    ProviderFault(
        name="half of a JSON object", reply=_steps(b'data: {"candidates": [{"cont\n\n'),
        before=("bad_reply", "bad_reply"), mid=("bad_reply", "bad_reply"),
    ),
    ProviderFault(
        name="bytes that are no UTF-8", reply=_steps(b"data: \xff\xfe{}\n\n"),
        before=("bad_reply", "bad_reply"), mid=("bad_reply", "bad_reply"),
    ),
    ProviderFault(
        name="characters split between packets", reply=_split, before=BOTH_KEPT, mid=BOTH_KEPT
    ),
    ProviderFault(
        name="events with comments, names, ids, and no space after `data:`", reply=_odd_events,
        before=BOTH_KEPT, mid=BOTH_KEPT,
    ),
    ProviderFault(name="gzip", reply=_gzip, before=BOTH_KEPT),
    ProviderFault(
        name="connection closed", reply=_steps(HangUp()), before=("network", "network"), mid=BROKEN
    ),
    ProviderFault(
        name="connection reset", reply=_steps(Reset()), before=("network", "network"), mid=BROKEN
    ),
    ProviderFault(
        name="an end without a finish reason", reply=_steps(), before=BROKEN, mid=BROKEN
    ),
    ProviderFault(
        name="an error inside the stream", reply=_steps(lambda wire: wire.error_event(503)),
        before=("overloaded", "overloaded"), mid=("overloaded", "overloaded"),
    ),
    ProviderFault(
        name="20 MB, of which the largest answer is kept",
        reply=lambda wire, _: Reply(
            [*[wire.chunk(_NOISE)] * 80, wire.chunk(finish=wire.STOP)]
        ),
        before=BOTH_KEPT, text=_NOISE[:ANSWER_CHARS], mark="size",
    ),
    ProviderFault(
        name="5,000 chunks at once",
        reply=lambda wire, _: Reply(
            [*(wire.chunk(_NOISE[at : at + 5]) for at in range(0, 25_000, 5)),
             wire.chunk(finish=wire.STOP)]
        ),
        before=BOTH_KEPT, text=_NOISE[:25_000],
    ),
    ProviderFault(
        name="a drip without end", reply=lambda wire, first: wire.drips(every=0.02, first=first),
        mid=BROKEN, slow=True,
    ),
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HouseFault:
    """What fails on the arena's own machine.

    Attributes:
        name: as it stands in the document, and in the test.
        moments: the code of the error by when it strikes; `KEPT` where it harms nothing.
        battle: what the battle does.
        retry: what a retry needs.
        owner: the code of the error that the owner reads, where no visitor reads one.
    """

    name: str
    moments: Mapping[str, str]
    battle: str
    retry: str = ""
    owner: str = ""


_SIDE = "the other side goes on; no vote"
LOCAL_FAULTS: tuple[HouseFault, ...] = (
    HouseFault(
        name="the local model's process is killed",
        moments={"before": "engine_crashed", "mid": "engine_crashed"},
        battle=_SIDE, retry="once it has started again, which it does by itself",
    ),
    HouseFault(
        name="the local model's process hangs", moments={"mid": "engine_crashed"},
        battle=f"it is killed after two minutes of silence; {_SIDE}",
        retry="once it has started again, which it does by itself",
    ),
    HouseFault(
        name="its process has no memory left",
        moments={"before": "out_of_memory", "mid": "out_of_memory"},
        battle=_SIDE, retry="once there is memory",
    ),
    HouseFault(
        name="its files are deleted while it runs", moments={"before": KEPT, "mid": KEPT},
        battle="goes on; there is a vote",
    ),
    HouseFault(
        name="all places are taken", moments={"begin": "arena_busy"},
        battle="none begins, and no model is asked", retry="once a place is free",
    ),
)  # fmt: skip
HUB_DOWN = HouseFault(
    name="the Hub is down", moments={"any": KEPT}, owner="backup_failed",
    battle="goes on; there is a vote, which is stored on this machine",
    retry="the copy catches up by itself",
)  # fmt: skip
_NOT_BEGUN = "none begins, and no model is asked"
STORE_MOMENTS = {
    "begin": _NOT_BEGUN,
    "save": "both answers are shown; voting stays closed until they are stored",
    "vote": "the vote is not counted, and can be cast again",
}
STORE_FAULTS: Mapping[str, Sequence[str]] = {
    "disk full": ("begin", "save"),  # a vote is small, and may still fit
    "read-only": tuple(STORE_MOMENTS),
    "locked": tuple(STORE_MOMENTS),
    "file gone": tuple(STORE_MOMENTS),
}
"""The moments of each."""


def provider_cases() -> Iterator[tuple[ProviderFault, str, str, str]]:
    """Fault, API, moment, and the code that is expected."""
    for fault in PROVIDER:
        for moment, codes in (("before", fault.before), ("mid", fault.mid)):
            for api, code in zip(APIS, codes or (), strict=False):
                if code is not None:
                    yield fault, api, moment, code
