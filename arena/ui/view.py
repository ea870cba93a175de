"""What the page shows, computed from a snapshot. Pure: no Gradio, no I/O.

What a side may tell before the vote comes from `blind.py`; nothing else of it is read here.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from html import escape

from arena.battle.session import Snapshot
from arena.blind import Phase, SideFacts, hides_sides, shared_phase, visible_side
from arena.domain import Battle, Finished, FinishReason, Mode, ModelSpec, Side, Winner
from arena.ui.i18n import error_line, in_line, say
from arena.ui.markdown import safe_markdown
from arena.ui.verdict_words import counting_line, record_line

# Makes a text safe to show, told the text and its place on the page.
Guard = Callable[[str, str], str]
SAID_ENDINGS = (FinishReason.LENGTH, FinishReason.SIZE, FinishReason.LOOP, FinishReason.OTHER)
BUSY = (Phase.WAITING, Phase.WRITING)
ENDED_BADLY = (Phase.FAILED, Phase.STOPPED)
# The text of each vote's button, in the order of the buttons.
VOTE_TEXTS = {
    Winner.MODEL_A: "vote.a",
    Winner.TIE: "vote.tie",
    Winner.BOTH_BAD: "vote.bad",
    Winner.MODEL_B: "vote.b",
}


class Stage(StrEnum):
    """What the arena tab is for at the moment; only the dock differs between them."""

    IDLE = "idle"
    WRITING = "writing"
    VOTE = "vote"
    REVEALED = "revealed"


@dataclass(frozen=True, slots=True)
class PaneView:
    """One pane.

    Attributes:
        answer: to the newest question, as Markdown that is safe to show.
        earlier: the turns before it, likewise; empty without any.
    """

    head: str
    answer: str = ""
    earlier: str = ""
    stats: str = ""
    retry: bool = False


@dataclass(frozen=True, slots=True)
class PageView:
    """The part of the arena tab that a battle changes.

    Attributes:
        question: the newest one, as HTML.
        chosen: the vote that was cast, else None.
        bar: what the line over the buttons says.
        link: copies the battle's link; empty before its vote.
        undo: the vote can be taken back.
    """

    panes: Mapping[Side, PaneView]
    stage: Stage = Stage.IDLE
    question: str = ""
    running: bool = False
    votable: bool = False
    chosen: Winner | None = None
    bar: str = ""
    link: str = ""
    single: bool = False
    follow_up: bool = False
    undo: bool = False


def idle_view(language: str, mode: Mode) -> PageView:
    """The page before a battle."""
    panes = {side: PaneView(_pane_head(side, "", language, mode)) for side in Side}
    return PageView(panes, single=mode is Mode.SINGLE)


def _guard_afresh(text: str, _: str) -> str:
    return safe_markdown(text)


def battle_view(
    snapshot: Snapshot, language: str, vote: Winner | None, *, shared: bool = False,
    guard: Guard = _guard_afresh,
) -> PageView:  # fmt: skip
    """The page during and after a battle; `shared` is one opened by its link.

    The texts that `guard` is given are those of `shown_texts`. A vote that can still be taken
    back shows nothing that was hidden before it.
    """
    battle = snapshot.battle
    voted = vote is not None and snapshot.undo_s is None
    panes = {side: _pane(snapshot, side, language, guard, voted=voted) for side in battle.sides}
    for side in Side:
        panes.setdefault(side, PaneView(_pane_head(side, "", language, battle.mode)))
    follow_up = not snapshot.running and vote is None and _all_done(snapshot)
    votable = snapshot.votable and vote is None
    undo = vote is not None and snapshot.undo_s is not None
    return PageView(
        panes,
        stage=_stage(snapshot, votable=votable or undo),
        question=question_html(battle, language),
        running=snapshot.running,
        votable=votable,
        chosen=vote,
        bar=_result_line(snapshot, language, vote, shared=shared),
        link="" if undo or vote is None or shared else _link(battle.id, language),
        single=battle.mode is Mode.SINGLE,
        follow_up=follow_up,
        undo=undo,
    )


def _stage(snapshot: Snapshot, *, votable: bool) -> Stage:
    """The vote's buttons stay while it can be taken back."""
    if snapshot.running:
        return Stage.WRITING
    return Stage.VOTE if votable else Stage.REVEALED


def _all_done(snapshot: Snapshot) -> bool:
    return all(side.phase is Phase.DONE for side in snapshot.sides.values())


def shown_texts(snapshot: Snapshot) -> list[tuple[str, str]]:
    """Every text that the panes show, with its place on the page."""
    return [
        shown
        for side in snapshot.sides
        for shown in (*_earlier(snapshot.battle, side), _answer(snapshot, side))
    ]


