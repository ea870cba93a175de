"""Runs every pattern of the arena, and what reads people's text, on long nasty texts.

A process of its own, whose CPU time is limited for each step: a step that takes quadratic time
ends the process, and the last line that it has printed says which one that was. What is done with
a tenth of a text in no time is not done with the whole of it.

    python -m tests.pattern_worker
"""

from __future__ import annotations

import importlib
import pkgutil
import re
import re._constants as ops
import re._parser as parser
import signal
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import arena
from arena.domain import clean

ROOT = Path(__file__).parents[1]
CHARS = 100_000
# A linear step takes some milliseconds of CPU time, a quadratic one minutes.
STEP_S = 5.0
# Of a tenth of the text; a quadratic step takes a tenth of a second, at a nanosecond a character.
QUICK_S = 0.002
UNITS = [
    "a", " ", "\t",
    "\n", "1", "0", "-", ".", "+", "(", ")", "\\(", "\\[", "$$", "`", "~~~\n", "*", "**a",
    "_", "<", "<a", "![", "[", "|", "> ", "- ", "1. ", "#", "@", "a@a.", "http://a",
    "//", "::", "ab:", "1.1.",
    "$", "$a", "$x$ ", "$1{", "${}", "$1 ab",
    "+81 ", "(0", "私は", "ファイ", "ｶﾞ", "\u3099", "phi", "Phi ", "I am ", "google ", "gemini ",
    "<|end|>", "<|",
    "context ", "(about: ", "limit: ", "\ud83d", "\u0130", "日", "😀", "\x00", "\r",
]  # fmt: skip


# They read what the owner writes.
OWN = ("arena.env_file", "arena.settings")
# They make text valid; all others get it so.
AT_THE_BORDER = ("clean", "TextGate", "redacted", "check_prompt")


