"""Presets: the files are right, their answers are right, and a bad file is named with its line."""

import contextlib
import heapq
import io
import itertools
import math
import random
import re
import sqlite3
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Category
from arena.errors.base import PresetError
from arena.presets import Preset, load_presets, pick, twin, usage

FOLDER = Path(__file__).parents[1] / "prompts"
PRESETS = load_presets(FOLDER)
BY_ID = {preset.id: preset for preset in PRESETS}
LANGUAGES = ("ja", "en")

ARTICLE = {
    "reasoning-honesty-ja": (
        "Aさん、Bさん、Cさんのうち、Aさんは正直者、Bさんは嘘つき、Cさんはどちらでもある。"
        "Aさんは『Bさんは嘘をついている』と言った。Cさんは誰の味方か?"
    ),
    "math-even-sum-ja": "偶数と偶数を足すと必ず偶数になることを証明せよ。",
    "coding-for-loop-ja": "forループの使い方を説明するサンプルコードを書いてください。",
}

# One field a line, so that a field's line is easy to see: id is on line 1, category on line 3.
GOOD = """\
id = "demo-ja"
task = "demo"
category = "math"
language = "ja"
level = 1
order = 1
title = "見本"
text = '''
level = 3
note: 1 + 1 は?
'''
judge = "答えは2です。"
"""
ENGLISH = (
    GOOD.replace("demo-ja", "demo-en")
    .replace('language = "ja"', 'language = "en"')
    .replace("見本", "A sample")
)


def write(folder: Path, **files: str) -> Path:
    for name, source in files.items():
        path = folder / f"{name.replace('_', '-')}.toml"
        path.write_bytes(source.encode())
    return folder


def refusal(folder: Path) -> tuple[str, int, str]:
    with pytest.raises(PresetError) as caught:
        load_presets(folder)
    values = caught.value.values
    assert isinstance(values["line"], int)
    return str(values["file"]), values["line"], str(values["problem"])


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
    """A tidied question mark or bracket would make another experiment than the article's."""
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
    """An invented answer would make voters judge against something that nobody can derive."""
    answer = reference("reasoning-honesty", language)
    assert undecided in answer
    assert not_ours in answer


def test_every_task_has_both_languages():
    """A task without its twin would leave a hole when the page's language is switched."""
    languages = Counter(preset.task for preset in PRESETS)
    assert set(languages.values()) == {2}
    assert all(preset.id == f"{preset.task}-{preset.language}" for preset in PRESETS)


@pytest.mark.parametrize("category", [Category.REASONING, Category.MATH, Category.CODING])
def test_each_category_has_five_tasks_of_all_levels(category):
    """A category with one easy task would make its rating rest on that one prompt."""
    here = [preset for preset in PRESETS if preset.category is category]
    assert len({preset.task for preset in here}) >= 5
    assert {preset.level for preset in here} == {1, 2, 3}


def test_orders_and_titles_are_unique_within_a_category():
    """Two chips with the same title or place could not be told apart."""
    for key in ("order", "title"):
        seen = Counter((p.category, p.language, getattr(p, key)) for p in PRESETS)
        assert set(seen.values()) == {1}


def test_every_preset_has_a_reference():
    """A judge without a reference answer would have to trust the more fluent model."""
    assert [preset.id for preset in PRESETS if not preset.reference] == []


def test_languages_are_not_swapped():
    """A Japanese prompt filed as English would send the small model what it can't read."""
    kana = re.compile(r"[ぁ-ヿ]")
    for preset in PRESETS:
        texts = (preset.text, preset.judge, preset.reference or "", preset.title)
        found = [bool(kana.search(text)) for text in texts[:3]]
        assert all(found) if preset.language == "ja" else not any(kana.search(t) for t in texts)


def test_twins_state_the_same_numbers():
    """A number mistyped in one language would give the two languages different answers."""
    compared = 0
    for japanese in (preset for preset in PRESETS if preset.language == "ja"):
        english = twin(PRESETS, japanese, "en")
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
    """An off-by-one in the reference would call the right answer wrong."""
    today = [day for day in range(7) if (day + 2 - 5) % 7 == 4]
    assert len(today) == 1
    answer = reference("reasoning-weekday", language)
    assert answer.startswith(names[(today[0] + 10) % 7])
    assert names[today[0]] in answer