def _earlier(battle: Battle, side: Side) -> list[tuple[str, str]]:
    """Questions and answers of the turns before the last one, oldest first."""
    found = []
    for turn, exchange in enumerate(battle.conversation(side)[:-1]):
        found.append((exchange.prompt, f"prompt-{turn}"))
        found.append((exchange.answer.text if exchange.answer else "", f"{side}-{turn}"))
    return found


def _answer(snapshot: Snapshot, side: Side) -> tuple[str, str]:
    turn = len(snapshot.battle.conversation(side)) - 1
    return snapshot.sides[side].text, f"{side}-{turn}"


def question_html(battle: Battle, language: str) -> str:
    """The newest question in one line, which opens."""
    talk = battle.conversation(Side.A)
    text = escape(talk[-1].prompt)
    label = escape(say(language, "prompt.label"))
    turns = ""
    if len(talk) > 1:
        said = escape(say(language, "question.earlier", count=len(talk) - 1))
        turns = f'<button type="button" class="link" data-earlier>{said}</button>'
    return (
        f'<details class="question"><summary><i>{label}</i><span dir="auto">{text}</span></summary>'
        f'<div class="sheet" dir="auto" tabindex="0">{text}</div></details>{turns}'
    )


def _pane(
    snapshot: Snapshot, side: Side, language: str, guard: Guard, *, voted: bool
) -> PaneView:  # fmt: skip
    battle, seen = snapshot.battle, snapshot.sides[side]
    spec, facts = visible_side(battle, side, seen.facts, voted=voted)
    hidden = hides_sides(battle, voted=voted)
    phase = _shared_phase(snapshot) if hidden else seen.phase
    earlier = [guard(text, place) for text, place in _earlier(battle, side)]
    questions = [quoted(question) for question in earlier[::2]]
    turns = [part for turn in zip(questions, earlier[1::2], strict=True) for part in turn]
    name = _name(spec, facts) if spec else ""
    return PaneView(
        _pane_head(side, name, language, battle.mode, busy=phase in BUSY),
        guard(*_answer(snapshot, side)),
        "\n\n".join([*turns, "---"]) if turns else "",
        "" if hidden and phase in ENDED_BADLY else _stats(phase, facts, language, named=not hidden),
        snapshot.retryable(side, voted=voted),
    )


def quoted(text: str) -> str:
    """A Markdown text as a quotation."""
    return "\n".join(f"> {line}" for line in text.split("\n"))


def _shared_phase(snapshot: Snapshot) -> Phase:
    sides = snapshot.sides.values()
    return shared_phase((s.phase for s in sides), written=any(s.text for s in sides))


def _name(spec: ModelSpec, facts: SideFacts) -> str:
    served = facts.answer.finished.served_model if facts.answer else ""
    remote = "" if spec.precision else served or spec.source
    detail = " · ".join(part for part in (spec.precision, remote) if part)
    return (
        f"<b>{escape(spec.label)}</b> "
        f'<span class="dim" title="{escape(spec.engine, quote=True)}">{escape(detail)}</span>'
    )


def _pane_head(side: Side, name: str, language: str, mode: Mode, *, busy: bool = False) -> str:
    if not name and mode is Mode.BLIND:
        name = f'<span class="dim">{escape(say(language, "pane.hidden"))}</span>'
    letter = "" if mode is Mode.SINGLE else side.value.upper()
    light = f"dot {side} busy" if busy else f"dot {side}"
    dot = f'<span class="{light}" aria-hidden="true">{letter}</span>'
    title = escape(say(language, "pane.name", side=letter).strip())
    heading = f'<h2 class="ar-unseen" id="name-{side}">{title}</h2>'
    return f'<div class="pane-head">{heading}{dot}<span class="name">{name}</span></div>'


def _stats(phase: Phase, facts: SideFacts, language: str, *, named: bool) -> str:
    """The line under a pane; numbers only where the name is known."""
    parts = [say(language, f"phase.{phase}")]
    if phase is Phase.FAILED:
        parts.append(_failure(facts, language))
    elif facts.answer is not None:
        numbers = _numbers(facts.answer.finished, facts.answer.cost_usd, language)
        parts = numbers if phase is Phase.DONE else [*parts, *numbers]
    elif named and phase in BUSY:
        if facts.ttft_s is not None:
            parts.append(f"{say(language, 'stats.ttft')} {facts.ttft_s:.2f} s")
        parts.append(f"{facts.elapsed_s:.0f} s")
    return f'<span class="phase {phase}">{escape(" · ".join(p for p in parts if p))}</span>'


