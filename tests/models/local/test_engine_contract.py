"""What every engine does: the same tests over transformers and both ways of ONNX Runtime.

All have the same weights, in f32: a small Phi-3 with LongRoPE. transformers' own `generate` says
what is right.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import replace
from typing import Any

import pytest

from arena.domain import FinishReason
from arena.errors.models import ContextTooLong
from arena.models.base import Ready
from arena.models.local.engine import TokenEngine, TokenRequest, Tokens
from tests.models.conftest import Case, being_read
from tests.models.local.open_requests import open_requests
from tests.models.local.tiny_phi import LONG, SHORT

PROMPTS = ["What is the capital", "Write a for loop in Python", "日本の首都", "The quick brown fox"]
NEVER = frozenset({10**6})
"""A stop token that does not exist: without any, transformers takes the model's own."""


@pytest.fixture(params=["transformers", "onnx", "genai"])
def case(request: pytest.FixtureRequest) -> Case:
    found: Case = request.getfixturevalue(f"wide_{request.param}")
    return found


def prompts(case: Case) -> list[list[int]]:
    return [case.tokenizer(text)["input_ids"][:16] for text in PROMPTS]


def request(ids: list[int], count: int = 12, **values: Any) -> TokenRequest:
    given = {"temperature": 0.0, "top_p": 1.0, "seed": 1, "stop_ids": NEVER, **values}
    return TokenRequest(ids=ids, max_new_tokens=count, **given)


async def collect(engine: TokenEngine, wanted: TokenRequest) -> list[int]:
    """All tokens; checks on the way that the last piece, and it alone, says why it is the last."""
    ids: list[int] = []
    finish = None
    async with asyncio.timeout(60), aclosing(engine.generate(wanted)) as pieces:
        async for piece in pieces:
            assert finish is None
            ids += piece.ids
            finish = piece.finish
    stopped = bool(ids) and ids[-1] in wanted.stop_ids
    assert finish is (FinishReason.STOP if stopped else FinishReason.LENGTH)
    return ids


async def together(engine: TokenEngine, wanted: list[TokenRequest]) -> list[list[int]]:
    return list(await asyncio.gather(*(collect(engine, one) for one in wanted)))


async def until(true: Callable[[], bool], what: str) -> None:
    """Until it is so; looks again and again, and gives up after a minute."""
    end = time.monotonic() + 60
    while not true():
        assert time.monotonic() < end, what
        await asyncio.sleep(0.002)


async def first_piece(stream: AsyncGenerator[Tokens, None]) -> list[int]:
    async with asyncio.timeout(60):
        return (await anext(stream)).ids


async def test_greedy_tokens_are_those_of_generate_alone_and_in_a_batch(case: Case) -> None:
    """Neither neighbours, masks nor positions change an answer."""
    wanted = [request(ids, 20) for ids in prompts(case)]
    expected = [case.greedy(list(one.ids), one.max_new_tokens) for one in wanted]
    assert [await collect(case.engine, one) for one in wanted[:2]] == expected[:2]
    assert await together(case.engine, wanted) == expected


async def test_a_seed_repeats_alone_and_in_a_batch(case: Case) -> None:
    """The draw depends on the request alone."""
    ids = prompts(case)
    mine = request(ids[0], 20, temperature=0.9, top_p=0.95, seed=42)
    others = [request(i, 20, temperature=1.3, seed=n, top_p=0.8) for n, i in enumerate(ids)]
    greedy = request(ids[1], 20)
    alone = await collect(case.engine, mine)
    mixed = await together(case.engine, [others[0], mine, greedy, *others[1:]])
    assert mixed[1] == alone
    assert mixed[2] == case.greedy(ids[1], 20), "greedy beside sampled ones"
    assert await collect(case.engine, replace(mine, seed=43)) != alone


async def test_a_seed_gives_the_same_answer_in_both_engines(
    wide_transformers: Case, wide_onnx: Case
) -> None:
    """The noise of both engines is one function."""
    for number, ids in enumerate(prompts(wide_onnx)):
        top_p = (1.0, 0.9)[number % 2]
        wanted = request(ids, 16, temperature=0.8, top_p=top_p, seed=number)
        both = [await collect(c.engine, wanted) for c in (wide_transformers, wide_onnx)]
        assert both[0] == both[1]


async def test_a_small_nucleus_leaves_only_the_likeliest(case: Case) -> None:
    """top_p near 0 is greedy, and top_p 1 is not."""
    ids = prompts(case)[3]
    wanted = request(ids, temperature=1.5, top_p=1e-6, seed=9)
    assert await collect(case.engine, wanted) == case.greedy(ids, 12)
    assert await collect(case.engine, replace(wanted, top_p=1.0)) != case.greedy(ids, 12)


