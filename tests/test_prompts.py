"""The prompts that the arena offers: their texts, and that their reference answers are right."""

import contextlib
import heapq
import io
import itertools
import math
import re
import sqlite3
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Category
from arena.presets import LANGUAGES, load_presets

PRESETS = load_presets(Path(__file__).parents[1] / "prompts")
BY_ID = {preset.id: preset for preset in PRESETS}

ARTICLE = {
    "reasoning-honesty-ja": (
        "Aさん、Bさん、Cさんのうち、Aさんは正直者、Bさんは嘘つき、Cさんはどちらでもある。"
        "Aさんは『Bさんは嘘をついている』と言った。Cさんは誰の味方か?"
    ),
    "math-even-sum-ja": "偶数と偶数を足すと必ず偶数になることを証明せよ。",
    "coding-for-loop-ja": "forループの使い方を説明するサンプルコードを書いてください。",
}


def reference(task: str, language: str) -> str:
    found = BY_ID[f"{task}-{language}"].reference
    assert found is not None
    return found


def code(text: str, kind: str = "python") -> str:
    blocks = re.findall(rf"```{kind}\n(.*?)```", text, flags=re.DOTALL)
    assert len(blocks) == 1
    return str(blocks[0])


def run(source: str) -> tuple[dict[str, object], str]:
    names: dict[str, object] = {}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(source, "reference", "exec"), names)  # noqa: S102  our own files
    return names, printed.getvalue()


# ------------------------------------------------------------------------------ the files


@pytest.mark.parametrize("preset_id", ARTICLE)
def test_the_articles_prompts_are_word_for_word(preset_id):
    """The article's three prompts are the same byte for byte, with their source."""
    preset = BY_ID[preset_id]
    assert preset.text.encode() == ARTICLE[preset_id].encode()
    assert (preset.level, preset.order) == (1, 1)
    assert "Phi-4-mini-instruct" in (preset.note or "")
    assert "Gemini 2.0 Pro Experimental" in (preset.note or "")


@pytest.mark.parametrize(
    ("language", "undecided", "not_ours"),
    [
        ("ja", "論理的に決まる答えはありません", "このアリーナの正解ではありません"),
        ("en", "Logic does not determine an answer", "not this arena's answer"),
    ],
)
def test_the_honesty_puzzle_claims_no_answer(language, undecided, not_ours):
    """The puzzle that logic does not decide has no answer claimed as right."""
    answer = reference("reasoning-honesty", language)
    assert undecided in answer
    assert not_ours in answer


def test_every_task_has_both_languages():
    """Each task is there in both languages."""
    languages = Counter(preset.task for preset in PRESETS)
    assert set(languages.values()) == {2}
    assert all(preset.id == f"{preset.task}-{preset.language}" for preset in PRESETS)


@pytest.mark.parametrize("category", [Category.REASONING, Category.MATH, Category.CODING])
def test_each_category_has_five_tasks_of_all_levels(category):
    """Each category has five tasks or more, of all three levels."""
    here = [preset for preset in PRESETS if preset.category is category]
    assert len({preset.task for preset in here}) >= 5
    assert {preset.level for preset in here} == {1, 2, 3}


def test_orders_and_titles_are_unique_within_a_category():
    """Order and title are unique in a category and language."""
    for key in ("order", "title"):
        seen = Counter((p.category, p.language, getattr(p, key)) for p in PRESETS)
        assert set(seen.values()) == {1}


def test_every_preset_has_a_reference():
    """Each preset has a reference answer."""
    assert [preset.id for preset in PRESETS if not preset.reference] == []


def test_languages_are_not_swapped():
    """Japanese presets are in Japanese, English ones have no kana."""
    kana = re.compile(r"[ぁ-ヿ]")
    for preset in PRESETS:
        texts = (preset.text, preset.judge, preset.reference or "", preset.title)
        found = [bool(kana.search(text)) for text in texts[:3]]
        assert all(found) if preset.language == "ja" else not any(kana.search(t) for t in texts)


