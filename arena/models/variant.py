"""A contestant that shares another one's weights."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import replace

from arena.domain import GenerationParams, Message, ModelSpec, Role
from arena.models.base import ChatModel, ModelStatus, StreamEvent


class VariantModel:
    """The weights of another model with a system prompt and parameters of its own.

    Args:
        base: the model that it shares; it is neither started twice nor closed by the variant.
        suffix: its id is the base's id, a dash and this.
        label: name for people.
        system_prompt: goes in front of the visitor's own system prompt.
        overrides: values of `GenerationParams` that take the place of the visitor's.
    """

    def __init__(
        self,
        base: ChatModel,
        *,
        suffix: str,
        label: str,
        system_prompt: str | None = None,
        overrides: Mapping[str, float | int] | None = None,
    ) -> None:
        self._base = base
        self._suffix = suffix
        self._label = label
        self._system_prompt = system_prompt
        self._overrides = dict(overrides or {})
        # A wrong name or value is a mistake of the start, not of a visitor's request.
        self._overridden(GenerationParams())

    @property
    def spec(self) -> ModelSpec:
        """The base's, with what the variant sets."""
        base = self._base.spec
        return replace(
            base,
            id=f"{base.id}-{self._suffix}",
            label=self._label,
            variant_of=base.base_id,
            system_prompt=self._system_prompt,
            overrides=self._overrides,
        )

    def status(self) -> ModelStatus:
        """The base's."""
        return self._base.status()

    async def start(self) -> None:
        """Start the base."""
        await self._base.start()

    def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """The base's answer under the variant's terms."""
        return self._base.stream(self._framed(messages), self._overridden(params))

    async def aclose(self) -> None:
        """The base is closed by its own entry."""

    def _framed(self, messages: Sequence[Message]) -> list[Message]:
        own = [self._system_prompt] if self._system_prompt else []
        system = own + [m.content for m in messages if m.role is Role.SYSTEM]
        turns = [m for m in messages if m.role is not Role.SYSTEM]
        if not system:
            return turns
        return [Message(Role.SYSTEM, "\n\n".join(system)), *turns]

    def _overridden(self, params: GenerationParams) -> GenerationParams:
        values = {
            name: int(value) if name in ("max_new_tokens", "seed") else float(value)
            for name, value in self._overrides.items()
        }
        return replace(params, **values)  # type: ignore[arg-type]
