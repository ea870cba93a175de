"""Which request the ONNX worker computes next, and when a request is let in.

In each round every answer gets one token, as many of them in one call as the runner allows, and
at most two prompts are prefilled by one chunk, so that a newcomer begins while the others go on.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from arena.errors.models import EngineCrashed, NotFinite, OutOfMemory
from arena.models.local.engine import TokenRequest, Tokens, finish_of
from arena.models.local.onnx.prefix_cache import CachedPrefix, PrefixCache
from arena.models.local.onnx.protocol import (
    Command,
    NewTokens,
    Progress,
    Submit,
    WorkerConfig,
    WorkerFailure,
    WorkerMessage,
)
from arena.models.local.onnx.sampling import draw
from arena.models.local.onnx.sequence import ModelRunner, TokenSequence

SPARE_SHARE = 0.5
"""Of the KV cache, which must stay free before an answer reserves room for its next turn."""
DETAIL_CHARACTERS = 2000
"""Of an error's text; the rest is cut off."""
_ALLOCATION_ERRORS = ("allocate", "bad_alloc", "bad allocation")


class ScheduledRequest:
    """One answer on its way.

    Attributes:
        ids: the prompt and the answer so far.
        reserved: tokens of the KV cache that are reserved for it.
        decoding: whether all but its newest token is in the KV cache.
    """

    def __init__(self, number: int, request: TokenRequest) -> None:
        self.number = number
        self.request = request
        self.ids = list(request.ids)
        self.reserved = request.total_tokens
        self.sequence: TokenSequence | None = None
        self.decoding = False

    @property
    def num_to_prefill(self) -> int:
        """Tokens to compute before the next one can be drawn."""
        return len(self.ids) - (0 if self.sequence is None else self.sequence.num_cached)

    def prefill(self, runner: ModelRunner) -> bool:
        """Prefill one chunk; whether that was the last one.

        Raises:
            RuntimeError, MemoryError: the runtime's own; the answer cannot go on.
        """
        if self.sequence is None:
            long_rope = runner.config.needs_long_rope(len(self.ids))
            self.sequence = runner.new_sequence(self.reserved, long_rope=long_rope)
        begin = self.sequence.num_cached
        self.sequence.prefill(self.ids[begin : begin + runner.config.chunk])
        self.decoding = self.sequence.num_cached == len(self.ids)
        return self.decoding

    def draw(self, config: WorkerConfig) -> Tokens:
        """The next token, from the logits of what was computed.

        Raises:
            ArithmeticError: they are not finite.
        """
        assert self.sequence is not None  # noqa: S101 - it has just been computed
        request = self.request
        token = draw(
            self.sequence.logits(),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            position=len(self.ids),
        )
        self.ids.append(token)
        written = len(self.ids) - len(request.ids)
        if token in request.stop_ids or written >= request.max_new_tokens:
            return Tokens([token], finish_of(request, token))
        if self.sequence.long_rope != config.needs_long_rope(len(self.ids)):
            # At LongRoPE's limit all tokens are prefilled again with the other factors. The old
            # sequence goes first: both together may not fit.
            self.sequence, self.decoding = None, False
        return Tokens([token], None)


