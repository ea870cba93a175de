"""Who is let into the batch."""

from __future__ import annotations

from arena.models.local.transformers.batch import BatchAdmission


def test_the_oldest_goes_first_even_when_a_smaller_one_would_fit() -> None:
    """If small requests overtook, a long one would wait for ever on a busy day."""
    admission = BatchAdmission(blocks=10)
    first = admission.ask(8)
    large, small = admission.ask(9), admission.ask(1)
    assert first.done()
    assert not large.done()
    assert not small.done()
    admission.leave(8, first)
    assert large.done()
    assert small.done()


def test_who_gives_up_waiting_takes_no_room() -> None:
    """Visitors who leave while they wait would use up the cache until a restart."""
    admission = BatchAdmission(blocks=4)
    inside = admission.ask(4)
    for _ in range(3):
        admission.leave(4, admission.ask(4))
    admission.leave(4, inside)
    assert admission.ask(4).done()


def test_who_gives_up_does_not_block_those_behind() -> None:
    """A cancelled request at the head of the queue would stop it."""
    admission = BatchAdmission(blocks=4)
    inside = admission.ask(3)
    head, next_one = admission.ask(4), admission.ask(1)
    assert not next_one.done()
    admission.leave(4, head)
    assert next_one.done()
    admission.leave(3, inside)
    assert admission.ask(3).done()


def test_only_so_many_run_at_once() -> None:
    """The batch's tensors have room for a fixed number of requests."""
    admission = BatchAdmission(blocks=100, running=2)
    places = [admission.ask(1) for _ in range(3)]
    assert [place.done() for place in places] == [True, True, False]
    admission.leave(1, places[0])
    assert places[2].done()
