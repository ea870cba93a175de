"""The worker's draws are those of the torch engine, and those that the probabilities ask for."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.models.local.onnx.sampling import draw, noise, nucleus
from arena.models.local.transformers.sampling import GenerateSampler, add_noise
from arena.models.local.transformers.sampling import nucleus as torch_nucleus

SEEDS = st.integers(0, 2**31 - 1)


def some_scores(size: int, spread: float, seed: int) -> np.ndarray:
    return (np.random.default_rng(seed).standard_normal(size) * spread).astype(np.float32)


def torch_draw(
    scores: np.ndarray, *, temperature: float, top_p: float, seed: int, position: int
) -> int:
    sampler = GenerateSampler(temperature=temperature, top_p=top_p, seed=seed)
    out = sampler(torch.zeros(1, position, dtype=torch.int64), torch.from_numpy(scores)[None])
    return int(out.argmax())


@settings(deadline=None, max_examples=300, derandomize=True)
@given(
    size=st.sampled_from([1, 2, 50, 3000]),
    spread=st.sampled_from([0.5, 4.0, 40.0]),
    temperature=st.sampled_from([0.0, 1e-30, 0.3, 0.7, 1.0, 2.0]),
    top_p=st.sampled_from([1e-9, 0.1, 0.8, 0.95, 0.999, 1.0]),
    seed=SEEDS,
    position=st.integers(1, 131072),
)
def test_every_draw_is_that_of_torch(
    *, size: int, spread: float, temperature: float, top_p: float, seed: int, position: int
) -> None:
    """A seed gives the same token in both engines."""
    scores = some_scores(size, spread, seed % 1000)
    values = {"temperature": temperature, "top_p": top_p, "seed": seed, "position": position}
    assert draw(scores, **values) == torch_draw(scores, **values)  # type: ignore[arg-type]


@settings(deadline=None)
@given(key=SEEDS)
def test_the_noise_is_that_of_torch_in_all_but_the_last_bits(key: int) -> None:
    """Both libraries compute the same hash, with their own logarithm."""
    theirs = add_noise(torch.zeros(1, 4000), torch.tensor([key]))[0].numpy()
    assert np.allclose(noise(key, np.arange(4000)), theirs, rtol=1e-5, atol=1e-5)


@settings(deadline=None, derandomize=True)
@given(seed=SEEDS, spread=st.sampled_from([0.1, 3.0]), top_p=st.floats(0.01, 0.99))
def test_the_nucleus_is_that_of_torch(seed: int, spread: float, top_p: float) -> None:
    """Both cut after the same token."""
    scores = some_scores(500, spread, seed)
    theirs = torch_nucleus(torch.from_numpy(scores)[None], torch.tensor([top_p]))[0]
    expected = set(torch.isfinite(theirs).nonzero().flatten().tolist())
    # Where the sum reaches top_p to the last bits, either cut is right.
    assert len(expected ^ set(nucleus(scores, top_p).tolist())) <= 1


def test_tokens_come_as_often_as_their_probability_says() -> None:
    """Leaving out tokens that cannot be drawn does not bend the distribution."""
    chances = np.array([0.5, 0.25, 0.125, 0.1, 0.02, 0.005])
    scores = np.log(chances).astype(np.float32)
    draws = 20000
    seen = np.bincount(
        [draw(scores, temperature=1.0, top_p=1.0, seed=s, position=17) for s in range(draws)],
        minlength=6,
    )
    chi_square = float(((seen - chances * draws) ** 2 / (chances * draws)).sum())
    assert chi_square < 20.5, "p = 0.001 at 5 degrees of freedom"


def test_logits_are_not_changed() -> None:
    """They may be the runtime's own memory."""
    scores = some_scores(100, 3.0, 1)
    before = scores.copy()
    for top_p in (0.5, 1.0):
        draw(scores, temperature=0.7, top_p=top_p, seed=1, position=1)
    assert np.array_equal(scores, before)
