"""A contestant behind an address: its requests, retries, fallback, caps and status.

What differs between APIs is its `Dialect`. After a failure that lasts, or several that pass, the
provider rests; then it is asked without charge whether key and model can be used, and one answer
is the trial (see `CircuitBreaker`). Nothing is sent again once visible text has come, and
no other model than the configured fallback ever answers. Errors are raised without a cause: the
SDK's own exceptions hold the request, whose headers hold the key.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from collections import defaultdict
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from arena.domain import Delta, Finished, FinishReason, GenerationParams, Message, ModelSpec
from arena.errors.base import ArenaError
from arena.errors.models import (
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
from arena.models.remote.breaker import CircuitBreaker, Permit
from arena.models.remote.budget import utc_now
from arena.models.remote.connection import Connection, ReplyReader, SharedTask
from arena.models.remote.dialect import Attempt, ChatRequest, Client, Dialect, ReplyChunk
from arena.models.remote.failure import RemoteFailure, retry_wait
from arena.models.remote.prices import most_prompt_tokens
from arena.models.remote.quota import Quota
from arena.models.remote.reply import Reply

log = logging.getLogger(__name__)

SILENCE_S = 120.0
"""How long a provider may send nothing; a model that thinks is silent long."""
KEPT_ALIVE_S = 600.0
"""How long it may send comments alone, as some do while a model thinks."""
LONGEST_ANSWER_S = 1800.0
"""An answer that takes longer is given up, however steadily it drips."""
USAGE_WAIT_S = 2.0
"""How long the token counts are awaited after the finish reason."""

_FALLBACK_FOR = (ModelGone, NoFreeQuota, Overloaded, RateLimited)
# What a provider does to every prompt; other failures may be this prompt's own.
_PROVIDER_FAULTS = (NetworkFailed, Overloaded, RateLimited, StreamBroken)


class RemoteModel:
    """A model that answers over the network.

    Args:
        dialect: the API that it speaks.
        quota: the caps of the day; None means none.
        silence_s: how long the provider may send nothing.
        clock: seconds that never go back.
        sleep: waits between repeated requests.
        rng: draws how much longer a rest is.
        now: the wall clock, UTC; only to say when it is tried again.
    """

    def __init__(
        self,
        dialect: Dialect[Any],
        *,
        quota: Quota | None = None,
        silence_s: float = SILENCE_S,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        rng: random.Random | None = None,
        now: Callable[[], datetime] = utc_now,
    ) -> None:
        self._dialect = dialect
        self._quota = quota or Quota()
        self._clock = clock
        self._sleep = sleep
        self._now = now
        self._rng = rng or random.Random()  # noqa: S311 -- no secret
        self._rested()
        self._status = self._idle_status()
        self._connection: Connection[Client] = Connection(
            label=dialect.spec.label,
            package=dialect.package,
            build=partial(dialect.connect, silence_s),
        )
        self._checking = SharedTask()
        self._refused: defaultdict[str, frozenset[str]] = defaultdict(frozenset)

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
            if not self._breaker.allows:  # another answer is the trial
                return self._resting()
        return self._status

    @property
    def retry_due(self) -> bool:
        """See `Recovering`."""
        failed = isinstance(self._status, Unavailable) and not self._breaker.closed
        return failed and self._breaker.allows and not self._checking.running

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
        if self._breaker.closed:  # otherwise no battle waits for it
            self._status = Loading()
        self._breaker.end_wait()
        self._main_breaker.end_wait()
        try:
            client = await self._connection.client()
        except ModelUnavailable as missing:
            self._rest(missing)
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
        error = await dialect.error(client, failure, dialect.model, 0)
        self._rest(error, wait_s=failure.wait_s)

    async def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer; see `ChatModel`. `ttft_s` and `total_s` count repeated requests in.

        Raises:
            ModelError: also while the provider rests, without asking it.
        """
        begun = self._clock()
        permit = await self._permit()
        main_permit = self._main_breaker.enter()
        try:
            attempt = self._first_attempt(messages, params, main=main_permit is not None)
            async with aclosing(self._answer(attempt, begun)) as events:
                async for event in events:
                    yield event
        finally:
            self._breaker.leave(permit)
            if main_permit is not None:
                self._main_breaker.leave(main_permit)

    async def _permit(self) -> Permit:
        """Leave to ask the provider; where it rested, after a check that costs nothing.

        Raises:
            ModelError: there is no usable key, or the provider rests.
        """
        if (fault := self._dialect.key_fault()) is not None:
            raise fault
        if self.retry_due or (self._checking.running and not self._breaker.closed):
            await self.start()
        permit = self._breaker.enter()
        if permit is None:
            raise self._resting().error.with_traceback(None)
        return permit

    async def _answer(self, attempt: Attempt, begun: float) -> AsyncGenerator[StreamEvent, None]:
        """All requests for one answer, beginning with this attempt."""
        ttft_s: float | None = None
        while True:
            client = await self._client()
            request = self._dialect.request(attempt)
            call = await self._quota.admit(attempt.model, attempt.messages, request.max_tokens)
            reply = Reply(served=attempt.model)
            async with self._connection.reading(client.stream(request)) as reader:
                while (chunk := await self._next(reader, reply, begun)) is not None:
                    if text := reply.add(chunk):
                        ttft_s = self._clock() - begun if ttft_s is None else ttft_s
                        yield Delta(text)
                    if reply.looping:
                        break
            reply.judge_usage(most_prompt_tokens(attempt.messages), request.max_tokens)
            if reply.usage_doubtful:
                log.warning("%s: token counts that cannot be", self._dialect.spec.label)
            end = self._end_of(reader, reply)
            cost = reply.cost(call, end)
            await call.settle(cost)
            if isinstance(end, FinishReason):
                self._refused[attempt.model] |= attempt.without
                self._set_ready(attempt.model, reply.served)
                self._breaker.succeeded()
                if attempt.model == self._dialect.model:
                    self._main_breaker.succeeded()
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
                    usage_doubtful=reply.usage_doubtful,
                )
                return
            if reply.text_seen:
                raise await self._given_up(client, attempt, request, end)
            attempt = await self._next_attempt(client, attempt, request, end)

    async def _next(
        self, reader: ReplyReader[ReplyChunk], reply: Reply, begun: float
    ) -> ReplyChunk | None:
        """The next chunk; None at the end, which comes after too long a wait as well.

        The HTTP client's own timeout sees bytes; some providers keep a connection alive with
        comments. After the finish reason only the counts are awaited, and not for long.
        """
        if self._clock() - begun > LONGEST_ANSWER_S:
            reader.give_up(RemoteFailure(NetworkFailed, f"no end after {LONGEST_ANSWER_S:.0f} s"))
            return None
        wait_s = USAGE_WAIT_S if reply.finish else KEPT_ALIVE_S
        try:
            async with asyncio.timeout(wait_s):
                return await reader.next()
        except TimeoutError:
            reader.give_up(RemoteFailure(NetworkFailed, f"nothing came for {wait_s} s"))
            return None

    async def aclose(self) -> None:
        """Stop every stream and close the connections; `start` opens it again."""
        self._connection.closed = True
        await self._checking.cancel()
        await self._connection.aclose()
        self._status = self._idle_status()
        self._rested()

    def _rested(self) -> None:
        """No failure is known, of the contestant and of its main model."""
        self._breaker = CircuitBreaker(self._clock, self._rng)
        self._main_breaker = CircuitBreaker(self._clock, self._rng)
        self._last_error: ArenaError = ModelError()
        self._retry_at: datetime | None = None
        self._main_failure: RemoteFailure | None = None

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

    def _first_attempt(
        self, messages: Sequence[Message], params: GenerationParams, *, main: bool
    ) -> Attempt:
        """The first request; `main` says whether the main model may be asked."""
        fallback = self._dialect.fallback_model
        model = self._dialect.model if main or fallback is None else fallback
        return Attempt(
            model=model,
            messages=messages,
            params=params,
            without=self._refused[model],
            main_failure=None if model == self._dialect.model else self._main_failure,
        )

    def _end_of(
        self, reader: ReplyReader[ReplyChunk], reply: Reply
    ) -> FinishReason | RemoteFailure:
        """How a request ended; after the finish reason a broken connection does not matter."""
        ended = reply.finish or reply.looping
        failure = None if ended else reader.failure(self._dialect.classify)
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
        self._rest_main_model(failure)
        without = self._refused[fallback]
        return replace(attempt, model=fallback, without=without, retries=0, main_failure=failure)

    def _rest_main_model(self, failure: RemoteFailure) -> None:
        """The fallback answers for the main model, which then rests like the contestant."""
        self._main_failure = failure
        self._main_breaker.failed(at_once=failure.rests, wait_s=failure.wait_s)

    def _rest(
        self, error: ArenaError, *, at_once: bool = True, wait_s: float | None = None
    ) -> None:
        """Count a failure of the provider; where the breaker opens, it is the status."""
        self._breaker.failed(at_once=at_once, wait_s=wait_s)
        if self._breaker.closed or self._connection.closed:
            return
        self._last_error = error
        self._retry_at = self._now() + timedelta(seconds=self._breaker.wait_s)
        self._status = self._resting()

    def _resting(self) -> Unavailable:
        """Why nobody is asked, and until when; a named wait is what is left of it."""
        error = self._last_error
        if isinstance(error, RateLimited) and self._breaker.wait_s:
            error = RateLimited(error.detail, wait=f"{math.ceil(self._breaker.wait_s)} s")
        return Unavailable(error, self._retry_at)

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
        if failure.lasting or issubclass(failure.kind, _PROVIDER_FAULTS):
            self._rest(error, at_once=failure.rests, wait_s=failure.wait_s)
        return error

    def _set_ready(self, model: str, served: str = "") -> None:
        price = self._quota.price_of(served or model) or self._quota.price_of(model)
        facts = self._dialect.facts(model, served, price)
        self._status = Ready(
            {name: value for name, value in facts.items() if value},
            notice="fallback" if model == self._dialect.fallback_model else "",
        )
