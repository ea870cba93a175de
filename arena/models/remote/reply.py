"""What one request has brought so far, and what its end means."""

from __future__ import annotations

from dataclasses import dataclass, field

from arena.domain import FinishReason
from arena.errors.models import BadReply, StreamBroken
from arena.models.remote.dialect import Endings, ReplyChunk
from arena.models.remote.failure import RemoteFailure
from arena.models.remote.quota import MeteredCall
from arena.stats.loops import LoopDetector

USAGE_MARGIN, USAGE_EXTRA = 2, 4096
"""Counts of more than so many times the request's own, plus so many tokens, are not believed."""


@dataclass(slots=True)
class Reply:
    """What one request has brought so far.

    Attributes:
        served: the model version that answers.
        text_seen: whether visible text has come; from then on nothing is sent again.
        finish: the provider's finish reason, empty while there is none.
        looping: the text repeats itself without end, so nothing more of it is read.
        usage_doubtful: see `judge_usage`.
    """

    served: str
    text_seen: bool = False
    finish: str = ""
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    thinking_tokens: int | None = None
    looping: bool = False
    _loops: LoopDetector = field(default_factory=LoopDetector)
    usage_doubtful: bool = False

    def add(self, chunk: ReplyChunk) -> str:
        """Keep what the chunk says, and return its visible text."""
        self.served = chunk.served or self.served
        self.finish = chunk.finish or self.finish
        self.text_seen = self.text_seen or bool(chunk.text)
        for name in ("prompt_tokens", "completion_tokens", "thinking_tokens"):
            if (count := getattr(chunk, name)) is not None:
                setattr(self, name, count)
        if chunk.text and self._loops.push(chunk.text):
            self.looping = True
        return chunk.text

    def judge_usage(self, most_prompt: int, most_generated: int) -> None:
        """Forget counts that the request cannot have, whatever the engine adds to it.

        Args:
            most_prompt: an upper bound of the prompt's tokens, without the engine's own.
            most_generated: how many tokens were allowed.
        """
        generated = (self.completion_tokens or 0) + (self.thinking_tokens or 0)
        counted = ((self.prompt_tokens or 0, most_prompt), (generated, most_generated))
        if any(count > USAGE_MARGIN * most + USAGE_EXTRA for count, most in counted):
            self.usage_doubtful = True
            self.prompt_tokens = self.completion_tokens = self.thinking_tokens = None

    def ending(self, endings: Endings) -> FinishReason | RemoteFailure:
        """How it ended, once the stream is over."""
        if self.looping:
            return FinishReason.LOOP
        if not self.finish:
            return RemoteFailure(
                StreamBroken, "the stream ended without a finish reason", again=True
            )
        unknown = FinishReason.OTHER if self.text_seen else BadReply
        meaning = endings.get(self.finish, unknown)
        if isinstance(meaning, FinishReason):
            return meaning
        return RemoteFailure(meaning, f"finish reason {self.finish[:100]}")

    def cost(self, call: MeteredCall, end: FinishReason | RemoteFailure) -> float | None:
        """US dollars; None where it is not known.

        A request that was refused costs nothing. What is billed of one that broke after its
        beginning is not known.
        """
        if isinstance(end, RemoteFailure):
            return 0.0 if end.refused and not self.text_seen else None
        visible = self.completion_tokens
        if visible is None and end is FinishReason.BLOCKED:
            visible = 0
        generated = None if visible is None else visible + (self.thinking_tokens or 0)
        return call.usd(self.served, self.prompt_tokens, generated)
