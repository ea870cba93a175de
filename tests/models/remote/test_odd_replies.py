"""Replies that no provider should send: the real SDKs against loopback servers."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import Any

import pytest

from arena.domain import FinishReason
from arena.errors.models import BadReply
from arena.models import base
from arena.models.base import gated
from arena.models.remote import connection
from arena.models.remote.budget import Budget
from arena.models.remote.connection import ReplyReader
from arena.models.remote.prices import Price
from arena.models.remote.quota import Quota
from tests.models.remote.apis import Api, failing, read
from tests.models.remote.loopback import Pause, Reply, soon


def event(api: Api, chunk: Any) -> bytes:
    """A chunk as an engine sends it that escapes all but ASCII."""
    return b"data: " + json.dumps(chunk).encode() + 2 * api.server.line_end


class Gated:
    """A model whose stream passes the gate, as in a battle."""

    def __init__(self, model: Any) -> None:
        self.stream = lambda *asked: gated(model.stream(*asked))


async def test_half_an_emoji(api: Api) -> None:
    """Halves in two chunks are one character, and a lone one is replaced."""
    chunks = [api.wire.chunk(text) for text in ("a\ud83d", "\ude00", "\ud83d", "b")]
    end = api.wire.chunk("c", finish=api.wire.STOP)
    api.server.script(Reply([event(api, chunk) for chunk in (*chunks, end)]))

    texts, _ = await read(Gated(api.make()))  # type: ignore[arg-type]

    assert "".join(texts) == "a😀\ufffdbc"


async def test_only_the_first_of_several_answers_is_read(api: Api) -> None:
    """Chunks of other answers to the same prompt are passed over, their end among them."""

    def of(index: int, text: str, finish: str | None = None) -> Any:
        chunk = api.wire.chunk(text, finish=finish)
        (answer,) = chunk.get("candidates") or chunk["choices"]
        answer["index"] = index
        return chunk

    both = of(0, "c")
    key = "candidates" if "candidates" in both else "choices"
    both[key] = [*of(1, "X")[key], *both[key]]
    api.server.script(
        Reply([of(0, "a"), of(1, "X", api.wire.STOP), of(0, "b"), both, of(0, "d", api.wire.STOP)])
    )

    texts, finished = await read(api.make())

    assert "".join(texts) == "abcd"
    assert finished.reason is FinishReason.STOP


class Ledger:
    """The day's money in memory: what was reserved, and what was booked."""

    def __init__(self) -> None:
        self.reserved: list[int] = []
        self.booked: list[int] = []

    async def count_today(self, name: str, limit: int) -> bool:
        return True

    async def today(self, name: str) -> int:
        return 0

    async def reserve_spend(self, name: str, micro_usd: int, limit_micro_usd: int | None) -> int:
        self.reserved.append(micro_usd)
        return micro_usd

    async def settle_spend(self, reservation: int, actual_micro_usd: int) -> None:
        self.booked.append(actual_micro_usd)

    async def spent_today(self, name: str) -> int:
        return 0


def metered(ledger: Any) -> Quota:
    """A quota that counts in the ledger, at two dollars for a million tokens."""
    budget = Budget(usage=ledger, name="x", label="X", limit_usd=5.0, variable="X")
    return Quota(budget=budget, price_of=lambda _: Price(2.0, 2.0))


@pytest.mark.parametrize("counts", [(10**12, 5, 0), (7, 10**12, 0), (7, 5, 10**12), (10**30, 1, 1)])
async def test_counts_that_cannot_be_are_not_believed(
    api: Api, counts: tuple[int, int, int]
) -> None:
    """They are neither shown nor booked; the answer says so, and the reservation stays."""
    ledger = Ledger()
    api.server.script(api.wire.says("text", usage=api.wire.usage_of(*counts)))

    _, finished = await read(api.make(quota=metered(ledger)))

    assert finished.usage_doubtful
    assert finished.cost_usd is None
    shown = (finished.prompt_tokens, finished.completion_tokens, finished.thinking_tokens)
    assert shown == (None, None, None)
    assert ledger.booked == []


async def test_an_engines_own_tokens_are_believed(api: Api) -> None:
    """A template of its own around the prompt is real, and is booked."""
    ledger = Ledger()
    api.server.script(api.wire.says("text", usage=api.wire.usage_of(3000, 5, 0)))

    _, finished = await read(api.make(quota=metered(ledger)))

    assert finished.prompt_tokens == 3000
    assert not finished.usage_doubtful
    assert ledger.booked == [6010]


async def test_a_burst_is_cut_at_the_largest_answer(api: Api) -> None:
    """Of 100,000 chunks, 20 MB, that come at once, little is kept, and other work goes on."""

    def text(number: int) -> str:
        return f"{number:08} " + "".join(chr(0x4E00 + (number * k) % 9973) for k in range(1, 192))

    lines = [event(api, api.wire.chunk(text(number))) for number in range(2000)]
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    model = api.make()
    await read(model)  # the default reply: the SDK is imported now
    api.server.script(Reply([*([b"".join(lines)] * 50), Pause()]))
    other = asyncio.create_task(count())
    tracemalloc.start()
    texts, finished = await read(Gated(model))  # type: ignore[arg-type]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    other.cancel()

    assert (finished.reason, sum(map(len, texts))) == (FinishReason.SIZE, base.ANSWER_CHARS)
    assert peak < 20_000_000
    chunks = base.ANSWER_CHARS / 200
    assert turns >= chunks / (connection.CHUNKS_AHEAD + 1)
    await soon(api.server.asked[-1].connection.closed)


async def test_a_line_without_end_is_not_kept(api: Api) -> None:
    """One event of 20 MB is a bad reply, and the connection is closed."""
    api.server.script(Reply([b"data: ", *([b"x" * 100_000] * 200), Pause()]))

    error = await failing(api.make())

    assert isinstance(error, BadReply)
    await soon(api.server.asked[-1].connection.closed)


async def test_a_reader_that_waits_for_room_closes_its_stream() -> None:
    """Cancelled while nobody reads, it lets the SDK's own waiting end."""
    closed = asyncio.Event()

    async def flood() -> Any:
        try:
            for number in range(connection.CHUNKS_AHEAD * 10):
                yield number
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            closed.set()  # what an SDK's connection needs to see
            raise

    reader = ReplyReader(flood())
    assert await reader.next() == 0
    await reader.aclose()

    assert closed.is_set()
    assert reader._queue.qsize() <= connection.CHUNKS_AHEAD + 3


async def test_words_of_an_error_are_text(api: Api) -> None:
    """A provider's words are for the log, and a log is a file."""
    body = json.dumps({"error": {"message": "bad \ud83d"}})
    api.server.default = Reply(status=400, body=body.encode())

    error = await failing(api.make())

    error.detail.encode()