@pytest.mark.parametrize(("language", "culprit"), [("ja", "割ったのは奈緒"), ("en", "Nao broke")])
def test_vase_reference(language, culprit):
    """A puzzle with two solutions, or the wrong one, cannot be judged."""
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
    """Mixing up who knows what would turn the third answer round."""
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
    """Clues that leave two orders would make a right answer look wrong."""
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
    """The famous trick is slower here; a reference that uses it would reward recitation."""
    best = fastest_crossing((1, 4, 5, 9))
    assert fastest_crossing((1, 2, 5, 10)) == 17  # the famous case, so the search itself is right
    assert best < 4 + 1 + 9 + 4 + 4
    assert reference("reasoning-bridge", language).startswith(f"{best}{unit}")


# ------------------------------------------------------------------------------ answers: math


@pytest.mark.parametrize(("language", "unit"), [("ja", "円"), ("en", " yen")])
def test_price_reference(language, unit):
    """A wrong reference price would mark the right answer down."""
    prices = [p for p in range(1, 10_000) if p * 120 * 80 == 2880 * 100 * 100]
    assert len(prices) == 1
    assert reference("math-price", language).startswith(f"{prices[0]}{unit}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_root_reference(language):
    """The slip must be a real one: exactly one of the two roots may fail."""
    squared = [x for x in range(-100, 101) if x * x - x - 6 == 0]
    real = [x for x in squared if math.sqrt(x + 6) == x]
    assert (squared, real) == ([-2, 3], [3])
    assert f"x = {real[0]}" in reference("math-root-slip", language).splitlines()[0]


@pytest.mark.parametrize("language", LANGUAGES)
def test_last_digits_reference(language):
    """A wrong power in the reference would mark the right answer down."""
    answer = reference("math-last-digits", language)
    assert answer.startswith(f"{pow(3, 2025, 100):02}")
    assert [pow(3, power, 100) for power in (5, 10, 20)] == [43, 49, 1]


@pytest.mark.parametrize("language", LANGUAGES)
def test_balls_reference(language):
    """A case forgotten in the count would make the reference's fraction wrong."""
    draws = list(itertools.combinations(enumerate("rrrrwwwbb"), 3))
    two = sum(len({colour for _, colour in draw}) == 2 for draw in draws)
    shared = math.gcd(two, len(draws))
    answer = reference("math-balls", language)
    assert answer.startswith(f"{two // shared}/{len(draws) // shared}")


@pytest.mark.parametrize("language", LANGUAGES)
def test_squares_reference(language):
    """A solution missed by the reference would mark the complete answer down."""
    # For n > 26, n² + 10n + 88 lies between (n + 5)² and (n + 6)²; the range is ample.
    found = [
        n for n in range(1, 2000) if math.isqrt(n * n + 10 * n + 88) ** 2 == n * n + 10 * n + 88
    ]
    assert reference("math-squares", language).startswith("n = " + ", ".join(map(str, found)))


# ------------------------------------------------------------------------------ answers: coding


@pytest.mark.parametrize("preset_id", [p.id for p in PRESETS if "```python" in (p.reference or "")])
def test_reference_code_compiles(preset_id):
    """A reference that is not even Python would make the judge's yardstick a joke."""
    compile(code(BY_ID[preset_id].reference or ""), preset_id, "exec")


@pytest.mark.parametrize("language", LANGUAGES)
def test_for_loop_reference(language):
    """The comments say what is printed; code that prints something else would mislead."""
    _, printed = run(code(reference("coding-for-loop", language)))
    lines = printed.splitlines()
    assert lines[3:6] == ["0", "1", "2"]
    assert lines[6:] == [f"1 {lines[0]}", f"2 {lines[1]}"]


@pytest.mark.parametrize("language", LANGUAGES)
def test_time_regex_reference(language):
    """A pattern that misses a time, or takes one too many, is no reference."""
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
    """The output is the whole answer, so it has to be what Python really prints."""
    preset = BY_ID[f"coding-default-list-{language}"]
    _, printed = run(code(preset.text))
    answer = reference("coding-default-list", language).splitlines()
    assert [line.split(": ")[1] for line in answer[:2]] == printed.splitlines()
    assert all(line in preset.judge for line in printed.splitlines())


@pytest.mark.parametrize("language", LANGUAGES)
@given(values=st.lists(st.integers(0, 2), max_size=8))
def test_longest_run_reference(language, values):
    """The reference must mend the bug for every list, the empty one too."""
    names, _ = run(code(reference("coding-longest-run", language)))
    groups = [len(list(group)) for _, group in itertools.groupby(values)]
    assert names["longest_run"](values) == max(groups, default=0)


@pytest.mark.parametrize("language", LANGUAGES)
def test_longest_run_prompt_has_the_bug_it_asks_for(language):
    """A prompt without its bug would ask the models to find nothing."""
    names, _ = run(code(BY_ID[f"coding-longest-run-{language}"].text))
    broken = names["longest_run"]
    assert (broken([5, 5, 2, 2, 2, 7]), broken([]), broken([1, 1])) == (3, 0, 0)


@pytest.mark.parametrize("language", LANGUAGES)
@given(numbers=st.lists(st.integers(-8, 8), max_size=10))
def test_ranges_reference(language, numbers):
    """The reference must hold for repeats, negative numbers and the last run."""
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
    """An example in the prompt or the judging hint that is wrong would punish right code."""
    names, _ = run(code(reference("coding-ranges", language)))
    preset = BY_ID[f"coding-ranges-{language}"]
    for numbers in ([7, 1, 2, 3, 8, 10, 3], [0, -1, -2, 5], []):
        assert f'"{names["summarize"](numbers)}"' in preset.judge
        assert str(numbers) in preset.judge + preset.text
    assert '"1..3,7,8,10"' in preset.text


@pytest.mark.parametrize("language", LANGUAGES)
def test_sql_reference(language):
    """A query that drops the customers without orders is the very mistake that is judged."""
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


# ------------------------------------------------------------------------------ loading


def test_good_files_load_and_sort(tmp_path):
    """Chips must come by category, order and language, whatever the files are called."""
    sources = {
        f"a{number}_{language}": source.replace("demo", f"a{number}")
        .replace("order = 1", f"order = {order}")
        .replace('"math"', f'"{category}"')
        for number, order, category in (
            (1, 1, "coding"),
            (2, 10, "math"),
            (3, 9, "math"),
            (4, 1, "reasoning"),
        )
        for language, source in (("ja", GOOD), ("en", ENGLISH))
    }
    loaded = [preset.id for preset in load_presets(write(tmp_path, **sources))]
    assert loaded == [f"a{number}-{language}" for number in (4, 3, 2, 1) for language in LANGUAGES]


def test_a_file_becomes_its_preset(tmp_path):
    """A field put into the wrong attribute would show the hint for judges as the prompt."""
    source = GOOD + 'reference = "2"\nnote = "手作り"\n'
    assert load_presets(write(tmp_path, demo_ja=source)) == (
        Preset(
            id="demo-ja",
            task="demo",
            category=Category.MATH,
            language="ja",
            level=1,
            order=1,
            title="見本",
            text="level = 3\nnote: 1 + 1 は?",
            judge="答えは2です。",
            reference="2",
            note="手作り",
        ),
    )


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"])
def test_files_from_windows_load(tmp_path, prefix):
    """A file saved on Windows must give the same text, and an error in it the same line."""
    data = prefix + GOOD.replace("\n", "\r\n").encode()
    path = tmp_path / "demo-ja.toml"
    path.write_bytes(data)
    assert load_presets(tmp_path)[0].text == "level = 3\nnote: 1 + 1 は?"
    path.write_bytes(data.replace(b"judge", b"juge"))
    assert refusal(tmp_path)[:2] == ("demo-ja.toml", 12)


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ('category = "math"', 'category = "math', 3, "Illegal character"),
        ("order = 1", "order 1", 6, "Expected"),
        ("order = 1", "level = 2", 6, "Cannot overwrite"),
        ('judge = "答えは2です。"', "judge = '''答えは", 12, "Expected"),
        ('judge = "答えは2です。"\n', 'judge = "答えは2です。"\nnote =', 13, "Invalid value"),
        ('judge = "答えは2です。"\n', "", 1, "field judge is missing"),
        ("order = 1\n", "", 1, "field order is missing"),
        ("order = 1", "order = 1\nlevels = 2", 7, "levels is no field"),
        (
            'judge = "答えは2です。"',
            'judge = "2"\n\n# more\n[extra]\nx = 1',
            15,
            "extra is no field",
        ),
        ('judge = "答えは2です。"', 'judge = "2"\nreference = 2', 13, "reference must be text"),
        ('judge = "答えは2です。"', 'judge = "2"\nnote = ""', 13, "note is empty"),
        ("level = 1", 'level = "1"', 5, "level must be a whole number"),
        ("level = 1", "level = true", 5, "level must be a whole number"),
        ("order = 1", "order = 1.0", 6, "order must be a whole number"),
        ('title = "見本"', "title = 7", 7, "title must be text"),
        ('title = "見本"', 'title.ja = "見本"', 7, "title must be text"),
        ('category = "math"', 'category = "maths"', 3, "category must be one of reasoning, math"),
        ('category = "math"', 'category = "free"', 3, "category must be one of reasoning, math"),
        ('language = "ja"', 'language = "fr"', 4, "language must be one of ja, en"),
        ("level = 1", "level = 4", 5, "level must be one of 1, 2, 3"),
        ("level = 1", "level = 0", 5, "level must be one of 1, 2, 3"),
        ('id = "demo-ja"', 'id = "demo-jp"', 1, "id must be the file's name, demo-ja"),
        ('id = "demo-ja"', '# hello\n\nid = "Demo"', 3, "id may hold only"),
        ('task = "demo"', 'task = "de mo"', 2, "task may hold only"),
        ("'''\nlevel = 3\nnote: 1 + 1 は?\n'''", "''' \n '''", 8, "text is empty"),
        ('title = "見本"', 'title = " "', 7, "title is empty"),
        ('title = "見本"', 'title = "一二三四五六七八九十あ"', 7, "title is too long"),
        ('title = "見本"', 'title = "一二三四五六七八九十a"', 7, "title is too long"),
        ('title = "見本"', 'title = "一二三四五六七八九→→"', 7, "title is too long"),
    ],
)
def test_a_bad_file_is_named_with_its_line(tmp_path, old, new, line, problem):
    """Whoever mends a preset needs the file, the line and what is wrong, not a traceback."""
    assert GOOD.count(old) == 1
    good = ENGLISH.replace("demo", "other")
    folder = write(tmp_path, demo_ja=GOOD.replace(old, new), other_en=good, zzz_en="not read = ")
    file, found_line, found_problem = refusal(folder)
    assert (file, found_line) == ("demo-ja.toml", line)
    assert problem in found_problem
    assert "(at " not in found_problem


