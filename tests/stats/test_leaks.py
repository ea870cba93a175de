"""Which texts name a contestant: a table of both kinds."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.stats import leaks
from arena.stats.leaks import names_anyone

LABELS = (
    "Phi-4-mini",
    "Phi-4-mini · step by step",
    "Gemini",
    "SmolLM2-135M",
    "Qwen3 4B",
    "Phi-4-mini, terse",
    "みやび",
)

NAMED = (
    "I am Phi, a language model.",
    "I'm Phi. How can I help?",
    "I’m **Phi**, and I can help.",
    "Hello! My name is phi.",
    "Phi is an AI that answers.",
    "Phi, a small language model, wrote this.",
    "as Phi-4-mini I cannot browse",
    "Phi-3.5 was smaller",
    "Phi 4 can do that",
    "phi‑4 is small",
    "try phi3-mini",
    "ollama run phi4-mini",
    "the Phi family of models",
    "the Phi language model",
    "Ｐｈｉ－４ です",
    "私はPhiです。",
    "私の名前はPhiです。",
    "Phiと申します。",
    "PhiというAIです。",
    "私は「ファイ」と申します。",
    "わたしはファイです。",
    "ファイ・フォーがお答えします",
    "ファイ4の回答",
    "I was made by Microsoft.",
    "MICROSOFT's model",
    "Microsoft Research trained me",
    "私はMicrosoftが開発したAIです",
    "マイクロソフトによって訓練されました",
    "ﾏｲｸﾛｿﾌﾄのAIです",
    "I am Gemini.",
    "As Gemini I can help with that.",
    "gemini-pro-latest",
    "Gemini 2.0 Pro",
    "Ge\u200bmini wrote this",
    "私はGeminiです",
    "ジェミニと申します",
    "ｼﾞｪﾐﾆと申します",
    "ジェミナイです",
    "As a large language model trained by Google, I cannot.",
    "as a large language model, trained by google",
    "I was built at Google DeepMind",
    "DeepMind made me",
    "Google's newest model",
    "Googleが開発しました",
    "私はグーグルのAIです",
    "ディープマインド製",
    "I am SmolLM, trained by people",
    "SmolLM2-135M-Instruct",
    "smol-lm",
    "trained by Hugging Face",
    "HuggingFaceのモデル",
    "ハギングフェイスが作りました",
    "This is Qwen3 4B speaking",
    "qwen3-4b",
    "I am Qwen, made in China",
    "私はQwenです",
    "みやびがお答えします",
)

NOT_NAMED = (
    "",
    "phi",
    "Let phi = (1 + sqrt(5)) / 2, the golden ratio.",
    "The golden ratio is called phi.",
    "This is Phi, the golden ratio.",
    "phi-1 = 1/phi, so phi - 1 is its inverse",
    "phi-3 = -1.382",
    "x = phi-4 * y",
    "\\phi_4 and \\Phi_3 and \\phi 4",
    "\\Phi 4",
    "Euler's phi(4) = 2",
    "Phi 4 = 2 in his notation",
    "φ(4) = 2, Φ4",
    "the phi-4 theory has one coupling",
    "phi^4 theory",
    "joint angles phi1, phi2, phi3, phi4",
    "phi 4 times",
    "Phi43",
    "Philadelphia in 4 days",
    "I am Philip.",
    "I'm Phil 4 you",
    "Memphis, Delphi-4",
    "sapphire, graphite, Sophia",
    "ファイルを4つ開く",
    "ファイル4",
    "ファイナル",
    "サファイア4",
    "ファイ関数の値",
    "黄金比ファイは約1.618です",
    "私はファイルです",
    "私はファイターです",
    "マイクロソフトエクセルで開く",
    "Open it in Microsoft Excel.",
    "Microsoft's SQL Server",
    "Install Microsoft Visual Studio",
    "www.microsoft.com",
    "a googol is 10^100",
    "googolplex",
    "I googled it",
    "just google it",
    "You have to google for it",
    "Open Google Maps",
    "Google's search engine",
    "Google検索で調べる",
    "グーグルマップを開く",
    "グーグルで検索する",
    "ググってください",
    "https://www.google.com/search?q=phi",
    "import google.generativeai",
    "the Geminids are meteors",
    "Gemini (May 21 to June 20)",
    "the Gemini constellation",
    "the constellation Gemini is in the north",
    "Project Gemini flew in 1965",
    "Gemini VIII docked first",
    "the Gemini Observatory",
    "ジェミニ計画は宇宙開発の計画です",
    "ジェミニ天文台",
    "双子座",
    "Install Hugging Face Transformers.",
    "from huggingface_hub import hf_hub_download",
    "https://huggingface.co/models",
    "a smol cat",
    "smolder, small LM",
    "Qwertz keyboard, 4B pencil",
    "雅びな人",
    "A micro soft cushion",
    "Let me think step by step.",
    "terse",
)


@pytest.mark.parametrize("text", NAMED)
def test_a_name_is_found(text: str) -> None:
    """Each of these texts names a contestant."""
    assert names_anyone(text, LABELS)


@pytest.mark.parametrize("text", NOT_NAMED)
def test_what_only_looks_like_a_name_is_none(text: str) -> None:
    """Mathematics with phi, or a file in Japanese, names no contestant."""
    assert not names_anyone(text, LABELS)


def test_a_label_is_a_text_and_no_pattern() -> None:
    """Brackets, bars and backslashes of a label stand for themselves; short labels are ignored."""
    for label in ("C++ (fast) [4.*", "a|b|", "\\", "", "  ", "ab"):
        assert not names_anyone("nothing here", (label,))
    assert names_anyone("I like C++ best", ("C++ (fast) [4.*",))
    assert not names_anyone("abs", ("ab",))


def test_variants_of_a_label_are_its_names() -> None:
    """An answer knows its model's name, never what the registry adds to it."""
    for label in ("Qwen3 4B · step by step", "Qwen3 4B, terse", "Qwen3 4B (int4)"):
        assert names_anyone("Here is Qwen3-4B.", (label,))