def test_twins_state_the_same_numbers():
    """Both languages of a task state the same numbers and the same code."""
    compared = 0
    for japanese in (preset for preset in PRESETS if preset.language == "ja"):
        english = BY_ID[f"{japanese.task}-en"]
        if japanese.category is Category.MATH or japanese.task == "reasoning-bridge":
            # Not 2: it is a word in "two digits" or "the square", and a digit in Japanese.
            numbers = [set(re.findall(r"\d+", p.text)) - {"2"} for p in (japanese, english)]
            assert numbers[0] == numbers[1], japanese.task
            compared += 1
        if "```" in japanese.text:
            kind = "sql" if "```sql" in japanese.text else "python"
            assert code(japanese.text, kind) == code(english.text, kind)
            compared += 1
    assert compared >= 10


# ------------------------------------------------------------------------------ answers: reasoning


@pytest.mark.parametrize(
    ("language", "names"),
    [
        ("ja", ["月曜日", "火曜日", "水曜日", "木曜日", "金曜日", "土曜日", "日曜日"]),
        ("en", ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"]),
    ],
)
def test_weekday_reference(language, names):
    """The reference names the one weekday that follows."""
    today = [day for day in range(7) if (day + 2 - 5) % 7 == 4]
    assert len(today) == 1
    answer = reference("reasoning-weekday", language)
    assert answer.startswith(names[(today[0] + 10) % 7])
    assert names[today[0]] in answer


@pytest.mark.parametrize(("language", "culprit"), [("ja", "割ったのは奈緒"), ("en", "Nao broke")])
def test_vase_reference(language, culprit):
    """Exactly one person can be guilty, and the reference names them."""
    people = ["Kenta", "Nao", "Sho", "Yumi"]
    guilty = []
    for who in people:
        nao = who not in ("Nao", "Yumi")
        said = [who in ("Nao", "Sho"), nao, who == "Kenta", nao]
        if sum(said) == 1:
            guilty.append(who)
    assert guilty == ["Nao"]
    assert reference("reasoning-vase", language).startswith(culprit)


@pytest.mark.parametrize(
    ("language", "blue", "red"), [("ja", "青い箱", "赤い箱"), ("en", "The blue box", "The red box")]
)
def test_keys_reference(language, blue, red):
    """The reference follows what each person has seen and knows."""
    # Each event: the box, who saw it, and who knows of whom that they saw it.
    everyone = {"Taro", "mother", "father"}
    events = [
        (blue, everyone, {(a, b) for a in everyone for b in everyone}),
        (red, {"mother", "father"}, {("father", "mother")}),
    ]
    taro = [box for box, saw, _ in events if "Taro" in saw][-1]
    father = [box for box, saw, _ in events if "father" in saw][-1]
    mother = [box for box, _, known in events if ("mother", "father") in known][-1]
    lines = reference("reasoning-keys", language).splitlines()
    assert len(lines) == 3
    for number, (line, box) in enumerate(zip(lines, (taro, father, mother), strict=True), 1):
        assert line.startswith(f"({number}) {box}")


@pytest.mark.parametrize(
    ("language", "people", "pets", "row"),
    [
        (
            "ja",
            ["佐藤さん", "鈴木さん", "高橋さん", "田中さん"],
            ["猫", "犬", "うさぎ", "インコ"],
            "左から、{}({})、{}({})、{}({})、{}({})。",
        ),
        (
            "en",
            ["Sato", "Suzuki", "Takahashi", "Tanaka"],
            ["cat", "dog", "rabbit", "parrot"],
            "From left to right: {} ({}), {} ({}), {} ({}), {} ({}).",
        ),
    ],
)
def test_houses_reference(language, people, pets, row):
    """The clues leave one order, and the reference states it."""
    sato, suzuki, takahashi, _ = people
    cat, dog, rabbit, parrot = pets
    found = []
    for who in itertools.permutations(people):
        for what in itertools.permutations(pets):
            clues = (
                who.index(sato) == what.index(cat) + 1,
                who.index(suzuki) == what.index(rabbit),
                what.index(dog) < what.index(parrot),
                abs(what.index(rabbit) - what.index(dog)) == 1,
                who.index(sato) < who.index(takahashi),
            )
            if all(clues):
                found.append((who, what))
    assert len(found) == 1
    who, what = found[0]
    line = row.format(*itertools.chain.from_iterable(zip(who, what, strict=True)))
    answer = reference("reasoning-houses", language)
    assert line in answer
    assert who[what.index(parrot)] in answer.splitlines()[0]


def fastest_crossing(times: tuple[int, ...]) -> int:
    start = (frozenset(range(len(times))), True)
    queue = [(0, 0, *start)]
    done = set()
    counter = itertools.count(1)
    while queue:
        spent, _, near, torch_near = heapq.heappop(queue)
        if not near and not torch_near:
            return spent
        if (near, torch_near) in done:
            continue
        done.add((near, torch_near))
        side = near if torch_near else frozenset(range(len(times))) - near
        for group in (*itertools.combinations(side, 1), *itertools.combinations(side, 2)):
            then = near - set(group) if torch_near else near | set(group)
            cost = spent + max(times[walker] for walker in group)
            heapq.heappush(queue, (cost, next(counter), then, not torch_near))
    raise AssertionError("nobody gets across")


@pytest.mark.parametrize(("language", "unit"), [("ja", "分"), ("en", " minutes")])
def test_bridge_reference(language, unit):
    """The reference is the shortest crossing, which the famous trick does not give here."""
    best = fastest_crossing((1, 4, 5, 9))
    assert fastest_crossing((1, 2, 5, 10)) == 17  # the famous case, so the search itself is right
    assert best < 4 + 1 + 9 + 4 + 4
    assert reference("reasoning-bridge", language).startswith(f"{best}{unit}")


# ------------------------------------------------------------------------------ answers: math


@pytest.mark.parametrize(("language", "unit"), [("ja", "円"), ("en", " yen")])
def test_price_reference(language, unit):
    """The reference is the only price that fits."""
    prices = [p for p in range(1, 10_000) if p * 120 * 80 == 2880 * 100 * 100]
    assert len(prices) == 1
    assert reference("math-price", language).startswith(f"{prices[0]}{unit}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_root_reference(language):
    """Squaring adds one false root, and the reference keeps the real one."""
    squared = [x for x in range(-100, 101) if x * x - x - 6 == 0]
    real = [x for x in squared if math.sqrt(x + 6) == x]
    assert (squared, real) == ([-2, 3], [3])
    assert f"x = {real[0]}" in reference("math-root-slip", language).splitlines()[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_last_digits_reference(language):
    """The reference has the last digits of the power, and right steps."""
    answer = reference("math-last-digits", language)
    assert answer.startswith(f"{pow(3, 2025, 100):02}")
    assert [pow(3, power, 100) for power in (5, 10, 20)] == [43, 49, 1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_balls_reference(language):
    """The reference is the counted share in lowest terms."""
    draws = list(itertools.combinations(enumerate("rrrrwwwbb"), 3))
    two = sum(len({colour for _, colour in draw}) == 2 for draw in draws)
    shared = math.gcd(two, len(draws))
    answer = reference("math-balls", language)
    assert answer.startswith(f"{two // shared}/{len(draws) // shared}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_squares_reference(language):
    """The reference lists all solutions."""
    # For n > 26, n² + 10n + 88 lies between (n + 5)² and (n + 6)²; the range is ample.
    found = [
        n for n in range(1, 2000) if math.isqrt(n * n + 10 * n + 88) ** 2 == n * n + 10 * n + 88
    ]
    assert reference("math-squares", language).startswith("n = " + ", ".join(map(str, found)))


# ------------------------------------------------------------------------------ answers: coding


@pytest.mark.parametrize("preset_id", [p.id for p in PRESETS if "```python" in (p.reference or "")])
def test_reference_code_compiles(preset_id):
    """Reference code is valid Python."""
    compile(code(BY_ID[preset_id].reference or ""), preset_id, "exec")


@pytest.mark.parametrize("language", LANGUAGES)
def test_for_loop_reference(language):
    """The code prints what its comments say."""
    _, printed = run(code(reference("coding-for-loop", language)))
    lines = printed.splitlines()
    assert lines[3:6] == ["0", "1", "2"]
    assert lines[6:] == [f"1 {lines[0]}", f"2 {lines[1]}"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_time_regex_reference(language):
    """The pattern takes all valid times and nothing else."""
    names, _ = run(code(reference("coding-time-regex", language)))
    pattern = names["TIME"]
    assert isinstance(pattern, re.Pattern)
    for hour, minute in itertools.product(range(100), repeat=2):
        matches = pattern.fullmatch(f"{hour:02}:{minute:02}") is not None
        assert matches == (hour < 24 and minute < 60)
    for other in ("9:30", "09:3", "009:30", "09:30\n", "0930", "\uff10\uff19:30", "", "-9:30"):
        assert pattern.fullmatch(other) is None


@pytest.mark.parametrize("language", LANGUAGES)
def test_default_list_reference(language):
    """The reference is what Python prints."""
    preset = BY_ID[f"coding-default-list-{language}"]
    _, printed = run(code(preset.text))
    answer = reference("coding-default-list", language).splitlines()
    assert [line.split(": ")[1] for line in answer[:2]] == printed.splitlines()
    assert all(line in preset.judge for line in printed.splitlines())


@pytest.mark.parametrize("language", LANGUAGES)
@given(values=st.lists(st.integers(0, 2), max_size=8))
def test_longest_run_reference(language, values):
    """The mended function is right for every list, the empty one too."""
    names, _ = run(code(reference("coding-longest-run", language)))
    groups = [len(list(group)) for _, group in itertools.groupby(values)]
    assert names["longest_run"](values) == max(groups, default=0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_longest_run_prompt_has_the_bug_it_asks_for(language):
    """The function in the prompt has the bug that is asked for."""
    names, _ = run(code(BY_ID[f"coding-longest-run-{language}"].text))
    broken = names["longest_run"]
    assert (broken([5, 5, 2, 2, 2, 7]), broken([]), broken([1, 1])) == (3, 0, 0)


@pytest.mark.parametrize("language", LANGUAGES)
@given(numbers=st.lists(st.integers(-8, 8), max_size=10))
def test_ranges_reference(language, numbers):
    """The function is right for repeats, negative numbers and the last run."""
    names, _ = run(code(reference("coding-ranges", language)))
    before = list(numbers)
    text = names["summarize"](numbers)
    assert numbers == before
    parts = [part.split("..") for part in text.split(",")] if text else []
    spans = [range(int(part[0]), int(part[-1]) + 1) for part in parts]
    assert [n for span in spans for n in span] == sorted(set(numbers))
    assert all(len(span) >= 3 for span, part in zip(spans, parts, strict=True) if len(part) == 2)
    shown = [n for span, part in zip(spans, parts, strict=True) if len(part) == 1 for n in span]
    assert not any({n, n + 1, n + 2} <= set(numbers) for n in shown)


@pytest.mark.parametrize("language", LANGUAGES)
def test_ranges_examples(language):
    """The examples in the prompt and the judging hint are what the function gives."""
    names, _ = run(code(reference("coding-ranges", language)))
    preset = BY_ID[f"coding-ranges-{language}"]
    for numbers in ([7, 1, 2, 3, 8, 10, 3], [0, -1, -2, 5], []):
        assert f'"{names["summarize"](numbers)}"' in preset.judge
        assert str(numbers) in preset.judge + preset.text
    assert '"1..3,7,8,10"' in preset.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_sql_reference(language):
    """The query keeps customers without orders and counts one year only."""
    preset = BY_ID[f"coding-sql-{language}"]
    customers = [(1, "Ann"), (2, "Ben"), (3, "Cho"), (4, "Dan"), (5, "Eve")]
    orders = [
        (1, 2, "2024-01-01", 300),
        (2, 2, "2024-12-31", 200),
        (3, 1, "2023-12-31", 900),
        (4, 1, "2025-01-01", 900),
        (5, 4, "2024-06-01", 500),
        (6, 5, "2024-06-01", 800),
    ]
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.executescript(code(preset.text, "sql"))
        database.executemany("INSERT INTO customers VALUES (?, ?)", customers)
        database.executemany("INSERT INTO orders VALUES (?, ?, ?, ?)", orders)
        cursor = database.execute(code(preset.reference or "", "sql"))
        columns = [column[0] for column in cursor.description]
        rows = cursor.fetchall()
    assert columns == ["id", "name", "order_count", "total"]
    assert rows == [
        (5, "Eve", 1, 800),
        (2, "Ben", 2, 500),
        (4, "Dan", 1, 500),
        (1, "Ann", 0, 0),
        (3, "Cho", 0, 0),
    ]
