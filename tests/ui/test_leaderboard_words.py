"""The leaderboard's sentences, word for word: the first thing that people believe."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Category, Mode
from arena.leaderboard.report import Headline, LeaderboardReport, Selection
from arena.leaderboard.report_json import report_json
from arena.stats.bias.base import CheckVerdict
from arena.stats.filters import FilterReason, Rules, StepName
from arena.stats.intervals import Estimate, Verdict
from arena.stats.vote_table import VoteFlag
from arena.ui import leaderboard_words as words
from arena.ui.i18n import LANGUAGES, table
from tests.boards import GEM, PHI, QWEN, SMOL, check, five_hundred, report, votes
from tests.stats.arenas import VoteRow

SENTENCES: list[tuple[list[VoteRow], str, str]] = [
    ([], "No votes yet. The first one is yours.", "まだ投票がありません。最初の 1 票をどうぞ。"),
    (
        votes(PHI, GEM, 1, 0, mode=Mode.OPEN),
        "1 vote so far, but none that counts yet.",
        "これまでの 1 票に、集計できるものはまだありません。",
    ),
    (
        votes(PHI, GEM, 0, 0, 2, 1),
        "Phi and Gem: 3 votes, but none for one of the two yet.",
        "Phi と Gem の対戦には 3 票ありますが、どちらかを選んだ票はまだありません。",
    ),
    (
        votes(PHI, GEM, 7, 14, 3, 3),
        (
            "Phi wins 33% [17, 55] of 21 decisive votes against Gem; "
            "about 70 more votes would separate them."
        ),
        (
            "Phi は Gem に対し、勝敗のついた 21 票のうち 33% [17, 55] で勝っています。"
            "差がはっきりするには、あと約 70 票が必要です。"
        ),
    ),
    (
        votes(PHI, GEM, 2, 2),
        "Phi and Gem have won 2 each: 4 decisive votes cannot tell them apart.",
        "Phi と Gem は 2 勝ずつです。勝敗のついた 4 票では差があるとは言えません。",
    ),
    (
        votes(PHI, GEM, 12, 2),
        "Phi beats Gem: it wins 86% [60, 96] of 14 decisive votes.",
        "Phi は Gem より良いと言えます。勝敗のついた 14 票のうち 86% [60, 96] で勝っています。",
    ),
    (
        votes(PHI, GEM, 2, 12),
        "Gem beats Phi: it wins 86% [60, 96] of 14 decisive votes.",
        "Gem は Phi より良いと言えます。勝敗のついた 14 票のうち 86% [60, 96] で勝っています。",
    ),
]


@pytest.mark.parametrize(("rows", "english", "japanese"), SENTENCES)
def test_sentence_about_two(rows: list[VoteRow], english: str, japanese: str) -> None:
    """Each sentence, word for word, in both languages."""
    made = report(rows)
    assert words.sentence(made, "en") == english
    assert words.sentence(made, "ja") == japanese


def test_every_headline_is_said_in_both_languages() -> None:
    """Every headline has its sentence."""
    for headline in Headline:
        for language in LANGUAGES:
            assert f"board.say.{headline}" in table(language)


def test_sentence_about_a_leader() -> None:
    """`Leads` is said of a contestant whose rank is 1 for sure."""
    made = report(five_hundred())
    assert made.ranking is not None
    rating = words.points(made.ranking.ratings[0].rating)
    assert words.sentence(made, "en") == (
        f"Gem leads with {rating}, clearly ahead of the other 2 models."
    )
    assert words.sentence(made, "ja") == (
        f"首位は Gem（{rating}）で、ほかの 2 モデルをはっきり上回っています。"
    )


def test_sentence_about_a_shared_lead() -> None:
    """Those that cannot be told from the first are named, and no others."""
    made = report([*votes(PHI, GEM, 10, 12), *votes(PHI, SMOL, 40, 2), *votes(GEM, SMOL, 40, 2)])
    assert words.sentence(made, "en").endswith(", but cannot be told from Phi.")
    assert words.sentence(made, "ja").endswith("、Phi との差があるとはまだ言えません。")
    equal = [*votes(PHI, GEM, 2, 2), *votes(PHI, SMOL, 2, 2), *votes(PHI, QWEN, 2, 2)]
    everybody = report(equal)
    assert words.sentence(everybody, "en").endswith("told from Phi, Qwen and Smol.")
    assert "Phi、Qwen と Smol との差" in words.sentence(everybody, "ja")


def test_sentence_under_a_filter_does_not_ask_for_the_first_vote() -> None:
    """Without votes of a kind, only that is said."""
    made = report(votes(PHI, GEM, 1, 0), selection=Selection(category=Category.TOOLS))
    assert words.sentence(made, "en") == "No votes of this kind yet."
    assert words.sentence(made, "ja") == "この条件の投票はまだありません。"


def noted(made: LeaderboardReport) -> str:
    """All notes in both languages."""
    return " / ".join(line for language in ("en", "ja") for line in words.notes(made, language))


def test_notes_say_what_must_be_known() -> None:
    """Approximate intervals, separate groups, the prior and the rule of accounts are said."""
    few = report([*votes(PHI, GEM, 1, 2), *votes(PHI, SMOL, 2, 1)])
    assert "the intervals are approximate" in noted(few)
    assert "区間はおおよそ" in noted(few)
    apart = report([*votes(PHI, GEM, 9, 8), *votes(QWEN, SMOL, 9, 9)])
    assert "2 groups of models have never met" in noted(apart)
    assert "グループが 2 つ" in noted(apart)
    only_wins = report([*votes(PHI, GEM, 9, 0), *votes(GEM, SMOL, 9, 0)])
    assert "rest on an assumption" in noted(only_wins)
    assert "仮定" in noted(only_wins)
    assert noted(report(five_hundred())) == ""
    assert "signed in" in noted(report(five_hundred(), Rules(not_signed_in=True)))


def test_notes_mark_simulated_and_imported_votes() -> None:
    """Simulated votes come first, then imported ones, each with its number."""
    made = replace(report(votes(PHI, GEM, 4, 2, flags=VoteFlag.IMPORTED)), simulated=1)
    english = words.notes(made, "en")
    assert english[0] == "1 of these votes is simulated: a program made it up, nobody cast it."
    assert english[1] == "6 of these votes were cast elsewhere and imported."
    assert "模擬" in words.notes(made, "ja")[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_reason_step_and_verdict_has_its_words(language: str) -> None:
    """Every reason, step, verdict, check and category has its texts."""
    keys = [f"board.reason.{reason}" for reason in FilterReason]
    keys += [f"board.step.{step}" for step in StepName]
    keys += [f"board.verdict.{verdict}" for verdict in Verdict]
    keys += [f"board.check.state.{state}" for state in CheckVerdict]
    for found in report([]).checks:
        own = f"board.check.{found.name}"
        keys += [own, f"{own}.seen", f"{own}.none_seen"]
        if found.pictured:
            keys.append(f"{own}.picture")
    keys += [f"category.{category}" for category in Category]
    assert not set(keys) - set(table(language))


@pytest.mark.parametrize(
    ("estimate", "shown"),
    [
        (Estimate(0.405, 0.3349, 0.495), "41% [33, 50]"),
        (Estimate(None, 0.0, 1.0), "–"),
        (Estimate(1.0, 0.7, 1.0), "100% [70, 100]"),
        (Estimate(0.0, 0.0, 0.004), "0% [0, 0]"),
    ],
)
def test_shares_are_rounded_as_people_do(estimate: Estimate, shown: str) -> None:
    """Halves are rounded up."""
    assert words.share(estimate) == shown


@given(st.integers(0, 10**7))
def test_about_keeps_two_figures(number: int) -> None:
    """An estimate of votes is rounded to two figures."""
    found = words.about(number)
    assert abs(found - number) <= number / 20
    assert len(str(found).rstrip("0")) <= 2


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "–"), (0.0, "$0"), (0.00001, "<$0.0001"), (0.00584, "$0.0058"), (1.5, "$1.50")],
)
def test_dollars(value: float | None, shown: str) -> None:
    """A small cost is not shown as nothing, nor is an unknown one."""
    assert words.dollars(value) == shown


@pytest.mark.parametrize(
    ("right", "wrong", "english", "japanese"),
    [
        (0, 0, "Nobody has guessed before a vote yet.", "投票前の予想はまだありません。"),
        (
            1,
            0,
            (
                "Before the vote, guessed right 100% [21, 100] of 1 guess; chance is 50%. "
                "A verdict needs 20."
            ),
            (
                "投票前の予想 1 件のうち 100% [21, 100] が正解。当てずっぽうなら 50% です。"
                "判定には 20 件必要です。"
            ),
        ),
        (
            12,
            9,
            (
                "Before the vote, guessed right 57% [37, 76] of 21 guesses; chance is 50%. "
                "Not to be told from chance: no sign that voters know who is who."
            ),
            (
                "投票前の予想 21 件のうち 57% [37, 76] が正解。当てずっぽうなら 50% です。"
                "偶然と区別できず、正体を見抜かれている兆しはありません。"
            ),
        ),
        (
            30,
            10,
            (
                "Before the vote, guessed right 75% [60, 86] of 40 guesses; chance is 50%. "
                "More than chance: some voters know who is who, so their votes are not blind."
            ),
            (
                "投票前の予想 40 件のうち 75% [60, 86] が正解。当てずっぽうなら 50% です。"
                "偶然より多く当たっています。正体を見抜ける人がいて、その票はブラインドとは言えません。"
            ),
        ),
        (
            10,
            30,
            (
                "Before the vote, guessed right 25% [14, 40] of 40 guesses; chance is 50%. "
                "Less than chance: some voters tell the two apart, and mistake one for the other."
            ),
            (
                "投票前の予想 40 件のうち 25% [14, 40] が正解。当てずっぽうなら 50% です。"
                "偶然より多く外れています。違いは見分けられていますが、取り違えられています。"
            ),
        ),
    ],
)
def test_guesses_are_judged_in_words(right: int, wrong: int, english: str, japanese: str) -> None:
    """The share of right guesses stands beside what chance gives, with a verdict."""
    rows = [
        *votes(PHI, GEM, right, 0, flags=VoteFlag.GUESSED_RIGHT),
        *votes(PHI, GEM, wrong, 0, flags=VoteFlag.GUESSED_WRONG, voter="other"),
        *votes(PHI, GEM, 3, 3, voter="silent"),
    ]
    made = report([replace(row, voter=f"{row.voter} {place}") for place, row in enumerate(rows)])
    alone = replace(made, checks=(check(made, "guesses"),))
    assert [one.text for one in words.checks(alone, "en")] == [english]
    assert [one.text for one in words.checks(alone, "ja")] == [japanese]
    loud = check(made, "guesses").verdict is CheckVerdict.SEEN
    assert loud == (max(right, wrong) == 30)


def test_checks_speak_plainly() -> None:
    """What each check says with too few votes, with a finding, and where it failed."""
    few = words.checks(report(votes(PHI, GEM, 3, 4)), "en")
    assert {one.state for one in few} == {CheckVerdict.TOO_FEW}
    assert few[0].text == "7 decisive votes so far; the check needs 30."
    one_side = report([row for row in votes(PHI, GEM, 40, 40) if row.a == PHI])
    assert words.checks(one_side, "en")[0].text == "No model has played on both sides yet."
    busy = votes(PHI, GEM, 30, 0, voter="busy") + votes(PHI, GEM, 10, 22)
    found = {one.name: one for one in words.checks(report(busy), "en")}
    assert found["One voter"].state == CheckVerdict.SEEN
    assert "the busiest cast 48% of the votes" in found["One voter"].text
    made = report(busy)
    failed = replace(check(made, "length"), verdict=CheckVerdict.FAILED)
    broken = replace(made, checks=(failed,))
    assert words.checks(broken, "ja")[0].text == "回帰が収束しませんでした。詳細はログにあります。"
    assert set(report_json(broken)["checks"]["length"].values()) == {None}
