"""Does a text name a contestant? Pure: text in, yes or no out.

A vote is blind only if neither the prompt nor an answer named a contestant. What counts is a name
that can tell: "as a large language model trained by Google" tells, "open Google Maps" does not,
and neither does the letter phi. Where both are possible it counts as a leak: a lost vote costs
less than one that was not blind.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from typing import Final

# Stored beside what was found. Raise it with every change of what is found, so that old results
# are known to be old.
VERSION: Final = 1


# Japanese has no spaces, and \b sees none between 私は and Gemini: only Latin letters and digits
# continue a Latin name, and only katakana a name in katakana.
_L, _R = r"(?<![A-Za-z0-9_])", r"(?![A-Za-z0-9_])"
_KL, _KR = r"(?<![ァ-ヴー])", r"(?![ァ-ヴー])"
# Hyphens, spaces and dots that a name is written with. A long vowel mark stands in for a hyphen.
_SEP = r"[\s\-‐–—−・.]?"
_I_AM = r"(?:I\s+am|I['’]m|my\s+name\s+is|call\s+me|I\s+am\s+called|I['’]m\s+called)\s+[\"'“*]{0,3}"
_ME_JA = r"(?:私|わたし|僕|ぼく|俺|名前)[はがも]、?\s?[「『\"*]{0,3}"
_SAID_JA = r"[」』\"*]{0,3}\s?(?:と申します|と申し上げ|といいます|と言います|と呼んで|です)"
_A_MODEL = r",?\s+(?:is\s+)?an?\s+(?:AI|(?:large\s+|small\s+)?language\s+model|assistant|chatbot)"
_A_MODEL_JA = (
    r"(?:という|は)、?(?:名前の)?(?:AI|人工知能|(?:大規模|小規模)?言語モデル|アシスタント)"
)

# What a maker's name stands before when it means a product of theirs and not the maker of a model.
_GOOGLE_THINGS = (
    r"(?:maps?|search|docs?|sheets?|slides?|drive|forms?|scholar|cloud|translate|chrome|colab|"
    r"calendar|play|analytics|photos?|earth|meet|classroom|fonts?|books|trends|ads|pixel|home|"
    r"assistant|apps?|workspace|keep|lens|news|finance|account|api|it|that|this|for)"
)
_GOOGLE_THINGS_JA = (
    r"(?:マップ|検索|ドキュメント|スプレッドシート|ドライブ|フォーム|翻訳|クラウド|カレンダー|"
    r"フォト|アース|クローム|プレイ|アカウント|アナリティクス|スカラー|で検索|で調べ)"
)
_MICROSOFT_THINGS = (
    r"(?:excel|word|office|windows|teams|azure|powerpoint|power|sql|access|edge|outlook|onedrive|"
    r"365|store|visual|vs|learn|paint|project|visio|sharepoint|surface|account|exchange|\.net)"
)
_MICROSOFT_THINGS_JA = (
    r"(?:・?(?:エクセル|ワード|オフィス|ウィンドウズ|チームズ|アジュール|パワーポイント|アクセス|"
    r"エッジ|アウトルック|アカウント|ストア))"
)
_HUB_THINGS = r"(?:transformers|hub|datasets?|tokenizers|accelerate|spaces?|library|pipelines?)"
# The twins in the sky, and what is named after them.
_TWINS_BEFORE = r"(?<!project )(?<!constellation )(?<!zodiac sign )(?<!sign of )(?<!nasa's )"
_TWINS_AFTER = (
    r"(?!\s+(?:constellation|zodiac|horoscope|observatory|telescope|spacecraft|capsule|program|"
    r"project|mission|twins|season|sun|moon|rising|man|woman|III?\b|IV\b|VI{1,3}\b|IX\b|XI{0,2}\b)"
    r"|\s*\((?:the\s+twins|may\b|ふたご座|双子座))"
)


def _any(*patterns: str) -> str:
    return "|".join(f"(?:{pattern})" for pattern in patterns)


def _self_named(name: str) -> tuple[str, ...]:
    """Ways in which something says that this is its name, in English and Japanese."""
    return (
        rf"(?<![A-Za-z]){_I_AM}{name}{_R}",
        rf"{_ME_JA}{name}{_R}(?![のーァ-ヴ])",
        rf"{_L}{name}{_R}(?:と申します|と申し上げ|といいます|と言います|と呼んで)",
    )


# Only these match letter case: "Phi 4" is a name, "phi 4" a factor.
_PHI_CASED = _any(
    r"(?<![A-Za-z0-9_\\])Phi\s?[34](?:\.5)?(?![0-9A-Za-z_^]|\.\d|\s*[=(\[])",
    rf"(?<![A-Za-z0-9_\\])Phi{_A_MODEL}",
    rf"(?<![A-Za-z0-9_\\])Phi{_A_MODEL_JA}",
    r"(?<![A-Za-z0-9_\\])Phi\s+(?:small\s+)?(?:language\s+models?|family\s+of|series\s+of)",
)
_PHI = _any(
    rf"{_L}phi[\-‐–\s]?[1-9](?:\.5)?[\-‐–:_\s](?:mini|medium|small|vision|moe|multimodal)",
    # φ-4 is a theory in physics, and phi-3 = … a difference.
    rf"{_L}(?<!\\)phi[\-‐–][34](?:\.5)?(?![0-9]|\.\d|\s*[=<>*/^]|\s+(?:theory|field|potential|kink))",
    rf"{_L}phi[\-‐–\s]?silica{_R}",
    *_self_named(r"(?<!\\)phi"),
    rf"{_KL}ファイ{_SEP}(?:[34]|フォー|スリー)(?:\.5)?(?![0-9号章番ァ-ヴー])",
    rf"{_ME_JA}ファイ{_KR}{_SAID_JA}",
    rf"{_KL}ファイ(?:と申します|といいます|と言います|と呼んで)",
    rf"{_KL}ファイ{_A_MODEL_JA}",
)


@dataclass(frozen=True, slots=True)
class _Pattern:
    """One search, and a quick look that saves most of them.

    Attributes:
        may: told a text in lower case, False where the search can't find anything; takes a
            hundredth of its time.
    """

    search: re.Pattern[str]
    may: Callable[[str], bool]


def _has(*words: str) -> Callable[[str], bool]:
    """Is any of these in the text? One is, wherever the search finds something."""
    return lambda lower: any(word in lower for word in words)


# No letter stands before a phi that is found, and none after it but those of `silica`; ファイル
# is a file. `re` is quick at a pattern that begins with letters: what stands before comes second.
_PHI_WORD = re.compile(r"phi(?<![a-z0-9_]phi)(?:(?![a-z])|(?=silica))")
_PHI_WORD_JA = re.compile(r"ファイ(?!ル)")


def _may_be_phi(lower: str) -> bool:
    return bool(_PHI_WORD.search(lower) or _PHI_WORD_JA.search(lower))


_PATTERNS: Final[tuple[_Pattern, ...]] = (
    _Pattern(re.compile(_PHI, re.IGNORECASE), _may_be_phi),
    _Pattern(re.compile(_PHI_CASED), _may_be_phi),
    _Pattern(
        re.compile(
            _any(
                rf"{_L}(?<!\.)microsoft{_R}(?!\.[a-z]|(?:['’]s)?\s+{_MICROSOFT_THINGS}{_R})",
                rf"{_KL}マイクロソフト{_KR}(?!{_MICROSOFT_THINGS_JA})",
            ),
            re.IGNORECASE,
        ),
        _has("microsoft", "マイクロソフト"),
    ),
    _Pattern(
        re.compile(
            _any(
                rf"{_TWINS_BEFORE}{_L}gemini{_R}(?!\.[a-z]{{2}}){_TWINS_AFTER}",
                rf"{_KL}ジェミ(?:ニ|ナイ){_KR}(?!計画|宇宙|天文台|\s?\d*号|座)",
            ),
            re.IGNORECASE,
        ),
        _has("gemini", "ジェミニ", "ジェミナイ"),
    ),
    _Pattern(
        re.compile(
            _any(
                rf"(?<!\bto )(?<!\bjust ){_L}(?<!\.)google{_R}"
                rf"(?!\.[a-z]|(?:['’]s)?\s+{_GOOGLE_THINGS}{_R}|{_GOOGLE_THINGS_JA})",
                rf"{_L}deep\s?mind{_R}",
                rf"{_KL}グーグル{_KR}(?!{_GOOGLE_THINGS_JA})",
                rf"{_KL}ディープ・?マインド{_KR}",
            ),
            re.IGNORECASE,
        ),
        _has("google", "mind", "グーグル", "マインド"),
    ),
    _Pattern(
        re.compile(rf"{_L}smol[\s\-]?lm\d?{_R}|{_KL}スモールLM", re.IGNORECASE),
        _has("smol", "スモール"),
    ),
    _Pattern(
        re.compile(
            rf"{_L}(?<!\.)hugging\s?face{_R}(?!\.[a-z]|(?:['’]s)?\s+{_HUB_THINGS}{_R})"
            rf"|{_KL}ハギング・?フェイス{_KR}",
            re.IGNORECASE,
        ),
        _has("hugging", "ハギング"),
    ),
)
_SHORTEST_LABEL: Final = 3
_LABEL_END: Final = re.compile("[·,、(（:/]")
_WORD: Final = re.compile("[A-Za-z]{3,}")
_GAPS: Final = re.compile(r"[\s\-‐–_]+")
_INVISIBLE: Final = frozenset("\u00ad\u200b\u200c\u200d\u2060\ufeff")
_PAIR: Final = re.compile("(?s:.)[\uff9e\uff9f\u3099\u309a]")
# To `re` these are an i, an s and a k when letter case is passed over; `lower` sees some otherwise.
_STRANGE: Final = re.compile("[\u0130\u0131\u017f\u212a]")


def names_anyone(text: str, labels: Iterable[str] = ()) -> bool:
    """Whether a text names a contestant.

    Full-width and half-width letters count as the usual ones, and characters that cannot be seen
    are passed over.

    Args:
        text: a prompt or an answer, of any length.
        labels: what the registry calls its contestants. A label counts as a whole, without what
            follows a `·`, a comma or a bracket, and by its first word where something says that
            this is its name. Labels below three characters are passed over.
    """
    plain = _usual(text)
    return any(pattern.search.search(plain) for pattern in _candidates(plain, labels))


def _candidates(plain: str, labels: Iterable[str]) -> list[_Pattern]:
    """The patterns that may find something in a text in the usual letters, in their order."""
    patterns = (*_PATTERNS, *_label_patterns(tuple(labels)))
    if not plain.isascii() and _STRANGE.search(plain):
        return list(patterns)
    lower = plain.lower()
    return [pattern for pattern in patterns if pattern.may(lower)]


@lru_cache(maxsize=64)
def _label_patterns(labels: tuple[str, ...]) -> tuple[_Pattern, ...]:
    """Patterns of the labels that no other pattern knows; the same labels come with every text."""
    made = []
    for label in labels:
        plain = _usual(label).strip()
        base = _LABEL_END.split(plain, maxsplit=1)[0].strip()
        known = any(pattern.search.fullmatch(base) for pattern in _PATTERNS)
        names = {plain, base} - ({base} if known else set())
        names = {name for name in names if len(name) >= _SHORTEST_LABEL}
        ways = [_spelled(name) for name in sorted(names, key=len, reverse=True)]
        hints = [_first_part(name) for name in names]
        word = _WORD.match(base)
        if word and not known:
            ways += _self_named(re.escape(word[0]) + r"[\d.]*")
            hints.append(word[0].lower())
        if ways:
            search = re.compile(_any(*ways), re.IGNORECASE)
            made.append(_Pattern(search, _has(*hints)))
    return tuple(made)


def _first_part(name: str) -> str:
    """What every spelling of a label begins with, in lower case, up to its first strange letter.

    Letters beyond ASCII have cases that `re` and `lower` do not agree on.
    """
    part = next((part for part in _parts(name)), "")
    kept = takewhile(lambda char: char.isascii() or char.lower() == char == char.upper(), part)
    return "".join(kept).lower()


def _parts(name: str) -> list[str]:
    return [part for part in _GAPS.split(name) if part]


def _spelled(name: str) -> str:
    """A label with any of the ways to write its gaps, and nothing that continues it."""
    return _L + r"[\s\-‐–_]?".join(map(re.escape, _parts(name))) + _R


class _Usual(dict[int, str]):
    """What each character is in the usual letters, found when it is first met."""

    def __missing__(self, code: int) -> str:
        char = chr(code)
        usual = "".join(c for c in unicodedata.normalize("NFKC", char) if c not in _INVISIBLE)
        self[code] = usual
        return usual


_USUAL: Final = _Usual()


def _usual(text: str) -> str:
    """A text in the usual letters (NFKC), without characters that cannot be seen."""
    if text.isascii():
        return text
    # A half-width kana and its voicing mark are one character: ｼﾞ is ジ.
    joined = _PAIR.sub(lambda pair: unicodedata.normalize("NFKC", pair[0]), text)
    return joined.translate(_USUAL)
