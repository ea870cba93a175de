"""The types that everything else is made of. Standard library only, all values frozen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum


class Side(StrEnum):
    """The left (a) or the right (b) pane of a battle."""

    A = "a"
    B = "b"

    @property
    def other(self) -> Side:
        """The side across."""
        return Side.B if self is Side.A else Side.A


class Winner(StrEnum):
    """What a vote says. The words are those of the LMArena data sets."""

    MODEL_A = "model_a"
    MODEL_B = "model_b"
    TIE = "tie"
    BOTH_BAD = "both_bad"


class Reason(StrEnum):
    """A voter's reasons: tags for what is good in an answer, then for what is bad."""

    CORRECT = "correct"
    COMPLETE = "complete"
    CLEAR = "clear"
    CONCISE = "concise"
    NATURAL = "natural"
    WRONG = "wrong"
    OFF_POINT = "off_point"
    TOO_LONG = "too_long"
    UNSAFE = "unsafe"


class Grade(StrEnum):
    """A voter's opinion of one answer by itself, whichever answer is better."""

    GOOD = "good"
    OK = "ok"
    BAD = "bad"


class Mode(StrEnum):
    """Blind: names hidden until the vote. Open: names shown. Single: one model and no vote."""

    BLIND = "blind"
    OPEN = "open"
    SINGLE = "single"


class Category(StrEnum):
    """What kind of task a prompt is; `free` is a prompt that the visitor wrote."""

    REASONING = "reasoning"
    MATH = "math"
    CODING = "coding"
    TOOLS = "tools"
    DOCUMENT = "document"
    FREE = "free"


class Role(StrEnum):
    """The author of a message."""

    SYSTEM = "system"
    USER = "user"
    ASSISTANT = "assistant"


class FinishReason(StrEnum):
    """Why an answer ended. `blocked`, `cancelled` and `error` are no answers; the others are.

    Attributes:
        LENGTH: the budget of tokens was used up.
        SIZE: it became larger than any answer that the arena takes.
        LOOP: it repeated itself without end and was stopped; see `arena/stats/loops.py`.
        OTHER: the provider names an ending that the arena does not know; the text is kept.
    """

    STOP = "stop"
    LENGTH = "length"
    SIZE = "size"
    LOOP = "loop"
    OTHER = "other"
    BLOCKED = "blocked"
    CANCELLED = "cancelled"
    ERROR = "error"


NO_ANSWER = frozenset({FinishReason.BLOCKED, FinishReason.CANCELLED, FinishReason.ERROR})
READABLE_CHARS = 10
"""The least of a stopped answer that says anything."""


