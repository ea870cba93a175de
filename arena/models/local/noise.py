"""The hash behind seeded sampling, so that a seed gives the same draw on every engine.

Drawing from softmax(logits) is the same as taking the largest of logits + Gumbel noise. The noise
is a function of (seed, position of the new token, token id) alone: no random generator has a state
that another request could move. Both engines' `sampling.py` compute it: one with torch, for a whole
batch on its device, the other with numpy, since the ONNX worker does not import torch.
"""

from __future__ import annotations

from arena.models.local.engine import Foreign

LOWEST_TEMPERATURE = 1e-4
"""Lower ones are raised to this: logits divided by less may become infinite."""
U32 = 0xFFFFFFFF
TOKEN_STEP = 0x9E3779B1
"""Odd, so that different token ids stay different in 32 bits."""
_POSITION_STEP = 0x9E3779B9
BELOW_ONE = 1.0 - 2.0**-24
"""The largest float32 below 1: the noise of 1 is infinite."""


def lowbias32(x: Foreign) -> Foreign:
    """A 32-bit integer hash, with the constants of Chris Wellons's `lowbias32`.

    Args:
        x: an int, a uint32 array of numpy, or an int64 tensor; values of 32 bits.
    """
    x = (x ^ (x >> 16)) * 0x7FEB352D & U32
    x = (x ^ (x >> 15)) * 0x846CA68B & U32
    return x ^ (x >> 16)


def draw_key(seed: int, position: int) -> int:
    """31 bits that stand for one draw.

    Args:
        seed: of the request.
        position: of the new token, counted from the beginning of the prompt.
    """
    return int(lowbias32(lowbias32(seed & U32) ^ lowbias32(position + _POSITION_STEP & U32)) >> 1)
