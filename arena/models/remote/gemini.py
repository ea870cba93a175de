"""Gemini over Google's API, as the settings describe it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace

from arena.domain import GenerationParams, Message, ModelSpec, Role, slug_of
from arena.errors.models import KeyMissing, KeyRejected, ModelError, ModelGone, NoFreeQuota
from arena.models.remote.budget import Budget, DailyRequests, UsageStore, utc_now
from arena.models.remote.connection import outcome
from arena.models.remote.dialect import ChatRequest, Dialect, split_system
from arena.models.remote.failure import RemoteFailure, is_sendable
from arena.models.remote.gemini_errors import KEY_VARIABLE, as_error, classify, refused_sampling
from arena.models.remote.gemini_wire import (
    ENDINGS,
    WIRE_NAMES,
    GeminiClient,
    connect,
    model_facts,
)
from arena.models.remote.model import RemoteModel
from arena.models.remote.prices import Price, google_price, overridden
from arena.models.remote.quota import Quota
from arena.settings import Settings

log = logging.getLogger(__name__)

LABEL = "Gemini"
GOOGLE = "google"
GOOGLE_URL = "https://generativelanguage.googleapis.com/"
USAGE_NAME = "gemini"

NAMES_S = 5.0
"""How long the list of models is awaited, which only makes a remedy better."""


class GeminiDialect(Dialect[GeminiClient]):
    """The Gemini API.

    Args:
        api_key: None or empty means that Gemini is not configured; nothing is imported then.
        model: a model name of the API; an alias such as `gemini-pro-latest` is fine.
        fallback_model: answers while `model` is gone, without quota, overloaded or rate-limited.
        base_url: another address that speaks the same API; None means Google's.
        thinking_tokens: allowance for thinking on top of the visible text.
    """

    package = "google-genai"
    endings = ENDINGS

    def __init__(
        self,
        *,
        api_key: str | None,
        model: str,
        fallback_model: str | None = None,
        base_url: str | None = None,
        thinking_tokens: int = 0,
    ) -> None:
        self.model = model
        self.fallback_model = fallback_model if fallback_model not in {"", model} else None
        self.spec = ModelSpec(
            id=model_slug(model),
            label=LABEL,
            provider=GOOGLE,
            source=model,
            engine="google-genai",
            licence="Google API terms",
        )
        self._key = (api_key or "").strip()
        self._base_url = base_url or GOOGLE_URL
        self._thinking_tokens = thinking_tokens
        self._facts: dict[str, dict[str, str]] = {}
        self._names: list[str] = []

    def key_fault(self) -> ModelError | None:
        """See `Dialect`. Google's keys have no pattern, so none is expected."""
        if not self._key:
            return KeyMissing(label=LABEL, variable=KEY_VARIABLE)
        if not is_sendable(self._key):
            return KeyRejected("it has characters that no key has", variable=KEY_VARIABLE)
        return None

    def connect(self, silence_s: float) -> GeminiClient:
        """See `Dialect`."""
        return connect(self._key, self._base_url, silence_s)

    async def check(self, client: GeminiClient, model: str) -> RemoteFailure | None:
        """Ask for the model's facts."""
        self._names = []
        found = await outcome(client.sdk.aio.models.get(model=model))
        if isinstance(found, BaseException):
            return self.classify(found)
        self._facts[model] = model_facts(found, model)
        if model == self.model:
            self.spec = replace(self.spec, context_tokens=found.input_token_limit)
        return None

    def request(
        self,
        model: str,
        messages: Sequence[Message],
        params: GenerationParams,
        without: frozenset[str],
    ) -> ChatRequest:
        """See `Dialect`; the cap stays within the model's own, where that is known."""
        system, turns = split_system(messages)
        max_tokens = params.max_new_tokens + self._thinking_tokens
        if limit := self._facts.get(model, {}).get("output_tokens"):
            max_tokens = min(max_tokens, int(limit))
        sampling = {"temperature": params.temperature, "top_p": params.top_p, "seed": params.seed}
        values: dict[str, float] = {
            name: value
            for name, value in sampling.items()
            if value is not None and name not in without
        }
        optional = frozenset(values)
        values["max_output_tokens"] = max_tokens
        config = {
            **values,
            "automatic_function_calling": {"disable": True},
            "automatic_continuation": False,
            **({"system_instruction": system} if system else {}),
        }
        contents = [
            {"role": "user" if role is Role.USER else "model", "parts": [{"text": text}]}
            for role, text in turns
        ]
        sent = {"model": model} | {WIRE_NAMES[name]: value for name, value in values.items()}
        body = {"model": model, "contents": contents, "config": config}
        return ChatRequest(body, max_tokens, optional, sent)

    def classify(self, error: BaseException) -> RemoteFailure:
        """See `Dialect`."""
        return classify(error, self._key)

    def refused_fields(self, failure: RemoteFailure) -> frozenset[str]:
        """See `Dialect`."""
        return refused_sampling(failure)

    async def error(
        self, client: GeminiClient, failure: RemoteFailure, model: str, max_tokens: int
    ) -> ModelError:
        """See `Dialect`; where another model has to be named, the key's own ones are asked for."""
        if issubclass(failure.kind, ModelGone | NoFreeQuota) and not self._names:
            self._names = await self._text_models(client)
        variable = "GEMINI_MODEL" if model == self.model else "GEMINI_FALLBACK_MODEL"
        return as_error(failure, model=model, variable=variable, names=self._names)

    async def _text_models(self, client: GeminiClient) -> list[str]:
        """The models that the key can ask for text; empty if the API does not say in time."""
        names = await outcome(asyncio.wait_for(client.text_models(), NAMES_S))
        if isinstance(names, BaseException):
            log.info("no list of Gemini models: %s", self.classify(names).detail)
            return []
        return names

    def facts(self, model: str, served: str, price: Price | None) -> dict[str, str]:
        """See `Dialect`."""
        facts = {"model": model, **self._facts.get(model, {}), "served_model": served}
        return facts | (price.facts() if price is not None else {})


