"""An engine that cut its prompt is noticed; whole prompts are never called cut."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from arena.stats.prompt_length import SHORTEST, prompt_cut

ROOT = Path(__file__).parents[2]
ENGLISH = "".join(path.read_text("utf-8") for path in sorted((ROOT / "docs").glob("*.md")))
PROSE = "\n".join(line for line in ENGLISH.splitlines() if line[:1].isalpha())
CODE = "".join(path.read_text("utf-8") for path in sorted((ROOT / "arena/battle").glob("*.py")))
JAPANESE = "".join(
    line.partition("=")[2]
    for name in ("ja", "errors-ja")
    for line in (ROOT / f"arena/ui/texts/{name}.toml").read_text("utf-8").splitlines()
) + ("いつもお世話になっております。ありがとうございます。コンピューターのインターネット。" * 40)

KANA_AND_KANJI = "".join(re.findall("[\u3001-\u30ff\u3400-\u9fff]", JAPANESE))


def fewest_tokens(text: str) -> int:
    """Of a tokenizer that is better than any real one.

    A word is one token, with all signs before it; six characters of Japanese are one.
    """
    words = re.findall(r"[A-Za-z]+(?:['’][A-Za-z]+)*|\d+", text)
    japanese = re.findall(r"[\u3040-\u30ff\u3400-\u9fff]{1,6}", text)
    return len(words) + len(japanese)


def test_whole_prompts_are_never_called_cut() -> None:
    """A thousand prompts, Japanese, English, code and mixtures, of any length."""
    rng = random.Random(11)
    for _ in range(1000):
        parts = []
        for _ in range(rng.choice([1, 1, 2, 6])):
            source = rng.choice([ENGLISH, CODE, JAPANESE])
            begin, size = rng.randrange(len(source)), rng.choice([20, 500, 3000, 20_000])
            parts.append(source[begin : begin + size])
        whole = sum(fewest_tokens(part) for part in parts)
        for tokens in (whole, whole + 40, 2 * whole):
            if (tokens + 1) % 1024 > 1:  # a chance of one in 512, which real counts have, too
                assert not prompt_cut(parts, tokens)


@pytest.mark.parametrize(("tokens", "kept"), [(7200, 4096), (7200, 4095), (4000, 2048)])
@pytest.mark.parametrize(("source", "per_character"), [(PROSE, 0.25), (KANA_AND_KANJI, 0.9)])
def test_a_context_that_was_filled_is_noticed(
    source: str, per_character: float, tokens: int, kept: int
) -> None:
    """As Ollama does it: it reads its own limit's number of tokens, and says so."""
    text = (source * 5)[: int(tokens / per_character)]
    assert prompt_cut([text[:100], text[100:]], kept)
    assert not prompt_cut([text], tokens)


def test_most_of_it_missing_is_noticed_at_any_number() -> None:
    """Fewer tokens than a text can have."""
    words = "the cat sat on a mat " * 1000
    assert prompt_cut([words], 3000)
    assert not prompt_cut([words], 6000)
    assert prompt_cut(["日本国憲法は、日本の最高法規である。" * 500], 1000)


def test_no_report_and_short_prompts_say_nothing() -> None:
    """Some engines report no number, or 0; what is short fits."""
    words = "the cat sat on a mat " * 1000
    assert not prompt_cut([words], None)
    assert not prompt_cut([words], 0)
    assert not prompt_cut(["word " * SHORTEST], 1)
    assert not prompt_cut([], 5)