@given(
    before=st.integers(0, 3),
    text=st.lists(
        st.sampled_from(["level = 9", "[order]", '"', '"""', "x", "", "# ''"]), max_size=6
    ),
)
def test_the_line_is_the_fields_own(tmp_path_factory, before, text):
    """Lines of a prompt that look like fields must not be taken for the field that is wrong."""
    source = GOOD.replace("level = 1\n", "")
    source = source.replace("note: 1 + 1 は?", "\n".join(["start", *text]))
    source += "# a comment\n" * before + "level = 7\n"
    expected = source.count("\n")
    folder = write(tmp_path_factory.mktemp("prompts"), demo_ja=source)
    assert refusal(folder)[:2] == ("demo-ja.toml", expected)


@given(cut=st.integers(1, len(GOOD) - 2))
def test_a_cut_file_is_always_refused_with_a_line_it_has(tmp_path_factory, cut):
    """A half-saved file must be refused properly, wherever it ends."""
    source = GOOD[:cut]
    folder = write(tmp_path_factory.mktemp("prompts"), demo_ja=source)
    file, line, _ = refusal(folder)
    assert file == "demo-ja.toml"
    assert 1 <= line <= source.count("\n") + 1


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path):
    """A file saved as Shift JIS must be refused with its line, not with a UnicodeDecodeError."""
    (tmp_path / "demo-ja.toml").write_bytes(GOOD.encode("shift_jis"))
    assert refusal(tmp_path) == ("demo-ja.toml", 7, "this is not UTF-8")


