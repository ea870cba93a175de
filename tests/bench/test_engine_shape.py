"""The made model: a wrong size, and its speed is another model's."""

from __future__ import annotations

from typing import Any

import pytest

from arena.models.local.memory import ModelShape
from bench.crowd import Question, Wave, run_wave
from bench.engine_ours import Transformers
from bench.engine_shape import PHI_4_MINI, bound_of, configuration, need_gpu, weights_bytes
from bench.engine_transformers import Pipeline, Streamer


def test_it_has_the_sizes_of_phi_4_mini() -> None:
    """Its parameters and its cache, as its makers say."""
    import torch
    from transformers import AutoModelForCausalLM

    with torch.device("meta"):
        model = AutoModelForCausalLM.from_config(configuration(PHI_4_MINI), dtype=torch.bfloat16)
    shape = ModelShape.of(model.config, 2)

    assert 3.83e9 < sum(one.numel() for one in model.parameters()) < 3.84e9
    assert weights_bytes(model) == pytest.approx(7.7e9, rel=0.01)
    assert shape.kv_bytes_per_token == 128 * 1024
    assert (shape.context, shape.short_context) == (131_072, 4096)


@pytest.mark.parametrize("contestant", [Pipeline, Streamer, Transformers])
def test_a_small_one_is_measured(contestant: Any) -> None:
    """The same way of making it, in a size for this machine, and each answer in full length."""
    small = PHI_4_MINI | {
        "vocab_size": 600, "hidden_size": 96, "intermediate_size": 64, "num_hidden_layers": 2,
        "num_attention_heads": 6, "num_key_value_heads": 2, "max_position_embeddings": 256,
        "original_max_position_embeddings": 64,
    }  # fmt: skip
    made = contestant({"shape": small, "device": "cpu", "dtype": "float32", "threads": 1})
    try:
        rows = run_wave(made.say, [Question("Hi", [5, 6, 7]), Question("You", [8, 9])], 0.0, 7)
    finally:
        made.close()
    assert [row["tokens"] for row in rows] == [7, 7]
    assert made.facts()["threads"]


def test_a_wave_s_bound_counts_all_its_visitors() -> None:
    """One visitor's bound for sixteen would show a share of more than all."""
    facts = {"weights_bytes": 8e9, "kv_bytes_per_token": 1e5, "bytes_per_s": 4e12}

    assert bound_of(facts, 100, 200, Wave(4, 0.0)) == pytest.approx(4 * 4e12 / (8e9 + 4 * 2e7))


def test_without_a_gpu_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    """An out-of-memory in the middle of 3.8 billion weights explains nothing."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)

    with pytest.raises(SystemExit, match="no CUDA GPU"):
        need_gpu()
