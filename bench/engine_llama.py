"""llama.cpp by its Python package, one request after another: the package has one sequence.

Runs in any environment that has `llama-cpp-python`; nothing of the arena is imported. The weights
are those that the embedded model was made from, in their own 4-bit form.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from bench.crowd import Question, Visit
from bench.engine_worker import InTurn

CONTEXT = 2048


class Llama:
    """Tokens in, tokens out; the stop token is one like the others."""

    def __init__(self, plan: dict[str, Any]) -> None:
        llama_cpp: Any = import_module("llama_cpp")
        self._version = str(llama_cpp.__version__)
        self._threads = plan["threads"]
        self._model: Any = llama_cpp.Llama(
            plan["gguf"], n_ctx=CONTEXT, n_threads=self._threads, n_threads_batch=self._threads,
            verbose=False,
        )  # fmt: skip
        self._turn = InTurn()

    def facts(self) -> dict[str, str]:
        """See `Contestant`."""
        return {"llama-cpp-python": self._version, "threads": str(self._threads)}

    def say(self, question: Question, tokens: int, visit: Visit) -> None:
        """See `Contestant`."""
        self._turn.do(lambda: self._write(question, tokens, visit))

    def _write(self, question: Question, tokens: int, visit: Visit) -> None:
        for number, token in enumerate(self._model.generate(question.ids, temp=0.0), 1):
            self._model.detokenize([token])
            visit.saw(1)
            if number == tokens:
                return

    def close(self) -> None:
        """Free the weights."""
        self._model.close()