def test_a_folder_without_presets_is_refused(tmp_path):
    """An app started beside the wrong folder must say so, not show a page without chips."""
    for folder in (tmp_path, tmp_path / "absent"):
        file, _, problem = refusal(folder)
        assert file == str(folder)
        assert "no preset" in problem


def test_a_copied_id_names_the_original(tmp_path):
    """A copy whose id was forgotten must not replace its original."""
    folder = write(tmp_path, demo_ja=GOOD, new_ja=GOOD.replace('task = "demo"', 'task = "new"'))
    file, line, problem = refusal(folder)
    assert (file, line) == ("new-ja.toml", 1)
    assert "demo-ja is the id of demo-ja.toml" in problem


def test_two_files_of_one_task_and_language_are_refused(tmp_path):
    """Two Japanese twins would make the switch of language depend on chance."""
    folder = write(tmp_path, demo_ja=GOOD, new_ja=GOOD.replace("demo-ja", "new-ja"))
    file, line, problem = refusal(folder)
    assert (file, line) == ("new-ja.toml", 2)
    assert "demo-ja.toml has the task demo in ja already" in problem


@pytest.mark.parametrize(
    ("old", "new", "line", "problem"),
    [
        ('"math"', '"coding"', 3, "category must be math, as in demo-en.toml"),
        ("level = 1", "level = 2", 5, "level must be 1, as in demo-en.toml"),
        ("order = 1", "order = 2", 6, "order must be 1, as in demo-en.toml"),
    ],
)
def test_twins_that_disagree_are_refused(tmp_path, old, new, line, problem):
    """A task that is easy in one language and hard in the other would spoil comparisons."""
    folder = write(tmp_path, demo_en=ENGLISH, demo_ja=GOOD.replace(old, new))
    assert refusal(folder) == ("demo-ja.toml", line, problem)


