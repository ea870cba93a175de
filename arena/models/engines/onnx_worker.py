"""The process that runs an ONNX model: loads it, reads prompts, writes answers in turn.

ONNX Runtime GenAI holds the interpreter's lock for a whole step, from a hundredth of a second to
several, so it has a process of its own. It ends when the arena's end of the connection closes,
however the arena ended.

Each answer has a generator of its own. In each round every answer that is being written gets one
token, and two prompts at most are read by one piece, so that a newcomer begins while the others
go on.

Imports the standard library, numpy and ONNX Runtime GenAI, and no torch.
"""

from __future__ import annotations

import signal
import sys
from collections import deque
from collections.abc import Callable
from multiprocessing.connection import Connection

import numpy as np
import onnxruntime_genai as og

from arena.models.engines.base import TokenRequest, Tokens, finish_of
from arena.models.engines.onnx_protocol import (
    Command,
    Failure,
    Piece,
    Plan,
    Ready,
    Report,
    Write,
)
from arena.models.engines.onnx_sampling import draw
from arena.models.engines.onnx_sequence import Kept, Runtime, Shelf, Text

REST_S = 1.0
"""How long nobody asks for anything before kept texts are read anew: a piece takes a tenth of a
second, for which the next question would wait."""


class Answer:
    """One answer on its way.

    Attributes:
        ids: the prompt and what was written.
        reserved: tokens that it may come to hold.
    """

    def __init__(self, number: int, request: TokenRequest) -> None:
        self.number = number
        self.request = request
        self.ids = list(request.ids)
        self.reserved = request.total_tokens
        self.text: Text | None = None
        self.writing = False

    @property
    def left_to_read(self) -> int:
        """Tokens before the next one can be drawn."""
        return len(self.ids) - (0 if self.text is None else self.text.held)

    def step(self, runtime: Runtime) -> Tokens | None:
        """Read a piece, or write a token.

        Raises:
            RuntimeError, MemoryError: the runtime's own; the answer cannot go on.
        """
        limit = runtime.plan.short_context
        long = bool(limit) and len(self.ids) > limit
        if self.text is None or self.text.long != long:
            # At LongRoPE's limit everything is read anew with the other factors. The old text
            # goes first: both together may not fit.
            self.text, self.writing = None, False
            self.text = Text(runtime, self.reserved, long=long)
        if self.writing:
            self.text.read(self.ids[-1:])
        else:
            begin = self.text.held
            self.text.read(self.ids[begin : begin + runtime.plan.chunk])
            if self.text.held < len(self.ids):
                return None
            self.writing = True
        return self._write(self.text)

    def _write(self, text: Text) -> Tokens:
        request = self.request
        token = draw(
            text.scores(),
            temperature=request.temperature,
            top_p=request.top_p,
            seed=request.seed,
            position=len(self.ids),
        )
        self.ids.append(token)
        written = len(self.ids) - len(request.ids)
        done = token in request.stop_ids or written >= request.max_new_tokens
        return Tokens([token], finish_of(request, token) if done else None)


class Rounds:
    """Who is served next.

    Args:
        runtime: the model.
        send: takes what the arena shall hear.
    """

    def __init__(self, runtime: Runtime, send: Callable[[Report], None]) -> None:
        self._runtime = runtime
        self._plan = runtime.plan
        self._send = send
        self._waiting: deque[Answer] = deque()
        self._running: list[Answer] = []
        self._round: deque[Answer] = deque()
        self.shelf = Shelf(runtime.plan)

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
        """One step of one answer."""
        self._let_in()
        if not self._round:
            self._round = self._next_round()
        answer = self._round.popleft()
        if answer not in self._running:
            return
        try:
            tokens = answer.step(self._runtime)
        except (RuntimeError, MemoryError) as error:
            self._running.remove(answer)
            self._send(failure(answer.number, error))
            return
        if tokens is None:
            return
        if tokens.finish is not None:
            self._running.remove(answer)
            self._keep(answer)
        self._send(Piece(answer.number, tokens))

    def _next_round(self) -> deque[Answer]:
        """All that are being written, and at most two that are read.

        The one that has least to read, so that a short question is not kept waiting by a long one,
        and the oldest, so that a long one is not kept waiting for ever.
        """
        chosen = [answer for answer in self._running if answer.writing]
        reading = [answer for answer in self._running if not answer.writing]
        if reading:
            shortest = min(reading, key=lambda answer: answer.left_to_read)
            others = [answer for answer in reading if answer is not shortest]
            chosen += [shortest, *others[:1]]
        return deque(chosen)

    def _let_in(self) -> None:
        """Let answers in, the oldest first, while the cache can hold all of them to their end."""
        while self._waiting and len(self._running) < self._plan.running:
            answer = self._waiting[0]
            limit = self._plan.short_context
            long = bool(limit) and len(answer.ids) > limit
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


def failure(number: int | None, error: BaseException) -> Failure:
    """In words for the log; never the visitor's text."""
    words = f"{type(error).__name__}: {error}"
    memory = isinstance(error, MemoryError) or "allocate" in words or "bad_alloc" in words
    return Failure(number, memory, words[:2000])


def warm_up(runtime: Runtime) -> int:
    """Read and write a little; bytes of one number in the cache.

    Raises:
        ArithmeticError: the model computes nonsense here.
    """
    answer = Answer(0, TokenRequest([0, 0, 0], 2, 0.0, 1.0, 0, frozenset()))
    while answer.step(runtime) is None:
        pass
    answer.step(runtime)
    assert answer.text is not None  # noqa: S101 - it has just been read
    if not np.isfinite(answer.text.scores()).all():
        raise ArithmeticError("the scores are not finite")
    return answer.text.kv_itemsize(runtime.plan.present)


def serve(connection: Connection, rounds: Rounds) -> None:
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
            og.disable_telemetry_events()
            runtime = Runtime(plan)
            itemsize = warm_up(runtime)
            connection.send(Ready({"onnxruntime-genai": og.__version__}, itemsize))
            serve(connection, Rounds(runtime, connection.send))
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
