"""Both APIs behind one set of words, for what `RemoteModel` promises whatever the dialect is."""

from __future__ import annotations

import random
import traceback
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from types import ModuleType
from typing import Any, ClassVar

import pytest

from arena.domain import Finished, GenerationParams, Message, Role
from arena.errors.models import ModelError
from arena.models.base import ChatModel, Unavailable
from arena.models.models_file import OpenAiEntry
from arena.models.remote.budget import utc_now
from arena.models.remote.dialect import Dialect
from arena.models.remote.gemini import GeminiDialect
from arena.models.remote.model import RemoteModel
from arena.models.remote.openai import OpenAiDialect
from tests.models.remote import gemini_server, openai_server
from tests.models.remote.loopback import LoopbackServer

ASK = (Message(Role.USER, "偶数とは?"),)
PARAMS = GenerationParams(temperature=0.4, top_p=0.9, max_new_tokens=100, seed=11)


class FakeTime:
    """A clock that only moves when something sleeps or a test says so."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        """In place of `time.monotonic`."""
        return self.now

    async def sleep(self, seconds: float) -> None:
        """In place of `asyncio.sleep`."""
        self.slept.append(seconds)
        self.now += seconds


class NoJitter(random.Random):
    """Waits are exactly as long as their constants."""

    def random(self) -> float:
        return 0.0


class Api:
    """One API: its loopback server, and models that talk to it.

    Attributes:
        wire: the module that speaks the API: `chunk`, `says`, `drips`, `fails`, `busy`, `thought`,
            `error_event`, `STOP`, …
        key: a key for it, used nowhere.
        key_variable: the setting that holds the key.
    """

    wire: ClassVar[Any]
    key: ClassVar[str]
    key_variable: ClassVar[str]

    def __init__(self, server: LoopbackServer) -> None:
        self.server: Any = server
        self.time = FakeTime()
        self._made: list[RemoteModel] = []

    def make(
        self,
        *,
        sleep: Any = None,
        silence_s: float = 60.0,
        quota: Any = None,
        now: Any = utc_now,
        key: Any = ...,
        **dialect: Any,
    ) -> RemoteModel:
        """A model that is closed at the end; `key=None` is one without a key."""
        model = RemoteModel(
            self.dialect(self.key if key is ... else key, **dialect),
            quota=quota,
            silence_s=silence_s,
            clock=self.time.clock,
            sleep=sleep or self.time.sleep,
            rng=NoJitter(),
            now=now,
        )
        self._made.append(model)
        return model

    def dialect(self, key: str | None, **changes: Any) -> Dialect[Any]:
        """The dialect, pointed at the server."""
        raise NotImplementedError

    async def aclose(self) -> None:
        for model in self._made:
            await model.aclose()


class GeminiApi(Api):
    wire: ClassVar[ModuleType] = gemini_server
    key = "AQ.a-key-used-nowhere-0123456789"
    key_variable = "GEMINI_API_KEY"

    def dialect(self, key: str | None, **changes: Any) -> GeminiDialect:
        values = {"model": gemini_server.PRO, "base_url": self.server.url}
        return GeminiDialect(api_key=key, **(values | changes))


class OpenAiApi(Api):
    wire: ClassVar[ModuleType] = openai_server
    key = "sk-a-key-used-nowhere-0123456789"
    key_variable = "VLLM_API_KEY"

    def dialect(self, key: str | None, **changes: Any) -> OpenAiDialect:
        return OpenAiDialect("phi-vllm", self.entry(key, **changes), key)

    def entry(self, key: str | None = None, **changes: Any) -> OpenAiEntry:
        """What the owner declares of the engine."""
        values = {
            "kind": "openai",
            "base_url": self.server.url,
            "model": openai_server.MODEL,
            "label": "Phi (vLLM)",
            "key_variable": "" if key is None else self.key_variable,
        }
        return OpenAiEntry.model_validate(values | changes)


@asynccontextmanager
async def running(name: str) -> AsyncIterator[Any]:
    """The API of that name, with its server on the running loop."""
    server, kind = {
        "gemini": (gemini_server.GeminiServer(), GeminiApi),
        "openai": (openai_server.OpenAiServer(), OpenAiApi),
    }[name]
    async with server:
        api = kind(server)
        yield api
        await api.aclose()


async def read(
    model: ChatModel,
    messages: tuple[Message, ...] = ASK,
    params: GenerationParams = PARAMS,
    into: list[str] | None = None,
) -> tuple[list[str], Finished]:
    """All pieces of text and the end; `into` keeps the text if it breaks."""
    texts: list[str] = [] if into is None else into
    async with aclosing(model.stream(messages, params)) as events:
        async for event in events:
            if isinstance(event, Finished):
                return texts, event
            texts.append(event.text)
    raise AssertionError("there was no end")


async def failing(model: ChatModel, into: list[str] | None = None) -> ModelError:
    """The error that a request ends with."""
    with pytest.raises(ModelError) as caught:
        await read(model, into=into)
    return caught.value


def unavailable(model: ChatModel) -> ModelError:
    """Why it is out of the pool."""
    status = model.status()
    assert isinstance(status, Unavailable), status
    assert isinstance(status.error, ModelError)
    return status.error


def shown_texts(error: ModelError, *more: object) -> str:
    """All that a failure puts on the page, into a log or a traceback.

    An error has no cause: the SDK's own exceptions hold the request, whose headers hold the key.
    """
    assert error.__cause__ is None
    assert error.__context__ is None
    shown = [str(error), repr(error), error.remedy_text, error.detail, *map(str, more)]
    return "".join([*shown, *traceback.format_exception(error)])
