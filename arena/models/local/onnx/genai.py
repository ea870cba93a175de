"""Texts in a `Generator` of ONNX Runtime GenAI each: it runs every kind of model that it knows.

A generator takes no second call for a batch, so here every token of every answer is a call of its
own; `onnx_rows.py` does better with the kinds of models that it can run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
import onnxruntime_genai as og

from arena.models.local.onnx.protocol import Plan
from arena.models.local.onnx.sampling import Floats
from arena.models.local.onnx.sequence import TokenSequence

Foreign: TypeAlias = Any
"""An object of ONNX Runtime GenAI, which has no types."""


class Generators:
    """The loaded model; see `Runtime`.

    Args:
        plan: what to load.
        why: why it is not run as rows.
    """

    engine = "onnxruntime-genai"
    together = 1

    def __init__(self, plan: Plan, why: str) -> None:
        og.disable_telemetry_events()
        self.plan = plan
        self.why_alone = why
        self.versions = {"onnxruntime-genai": og.__version__}
        config = og.Config(plan.folder)
        config.overlay(_overlay(plan))
        self._model: Foreign = og.Model(config)
        probe = _GeneratorText(self, 1, long=False)
        probe.read([0])
        self.kv_itemsize = probe.itemsize(plan.graph.present[0])

    def generator(self, capacity: int, mask: Foreign = None) -> Foreign:
        """A fresh one with room for so many tokens.

        Args:
            capacity: its memory is taken at once, and does not grow.
            mask: an attention mask of ours, which it reads anew at every step.
        """
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=capacity, do_sample=False)
        generator = og.Generator(self._model, params)
        if mask is not None:
            generator.set_model_input(self.plan.graph.mask, mask)
        return generator

    def text(self, capacity: int, *, long: bool) -> TokenSequence:
        """An empty one."""
        return _GeneratorText(self, capacity, long=long)

    def write(self, texts: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        """One call for each."""
        for text, token in zip(texts, tokens, strict=True):
            text.read([token])


def _overlay(plan: Plan) -> str:
    decoder: dict[str, object] = {
        "session_options": {
            "intra_op_num_threads": plan.threads,
            # Threads that spin while they wait take the cores from the page.
            "session.intra_op.allow_spinning": "0",
        }
    }
    if plan.short_context:
        # A name that the model does not have, so that the mask is ours; see `_GeneratorText`.
        decoder["inputs"] = {"attention_mask": f"no_{plan.graph.mask}"}
    return json.dumps({"model": {"decoder": decoder}})


class _GeneratorText(TokenSequence):
    """See `TokenSequence`.

    A model with LongRoPE chooses its rotary factors at every call by the width of the attention
    mask. Left alone, it would read the first pieces of a long text with the short factors and the
    rest with the long ones. So the mask is ours: as wide as the text may become, within the short
    context or beyond it, and with as many ones as there are tokens.
    """

    def __init__(self, runtime: Generators, capacity: int, *, long: bool) -> None:
        super().__init__(runtime.plan, capacity, long=long)
        self._masked = bool(runtime.plan.short_context)
        if self._masked:
            self._mask = np.zeros((1, self.capacity), dtype=np.int64)
        self._generator = runtime.generator(self.capacity, self._mask if self._masked else None)

    def _read(self, ids: Sequence[int]) -> None:
        if self._masked:
            self._mask[0, : self.held + len(ids)] = 1
        self._generator.append_tokens(np.asarray(ids, dtype=np.int32))

    def _rewind(self, held: int) -> None:
        self._generator.rewind_to(held)
        if self._masked:
            self._mask[0, held:] = 0

    def scores(self) -> Floats:
        """See `TokenSequence`."""
        scores: Floats = self._generator.get_logits()[0, -1]
        return scores

    def itemsize(self, present: str) -> int:
        """Bytes of one number in the cache."""
        return int(self._generator.get_output(present).dtype.itemsize)
