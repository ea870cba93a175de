"""A battle from its first prompt to its vote, with scripted models and the real store."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from arena.battle.limits import Visitor
from arena.blind import Phase
from arena.domain import (
    Battle,
    Finished,
    FinishReason,
    Flag,
    GenerationParams,
    Mode,
    Role,
    Side,
    Winner,
)
from arena.errors.battle import (
    AlreadyVoted,
    BattleLocked,
    BattleRunning,
    NoContestants,
    NothingToRetry,
    NotYourBattle,
    TooManyTurns,
    UnknownBattle,
    VoteTooEarly,
)
from arena.errors.models import Overloaded
from arena.models.base import Loading, Ready, Unavailable
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.battle.arenas import ANSWER, REQUEST, VISITOR, arena_of, play, side_of, until
from tests.scripted import ScriptedModel


async def test_both_sides_answer_and_the_vote_is_on_disk(store: VoteStore) -> None:
    """A battle is stored when it begins; both answers and the vote are in the store at its end."""
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    assert await store.get_battle(session.battle.id) is not None, "abandoned battles count too"
    last = (await play(arena, session))[-1]
    assert last.votable
    assert {view.text for view in last.sides.values()} == {"Because."}
    battle = await arena.vote(session.battle.id, Winner.MODEL_B, VISITOR)
    assert battle == await store.get_battle(session.battle.id)
    vote = await store.get_vote(session.battle.id)
    assert vote is not None
    assert vote.winner is Winner.MODEL_B
    assert {battle.spec_a.id, battle.spec(Side.B).id} == {"x", "y"}
    assert battle.provenance["a"] == {"device": "script"}
    assert battle.provenance["libraries"]["gradio"]


async def test_both_sides_get_the_same_params_and_a_drawn_seed(store: VoteStore) -> None:
    """Both sides get the same budget, capped by the owner, and the same drawn seed."""
    x, y = ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER)
    arena = arena_of(store, x, y, limits=Limits(new_tokens=100))
    session = await arena.begin(replace(REQUEST, params=GenerationParams(max_new_tokens=5000)))
    await play(arena, session)
    assert x.asked == y.asked
    sent = x.asked[0][1]
    assert sent.seed is not None
    assert sent.max_new_tokens == 100
    assert session.battle.params == sent


async def test_slow_side_does_not_delay_the_other(store: VoteStore) -> None:
    """A side that has finished is shown as done while the other still waits."""
    gate = asyncio.Event()
    arena = arena_of(store, ScriptedModel("x", [gate, "late"]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    fast = side_of(session, "y")
    snapshots = arena.snapshots(session)
    async with asyncio.timeout(30):
        async for snapshot in snapshots:
            if snapshot.sides[fast].phase is Phase.DONE:
                break
    assert snapshot.sides[fast].text == "Because."
    assert snapshot.sides[fast.other].phase is Phase.WAITING
    assert snapshot.running
    assert not snapshot.votable
    gate.set()
    last = [snapshot async for snapshot in snapshots][-1]
    assert last.votable


async def test_failing_side_can_be_retried_alone(store: VoteStore) -> None:
    """A failed side opens no vote and is retried alone; the other answer stays."""
    bad = ScriptedModel("bad", ["half", Overloaded("secret words")], ["whole"])
    good = ScriptedModel("good", ["fine"])
    arena = arena_of(store, bad, good)
    session = await arena.begin(REQUEST)
    last = (await play(arena, session))[-1]
    side = side_of(session, "bad")
    assert last.sides[side].phase is Phase.FAILED
    assert last.sides[side].text == "half"
    assert last.error_id
    assert last.retryable(side)
    assert last.retryable(side.other), "which side failed is not told"
    assert not last.votable
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    with pytest.raises(VoteTooEarly):
        await arena.follow_up(session, "And?", VISITOR)
    await arena.retry(session, side.other, VISITOR)
    last = (await play(arena, session))[-1]
    assert last.votable
    assert not last.error_id
    with pytest.raises(NothingToRetry):
        await arena.retry(session, side, VISITOR)
    assert len(good.asked) == 1, "the good side is not asked again"
    turn = session.battle.conversation(side)[0]
    assert turn.answer is not None
    assert turn.answer.text == "whole"
    assert turn.failed[0].finished.error_code == "overloaded"
    assert Flag.RETRIED in session.battle.flags
    assert await store.get_battle(session.battle.id) == session.battle


async def test_an_answer_that_ran_in_a_loop_can_be_judged(store: VoteStore) -> None:
    """What it wrote is there to read; the battle is flagged, and not as cut at its budget."""
    looped = Finished(FinishReason.LOOP, total_s=1.0, served_model="x@1")
    arena = arena_of(store, ScriptedModel("x", ["so " * 500, looped]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    assert (await play(arena, session))[-1].votable
    battle = await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    assert battle.flags == {Flag.LOOPING}


@pytest.mark.parametrize(
    ("tokens", "flags"), [(900, {Flag.PROMPT_CUT}), (2100, set()), (None, set())]
)
async def test_an_engine_that_read_half_of_the_prompt_is_flagged(
    store: VoteStore, tokens: int | None, flags: set[Flag]
) -> None:
    """By the number of tokens that it reports."""
    done = Finished(FinishReason.STOP, prompt_tokens=tokens, total_s=1.0, served_model="x@1")
    arena = arena_of(store, ScriptedModel("x", ["Yes.", done]), ScriptedModel("y", ANSWER))
    session = await arena.begin(replace(REQUEST, text="the cat sat on a mat " * 330))
    assert (await play(arena, session))[-1].votable
    assert session.battle.flags == flags


async def test_unexpected_fault_of_a_model_fails_its_side_alone(store: VoteStore) -> None:
    """Any exception of a model fails its own side and leaves the other one."""
    arena = arena_of(store, ScriptedModel("x", [RuntimeError("bug")]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    last = (await play(arena, session))[-1]
    phases = {session.battle.spec(s).id: last.sides[s].phase for s in Side}
    assert phases == {"x": Phase.FAILED, "y": Phase.DONE}


@pytest.mark.parametrize(
    "ending",
    [
        Finished(FinishReason.BLOCKED, error_code="content_blocked"),
        Finished(FinishReason.STOP),
    ],
)
async def test_blocked_or_empty_answer_opens_no_vote(store: VoteStore, ending: Finished) -> None:
    """A blocked or empty answer is not usable, so no vote opens."""
    arena = arena_of(store, ScriptedModel("x", [ending]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    last = (await play(arena, session))[-1]
    assert not last.votable
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)


async def test_stream_without_an_end_is_broken(store: VoteStore) -> None:
    """A stream without a last event is a broken answer."""

    class Endless(ScriptedModel):
        async def stream(self, messages, params):  # type: ignore[override]
            async for event in super().stream(messages, params):
                if not isinstance(event, Finished):
                    yield event

    arena = arena_of(store, Endless("x", ["half"]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    last = (await play(arena, session))[-1]
    side = side_of(session, "x")
    answer = last.sides[side].facts.answer
    assert answer is not None
    assert answer.finished.error_code == "stream_broken"


async def test_stop_cancels_both_at_the_source_and_keeps_the_text(store: VoteStore) -> None:
    """Stop ends both streams within a second; the text so far is stored as cancelled."""
    never = asyncio.Event()
    x, y = ScriptedModel("x", ["begun", never]), ScriptedModel("y", ["too", never])
    arena = arena_of(store, x, y)
    session = await arena.begin(REQUEST)
    side = side_of(session, "x")
    await until(session, "begun", side)
    async with asyncio.timeout(30):
        await arena.stop(session)
    assert (x.running, y.running) == (0, 0)
    saved = await store.get_battle(session.battle.id)
    assert saved is not None
    answer = saved.conversation(side)[0].answer
    assert answer is not None
    assert answer.text == "begun"
    assert answer.finished.reason is FinishReason.CANCELLED
    snapshot = session.snapshot()
    assert not snapshot.votable
    assert snapshot.retryable(side)


async def test_reader_that_leaves_stops_nothing(store: VoteStore) -> None:
    """A cancelled reader of the snapshots (a closed page) leaves both streams running."""
    never = asyncio.Event()
    x, y = ScriptedModel("x", ["a", never]), ScriptedModel("y", ["b", never])
    arena = arena_of(store, x, y)
    session = await arena.begin(REQUEST)

    async def read() -> None:
        async for _ in arena.snapshots(session):
            pass

    reader = asyncio.create_task(read())
    await until(session, "b", side_of(session, "y"))
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(30):
            await reader
    assert (x.running, y.running) == (1, 1)
    await arena.aclose()


async def test_closed_tab_stops_only_its_own_battles(store: VoteStore) -> None:
    """Closing a page stops its own battles and no others."""
    never = asyncio.Event()
    x, y = ScriptedModel("x", ["a", never]), ScriptedModel("y", ["b", never])
    arena = arena_of(store, x, y)
    mine = await arena.begin(REQUEST)
    other = await arena.begin(replace(REQUEST, session_hash="another"))
    await until(mine, "b", side_of(mine, "y"))
    await arena.pages.close("tab")
    assert not mine.running
    assert other.running
    with pytest.raises(UnknownBattle):
        arena.session(mine.battle.id)
    await arena.aclose()
    assert not other.running
    assert (x.running, y.running) == (0, 0)


async def test_tab_that_closes_while_its_battle_is_written_starts_no_model(
    store: VoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that closes while its battle is being stored starts no model."""
    x, y = ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER)
    arena = arena_of(store, x, y)
    write = store.add_battle

    async def write_slowly(battle: Battle) -> None:
        await write(battle)
        await arena.pages.close("tab")

    monkeypatch.setattr(store, "add_battle", write_slowly)
    with pytest.raises(UnknownBattle):
        await arena.begin(REQUEST)
    assert (x.asked, y.asked) == ([], [])
    assert (await store.counts()).battles == 1, "it was begun, so it is on record"