def compiled(value: object, seen: set[int]) -> Iterator[re.Pattern[Any]]:
    """The patterns in a module's variable, also inside of containers and dataclasses."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, re.Pattern):
        yield value
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from compiled(inner, seen)
    elif isinstance(value, list | tuple | set | frozenset):
        for inner in value:
            yield from compiled(inner, seen)
    elif is_dataclass(value) and not isinstance(value, type):
        for field in fields(value):
            yield from compiled(getattr(value, field.name, None), seen)


def patterns() -> list[tuple[str, re.Pattern[str]]]:
    """Every pattern for text in any module of the arena, with its place."""
    found: dict[tuple[str, int], tuple[str, re.Pattern[str]]] = {}
    for info in pkgutil.walk_packages(arena.__path__, "arena."):
        if info.name.endswith("__main__") or ".migrations." in info.name or info.name in OWN:
            continue
        file = ROOT.joinpath(*info.name.split("."))
        file = file / "__init__.py" if info.ispkg else file.with_suffix(".py")
        if "re.compile(" not in file.read_text(encoding="utf-8"):
            continue  # see `test_patterns_are_found`; the others take seconds to import
        module = importlib.import_module(info.name)
        for name, value in vars(module).items():
            for pattern in compiled(value, set()):
                if isinstance(pattern.pattern, str):
                    found[pattern.pattern, pattern.flags] = (f"{info.name}.{name}", pattern)
    return list(found.values())


def example(parsed: Any) -> str:
    """A text that a parsed pattern, more or less, matches."""
    out = ""
    for op, value in parsed:
        if op is ops.LITERAL:
            out += chr(value)
        elif op is ops.NOT_LITERAL or op is ops.ANY:
            out += "x"
        elif op is ops.IN:
            out += member(value)
        elif op is ops.BRANCH:
            out += example(value[1][0])
        elif op is ops.SUBPATTERN:
            out += example(value[-1])
        elif op in (ops.MAX_REPEAT, ops.MIN_REPEAT, ops.POSSESSIVE_REPEAT):
            out += example(value[2]) * max(1, min(value[0], 40))
        elif op is ops.ATOMIC_GROUP:
            out += example(value)
    return out


def member(choices: Any) -> str:
    """A character of a class."""
    for op, value in choices:
        if op is ops.LITERAL:
            return chr(value)
        if op is ops.RANGE:
            return chr(value[0])
        if op is ops.CATEGORY:
            return {ops.CATEGORY_DIGIT: "1", ops.CATEGORY_SPACE: " "}.get(value, "a")
    return "x"


def attacks(pattern: re.Pattern[str]) -> Iterator[str]:
    """Long texts that begin to match again and again, and never end."""
    yield from UNITS
    branches = [parser.parse(pattern.pattern, pattern.flags & ~re.DEBUG)]
    for op, value in branches[0]:
        if op is ops.BRANCH:
            branches += value[1]
    for branch in branches:
        text = example(branch)
        for stop in {len(text) - 1, len(text) * 2 // 3, len(text) // 3}:
            if stop > 0:
                yield text[:stop]


def long_text(unit: str, chars: int = CHARS) -> str:
    """So many characters of it, and one that ends whatever has begun."""
    return (unit * (chars // len(unit) + 1))[:chars] + "\x01"


def readers() -> list[tuple[str, Callable[[str], object]]]:
    """What reads a visitor's or a model's text as a whole."""
    from arena.battle.limits import check_prompt, estimated_tokens
    from arena.battle.request import prompt_language
    from arena.dataset.pii import Masker
    from arena.domain import Category
    from arena.models.base import TextGate, slug_of
    from arena.models.remote.failure import redacted
    from arena.presets import Preset, preset_use
    from arena.settings import Limits
    from arena.stats.leaks import names_anyone
    from arena.stats.loops import LoopDetector
    from arena.store.features import prompt_code
    from arena.ui.markdown import safe_markdown
    from arena.ui.page_state import preset_behind

    roomy = Limits(prompt_chars=10 * CHARS)

    def preset(text: str) -> Preset:
        return Preset("x", "x", Category.MATH, "en", 1, 1, "x", text, "x")

    def matching(text: str) -> object:
        return preset_behind(text, preset(text[: CHARS // 2])), preset_use(preset(text), text)

    return [
        ("safe_markdown", safe_markdown), ("Masker", lambda text: Masker().text(text)),
        ("names_anyone", lambda text: names_anyone(text, ("Phi-4-mini", "Some model 7B (int4)"))),
        ("prompt_language", lambda text: prompt_language(text, "ja")), ("clean", clean),
        ("slug_of", slug_of), ("check_prompt", lambda text: check_prompt(f"x{text}", roomy)),
        ("estimated_tokens", estimated_tokens), ("prompt_code", lambda text: prompt_code([text])),
        ("presets", matching), ("TextGate", lambda text: TextGate().push(text)),
        ("redacted", lambda text: redacted(text, "a", "aa")),
        ("LoopDetector", lambda text: LoopDetector().push(text)),
    ]  # fmt: skip


def step(name: str, reads: Callable[[str], object], unit: str) -> None:
    """One text; the process ends here if it takes too long."""
    sys.stdout.write(f"{name} on {unit[:40]!r}\n")
    sys.stdout.flush()
    signal.setitimer(signal.ITIMER_VIRTUAL, STEP_S)
    began = time.process_time()
    reads(long_text(unit, CHARS // 10))
    if time.process_time() - began > QUICK_S:
        reads(long_text(unit))


def all_matches(pattern: re.Pattern[str]) -> Callable[[str], object]:
    """Finds every one."""
    return lambda text: deque(pattern.finditer(text), maxlen=0)


def main() -> None:
    """Work through all steps."""
    signal.signal(signal.SIGVTALRM, signal.SIG_DFL)
    found = patterns()
    for name, pattern in found:
        for unit in dict.fromkeys(attacks(pattern)):
            step(f"{name}: {pattern.pattern[:60]!r}", all_matches(pattern), unit)
    for name, reads in readers():
        border = name in AT_THE_BORDER
        for unit in UNITS:
            step(name, reads if border else lambda text, reads=reads: reads(clean(text)), unit)
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)
    sys.stdout.write(f"done {len(found)}\n")


if __name__ == "__main__":
    main()
