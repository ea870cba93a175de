"""A vote in the columns of LMArena's `arena-human-preference-140k`. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC
from typing import Any, Final

from arena.domain import Battle, Category, Conversation, Role, Side, Vote, clean
from arena.store.serialization import Plain

# What is no language of theirs is undetermined, by ISO 639.
_UNDETERMINED: Final = "und"
_HEADER: Final = re.compile(r"^ {0,3}(#{1,6})\s", re.MULTILINE)
_ORDERED: Final = re.compile(r"^[ \t]*\d{1,9}[.)]\s", re.MULTILINE)
_UNORDERED: Final = re.compile(r"^[ \t]*[-*+]\s", re.MULTILINE)
_BOLD: Final = {"**": re.compile(r"\*\*[^*\n]+\*\*"), "__": re.compile(r"__[^_\n]+__")}
_CODE: Final = re.compile(r"^[ \t]*(?:```|~~~)", re.MULTILINE)
CRITERIA: Final = (
    "complexity",
    "creativity",
    "domain_knowledge",
    "problem_solving",
    "real_world",
    "specificity",
    "technical_accuracy",
)


def lmarena_row(battle: Battle, vote: Vote, session: str, order: int) -> Plain:
    """One row.

    Args:
        battle: with two sides, both answered.
        vote: on it.
        session: the voter's hash in this export.
        order: which of that session's it is, from 1.
    """
    texts = {side: _texts(battle.conversation(side)) for side in Side}
    return {
        "id": battle.id,
        "model_a": clean(battle.spec(Side.A).id),
        "model_b": clean(battle.spec(Side.B).id),
        "winner": vote.winner.value,
        "evaluation_session_id": session,
        "evaluation_order": order,
        "conversation_a": messages_of(battle.conversation_a, _part),
        "conversation_b": messages_of(battle.conversation_b, _part),
        "full_conversation": _turns(battle),
        "conv_metadata": _metadata(battle, texts),
        "category_tag": _tags(battle.category),
        "is_code": battle.category is Category.CODING
        or any(_CODE.search(text) for text in texts.values()),
        "language": _UNDETERMINED if battle.language == "other" else battle.language,
        "timestamp": vote.cast_at.astimezone(UTC).isoformat(),
    }


def _texts(conversation: Conversation) -> str:
    """All that a side answered."""
    return "\n".join(clean(turn.answer.text) for turn in conversation if turn.answer is not None)


def _part(role: Role, text: str) -> Plain:
    content = {"type": "text", "text": clean(text), "image": None, "mimeType": None}
    return {"role": role.value, "content": [content]}


def messages_of(conversation: Conversation, message: Callable[[Role, str], Plain]) -> list[Plain]:
    """The turns as messages; a failed answer's text is what the visitor saw of it."""
    messages: list[Plain] = []
    for turn in conversation:
        messages.append(message(Role.USER, turn.prompt))
        if turn.answer is not None:
            messages.append(message(Role.ASSISTANT, turn.answer.text))
    return messages


def _turns(battle: Battle) -> list[Plain]:
    # Both sides get every prompt; `conversation_a` and `conversation_b` have all in any case.
    both = zip(battle.conversation_a, battle.conversation_b, strict=False)
    return [
        {
            "user": _part(Role.USER, a.prompt),
            "model_side_a": _part(Role.ASSISTANT, a.answer.text if a.answer else ""),
            "model_side_b": _part(Role.ASSISTANT, b.answer.text if b.answer else ""),
        }
        for a, b in both
    ]


def _metadata(battle: Battle, texts: dict[Side, str]) -> Plain:
    """Counts of tokens and of Markdown. The tokens are each model's own; null if not reported."""
    found: dict[str, Any] = {
        "sum_user_tokens": None,
        "turns": len(battle.conversation_a),
    }
    for side, text in texts.items():
        answers = [t.answer.finished for t in battle.conversation(side) if t.answer is not None]
        counts = [one.completion_tokens for one in answers if one.completion_tokens is not None]
        whole = answers and len(counts) == len(answers)
        headers = [len(marks) for marks in _HEADER.findall(text)]
        found |= {
            f"sum_assistant_{side}_tokens": sum(counts) if whole else None,
            f"context_{side}_tokens": answers[-1].prompt_tokens if answers else None,
            f"bold_count_{side}": {mark: len(p.findall(text)) for mark, p in _BOLD.items()},
            f"header_count_{side}": {f"h{n}": headers.count(n) for n in range(1, 7)},
            f"list_count_{side}": {
                "ordered": len(_ORDERED.findall(text)),
                "unordered": len(_UNORDERED.findall(text)),
            },
        }
    return found


def _tags(category: Category) -> Plain:
    return {
        "creative_writing_v0.1": {"creative_writing": None, "score": None},
        "criteria_v0.1": dict.fromkeys(CRITERIA),
        "if_v0.1": {"if": None, "score": None},
        "math_v0.1": {"math": category is Category.MATH},
    }