@pytest.mark.parametrize(
    ("title", "fits"),
    [
        ("A title of 22 letters!", True),
        ("A title of 23 letters!!", False),
        ("Café à la crème, déjà", True),
    ],
)
def test_english_titles_are_counted_in_characters(tmp_path, title, fits):
    """A title must not be refused for an accent, nor pass when the chip can't hold it."""
    folder = write(tmp_path, demo_en=ENGLISH.replace("A sample", title))
    if fits:
        assert load_presets(folder)[0].title == title
    else:
        assert refusal(folder) == ("demo-en.toml", 7, "title is too long: at most 22 characters")


@pytest.mark.parametrize(
    "title", ["一二三四五六七八九十", "A4の紙を何回折る?", "12345678901234567890"]
)
def test_japanese_titles_are_counted_in_full_widths(tmp_path, title):
    """Half-width letters take half the room, so they must not count as whole characters."""
    assert load_presets(write(tmp_path, demo_ja=GOOD.replace("見本", title)))[0].title == title


# ------------------------------------------------------------------------------ using presets


@given(seed=st.integers(0, 1000), language=st.sampled_from(LANGUAGES))
def test_the_dice_keeps_to_the_language(seed, language):
    """The dice must not hand an English reader a Japanese prompt."""
    assert pick(PRESETS, language, random.Random(seed)).language == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_dice_reaches_every_preset_and_repeats_by_seed(language):
    """A dice stuck on a few presets would starve the others of votes."""
    rng = random.Random(7)
    rolled = [pick(PRESETS, language, rng) for _ in range(1000)]
    assert {p.id for p in rolled} == {p.id for p in PRESETS if p.language == language}
    again = random.Random(7)
    assert rolled == [pick(PRESETS, language, again) for _ in range(1000)]


def test_the_dice_falls_back_to_all():
    """An interface language without presets must still get one, not an exception."""
    english = [preset for preset in PRESETS if preset.language == "en"]
    assert pick(english, "ja", random.Random(1)) in english
    with pytest.raises(IndexError):
        pick([], "ja", random.Random(1))


SPACE = st.text(alphabet=" \t\r\n\u3000", max_size=5)


@given(
    preset=st.sampled_from(PRESETS),
    before=SPACE,
    after=SPACE,
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_space_and_line_ends_are_no_edit(preset, before, after, line_end):
    """A browser's line ends must not flag an untouched preset as edited."""
    used = usage(preset, before + preset.text.replace("\n", line_end) + after)
    assert (used.id, used.edited) == (preset.id, False)


@given(preset=st.sampled_from(PRESETS), data=st.data())
def test_any_change_is_an_edit(preset, data):
    """A changed prompt counted as the preset would mix two experiments."""
    text = preset.text
    place = data.draw(st.integers(1, len(text) - 1))
    added = data.draw(st.text(alphabet="a?あ9 \n", min_size=1, max_size=3))
    assert usage(preset, text[:place] + added + text[place:]).edited
    assert usage(preset, text[:place] + text[place + 1 :]).edited
    assert usage(preset, "").edited


@pytest.mark.parametrize("preset", PRESETS, ids=lambda preset: preset.id)
def test_twin_is_the_same_task_in_the_other_language(preset):
    """Switching the language must keep the task, and switching back must return."""
    other = "en" if preset.language == "ja" else "ja"
    found = twin(PRESETS, preset, other)
    assert (found.task, found.language) == (preset.task, other)
    assert twin(PRESETS, found, preset.language) is preset
    assert twin(PRESETS, preset, preset.language) is preset


def test_a_preset_without_twin_stays():
    """A task written in one language alone must stay usable in the other."""
    lonely = replace(PRESETS[0], task="lonely")
    assert twin((*PRESETS, lonely), lonely, "en") is lonely
