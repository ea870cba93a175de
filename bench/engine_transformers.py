"""transformers as people use it first: the article's pipeline, and `generate` with a streamer."""

from __future__ import annotations

import threading
from typing import Any

from bench.crowd import Question, Visit
from bench.engine_worker import InTurn

WAIT_S = 600.0


def load(plan: dict[str, Any]) -> tuple[Any, Any]:
    """Model and tokenizer of the plan: the embedded one, or a made one of a shape."""
    import torch

    torch.set_num_threads(plan["threads"])
    if plan.get("shape"):
        from bench.engine_shape import make
        from tests.models.local.tiny_phi import tiny_tokenizer

        made = make(plan["shape"], plan["device"], plan["dtype"])
        return made, tiny_tokenizer()  # type: ignore[no-untyped-call]
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model: Any = AutoModelForCausalLM.from_pretrained(plan["folder"], dtype=torch.float32)
    return model.eval(), AutoTokenizer.from_pretrained(plan["folder"])


def facts_of(model: Any) -> dict[str, str]:  # noqa: ANN401 -- transformers' own type
    """Versions, number format and threads."""
    import torch
    import transformers

    return {
        "transformers": transformers.__version__,
        "torch": str(torch.__version__),
        "dtype": str(model.dtype).removeprefix("torch."),
        "threads": str(torch.get_num_threads()),
    }


class Pipeline:
    """`pipeline("text-generation")`, one request after another; the text comes as a whole."""

    def __init__(self, plan: dict[str, Any]) -> None:
        from transformers import pipeline

        self._model, tokenizer = load(plan)
        self._pipe = pipeline("text-generation", model=self._model, tokenizer=tokenizer)
        self._turn = InTurn()

    def facts(self) -> dict[str, str]:
        """See `Contestant`."""
        return facts_of(self._model)

    def say(self, question: Question, tokens: int, visit: Visit) -> None:
        """See `Contestant`. With the least as the most, every answer has just that length."""

        def write() -> None:
            talk = [{"role": "user", "content": question.text}]
            self._pipe(
                talk, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False,
                return_full_text=False,
            )  # fmt: skip
            visit.saw(tokens)

        self._turn.do(write)

    def close(self) -> None:
        """Nothing."""


class Streamer:
    """`generate` with a `TextIteratorStreamer`, one request after another."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self._model, self._tokenizer = load(plan)
        self._turn = InTurn()

    def facts(self) -> dict[str, str]:
        """See `Contestant`."""
        return facts_of(self._model)

    def say(self, question: Question, tokens: int, visit: Visit) -> None:
        """See `Contestant`."""
        self._turn.do(lambda: self._write(question, tokens, visit))

    def _write(self, question: Question, tokens: int, visit: Visit) -> None:
        import torch
        from transformers import TextIteratorStreamer

        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, timeout=WAIT_S)
        ids = torch.tensor([question.ids], device=self._model.device)
        lengths: list[int] = []

        def generate() -> None:
            found = self._model.generate(
                input_ids=ids, attention_mask=torch.ones_like(ids), max_new_tokens=tokens,
                min_new_tokens=tokens, do_sample=False, streamer=streamer,
            )  # fmt: skip
            lengths.append(found.shape[1] - ids.shape[1])

        thread = threading.Thread(target=generate)
        thread.start()
        for text in streamer:
            if text:
                visit.saw(0)
        thread.join()
        visit.saw(lengths[0])

    def close(self) -> None:
        """Nothing."""
