"""What tests ask of HTML: that every tag is closed, and what a person reads."""

from __future__ import annotations

import re
from html.parser import HTMLParser

VOID = {"br", "img", "hr", "input"}


class Balance(HTMLParser):
    """Finds tags that are closed in the wrong order, and those that nobody closes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.feed(text)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def plain(html: str) -> str:
    """What a person reads."""
    return re.sub(r"\s+", " ", re.sub(r"<[^>]+>", " ", html)).strip()
