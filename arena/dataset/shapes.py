"""A battle with its vote as rows of one shape. Pure: one case in, rows or a reason out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from arena.dataset.columns import ExportShape
from arena.dataset.lmarena import lmarena_row, messages_of
from arena.domain import (
    Battle,
    Exchange,
    Exclusion,
    Flag,
    Grade,
    Mode,
    Role,
    Side,
    Vote,
    Winner,
    clean,
)
from arena.store.serialization import BATTLE, EXCLUSION, VOTE, Plain


class LeftOut(StrEnum):
    """Why a battle gives no row."""

    NO_VOTE = "no_vote"
    EXCLUDED = "excluded"
    OPEN_MODE = "open_mode"
    TIE = "tie"
    SAME_ANSWERS = "same_answers"
    NO_VERDICT = "no_verdict"
    ERASED = "erased"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Case:
    """One battle to export.

    Attributes:
        voter: the visitor's hash in this export.
        order: which of the visitor's votes in this export it is, from 1.
        ties: whether ties (and, for pairs, both-bad votes) give rows of training data too.
    """

    battle: Battle
    vote: Vote | None
    exclusion: Exclusion | None
    voter: str
    order: int = 1
    ties: bool = False


ShapedRows = list[Plain] | LeftOut


def arena_rows(case: Case) -> ShapedRows:
    """Everything that is known of the battle, votes or none: what `imports` reads back.

    `excluded` is the owner's reason why the vote does not count, or null; such rows are written
    too, so that a reader can decide otherwise.
    """
    battle, vote, exclusion = case.battle, case.vote, case.exclusion
    record = BATTLE.encode(battle)
    judged = VOTE.encode(vote) if vote is not None else {}
    excluded = EXCLUSION.encode(exclusion) if exclusion is not None else {}
    line: Plain = {
        "id": record["id"],
        "model_a": record["spec_a"]["id"],
        "model_b": None if battle.spec_b is None else record["spec_b"]["id"],
        "winner": judged.get("winner"),
        "conversation_a": messages_of(battle.conversation_a, _message),
        "conversation_b": messages_of(battle.conversation_b, _message),
        "category_tag": record["category"],
        "language": record["language"],
        "timestamp": record["created_at"],
        "voter": case.voter,
        "voted_at": judged.get("cast_at"),
        "signed_in": judged.get("signed_in"),
        "excluded": excluded.get("why"),
        "excluded_at": excluded.get("decided_at"),
    }
    said = ("reasons", "comment", "guess", "grade_a", "grade_b")
    line |= {name: judged.get(name) for name in said}
    ours = ("source", "answered_at", "mode", "ui_language", "preset", "params", "system_prompt")
    line |= {name: record[name] for name in (*ours, "flags", "provenance")}
    for side in Side:
        line[f"spec_{side}"] = record[f"spec_{side}"]
        line[f"turns_{side}"] = [_turn(turn) for turn in record[f"conversation_{side}"]]
    return [line]


def lmarena_rows(case: Case) -> ShapedRows:
    """One row in the columns of LMArena's sets: a blind vote on whole answers, or none."""
    vote = _usable_vote(case)
    if isinstance(vote, LeftOut):
        return vote
    if case.battle.mode is not Mode.BLIND:
        return LeftOut.OPEN_MODE
    return [lmarena_row(case.battle, vote, case.voter, case.order)]


def dpo_rows(case: Case) -> ShapedRows:
    """One pair: what was asked, the better answer, the other one.

    With several turns the last one counts if all before it is the same on both sides. Where the
    answers differed before, the last prompt was asked of two different conversations, which a pair
    can't say: then the first turn counts. With `ties`, a tie and a both-bad vote give the pair
    both ways round, so that neither is preferred.
    """
    vote = _usable_vote(case)
    if isinstance(vote, LeftOut):
        return vote
    decided = {Winner.MODEL_A: Side.A, Winner.MODEL_B: Side.B}.get(vote.winner)
    if decided is None and not case.ties:
        return LeftOut.TIE
    battle = case.battle
    turn = _last_common(battle)
    answers = {side: _answer(battle.conversation(side)[turn]) for side in battle.sides}
    if answers[Side.A] == answers[Side.B]:
        return LeftOut.SAME_ANSWERS
    prompt = _asked(battle, Side.A, turn)
    return [
        {
            "prompt": prompt,
            "chosen": answers[better],
            "rejected": answers[better.other],
            "model_chosen": clean(battle.spec(better).id),
            "model_rejected": clean(battle.spec(better.other).id),
            **_learned(vote, battle),
        }
        for better in (battle.sides if decided is None else (decided,))
    ]


