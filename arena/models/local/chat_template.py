"""Messages into token ids, and token ids into text; visitors' text never becomes control tokens.

A visitor can type `<|end|>` or `<|im_start|>system`. A tokenizer turns these into control tokens,
with which a visitor could end the turn and speak as the system. Here only the chat template may
use them.

A tokenizer without a chat template belongs to a base model: its prompt is the messages' contents,
an empty line between them, and nothing else.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Sequence
from dataclasses import dataclass

from arena.domain import Message, Role
from arena.errors.models import UnsupportedModel
from arena.errors.reasons import ErrorReason
from arena.models.local.engine import Foreign

_MARK = "arenaMessage{}x"
"""Stands in for a message while the template is rendered: letters and digits, so that nothing a
template does to contents (trim, replace, split) changes it."""
HASH_CHARACTERS = 12
"""Of the template's SHA-256."""
_JOINER = "\u2060"
"""A word joiner: invisible, and no tokenizer has it within a control string."""


@dataclass(frozen=True, slots=True)
class _Span:
    """A stretch of the rendered prompt; `safe` is what the template itself wrote."""

    text: str
    safe: bool


class ChatText:
    """Reads and writes a model's tokens.

    Args:
        tokenizer: a fast tokenizer of transformers.
        source: what the model is called in error messages.
    """

    def __init__(self, tokenizer: Foreign, source: str = "the model") -> None:
        self._tokenizer = tokenizer
        self._source = source
        # The tokenizer may be shared by threads, and not all of its methods are ready for that.
        self._lock = threading.Lock()
        self._template = _template_of(tokenizer)
        self._traits = TokenTraits.of(tokenizer)
        # Some tokenizers have runs of spaces as added tokens. Those control nothing.
        added = {text: i for text, i in tokenizer.get_added_vocab().items() if text.strip()}
        self._control_ids = frozenset(added.values())
        self._flags = {token.content: token for token in tokenizer.added_tokens_decoder.values()}
        longest_first = sorted(added, key=len, reverse=True)
        self._control = re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    @property
    def template_hash(self) -> str:
        """Hex digits that change when the chat template does; `none` without one."""
        if self._template is None:
            return "none"
        return hashlib.sha256(self._template.encode()).hexdigest()[:HASH_CHARACTERS]

    def encode(self, messages: Sequence[Message]) -> list[int]:
        """The prompt's ids, up to where the answer begins.

        Harmless text gets the ids that `apply_chat_template` gives. May take a while for long
        texts, so call it in a thread.

        Raises:
            UnsupportedModel: the chat template refuses the conversation.
        """
        with self._lock:
            if self._template is None:
                return self._plain_prompt(messages)
            messages, marked = self._acceptable(messages)
            allowed = self._controls(self._ids(marked))
            ids: list[int] | None = self._ids(self._render(messages))
            if self._controls(ids or []) != allowed:
                ids = self._by_spans(marked, messages)
            if ids is None or self._controls(ids) != allowed:
                ids = self._ids(self._render([_defused(m, self._control) for m in messages]))
            if self._controls(ids) == allowed:
                return ids
        raise UnsupportedModel(source=self._source, why=ErrorReason.UNSAFE_TEMPLATE)

    def _acceptable(self, messages: Sequence[Message]) -> tuple[Sequence[Message], str]:
        """The same conversation in a form that the template takes and keeps all of.

        Also what the template makes of that form, with a mark in the place of each content.

        Raises:
            UnsupportedModel: there is none.
        """
        import jinja2

        reason = ""
        accepted: tuple[Sequence[Message], str] | None = None
        for form in (messages, _system_in_front(messages)):
            marks = [Message(m.role, _mark(i)) for i, m in enumerate(form)]
            try:
                rendered = self._render(marks)
            except (jinja2.TemplateError, TypeError, ValueError) as error:
                reason = str(error)
                continue
            # Earlier answers may be left out, or cut; what people wrote may not.
            if all(m.content in rendered for m in marks if m.role is not Role.ASSISTANT):
                return form, rendered
            accepted = accepted or (form, rendered)
        if accepted is not None:  # the template changes contents, marks among them
            return accepted
        raise UnsupportedModel(
            f"chat template: {reason}", source=self._source, why=ErrorReason.TEMPLATE_REFUSES
        )

    def _render(self, messages: Sequence[Message]) -> str:
        turns = [{"role": m.role.value, "content": m.content} for m in messages]
        return str(
            self._tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
        )

    def _ids(self, text: str, *, start: bool = False) -> list[int]:
        return list(self._tokenizer(text, add_special_tokens=start, verbose=False)["input_ids"])

    def _controls(self, ids: Sequence[int]) -> list[int]:
        return [i for i in ids if i in self._control_ids]

    def _by_spans(self, marked: str, messages: Sequence[Message]) -> list[int] | None:
        """Template and contents encoded apart; None where the template changed a mark."""
        spans: list[_Span] = []
        rest = marked
        for index, message in enumerate(messages):
            before, mark, after = rest.partition(_mark(index))
            if not mark or _mark(index) in after:
                return None
            spans += [_Span(before, safe=True), _Span(message.content, safe=False)]
            rest = after
        spans.append(_Span(rest, safe=True))
        return self._encode_spans(spans)

    def _encode_spans(self, spans: Sequence[_Span]) -> list[int]:
        """Control strings of the template become tokens; all between them is read as one text."""
        ids: list[int] = []
        run = ""
        strip_next = False
        for span in spans:
            if not span.safe:
                run += span.text
                continue
            position = 0
            for match in self._control.finditer(span.text):
                flags = self._flags.get(match.group())
                run += span.text[position : match.start()]
                ids += self._text_ids(run, flags, strip_left=strip_next)
                ids += self._ids(match.group())
                strip_next = bool(flags is not None and flags.rstrip)
                run, position = "", match.end()
            run += span.text[position:]
        return ids + self._text_ids(run, None, strip_left=strip_next)

    def _text_ids(self, text: str, following: Foreign, *, strip_left: bool) -> list[int]:
        """Ids of text in which no control string is one: each is broken after its first letter.

        Some control tokens swallow the space beside them; so does this.
        """
        if strip_left:
            text = text.lstrip()
        if following is not None and following.lstrip:
            text = text.rstrip()
        ids: list[int] = []
        while (match := self._control.search(text)) is not None:
            cut = match.start() + 1
            ids += self._ids(text[:cut])
            text = text[cut:]
        return ids + (self._ids(text) if text else [])

    def _plain_prompt(self, messages: Sequence[Message]) -> list[int]:
        text = "\n\n".join(message.content for message in messages)
        start = self._ids("", start=True)
        return start + self._text_ids(text, None, strip_left=False)

    def decoder(self) -> IncrementalDecoder:
        """A new decoder, for one answer."""
        return IncrementalDecoder(self._tokenizer, self._traits)


