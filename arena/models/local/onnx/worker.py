"""The process that runs an ONNX model: loads it, reads prompts, writes answers side by side.

A step takes a core for a hundredth of a second to several, and ONNX Runtime GenAI holds the
interpreter's lock for all of it, so it has a process of its own. It ends when the arena's end of
the connection closes, however the arena ended.

In each round every answer that is being written gets one token, as many of them in one call as the
runtime allows, and two prompts at most are read by one piece, so that a newcomer begins while the
others go on.

Imports the standard library, numpy and ONNX Runtime, and no torch.
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np

from arena.models.local.engine import TokenRequest, Tokens, finish_of
from arena.models.local.onnx.batch import BatchedRunner, UnfitError, agrees
from arena.models.local.onnx.protocol import (
    Command,
    Piece,
    Plan,
    WorkerFailure,
    WorkerMessage,
    WorkerReady,
    Write,
)
from arena.models.local.onnx.sampling import draw
from arena.models.local.onnx.sequence import Kept, PrefixCache, Runtime, TokenSequence

REST_S = 1.0
"""How long nobody asks for anything before kept texts are read anew: a piece takes a tenth of a
second, for which the next question would wait."""


class Answer:
    """One answer on its way.

    Attributes:
        ids: the prompt and what was written.
        reserved: tokens that it may come to hold.
        writing: whether all but its newest token was read.
    """

    def __init__(self, number: int, request: TokenRequest) -> None:
        self.number = number
        self.request = request
        self.ids = list(request.ids)
        self.reserved = request.total_tokens
        self.text: TokenSequence | None = None
        self.writing = False

    @property
    def left_to_read(self) -> int:
        """Tokens before the next one can be drawn."""
        return len(self.ids) - (0 if self.text is None else self.text.held)

    def read(self, runtime: Runtime) -> bool:
        """Read a piece; whether nothing is left.

        Raises:
            RuntimeError, MemoryError: the runtime's own; the answer cannot go on.
        """
        if self.text is None:
            long = is_long(len(self.ids), runtime.plan)
            self.text = runtime.text(self.reserved, long=long)
        begin = self.text.held
        self.text.read(self.ids[begin : begin + runtime.plan.chunk])
        self.writing = self.text.held == len(self.ids)
        return self.writing

    def draw(self, runtime: Runtime) -> Tokens:
        """The next token, out of the scores of what was read."""
        assert self.text is not None  # noqa: S101 - it has just been read
        request = self.request
        token = draw(
            self.text.scores(),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            position=len(self.ids),
        )
        self.ids.append(token)
        written = len(self.ids) - len(request.ids)
        if token in request.stop_ids or written >= request.max_new_tokens:
            return Tokens([token], finish_of(request, token))
        if self.text.long != is_long(len(self.ids), runtime.plan):
            # At LongRoPE's limit everything is read anew with the other factors. The old text
            # goes first: both together may not fit.
            self.text, self.writing = None, False
        return Tokens([token], None)


def is_long(tokens: int, plan: Plan) -> bool:
    """Whether LongRoPE's long factors serve a text of this length."""
    return bool(plan.short_context) and tokens > plan.short_context