def kto_rows(case: Case) -> ShapedRows:
    """One row an answer that is known to be good or bad, with its own side's history.

    A grade decides: good is true, bad is false, ok says neither. Without a grade the vote does: the
    better answer is good, the other one bad, both-bad both bad; a tie says neither, but with `ties`
    both are good.
    """
    vote = _usable_vote(case)
    if isinstance(vote, LeftOut):
        return vote
    battle, rows = case.battle, list[Plain]()
    for side in battle.sides:
        found = _verdict(vote, side, ties=case.ties)
        if found is not None:
            label, basis = found
            turn = len(battle.conversation(side)) - 1
            rows.append(
                {
                    "prompt": _asked(battle, side, turn),
                    "completion": _answer(battle.conversation(side)[turn]),
                    "label": label,
                    "basis": basis,
                    "model": clean(battle.spec(side).id),
                    **_learned(vote, battle),
                }
            )
    return rows or (LeftOut.TIE if vote.winner is Winner.TIE else LeftOut.NO_VERDICT)


ROWS: Final[Mapping[ExportShape, Callable[[Case], ShapedRows]]] = {
    ExportShape.ARENA: arena_rows,
    ExportShape.LMARENA: lmarena_rows,
    ExportShape.DPO: dpo_rows,
    ExportShape.KTO: kto_rows,
}


def _usable_vote(case: Case) -> Vote | LeftOut:
    """The vote, if it is one on whole answers that the owner lets count."""
    if case.vote is None:
        return LeftOut.NO_VOTE
    if case.exclusion is not None:
        return LeftOut.EXCLUDED
    return LeftOut.STOPPED if Flag.STOPPED in case.battle.flags else case.vote


def _verdict(vote: Vote, side: Side, *, ties: bool) -> tuple[bool, str] | None:
    """Whether that side's answer is good, and by what: grade or vote; None where neither says."""
    grade = vote.grade_a if side is Side.A else vote.grade_b
    if grade is not None:
        return None if grade is Grade.OK else (grade is Grade.GOOD, "grade")
    if vote.winner is Winner.TIE:
        return (True, "vote") if ties else None
    better = Winner.MODEL_A if side is Side.A else Winner.MODEL_B
    return vote.winner is better, "vote"


def _last_common(battle: Battle) -> int:
    """The last turn if all that precedes it is the same on both sides; else the first."""
    last = len(battle.conversation_a) - 1
    before = [messages_of(battle.conversation(side)[:last], _message) for side in battle.sides]
    same = len(battle.conversation_b) - 1 == last and before[0] == before[1]
    return last if same else 0


def _asked(battle: Battle, side: Side, turn: int) -> list[Plain]:
    """What that side was sent for a turn: the visitor's system prompt, the history, the prompt."""
    talk = battle.conversation(side)
    messages = [_message(Role.SYSTEM, battle.system_prompt)] if battle.system_prompt else []
    return [*messages, *messages_of(talk[:turn], _message), _message(Role.USER, talk[turn].prompt)]


def _answer(turn: Exchange) -> list[Plain]:
    text = "" if turn.answer is None else turn.answer.text
    return [_message(Role.ASSISTANT, text)]


def _learned(vote: Vote, battle: Battle) -> Plain:
    return {
        "id": battle.id,
        "language": battle.language,
        "category": battle.category.value,
        "mode": battle.mode.value,
        "turns": len(battle.conversation_a),
        "winner": vote.winner.value,
    }


def _message(role: Role, text: str) -> Plain:
    return {"role": role.value, "content": clean(text)}


def _turn(turn: Plain) -> Plain:
    """How a turn went, without the texts that the messages hold already."""
    answer = turn["answer"] or {}
    return {
        "finished": answer.get("finished"),
        "cost_usd": answer.get("cost_usd"),
        "failed": turn["failed"],
    }
