"""How much memory is free, what a model needs, and how large its KV cache may be."""

from __future__ import annotations

import threading
import weakref
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from arena.errors.models import EngineCrashed, ModelError, OutOfMemory
from arena.errors.reasons import ErrorReason
from arena.models.local.engine import Foreign

GIB = 1024**3
BLOCK = 256
"""Tokens in a block of the KV cache."""
MAX_RUNNING = 32
"""Answers that are written at the same time."""

_CGROUPS = (
    (Path("/sys/fs/cgroup"), "memory.max", "memory.current"),
    (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes", "memory.usage_in_bytes"),
)
"""Of both versions: the folder, and the files of the limit and of what is used."""


def gib(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / GIB:.1f} GiB" if size >= GIB / 10 else f"{size / 1024**2:.0f} MiB"


class MemoryReservations:
    """Memory that engines of this process have planned for, and take only as answers come.

    Without it several local models would each plan with the same free memory. What is taken
    already counts twice, as taken and as reserved: the sum is never too large. Thread-safe.
    """

    def __init__(self) -> None:
        self._sizes: weakref.WeakKeyDictionary[object, int] = weakref.WeakKeyDictionary()
        self._lock = threading.Lock()

    def hold(self, owner: object, size: int) -> None:
        """Reserve so many bytes for the owner, in place of what it held."""
        with self._lock:
            self._sizes[owner] = size

    def release(self, owner: object) -> None:
        """End the owner's reservation; safe to call twice."""
        with self._lock:
            self._sizes.pop(owner, None)

    @property
    def total(self) -> int:
        """Bytes."""
        with self._lock:
            return sum(self._sizes.values())


reservations = MemoryReservations()


def free_ram() -> int:
    """Bytes of RAM that can be had and are not reserved, a container's limit counted."""
    import psutil  # type: ignore[import-untyped]

    free = int(psutil.virtual_memory().available)
    for folder, limit_file, used_file in _CGROUPS:
        # Not limited ("max"), not Linux, or not readable: the host's figure stands.
        with suppress(OSError, ValueError):
            limit, used = (int((folder / f).read_text()) for f in (limit_file, used_file))
            free = min(free, limit - used + _reclaimable(folder / "memory.stat"))
    return max(free - reservations.total, 0)


def _reclaimable(stat_file: Path) -> int:
    """File cache that the kernel counts as used but gives up at once."""
    for line in stat_file.read_text().splitlines():
        name, _, value = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(value)
    return 0


def free_memory(device: str) -> int:
    """Bytes that can be had: on `cuda:0` or its like, on all GPUs (`cuda`), or in RAM."""
    if not device.startswith("cuda"):
        return free_ram()
    import torch

    if device != "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return sum(torch.cuda.mem_get_info(i)[0] for i in range(torch.cuda.device_count()))


def is_out_of_memory(error: BaseException) -> bool:
    """Whether memory ran out, in the words of any of torch's allocators."""
    if isinstance(error, MemoryError):
        return True
    words = str(error).lower()
    return "out of memory" in words or "can't allocate memory" in words


def out_of_memory(
    error: BaseException, device: str, remedy: ErrorReason = ErrorReason.DO_SHORTER
) -> OutOfMemory:
    """The typed error for one that `is_out_of_memory`."""
    return OutOfMemory(
        f"{type(error).__name__}: {error}",
        need=ErrorReason.MORE,
        free=gib(free_memory(device)),
        remedy=remedy,
    )


def engine_error(error: Exception, device: str) -> ModelError:
    """The typed error for whatever ended an answer."""
    if isinstance(error, ModelError):
        return error
    if is_out_of_memory(error):
        return out_of_memory(error, device)
    return EngineCrashed(f"{type(error).__name__}: {error}")


DEFAULT_CONTEXT = 2048
"""Of a model whose config does not say it."""
DEFAULT_WIDENING = 4
"""Intermediate over hidden size, of a model whose config does not say it."""
UNBATCHED_SHARE = 0.9
"""Of the free memory, for one request outside the batch. Linux ends a process that asks for more
than there is."""


@dataclass(frozen=True, slots=True)
class ModelShape:
    """The sizes of a model that decide what its KV cache needs.

    Attributes:
        context: longest prompt plus answer.
        short_context: longest that LongRoPE's short factors serve; the context itself for others.
    """

    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    hidden: int
    intermediate: int
    vocabulary: int
    context: int
    short_context: int
    itemsize: int

    @classmethod
    def of(cls, config: Foreign, itemsize: int) -> ModelShape:
        """From a model's text config."""
        hidden = int(config.hidden_size)
        heads = int(config.num_attention_heads)
        context = int(getattr(config, "max_position_embeddings", 0) or DEFAULT_CONTEXT)
        return cls(
            layers=int(config.num_hidden_layers),
            heads=heads,
            kv_heads=int(getattr(config, "num_key_value_heads", None) or heads),
            head_dim=int(getattr(config, "head_dim", None) or hidden // heads),
            hidden=hidden,
            intermediate=int(getattr(config, "intermediate_size", 0) or DEFAULT_WIDENING * hidden),
            vocabulary=int(config.vocab_size),
            context=context,
            short_context=min(context, _longrope_limit(config) or context),
            itemsize=itemsize,
        )

    @property
    def kv_bytes_per_token(self) -> int:
        """What one token's keys and values take."""
        return 2 * self.layers * self.kv_heads * self.head_dim * self.itemsize

    @property
    def working_bytes_per_token(self) -> int:
        """What prefilling one token takes beside the cache: activations of MLP and attention."""
        return (3 * self.intermediate + 8 * self.hidden) * self.itemsize

    def tokens_within(self, free: int) -> int:
        """Tokens that a request outside the batch may have, with so many bytes free."""
        per_token = self.kv_bytes_per_token + self.working_bytes_per_token
        return int(free * UNBATCHED_SHARE / per_token)

    def facts(self) -> dict[str, str]:
        """For the Models tab and the record."""
        names = ("layers", "hidden", "heads", "kv_heads", "head_dim", "vocabulary", "context")
        return {name: str(getattr(self, name)) for name in names}


def _longrope_limit(config: Foreign) -> int | None:
    """Where LongRoPE changes its factors; None for a model without it."""
    rope = getattr(config, "rope_parameters", None) or {}
    if rope.get("rope_type") != "longrope":
        return None
    limit = rope.get("original_max_position_embeddings")
    return int(limit or getattr(config, "original_max_position_embeddings", 0) or 0) or None


@dataclass(frozen=True, slots=True)
class CachePolicy:
    """How the shared KV cache is planned on a kind of device.

    Attributes:
        step_tokens: tokens of a prompt that one step prefills, between which the other answers
            go on: fewer keep their pauses short.
        cache_tokens: as many as are useful.
        share: of the free memory, for the cache; the rest stays for requests outside the batch,
            which have a cache of their own, and for other programs.
    """

    step_tokens: int
    cache_tokens: int
    share: float


GPU_POLICY = CachePolicy(step_tokens=1024, cache_tokens=MAX_RUNNING * 4096, share=0.7)
CPU_POLICY = CachePolicy(step_tokens=64, cache_tokens=16384, share=0.4)
LONGEST_PLANNED = 8192
"""A request of up to so many tokens has room in the cache, whatever the policy says."""
MIN_BLOCKS = 4
_LOGITS_BYTES = 16
"""For each token of the vocabulary and each answer: logits in float32, and copies of them."""
_INDEX_BYTES = 16
"""For each token of the cache: where it lies."""


@dataclass(frozen=True, slots=True)
class CachePlan:
    """Blocks of the shared KV cache, and tokens that one step prefills."""

    blocks: int
    max_batch_tokens: int

    @property
    def tokens(self) -> int:
        """What the cache holds."""
        return self.blocks * BLOCK


def plan_cache(shape: ModelShape, *, device: str, free: int, cap_gib: float | None) -> CachePlan:
    """A cache for as many answers as are useful, within what is free.

    Raises:
        OutOfMemory: there is not even room for one short answer.
    """
    policy = GPU_POLICY if device.startswith("cuda") else CPU_POLICY
    step = policy.step_tokens
    useful = max(policy.cache_tokens, min(shape.short_context, LONGEST_PLANNED))
    # Attention repeats keys and values for every query head, and needs a mask.
    beside = (2 * shape.heads + shape.kv_heads) * shape.head_dim * shape.itemsize
    per_token = shape.kv_bytes_per_token + beside + step * shape.itemsize + _INDEX_BYTES
    fixed = MAX_RUNNING * shape.vocabulary * _LOGITS_BYTES + step * shape.working_bytes_per_token
    affordable = int((free - fixed) * policy.share // per_token)
    if cap_gib is not None:
        affordable = min(affordable, int(cap_gib * GIB // shape.kv_bytes_per_token))
    blocks = min(-(-useful // BLOCK), affordable // BLOCK)
    if blocks < min(MIN_BLOCKS, -(-shape.short_context // BLOCK)):
        raise OutOfMemory(
            f"cache: {affordable} tokens at {per_token} bytes",
            need=gib(fixed + MIN_BLOCKS * BLOCK * per_token / policy.share),
            free=gib(free),
            remedy=ErrorReason.DO_RAISE_CACHE,
        )
    return CachePlan(blocks, step)