class Scheduler:
    """Who is served next.

    Args:
        runtime: the model.
        send: takes what the arena shall hear.
    """

    def __init__(self, runtime: Runtime, send: Callable[[WorkerMessage], None]) -> None:
        self._runtime = runtime
        self._plan = runtime.plan
        self._send = send
        self._waiting: deque[Answer] = deque()
        self._running: list[Answer] = []
        self._round: deque[list[Answer]] = deque()
        self.shelf = PrefixCache(runtime.plan)

    @property
    def busy(self) -> bool:
        """Whether an answer is to be written."""
        return bool(self._running or self._waiting)

    def add(self, command: Command) -> None:
        """Do as the arena says."""
        if isinstance(command, Write):
            self._waiting.append(Answer(command.number, command.request))
            return
        for answers in (self._running, self._waiting):
            for answer in list(answers):
                if answer.number == command.number:
                    answers.remove(answer)
                    self._keep(answer)

    def step(self) -> None:
        """One call of the model."""
        self._let_in()
        if not self._round:
            self._round = self._next_round()
        answers = [answer for answer in self._round.popleft() if answer in self._running]
        if answers:
            self._serve(answers)

    def _serve(self, answers: list[Answer]) -> None:
        """Let them read on: one that reads its prompt, or any number that are being written."""
        try:
            if answers[0].writing:
                texts = [answer.text for answer in answers if answer.text is not None]
                self._runtime.write(texts, [answer.ids[-1] for answer in answers])
            elif not answers[0].read(self._runtime):
                return
        except (RuntimeError, MemoryError) as error:
            if len(answers) > 1:
                # Which of them is at fault shows when each is alone.
                for answer in answers:
                    self._serve([answer])
                return
            self._running.remove(answers[0])
            self._send(failure(answers[0].number, error))
            return
        for answer in answers:
            tokens = answer.draw(self._runtime)
            if tokens.finish is not None:
                self._running.remove(answer)
                self._keep(answer)
            self._send(Piece(answer.number, tokens))

    def _next_round(self) -> deque[list[Answer]]:
        """All that are being written, as many in a call as may be, and at most two that are read.

        The one that has least to read, so that a short question is not kept waiting by a long one,
        and the oldest, so that a long one is not kept waiting for ever.
        """
        writing = [answer for answer in self._running if answer.writing]
        # In one call all have the longest one's rotary factors: who could need others is alone.
        short = [a for a in writing if not is_long(a.request.total_tokens, self._plan)]
        size = self._runtime.together
        calls = [short[begin : begin + size] for begin in range(0, len(short), size)]
        calls += [[answer] for answer in writing if answer not in short]
        reading = [answer for answer in self._running if not answer.writing]
        if reading:
            shortest = min(reading, key=lambda answer: answer.left_to_read)
            others = [answer for answer in reading if answer is not shortest]
            calls += [[answer] for answer in (shortest, *others[:1])]
        return deque(calls)

    def _let_in(self) -> None:
        """Let answers in, the oldest first, while the cache can hold all of them to their end."""
        while self._waiting and len(self._running) < self._plan.running:
            answer = self._waiting[0]
            limit = self._plan.short_context
            long = is_long(len(answer.ids), self._plan)
            needed = answer.reserved if long or not limit else min(answer.reserved, limit)
            found = self.shelf.find(answer.ids, needed, long=long)
            if not self._make_room(answer, found[0] if found else None):
                return
            if found:
                answer.text = self.shelf.take(*found)
            self._running.append(self._waiting.popleft())

    def _make_room(self, answer: Answer, kept: Kept | None) -> bool:
        """Reserve what it needs, with a kept text whose room it takes over; False to wait."""
        own = kept.text.capacity if kept else 0
        answer.reserved = max(answer.request.total_tokens, own)
        while answer.reserved > self._free + own and self.shelf.drop_oldest(spare=kept):
            pass
        left = self._free + own - answer.reserved
        if left < 0 and self._running:
            return False
        # Room for one more answer of this length, so that the next turn of the conversation can
        # continue this text; but not out of what others may need.
        more = min(answer.request.max_new_tokens, self._plan.context - answer.reserved)
        if kept is None and left - more > self._plan.cache_tokens / 2:
            answer.reserved += more
        return True

    @property
    def _free(self) -> int:
        held = sum(answer.reserved for answer in self._running)
        return self._plan.cache_tokens - held - self.shelf.tokens

    def _keep(self, answer: Answer) -> None:
        if answer.text is not None:
            self.shelf.put(answer.text, answer.ids)


def failure(number: int | None, error: BaseException) -> WorkerFailure:
    """In words for the log; never the visitor's text."""
    words = f"{type(error).__name__}: {error}"
    memory = isinstance(error, MemoryError) or any(
        sign in words for sign in ("allocate", "bad_alloc", "bad allocation")
    )
    return WorkerFailure(number, memory, words[:2000])


def load(plan: Plan) -> Runtime:
    """The model, in the quickest form that it has here, warm.

    Raises:
        ArithmeticError: it computes nonsense here.
        RuntimeError, MemoryError: it cannot be loaded.
    """
    try:
        rows = BatchedRunner(plan)
    except UnfitError as error:
        why = str(error)
    else:
        warm_up(rows)
        if not agrees(rows):
            rows.together, rows.why_alone = 1, "company changes scores on this processor"
        return rows
    # Here, what was loaded is gone with the error: the weights may not fit twice.
    from arena.models.local.onnx.genai import Generators

    generators = Generators(plan, why)
    warm_up(generators)
    return generators


def warm_up(runtime: Runtime) -> None:
    """Read and write a little.

    Raises:
        ArithmeticError: the model computes nonsense here.
    """
    text = runtime.text(4, long=False)
    text.read([0, 0, 0])
    runtime.write([text], [0])
    if not np.isfinite(text.scores()).all():
        raise ArithmeticError("the scores are not finite")


def serve(connection: Connection, rounds: Scheduler) -> None:
    """Work until the connection closes.

    Raises:
        EOFError, ConnectionError: it has.
    """
    quiet = False
    while True:
        timeout: float | None = 0.0
        if not rounds.busy and not quiet:
            timeout = REST_S
        elif not rounds.busy and not rounds.shelf.settle():
            timeout = rounds.shelf.drop_old()
        heard = False
        while connection.poll(timeout):
            rounds.add(connection.recv())
            heard, timeout = True, 0.0
        quiet = not heard and not rounds.busy
        if rounds.busy:
            rounds.step()


def main() -> int:
    """Load and serve; the exit status."""
    # Ctrl-C in a terminal reaches every process there; the arena ends its worker itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection: Connection = Connection(int(sys.argv[1]))
    try:
        plan: Plan = connection.recv()
        try:
            runtime = load(plan)
            connection.send(
                WorkerReady(
                    runtime.engine, runtime.versions, runtime.kv_itemsize,
                    runtime.together, runtime.why_alone,
                )
            )  # fmt: skip
            serve(connection, Scheduler(runtime, connection.send))
        except (EOFError, ConnectionError):
            raise
        except Exception as error:  # noqa: BLE001 - the arena logs it and starts another worker
            connection.send(failure(None, error))
            return 1
    except (EOFError, ConnectionError):
        return 0
    return 0


if __name__ == "__main__":
    sys.exit(main())
