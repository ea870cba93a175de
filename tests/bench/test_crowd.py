"""Figures of the engines' benchmark: a slip here makes a slow engine look quick."""

from __future__ import annotations

import time

import pytest

from bench.crowd import (
    Figures,
    Measured,
    Question,
    Visit,
    Wave,
    bound_tokens_per_s,
    figures,
    order,
    ratio,
    run_wave,
    table,
    waves,
    worst_gap,
)


def row(arrived: float, first: float, end: float, tokens: int = 10) -> dict[str, float]:
    return {"arrived": arrived, "first": first, "end": end, "tokens": tokens}


def speed(total: float, memory: float = 100.0) -> Figures:
    return Figures(total=total, each=total, first=0.1, last=0.2, tokens=64, memory_mib=memory)


ALONE, CROWD = Wave(1, 0.0), Wave(4, 0.25)


def test_a_visitor_s_time_begins_with_the_arrival() -> None:
    """With the wave's beginning instead, staggered visitors would look slower than they were."""
    found = figures([row(0.0, 0.5, 2.0), row(1.0, 4.0, 5.0), row(0.5, 1.0, 3.0)], 50.0)

    assert found.total == 30 / 5
    assert found.each == 10 / 2.5, "of 10/2, 10/4 and 10/2.5 the one in the middle"
    assert (found.first, found.last) == (0.5, 3.0)
    assert (found.tokens, found.memory_mib) == (30, 50.0)


def test_a_ratio_is_taken_within_each_pair() -> None:
    """On a machine whose load changes, medians of each divided by each other say nothing."""
    speeds = {"pipeline": [10, 1, 4], "ours": [20, 3, 40]}
    measured = [
        Measured(name, ALONE, pair, speed(total))
        for name, totals in speeds.items()
        for pair, total in enumerate(totals)
    ]
    measured.append(Measured("ours", CROWD, 0, speed(999)))

    assert ratio(measured, "ours", "pipeline", ALONE) == 3.0
    assert ratio(measured, "pipeline", "pipeline", ALONE) == 1.0
    assert ratio(measured, "ours", "pipeline", CROWD) is None, "the peer had no such wave"
    assert ratio(measured, "ours", "llama.cpp", ALONE) is None


def test_the_table_has_a_line_for_each_contestant_and_wave() -> None:
    """A figure in the wrong column is believed."""
    measured = [
        Measured("pipeline", ALONE, 0, speed(10)),
        Measured("ours", ALONE, 0, speed(25, 300.0)),
        Measured("ours", CROWD, 0, speed(50)),
    ]

    shown = table(measured, {"pipeline": "the article's", "ours": "Ours"}, ["pipeline", "lla"])

    head, _, *lines = shown.splitlines()
    assert head.endswith("| peak MiB | x pipeline |"), "no column for a peer that is not there"
    assert lines == [
        "| the article's | 1 | together | 10.0 | 10.0 | 0.10 | 0.20 | 100 | 1.00 |",
        "| Ours | 1 | together | 25.0 | 25.0 | 0.10 | 0.20 | 300 | 2.50 |",
        "| Ours | 4 | every 0.25 s | 50.0 | 50.0 | 0.10 | 0.20 | 100 |  |",
    ]
    bounded = table(measured[:1], {"pipeline": "P"}, [], lambda wave: 40.0 * wave.visitors)
    assert bounded.endswith("| 100 | 40 | 25% |")


def test_every_second_pair_goes_the_other_way_round() -> None:
    """Who always goes last always meets the warmest machine."""
    assert [order("abc", pair) for pair in range(3)] == [[*"abc"], [*"cba"], [*"abc"]]
    assert waves([4, 1], 0.25) == [ALONE, Wave(4, 0.0), CROWD], "one alone is not staggered"
    assert waves([1, 4], 0.0) == [ALONE, Wave(4, 0.0)]


def test_visitors_arrive_when_they_should() -> None:
    """No answer begins before its visitor arrives, and the figures are in order."""
    begun: dict[str, float] = {}
    began = time.perf_counter()

    def say(question: Question, tokens: int, visit: Visit) -> None:
        begun[question.text] = time.perf_counter() - began
        visit.saw(1)
        visit.saw(tokens - 1)

    rows = run_wave(say, [Question(name, []) for name in "abc"], 0.2, 5)

    assert [one["tokens"] for one in rows] == [5, 5, 5]
    assert [round(one["arrived"], 6) for one in rows] == [0.0, 0.2, 0.4]
    for name, one in zip("abc", rows, strict=True):
        assert one["arrived"] <= begun[name]
        assert one["arrived"] <= one["first"] <= one["end"]


@pytest.mark.parametrize("fault", ["raises", "says nothing"])
def test_a_failed_answer_is_no_quick_one(fault: str) -> None:
    """Nothing at all is written quickest of all."""

    def say(question: Question, _tokens: int, visit: Visit) -> None:
        if question.text == "good":
            visit.saw(1)
        elif fault == "raises":
            raise OSError("gone")

    with pytest.raises(RuntimeError, match="gone" if fault == "raises" else "no text"):
        run_wave(say, [Question("good", []), Question("bad", [])], 0.0, 5)


def test_a_pause_that_only_begins_in_the_time_counts() -> None:
    """The longest pause usually begins before the long prompt is in, or ends after it."""
    times = [0.0, 1.0, 1.1, 3.0, 3.1, 9.0]

    assert worst_gap(times, 1.05, 2.0) == pytest.approx(1.9)
    assert worst_gap(times, 1.05, 4.0) == pytest.approx(5.9)
    with pytest.raises(ValueError, match="outlast"):
        worst_gap(times, 1.0, 9.5)


def test_the_bound_reads_the_weights_once_for_all_and_each_one_s_keys() -> None:
    """Counting the weights for each visitor would make any engine look perfect."""
    phi = {"weights_bytes": 7.7e9, "kv_bytes_per_token": 131072, "bytes_per_s": 3.35e12}

    alone = bound_tokens_per_s(**phi, visitors=1, held=0)

    assert 1000 / alone == pytest.approx(2.3, abs=0.01), "milliseconds a token"
    crowd = bound_tokens_per_s(**phi, visitors=16, held=1000)
    assert crowd == pytest.approx(16 * 3.35e12 / (7.7e9 + 16 * 1000 * 131072))
