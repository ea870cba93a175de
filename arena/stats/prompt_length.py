"""Whether an engine read less of a prompt than it was sent.

Some engines cut a prompt that is longer than their context, and say nothing: Ollama keeps 4,096
tokens, or 2,048. What tells is the number of prompt tokens that they report. Their tokenizers are
not known here, so it is compared with what any known one needs at least.

Measured with the tokenizers of o200k (Phi-4-mini's) and Gemma 3: English prose takes 1.05 to 1.8
tokens a word, code 1.6 to 4; a character of ordinary Japanese 0.6 to 1.1, of polite phrases and
of words in katakana 0.3, of one phrase over and over 0.18; Chinese 0.5.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

FEWEST_PER_WORD: Final = 0.7
FEWEST_PER_CJK: Final = 0.15
"""Tokens that no text has fewer of: a word, and a character of Chinese or Japanese."""
USUAL_PER_WORD: Final = 1.3
USUAL_PER_CJK: Final = 0.7
"""What is usual. It is asked for only where the number looks like the size of a context."""
USUAL_MARGIN: Final = 1.1
CONTEXT_STEP: Final = 1024
"""Contexts are multiples of it; some engines keep one token of them free."""
SHORTEST: Final = 512
"""Tokens; a prompt of fewer fits every context."""

_CJK: Final = re.compile("[\u3001-\u30ff\u3400-\u9fff\uf900-\ufaff\uff01-\uff9f]")
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)*")


def prompt_cut(texts: Iterable[str], prompt_tokens: int | None) -> bool:
    """Whether so few tokens cannot be the whole of these texts.

    Args:
        texts: all that was sent, the turns before included.
        prompt_tokens: as the engine reports it; None and 0 are no report.
    """
    if not prompt_tokens:
        return False
    words = cjk = 0
    for text in texts:
        cjk += len(_CJK.findall(text))
        words += len(_WORD.findall(_CJK.sub(" ", text)))
    fewest = FEWEST_PER_WORD * words + FEWEST_PER_CJK * cjk
    if fewest > max(prompt_tokens, SHORTEST):
        return True
    like_a_context = (prompt_tokens + 1) % CONTEXT_STEP <= 1
    usual = USUAL_PER_WORD * words + USUAL_PER_CJK * cjk
    return like_a_context and usual > USUAL_MARGIN * prompt_tokens
