"""Which texts name a contestant: a table of both kinds."""

from __future__ import annotations

import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from arena.stats import leaks
from arena.stats.leaks import Leak, LeakKind, leaks_in, names_anyone

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
    ("I am Phi, a language model.", LeakKind.PHI),
    ("I'm Phi. How can I help?", LeakKind.PHI),
    ("I’m **Phi**, and I can help.", LeakKind.PHI),
    ("Hello! My name is phi.", LeakKind.PHI),
    ("Phi is an AI that answers.", LeakKind.PHI),
    ("Phi, a small language model, wrote this.", LeakKind.PHI),
    ("as Phi-4-mini I cannot browse", LeakKind.PHI),
    ("Phi-3.5 was smaller", LeakKind.PHI),
    ("Phi 4 can do that", LeakKind.PHI),
    ("phi‑4 is small", LeakKind.PHI),
    ("try phi3-mini", LeakKind.PHI),
    ("ollama run phi4-mini", LeakKind.PHI),
    ("the Phi family of models", LeakKind.PHI),
    ("the Phi language model", LeakKind.PHI),
    ("Ｐｈｉ－４ です", LeakKind.PHI),
    ("私はPhiです。", LeakKind.PHI),
    ("私の名前はPhiです。", LeakKind.PHI),
    ("Phiと申します。", LeakKind.PHI),
    ("PhiというAIです。", LeakKind.PHI),
    ("私は「ファイ」と申します。", LeakKind.PHI),
    ("わたしはファイです。", LeakKind.PHI),
    ("ファイ・フォーがお答えします", LeakKind.PHI),
    ("ファイ4の回答", LeakKind.PHI),
    ("I was made by Microsoft.", LeakKind.MICROSOFT),
    ("MICROSOFT's model", LeakKind.MICROSOFT),
    ("Microsoft Research trained me", LeakKind.MICROSOFT),
    ("私はMicrosoftが開発したAIです", LeakKind.MICROSOFT),
    ("マイクロソフトによって訓練されました", LeakKind.MICROSOFT),
    ("ﾏｲｸﾛｿﾌﾄのAIです", LeakKind.MICROSOFT),
    ("I am Gemini.", LeakKind.GEMINI),
    ("As Gemini I can help with that.", LeakKind.GEMINI),
    ("gemini-pro-latest", LeakKind.GEMINI),
    ("Gemini 2.0 Pro", LeakKind.GEMINI),
    ("Ge\u200bmini wrote this", LeakKind.GEMINI),
    ("私はGeminiです", LeakKind.GEMINI),
    ("ジェミニと申します", LeakKind.GEMINI),
    ("ｼﾞｪﾐﾆと申します", LeakKind.GEMINI),
    ("ジェミナイです", LeakKind.GEMINI),
    ("As a large language model trained by Google, I cannot.", LeakKind.GOOGLE),
    ("as a large language model, trained by google", LeakKind.GOOGLE),
    ("I was built at Google DeepMind", LeakKind.GOOGLE),
    ("DeepMind made me", LeakKind.GOOGLE),
    ("Google's newest model", LeakKind.GOOGLE),
    ("Googleが開発しました", LeakKind.GOOGLE),
    ("私はグーグルのAIです", LeakKind.GOOGLE),
    ("ディープマインド製", LeakKind.GOOGLE),
    ("I am SmolLM, trained by people", LeakKind.SMOLLM),
    ("SmolLM2-135M-Instruct", LeakKind.SMOLLM),
    ("smol-lm", LeakKind.SMOLLM),
    ("trained by Hugging Face", LeakKind.HUGGING_FACE),
    ("HuggingFaceのモデル", LeakKind.HUGGING_FACE),
    ("ハギングフェイスが作りました", LeakKind.HUGGING_FACE),
    ("This is Qwen3 4B speaking", LeakKind.LABEL),
    ("qwen3-4b", LeakKind.LABEL),
    ("I am Qwen, made in China", LeakKind.LABEL),
    ("私はQwenです", LeakKind.LABEL),
    ("みやびがお答えします", LeakKind.LABEL),
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


@pytest.mark.parametrize(("text", "kind"), NAMED)
def test_a_name_is_found(text: str, kind: LeakKind) -> None:
    """A missed name counts a vote as blind that was not."""
    assert kind in [leak.kind for leak in leaks_in(text, LABELS)], text


@pytest.mark.parametrize("text", NOT_NAMED)
def test_what_only_looks_like_a_name_is_none(text: str) -> None:
    """Mathematics with phi, or a file in Japanese, would throw good votes away."""
    assert leaks_in(text, LABELS) == ()


def test_places_are_those_of_the_text_as_it_came() -> None:
    """Places in a normalised text point a reader beside the name."""
    text = "①私はＧｅｍｉｎｉ、ｼﾞｪﾐﾆです。㌔ Goo\u00adgle."
    found = leaks_in(text)
    assert [text[slice(*leak.span)] for leak in found] == ["Ｇｅｍｉｎｉ", "ｼﾞｪﾐﾆ", "Goo\u00adgle"]


