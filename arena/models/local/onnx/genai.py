"""A `Generator` of ONNX Runtime GenAI for each sequence: it runs every kind of model it knows.

A generator cannot decode a batch of sequences that begin at different times, so that every token
of every answer is a call of its own; `batch.py` does better with the models that it can run.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
import onnxruntime_genai as og

from arena.models.local.engine import Foreign
from arena.models.local.onnx.protocol import RunnerInfo, WorkerConfig
from arena.models.local.onnx.sampling import Floats
from arena.models.local.onnx.sequence import TokenSequence


class GenaiRunner:
    """The loaded model; see `ModelRunner`.

    Args:
        config: what to load.
        why: why it is not batched.
    """

    def __init__(self, config: WorkerConfig, why: str) -> None:
        og.disable_telemetry_events()
        self.config = config
        runtime_config = og.Config(config.folder)
        runtime_config.overlay(_overlay(config))
        self._model: Foreign = og.Model(runtime_config)
        trial = GeneratorSequence(self, 1, long_rope=False)
        trial.prefill([0])
        self.info = RunnerInfo(
            "onnxruntime-genai",
            {"onnxruntime-genai": og.__version__},
            trial.itemsize(config.graph.present[0]),
            max_batch_size=1,
            why_unbatched=why,
        )

    def generator(self, capacity: int, mask: Foreign = None) -> Foreign:
        """A fresh one with room for so many tokens.

        Args:
            capacity: its memory is taken at once, and does not grow.
            mask: an attention mask of ours, which it reads at every step.
        """
        params = og.GeneratorParams(self._model)
        params.set_search_options(max_length=capacity, do_sample=False)
        generator = og.Generator(self._model, params)
        if mask is not None:
            generator.set_model_input(self.config.graph.attention_mask, mask)
        return generator

    def new_sequence(self, capacity: int, *, long_rope: bool) -> TokenSequence:
        """See `ModelRunner`."""
        return GeneratorSequence(self, capacity, long_rope=long_rope)

    def decode_step(self, sequences: Sequence[TokenSequence], tokens: Sequence[int]) -> None:
        """One call for each."""
        for sequence, token in zip(sequences, tokens, strict=True):
            sequence.prefill([token])


def _overlay(config: WorkerConfig) -> str:
    decoder: dict[str, object] = {
        "session_options": {
            "intra_op_num_threads": config.threads,
            # Threads that spin while they wait take the cores from the page.
            "session.intra_op.allow_spinning": "0",
        }
    }
    if config.short_context:
        # A name that the model does not have, so that the mask is ours; see `GeneratorSequence`.
        decoder["inputs"] = {"attention_mask": f"no_{config.graph.attention_mask}"}
    return json.dumps({"model": {"decoder": decoder}})


class GeneratorSequence(TokenSequence):
    """See `TokenSequence`.

    A model with LongRoPE chooses its rotary factors at every call by the width of the attention
    mask. A generator's own mask grows, so that the first chunks of a long prompt would get the
    short factors and the rest the long ones. So the mask is ours: as wide as the sequence may
    become, within the short context or beyond it, and with as many ones as there are tokens.
    """

    def __init__(self, runner: GenaiRunner, capacity: int, *, long_rope: bool) -> None:
        super().__init__(runner.config, capacity, long_rope=long_rope)
        self._masked = bool(runner.config.short_context)
        if self._masked:
            self._mask = np.zeros((1, self.capacity), dtype=np.int64)
        self._generator = runner.generator(self.capacity, self._mask if self._masked else None)

    def _forward(self, ids: Sequence[int]) -> None:
        if self._masked:
            self._mask[0, : self.num_cached + len(ids)] = 1
        self._generator.append_tokens(np.asarray(ids, dtype=np.int32))

    def _rewind(self, num_cached: int) -> None:
        self._generator.rewind_to(num_cached)
        if self._masked:
            self._mask[0, num_cached:] = 0

    def logits(self) -> Floats:
        """See `TokenSequence`."""
        logits: Floats = self._generator.get_logits()[0, -1]
        return logits

    def itemsize(self, present: str) -> int:
        """Bytes of one number in the KV cache."""
        return int(self._generator.get_output(present).dtype.itemsize)