def _mark(index: int) -> str:
    return _MARK.format(index)


def _template_of(tokenizer: Foreign) -> str | None:
    """The template that is used for plain chat; None for a base model."""
    if not getattr(tokenizer, "chat_template", None):
        return None
    try:
        return str(tokenizer.get_chat_template())
    except ValueError:  # several named ones, none of them the default
        return None


def _system_in_front(messages: Sequence[Message]) -> list[Message]:
    """For templates without a system role: its text goes before the first question."""
    system = "\n\n".join(m.content for m in messages if m.role is Role.SYSTEM)
    turns = [m for m in messages if m.role is not Role.SYSTEM]
    if not system or not turns:
        return list(messages)
    first = turns[0]
    return [Message(first.role, f"{system}\n\n{first.content}"), *turns[1:]]


def _defused(message: Message, control: re.Pattern[str]) -> Message:
    """The last resort, for templates that change contents: an invisible letter breaks each."""
    text = control.sub(lambda m: m.group()[0] + _JOINER + m.group()[1:], message.content)
    return Message(message.role, text)


_WINDOW_KEPT, _WINDOW_MAX = 8, 24
"""Tokens that are decoded again with the next ones; at the second number all but the first go."""
_HELD_MAX = 64
"""Tokens that are held back at most, since what they are depends on the next ones."""
_CHARACTER = 4
"""Tokens that one character has at most."""


