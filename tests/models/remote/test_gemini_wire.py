"""Server-sent events as Google's SDK reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from arena.models.remote.gemini_wire import plain_events

WIRE = 'data:{"a": "é"}\r\nid: 7\n: comment\nevent: message\nretry: 10\n\ndata: 2\n\n{"error"\n}'
PLAIN = 'data: {"a": "é"}\r\n\ndata: 2\n\n{"error"\n}\n'


@given(st.lists(st.integers(0, len(WIRE.encode()))))
async def test_only_data_is_left_wherever_packets_end(cuts: list[int]) -> None:
    """Fields but data are left out, a missing space is put in, and JSON without a field stays."""
    wire = WIRE.encode()
    edges = [0, *sorted(cuts), len(wire)]

    async def body() -> AsyncIterator[bytes]:
        for begin, end in pairwise(edges):
            yield wire[begin:end]

    assert b"".join([piece async for piece in plain_events(body())]).decode() == PLAIN