def _failure(facts: SideFacts, language: str) -> str:
    if facts.error is not None:
        return error_line(language, facts.error)
    blocked = facts.answer is not None and facts.answer.finished.reason is FinishReason.BLOCKED
    return say(language, "finish.blocked") if blocked else ""


def _trouble_line(snapshot: Snapshot, language: str) -> str:
    """Why there is nothing to judge and what to do, without saying which side it was."""
    parts = [say(language, f"trouble.{trouble}") for trouble in snapshot.troubles]
    parts.append(say(language, "trouble.retry"))
    if snapshot.error_id:
        parts.append(say(language, "trouble.error_id", id=snapshot.error_id))
    return in_line(language, *parts)


def _numbers(finished: Finished, cost: float | None, language: str) -> list[str]:
    """First text, speed, tokens, time and cost, as far as they are known."""
    parts = []
    if finished.ttft_s is not None:
        parts.append(f"{say(language, 'stats.ttft')} {finished.ttft_s:.2f} s")
    speed = tokens_per_second(finished)
    if speed is not None:
        parts.append(f"{speed:.1f} tok/s")
    if finished.completion_tokens is not None:
        parts.append(say(language, "stats.tokens", count=finished.completion_tokens))
    if finished.thinking_tokens:
        parts.append(say(language, "stats.thinking", count=finished.thinking_tokens))
    parts.append(f"{finished.total_s:.1f} s")
    if cost is not None:
        parts.append("$0" if cost == 0 else f"${cost:.4f}")
    if finished.reason in SAID_ENDINGS:
        parts.append(say(language, f"finish.{finished.reason}"))
    if finished.usage_doubtful:
        parts.append(say(language, "stats.doubtful"))
    return parts


def tokens_per_second(finished: Finished) -> float | None:
    """Decoding speed: tokens after the first, over the time after the first text."""
    if finished.ttft_s is None or not finished.completion_tokens:
        return None
    seconds = finished.total_s - finished.ttft_s
    return (finished.completion_tokens - 1) / seconds if seconds > 0.001 else None


def pending_line(snapshot: Snapshot, language: str, vote: Winner) -> str:
    """That a vote is saved, and when it is final."""
    key = "vote.pending" if snapshot.battle.mode is Mode.BLIND else "vote.pending.open"
    choice = say(language, VOTE_TEXTS[vote])
    return escape(say(language, key, choice=choice, seconds=snapshot.undo_s or 0))


def _link(battle_id: str, language: str) -> str:
    text, copied = (escape(say(language, key), quote=True) for key in ("vote.link", "copied"))
    return (
        f'<button type="button" class="link" id="copy-link" data-battle="{battle_id}" '
        f'data-copied="{copied}">{text}</button>'
    )


def _result_line(snapshot: Snapshot, language: str, vote: Winner | None, *, shared: bool) -> str:
    battle = snapshot.battle
    if snapshot.running:
        return escape(say(language, "vote.wait" if battle.mode is not Mode.SINGLE else "vote.none"))
    if vote is not None and snapshot.undo_s is not None:
        return pending_line(snapshot, language, vote)
    if vote is not None and battle.spec_b is not None:
        return _voted_line(snapshot, language, vote, shared=shared)
    if _all_done(snapshot) or snapshot.votable:
        ask = escape(say(language, _asked(snapshot)))
        return _with_note(language, ask, counting_line(snapshot.verdict, language))
    if hides_sides(battle, voted=vote is not None):
        return escape(_trouble_line(snapshot, language))
    return escape(say(language, "vote.failed")) if battle.mode is not Mode.SINGLE else "&nbsp;"


def _asked(snapshot: Snapshot) -> str:
    """The text's key of what the page asks when both answers can be judged."""
    if snapshot.battle.mode is Mode.SINGLE:
        return "vote.single"
    return "vote.ask" if _all_done(snapshot) else "vote.ask_stopped"


def _voted_line(snapshot: Snapshot, language: str, vote: Winner, *, shared: bool) -> str:
    """Who was who, whether the vote counts, the voter's own record, and the battle's link."""
    battle = snapshot.battle
    a, b = (f"<b>{escape(battle.spec(side).label)}</b>" for side in battle.sides)
    if shared:
        return say(language, f"vote.shared.{vote}", a=a, b=b)
    done = say(language, f"vote.done.{vote}", a=a, b=b)
    told = counting_line(snapshot.verdict, language), record_line(snapshot.record, language)
    return _with_note(language, done, *told)


def _with_note(language: str, said: str, *notes: str) -> str:
    """A sentence as HTML, with what is added to it as text; where space is short, that stays."""
    note = escape(in_line(language, *notes))
    return f'<span class="said">{said}</span> <small>{note}</small>' if note else said
