"""Phi-4-mini's exact architecture with random weights, made on the GPU: no download.

What a step costs depends on the sizes, not on the values. Only the words are nonsense.
"""

from __future__ import annotations

from typing import Any

from bench.crowd import Wave, bound_tokens_per_s

PHI_4_MINI: dict[str, Any] = {
    "vocab_size": 200_064,
    "hidden_size": 3072,
    "intermediate_size": 8192,
    "num_hidden_layers": 32,
    "num_attention_heads": 24,
    "num_key_value_heads": 8,
    "max_position_embeddings": 131_072,
    "original_max_position_embeddings": 4096,
    "tie_word_embeddings": True,
}
ROTARY = 0.75
SHAPES = {"phi-4-mini": PHI_4_MINI}
COPY_BYTES, COPIES = 4 * 1024**3, 10


def configuration(sizes: dict[str, Any]) -> Any:  # noqa: ANN401 -- transformers' own type
    """Of a Phi-3 of these sizes with LongRoPE; the factors are made up, as the weights are."""
    from transformers import Phi3Config

    head = sizes["hidden_size"] // sizes["num_attention_heads"]
    pairs = int(head * ROTARY) // 2
    short, long = [1.0] * pairs, [1.0 + 31.0 * pair / pairs for pair in range(pairs)]
    rope = {
        "rope_type": "longrope", "rope_theta": 10_000.0, "partial_rotary_factor": ROTARY,
        "short_factor": short, "long_factor": long,
        "original_max_position_embeddings": sizes["original_max_position_embeddings"],
    }  # fmt: skip
    return Phi3Config(
        **sizes, rope_parameters=rope, sliding_window=None, bos_token_id=0, eos_token_id=0,
        pad_token_id=0,
    )  # fmt: skip


def make(sizes: dict[str, Any], device: str, dtype: str) -> Any:  # noqa: ANN401
    """The model, on the device from the start."""
    import torch
    from transformers import GenerationConfig, Phi3ForCausalLM

    torch.manual_seed(0)
    with torch.device(device):
        build: Any = Phi3ForCausalLM._from_config
        made = build(configuration(sizes), dtype=getattr(torch, dtype))
    settings: Any = GenerationConfig
    made.generation_config = settings(bos_token_id=0, eos_token_id=0, pad_token_id=0)
    return made.eval().requires_grad_(requires_grad=False)


def weights_bytes(model: Any) -> int:  # noqa: ANN401
    """What a step reads of the weights; tied ones count once."""
    return sum(one.numel() * one.element_size() for one in model.parameters())


def need_gpu() -> None:
    """Refuse to go on without one.

    Raises:
        SystemExit: there is none.
    """
    import torch

    if not torch.cuda.is_available():
        raise SystemExit(
            "--shape: there is no CUDA GPU here. Phi-4-mini's 3.8 billion random weights are made"
            " on one; leave the option out to measure the embedded model on the CPU."
        )


def bandwidth() -> float:
    """Bytes a second that the GPU's memory reads and writes, by the best of some large copies."""
    import torch

    source = torch.empty(COPY_BYTES, dtype=torch.uint8, device="cuda")
    target = torch.empty_like(source)
    event: Any = torch.cuda.Event
    best = float("inf")
    for _ in range(COPIES):
        began, ended = event(enable_timing=True), event(enable_timing=True)
        began.record()
        target.copy_(source)
        ended.record()
        torch.cuda.synchronize()
        best = min(best, began.elapsed_time(ended) / 1000)
    return 2 * COPY_BYTES / best


def sizes_in_memory(sizes: dict[str, Any]) -> dict[str, float]:
    """Bytes of its weights and of one token's keys and values, in 16 bits; nothing is made."""
    from arena.models.local.memory import ModelShape

    model = make(sizes, "meta", "bfloat16")
    kv = ModelShape.of(model.config, 2).kv_bytes_per_token
    return {"weights_bytes": weights_bytes(model), "kv_bytes_per_token": kv}


def bound_of(facts: dict[str, float], prompt: int, tokens: int, wave: Wave) -> float:
    """Most tokens a second for a wave: all of its visitors in every step."""
    return bound_tokens_per_s(
        weights_bytes=facts["weights_bytes"], kv_bytes_per_token=facts["kv_bytes_per_token"],
        visitors=wave.visitors, held=prompt + tokens / 2, bytes_per_s=facts["bytes_per_s"],
    )  # fmt: skip
