"""Models behind OpenAI-compatible addresses, as ARENA_MODELS declares them.

vLLM, SGLang, llama.cpp, Ollama, Ray Serve and many providers speak this API.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import replace

from pydantic import SecretStr

from arena.domain import GenerationParams, Message, ModelSpec, Role
from arena.errors.models import (
    ContextTooLong,
    EngineUnreachable,
    KeyMissing,
    KeyRejected,
    ModelError,
    ModelGone,
    NetworkFailed,
    RequestRefused,
    StreamBroken,
)
from arena.models.base import slug_of
from arena.models.models_file import OpenAiEntry
from arena.models.remote.budget import Budget, UsageStore
from arena.models.remote.connection import ReplyReader, outcome
from arena.models.remote.dialect import Attempt, ChatRequest, Dialect, sampling_of, split_system
from arena.models.remote.failure import RemoteFailure, plain_error, shortened
from arena.models.remote.model import RemoteModel
from arena.models.remote.openai_errors import classify, refused_fields, too_long
from arena.models.remote.openai_wire import (
    ENDINGS,
    OPTIONAL,
    Json,
    Listing,
    OpenAiClient,
    address_of,
    connect,
    listing,
)
from arena.models.remote.prices import OWNER, Price
from arena.models.remote.quota import Quota
from arena.settings import secret_from_environment

PROVIDER = "openai-compatible"

LISTING_S = 10.0
"""How long an engine may take to list its models."""

FIRST_WORD_TOKENS = 16
_FIRST_WORD = (Message(Role.USER, "Hello"),)


class OpenAiDialect(Dialect[OpenAiClient]):
    """The OpenAI API of one engine.

    Args:
        slug: the entry's name in ARENA_MODELS; the id is it plus the precision, if one is declared.
        entry: what the owner declared.
        key: the value of the entry's `key_variable`; None or empty where there is none.
    """

    package = "openai"
    endings = ENDINGS

    def __init__(self, slug: str, entry: OpenAiEntry, key: str | None = None) -> None:
        self.model = entry.model
        self.spec = _spec(slug, entry)
        self._entry = entry
        self.key = SecretStr((key or "").strip())
        self.key_variable = entry.key_variable
        self._address = address_of(entry.base_url, self.key.get_secret_value())
        self.sends_to = self._address.host
        self._section = f"[models.{slug}]"
        self._listing = Listing()

    def connect(self, silence_s: float) -> OpenAiClient:
        """See `Dialect`."""
        return connect(self._address, silence_s)

    async def check(self, client: OpenAiClient, model: str) -> RemoteFailure | None:
        """Ask the engine for its models; one that does not list this model for a first word."""
        failure = await self._look(client, model)
        if failure is not None and issubclass(failure.kind, NetworkFailed | StreamBroken):
            # The owner needs the address; and it is what the registry tries again.
            return replace(failure, kind=EngineUnreachable)
        return failure

    async def _look(self, client: OpenAiClient, model: str) -> RemoteFailure | None:
        reply = await outcome(asyncio.wait_for(client.models(), LISTING_S))
        if isinstance(reply, BaseException):
            return self.classify(reply)
        self._listing = listing(reply, model)
        self.spec = replace(
            self.spec,
            engine=self._listing.engine or PROVIDER,
            context_tokens=self._entry.context_tokens or self._listing.context_tokens,
        )
        if model in self._listing.names:
            return None
        # Some engines have no list, or know a model by more names than they list.
        failure = await self._first_word(client, model)
        if failure is not None and self._listing.names and failure.kind is RequestRefused:
            return replace(failure, kind=ModelGone)
        return failure

    async def _first_word(self, client: OpenAiClient, model: str) -> RemoteFailure | None:
        """Ask for an answer, and leave when it begins."""
        request = self.request(
            Attempt(model=model, messages=_FIRST_WORD, params=GenerationParams(), without=OPTIONAL)
        )
        body = {**request.body, self._entry.max_tokens_name: FIRST_WORD_TOKENS}
        request = replace(request, body=body)
        async with aclosing(ReplyReader(client.stream(request))) as reader:
            if await reader.next() is not None:
                return None
        ended = RemoteFailure(StreamBroken, "the stream ended before it began")
        return reader.failure(self.classify) or ended

    def request(self, attempt: Attempt) -> ChatRequest:
        """See `Dialect`."""
        system, turns = split_system(attempt.messages)
        first = [(Role.SYSTEM, system)] if system else []
        max_tokens = attempt.params.max_new_tokens + self._entry.thinking_tokens
        sent: dict[str, float | str] = {
            "model": attempt.model,
            **sampling_of(attempt),
            self._entry.max_tokens_name: max_tokens,
        }
        messages = [{"role": role.value, "content": text} for role, text in first + turns]
        body: Json = {**sent, "messages": messages, "stream": True}
        if "stream_options" not in attempt.without:
            body["stream_options"] = {"include_usage": True}
        return ChatRequest(body, max_tokens, OPTIONAL & body.keys(), sent)

    def classify(self, error: BaseException) -> RemoteFailure:
        """See `Dialect`."""
        return classify(error, self._address)

    def refused_fields(self, failure: RemoteFailure) -> frozenset[str]:
        """See `Dialect`."""
        return refused_fields(failure)

    async def error(
        self, client: OpenAiClient, failure: RemoteFailure, model: str, max_tokens: int
    ) -> ModelError:
        """See `Dialect`."""
        kind, detail, section = failure.kind, failure.detail, self._section
        if kind is KeyRejected and not self._entry.key_variable:
            return KeyMissing(detail, label=self.spec.label, variable=f"{section} key_variable")
        if kind is KeyRejected:
            return KeyRejected(detail, variable=self._entry.key_variable)
        if kind is ModelGone:
            others = [name for name in self._listing.names if name != model]
            available = shortened(others) or f"{self._address.url}/models"
            variable = f"{section} model"
            return ModelGone(detail, model=model, variable=variable, available=available)
        if kind is EngineUnreachable:
            setting = f"{section} base_url"
            return EngineUnreachable(detail, address=self.sends_to, setting=setting)
        if kind is RequestRefused and (sizes := too_long(detail)) is not None:
            prompt, context = sizes
            return ContextTooLong(
                detail, prompt_tokens=prompt, max_new_tokens=max_tokens, context_tokens=context
            )
        return plain_error(failure)

    def facts(self, model: str, served: str, price: Price | None) -> dict[str, str]:
        """See `Dialect`."""
        return {
            "sends_to": self.sends_to,
            "listed": "yes" if model in self._listing.names else "no",
            "engine": self._listing.engine,
            "context": str(self.spec.context_tokens or ""),
            "price_as_of": self._entry.price_as_of,
            "served_model": served,
        }


def openai_model(slug: str, entry: OpenAiEntry, usage: UsageStore) -> RemoteModel:
    """The contestant that an entry of ARENA_MODELS declares; nothing is asked yet.

    Args:
        slug: its name in the file.
        entry: what the owner declared.
        usage: counts the day's money, over all processes.
    """
    secret = secret_from_environment(entry.key_variable) if entry.key_variable else None
    dialect = OpenAiDialect(slug, entry, secret.get_secret_value() if secret else None)
    return RemoteModel(dialect, quota=quota_of(slug, entry, usage))


def quota_of(slug: str, entry: OpenAiEntry, usage: UsageStore) -> Quota:
    """The caps that an entry declares; a free engine has none, so no answer waits for the store."""
    section = f"[models.{slug}]"
    price = None
    if entry.price_in is not None and entry.price_out is not None:
        price = Price(entry.price_in, entry.price_out, source=OWNER, verified=True)
    paid = bool(entry.price_in or entry.price_out) or entry.daily_budget_usd is not None
    budget = Budget(
        usage=usage,
        name=f"openai:{slug}",
        label=entry.label or slug,
        limit_usd=entry.daily_budget_usd,
        variable=f"{section} daily_budget_usd",
    )
    return Quota(
        budget=budget if paid else None,
        price_of=lambda model: price if model == entry.model else None,
        price_variables=(f"{section} price_in", f"{section} price_out"),
    )


def _spec(slug: str, entry: OpenAiEntry) -> ModelSpec:
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
    )
