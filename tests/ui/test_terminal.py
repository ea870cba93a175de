"""The leaderboard in a terminal: columns that stay in line, and labels that stay text."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from arena.domain import ModelName
from arena.leaderboard.report import make_report
from arena.stats.filters import MAIN_RULES, Rules
from arena.stats.vote_table import Contestant
from arena.store.store import VoteStore
from arena.ui.terminal import aligned, leaderboard, printable, report_text
from tests.boards import GEM, PHI, QWEN, SMOL, five_hundred, report, votes
from tests.stats.arenas import table_of
from tests.vote_samples import battle, vote


@given(
    st.lists(
        st.lists(st.text("ab推論é –", max_size=6), min_size=3, max_size=3), min_size=1, max_size=5
    )
)
def test_columns_stay_in_line(rows: list[list[str]]) -> None:
    """A full-width character takes two columns, a combining accent none."""
    lines = aligned([[*row, "|"] for row in rows]).split("\n")
    assert len(lines) == len(rows)
    assert len({cell_len(line) for line in lines}) == 1


def test_two_models_as_text() -> None:
    """The numbers of the page, in line, without its HTML."""
    text = report_text(report(votes(PHI, GEM, 7, 14, 3, 3)), "en")
    lines = text.splitlines()
    assert lines[0].startswith("Phi wins 33% [17, 55] of 21 decisive votes against Gem")
    assert "27 all votes → 27 blind → 27 fair battle → 27 no name leaked → 27 counted" in lines
    phi = next(line for line in lines if line.startswith("Phi  "))
    gem = next(line for line in lines if line.startswith("Gem  "))
    assert phi.split()[:4] == ["Phi", "7", "33%", "[17,"]
    assert len(phi) == len(gem)
    assert "Phi – Gem  7 – 14     3         3  33% [17, 55]" in lines
    assert "p = 0.19 (binomial test); p = 1 if you look after every vote" in lines


def test_ranking_as_text_in_japanese() -> None:
    """The same with full-width headings."""
    lines = report_text(report(five_hundred()), "ja").splitlines()
    start = lines.index("順位")
    block = lines[start + 1 : start + 5]
    assert block[0].split()[:3] == ["順位", "モデル", "レーティング"]
    assert [line.split()[:2] for line in block[1:]] == [["1", "Gem"], ["2", "Phi"], ["3", "Smol"]]
    assert len({cell_len(line) for line in block}) == 1


@pytest.mark.parametrize("language", ["ja", "en"])
@pytest.mark.parametrize(
    "rows", [[], votes(PHI, PHI, 1, 0), votes(PHI, GEM, 0, 0, 1),
             [*votes(PHI, GEM, 2, 12), *votes(QWEN, SMOL, 6, 3)]],
)  # fmt: skip
def test_every_report_can_be_printed(rows: list[object], language: str) -> None:
    """Any votes, and none, can be printed in both languages."""
    text = report_text(report(rows), language)  # type: ignore[arg-type]
    assert text.strip()
    assert "None" not in text
    assert "\n\n\n" not in text


def test_labels_cannot_drive_the_terminal() -> None:
    """Control characters of a label are printed as spaces."""
    evil = Contestant("evil", "v")
    names = {"evil": ModelName("E\x1b[2Jvil\r\n"), "gem": ModelName("Gem")}
    made = make_report(table_of(votes(evil, GEM, 7, 3)), names)
    text = report_text(made, "en")
    assert "\x1b" not in text
    assert "\r" not in text
    assert "E [2Jvil" in text
    assert printable("a\u202eb\u200bc") == "a b c"


async def test_command_gives_text_and_json(store: VoteStore) -> None:
    """Text and JSON come from one report, under the rule of accounts."""
    fought = battle()
    await store.add_battle(fought)
    await store.cast_vote(vote(fought))
    signed_in = Rules(not_signed_in=True)
    text = await leaderboard(store, language="en", rules=MAIN_RULES, as_json=False)
    assert "1 decisive vote against" in text
    found = json.loads(await leaderboard(store, language="ja", rules=MAIN_RULES, as_json=True))
    assert (found["votes"], found["all_votes"]) == (1, 1)
    only = json.loads(await leaderboard(store, language="ja", rules=signed_in, as_json=True))
    assert (only["votes"], only["all_votes"]) == (0, 1)
