"""Preset files: what is read, what a bad file is told, and how presets are used."""

import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.domain import Category
from arena.errors.base import PresetError
from arena.presets import LANGUAGES, Preset, load_presets, pick, preset_use

PRESETS = load_presets(Path(__file__).parents[1] / "prompts")

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


# ------------------------------------------------------------------------------ loading


def test_good_files_load_and_sort(tmp_path):
    """Presets come by category, order and language, whatever their files are called."""
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
    """Each field of the file is in its attribute."""
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
    """A byte order mark and CRLF give the same text and the same line numbers."""
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
    """A mistake is reported with its file, its line and what is allowed."""
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
    """Lines of a prompt that look like fields are not taken for them."""
    source = GOOD.replace("level = 1\n", "")
    source = source.replace("note: 1 + 1 は?", "\n".join(["start", *text]))
    source += "# a comment\n" * before + "level = 7\n"
    expected = source.count("\n")
    folder = write(tmp_path_factory.mktemp("prompts"), demo_ja=source)
    assert refusal(folder)[:2] == ("demo-ja.toml", expected)


@given(cut=st.integers(1, len(GOOD) - 2))
def test_a_cut_file_is_always_refused_with_a_line_it_has(tmp_path_factory, cut):
    """A file that is cut anywhere is refused with a line that it has."""
    source = GOOD[:cut]
    folder = write(tmp_path_factory.mktemp("prompts"), demo_ja=source)
    file, line, _ = refusal(folder)
    assert file == "demo-ja.toml"
    assert 1 <= line <= source.count("\n") + 1


def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path):
    """Bytes that are not UTF-8 are reported with their line."""
    (tmp_path / "demo-ja.toml").write_bytes(GOOD.encode("shift_jis"))
    assert refusal(tmp_path) == ("demo-ja.toml", 7, "this is not UTF-8")


def test_a_folder_without_presets_is_refused(tmp_path):
    """A folder that is empty or missing is refused by its name."""
    for folder in (tmp_path, tmp_path / "absent"):
        file, _, problem = refusal(folder)
        assert file == str(folder)
        assert "no preset" in problem


def test_a_copied_id_names_the_original(tmp_path):
    """An id that belongs to another file names that file."""
    folder = write(tmp_path, demo_ja=GOOD, new_ja=GOOD.replace('task = "demo"', 'task = "new"'))
    file, line, problem = refusal(folder)
    assert (file, line) == ("new-ja.toml", 1)
    assert "demo-ja is the id of demo-ja.toml" in problem


def test_two_files_of_one_task_and_language_are_refused(tmp_path):
    """A task has one file in each language."""
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
    """Both languages of a task have the same category, level and order."""
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
    """An English title has at most 22 characters."""
    folder = write(tmp_path, demo_en=ENGLISH.replace("A sample", title))
    if fits:
        assert load_presets(folder)[0].title == title
    else:
        assert refusal(folder) == ("demo-en.toml", 7, "title is too long: at most 22 characters")


@pytest.mark.parametrize(
    "title", ["一二三四五六七八九十", "A4の紙を何回折る?", "12345678901234567890"]
)
def test_japanese_titles_are_counted_in_full_widths(tmp_path, title):
    """A Japanese title has at most 10 full-width characters; half-width ones count half."""
    assert load_presets(write(tmp_path, demo_ja=GOOD.replace("見本", title)))[0].title == title


# ------------------------------------------------------------------------------ using presets


@given(seed=st.integers(0, 1000), language=st.sampled_from(LANGUAGES))
def test_the_dice_keeps_to_the_language(seed, language):
    """A drawn example is in the wanted language."""
    assert pick(PRESETS, language, random.Random(seed)).language == language


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_dice_reaches_every_preset_and_repeats_by_seed(language):
    """Each example of a language can be drawn, and a seed repeats the draws."""
    rng = random.Random(7)
    rolled = [pick(PRESETS, language, rng) for _ in range(1000)]
    assert {p.id for p in rolled} == {p.id for p in PRESETS if p.language == language}
    again = random.Random(7)
    assert rolled == [pick(PRESETS, language, again) for _ in range(1000)]


def test_the_dice_falls_back_to_all():
    """Without an example in the language any one is drawn."""
    english = [preset for preset in PRESETS if preset.language == "en"]
    assert pick(english, "ja", random.Random(1)) in english
    with pytest.raises(IndexError):
        pick([], "ja", random.Random(1))


@given(
    seen=st.lists(st.sampled_from([*(p.id for p in PRESETS), "gone"]), max_size=60),
    seed=st.integers(0, 1000),
    language=st.sampled_from(LANGUAGES),
)
def test_the_dice_gives_what_was_not_seen_then_the_oldest(seen, seed, language):
    """New examples come first; when there are none, the one that was seen the longest ago."""
    offered = [p.id for p in PRESETS if p.language == language]
    given_id = pick(PRESETS, language, random.Random(seed), seen).id
    assert given_id in offered
    if set(offered) <= set(seen):
        last = {one: max(i for i, s in enumerate(seen) if s == one) for one in offered}
        assert last[given_id] == min(last.values())
    else:
        assert given_id not in seen


@given(seed=st.integers(0, 1000), language=st.sampled_from(LANGUAGES))
def test_the_dice_repeats_nothing_within_a_round(seed, language):
    """As many throws as there are examples give every one of them, in each round."""
    rng, seen = random.Random(seed), []
    number = sum(p.language == language for p in PRESETS)
    for _ in range(3 * number):
        seen.append(pick(PRESETS, language, rng, seen).id)
    rounds = [seen[start : start + number] for start in range(0, len(seen), number)]
    assert {len(set(one)) for one in rounds} == {number}


SPACE = st.text(alphabet=" \t\r\n\u3000", max_size=5)


@given(
    preset=st.sampled_from(PRESETS),
    before=SPACE,
    after=SPACE,
    line_end=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_space_and_line_ends_are_no_edit(preset, before, after, line_end):
    """White space around a preset and kinds of line ends are no edit."""
    used = preset_use(preset, before + preset.text.replace("\n", line_end) + after)
    assert (used.id, used.edited) == (preset.id, False)


@given(preset=st.sampled_from(PRESETS), data=st.data())
def test_any_change_is_an_edit(preset, data):
    """Any other change of a preset's text is an edit."""
    text = preset.text
    place = data.draw(st.integers(1, len(text) - 1))
    added = data.draw(st.text(alphabet="a?あ9 \n", min_size=1, max_size=3))
    assert preset_use(preset, text[:place] + added + text[place:]).edited
    assert preset_use(preset, text[:place] + text[place + 1 :]).edited
    assert preset_use(preset, "").edited