async def test_votes_are_refused_before_the_end_twice_and_from_others(store: VoteStore) -> None:
    """A vote before the end, a second one, and one of another visitor are refused."""
    gate = asyncio.Event()
    arena = arena_of(store, ScriptedModel("x", [gate, "late"]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    gate.set()
    await play(arena, session)
    with pytest.raises(NotYourBattle):
        await arena.vote(session.battle.id, Winner.TIE, Visitor("w" * 64))
    with pytest.raises(UnknownBattle):
        await arena.vote("0" * 32, Winner.TIE, VISITOR)
    await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    with pytest.raises(AlreadyVoted):
        await arena.vote(session.battle.id, Winner.MODEL_A, VISITOR)
    with pytest.raises(BattleLocked):
        await arena.follow_up(session, "And now?", VISITOR)
    vote = await store.get_vote(session.battle.id)
    assert vote is not None
    assert vote.winner is Winner.TIE


async def test_follow_up_sends_each_side_its_own_words(store: VoteStore) -> None:
    """Each model is sent its own answers of earlier turns, never the other side's."""
    x, y = ScriptedModel("x", ["x says"]), ScriptedModel("y", ["y says"])
    arena = arena_of(store, x, y, limits=Limits(turns=2))
    session = await arena.begin(replace(REQUEST, system_prompt="Be brief."))
    with pytest.raises(BattleRunning):
        await arena.follow_up(session, "And?", VISITOR)
    await play(arena, session)
    await arena.follow_up(session, "And?", VISITOR)
    await play(arena, session)
    for model, words in ((x, "x says"), (y, "y says")):
        roles = [(m.role, m.content) for m in model.asked[1][0]]
        assert roles == [
            (Role.SYSTEM, "Be brief."),
            (Role.USER, "Why?"),
            (Role.ASSISTANT, words),
            (Role.USER, "And?"),
        ]
    assert (await arena.vote(session.battle.id, Winner.TIE, VISITOR)).conversation_a[
        1
    ].prompt == "And?"
    second = await arena.begin(REQUEST)
    await play(arena, second)
    await arena.follow_up(second, "1", VISITOR)
    await play(arena, second)
    with pytest.raises(TooManyTurns):
        await arena.follow_up(second, "2", VISITOR)


async def test_follow_up_after_a_retry_does_not_send_the_failed_half(store: VoteStore) -> None:
    """The text of a failed attempt is not sent in later turns."""
    x = ScriptedModel("x", ["half", Overloaded()], ["whole"], ["next"])
    arena = arena_of(store, x, ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    await play(arena, session)
    await arena.retry(session, side_of(session, "x"), VISITOR)
    await play(arena, session)
    await arena.follow_up(session, "And?", VISITOR)
    await play(arena, session)
    assert "half" not in [m.content for m in x.asked[-1][0]]


async def test_single_mode_has_one_side_and_no_vote(store: VoteStore) -> None:
    """Single mode has one side, no vote, and follow-ups."""
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await arena.begin(replace(REQUEST, mode=Mode.SINGLE, model_a="y"))
    last = (await play(arena, session))[-1]
    assert list(last.sides) == [Side.A]
    assert not last.votable
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.MODEL_A, VISITOR)
    await arena.follow_up(session, "Go on", VISITOR)
    assert (await play(arena, session))[-1].sides[Side.A].text == "Because."


async def test_open_mode_keeps_the_chosen_sides_and_is_flagged(store: VoteStore) -> None:
    """Open mode keeps the visitor's choice of sides, and its votes are flagged."""
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await arena.begin(replace(REQUEST, mode=Mode.OPEN, model_a="y", model_b="x"))
    await play(arena, session)
    battle = await arena.vote(session.battle.id, Winner.MODEL_A, VISITOR)
    assert battle.spec_a.id == "y"
    assert Flag.OPEN_MODE in battle.flags
    assert battle.mode is Mode.OPEN


async def test_sides_are_drawn_at_random(store: VoteStore) -> None:
    """Each model stands on either side about equally often."""
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    first = []
    for _ in range(40):
        session = await arena.begin(REQUEST)
        await play(arena, session)
        first.append(session.battle.spec_a.id)
    assert 8 <= first.count("x") <= 32


async def test_leaving_gemini_out_sends_it_nothing(store: VoteStore) -> None:
    """With the switch off no Google model is drawn or can be chosen."""
    google = ScriptedModel("g", ANSWER, provider="google")
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER), google)
    for _ in range(10):
        await play(arena, await arena.begin(replace(REQUEST, use_gemini=False)))
    assert google.asked == []
    with pytest.raises(NoContestants):
        await arena.begin(
            replace(REQUEST, mode=Mode.OPEN, model_a="x", model_b="g", use_gemini=False)
        )
    with pytest.raises(NoContestants):
        await arena.begin(replace(REQUEST, mode=Mode.SINGLE, model_a="g", use_gemini=False))


