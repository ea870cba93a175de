"""Draws a token from scores, with numpy alone: what `seeded.py` does with torch, draw by draw.

A seed gives the same draw in both: the noise is the same function of seed, position and token id.
The worker process has no torch, and one row at a time needs none.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.intp]

_LOWEST_TEMPERATURE = 1e-4
_U32 = 0xFFFFFFFF
_LIKELY = 12.0
"""A nucleus nearly always ends among tokens this close to the best; the rest is not sorted."""


def draw(scores: Floats, *, temperature: float, top_p: float, seed: int, position: int) -> int:
    """The next token.

    Args:
        scores: one for each token of the vocabulary.
        temperature: 0 takes the likeliest token.
        top_p: draws only from the likeliest tokens whose probabilities reach it together.
        seed: with the position it determines the draw.
        position: of the new token, counted from the beginning of the prompt.
    """
    if temperature == 0.0:
        return int(scores.argmax())
    scores = scores / np.float32(max(temperature, _LOWEST_TEMPERATURE))
    key = _key(seed, position)
    ids = nucleus(scores, top_p) if top_p < 1.0 else _contenders(scores, key)
    return int(ids[(scores[ids] + noise(key, ids)).argmax()])


def nucleus(scores: Floats, top_p: float) -> Ids:
    """The likeliest tokens, best first, as few as reach `top_p` together; never none."""
    weights = np.exp(scores - scores.max())
    wanted = top_p * weights.sum(dtype=np.float64)
    ids = np.flatnonzero(weights > np.float32(np.exp(-_LIKELY)))
    if weights[ids].sum(dtype=np.float64) < wanted:
        ids = np.arange(len(scores))
    ids = ids[np.argsort(-scores[ids], kind="stable")]
    inside = np.cumsum(weights[ids], dtype=np.float64) - weights[ids] < wanted
    inside[0] = True
    kept: Ids = ids[inside]
    return kept


def noise(key: int, ids: Ids) -> Floats:
    """Gumbel noise for these tokens.

    The largest of scores + noise is a draw from softmax(scores).
    """
    # The logarithm of 1 - share keeps the precision of small shares, which make the large values.
    return -np.log(-np.log1p(-_shares(key, _spread(ids))))


def _contenders(scores: Floats, key: int) -> Ids:
    """The tokens that could be drawn: two logarithms for each of a vocabulary are dear.

    Beating the mark takes noise above mark - score, and that is a share below exp(score - mark).
    """
    best = np.array([scores.argmax()])
    mark = scores[best] + noise(key, best)
    bound = np.exp(np.minimum(scores - mark, np.float32(1.0))) * np.float32(1.01)
    ids = np.flatnonzero(_shares(key, _spread_all(len(scores))) < bound)
    return np.append(ids, best)


def _spread(ids: Ids) -> npt.NDArray[np.uint32]:
    return ids.astype(np.uint32) * np.uint32(0x9E3779B1)


@lru_cache(maxsize=1)
def _spread_all(size: int) -> npt.NDArray[np.uint32]:
    return _spread(np.arange(size))


def _shares(key: int, spread: npt.NDArray[np.uint32]) -> Floats:
    """A number between 0 and 1 for each token, by a 32-bit integer hash."""
    x = spread ^ np.uint32(key)
    x = (x ^ (x >> np.uint32(16))) * np.uint32(0x7FEB352D)
    x = (x ^ (x >> np.uint32(15))) * np.uint32(0x846CA68B)
    x = x ^ (x >> np.uint32(16))
    share = (x.astype(np.float32) + np.float32(0.5)) * np.float32(2.0**-32)
    below_one: Floats = np.minimum(share, np.float32(1.0 - 2.0**-24))
    return below_one


def _key(seed: int, position: int) -> int:
    """31 bits that stand for one draw."""
    return _mix(_mix(seed & _U32) ^ _mix(position + 0x9E3779B9 & _U32)) >> 1


def _mix(x: int) -> int:
    """A 32-bit integer hash (the constants are those of `lowbias32`)."""
    x = (x ^ (x >> 16)) * 0x7FEB352D & _U32
    x = (x ^ (x >> 15)) * 0x846CA68B & _U32
    return x ^ (x >> 16)
