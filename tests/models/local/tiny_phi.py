"""A Phi-3 of two layers with a real tokenizer, in Phi-4-mini's form: LongRoPE and GQA."""

from __future__ import annotations

import json
from pathlib import Path

TEXTS = [
    "The quick brown fox jumps over the lazy dog. What is the capital of France?",
    "Write a for loop in Python and explain it, please. def main(): return 1",
    "日本の首都は東京です。こんにちは、世界。フォーループの使い方を説明してください。",
    "偶数と偶数を足すと必ず偶数になることを証明せよ。",
]
SPECIAL = ["<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>"]
PLAIN_ADDED = ["<|tool|>", "<|/tool|>"]
"""Control tokens that are not flagged special, as some of Phi-4-mini's."""
TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] "
    "+ '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)
SHORT = 64
LONG = 256


def tiny_tokenizer():  # type: ignore[no-untyped-def]
    """Byte-level BPE of a few hundred tokens."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    backend.train_from_iterator(TEXTS, trainer)
    backend.add_special_tokens([AddedToken(t, special=True, normalized=False) for t in SPECIAL])
    backend.add_tokens([AddedToken(t, special=False, normalized=False) for t in PLAIN_ADDED])
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        bos_token="<|endoftext|>",
        eos_token="<|endoftext|>",
        pad_token="<|endoftext|>",
        chat_template=TEMPLATE,
    )


def save_tiny_phi(folder: Path, *, seed: int = 0, wide: bool = False) -> Path:
    """Make it and save it.

    Args:
        folder: where to.
        seed: for the weights.
        wide: heads of 64 numbers and not of 16: ONNX Runtime rotates only multiples of 16.
    """
    import torch
    from transformers import GenerationConfig, Phi3Config, Phi3ForCausalLM

    tokenizer = tiny_tokenizer()
    end, stop = tokenizer.convert_tokens_to_ids(["<|end|>", "<|endoftext|>"])
    # Half of head_dim 16 (or 64) x partial_rotary_factor 0.75.
    pairs, hidden, spread = (24, 256, 0.2) if wide else (6, 64, 0.4)
    config = Phi3Config(
        vocab_size=len(tokenizer),
        hidden_size=hidden,
        intermediate_size=128,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=LONG,
        original_max_position_embeddings=SHORT,
        sliding_window=262144,
        rope_parameters={
            "rope_type": "longrope",
            "rope_theta": 10000.0,
            "partial_rotary_factor": 0.75,
            "short_factor": [1.0 + 0.6 * i / pairs for i in range(pairs)],
            "long_factor": [4.0 + 18.0 * i / pairs for i in range(pairs)],
            "original_max_position_embeddings": SHORT,
        },
        tie_word_embeddings=True,
        initializer_range=spread,  # large, so that the tokens depend on every position
        bos_token_id=stop,
        eos_token_id=stop,
        pad_token_id=stop,
    )
    torch.manual_seed(seed)
    model = Phi3ForCausalLM(config).eval()
    model.generation_config = GenerationConfig(
        bos_token_id=stop, eos_token_id=[end, stop], pad_token_id=stop
    )
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config_file = folder / "config.json"
    saved = json.loads(config_file.read_text("utf-8"))
    saved["rope_parameters"]["type"] = "longrope"  # the older name, which builders still read
    config_file.write_text(json.dumps(saved), "utf-8")
    return folder
