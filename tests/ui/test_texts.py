"""Japanese as it is written: numerals, full stops, and one word for one thing."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

from arena.ui.i18n import table

PROMPTS = Path(__file__).parents[2] / "prompts"
COUNTED = "つ人回度件分日票対倍年個行倍秒時台組種番歩"
KANJI_NUMBER = re.compile(rf"[一二三四五六七八九十百千]+(?:[{COUNTED}]|番目)|[十百千]+万|百万")
NOT_NUMBERS = re.compile("一部|一覧|一致|一度に|もう一度|十分")
# What was said before, and what is said in its place.
RETIRED = (
    "単独", "見るところ", "ウォームアップ", "控え", "写し", "写せ", "引いて", "危ない",
    "自然な言葉", "寄せた", "機械", "要求", "正確検定", "でたらめ", "運営者", "答えられ", "の答え",
)  # fmt: skip


def sentences() -> Iterator[tuple[str, str]]:
    """Every Japanese text of the page and of the examples' chips, with its key."""
    yield from table("ja").items()
    for path in sorted(PROMPTS.glob("*-ja.toml")):
        yield path.stem, tomllib.loads(path.read_text(encoding="utf-8"))["title"]


def faults(text: str) -> list[str]:
    """What is wrong with a Japanese text, in words."""
    found = [word for word in RETIRED if word in text]
    if number := KANJI_NUMBER.search(NOT_NUMBERS.sub("", text)):
        found.append(number.group())
    if end := re.search(r"[ぁ-んァ-ヶ一-龠}][.!,;?]\Z", text):
        found.append(end.group())
    return found


def test_japanese_is_written_as_it_is_read() -> None:
    """No number in ideographs, no Latin full stop, no retired word."""
    wrong = {key: found for key, text in sentences() if (found := faults(text))}
    assert not wrong


def test_a_mode_is_named_by_what_it_shows() -> None:
    """The two modes beside the blind one say what a visitor sees in them."""
    assert table("ja")["mode.open"] == "名前を表示"
    assert table("ja")["mode.single"] == "1 モデル"
