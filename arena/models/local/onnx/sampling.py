"""Draws a token from logits with numpy; `transformers/sampling.py` does the same with torch.

Temperature, nucleus and noise stand in both: the ONNX worker does not import torch, which takes
seconds and hundreds of megabytes, and the transformers engine samples whole batches on the GPU.
The hash behind the noise is shared, and so a seed gives the same draw in both; see `noise.py`.
"""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from arena.models.local.noise import BELOW_ONE, LOWEST_TEMPERATURE, TOKEN_STEP, draw_key, lowbias32

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.intp]

_LIKELY = 12.0
"""A nucleus nearly always ends among tokens whose logits are this close to the best; the rest is
not sorted."""
_ROUNDING = 1.01
"""Keeps a token that rounding errors would drop from those that could be drawn."""


def draw(logits: Floats, *, temperature: float, top_p: float, seed: int, position: int) -> int:
    """The next token.

    Args:
        logits: one for each token of the vocabulary.
        temperature: 0 takes the likeliest token.
        top_p: draws only from the likeliest tokens whose probabilities reach it together.
        seed: with the position it determines the draw.
        position: of the new token, counted from the beginning of the prompt.

    Raises:
        ArithmeticError: a logit is no number or infinite; minus infinity excludes its token.
    """
    best = logits.argmax()  # of any with a nan, the nan
    if not math.isfinite(logits[best]):
        raise ArithmeticError(f"the best logit is {logits[best]}")
    if temperature == 0.0:
        return int(best)
    logits = logits / np.float32(max(temperature, LOWEST_TEMPERATURE))
    key = draw_key(seed, position)
    ids = nucleus(logits, top_p) if top_p < 1.0 else _contenders(logits, key)
    return int(ids[(logits[ids] + noise(key, ids)).argmax()])


def nucleus(logits: Floats, top_p: float) -> Ids:
    """The likeliest tokens, best first, as few as reach `top_p` together; at least one."""
    weights = np.exp(logits - logits.max())
    enough = top_p * weights.sum(dtype=np.float64)
    ids = np.flatnonzero(weights > np.float32(np.exp(-_LIKELY)))
    if weights[ids].sum(dtype=np.float64) < enough:
        ids = np.arange(len(logits))
    ids = ids[np.argsort(-logits[ids], kind="stable")]
    inside = np.cumsum(weights[ids], dtype=np.float64) - weights[ids] < enough
    inside[0] = True
    kept: Ids = ids[inside]
    return kept


def noise(key: int, ids: Ids) -> Floats:
    """Gumbel noise for these tokens.

    The largest of logits + noise is a draw from softmax(logits).
    """
    # The logarithm of 1 - share keeps the precision of small shares, which make the large values.
    return -np.log(-np.log1p(-_shares(key, _spread(ids))))


def _contenders(logits: Floats, key: int) -> Ids:
    """The tokens that could be drawn: two logarithms for each of a vocabulary cost too much.

    Beating the mark takes noise above mark - logit, and that is a share below exp(logit - mark).
    """
    best = np.array([logits.argmax()])
    mark = logits[best] + noise(key, best)
    bound = np.exp(np.minimum(logits - mark, np.float32(1.0))) * np.float32(_ROUNDING)
    ids = np.flatnonzero(_shares(key, _spread_all(len(logits))) < bound)
    return np.append(ids, best)


def _spread(ids: Ids) -> npt.NDArray[np.uint32]:
    return ids.astype(np.uint32) * np.uint32(TOKEN_STEP)


@lru_cache(maxsize=1)
def _spread_all(size: int) -> npt.NDArray[np.uint32]:
    return _spread(np.arange(size))


def _shares(key: int, spread: npt.NDArray[np.uint32]) -> Floats:
    """A number between 0 and 1 for each token."""
    hashed: npt.NDArray[np.uint32] = lowbias32(spread ^ np.uint32(key))
    share = (hashed.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    below_one: Floats = np.minimum(share, np.float32(BELOW_ONE))
    return below_one
