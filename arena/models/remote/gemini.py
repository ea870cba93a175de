"""Gemini over Google's API: the contestant, its retries, its fallback and its daily cap.

Nothing here retries once visible text has come, and no other model than the configured fallback
ever answers. Errors leave without a cause: the SDK's own exceptions hold the request, whose
headers hold the key.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from arena.domain import (
    Delta,
    Finished,
    FinishReason,
    GenerationParams,
    Message,
    ModelSpec,
    slug_of,
)
from arena.errors.models import (
    ContentBlocked,
    KeyMissing,
    KeyRejected,
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
from arena.models.remote.gemini_errors import (
    FALLBACK_VARIABLE,
    KEY_VARIABLE,
    MODEL_VARIABLE,
    Reading,
    as_error,
    classify,
    refused_sampling,
)
from arena.models.remote.gemini_wire import (
    Link,
    connect,
    conversation,
    disconnect,
    model_facts,
    request_config,
    sent_record,
)
from arena.models.remote.model import (
    Connection,
    RemoteFailure,
    SharedTask,
    cost_of,
    is_sendable,
    outcome,
    retry_wait,
)
from arena.models.remote.quota import Quota, Reserve

if TYPE_CHECKING:
    from google.genai import types

    from arena.models.remote.model import Opening

log = logging.getLogger(__name__)

LABEL = "Gemini"
GOOGLE_URL = "https://generativelanguage.googleapis.com/"

_NAMES_S = 5.0
_MAIN_RESTS_S = 900.0
_FALLBACK_FOR = (ModelGone, NoFreeQuota, Overloaded, RateLimited)


def model_slug(model: str) -> str:
    """A model name as a stable id: lower-case letters, digits, dots and dashes."""
    return slug_of(model.rsplit("/", 1)[-1]) or "gemini"


def key_fault(key: str) -> ModelError | None:
    """What is wrong with the key before anybody is asked; None if nothing is.

    A key with other characters than printable ASCII cannot be a header, and the HTTP client's
    complaint would quote it.
    """
    if not key:
        return KeyMissing(label=LABEL, variable=KEY_VARIABLE)
    if not is_sendable(key):
        return KeyRejected("it has characters that no key has", variable=KEY_VARIABLE)
    return None


@dataclass(frozen=True, slots=True)
class _Call:
    """One request to come, and what has happened on the way to it."""

    model: str
    messages: Sequence[Message]
    params: GenerationParams
    retries: int = 0
    waited: float = 0.0
    main_failure: RemoteFailure | None = None


class GeminiModel:
    """Gemini as a contestant.

    Args:
        api_key: None or empty means that Gemini is not configured; nothing is imported then.
        model: a model name of the API; an alias such as `gemini-pro-latest` is fine.
        fallback_model: answers instead when `model` is gone, without quota, overloaded or
            rate-limited before its first text; None means that nothing ever does.
        base_url: another address that speaks the same API; None means Google's.
        thinking_tokens: allowance for thoughts on top of the visible budget.
        daily_requests: the owner's cap; every request for text counts, repeated ones too.
        reserve: gets the cap, counts one request against today's and says whether it was still
            allowed; asked right before each request. None counts in memory.
        meter: the caps and the money of the day; made of the two above where it is None.
        silence_s: how long the provider may send nothing; a model that thinks is silent long.
        clock: seconds that never go back.
        sleep: waits between repeated requests.
    """

    def __init__(
        self,
        *,
        api_key: str | None,
        model: str,
        fallback_model: str | None = None,
        base_url: str | None = None,
        thinking_tokens: int = 0,
        daily_requests: int = 200,
        reserve: Reserve | None = None,
        meter: Quota | None = None,
        silence_s: float = 120.0,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._key = (api_key or "").strip()
        self._model = model
        self._fallback = fallback_model if fallback_model and fallback_model != model else None
        self._base_url = base_url or GOOGLE_URL
        self._thinking_tokens = thinking_tokens
        self._meter = meter or Quota(
            label=LABEL,
            requests=daily_requests,
            requests_variable="GEMINI_DAILY_REQUESTS",
            reserve=reserve,
        )
        self._clock = clock
        self._sleep = sleep
        self._spec = ModelSpec(
            id=model_slug(model),
            label=LABEL,
            provider="google",
            source=model,
            engine="google-genai",
            licence="Google API terms",
            price_in=price.usd_in if (price := self._meter.price_of(model)) else None,
            price_out=price.usd_out if price else None,
        )
        fault = key_fault(self._key)
        self._status: ModelStatus = Dormant() if fault is None else Unavailable(fault)
        self._connection = Connection(
            label=LABEL,
            package="google-genai",
            build=lambda: connect(self._key, self._base_url, silence_s),
            close=disconnect,
        )
        self._checking = SharedTask()
        self._facts: dict[str, dict[str, str]] = {}
        self._refused: dict[str, frozenset[str]] = {}
        self._names: tuple[str, ...] = ()
        self._resting: tuple[RemoteFailure, float] | None = None

    @property
    def spec(self) -> ModelSpec:
        """Who it is; `context_tokens` is known once the API has been asked."""
        return self._spec

    def status(self) -> ModelStatus:
        """How it is now; a day that is used up closes it until midnight, UTC."""
        if isinstance(self._status, Ready):
            refusal = self._meter.refusal() or self._meter.unknown_price(self._model)
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
        """Ask the API whether key and model are good; free of charge and not counted."""
        if key_fault(self._key) is not None:
            return
        if not self._checking.running:
            if isinstance(self._status, Ready) and not self._status.notice:
                return
            self._connection.closed = False
        await self._checking.run(self._check)

    async def _check(self) -> None:
        self._status = Loading()
        self._names = ()
        self._resting = None
        try:
            link = await self._linked()
        except ModelUnavailable as error:
            self._status = Unavailable(error)
            return
        failure = await self._look_at(link, self._model)
        if failure is None:
            self._ready(self._model)
            return
        if failure.kind is ModelGone and self._fallback is not None:
            self._rest_main(failure)
            if await self._look_at(link, self._fallback) is None:
                self._ready(self._fallback)
                return
        self._status = Unavailable(await self._error(failure, self._model))

    async def _look_at(self, link: Link, model: str) -> RemoteFailure | None:
        """Ask for a model's facts; the failure, if there is one."""
        found = await outcome(link.client.aio.models.get(model=model))
        if isinstance(found, BaseException):
            return classify(found, self._key)
        self._facts[model] = model_facts(found, model)
        if model == self._model:
            self._spec = replace(self._spec, context_tokens=found.input_token_limit)
        return None

    async def _linked(self) -> Link:
        """The open connection.

        Raises:
            ModelError: there is no usable key, it was closed, or the package is missing.
        """
        fault = key_fault(self._key)
        if fault is not None:
            raise fault
        return await self._connection.link()

    async def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """Answer; see `ChatModel`. `ttft_s` and `total_s` count repeated requests in."""
        begun = self._clock()
        ttft_s: float | None = None
        call = _Call(self._model, messages, params)
        if self._fallback and self._resting and self._clock() < self._resting[1]:
            call = replace(call, model=self._fallback, main_failure=self._resting[0])
        while True:
            link = await self._linked()
            config, opening = self._request(link, call)
            charge = await self._meter.admit(
                call.model, call.messages, config["max_output_tokens"] or 0
            )
            reading = Reading(served=call.model)
            async with self._connection.reading(opening) as pump:
                while (chunk := await pump.next()) is not None:
                    if text := reading.take(chunk):
                        ttft_s = self._clock() - begun if ttft_s is None else ttft_s
                        yield Delta(text)
            failure = None if reading.finish else pump.failure(self._classified)
            end = failure or reading.ending()
            cost = cost_of(charge, reading, end)
            await charge.settle(cost)
            if isinstance(end, FinishReason):
                self._ready(call.model, served=reading.served)
                yield Finished(
                    reason=end,
                    error_code=ContentBlocked.code if end is FinishReason.BLOCKED else None,
                    prompt_tokens=reading.prompt_tokens,
                    completion_tokens=reading.completion_tokens,
                    thinking_tokens=reading.thinking_tokens,
                    ttft_s=ttft_s,
                    total_s=self._clock() - begun,
                    served_model=reading.served,
                    sent=sent_record(call.model, config),
                    cost_usd=cost,
                )
                return
            if reading.text_seen:
                broken = end.kind is NetworkFailed
                end = replace(end, kind=StreamBroken) if broken else end
                raise await self._given_up(call, end)
            call = await self._next_call(call, config, end)

    async def aclose(self) -> None:
        """Stop every stream and close the connections; `start` opens it again."""
        self._connection.closed = True
        await self._checking.cancel()
        await self._connection.aclose()
        if key_fault(self._key) is None:
            self._status = Dormant()

    def _request(
        self, link: Link, call: _Call
    ) -> tuple[types.GenerateContentConfigDict, Opening[types.GenerateContentResponse]]:
        turns, system = conversation(call.messages)
        limit = self._facts.get(call.model, {}).get("output_tokens")
        config = request_config(
            call.params,
            system=system,
            thinking_tokens=self._thinking_tokens,
            output_limit=int(limit) if limit else None,
            without=self._refused.get(call.model, frozenset()),
        )
        contents: Any = turns  # the SDK's union of lists does not take a list of one kind
        return config, lambda: link.client.aio.models.generate_content_stream(
            model=call.model, contents=contents, config=config
        )

    async def _next_call(
        self, call: _Call, config: types.GenerateContentConfigDict, failure: RemoteFailure
    ) -> _Call:
        """What to send after a failure without any text.

        Raises:
            ModelError: there is nothing left to try.
        """
        refused = refused_sampling(failure) & config.keys()
        if refused:
            self._refused[call.model] = self._refused.get(call.model, frozenset()) | refused
            return call
        wait = retry_wait(failure, retries=call.retries, waited=call.waited)
        if wait is not None:
            log.info("gemini: %s, again in %.1f s: %s", failure.kind.code, wait, failure.detail)
            await self._sleep(wait)
            return replace(call, retries=call.retries + 1, waited=call.waited + wait)
        helps = issubclass(failure.kind, _FALLBACK_FOR)
        if self._fallback is None or call.model == self._fallback or not helps:
            raise await self._given_up(call, failure)
        log.warning("gemini: %s takes over: %s", self._fallback, failure.detail)
        if failure.lasting:
            self._rest_main(failure)
        return replace(call, model=self._fallback, retries=0, main_failure=failure)

    def _classified(self, error: BaseException) -> RemoteFailure:
        return classify(error, self._key)

    def _rest_main(self, failure: RemoteFailure) -> None:
        """Let the fallback answer for a while without asking the main model each time."""
        self._resting = (failure, self._clock() + _MAIN_RESTS_S)

    def _ready(self, model: str, served: str = "") -> None:
        facts = {"model": model, **self._facts.get(model, {})}
        if served:
            facts["served_model"] = served
        if (
            price := self._meter.price_of(served or model) or self._meter.price_of(model)
        ) is not None:
            facts |= price.facts()
        self._status = Ready(facts, notice="fallback" if model == self._fallback else "")

    async def _given_up(self, call: _Call, failure: RemoteFailure) -> ModelError:
        """The error to raise, which is also the status where it stays.

        If both models failed, the failure that passes is told, and the main one's if none does.
        """
        model = call.model
        if call.main_failure is not None and failure.lasting:
            model, failure = self._model, call.main_failure
        error = await self._error(failure, model)
        if failure.lasting and not self._connection.closed:
            self._status = Unavailable(error)
        return error

    async def _error(self, failure: RemoteFailure, model: str) -> ModelError:
        variable = MODEL_VARIABLE if model == self._model else FALLBACK_VARIABLE
        if issubclass(failure.kind, ModelGone | NoFreeQuota) and not self._names:
            self._names = await self._callable_models()
        return as_error(failure, model=model, variable=variable, names=self._names)

    async def _callable_models(self) -> tuple[str, ...]:
        """The models that this key can ask for text; empty if the API does not say in time."""

        async def ask() -> list[str]:
            link = await self._linked()
            async with asyncio.timeout(_NAMES_S):
                return [
                    (model.name or "").removeprefix("models/")
                    async for model in await link.client.aio.models.list()
                    if "generateContent" in (model.supported_actions or ())
                ]

        names = await outcome(ask())
        if isinstance(names, BaseException):
            log.info("gemini: no list of models: %s", classify(names, self._key).detail)
            return ()
        return tuple(filter(None, names))
