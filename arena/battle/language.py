"""Which language a prompt is in."""

from __future__ import annotations

import re

_KANA = re.compile(r"[\u3041-\u309f\u30a0-\u30ff\uff66-\uff9f]")
_IDEOGRAPH = re.compile(r"[\u3400-\u9fff]")
_LATIN = re.compile(r"[A-Za-z]")


def prompt_language(text: str, page_language: str) -> str:
    """`ja`, `en` or `other`, judged by script.

    Kana decides for Japanese. Ideographs alone may be Chinese, so they count as Japanese only on
    a Japanese page. Latin letters count as English only where no other script is present.
    """
    if _KANA.search(text):
        return "ja"
    if _IDEOGRAPH.search(text):
        return "ja" if page_language == "ja" else "other"
    if any(ch.isalpha() and not _LATIN.match(ch) and ord(ch) > 0x24F for ch in text):
        return "other"
    return "en" if _LATIN.search(text) else "other"