@given(st.sampled_from(NAMED), st.sampled_from(NOT_NAMED))
def test_a_name_is_found_beside_anything(text: str, other: str) -> None:
    """A harmless sentence before or after a name does not hide it."""
    for whole in (f"{other}\n\n{text}", f"{text}\n\n{other}"):
        assert names_anyone(whole, LABELS)


def every_pattern(text: str, labels: tuple[str, ...]) -> bool:
    """What the search finds that looks for everything everywhere, however long it takes."""
    patterns = (*leaks._PATTERNS, *leaks._label_patterns(labels))
    return any(pattern.search.search(usual(text)) for pattern in patterns)


def usual(text: str) -> str:
    """Each character in its NFKC form by itself, or together with the voicing mark after it."""
    out, at = "", 0
    while at < len(text):
        size = 2 if text[at + 1 : at + 2] in tuple("\uff9e\uff9f\u3099\u309a") else 1
        out += unicodedata.normalize("NFKC", text[at : at + size])
        at += size
    return "".join(char for char in out if char not in leaks._INVISIBLE)


PIECES = (
    *NAMED, *NOT_NAMED, "phi", "PHI", "Phi", "phİ", "phı", "ｐｈｉ",
    "silica", "-", "‐", " ", "\u3000", "4", "４", "mini", "Mıcrosoft", "ﬁ", "ge", "mini",
    "GEMİNİ", "geminı", "deep", "mind", "Mind", "ſmollm", "smol", "lm", "hugging", "Face",
    "ハギング", "ﾊｷﾞﾝｸﾞ", "フェイス", "ファイ", "ﾌｧｲ", "ル", "スモール", "LM", "Googlе",
    "goo\u200bgle", "グーグル", "ク\u3099ーク\u3099ル", "マイン", "ド", "ジェミ", "ナイ", "qwen",
    "Qwen", "ＱＷＥＮ", "I am ", "I\nam ", "call me ", "私は「", "です", "と申します", "a", "_",
    "\\", "é", "e\u0301", "\u00ad", "ß", "\u212a", "K", "みや", "び", "Élan", "élan", "ΣΑΣ",
    "σας", "σασ",
)  # fmt: skip
STRANGE_LABELS = (*LABELS, "Élan 3", "ΣΑΣ", "Kiwi-İ 2", "strauß 7b", "Skunk", "—", "モデル７")


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=3)), max_size=7).map("".join),
    st.lists(st.sampled_from(STRANGE_LABELS), max_size=3).map(tuple),
)
def test_quick_search_finds_what_the_slow_one_does(text: str, labels: tuple[str, ...]) -> None:
    """The quick look before each search leaves out only searches that find nothing."""
    assert names_anyone(text, labels) == every_pattern(text, labels)


RARE = ("phisilica", "gemİnİ", "geMıNı", "mIcrosofT", "skunK here", "ﬁ Kıwi-i 2")


@pytest.mark.parametrize("text", [*NAMED, *RARE])
def test_names_in_any_letters_pass_the_quick_look(text: str) -> None:
    """The same in capitals, in small letters, and inside a sentence."""
    for shape in (text, text.upper(), text.lower(), text.swapcase(), f"ü{text}。", f"x {text} x"):
        assert names_anyone(shape, STRANGE_LABELS) == every_pattern(shape, STRANGE_LABELS), shape


@given(st.text())
def test_usual_letters_are_those_of_nfkc(text: str) -> None:
    """A whole text is made usual like each of its characters."""
    assert leaks._usual(text) == usual(text)


def test_every_character_is_made_usual_the_same_way() -> None:
    """Every character, alone or before a voicing mark."""
    for begin in range(0, 0x30000, 4096):
        chars = [chr(code) for code in range(begin, begin + 4096)]
        for text in ("".join(chars), "\uff9e".join(chars), "\u309a".join(chars)):
            assert leaks._usual(text) == usual(text), hex(begin)


def test_a_text_that_names_nobody_is_searched_by_no_pattern() -> None:
    """The quick look alone answers for most texts."""
    text = "The quick brown fox jumps over philosophy. 速い茶色の狐がファイルを跳び越える。"
    assert leaks._candidates(leaks._usual(text), ()) == []
    assert leaks._candidates("The quick brown fox", LABELS) == []
    assert len(leaks._candidates(leaks._usual(f"{text} phi"), ())) == 2


@pytest.mark.parametrize("piece", ["I am ", "Phi ", "ファイ", "Google ", "a" * 50, "私は「「"])
def test_long_texts_have_an_end(piece: str) -> None:
    """No pattern looks back and forth, for which 100,000 characters would take hours."""
    text = piece * (100_000 // len(piece))
    assert names_anyone(text, LABELS) == every_pattern(text[:5000], LABELS)