def test_one_place_is_one_leak() -> None:
    """A name that two patterns know would be counted twice."""
    assert leaks_in("Phi-4-mini", LABELS) == (Leak(LeakKind.PHI, (0, 10)),)
    assert [leak.kind for leak in leaks_in("SmolLM2-135M", LABELS)] == [LeakKind.SMOLLM]
    kinds = [leak.kind for leak in leaks_in("Microsoft's Phi-4 or Google's Gemini?", LABELS)]
    assert kinds == [LeakKind.MICROSOFT, LeakKind.PHI, LeakKind.GOOGLE, LeakKind.GEMINI]


def test_a_label_is_a_text_and_no_pattern() -> None:
    """A label with a bracket would be a broken pattern, and stop the arena at its first vote."""
    for label in ("C++ (fast) [4.*", "a|b|", "\\", "", "  ", "ab"):
        assert leaks_in("nothing here", (label,)) == ()
    assert len(leaks_in("I like C++ best", ("C++ (fast) [4.*",))) == 1
    assert leaks_in("abs", ("ab",)) == ()


def test_variants_of_a_label_are_its_names() -> None:
    """An answer knows its model's name, never what the registry adds to it."""
    for label in ("Qwen3 4B · step by step", "Qwen3 4B, terse", "Qwen3 4B (int4)"):
        assert [leak.kind for leak in leaks_in("Here is Qwen3-4B.", (label,))] == [LeakKind.LABEL]


@given(st.text(max_size=200))
def test_any_text_has_places_within_it_and_apart(text: str) -> None:
    """A place outside the text, or two in one, breaks whoever marks them."""
    end = 0
    for leak in leaks_in(text + "Gemini" + text, LABELS):
        assert end <= leak.span[0] < leak.span[1] <= 2 * len(text) + 6
        end = leak.span[1]


@given(st.sampled_from(NAMED), st.sampled_from(NOT_NAMED))
def test_a_name_is_found_beside_anything(named: tuple[str, LeakKind], other: str) -> None:
    """A harmless sentence before or after a name must not hide it."""
    text, kind = named
    for whole in (f"{other}\n\n{text}", f"{text}\n\n{other}"):
        assert kind in [leak.kind for leak in leaks_in(whole, LABELS)]


def every_pattern(text: str, labels: tuple[str, ...]) -> tuple[Leak, ...]:
    """What the search finds that looks for everything everywhere, however long it takes."""
    plain, places = leaks._plain(text)
    found: list[Leak] = []
    taken: set[int] = set()
    for pattern in (*leaks._PATTERNS, *leaks._label_patterns(labels)):
        for match in pattern.search.finditer(plain):
            begin, end = places[match.start()], places[match.end()]
            end = max(end, places[match.end() - 1] + 1)
            if not taken & set(range(begin, end)):
                taken |= set(range(begin, end))
                found.append(Leak(pattern.kind, (begin, end)))
    return tuple(sorted(found, key=lambda leak: leak.span))


PIECES = (
    *(text for text, _ in NAMED), *NOT_NAMED, "phi", "PHI", "Phi", "phİ", "phı", "ｐｈｉ",
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
    """A glance that is too strict makes a vote blind that was not, and nobody would see it."""
    expected = every_pattern(text, labels)
    assert leaks_in(text, labels) == expected
    assert names_anyone(text, labels) == bool(expected)


RARE = ("phisilica", "gemİnİ", "geMıNı", "mIcrosofT", "skunK here", "ﬁ Kıwi-i 2")


@pytest.mark.parametrize("text", [*(text for text, _ in NAMED), *RARE])
def test_names_in_any_letters_pass_the_glance(text: str) -> None:
    """The text in capitals, or inside a sentence, took another way than the one that was tried."""
    shapes = (text, text.upper(), text.lower(), text.swapcase(), f"ü{text}。", f"x {text} x")
    for shape in shapes:
        expected = every_pattern(shape, STRANGE_LABELS)
        assert leaks_in(shape, STRANGE_LABELS) == expected, shape


@given(st.text())
def test_usual_letters_are_the_same_with_and_without_places(text: str) -> None:
    """One of the two ways left out a mark, so that a name was seen by one of them alone."""
    assert leaks._usual(text) == leaks._plain(text)[0]


def test_every_character_is_made_usual_the_same_way() -> None:
    """A rare letter, alone or before a voicing mark, was written in two ways."""
    for begin in range(0, 0x30000, 4096):
        chars = [chr(code) for code in range(begin, begin + 4096)]
        for text in ("".join(chars), "\uff9e".join(chars), "\u309a".join(chars)):
            assert leaks._usual(text) == leaks._plain(text)[0], hex(begin)


def test_a_text_that_names_nobody_is_searched_by_no_pattern() -> None:
    """A long answer that names nobody took milliseconds, and a store of them minutes."""
    text = "The quick brown fox jumps over philosophy. 速い茶色の狐がファイルを跳び越える。"
    assert leaks._candidates(leaks._usual(text), ()) == []
    assert leaks._candidates("The quick brown fox", LABELS) == []
    assert len(leaks._candidates(leaks._usual(f"{text} phi"), ())) == 2


@pytest.mark.parametrize("piece", ["I am ", "Phi ", "ファイ", "Google ", "a" * 50, "私は「「"])
def test_long_texts_are_quick(piece: str) -> None:
    """A pattern that looks back and forth makes one long answer stop the whole arena."""
    text = piece * (100_000 // len(piece))
    began = time.process_time()
    leaks_in(text, LABELS)
    assert time.process_time() - began < 2.0