@dataclass(frozen=True, slots=True)
class TokenTraits:
    """Which tokens need care; found once per tokenizer, since a vocabulary is large.

    Attributes:
        hidden: tokens that are no text.
        single_bytes: tokens of byte fallback. A run of them is text, or not, as a whole.
    """

    hidden: frozenset[int]
    single_bytes: frozenset[int]

    @classmethod
    def of(cls, tokenizer: Foreign) -> TokenTraits:
        """Those of this tokenizer."""
        added = tokenizer.added_tokens_decoder
        names = [f"<0x{byte:02X}>" for byte in range(256)]
        ids = tokenizer.convert_tokens_to_ids(names)
        known = [i for i in ids if i is not None]
        found = dict(zip(known, tokenizer.convert_ids_to_tokens(known), strict=True))
        return cls(
            hidden=frozenset(i for i, token in added.items() if token.special),
            single_bytes=frozenset(i for i, name in found.items() if name in names),
        )


class IncrementalDecoder:
    """Turns tokens into text as they come, never half a character.

    All texts together, `finish()` included, are `tokenizer.decode(all ids,
    skip_special_tokens=True, clean_up_tokenization_spaces=False)`. Each call decodes a short
    window, not the whole answer: a long run of bytes, or of halves of characters, is text as far as
    it has come.
    """

    def __init__(self, tokenizer: Foreign, traits: TokenTraits | None = None) -> None:
        self._tokenizer = tokenizer
        self._traits = traits or TokenTraits.of(tokenizer)
        self._window: list[int] = []
        self._given = 0

    def push(self, ids: Sequence[int]) -> str:
        """The text that is now certain; often empty, when a character has only begun."""
        fresh = [i for i in ids if i not in self._traits.hidden]
        if not fresh:
            return ""
        self._window += fresh
        if len(self._window) > _HELD_MAX:
            return self._settle()
        if fresh[-1] in self._traits.single_bytes:
            return ""
        text = self._decode()
        certain = len(text.rstrip("\ufffd"))
        new, self._given = text[self._given : certain], max(self._given, certain)
        if certain == len(text) and len(self._window) > _WINDOW_MAX:
            self._window = self._window[-_WINDOW_KEPT:]
            self._given = len(self._decode())
        return new

    def finish(self) -> str:
        """What is left when no more tokens come."""
        text = self._decode()
        new, self._given = text[self._given :], len(text)
        return new

    def _settle(self) -> str:
        """The text of all tokens but those of the last character, which may have only begun."""
        window = self._window
        for held in range(_CHARACTER):
            done = window[: len(window) - held]
            text = self._decode(done)
            if not text.endswith("\ufffd"):
                kept = self._last_character(done)
                new, self._given = text[self._given :], len(self._decode(kept))
                self._window = kept + window[len(done) :]
                return new
        whole = self._decode()
        for held in range(_CHARACTER - 1, 2 * _CHARACTER):
            # Not within a character that is whole: its halves are no text.
            text, rest = self._decode(window[:-held]), self._decode(window[-held:])
            if text + rest == whole:
                break
        new, self._given, self._window = text[self._given :], 0, window[-held:]
        return new

    def _last_character(self, ids: list[int]) -> list[int]:
        """The last tokens that are text by themselves."""
        for number in range(1, _WINDOW_KEPT):
            text = self._decode(ids[-number:])
            if text and "\ufffd" not in text:
                return ids[-number:]
        return ids[-_WINDOW_KEPT:]

    def _decode(self, ids: list[int] | None = None) -> str:
        return str(
            self._tokenizer.decode(
                self._window if ids is None else ids,
                skip_special_tokens=True,
                clean_up_tokenization_spaces=False,
            )
        )
