"""An answer of a local model that runs in a loop is stopped at its source."""

from __future__ import annotations

from typing import Any

import pytest

from arena.domain import FinishReason, GenerationParams
from arena.stats import loops
from tests.models.conftest import QUESTION, Case, answer
from tests.models.local.open_requests import open_requests

PIECE = " the"


async def test_a_loop_is_stopped_at_its_source(tiny: Case, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine writes no more of it; what was written stays, with its numbers."""
    # The model's context is too short for a loop of the real length.
    monkeypatch.setattr(loops, "SHORTEST_LOOP", 60)
    monkeypatch.setattr(loops, "LOOK_EVERY", 8)
    (token,) = tiny.tokenizer(PIECE)["input_ids"]

    def insist(_: Any, __: Any, scores: Any) -> Any:
        scores[..., token] = 1e4
        return scores

    handle = tiny.engine._batch._model.lm_head.register_forward_hook(insist)
    try:
        text, finished = await answer(tiny.model, QUESTION, GenerationParams(max_new_tokens=50))
    finally:
        handle.remove()
    assert finished.reason is FinishReason.LOOP
    assert 60 <= len(text) <= 100
    assert set(text.split()) == {PIECE.strip()}
    assert finished.completion_tokens is not None
    assert finished.completion_tokens < 50
    assert finished.served_model
    assert open_requests(tiny.engine) == 0
