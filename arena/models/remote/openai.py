"""A contestant that some engine serves behind an OpenAI-compatible address.

vLLM, SGLang, llama.cpp, Ollama, Ray Serve and many providers speak this API. Nothing here retries
once visible text has come. Errors leave without a cause: the SDK's own exceptions hold the
request, whose headers hold the key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

from pydantic import SecretStr

from arena.domain import (
    Delta,
    Finished,
    FinishReason,
    GenerationParams,
    Message,
    ModelSpec,
    Role,
    slug_of,
)
from arena.errors.models import (
    ContentBlocked,
    EngineUnreachable,
    KeyMissing,
    KeyRejected,
    ModelError,
    ModelGone,
    ModelUnavailable,
    NetworkFailed,
    RequestRefused,
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
from arena.models.models_file import OpenAiEntry
from arena.models.remote.model import (
    Connection,
    Pump,
    RemoteFailure,
    SharedTask,
    cost_of,
    is_sendable,
    outcome,
    retry_wait,
)
from arena.models.remote.openai_errors import Names, as_error, classify, refused_fields
from arena.models.remote.openai_wire import (
    DROPPABLE,
    Json,
    Link,
    Listing,
    Reading,
    address_of,
    ask_models,
    connect,
    listing,
    open_stream,
    request_body,
    sent_record,
)
from arena.models.remote.quota import Quota

log = logging.getLogger(__name__)

PROVIDER = "openai-compatible"

_LOOK_S = 10.0
_TAIL_S = 2.0
_PROBE = (Message(Role.USER, "Hello"),)
_PROBE_PARAMS = GenerationParams(max_new_tokens=16)


@dataclass(frozen=True, slots=True)
class _Call:
    """One request to come, and what has happened on the way to it."""

    messages: Sequence[Message]
    params: GenerationParams
    without: frozenset[str]
    retries: int = 0
    waited: float = 0.0


class OpenAiModel:
    """A model behind an OpenAI-compatible address.

    Args:
        slug: its name in ARENA_MODELS; the id is it plus the precision, if one is declared.
        entry: what the owner declared.
        key: the value of the entry's `key_variable`; None or empty where there is none.
        meter: the money of the day; None where nobody reckons.
        silence_s: how long the engine may send nothing; one that thinks or is busy is silent long.
        clock: seconds that never go back.
        sleep: waits between repeated requests.
    """

    def __init__(
        self,
        slug: str,
        entry: OpenAiEntry,
        key: str | None = None,
        *,
        meter: Quota | None = None,
        silence_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.entry = entry
        self._key = SecretStr((key or "").strip())
        self._address = address_of(entry.base_url, self._key.get_secret_value())
        self._meter = meter or Quota(label=entry.label or slug)
        self._clock = clock
        self._sleep = sleep
        self._spec = spec_of(slug, entry)
        self._names = Names(self._spec.label, f"[models.{slug}]", entry.model, entry.key_variable)
        fault = self._key_fault()
        self._status: ModelStatus = Dormant() if fault is None else Unavailable(fault)
        self._connection = Connection(
            label=self._spec.label,
            package="openai",
            build=lambda: connect(self._address, silence_s),
            close=lambda link: link.http.aclose(),
        )
        self._checking = SharedTask()
        self._listing = Listing()
        self._refused: frozenset[str] = frozenset()

    @property
    def spec(self) -> ModelSpec:
        """Who it is; engine and context may be known once the engine has been asked."""
        return self._spec

    @property
    def sends_to(self) -> str:
        """The host, with its port, that gets what a visitor types."""
        return self._address.host

    def status(self) -> ModelStatus:
        """How it is now; a day whose budget is spent closes it until midnight, UTC."""
        if isinstance(self._status, Ready):
            refusal = self._meter.refusal() or self._meter.unknown_price(self.entry.model)
            if refusal is not None:
                return Unavailable(refusal)
        return self._status

    def expenses(self) -> Expenses | None:
        """What it has cost today; None where nobody reckons."""
        return self._meter.expenses()

    async def refresh(self) -> None:
        """Look at what the day has used; asks the store alone."""
        await self._meter.refresh()

    async def start(self) -> None:
        """Ask the engine for its models.

        One that does not list this model is asked for the first word of an answer, which is in no
        budget.
        """
        if self._key_fault() is not None:
            return
        if not self._checking.running:
            if isinstance(self._status, Ready):
                return
            self._connection.closed = False
        await self._checking.run(self._check)

    async def _check(self) -> None:
        self._status = Loading()
        try:
            link = await self._connection.link()
        except ModelUnavailable as error:
            self._status = Unavailable(error)
            return
        failure = await self._look(link)
        if failure is None:
            self._ready()
            return
        if issubclass(failure.kind, NetworkFailed | StreamBroken):
            # The owner needs the address; and it is what the registry tries again.
            failure = replace(failure, kind=EngineUnreachable)
        self._status = Unavailable(self._error(failure))

    async def _look(self, link: Link) -> RemoteFailure | None:
        """Whether the engine is there and serves the model; the failure if it does not."""
        try:
            async with asyncio.timeout(_LOOK_S):
                reply = await outcome(ask_models(link))
        except TimeoutError as error:
            reply = error
        if isinstance(reply, BaseException):
            return self._classified(reply)
        self._listing = listing(reply, self.entry.model)
        self._spec = replace(
            self._spec,
            engine=self._listing.engine or PROVIDER,
            context_tokens=self.entry.context_tokens or self._listing.context_tokens,
        )
        if self.entry.model in self._listing.names:
            return None
        # Some engines have no list, or know a model by more names than they list.
        failure = await self._probe(link)
        if failure is not None and self._listing.names and failure.kind is RequestRefused:
            return replace(failure, kind=ModelGone)
        return failure

    async def _probe(self, link: Link) -> RemoteFailure | None:
        """Ask for the beginning of an answer, and leave when it comes."""
        body = request_body(
            self.entry.model,
            _PROBE,
            _PROBE_PARAMS,
            max_tokens_name=self.entry.max_tokens_name,
            without=DROPPABLE,
        )
        async with self._connection.reading(partial(open_stream, link, body)) as pump:
            if await pump.next() is not None:
                return None
        ended = RemoteFailure(StreamBroken, "the stream ended before it began")
        return pump.failure(self._classified) or ended

    async def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer; see `ChatModel`. `ttft_s` and `total_s` count repeated requests in."""
        begun = self._clock()
        ttft_s: float | None = None
        call = _Call(messages, params, self._refused)
        while True:
            body = self._body(call)
            opening = partial(open_stream, await self._linked(), body)
            charge = await self._meter.admit(self.entry.model, messages, self._budget(params))
            reading = Reading(served=self.entry.model)
            async with self._connection.reading(opening) as pump:
                while (chunk := await _next(pump, reading)) is not None:
                    if text := reading.take(chunk):
                        ttft_s = self._clock() - begun if ttft_s is None else ttft_s
                        yield Delta(text)
            failure = None if reading.finish else pump.failure(self._classified)
            end = failure or reading.ending()
            if isinstance(end, RemoteFailure) and end.kind is ContentBlocked:
                end = FinishReason.BLOCKED
            cost = cost_of(charge, reading, end)
            await charge.settle(cost)
            if isinstance(end, FinishReason):
                self._refused |= call.without
                self._ready(served=reading.served)
                yield Finished(
                    reason=end,
                    error_code=ContentBlocked.code if end is FinishReason.BLOCKED else None,
                    prompt_tokens=reading.prompt_tokens,
                    completion_tokens=reading.completion_tokens,
                    thinking_tokens=reading.thinking_tokens,
                    ttft_s=ttft_s,
                    total_s=self._clock() - begun,
                    served_model=reading.served,
                    sent=sent_record(body),
                    cost_usd=cost,
                )
                return
            if reading.text_seen:
                broken = issubclass(end.kind, NetworkFailed)
                raise self._given_up(replace(end, kind=StreamBroken) if broken else end)
            call = await self._next_call(call, body, end)

    async def aclose(self) -> None:
        """Stop every stream and close the connections; `start` opens it again."""
        await self._checking.cancel()
        await self._connection.aclose()
        if self._key_fault() is None:
            self._status = Dormant()

    async def _linked(self) -> Link:
        if (fault := self._key_fault()) is not None:
            raise fault
        return await self._connection.link()

    def _budget(self, params: GenerationParams) -> int:
        """The most tokens that an answer may take, thoughts included."""
        return params.max_new_tokens + self.entry.thinking_tokens

    def _body(self, call: _Call) -> Json:
        return request_body(
            self.entry.model,
            call.messages,
            call.params,
            thinking_tokens=self.entry.thinking_tokens,
            max_tokens_name=self.entry.max_tokens_name,
            without=call.without,
        )

    async def _next_call(self, call: _Call, body: Json, failure: RemoteFailure) -> _Call:
        """What to send after a failure without any text.

        Raises:
            ModelError: there is nothing left to try.
        """
        # What is refused is remembered when a request without it has succeeded: an engine that
        # echoes the request in its complaint names everything.
        refused = refused_fields(failure) & body.keys()
        if refused:
            return replace(call, without=call.without | refused)
        wait = retry_wait(failure, retries=call.retries, waited=call.waited)
        if wait is None:
            raise self._given_up(failure, self._budget(call.params))
        log.info("%s: %s, again in %.1f s: %s",
                 self._spec.id, failure.kind.code, wait, failure.detail)  # fmt: skip
        await self._sleep(wait)
        return replace(call, retries=call.retries + 1, waited=call.waited + wait)

    def _given_up(self, failure: RemoteFailure, budget: int = 0) -> ModelError:
        """The error to raise, which is also the status where it stays.

        An engine that is not there leaves the pool; `start` brings it back.
        """
        error = self._error(failure, budget)
        if (failure.lasting or failure.kind is EngineUnreachable) and not self._connection.closed:
            self._status = Unavailable(error)
        return error

    def _error(self, failure: RemoteFailure, budget: int = 0) -> ModelError:
        return as_error(
            failure, self._names, self._address, budget=budget, others=self._listing.names
        )

    def _classified(self, error: BaseException) -> RemoteFailure:
        return classify(error, self._address)

    def _key_fault(self) -> ModelError | None:
        """What is wrong with the key before anybody is asked; None if nothing is."""
        key, variable = self._key.get_secret_value(), self.entry.key_variable
        if variable and not key:
            return KeyMissing(label=self._spec.label, variable=variable)
        if not is_sendable(key):
            return KeyRejected("it has characters that no key has", variable=variable)
        return None

    def _ready(self, served: str = "") -> None:
        known = {
            "sends_to": self.sends_to,
            "listed": "yes" if self.entry.model in self._listing.names else "no",
            "engine": self._listing.engine,
            "context": str(self._spec.context_tokens or ""),
            "price_as_of": self.entry.price_as_of,
            "served_model": served,
        }
        self._status = Ready({name: value for name, value in known.items() if value})


def spec_of(slug: str, entry: OpenAiEntry) -> ModelSpec:
    """Who the contestant is, as far as the owner says."""
    precision = slug_of(entry.precision)
    return ModelSpec(
        id=f"{slug}-{precision}" if precision else slug,
        label=entry.label or slug,
        provider=PROVIDER,
        source=entry.model,
        engine=PROVIDER,
        precision=entry.precision,
        context_tokens=entry.context_tokens,
        licence=entry.licence,
        price_in=entry.price_in,
        price_out=entry.price_out,
    )


async def _next(pump: Pump[Json], reading: Reading) -> Json | None:
    """The next chunk. After the finish reason only the usage is awaited, and not for long."""
    if not reading.finish:
        return await pump.next()
    try:
        async with asyncio.timeout(_TAIL_S):
            return await pump.next()
    except TimeoutError:
        return None
