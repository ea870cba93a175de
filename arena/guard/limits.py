"""What a visitor may ask for. Every cap is checked here, and the reasons are typed."""

from __future__ import annotations

from dataclasses import dataclass

from arena.errors import ArenaBusy, EmptyPrompt, PromptTooLong, TooManyTurns


@dataclass(frozen=True, slots=True)
class Limits:
    """The owner's caps.

    Attributes:
        prompt_chars: characters of one prompt, and of a system prompt.
        turns: prompts in one conversation.
        battles: battles whose answers are being written at the same time, over all visitors.
        new_tokens: largest budget of visible tokens that an answer may have.
    """

    prompt_chars: int = 8000
    turns: int = 8
    battles: int = 16
    new_tokens: int = 4096


def check_prompt(text: str, limits: Limits) -> str:
    """The prompt as it will be sent: stripped, with plain newlines.

    Raises:
        EmptyPrompt: nothing is left.
        PromptTooLong: longer than `limits.prompt_chars`.
    """
    clean = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not clean:
        raise EmptyPrompt
    if len(clean) > limits.prompt_chars:
        raise PromptTooLong(length=len(clean), limit=limits.prompt_chars)
    return clean


def check_system_prompt(text: str | None, limits: Limits) -> str | None:
    """As `check_prompt`, but it may be empty: then None.

    Raises:
        PromptTooLong: longer than `limits.prompt_chars`.
    """
    return check_prompt(text, limits) if text and text.strip() else None


def check_turns(turns: int, limits: Limits) -> None:
    """Whether one more prompt may follow.

    Raises:
        TooManyTurns: the conversation has `limits.turns` prompts already.
    """
    if turns >= limits.turns:
        raise TooManyTurns(limit=limits.turns)


def check_room(running: int, limits: Limits) -> None:
    """Whether one more battle may run.

    Raises:
        ArenaBusy: `limits.battles` are running.
    """
    if running >= limits.battles:
        raise ArenaBusy(limit=limits.battles)