async def test_prompt_waits_for_a_model_that_loads_and_then_runs(store: VoteStore) -> None:
    """While a needed model loads, the waiting entries are reported, and then the battle begins."""
    x, y = ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER)
    y.state = Loading(0.4, "download")
    arena = arena_of(store, x, y)
    seen = []
    async for entries in arena.wait_for_contestants(REQUEST):
        seen.append([e.slug for e in entries])
        y.state = Ready()
    assert seen == [["y"]]
    await play(arena, await arena.begin(REQUEST))


async def test_nothing_is_waited_for_when_nothing_loads(store: VoteStore) -> None:
    """Without a model that loads there is no wait: the battle is refused."""
    x, y = ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER)
    y.state = Unavailable(Overloaded())
    arena = arena_of(store, x, y)
    assert [e async for e in arena.wait_for_contestants(REQUEST)] == []
    with pytest.raises(NoContestants):
        await arena.begin(REQUEST)


@pytest.mark.parametrize("slug", ["nobody", "", None])
async def test_unknown_model_names_are_refused(store: VoteStore, slug: str | None) -> None:
    """A slug that no contestant has is refused, whatever the client sends."""
    arena = arena_of(store, ScriptedModel("x", ANSWER))
    battle_request = replace(REQUEST, mode=Mode.OPEN, model_a="x", model_b=slug)
    assert [e async for e in arena.wait_for_contestants(battle_request)] == []
    with pytest.raises(NoContestants):
        await arena.begin(battle_request)


async def test_answers_that_could_not_be_saved_open_no_vote(
    store: VoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Answers that the store did not take open no vote, and the snapshot says so."""
    from arena.errors.store import StoreError

    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)

    async def full(_battle: object) -> None:
        raise StoreError(place="disk")

    monkeypatch.setattr(store, "update_battle", full)
    last = (await play(arena, session))[-1]
    assert not last.saved
    assert not last.votable
