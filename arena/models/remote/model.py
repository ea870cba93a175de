"""A contestant behind an address: its requests, retries, fallback, caps and status.

What differs between APIs is its `Dialect`. Nothing is sent again once visible text has come, and
no other model than the configured fallback ever answers. Errors are raised without a cause: the
SDK's own exceptions hold the request, whose headers hold the key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message, ModelSpec
from arena.errors.models import (
    BadReply,
    ContentBlocked,
    ModelError,
    ModelGone,
    ModelUnavailable,
    NetworkFailed,
    NoFreeQuota,
    Overloaded,
    RateLimited,
    StreamBroken,
)
from arena.models.base import (
    Dormant,
    Expenses,
    Loading,
    ModelStatus,
    Ready,
    StreamEvent,
    Unavailable,
)
from arena.models.remote.connection import Connection, ReplyReader, SharedTask
from arena.models.remote.dialect import Attempt, ChatRequest, Client, Dialect, Endings, ReplyChunk
from arena.models.remote.failure import RemoteFailure, retry_wait
from arena.models.remote.quota import MeteredCall, Quota

log = logging.getLogger(__name__)

SILENCE_S = 120.0
"""How long a provider may send nothing; a model that thinks is silent long."""
USAGE_WAIT_S = 2.0
"""How long the token counts are awaited after the finish reason."""
MAIN_MODEL_RESTS_S = 900.0
"""How long the fallback answers without the main model being asked first."""

_FALLBACK_FOR = (ModelGone, NoFreeQuota, Overloaded, RateLimited)


@dataclass(slots=True)
class _Reply:
    """What one request has brought so far.

    Attributes:
        served: the model version that answers.
        text_seen: whether visible text has come; from then on nothing is sent again.
        finish: the provider's finish reason, empty while there is none.
    """

    served: str
    text_seen: bool = False
    finish: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    thinking_tokens: int | None = None

    def add(self, chunk: ReplyChunk) -> str:
        """Keep what the chunk says, and return its visible text."""
        self.served = chunk.served or self.served
        self.finish = chunk.finish or self.finish
        self.text_seen = self.text_seen or bool(chunk.text)
        for name in ("prompt_tokens", "completion_tokens", "thinking_tokens"):
            if (count := getattr(chunk, name)) is not None:
                setattr(self, name, count)
        return chunk.text

    def ending(self, endings: Endings) -> FinishReason | RemoteFailure:
        """How it ended, once the stream is over."""
        if not self.finish:
            return RemoteFailure(
                StreamBroken, "the stream ended without a finish reason", again=True
            )
        meaning = endings.get(self.finish, BadReply)
        if isinstance(meaning, FinishReason):
            return meaning
        return RemoteFailure(meaning, f"finish reason {self.finish[:100]}")

    def cost(self, call: MeteredCall, end: FinishReason | RemoteFailure) -> float | None:
        """US dollars; None where it is not known.

        A request that was refused costs nothing. What is billed of one that broke after its
        beginning is not known.
        """
        if isinstance(end, RemoteFailure):
            return 0.0 if end.refused and not self.text_seen else None
        visible = self.completion_tokens
        if visible is None and end is FinishReason.BLOCKED:
            visible = 0
        generated = None if visible is None else visible + (self.thinking_tokens or 0)
        return call.usd(self.served, self.prompt_tokens, generated)


class RemoteModel:
    """A model that answers over the network.

    Args:
        dialect: the API that it speaks.
        quota: the caps of the day; None means none.
        silence_s: how long the provider may send nothing.
        clock: seconds that never go back.
        sleep: waits between repeated requests.
    """

    def __init__(
        self,
        dialect: Dialect[Any],
        *,
        quota: Quota | None = None,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._dialect = dialect
        self._quota = quota or Quota()
        self._clock = clock
        self._sleep = sleep
        self._status = self._idle_status()
        self._connection: Connection[Client] = Connection(
            label=dialect.spec.label,
            package=dialect.package,
            build=partial(dialect.connect, silence_s),
        )
        self._checking = SharedTask()
        self._refused: defaultdict[str, frozenset[str]] = defaultdict(frozenset)
        self._main_resting: tuple[RemoteFailure, float] | None = None

    @property
    def spec(self) -> ModelSpec:
        """Who it is; what the provider says of the model is known once it has been asked."""
        price = self._quota.price_of(self._dialect.model)
        if price is None:
            return self._dialect.spec
        return replace(self._dialect.spec, price_in=price.usd_in, price_out=price.usd_out)

    @property
    def sends_to(self) -> str:
        """See `Dialect.sends_to`."""
        return self._dialect.sends_to

    def status(self) -> ModelStatus:
        """How it is now; a day that is used up closes it until midnight, UTC."""
        if isinstance(self._status, Ready):
            refusal = self._quota.refusal(self._dialect.model)
            if refusal is not None:
                return Unavailable(refusal)
        return self._status

    def expenses(self) -> Expenses | None:
        """What it has cost today; None where that is not counted."""
        return self._quota.expenses()

    async def refresh(self) -> None:
        """Read what the day has used; asks the store alone."""
        await self._quota.refresh()

    async def start(self) -> None:
        """Ask the provider whether key and model can be used; in no budget and no count."""
        if self._dialect.key_fault() is not None:
            return
        if not self._checking.running:
            if isinstance(self._status, Ready) and not self._status.notice:
                return
            self._connection.closed = False
        await self._checking.run(self._check)

    async def _check(self) -> None:
        self._status = Loading()
        self._main_resting = None
        try:
            client = await self._connection.client()
        except ModelUnavailable as error:
            self._status = Unavailable(error)
            return
        dialect, fallback = self._dialect, self._dialect.fallback_model
        failure = await dialect.check(client, dialect.model)
        if failure is None:
            self._set_ready(dialect.model)
            return
        if failure.kind is ModelGone and fallback is not None:
            self._rest_main_model(failure)
            if await dialect.check(client, fallback) is None:
                self._set_ready(fallback)
                return
        self._status = Unavailable(await dialect.error(client, failure, dialect.model, 0))

    async def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer; see `ChatModel`. `ttft_s` and `total_s` count repeated requests in."""
        begun = self._clock()
        ttft_s: float | None = None
        attempt = self._first_attempt(messages, params)
        while True:
            client = await self._client()
            request = self._dialect.request(attempt)
            call = await self._quota.admit(attempt.model, messages, request.max_tokens)
            reply = _Reply(served=attempt.model)
            async with self._connection.reading(client.stream(request)) as reader:
                while (chunk := await _next(reader, reply)) is not None:
                    if text := reply.add(chunk):
                        ttft_s = self._clock() - begun if ttft_s is None else ttft_s
                        yield Delta(text)
            end = self._end_of(reader, reply)
            cost = reply.cost(call, end)
            await call.settle(cost)
            if isinstance(end, FinishReason):
                self._refused[attempt.model] |= attempt.without
                self._set_ready(attempt.model, reply.served)
                yield Finished(
                    reason=end,
                    error_code=ContentBlocked.code if end is FinishReason.BLOCKED else None,
                    prompt_tokens=reply.prompt_tokens,
                    completion_tokens=reply.completion_tokens,
                    thinking_tokens=reply.thinking_tokens,
                    ttft_s=ttft_s,
                    total_s=self._clock() - begun,
                    served_model=reply.served,
                    sent=request.sent,
                    cost_usd=cost,
                )
                return
            if reply.text_seen:
                raise await self._given_up(client, attempt, request, end)
            attempt = await self._next_attempt(client, attempt, request, end)

    async def aclose(self) -> None:
        """Stop every stream and close the connections; `start` opens it again."""
        self._connection.closed = True
        await self._checking.cancel()
        await self._connection.aclose()
        self._status = self._idle_status()

    def _idle_status(self) -> ModelStatus:
        fault = self._dialect.key_fault()
        return Dormant() if fault is None else Unavailable(fault)

    async def _client(self) -> Client:
        """The open client.

        Raises:
            ModelError: there is no usable key, it was closed, or the package is missing.
        """
        if (fault := self._dialect.key_fault()) is not None:
            raise fault
        return await self._connection.client()

    def _first_attempt(self, messages: Sequence[Message], params: GenerationParams) -> Attempt:
        model, fallback, main_failure = self._dialect.model, self._dialect.fallback_model, None
        if fallback and self._main_resting and self._clock() < self._main_resting[1]:
            model, main_failure = fallback, self._main_resting[0]
        return Attempt(
            model=model,
            messages=messages,
            params=params,
            without=self._refused[model],
            main_failure=main_failure,
        )

    def _end_of(
        self, reader: ReplyReader[ReplyChunk], reply: _Reply
    ) -> FinishReason | RemoteFailure:
        """How a request ended; after the finish reason a broken connection does not matter."""
        failure = None if reply.finish else reader.failure(self._dialect.classify)
        end = failure or reply.ending(self._dialect.endings)
        if not isinstance(end, RemoteFailure):
            return end
        if end.kind is ContentBlocked:
            return FinishReason.BLOCKED
        if reply.text_seen and issubclass(end.kind, NetworkFailed):
            return replace(end, kind=StreamBroken)
        return end

    async def _next_attempt(
        self, client: Client, attempt: Attempt, request: ChatRequest, failure: RemoteFailure
    ) -> Attempt:
        """What to send after a failure without any text.

        What is refused is remembered only once a request without it has succeeded: some engines
        echo the request in any complaint, and so name all fields.

        Raises:
            ModelError: there is nothing left to try.
        """
        refused = self._dialect.refused_fields(failure) & request.optional
        if refused:
            return replace(attempt, without=attempt.without | refused)
        label, fallback = self._dialect.spec.label, self._dialect.fallback_model
        wait = retry_wait(failure, retries=attempt.retries, waited=attempt.waited)
        if wait is not None:
            log.info("%s: %s, again in %.1f s: %s", label, failure.kind.code, wait, failure.detail)
            await self._sleep(wait)
            return replace(attempt, retries=attempt.retries + 1, waited=attempt.waited + wait)
        helps = issubclass(failure.kind, _FALLBACK_FOR)
        if fallback is None or attempt.model == fallback or not helps:
            raise await self._given_up(client, attempt, request, failure)
        log.warning("%s: %s takes over: %s", label, fallback, failure.detail)
        if failure.lasting:
            self._rest_main_model(failure)
        without = self._refused[fallback]
        return replace(attempt, model=fallback, without=without, retries=0, main_failure=failure)

    def _rest_main_model(self, failure: RemoteFailure) -> None:
        """Let the fallback answer for a while without asking the main model each time."""
        self._main_resting = (failure, self._clock() + MAIN_MODEL_RESTS_S)

    async def _given_up(
        self, client: Client, attempt: Attempt, request: ChatRequest, failure: RemoteFailure
    ) -> ModelError:
        """The error to raise, which is also the status where it stays.

        If both models failed, it is the failure that passes; the main model's if neither does.
        """
        model = attempt.model
        if attempt.main_failure is not None and failure.lasting:
            model, failure = self._dialect.model, attempt.main_failure
        error = await self._dialect.error(client, failure, model, request.max_tokens)
        if failure.lasting and not self._connection.closed:
            self._status = Unavailable(error)
        return error

    def _set_ready(self, model: str, served: str = "") -> None:
        price = self._quota.price_of(served or model) or self._quota.price_of(model)
        facts = self._dialect.facts(model, served, price)
        self._status = Ready(
            {name: value for name, value in facts.items() if value},
            notice="fallback" if model == self._dialect.fallback_model else "",
        )


async def _next(reader: ReplyReader[ReplyChunk], reply: _Reply) -> ReplyChunk | None:
    """The next chunk. After the finish reason only the counts are awaited, and not for long."""
    try:
        async with asyncio.timeout(USAGE_WAIT_S if reply.finish else None):
            return await reader.next()
    except TimeoutError:
        return None