class Flag(StrEnum):
    """What a reader of the statistics must know about a battle.

    Attributes:
        LOOPING: an answer repeated itself without end and was stopped.
        PROMPT_CUT: an engine read less than it was sent.
        STOPPED: an answer to the last prompt was stopped by people before its end.
    """

    OPEN_MODE = "open_mode"
    PRESET_EDITED = "preset_edited"
    STAND_IN = "stand_in"
    VARIANT = "variant"
    TRUNCATED = "truncated"
    RETRIED = "retried"
    SYSTEM_PROMPT = "system_prompt"
    LOOPING = "looping"
    PROMPT_CUT = "prompt_cut"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn of a conversation as it is sent to a model."""

    role: Role
    content: str


@dataclass(frozen=True, slots=True)
class GenerationParams:
    """How to generate; the same for both sides of a battle.

    Attributes:
        temperature: 0 to 2; 0 is greedy.
        top_p: more than 0, up to 1; 1 keeps the whole distribution.
        max_new_tokens: budget of VISIBLE text; a thinking model gets its allowance on top.
        seed: 0 to 2**31 - 1; None means that one is drawn (and recorded) per battle.
    """

    temperature: float = 0.7
    top_p: float = 1.0
    max_new_tokens: int = 1024
    seed: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.temperature <= 2.0:
            raise ValueError(f"temperature must be 0 to 2, not {self.temperature}")
        if not 0.0 < self.top_p <= 1.0:
            raise ValueError(f"top_p must be above 0 and at most 1, not {self.top_p}")
        if self.max_new_tokens < 1:
            raise ValueError(f"max_new_tokens must be at least 1, not {self.max_new_tokens}")
        if self.seed is not None and not 0 <= self.seed < 2**31:
            raise ValueError(f"seed must be 0 to 2147483647, not {self.seed}")


@dataclass(frozen=True, slots=True)
class ModelName:
    """How a model is called.

    Attributes:
        local: it runs beside the arena; such a one is named first where two are compared.
    """

    label: str
    local: bool = False


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """A contestant.

    `id` is the stable slug and the only identity that persists: a different precision or another
    system prompt is a different id. Everything else may change.

    Attributes:
        source: Hub id, folder, or the provider's model name.
        revision: resolved commit of local weights; empty where the provider has none.
        engine: what runs the model, e.g. `transformers-cb` or `google-genai`.
        precision: e.g. `f32`, `bf16`, `int4`; empty where unknown.
        context_tokens: longest prompt plus answer, in tokens; None where unknown.
        price_in: US dollars per million prompt tokens; None where unknown, 0 for local models.
        price_out: US dollars per million generated tokens, thinking included.
        variant_of: id of the model that this contestant shares its weights with.
        overrides: generation parameters that the variant sets itself, by name.
    """

    id: str
    label: str
    provider: str
    source: str
    revision: str = ""
    engine: str = ""
    precision: str = ""
    context_tokens: int | None = None
    licence: str = ""
    price_in: float | None = None
    price_out: float | None = None
    variant_of: str | None = None
    system_prompt: str | None = None
    overrides: Mapping[str, float | int] = field(default_factory=dict)
    stand_in: bool = False

    @property
    def base_id(self) -> str:
        """Id of the weights: two contestants with the same base are variants of one model."""
        return self.variant_of or self.id


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of visible text, never empty, never half a character."""

    text: str


@dataclass(frozen=True, slots=True)
class Finished:
    """The last event of every stream.

    Attributes:
        error_code: the code of an `ArenaError` when reason is `error` or `blocked`, else None.
        prompt_tokens, completion_tokens, thinking_tokens: counts; None where not reported.
            completion_tokens leaves thinking out.
        ttft_s: seconds from the request to the first visible text; None if there was none.
        total_s: seconds from the request to the end.
        served_model: what really answered (a provider's version, a local revision).
        sent: the parameters that were really sent, by the provider's own names.
        usage_doubtful: the provider reported more tokens than the request can have; they are not
            among the counts.
        cost_usd: US dollars as the model itself reckons them, by the price of what answered; None
            leaves it to the spec's prices.
    """

    reason: FinishReason
    error_code: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    thinking_tokens: int | None = None
    ttft_s: float | None = None
    total_s: float = 0.0
    served_model: str = ""
    sent: Mapping[str, float | int | str | None] = field(default_factory=dict)
    cost_usd: float | None = None
    usage_doubtful: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """One model's answer to one prompt."""

    text: str
    finished: Finished
    cost_usd: float | None = None

    @property
    def usable(self) -> bool:
        """Whether people can judge it: it did not fail, was not stopped by people, has text."""
        return self.finished.reason not in NO_ANSWER and bool(self.text.strip())

    @property
    def readable(self) -> bool:
        """Whether there is something to judge: it is usable, or was stopped with enough text."""
        enough = len(self.text.strip()) >= READABLE_CHARS
        return self.usable or (self.finished.reason is FinishReason.CANCELLED and enough)


@dataclass(frozen=True, slots=True)
class Exchange:
    """One prompt and one side's answer to it.

    Attributes:
        answer: None until the side has finished.
        failed: earlier attempts that a retry replaced, oldest first.
    """

    prompt: str
    answer: Answer | None = None
    failed: tuple[Answer, ...] = ()


Conversation = tuple[Exchange, ...]


@dataclass(frozen=True, slots=True)
class PresetUse:
    """Which preset a prompt came from, and whether the visitor changed its text."""

    id: str
    edited: bool = False


@dataclass(frozen=True, slots=True)
class Erasure:
    """The texts of a battle were removed for good; what the statistics need of them.

    Attributes:
        at: when that was.
        found: bits of `arena.stats.vote_table.VoteFlag`: what the texts had shown.
        prompt: the number of the prompts, see `arena.store.features.prompt_code`.
        chars_a, chars_b: characters of the shown answers.
    """

    at: datetime
    found: int
    prompt: int
    chars_a: int
    chars_b: int


