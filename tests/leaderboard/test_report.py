"""The leaderboard's numbers on votes that can be counted by hand."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from itertools import permutations

import pytest

from arena.domain import Category, Exclusion, Mode, ModelName, Winner
from arena.leaderboard.cache import MOST_KEPT, LeaderboardCache
from arena.leaderboard.names import SIMULATED
from arena.leaderboard.report import Headline, Selection, make_report
from arena.leaderboard.report_json import VERSION, report_json
from arena.stats.bias.base import PairCheckResult
from arena.stats.filters import FilterReason, Rules, StepName
from arena.stats.vote_table import Contestant, VoteFlag
from arena.store.store import VoteStore
from tests.boards import DAY, GEM, PHI, QWEN, SMOL, check, five_hundred, report, votes
from tests.stats.arenas import row, table_of
from tests.vote_samples import battle, spec, vote


@pytest.mark.parametrize(
    ("rows", "headline"),
    [
        ([], Headline.EMPTY),
        (votes(PHI, GEM, 3, 0, mode=Mode.OPEN), Headline.NONE_COUNTS),
        (votes(PHI, PHI, 3, 0), Headline.NONE_COUNTS),
        (votes(PHI, GEM, 0, 0, 2, 1), Headline.NOT_DECISIVE),
        (votes(PHI, GEM, 1, 0), Headline.OPEN),
        (votes(PHI, GEM, 2, 2), Headline.EVEN),
        (votes(PHI, GEM, 2, 12), Headline.SEPARATED),
        (votes(PHI, GEM, 12, 2), Headline.SEPARATED),
        (five_hundred(), Headline.LEADS),
        ([*votes(PHI, GEM, 3, 4), *votes(PHI, SMOL, 4, 3)], Headline.SHARED_LEAD),
    ],
)
def test_headline(rows: list[object], headline: Headline) -> None:
    """Which sentence the leaderboard begins with, by votes."""
    assert report(rows).headline is headline  # type: ignore[arg-type]


def test_two_contestants_are_counted_by_hand() -> None:
    """The local one comes first, whoever sat on the left or has the smaller name."""
    found = report(votes(PHI, GEM, 7, 14, 3, 3))
    assert [s.contestant for s in found.standings] == [PHI, GEM]
    phi, gem = found.standings
    assert (phi.wins, phi.losses, phi.ties, phi.both_bad, phi.votes) == (7, 14, 3, 3, 27)
    assert (gem.wins, gem.losses, gem.ties, gem.both_bad, gem.votes) == (14, 7, 3, 3, 27)
    assert phi.win_rate.value == pytest.approx(1 / 3)
    assert phi.rating is None
    assert found.ranking is None
    shown = found.shown_pair
    assert shown is not None
    assert (shown.first, shown.result.wins_first, shown.result.votes) == (PHI, 7, 27)
    turned = found.pair(GEM, PHI)
    assert turned is not None
    assert (turned.wins_first, turned.ties) == (14, 3)
    assert found.pair(PHI, SMOL) is None


def test_ranking_of_three() -> None:
    """Standings, pairs and win rates have the same contestants in the same order."""
    found = report(five_hundred())
    assert [s.name.label for s in found.standings] == ["Gem", "Phi", "Smol"]
    assert found.ranking is not None
    assert [(p.first, p.second) for p in found.pairs] == [(GEM, PHI), (GEM, SMOL), (PHI, SMOL)]
    assert found.pairs[0].result.wins_first == 110
    assert (found.standings[1].wins, found.standings[1].losses) == (160, 140)
    rate = found.ranking.win_rates[0][2]
    assert rate is not None
    assert rate.low > 0.75
    assert found.shown_pair is not None
    assert (found.shown_pair.first, found.shown_pair.second) == (GEM, PHI)
    voters = check(found, "voters")
    assert isinstance(voters, PairCheckResult)
    assert voters.pair == (GEM, PHI)
    assert report_json(found)["cells"][0]["first"] == {"id": "gem", "served_model": "gem-v1"}


def test_order_of_votes_changes_nothing() -> None:
    """Rows in any order give the same report."""
    rows = [*votes(PHI, GEM, 3, 4), *votes(GEM, SMOL, 5, 2), *votes(QWEN, PHI, 2, 2)]
    parts = [rows[:5], rows[5:12], rows[12:]]
    seen = [
        report_json(report([r for part in order for r in part])) for order in permutations(parts)
    ]
    assert all(found == seen[0] for found in seen)


def test_funnel_and_rules() -> None:
    """Each vote that is left out has its reason; a rule that is switched off brings it back."""
    rows = [
        *votes(PHI, GEM, 4, 4),
        *votes(PHI, GEM, 1, 0, mode=Mode.OPEN, voter="o"),
        *votes(PHI, GEM, 2, 0, flags=VoteFlag.TRUNCATED, voter="t"),
        *votes(PHI, GEM, 1, 0, flags=VoteFlag.LEAK_A, voter="l"),
        *votes(PHI, GEM, 1, 0, flags=VoteFlag.EXCLUDED, voter="e"),
    ]
    found = report(rows)
    assert (found.votes, found.counted) == (13, 10)
    assert [step.left for step in found.funnel] == [13, 12, 12, 11, 10]
    strict = report(rows, Rules(truncated=True))
    assert strict.counted == 8
    complete = strict.funnel[2]
    assert complete.name is StepName.COMPLETE
    assert complete.removed_by_reason == {FilterReason.TRUNCATED: 2}
    assert report(rows, Rules(not_signed_in=True)).headline is Headline.NONE_COUNTS


def test_selection_by_kind_and_pair() -> None:
    """A filter narrows every number, and still offers all pairs."""
    rows = [
        *votes(PHI, GEM, 5, 1, category=Category.CODING, language="ja"),
        *votes(PHI, GEM, 0, 3, category=Category.CODING, language="en"),
        *votes(PHI, SMOL, 4, 0, category=Category.MATH),
        *votes(PHI, PHI, 1, 0, category=Category.MATH),
    ]
    coding = report(rows, selection=Selection(category=Category.CODING))
    assert (coding.votes, len(coding.standings)) == (9, 2)
    japanese = report(rows, selection=Selection(Category.CODING, "ja"))
    assert (japanese.votes, japanese.standings[0].wins) == (6, 5)
    assert japanese.met == coding.met == ((PHI, GEM), (PHI, SMOL))
    pair = report(rows, selection=Selection(pair=(PHI, SMOL)))
    assert (pair.votes, pair.headline) == (4, Headline.OPEN)
    gone = report(rows, selection=Selection(pair=(PHI, Contestant("gone", ""))))
    assert gone.headline is Headline.EMPTY


def test_simulated_and_imported_votes_are_counted_apart() -> None:
    """A simulated vote is counted as such, never as an imported one too."""
    made_up = Contestant("x", f"X {SIMULATED}")
    rows = [
        *votes(PHI, GEM, 3, 1, voter="a"),
        *votes(PHI, made_up, 2, 0),
        *votes(PHI, GEM, 2, 0, flags=VoteFlag.IMPORTED, prompt="p"),
    ]
    found = report(rows)
    assert (found.imported, found.simulated) == (2, 2)
    assert [s.contestant for s in found.standings if s.simulated] == [made_up]
    both = report(votes(PHI, made_up, 2, 0, flags=VoteFlag.IMPORTED))
    assert (both.imported, both.simulated) == (0, 2), "a simulated vote is not called imported too"


def test_measures_by_hand() -> None:
    """Speed leaves the first text out; a missing number is unknown, not zero."""
    found = report(
        [
            row(Winner.MODEL_A, a=PHI, b=GEM, voter="1", tokens_a=101, ttft_a=1.0, total_a=11.0,
                tokens_b=11, ttft_b=0.5, total_b=1.0, chars_a=300, chars_b=40, cost_a=0.0),
            row(Winner.MODEL_A, a=GEM, b=PHI, voter="2", tokens_b=61, ttft_b=3.0, total_b=5.0,
                chars_b=100, cost_b=0.0),
        ]
    )  # fmt: skip
    phi, gem = found.standings
    assert phi.speed == pytest.approx((10.0 + 30.0) / 2)
    assert phi.first_text == pytest.approx(2.0)
    assert (phi.chars, phi.cost) == (200.0, 0.0)
    assert gem.speed == pytest.approx(20.0)
    assert gem.cost is None


def test_one_label_for_two_contestants_is_told_apart() -> None:
    """Equal labels get the served model added, and the id where that is equal too."""
    old, new = Contestant("gem", "gem-v1"), Contestant("gem", "gem-v2")
    found = report([*votes(PHI, old, 1, 0), *votes(PHI, new, 1, 0)])
    assert {s.name.label for s in found.standings} == {"Phi", "Gem (gem-v1)", "Gem (gem-v2)"}
    twins = [Contestant("one", "v"), Contestant("two", "v")]
    names = {"one": ModelName("Same"), "two": ModelName("Same")}
    told = make_report(table_of(votes(twins[0], twins[1], 1, 0)), names).names
    assert {name.label for name in told.values()} == {"Same (one, v)", "Same (two, v)"}


def test_days_are_those_of_utc() -> None:
    """A day is from midnight to midnight in UTC."""
    rows = [
        *votes(PHI, GEM, 1, 0, cast_at=DAY, voter="a"),
        *votes(PHI, GEM, 1, 0, cast_at=2 * DAY - 0.5, voter="b"),
        *votes(PHI, GEM, 1, 0, cast_at=9 * DAY, mode=Mode.OPEN),
    ]
    found = report(rows)
    assert [(d.day, d.votes, d.counted) for d in found.days] == [
        (date(1970, 1, 2), 2, 2),
        (date(1970, 1, 10), 1, 0),
    ]
    assert found.newest == datetime(1970, 1, 10, tzinfo=UTC)


def test_groups_that_never_met() -> None:
    """The shown pair is from the group with most votes, and ratings are not comparable."""
    found = report([*votes(PHI, GEM, 2, 12), *votes(QWEN, SMOL, 6, 3)])
    assert found.ranking is not None
    assert not found.ranking.comparable
    assert found.shown_pair is not None
    assert {found.shown_pair.first, found.shown_pair.second} == {PHI, GEM}


KEYS = {
    "version", "votes", "all_votes", "imported", "simulated", "newest_vote", "selection", "rules",
    "funnel", "headline", "contestants", "pairs", "expected", "cells", "checks", "days", "alarm",
}  # fmt: skip


@pytest.mark.parametrize(
    "rows", [[], votes(PHI, GEM, 2, 12), five_hundred(), votes(PHI, GEM, 3, 0, mode=Mode.OPEN)]
)
def test_json_keys_stay(rows: list[object]) -> None:
    """Every key is there for any votes, and no value is nan."""
    found = report_json(report(rows))  # type: ignore[arg-type]
    again = json.loads(json.dumps(found, allow_nan=False))
    assert again == found
    assert set(found) == KEYS
    assert found["version"] == VERSION == 1
    assert set(found["checks"]) >= {"position", "length", "voters", "drift", "guesses"}


def test_json_says_the_same_as_the_report() -> None:
    """JSON has the numbers and the order of the report."""
    made = report(five_hundred())
    found = report_json(made)
    assert found["votes"] == made.counted == 500
    assert [c["label"] for c in found["contestants"]] == ["Gem", "Phi", "Smol"]
    first = found["pairs"][0]
    assert (first["first"]["id"], first["second"]["id"]) == ("gem", "phi")
    assert [first[k] for k in ("wins_first", "wins_second", "ties", "both_bad")] == [110, 40, 6, 4]
    assert found["expected"][0][0]["value"] == pytest.approx(0.5)
    two = report_json(
        report([*votes(PHI, GEM, 1, 2), *votes(PHI, GEM, 1, 0, mode=Mode.OPEN, voter="o")])
    )
    assert (two["votes"], two["all_votes"]) == (3, 4)
    assert two["expected"] is None
    assert two["contestants"][0]["rating"] is None


async def test_cache_reads_again_only_when_something_changed(store: VoteStore) -> None:
    """A report is computed again after a vote or an exclusion, and only then."""
    cache = LeaderboardCache(store)
    empty = await cache.report(Rules())
    assert empty.headline is Headline.EMPTY
    first = battle()
    await store.add_battle(first)
    assert await cache.report(Rules()) is empty
    await store.cast_vote(vote(first))
    one = await cache.report(Rules())
    assert one.votes == 1
    assert await cache.report(Rules()) is one
    assert await cache.report(Rules(truncated=True)) is not one
    out = Exclusion(first.id, "a test", datetime(2026, 1, 1, tzinfo=UTC))
    await store.add_exclusion(out)
    excluded = await cache.report(Rules())
    assert (excluded.votes, excluded.counted) == (1, 0)
    back = Exclusion(first.id, "", datetime(2026, 1, 2, tzinfo=UTC), lifted=True)
    await store.add_exclusion(back)
    assert (await cache.report(Rules())).counted == 1


@pytest.mark.parametrize("sides", ["ab", "aa", "ba", "bb"])
async def test_cache_takes_names_from_the_newest_battle(store: VoteStore, sides: str) -> None:
    """A model that left the arena keeps its name; a new label takes the old one's place."""
    for day, (side, label) in enumerate(zip(sides, ("Old", "New"), strict=True), start=1):
        pair = [spec("phi", label=label), spec("gemini")]
        a, b = pair if side == "a" else pair[::-1]
        made = battle(spec_a=a, spec_b=b, created_at=datetime(2026, 1, day, tzinfo=UTC))
        await store.add_battle(made)
        await store.cast_vote(vote(made))
    found = await LeaderboardCache(store).report(Rules())
    assert {s.name.label for s in found.standings} == {"New", "Gemini"}
    assert all(s.name.local for s in found.standings)


async def test_cache_forgets_old_reports(store: VoteStore) -> None:
    """At most MOST_KEPT reports are kept."""
    cache = LeaderboardCache(store)
    for number in range(MOST_KEPT + 5):
        made = Selection(pair=(PHI, Contestant(str(number), "")))
        assert (await cache.report(Rules(), made)).headline is Headline.EMPTY
    assert len(cache._reports) == MOST_KEPT


def test_names_fall_back_to_ids() -> None:
    """A contestant without a name is shown by its id."""
    found = make_report(table_of(votes(PHI, GEM, 1, 0)), {})
    assert [s.name.label for s in found.standings] == ["gem", "phi"]