async def test_stop_tokens_may_be_several_and_end_the_answer_themselves(case: Case) -> None:
    """Any of them ends it, as its last token."""
    ids = prompts(case)[1]
    free = case.greedy(ids, 12)
    unused = next(i for i in range(len(case.tokenizer)) if i not in free)
    for place in (0, 3, 6):
        until_stop = free[: free.index(free[place]) + 1]
        wanted = request(ids, stop_ids=frozenset({free[place], unused}))
        assert await collect(case.engine, wanted) == until_stop
    assert await collect(case.engine, request(ids, 1)) == free[:1]


async def test_long_and_crossing_answers_are_those_of_generate_in_a_batch(case: Case) -> None:
    """All tokens of a sequence get LongRoPE's factors for its length, whatever runs beside it."""
    ids = prompts(case)
    sizes = [(SHORT - 10, 30), (SHORT - 1, 12), (SHORT, 10), (SHORT + 1, 10), (SHORT + 40, 60)]
    wanted = [request((ids[n % 4] * 30)[:size], count) for n, (size, count) in enumerate(sizes)] + [
        request(i, 20) for i in ids
    ]
    expected = [case.greedy(list(r.ids), r.max_new_tokens) for r in wanted]
    assert [await collect(case.engine, one) for one in wanted[:3]] == expected[:3]
    assert await together(case.engine, wanted) == expected


async def test_what_passes_the_context_is_refused_with_the_numbers(case: Case) -> None:
    """Prompt and answer together may fill the context."""
    with pytest.raises(ContextTooLong, match=rf"{LONG - 20} tokens.*21.*context of {LONG}"):
        case.engine.check(request([1] * (LONG - 20), 21))
    case.engine.check(request([1] * (LONG - 20), 20))
    assert len(await collect(case.engine, request([1] * (LONG - 3), 3))) == 3


async def test_a_late_arrival_begins_while_the_others_go_on(case: Case) -> None:
    """It joins the batch that is running."""
    ids = prompts(case)
    early = [case.engine.generate(request(i, 40, temperature=1.0)) for i in ids[:3]]
    begun = [await first_piece(stream) for stream in early]
    late = await collect(case.engine, request(ids[3], 2))
    assert late == case.greedy(ids[3], 2)
    rest = [[i async for piece in stream for i in piece.ids] for stream in early]
    assert [len(ids + more) for ids, more in zip(begun, rest, strict=True)] == [40] * 3


@pytest.mark.parametrize("how", ["aclose", "cancel"])
async def test_leaving_frees_the_slot(case: Case, how: str) -> None:
    """Closing the stream or cancelling its reader ends the request.

    How many steps are still done is counted in each engine's own tests; `bench latency` times it.
    """
    async with being_read(case.engine.generate(request([5, 6, 7], SHORT - 3)), how):
        pass
    await until(lambda: open_requests(case.engine) == 0, "still open")
    assert len(await collect(case.engine, request([5, 6, 7], 1))) == 1


async def test_leaving_before_the_first_token_is_no_leak(case: Case) -> None:
    """Requests that are cancelled while they wait leave nothing behind."""
    tasks = [
        asyncio.create_task(collect(case.engine, request([n + 5] * 100, 100))) for n in range(6)
    ]
    await asyncio.sleep(0)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await until(lambda: open_requests(case.engine) == 0, "still open")
    ids = prompts(case)[0]
    assert await collect(case.engine, request(ids, 8)) == case.greedy(ids, 8)


def test_it_serves_several_event_loops(case: Case) -> None:
    """Each reader gets its tokens on its own loop."""
    ids = prompts(case)
    expected = [case.greedy(i, 8) for i in ids]
    got: dict[int, list[int]] = {}

    def run(number: int) -> None:
        got[number] = asyncio.run(collect(case.engine, request(ids[number], 8)))

    threads = [threading.Thread(target=run, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert [got[n] for n in range(4)] == expected


def test_the_facts_are_there(case: Case) -> None:
    """The Models tab and the record read these by name."""
    status = case.model.status()
    assert isinstance(status, Ready)
    assert status.notice == ""
    engine = {
        "transformers": "transformers-cb",
        "onnx": "onnxruntime",
        "genai": "onnxruntime-genai",
    }[case.name]
    wanted = {
        "device": "cpu", "precision": "f32", "engine": engine, "layers": "2", "hidden": "256",
        "heads": "4", "kv_heads": "2", "head_dim": "64", "context": str(LONG),
        "original_context": str(SHORT), "kv_bytes_per_token": str(2 * 2 * 2 * 64 * 4),
        "vocabulary": str(len(case.tokenizer)),
    }  # fmt: skip
    assert {name: status.facts.get(name) for name in wanted} == wanted
    assert {"cache_tokens", "memory_mib", "template_hash", "load_seconds"} <= set(status.facts)
    assert status.facts.get("together") == {"onnx": "8", "genai": "1"}.get(case.name)
    assert case.model.spec.id == "wide-f32"
    assert case.model.spec.engine == engine
    assert case.model.spec.context_tokens == LONG
