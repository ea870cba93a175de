"""Gemini over Google's API, as the settings describe it."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace

from pydantic import SecretStr

from arena.domain import ModelSpec, Role
from arena.errors.models import KeyRejected, ModelError, ModelGone, NoFreeQuota
from arena.models.base import slug_of
from arena.models.remote.budget import Budget, DailyRequests, UsageStore, utc_now
from arena.models.remote.connection import outcome
from arena.models.remote.dialect import Attempt, ChatRequest, Dialect, sampling_of, split_system
from arena.models.remote.failure import RemoteFailure, plain_error, shortened
from arena.models.remote.gemini_errors import classify, refused_sampling
from arena.models.remote.gemini_wire import ENDINGS, WIRE_NAMES, GeminiClient, connect, model_facts
from arena.models.remote.model import RemoteModel
from arena.models.remote.prices import Price, google_price, overridden
from arena.models.remote.quota import Quota
from arena.settings import Settings

log = logging.getLogger(__name__)

LABEL = "Gemini"
GOOGLE = "google"
GOOGLE_URL = "https://generativelanguage.googleapis.com/"
USAGE_NAME = "gemini"
KEY_VARIABLE = "GEMINI_API_KEY"
USUAL_MODELS = ("gemini-flash-latest", "gemini-pro-latest")
"""Named first, and where the API cannot be asked which models the key may call."""

CHECK_S = 10.0
"""How long the model's facts are awaited."""
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
        self.key = SecretStr((api_key or "").strip())
        self.key_variable = KEY_VARIABLE
        self._base_url = base_url or GOOGLE_URL
        self._thinking_tokens = thinking_tokens
        self._facts: dict[str, dict[str, str]] = {}
        self._names: list[str] = []

    def connect(self, silence_s: float) -> GeminiClient:
        """See `Dialect`."""
        return connect(self.key.get_secret_value(), self._base_url, silence_s)

    async def check(self, client: GeminiClient, model: str) -> RemoteFailure | None:
        """Ask for the model's facts."""
        self._names = []
        found = await outcome(asyncio.wait_for(client.sdk.aio.models.get(model=model), CHECK_S))
        if isinstance(found, BaseException):
            return self.classify(found)
        self._facts[model] = model_facts(found)
        if model == self.model:
            self.spec = replace(self.spec, context_tokens=found.input_token_limit)
        return None

    def request(self, attempt: Attempt) -> ChatRequest:
        """See `Dialect`; the cap stays within the model's own, where that is known."""
        model = attempt.model
        system, turns = split_system(attempt.messages)
        max_tokens = attempt.params.max_new_tokens + self._thinking_tokens
        if limit := self._facts.get(model, {}).get("output_tokens"):
            max_tokens = min(max_tokens, int(limit))
        sampling = sampling_of(attempt)
        values = {**sampling, "max_output_tokens": max_tokens}
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
        return ChatRequest(body, max_tokens, frozenset(sampling), sent)

    def classify(self, error: BaseException) -> RemoteFailure:
        """See `Dialect`."""
        return classify(error, self.key.get_secret_value())

    def refused_fields(self, failure: RemoteFailure) -> frozenset[str]:
        """See `Dialect`."""
        return refused_sampling(failure)

    async def error(
        self, client: GeminiClient, failure: RemoteFailure, model: str, max_tokens: int
    ) -> ModelError:
        """See `Dialect`; where another model has to be named, the key's own ones are asked for."""
        if issubclass(failure.kind, ModelGone | NoFreeQuota) and not self._names:
            self._names = await self._text_models(client)
        detail = failure.detail
        variable = "GEMINI_MODEL" if model == self.model else "GEMINI_FALLBACK_MODEL"
        others = [name for name in self._names if name != model]
        others = others or [name for name in USUAL_MODELS if name != model]
        if failure.kind is KeyRejected:
            return KeyRejected(detail, variable=KEY_VARIABLE)
        if failure.kind is ModelGone:
            usual_first = sorted(others, key=lambda name: (*USUAL_MODELS, name).index(name))
            available = shortened(usual_first)
            return ModelGone(detail, model=model, variable=variable, available=available)
        if failure.kind is NoFreeQuota:
            best = USUAL_MODELS[0] if USUAL_MODELS[0] in others else others[0]
            return NoFreeQuota(detail, model=model, variable=variable, suggestion=best)
        return plain_error(failure)

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
