"""The noise is right, repeatable, and the same in both engines."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from transformers import TopPLogitsWarper

from arena.models.local.transformers.sampling import (
    GREEDY,
    BatchNoise,
    BatchNucleus,
    BatchTemperature,
    GenerateSampler,
    add_noise,
    key_of,
    nucleus,
    sampling_values,
)


def request(position: int, temperature: float, top_p: float, seed: int) -> SimpleNamespace:
    temperature, seed = sampling_values(temperature, seed)
    kwargs = {"temperature": temperature, "top_p": top_p, "seed": seed}
    return SimpleNamespace(
        state=SimpleNamespace(logit_processor_kwargs=kwargs, position_offset=position)
    )


def test_a_batch_of_different_requests_samples_as_each_alone() -> None:
    """Each row has the temperature, top_p and seed of its own request."""
    torch.manual_seed(0)
    scores = torch.randn(4, 5000) * 3
    wanted = [(10, 0.7, 1.0, 1), (10, 0.7, 0.8, 1), (99, 0.0, 0.5, 7), (5, 2.0, 0.3, 2**31 - 1)]
    rows = [request(*values) for values in wanted]
    together = scores
    for processor in (BatchTemperature(), BatchNucleus(), BatchNoise()):
        together = processor(together, processor.prepare_tensor_args(rows))
    for row, (position, temperature, top_p, seed) in enumerate(wanted):
        solo = GenerateSampler(temperature=temperature, top_p=top_p, seed=seed)
        alone = solo(torch.zeros(1, position, dtype=torch.int64), scores[row : row + 1])
        assert torch.equal(alone[0], together[row])
    assert int(together[2].argmax()) == int(scores[2].argmax()), "temperature 0 is greedy"


def test_the_nucleus_is_that_of_transformers() -> None:
    """It cuts after the same token as TopPLogitsWarper."""
    torch.manual_seed(1)
    scores = torch.randn(3, 400)
    for top_p in (0.1, 0.5, 0.9, 0.999):
        ours = nucleus(scores, torch.full((3,), top_p))
        theirs = TopPLogitsWarper(top_p)(None, scores)
        assert torch.equal(ours.isinf(), theirs.isinf())
    assert torch.equal(nucleus(scores, torch.ones(3)), scores)


def test_tokens_come_as_often_as_their_probability_says() -> None:
    """The largest of logits + noise is a draw from softmax(logits)."""
    chances = torch.tensor([0.5, 0.25, 0.125, 0.1, 0.02, 0.005])
    draws = 20000
    keys = torch.tensor([key_of(seed, 17) for seed in range(draws)])
    drawn = add_noise(chances.log().expand(draws, -1), keys).argmax(dim=-1)
    seen = torch.bincount(drawn, minlength=6).double()
    expected = chances.double() * draws
    chi_square = float(((seen - expected) ** 2 / expected).sum())
    assert chi_square < 20.5, "p = 0.001 at 5 degrees of freedom"


def test_draws_of_neighbouring_positions_are_independent() -> None:
    """The same token follows itself as often as by chance."""
    keys = torch.tensor([key_of(3, position) for position in range(4000)])
    drawn = add_noise(torch.zeros(4000, 2), keys).argmax(dim=-1)
    same = float((drawn[1:] == drawn[:-1]).double().mean())
    assert 0.46 < same < 0.54


@pytest.mark.parametrize("seed", [0, 1, 2**31 - 1])
def test_noise_is_finite_and_keys_are_never_the_greedy_mark(seed: int) -> None:
    """A key is never negative, and no share gives infinite noise."""
    keys = torch.tensor([key_of(seed, position) for position in range(200)])
    assert int(keys.min()) >= 0
    assert bool(torch.isfinite(add_noise(torch.zeros(200, 3000), keys)).all())
    assert key_of(GREEDY, 5) == GREEDY


def test_the_lowest_temperatures_stay_finite() -> None:
    """1e-38 is greedy, without infinities or NaN."""
    solo = GenerateSampler(temperature=1e-38, top_p=0.9, seed=1)
    scores = torch.randn(1, 50) * 10
    out = solo(torch.zeros(1, 3, dtype=torch.int64), scores)
    assert not bool(out.isnan().any())
    assert int(out.argmax()) == int(scores.argmax())