@dataclass(frozen=True, slots=True)
class Battle:
    """One prompt, two models (one in single mode), and all that is needed to run it again.

    Attributes:
        id: unguessable; 32 hexadecimal digits.
        language: language of the prompt, `ja` or `en` (or `other`).
        ui_language: language of the page, `ja` or `en`.
        voter: salted hash of the visitor, 64 hexadecimal digits.
        system_prompt: the visitor's own, the same for both sides; None if not set.
        provenance: library versions and, per side, facts such as the chat template's hash.
        source: where an imported battle came from; empty for one that was fought here.
        answered_at: when the last answer was complete, so when reading could end; None while one
            is being written, and where it is not known.
        erased: set when its texts were removed: they are empty from then on, and never come back.
    """

    id: str
    mode: Mode
    language: str
    ui_language: str
    category: Category
    preset: PresetUse | None
    params: GenerationParams
    spec_a: ModelSpec
    spec_b: ModelSpec | None
    created_at: datetime
    voter: str
    system_prompt: str | None = None
    conversation_a: Conversation = ()
    conversation_b: Conversation = ()
    flags: frozenset[Flag] = frozenset()
    provenance: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    source: str = ""
    answered_at: datetime | None = None
    erased: Erasure | None = None

    @property
    def sides(self) -> tuple[Side, ...]:
        """The sides that take part."""
        return (Side.A,) if self.spec_b is None else (Side.A, Side.B)

    def spec(self, side: Side) -> ModelSpec:
        """The contestant on that side.

        Raises:
            ValueError: side b of a single-mode battle.
        """
        found = self.spec_a if side is Side.A else self.spec_b
        if found is None:
            raise ValueError("a single-mode battle has no side b")
        return found

    def conversation(self, side: Side) -> Conversation:
        """That side's exchanges, oldest first."""
        return self.conversation_a if side is Side.A else self.conversation_b

    def with_conversation(self, side: Side, conversation: Conversation) -> Battle:
        """A copy in which that side's exchanges are replaced."""
        if side is Side.A:
            return replace(self, conversation_a=conversation)
        return replace(self, conversation_b=conversation)

    @property
    def votable(self) -> bool:
        """Whether both sides have answered every prompt usably.

        Of a stopped battle what was written to the last one is enough, if it can be read.
        """
        if self.mode is Mode.SINGLE:
            return False
        both = [
            [turn.answer for turn in talk] for talk in (self.conversation_a, self.conversation_b)
        ]
        earlier = [answer for answers in both for answer in answers[:-1]]
        last = [answers[-1] if answers else None for answers in both]
        stopped = Flag.STOPPED in self.flags
        return all(answer is not None and answer.usable for answer in earlier) and all(
            answer is not None and (answer.readable if stopped else answer.usable)
            for answer in last
        )


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's verdict on one battle; `voter` is the same salted hash as the battle's.

    Attributes:
        guess: the id of the contestant that the voter took for side a.
        signed_in: the voter had signed in; the hash is then of an account.
        grade_a, grade_b: what the voter thinks of each answer by itself.
        source: where an imported vote came from; empty for one that was cast here.
    """

    battle_id: str
    winner: Winner
    voter: str
    cast_at: datetime
    reasons: tuple[Reason, ...] = ()
    comment: str | None = None
    guess: str | None = None
    signed_in: bool = False
    grade_a: Grade | None = None
    grade_b: Grade | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Exclusion:
    """The owner's decision that a battle's vote does not count; the vote itself is kept.

    Attributes:
        why: the owner's reason, for readers of the data.
        lifted: the decision was taken back; the latest one of a battle counts.
    """

    battle_id: str
    why: str
    decided_at: datetime
    lifted: bool = False


def clean(text: str) -> str:
    """The text as valid Unicode without NUL; what is not becomes U+FFFD.

    Lone surrogates fit into no UTF-8 file and no event stream, and Postgres refuses NUL. Every
    text that comes from a visitor, a model or a file passes this once, where it comes in; two
    halves of one character become that character.
    """
    text = text.replace("\x00", "\ufffd")
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return text
