"""The contestants as everybody may see them: their states, without what a hidden battle changed."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from dataclasses import replace

from arena.battle.session import BattleSession
from arena.blind import Held, hides_sides
from arena.domain import GenerationParams, Message, ModelSpec
from arena.models.base import ChatModel, ModelStatus, Sending, StreamEvent
from arena.models.registry import Registry


class _ShownModel:
    """A contestant in another state than its own; it can't be asked anything."""

    def __init__(self, model: ChatModel, status: ModelStatus) -> None:
        self._model = model
        self._status = status

    @property
    def spec(self) -> ModelSpec:
        """Who it is."""
        return self._model.spec

    @property
    def sends_to(self) -> str:
        """See `Sending`; empty where the contestant sends nothing."""
        return self._model.sends_to if isinstance(self._model, Sending) else ""

    def status(self) -> ModelStatus:
        """The state it is shown in."""
        return self._status

    async def start(self) -> None:
        """Nothing: it is only looked at."""

    def stream(
        self, messages: Sequence[Message], params: GenerationParams
    ) -> AsyncGenerator[StreamEvent, None]:
        """Refuses: it is only looked at.

        Raises:
            TypeError: always; the arena's own registry has the contestants that answer.
        """
        raise TypeError("a contestant as the public sees it does not answer")

    async def aclose(self) -> None:
        """Nothing: it is only looked at."""


class PublicStatuses:
    """Holds back what open hidden battles may have changed, see `Held`.

    Args:
        registry: the contestants as they are.
        sessions: gives the open battles.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        registry: Registry,
        sessions: Callable[[], Iterable[BattleSession]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._registry = registry
        self._sessions = sessions
        self._clock = clock
        self._held: dict[str, Held[ModelStatus]] = {}

    def registry(self) -> Registry:
        """The contestants with their public states; only to be looked at."""
        now = self._clock()
        hidden = self._hidden_battles()
        shown = []
        for entry in self._registry.entries:
            status = entry.model.status()
            held = self._held.setdefault(entry.slug, Held(status))
            base = entry.model.spec.base_id
            seen = held.see(status, hidden.get(base, frozenset()), now)
            shown.append(replace(entry, model=_ShownModel(entry.model, seen)))
        return Registry(shown)

    def _hidden_battles(self) -> dict[str, frozenset[str]]:
        """The open battles whose sides are hidden, by the weights that play in them."""
        found: dict[str, frozenset[str]] = {}
        for session in self._sessions():
            battle = session.battle
            if hides_sides(battle, voted=session.revealed):
                # The specs of now, as the keys above: an id may have gained its precision.
                for base in {e.model.spec.base_id for e in session.entries.values()}:
                    found[base] = found.get(base, frozenset()) | {battle.id}
        return found
