"""What this machine computes with: GPU or CPU, threads, number format, attention."""

from __future__ import annotations

import importlib.util
import os

from arena.models.local.memory import free_memory

FLASH_ATTENTION_CAPABILITY = 8
"""Lowest major CUDA compute capability that flash attention supports (8 is Ampere)."""


def compute_threads() -> int:
    """Threads for a model: all cores of this process but one, which is the page's."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return max(1, (cores or 2) - 1)


def leave_a_core_free() -> None:
    """Keep one core for the page, and don't let torch's threads spin while they wait.

    On a busy machine spinning threads take the cores from the very thread that they wait for:
    two spinning threads on two busy cores were many times slower than one. The variable counts
    only if torch is not imported yet; one that is set already stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    import torch

    torch.set_num_threads(min(torch.get_num_threads(), compute_threads()))


def choose_device() -> str:
    """`cuda` where there is a GPU, else `cpu`."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def choose_device_map(device: str, need: int) -> str | dict[str, str]:
    """Where accelerate puts the layers: all on one GPU if they fit there, else on several.

    Its own `auto` spreads even a small model over all GPUs, and only a model on one device can
    answer many people in one batch.

    Args:
        device: `cuda` or `cpu`.
        need: bytes that the weights take.
    """
    if device != "cuda":
        return {"": device}
    import torch

    names = [f"cuda:{i}" for i in range(torch.cuda.device_count())]
    best = max(names, key=free_memory)
    return {"": best} if need <= free_memory(best) else "auto"


def choose_dtypes(setting: str, device: str) -> tuple[str, ...]:
    """Names of dtypes, the best first; the next is for a model that overflows in the one before.

    As set, or what the device computes best. A GPU that only imitates bfloat16 gets float16, which
    it computes several times faster, but whose largest number is 65,504.
    """
    if setting != "auto":
        return (setting,)
    if device != "cuda":
        return ("float32",)
    import torch

    native = torch.cuda.is_bf16_supported(including_emulation=False)
    return ("bfloat16",) if native else ("float16", "float32")


def choose_attention(device: str, dtype: str) -> str:
    """Flash attention where it is installed and works, else SDPA."""
    if device == "cuda" and dtype != "float32" and importlib.util.find_spec("flash_attn"):
        import torch

        if torch.cuda.get_device_capability()[0] >= FLASH_ATTENTION_CAPABILITY:
            return "flash_attention_2"
    return "sdpa"


def device_name(device: str) -> str:
    """For people: `cpu`, or the GPU's name and how many there are."""
    if device != "cuda":
        return device
    import torch

    count = torch.cuda.device_count()
    name = torch.cuda.get_device_name(0)
    return f"cuda ({name})" if count == 1 else f"cuda ({count} x {name})"
