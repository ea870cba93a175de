"""What comes from a model is text, of a bounded size, whatever the model sends."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Delta, Finished, FinishReason, clean
from arena.models import base
from arena.models.base import StreamEvent, TextGate, clean_line, gated

# Halves of emoji, their replacement, NUL and some text.
ODD = st.text(st.sampled_from("\ud83d\ude00\udc00\ufffd\x00a日😀"), max_size=12)


class Source:
    """A model's stream that a test writes; labelled fake.

    Attributes:
        closed: it was closed, or ended.
    """

    def __init__(self, *events: StreamEvent) -> None:
        self.events = events
        self.given = 0
        self.closed = False

    async def stream(self) -> AsyncGenerator[StreamEvent, None]:
        try:
            for event in self.events:
                self.given += 1
                yield event
        finally:
            self.closed = True


async def through(*events: StreamEvent) -> tuple[list[str], Finished, Source]:
    """The pieces and the end that the arena sees, and the source."""
    source = Source(*events)
    *deltas, last = [event async for event in gated(source.stream())]
    assert isinstance(last, Finished)
    texts = [event.text for event in deltas if isinstance(event, Delta)]
    assert len(texts) == len(deltas)
    assert source.closed
    return texts, last, source


@given(st.lists(ODD, max_size=6))
def test_pieces_are_text_and_lose_nothing(pieces: list[str]) -> None:
    """However a text is split, its pieces are those of the whole, cleaned; none is broken."""
    gate = TextGate()
    given = [gate.push(piece) for piece in pieces] + [gate.end(cut=False)]
    for piece in given:
        piece.encode()
        assert "\x00" not in piece
    whole = "".join(pieces)
    unfinished = whole[-1:] == "\ud83d"
    assert "".join(given) == clean(whole[:-1] if unfinished else whole)


@pytest.mark.parametrize(
    "reason", [FinishReason.LENGTH, FinishReason.CANCELLED, FinishReason.ERROR]
)
@pytest.mark.parametrize("tail", ["\ufffd", "\ufffd\ufffd\ufffd", "\ufffd\ud83d"])
async def test_a_character_that_was_cut_is_dropped(reason: FinishReason, tail: str) -> None:
    """An answer that a limit cut inside an emoji ends with the character before it."""
    texts, last, _ = await through(Delta("日本"), Delta(tail), Finished(reason))
    assert ("".join(texts), last.reason) == ("日本", reason)


async def test_a_replacement_that_the_model_wrote_stays() -> None:
    """U+FFFD at the end of an answer that ended by itself is the model's own."""
    texts, _, _ = await through(Delta("it is \ufffd"), Finished(FinishReason.STOP))
    assert "".join(texts) == "it is \ufffd"


async def test_halves_in_two_pieces_are_one_character() -> None:
    """An engine may send the two halves of an emoji apart."""
    texts, _, _ = await through(Delta("a\ud83d"), Delta("\ude00b"), Finished(FinishReason.STOP))
    assert "".join(texts) == "a😀b"


async def test_no_piece_is_empty() -> None:
    """A piece that is only half a character is no piece yet."""
    texts, _, _ = await through(Delta("\ud83d"), Delta("\ude00"), Finished(FinishReason.STOP))
    assert texts == ["😀"]


@pytest.mark.parametrize("size", [1, 7, 1000])
async def test_the_largest_answer(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """At its largest size an answer ends with a reason of its own, and the source is closed."""
    monkeypatch.setattr(base, "ANSWER_CHARS", 20)
    endless = [Delta("x" * size)] * 100
    texts, last, source = await through(*endless, Finished(FinishReason.STOP))
    assert ("".join(texts), last.reason) == ("x" * 20, FinishReason.SIZE)
    assert source.given <= -(-20 // size) + 1


async def test_a_name_from_elsewhere_is_one_short_line() -> None:
    """What an engine calls itself is shown, so it is text in one line."""
    served = "a\n\x00b\ud83d" + "c" * 10_000
    _, last, _ = await through(Finished(FinishReason.STOP, served_model=served))
    assert last.served_model == clean_line(served)
    assert last.served_model.startswith("a \ufffdb\ufffdc")
    assert len(last.served_model) <= base.LINE_CHARS
