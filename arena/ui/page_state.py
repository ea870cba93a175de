"""What the server remembers of one open page. It never reaches the browser."""

from __future__ import annotations

import re
import secrets
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from arena.battle.session import Snapshot
from arena.domain import GenerationParams, Mode, Winner, clean
from arena.presets import Preset
from arena.ui.feedback_view import Feedback
from arena.ui.markdown import GuardedTexts


@dataclass(frozen=True, slots=True)
class Account:
    """The account that signed in.

    Attributes:
        id: the provider's lasting id; a name can change hands.
        name: for the page alone; it is stored nowhere.
    """

    id: str
    name: str


_RANDOM_ID = re.compile(r"[0-9a-f]{32}")
_SAME_TASK = 0.5  # the least share of both texts together that a preset and its version share
_LONGEST_VERSION = 10  # times the preset's length; what is longer shares too little


class PageState:
    """One tab. A plain class: Gradio would put a dataclass into the page's config.

    Attributes:
        mode: of the empty page; a battle has its own.
        opened: the page has said who it is; after a restart the server knows no open page.
        visitor: the browser's random id, kept in its local storage; the same over its tabs.
        account: the one that signed in, else None; signing in or out reloads the page.
        preset: the example that was put into the prompt box and not sent yet.
        played: the example of the running battle.
        given: ids of the examples that were put into the prompt box, the longest ago first.
        feedback: what the voter has added to the battle.
        erasable: battles of which the visitor was asked whether to delete their texts.
        shared: the battle of the link that the page was opened with; its vote is `vote`.
        unfinished: how many battles of the visitor waited for a vote when they were last counted.
        waiting: a prompt waits for a model to load, or for a slot.
        shown_chips: what the header last said, so that a tick without a change sends nothing.
        saw_leaderboard: it was opened, so another language must reach it.
        shown_cards: as `shown_chips`, for the models' cards.
        guarded: the battle's texts, made safe to show.
    """

    def __init__(self) -> None:
        self.language = "ja"
        self.mode = Mode.BLIND
        self.opened = False
        self.visitor = ""
        self.account: Account | None = None
        self.battle_id: str | None = None
        self.vote: Winner | None = None
        self.preset: Preset | None = None
        self.played: Preset | None = None
        self.given: list[str] = []
        self.feedback = Feedback()
        self.erasable: tuple[str, ...] = ()
        self.shared: Snapshot | None = None
        self.unfinished = 0
        self.waiting = False
        self.shown_chips = ""
        self.saw_leaderboard = False
        self.shown_cards = ""
        self.guarded = GuardedTexts()

    def identity(self) -> str:
        """The voter's id: the account's, or the browser's, which is drawn if there is none.

        An account's has a prefix that no browser's id can have.
        """
        if self.account is not None:
            return f"account:{self.account.id}"
        self.visitor = self.visitor or secrets.token_hex(16)
        return self.visitor

    def give(self, preset: Preset) -> None:
        """An example is put into the prompt box."""
        self.preset = preset
        self.given = [*(one for one in self.given if one != preset.id), preset.id]

    def gave_up(self) -> bool:
        """Whether Stop has ended the wait. A call, since mypy takes an attribute for unchanged."""
        return not self.waiting

    def forget_battle(self) -> None:
        """Back to an empty page."""
        self.battle_id = None
        self.vote = None
        self.played = None
        self.feedback = Feedback()
        self.shared = None


def random_id(value: object) -> str | None:
    """A visitor's or a battle's id as the browser sent it; None if it has not that form."""
    return value if isinstance(value, str) and _RANDOM_ID.fullmatch(value) else None


def account_of(profile: Mapping[str, object] | None) -> Account | None:
    """The account of an OpenID profile; None without one."""
    if profile is None or not profile.get("sub"):
        return None
    return Account(str(profile["sub"]), clean(str(profile.get("preferred_username") or "")))


def preset_behind(text: str, preset: Preset | None) -> Preset | None:
    """The example that a text still is a version of; None when it was replaced by another task.

    Judged by the pairs of neighbouring letters that both have, which takes linear time.
    """
    if preset is None or len(text) > _LONGEST_VERSION * len(preset.text):
        return None
    old, new = (Counter(pairwise(part)) for part in (preset.text, text.strip()))
    kept = (old & new).total()
    return preset if 2 * kept >= _SAME_TASK * (old.total() + new.total()) else None


class SeedError(ValueError):
    """The seed is no number that a seed can be."""


def params_from(
    temperature: object, top_p: object, max_new_tokens: object, seed: object
) -> GenerationParams:
    """The generation settings as the page sent them.

    Raises:
        SeedError: the seed is no whole number, or out of range.
        ValueError: another one is no number, or out of range.
    """
    wanted = _seed_from(seed)
    try:
        return GenerationParams(
            temperature=float(str(temperature)),
            top_p=float(str(top_p)),
            max_new_tokens=int(float(str(max_new_tokens))),
            seed=wanted,
        )
    except OverflowError as error:
        raise ValueError(str(error)) from None


def _seed_from(seed: object) -> int | None:
    text = "" if seed is None else str(seed).strip()
    if not text:
        return None
    try:
        return GenerationParams(seed=int(text)).seed
    except ValueError as error:
        raise SeedError(str(error)) from None