class Scheduler:
    """First come, first served, with fair turns among those that are let in.

    Args:
        runner: the model.
        send: takes the messages for the arena.

    Attributes:
        running: the requests that are let in, the oldest first.
        prefix_cache: the sequences of finished ones.
    """

    def __init__(self, runner: ModelRunner, send: Callable[[WorkerMessage], None]) -> None:
        self._runner = runner
        self._config = runner.config
        self._send = send
        self._waiting: deque[ScheduledRequest] = deque()
        self._calls: deque[list[ScheduledRequest]] = deque()
        self.running: list[ScheduledRequest] = []
        self.prefix_cache = PrefixCache(runner.config)

    @property
    def busy(self) -> bool:
        """Whether an answer is to be written."""
        return bool(self.running or self._waiting)

    @property
    def free_tokens(self) -> int:
        """Tokens of the KV cache that nothing has reserved."""
        reserved = sum(scheduled.reserved for scheduled in self.running)
        return self._config.cache_tokens - reserved - self.prefix_cache.tokens

    def add(self, command: Command) -> None:
        """Take in a request, or cancel one."""
        if isinstance(command, Submit):
            self._waiting.append(ScheduledRequest(command.number, command.request))
            return
        for queue in (self.running, self._waiting):
            for scheduled in list(queue):
                if scheduled.number == command.number:
                    queue.remove(scheduled)
                    self._keep(scheduled)

    def step(self) -> None:
        """One call of the model."""
        self._admit()
        if not self._calls:
            self._calls = self._next_round()
        batch = [scheduled for scheduled in self._calls.popleft() if scheduled in self.running]
        if batch:
            self._compute(batch)

    def _compute(self, batch: list[ScheduledRequest]) -> None:
        """Prefill a chunk of one request, or decode a token for each of any number of them."""
        try:
            if batch[0].decoding:
                sequences = [s.sequence for s in batch if s.sequence is not None]
                self._runner.decode_step(sequences, [s.ids[-1] for s in batch])
            elif not batch[0].prefill(self._runner):
                self._send(Progress())
                return
        except (RuntimeError, MemoryError) as error:
            if len(batch) > 1:
                # Which of them is at fault shows when each is alone.
                for scheduled in batch:
                    self._compute([scheduled])
                return
            self._fail(batch[0], error)
            return
        for scheduled in batch:
            try:
                tokens = scheduled.draw(self._config)
            except ArithmeticError as error:
                self._fail(scheduled, error)
                continue
            if tokens.finish is not None:
                self.running.remove(scheduled)
                self._keep(scheduled)
            self._send(NewTokens(scheduled.number, tokens))

    def _fail(self, scheduled: ScheduledRequest, error: Exception) -> None:
        """Its sequence is not kept: nobody knows what it holds."""
        self.running.remove(scheduled)
        self._send(failure(scheduled.number, error))

    def _next_round(self) -> deque[list[ScheduledRequest]]:
        """All that decode, in batches as large as may be, and at most two that prefill.

        These are the one with the least to prefill, so that a short question need not wait for a
        long one, and the oldest, so that a long one need not wait for ever.
        """
        decoding = [scheduled for scheduled in self.running if scheduled.decoding]
        # In one call all get the longest one's rotary factors: who could need others is alone.
        short = [
            scheduled
            for scheduled in decoding
            if not self._config.needs_long_rope(scheduled.request.total_tokens)
        ]
        size = self._runner.info.max_batch_size
        calls = [short[begin : begin + size] for begin in range(0, len(short), size)]
        calls += [[scheduled] for scheduled in decoding if scheduled not in short]
        prefilling = [scheduled for scheduled in self.running if not scheduled.decoding]
        if prefilling:
            shortest = min(prefilling, key=lambda scheduled: scheduled.num_to_prefill)
            others = [scheduled for scheduled in prefilling if scheduled is not shortest]
            calls += [[scheduled] for scheduled in (shortest, *others[:1])]
        return deque(calls)

    def _admit(self) -> None:
        """Let requests in, the oldest first, while the KV cache holds all of them to their end."""
        while self._waiting and len(self.running) < self._config.max_running:
            scheduled = self._waiting[0]
            limit = self._config.short_context
            long_rope = self._config.needs_long_rope(len(scheduled.ids))
            needed = scheduled.reserved
            if limit and not long_rope:
                needed = min(needed, limit)
            found = self.prefix_cache.find(scheduled.ids, needed, long_rope=long_rope)
            if not self._reserve(scheduled, found[0] if found else None):
                return
            if found:
                scheduled.sequence = self.prefix_cache.take(*found)
            self.running.append(self._waiting.popleft())

    def _reserve(self, scheduled: ScheduledRequest, prefix: CachedPrefix | None) -> bool:
        """Reserve what it needs, and take over the room of its prefix; False to wait."""
        own = prefix.sequence.capacity if prefix else 0
        scheduled.reserved = max(scheduled.request.total_tokens, own)
        while scheduled.reserved > self.free_tokens + own:
            if not self.prefix_cache.drop_oldest(but=prefix):
                break
        left = self.free_tokens + own - scheduled.reserved
        if left < 0 and self.running:
            return False
        # Room for one more answer of this length, so that the next turn of the conversation can
        # continue this sequence; but not out of what others may need.
        most = self._config.context - scheduled.reserved
        more = min(scheduled.request.max_new_tokens, most)
        if prefix is None and left - more > self._config.cache_tokens * SPARE_SHARE:
            scheduled.reserved += more
        return True

    def _keep(self, scheduled: ScheduledRequest) -> None:
        if scheduled.sequence is not None:
            self.prefix_cache.put(scheduled.sequence, scheduled.ids)


def failure(number: int | None, error: BaseException) -> WorkerFailure:
    """In words for the log; without any text of the visitor."""
    detail = f"{type(error).__name__}: {error}"
    code = EngineCrashed.code
    if isinstance(error, MemoryError) or any(sign in detail for sign in _ALLOCATION_ERRORS):
        code = OutOfMemory.code
    elif isinstance(error, ArithmeticError):
        code = NotFinite.code
    return WorkerFailure(number, code, detail[:DETAIL_CHARACTERS])