def gemini_model(settings: Settings, usage: UsageStore | None = None) -> RemoteModel:
    """The contestant that the settings describe; nothing is asked yet.

    Args:
        settings: what the owner set.
        usage: counts the day's requests and money; None means that neither is counted.
    """
    key = settings.gemini_api_key
    dialect = GeminiDialect(
        api_key=key.get_secret_value() if key else None,
        model=settings.gemini_model,
        fallback_model=settings.gemini_fallback_model,
        base_url=settings.gemini_base_url,
        thinking_tokens=settings.gemini_thinking_tokens,
    )
    return RemoteModel(dialect, quota=None if usage is None else _quota(settings, usage))


def _quota(settings: Settings, usage: UsageStore) -> Quota:
    def price_of(model: str) -> Price | None:
        known = google_price(model, utc_now().date())
        return overridden(known, settings.gemini_price_in, settings.gemini_price_out)

    return Quota(
        requests=DailyRequests(
            usage=usage,
            name=USAGE_NAME,
            label=LABEL,
            limit=settings.gemini_daily_requests,
            variable="GEMINI_DAILY_REQUESTS",
        ),
        budget=Budget(
            usage=usage,
            name=USAGE_NAME,
            label=LABEL,
            limit_usd=settings.gemini_daily_budget_usd,
            variable="GEMINI_DAILY_BUDGET_USD",
        ),
        price_of=price_of,
        price_variables=("GEMINI_PRICE_IN", "GEMINI_PRICE_OUT"),
    )


def model_slug(model: str) -> str:
    """A model name as a stable id: lower-case letters, digits, dots and dashes."""
    return slug_of(model.rsplit("/", 1)[-1]) or "gemini"
