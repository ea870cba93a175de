"""Sampling that a seed repeats, alone or in a batch, on any device.

Temperature, nucleus and noise stand in `onnx/sampling.py`, too, in numpy; it says why. What the
noise is stands in `noise.py`.
"""

from __future__ import annotations

import math

import torch
from transformers import LogitsProcessor
from transformers.generation.continuous_batching.cb_logits_processors import (
    ContinuousBatchingLogitsProcessor,
)

from arena.errors.models import NotFinite
from arena.models.local.engine import Foreign
from arena.models.local.noise import (
    BELOW_ONE,
    LOWEST_TEMPERATURE,
    TOKEN_STEP,
    U32,
    draw_key,
    lowbias32,
)

GREEDY = -1
"""In place of a seed: take the likeliest token."""


def key_of(seed: int, position: int) -> int:
    """What stands for one draw, or `GREEDY`."""
    return GREEDY if seed == GREEDY else draw_key(seed, position)


def sampling_values(temperature: float, seed: int) -> tuple[float, int]:
    """Temperature and seed as the processors want them: a temperature of 0 means greedy."""
    if temperature == 0.0:
        return 1.0, GREEDY
    return max(float(temperature), LOWEST_TEMPERATURE), seed


def nucleus(scores: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """Keep, row by row, the likeliest tokens whose probabilities reach `top_p` together."""
    if scores.device.type == "cpu":
        # Sorting a whole vocabulary costs the most here; a GPU cannot branch on the values
        # without waiting, and does not need to.
        rows = (top_p < 1.0).nonzero().flatten()
        if rows.numel() == 0:
            return scores
        kept = scores.clone()
        kept[rows] = _nucleus(scores[rows], top_p[rows])
        return kept
    return _nucleus(scores, top_p)


def _nucleus(scores: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    ordered, places = torch.sort(scores, descending=True, dim=-1)
    chances = ordered.softmax(dim=-1)
    before = chances.cumsum(dim=-1) - chances
    drop = before >= top_p.unsqueeze(-1)
    drop[..., 0] = False
    drop &= (top_p < 1.0).unsqueeze(-1)
    return scores.masked_fill(drop.scatter(-1, places, drop), float("-inf"))


def add_noise(scores: torch.Tensor, keys: torch.Tensor) -> torch.Tensor:
    """Scores plus the Gumbel noise of each row's key; rows with the key `GREEDY` stay."""
    tokens = torch.arange(scores.shape[-1], device=scores.device, dtype=torch.int64)
    spread = (tokens * TOKEN_STEP & U32).unsqueeze(0)
    hashed = lowbias32(spread ^ keys.to(torch.int64).unsqueeze(-1))
    # -log1p(-w) keeps the precision of small w, and those make the large values of the noise.
    w = ((hashed.to(torch.float32) + 0.5) * 2.0**-32).clamp(max=BELOW_ONE)
    noise = -torch.log(-torch.log1p(-w))
    return torch.where((keys == GREEDY).unsqueeze(-1), scores, scores + noise)


def check_finite(best: float) -> None:
    """Refuse scores of which one is no number or infinite; the largest of them tells.

    The largest of any scores with a nan is a nan. A score of minus infinity excludes its token,
    which is allowed.

    Raises:
        NotFinite: the token would mean nothing.
    """
    if not math.isfinite(best):
        raise NotFinite(f"the best score is {best}")


class GenerateSampler(LogitsProcessor):
    """For `generate(do_sample=False)` with one request.

    Raises `NotFinite` for scores that are not finite.
    """

    def __init__(self, *, temperature: float, top_p: float, seed: int) -> None:
        self._temperature, self._seed = sampling_values(temperature, seed)
        self._top_p = float(top_p)

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:  # noqa: D102
        check_finite(scores.max().item())
        scores = scores.float() / self._temperature
        top_p = torch.tensor([self._top_p], device=scores.device)
        key = key_of(self._seed, int(input_ids.shape[-1]))
        return add_noise(nucleus(scores, top_p), torch.tensor([key], device=scores.device))


class _OneFloat(ContinuousBatchingLogitsProcessor):
    """Reads one float per request, which travels in the bits of an int32."""

    def __init__(self, name: str) -> None:
        self._name = name
        self.supported_kwargs = {name: float}
        self.ignored_kwargs = ()

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """1 changes nothing."""
        int32_tensor.copy_(torch.ones_like(int32_tensor, dtype=torch.float32).view(torch.int32))

    def prepare_tensor_args(self, requests_with_new_token: list[Foreign]) -> torch.Tensor:
        """Each request's value."""
        given = [r.state.logit_processor_kwargs for r in requests_with_new_token]
        values = [values.get(self._name, 1.0) for values in given]
        return torch.tensor(values, dtype=torch.float32).view(torch.int32)


class BatchTemperature(_OneFloat):
    """Divides each row by its request's temperature."""

    def __init__(self) -> None:
        super().__init__("temperature")

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """The scores, row by row."""
        return scores / tensor_arg[: scores.size(0)].view(torch.float32).unsqueeze(-1)


class BatchNucleus(_OneFloat):
    """Applies each request's top_p."""

    def __init__(self) -> None:
        super().__init__("top_p")

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """The scores, row by row."""
        return nucleus(scores, tensor_arg[: scores.size(0)].view(torch.float32))


class BatchNoise(ContinuousBatchingLogitsProcessor):
    """Adds each request's noise; comes last."""

    def __init__(self) -> None:
        self.supported_kwargs = {"seed": int}
        self.ignored_kwargs = ()

    def fill_defaults(self, int32_tensor: torch.Tensor) -> None:
        """No noise."""
        int32_tensor.fill_(GREEDY)

    def prepare_tensor_args(self, requests_with_new_token: list[Foreign]) -> torch.Tensor:
        """Each request's draw.

        `position_offset` already counts this step's tokens, so it is the new token's position:
        the same in every mode of the scheduler, and after an evicted request's second prefill.
        """
        keys = [
            key_of(r.state.logit_processor_kwargs.get("seed", GREEDY), r.state.position_offset)
            for r in requests_with_new_token
        ]
        return torch.tensor(keys, dtype=torch.int32)

    def __call__(self, scores: torch.Tensor, tensor_arg: torch.Tensor) -> torch.Tensor:
        """The scores, row by row."""
        return add_noise(scores, tensor_arg[: scores.size(0)])


def take_best(scores: torch.Tensor, output_ids: torch.Tensor) -> None:
    """In place of a `ModelRunner`'s `_sample`: each row's best token, and its score.

    The score goes where log probabilities would, as the bits of an int32: the host reads it with
    the token, without waiting for the device once more. See `check_finite`.

    Args:
        scores: shape (1, rows, vocabulary), float32.
        output_ids: shape (2, rows or more), int32.
    """
    best, tokens = scores[0].max(dim=-1)
    output_ids[0, : len(tokens)].copy_(tokens)
    output_ids[1, : len(tokens)].copy_(best.view(torch.int32))
