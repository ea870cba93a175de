"""Takes what may lead to a person out of texts. Pure.

What is looked for: e-mail addresses, Japanese, North American and international telephone numbers,
IPv4 and IPv6 addresses, credit card numbers (whose check digit is right), and the user and password
of a URL. What is not: names, postal addresses, account numbers, keys, and anything that is spelt
out or split on purpose. A version such as 1.2.3.4 is taken for an address. Where a place may be
either, it is masked.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from typing import Final

from arena.domain import Answer, Battle, Conversation, Exchange, Exclusion, Side, Vote

# Bounds on every repetition and no start inside a run: a visitor's text must not cost minutes.
_EMAIL: Final = re.compile(
    r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9._%+-]{1,64}[@＠][A-Za-z0-9-]{1,63}(?:[.．][A-Za-z0-9-]{1,63}){1,8}"
)
_CREDENTIALS: Final = re.compile(
    r"(?<![A-Za-z0-9])([A-Za-z][A-Za-z0-9+.-]{1,20}://)[^\s/@]{1,256}@"
)
_CARD: Final = re.compile(r"(?<![\d.-])\d(?:[ \-－‐]?\d){12,18}(?![\d-])")
_V4: Final = re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?!\d|\.\d)", re.ASCII)
_V6: Final = re.compile(r"(?<![A-Za-z0-9_:.])[0-9A-Fa-f:]{2,39}(?![A-Za-z0-9_:])")
_GAP: Final = r"[ \-－‐–−.．\u3000]"
_PHONE: Final = re.compile(
    # +81 90-1234-5678, with what may stand between.
    rf"[+＋]\d{{1,3}}(?:{_GAP}{{0,2}}[(（]?\d{{1,4}}[)）]?){{2,5}}(?!\d)"
    # 03-1234-5678, 03(1234)5678, 090 1234 5678
    rf"|(?<![\d.,\-－])[(（]?[0０]\d{{1,4}}(?:{_GAP}|[)）]{_GAP}?|[(（])\d{{1,4}}(?:{_GAP}|[)）])\d{{3,4}}(?![\d-])"
    # 09012345678, 0312345678
    r"|(?<![\d.,\-－])[0０][1-9１-９]\d{8,9}(?![\d.,-])"
    # 555-123-4567, (555) 123-4567, 1-555-123-4567
    r"|(?<![\d.,\-－])(?:1[-. ])?(?:\(\d{3}\) ?|\d{3}[-.])\d{3}[-.]\d{4}(?![\d-])"
)
_PHONE_DIGITS: Final = range(9, 16)


@dataclass(slots=True)
class Masker:
    """Masks texts and counts what it masked.

    Attributes:
        counts: how many places of each kind: `email`, `credentials`, `card`, `ip`, `phone`.
    """

    counts: Counter[str] = field(default_factory=Counter)

    def text(self, text: str) -> str:
        """The text with `[email]` and the like in the place of what was found."""
        text = _CREDENTIALS.sub(self._counted("credentials", r"\1[credentials]@"), text)
        text = _EMAIL.sub(self._counted("email"), text)
        text = _CARD.sub(self._counted("card", sure=_luhn), text)
        text = _V6.sub(self._counted("ip", sure=_personal_v6), text)
        text = _V4.sub(self._counted("ip", sure=_personal), text)
        return _PHONE.sub(self._counted("phone", sure=_long_enough), text)

    def battle(self, battle: Battle) -> Battle:
        """A copy in which all that the visitor and the models wrote is masked."""
        for side in Side:
            battle = battle.with_conversation(side, self._talk(battle.conversation(side)))
        prompt = battle.system_prompt
        return replace(battle, system_prompt=None if prompt is None else self.text(prompt))

    def vote(self, vote: Vote) -> Vote:
        """A copy in which the comment is masked."""
        return vote if vote.comment is None else replace(vote, comment=self.text(vote.comment))

    def exclusion(self, exclusion: Exclusion) -> Exclusion:
        """A copy in which the reason is masked."""
        return replace(exclusion, why=self.text(exclusion.why))

    def _talk(self, conversation: Conversation) -> Conversation:
        return tuple(
            Exchange(
                self.text(turn.prompt),
                None if turn.answer is None else self._answer(turn.answer),
                tuple(self._answer(attempt) for attempt in turn.failed),
            )
            for turn in conversation
        )

    def _answer(self, answer: Answer) -> Answer:
        return replace(answer, text=self.text(answer.text))

    def _counted(
        self, kind: str, put: str | None = None, *, sure: Callable[[str], bool] = bool
    ) -> Callable[[re.Match[str]], str]:
        def masked(match: re.Match[str]) -> str:
            if not sure(match[0]):
                return match[0]
            self.counts[kind] += 1
            return f"[{kind}]" if put is None else match.expand(put)

        return masked


def _luhn(text: str) -> bool:
    """Whether the check digit of a card's number is right (ISO/IEC 7812-1)."""
    digits = [int(char) for char in text if char.isdecimal()]
    doubled = (sum(divmod(2 * digit, 10)) for digit in digits[-2::-2])
    return any(digits) and (sum(digits[-1::-2]) + sum(doubled)) % 10 == 0


def _personal_v6(text: str) -> bool:
    """Whether it is an address: `a::b` is C++, and 12:30:15 a time of day."""
    return any(char.isdigit() for char in text) and text.count(":") > 1 and _personal(text)


def _personal(text: str) -> bool:
    """Whether it may be a person's address; 127.0.0.1 and the like are not."""
    try:
        address = ip_address(text)
    except ValueError:
        return False
    return not (address.is_loopback or address.is_unspecified)


def _long_enough(text: str) -> bool:
    return sum(char.isdecimal() for char in text) in _PHONE_DIGITS
