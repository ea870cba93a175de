"""What differs between the APIs of remote models: the contract, and the types that pass it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from pydantic import SecretStr

from arena.domain import FinishReason, GenerationParams, Message, ModelSpec, Role, clean
from arena.errors.models import KeyMissing, KeyRejected, ModelError
from arena.models.remote.failure import RemoteFailure, is_sendable
from arena.models.remote.prices import Price

Endings = Mapping[str, FinishReason | type[ModelError]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One request to come, and what has happened before it.

    Attributes:
        model: who is asked.
        messages: what was said.
        params: what the battle asks for.
        without: optional fields that the provider has refused.
        retries: how often it was sent already.
        waited: seconds, over all retries.
        main_failure: why the fallback is asked in place of the main model.
    """

    model: str
    messages: Sequence[Message]
    params: GenerationParams
    without: frozenset[str] = frozenset()
    retries: int = 0
    waited: float = 0.0
    main_failure: RemoteFailure | None = None


@dataclass(frozen=True, slots=True)
class ChatRequest:
    """One request for a streamed answer, as the API wants it.

    Attributes:
        body: the arguments of the SDK's call.
        max_tokens: the most tokens that may be generated, thinking included.
        optional: fields in it that can be left out when the provider refuses them.
        sent: what the record says of it, by the API's own names.
    """

    body: Mapping[str, Any]
    max_tokens: int
    optional: frozenset[str]
    sent: Mapping[str, float | int | str | None]


@dataclass(frozen=True, slots=True)
class ReplyChunk:
    """What one chunk of a stream says; None and empty where it says nothing.

    Attributes:
        text: visible text, without thinking.
        served: the model version that answers, as the provider names it.
        finish: the provider's finish reason.
        completion_tokens: so far, without thinking.
    """

    text: str = ""
    served: str = ""
    finish: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    thinking_tokens: int | None = None


class Client(Protocol):
    """An SDK's client together with the HTTP client under it."""

    def stream(self, request: ChatRequest) -> AsyncIterator[ReplyChunk]:
        """Send the request and read the answer."""
        ...

    async def aclose(self) -> None:
        """Close both."""
        ...


ClientT = TypeVar("ClientT", bound=Client)


class Dialect(ABC, Generic[ClientT]):
    """One API, for one contestant: its requests, its replies, its client, its errors.

    It keeps what it has learnt of the models; `RemoteModel` keeps the course of a request.

    Attributes:
        package: the SDK that has to be installed.
        endings: what the API's finish reasons mean; with one that is missing the text is kept
            as an answer, and where there is none it is a `BadReply`.
        model: the name that is asked for.
        fallback_model: answers while `model` cannot; None means that no other model ever does.
        spec: who the contestant is, without prices; `check` may complete it.
        key: opens the API; empty where none is needed.
        key_variable: the setting that holds the key; empty where none is needed.
        sends_to: the host, with its port, that the page names as the receiver of the visitor's
            text; empty where the page has another notice.
    """

    package: ClassVar[str]
    endings: ClassVar[Endings]
    model: str
    fallback_model: str | None = None
    spec: ModelSpec
    key: SecretStr
    key_variable: str
    sends_to: str = ""

    def key_fault(self) -> ModelError | None:
        """What is wrong with the key, as far as is known without asking; None if nothing is.

        Keys of a provider have no pattern that could be relied on.
        """
        key = self.key.get_secret_value()
        if self.key_variable and not key:
            return KeyMissing(label=self.spec.label, variable=self.key_variable)
        if not is_sendable(key):
            return KeyRejected("it has characters that no key has", variable=self.key_variable)
        return None

    @abstractmethod
    def connect(self, silence_s: float) -> ClientT:
        """Import the SDK and build its client; blocks for a second.

        Args:
            silence_s: how long the provider may send nothing.
        """

    @abstractmethod
    async def check(self, client: ClientT, model: str) -> RemoteFailure | None:
        """Ask whether the model can be used, free of charge; the failure if it cannot."""

    @abstractmethod
    def request(self, attempt: Attempt) -> ChatRequest:
        """The request for an answer.

        Temperature and top_p always go along, since the provider's own defaults would not be those
        of the other side. `max_new_tokens` is visible text; thinking comes on top.
        """

    @abstractmethod
    def classify(self, error: BaseException) -> RemoteFailure:
        """What an exception of the SDK or its HTTP client means; no secret is in the result."""

    @abstractmethod
    def refused_fields(self, failure: RemoteFailure) -> frozenset[str]:
        """Which optional fields of a request the provider calls wrong."""

    @abstractmethod
    async def error(
        self, client: ClientT, failure: RemoteFailure, model: str, max_tokens: int
    ) -> ModelError:
        """The failure as the error that is shown, with its remedy.

        Args:
            client: to ask for the models that exist.
            failure: what happened.
            model: who was asked.
            max_tokens: the most tokens that the answer might have had.
        """

    @abstractmethod
    def facts(self, model: str, served: str, price: Price | None) -> dict[str, str]:
        """What is shown of a model that is ready; empty values are left out by the caller.

        Args:
            model: who was asked.
            served: the version that answered; empty before the first answer.
            price: what it costs, where that is known.
        """


def sampling_of(attempt: Attempt) -> dict[str, float]:
    """Temperature, top_p and seed, without what is not set or was refused."""
    params = attempt.params
    values = {"temperature": params.temperature, "top_p": params.top_p, "seed": params.seed}
    return {k: v for k, v in values.items() if v is not None and k not in attempt.without}


def split_system(messages: Iterable[Message]) -> tuple[str, list[tuple[Role, str]]]:
    """The system prompt (all system messages together), and the turns of user and assistant.

    Empty turns are left out, since APIs and chat templates refuse them.
    """
    texts = [(m.role, clean(m.content)) for m in messages]
    system = [text for role, text in texts if role is Role.SYSTEM and text]
    return "\n\n".join(system), [turn for turn in texts if turn[0] is not Role.SYSTEM and turn[1]]
