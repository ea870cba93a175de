"""A battle from its first prompt to its vote, with scripted models and the real store."""

from __future__ import annotations

import asyncio
import random
from dataclasses import replace

import pytest

from arena.battle.arena import Arena
from arena.battle.limits import Visitor
from arena.battle.request import BattleRequest
from arena.battle.session import BattleSession, Phase, Snapshot
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
    ArenaBusy,
    BattleLocked,
    BattleRunning,
    EmptyPrompt,
    NoContestants,
    NothingToRetry,
    NotYourBattle,
    OneAtATime,
    RateExceeded,
    TooManyTokens,
    TooManyTurns,
    UnknownBattle,
    VoteTooEarly,
)
from arena.errors.models import BudgetSpent, Overloaded
from arena.models.base import Loading, ModelStatus, Ready, Unavailable
from arena.models.registry import Entry, Registry
from arena.settings import Limits
from arena.store.store import VoteStore
from tests.scripted import ScriptedModel, Step

VISITOR = Visitor("v" * 64)
REQUEST = BattleRequest(
    text="Why?", mode=Mode.BLIND, params=GenerationParams(), visitor=VISITOR, session_hash="tab"
)
ANSWER: list[Step] = ["Be", "cause."]


def arena_of(
    store: VoteStore, *models: ScriptedModel, limits: Limits | None = None, even: bool = False
) -> Arena:
    """An arena of these models."""
    registry = Registry([Entry(model.slug, model) for model in models])
    roomy = Limits(battles_per_minute=1000)
    return Arena(registry, store, limits or roomy, rng=random.Random(7), even_cadence=even)


async def play(arena: Arena, session: BattleSession) -> list[Snapshot]:
    """All snapshots until the battle rests."""
    return [snapshot async for snapshot in arena.snapshots(session)]


async def until(arena: Arena, session: BattleSession, wanted: str, side: Side) -> None:
    """Read snapshots in the background until that side shows that text."""
    async with asyncio.timeout(5):
        while session.snapshot().sides[side].text != wanted:
            session.changed.clear()
            await session.changed.wait()


async def test_both_sides_answer_and_the_vote_is_on_disk(store: VoteStore) -> None:
    """The whole point: two answers, one vote, and both are there after the process is gone."""
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
    """Different budgets or seeds made the original comparison unfair."""
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
    """Streams drawn in lock-step make the fast model as slow as the slow one."""
    gate = asyncio.Event()
    arena = arena_of(store, ScriptedModel("x", [gate, "late"]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    fast = next(s for s in Side if session.battle.spec(s).id == "y")
    snapshots = arena.snapshots(session)
    async with asyncio.timeout(5):
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
    """An error must not be an answer, and the good answer must not be thrown away for it."""
    bad = ScriptedModel("bad", ["half", Overloaded("secret words")], ["whole"])
    good = ScriptedModel("good", ["fine"])
    arena = arena_of(store, bad, good)
    session = await arena.begin(REQUEST)
    last = (await play(arena, session))[-1]
    side = next(s for s in Side if session.battle.spec(s).id == "bad")
    assert last.sides[side].phase is Phase.FAILED
    assert last.sides[side].text == "half"
    assert last.sides[side].facts.error_id
    assert last.retryable(side)
    assert not last.retryable(side.other)
    assert not last.votable
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    with pytest.raises(NothingToRetry):
        await arena.retry(session, side.other, VISITOR)
    with pytest.raises(VoteTooEarly):
        await arena.follow_up(session, "And?", VISITOR)
    await arena.retry(session, side, VISITOR)
    last = (await play(arena, session))[-1]
    assert last.votable
    assert len(good.asked) == 1, "the good side is not asked again"
    turn = session.battle.conversation(side)[0]
    assert turn.answer is not None
    assert turn.answer.text == "whole"
    assert turn.failed[0].finished.error_code == "overloaded"
    assert Flag.RETRIED in session.battle.flags
    assert await store.get_battle(session.battle.id) == session.battle


async def test_unexpected_fault_of_a_model_fails_its_side_alone(store: VoteStore) -> None:
    """A bug in one adapter must not hang the battle or take the other answer with it."""
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
    """Nobody can judge an answer that is not there."""
    arena = arena_of(store, ScriptedModel("x", [ending]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    last = (await play(arena, session))[-1]
    assert not last.votable
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)


async def test_stream_without_an_end_is_broken(store: VoteStore) -> None:
    """A stream that just ends was cut by something; it must not count as a whole answer."""

    class Endless(ScriptedModel):
        async def stream(self, messages, params):  # type: ignore[override]
            async for event in super().stream(messages, params):
                if not isinstance(event, Finished):
                    yield event

    arena = arena_of(store, Endless("x", ["half"]), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    last = (await play(arena, session))[-1]
    side = next(s for s in Side if session.battle.spec(s).id == "x")
    answer = last.sides[side].facts.answer
    assert answer is not None
    assert answer.finished.error_code == "stream_broken"


async def test_stop_cancels_both_at_the_source_and_keeps_the_text(store: VoteStore) -> None:
    """A stopped answer that goes on costs the owner's GPU and money for nobody."""
    never = asyncio.Event()
    x, y = ScriptedModel("x", ["begun", never]), ScriptedModel("y", ["too", never])
    arena = arena_of(store, x, y)
    session = await arena.begin(REQUEST)
    side = next(s for s in Side if session.battle.spec(s).id == "x")
    await until(arena, session, "begun", side)
    async with asyncio.timeout(1):
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


async def test_reader_that_leaves_stops_the_work(store: VoteStore) -> None:
    """A cancelled handler (a closed page) must not leave two models writing."""
    never = asyncio.Event()
    x, y = ScriptedModel("x", ["a", never]), ScriptedModel("y", ["b", never])
    arena = arena_of(store, x, y)
    session = await arena.begin(REQUEST)

    async def read() -> None:
        async for _ in arena.snapshots(session):
            pass

    reader = asyncio.create_task(read())
    await until(arena, session, "b", next(s for s in Side if session.battle.spec(s).id == "y"))
    reader.cancel()
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(1):
            await reader
    assert (x.running, y.running) == (0, 0)
    saved = await store.get_battle(session.battle.id)
    assert saved is not None
    assert saved.conversation_a[0].answer is not None


async def test_closed_tab_stops_only_its_own_battles(store: VoteStore) -> None:
    """One visitor who leaves must not stop the answers of all others."""
    never = asyncio.Event()
    x, y = ScriptedModel("x", ["a", never]), ScriptedModel("y", ["b", never])
    arena = arena_of(store, x, y)
    mine = await arena.begin(REQUEST)
    other = await arena.begin(replace(REQUEST, session_hash="another"))
    await until(arena, mine, "b", next(s for s in Side if mine.battle.spec(s).id == "y"))
    await arena.close_page("tab")
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
    """The models began to write after everything of that tab had been stopped already."""
    x, y = ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER)
    arena = arena_of(store, x, y)
    write = store.add_battle

    async def write_slowly(battle: Battle) -> None:
        await write(battle)
        await arena.close_page("tab")

    monkeypatch.setattr(store, "add_battle", write_slowly)
    with pytest.raises(UnknownBattle):
        await arena.begin(REQUEST)
    assert (x.asked, y.asked) == ([], [])
    assert (await store.counts()).battles == 1, "it was begun, so it is on record"


async def test_votes_are_refused_before_the_end_twice_and_from_others(store: VoteStore) -> None:
    """Each of these would put a verdict into the data that nobody honestly gave."""
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
    """A model that is shown the other's answer as its own is no longer the model that is judged."""
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
    """Half an answer that broke off is not what the model said."""
    x = ScriptedModel("x", ["half", Overloaded()], ["whole"], ["next"])
    arena = arena_of(store, x, ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)
    await play(arena, session)
    await arena.retry(session, next(s for s in Side if session.battle.spec(s).id == "x"), VISITOR)
    await play(arena, session)
    await arena.follow_up(session, "And?", VISITOR)
    await play(arena, session)
    assert "half" not in [m.content for m in x.asked[-1][0]]


async def test_single_mode_has_one_side_and_no_vote(store: VoteStore) -> None:
    """A vote on one answer compares nothing."""
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
    """Votes that were cast with the names in view must be told apart for good."""
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await arena.begin(replace(REQUEST, mode=Mode.OPEN, model_a="y", model_b="x"))
    await play(arena, session)
    battle = await arena.vote(session.battle.id, Winner.MODEL_A, VISITOR)
    assert battle.spec_a.id == "y"
    assert Flag.OPEN_MODE in battle.flags
    pairs = await store.tally()
    assert [(p.wins_first, p.wins_second, p.open_votes) for p in pairs] == [(0, 0, 1)]


async def test_sides_are_drawn_at_random(store: VoteStore) -> None:
    """A model that always stands left gains from every reader who prefers left."""
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    first = []
    for _ in range(40):
        session = await arena.begin(REQUEST)
        await play(arena, session)
        first.append(session.battle.spec_a.id)
    assert 8 <= first.count("x") <= 32


async def test_leaving_gemini_out_sends_it_nothing(store: VoteStore) -> None:
    """The switch is a promise about where the visitor's words go."""
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


async def test_cap_on_battles_and_bad_prompts_cost_nothing(store: VoteStore) -> None:
    """A refused request must not reach a model, nor leave a row."""
    never = asyncio.Event()
    x, y = ScriptedModel("x", [never]), ScriptedModel("y", [never])
    arena = arena_of(store, x, y, limits=Limits(battles=1))
    with pytest.raises(EmptyPrompt):
        await arena.begin(replace(REQUEST, text=" \n"))
    session = await arena.begin(REQUEST)
    with pytest.raises(ArenaBusy):
        await arena.begin(REQUEST)
    assert (await store.counts()).battles == 1
    await arena.stop(session)
    again = await arena.begin(REQUEST)
    await arena.stop(again)


async def test_prompt_waits_for_a_model_that_loads_and_then_runs(store: VoteStore) -> None:
    """Send on a page that was just opened must not be refused, nor vanish."""
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
    """Waiting for a model that will never come is a hang."""
    x, y = ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER)
    y.state = Unavailable(Overloaded())
    arena = arena_of(store, x, y)
    assert [e async for e in arena.wait_for_contestants(REQUEST)] == []
    with pytest.raises(NoContestants):
        await arena.begin(REQUEST)


@pytest.mark.parametrize("slug", ["nobody", "", None])
async def test_unknown_model_names_are_refused(store: VoteStore, slug: str | None) -> None:
    """A raw call to the server names whatever it likes."""
    arena = arena_of(store, ScriptedModel("x", ANSWER))
    battle_request = replace(REQUEST, mode=Mode.OPEN, model_a="x", model_b=slug)
    assert [e async for e in arena.wait_for_contestants(battle_request)] == []
    with pytest.raises(NoContestants):
        await arena.begin(battle_request)


async def test_even_cadence_shows_both_sides_alike(store: VoteStore) -> None:
    """With an even pace, the speed of the text must not tell which side is the fast one."""
    gate = asyncio.Event()
    arena = arena_of(
        store, ScriptedModel("x", ["abc", gate, "def"]), ScriptedModel("y", ["A" * 90]), even=True
    )
    session = await arena.begin(REQUEST)
    snapshots = []
    async with asyncio.timeout(20):
        async for snapshot in arena.snapshots(session):
            snapshots.append(snapshot)
            if len(snapshots) == 4:
                gate.set()
    x = next(s for s in Side if session.battle.spec(s).id == "x")
    for snapshot in snapshots[:4]:
        assert len(snapshot.sides[x.other].text) <= 3, "never past the slower side"
        assert snapshot.sides[x.other].facts.answer is None
    assert snapshots[-1].sides[x].text == "abcdef"
    assert snapshots[-1].sides[x.other].text == "A" * 90
    assert snapshots[-1].votable


async def test_answers_that_could_not_be_saved_open_no_vote(
    store: VoteStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the visitor votes on must be on disk; a full disk must be said, not hidden."""
    from arena.errors.store import StoreError

    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    session = await arena.begin(REQUEST)

    async def full(_battle: object) -> None:
        raise StoreError(place="disk")

    monkeypatch.setattr(store, "update_battle", full)
    last = (await play(arena, session))[-1]
    assert not last.saved
    assert not last.votable


# --- caps and the line ----------------------------------------------------------------------


async def test_a_visitor_is_told_when_to_come_back(store: VoteStore) -> None:
    """Without a rate one script fills the store and the model's queue."""
    models = [ScriptedModel(name, ANSWER) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(battles_per_minute=2, battles_per_day=3))
    for _ in range(2):
        await play(arena, await arena.begin(REQUEST))
    with pytest.raises(RateExceeded) as refusal:
        await arena.begin(REQUEST)
    assert refusal.value.values["limit"] == 2
    assert (await store.counts()).battles == 2
    assert arena.admission.queue.running == 0
    await play(arena, await arena.begin(replace(REQUEST, visitor=Visitor("w" * 64))))


async def test_follow_ups_and_retries_count_too(store: VoteStore) -> None:
    """A conversation of a thousand turns costs what a thousand battles do."""
    x, y = ScriptedModel("x", ANSWER, [Overloaded()], ANSWER), ScriptedModel("y", ANSWER)
    arena = arena_of(store, x, y, limits=Limits(battles_per_minute=3))
    session = await arena.begin(REQUEST)
    await play(arena, session)
    await arena.follow_up(session, "And?", VISITOR)
    await play(arena, session)
    failed = next(side for side in Side if session.battle.spec(side).id == "x")
    await arena.retry(session, failed, VISITOR)
    await play(arena, session)
    with pytest.raises(RateExceeded):
        await arena.follow_up(session, "And now?", VISITOR)
    assert not session.running
    assert session.battle.votable
    assert arena.admission.queue.running == 0


async def test_new_browsers_of_one_address_share_its_cap(store: VoteStore) -> None:
    """A private window for each prompt must not be a new allowance."""
    models = [ScriptedModel(name, ANSWER) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(battles_per_minute=1, visitors_per_address=2))
    for letter in "ab":
        visitor = Visitor(letter * 64, address="f" * 64)
        await play(arena, await arena.begin(replace(REQUEST, visitor=visitor)))
    with pytest.raises(RateExceeded):
        await arena.begin(replace(REQUEST, visitor=Visitor("c" * 64, address="f" * 64)))
    await play(
        arena, await arena.begin(replace(REQUEST, visitor=Visitor("c" * 64, address="e" * 64)))
    )


async def test_one_visitor_does_not_take_all_places(store: VoteStore) -> None:
    """A visitor with sixteen tabs leaves no place for anybody else."""
    gate = asyncio.Event()
    models = [ScriptedModel(name, [gate, "Late."]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(visitor_battles=1))
    session = await arena.begin(REQUEST)
    with pytest.raises(OneAtATime):
        await arena.begin(replace(REQUEST, session_hash="other tab"))
    other = await arena.begin(replace(REQUEST, visitor=Visitor("w" * 64), session_hash="other"))
    gate.set()
    await asyncio.gather(play(arena, session), play(arena, other))
    await play(arena, await arena.begin(REQUEST))


class MeteredModel(ScriptedModel):
    """One whose caps the store counts: looking at them takes a while, and may close it."""

    news: ModelStatus | None = None

    async def refresh(self) -> None:
        await asyncio.sleep(0)
        self.state = self.news or self.state

    def expenses(self) -> None:
        return None


async def test_a_model_that_others_used_up_is_not_drawn(store: VoteStore) -> None:
    """Another process has spent the day's budget: a battle must not find that out by failing."""
    cloud = MeteredModel("cloud", ANSWER)
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER), cloud)
    cloud.news = Unavailable(BudgetSpent(label="C", limit="1", until="00:00 UTC", variable="V"))
    for _ in range(10):
        session = await arena.begin(REQUEST)
        assert {session.battle.spec(side).id for side in Side} == {"x", "y"}
        await play(arena, session)


async def test_two_sends_at_the_same_moment_are_one_too_many(store: VoteStore) -> None:
    """A cap that is looked at before an await lets both through."""
    gate = asyncio.Event()
    models = [MeteredModel(name, [gate, "Late."]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(visitor_battles=1))
    results = await asyncio.gather(
        *(arena.begin(replace(REQUEST, session_hash=str(n))) for n in range(5)),
        return_exceptions=True,
    )
    assert sum(isinstance(r, BattleSession) for r in results) == 1
    assert sum(isinstance(r, OneAtATime) for r in results) == 4
    gate.set()
    await arena.aclose()
    assert arena.admission.queue.running == 0


async def test_the_line_lets_in_when_a_battle_rests(store: VoteStore) -> None:
    """Whoever waits must get the place of the battle that ended, and see the number fall."""
    gate = asyncio.Event()
    x, y = ScriptedModel("x", [gate, "Late."], ANSWER), ScriptedModel("y", ANSWER)
    arena = arena_of(store, x, y, limits=Limits(battles=1, waiting=2))
    session = await arena.begin(REQUEST)
    slots = [arena.admission.queue.acquire() for _ in range(2)]
    with pytest.raises(ArenaBusy):
        arena.admission.queue.acquire()
    seen: list[int] = []

    async def wait() -> None:
        async for position in arena.admission.queue_positions(slots[1]):
            seen.append(position)  # noqa: PERF401 -- a cancelled wait keeps what it saw

    waiting = asyncio.create_task(wait())
    await asyncio.sleep(0)
    gate.set()
    await play(arena, session)
    assert slots[0].queue_position == 0
    second = await arena.begin(replace(REQUEST, visitor=Visitor("w" * 64)), slots[0])
    await play(arena, second)
    await asyncio.wait_for(waiting, 2)
    assert seen[0] == 2
    assert slots[1].queue_position == 0


async def test_a_ticket_whose_turn_it_is_not_begins_nothing(store: VoteStore) -> None:
    """A client that skips the wait must not skip the line."""
    gate = asyncio.Event()
    models = [ScriptedModel(name, [gate, "Late."]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(battles=1))
    session = await arena.begin(REQUEST)
    early = arena.admission.queue.acquire()
    with pytest.raises(ArenaBusy):
        await arena.begin(replace(REQUEST, visitor=Visitor("w" * 64)), early)
    assert arena.admission.queue.waiting == 0
    gate.set()
    await play(arena, session)


async def test_a_tab_that_closes_gives_its_place_back(store: VoteStore) -> None:
    """Each closed tab would take a place for ever."""
    models = [ScriptedModel(name, ["A", asyncio.Event()]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(battles=1))
    await arena.begin(REQUEST)
    await arena.close_page("tab")
    assert arena.admission.queue.running == 0
    assert [model.running for model in models] == [0, 0]


async def test_a_conversation_that_grows_too_long_is_refused(store: VoteStore) -> None:
    """Each turn sends all turns before it again: the cap is on their sum."""
    models = [ScriptedModel(name, ["偶" * 30]) for name in "xy"]
    arena = arena_of(store, *models, limits=Limits(prompt_tokens=40))
    session = await arena.begin(replace(REQUEST, text="数" * 8))
    await play(arena, session)
    with pytest.raises(TooManyTokens):
        await arena.follow_up(session, "数" * 8, VISITOR)
    assert len(session.battle.conversation_a) == 1
    with pytest.raises(TooManyTokens):
        await arena.begin(replace(REQUEST, text="数" * 41))
    assert (await store.counts()).battles == 1


async def test_visitors_are_hashed_with_the_salt_that_is_set(store: VoteStore) -> None:
    """With another salt after a restart everybody would be a new voter."""
    limits = Limits()
    models = [ScriptedModel(name, ANSWER) for name in "xy"]
    registry = Registry([Entry(model.slug, model) for model in models])
    salted = Arena(registry, store, limits, salt="s" * 20)
    again = Arena(registry, store, limits, salt="s" * 20)
    kept = Arena(registry, store, limits)
    one, same = (
        await salted.admission.visitor("id", ""),
        await again.admission.visitor("id", "8.8.8.8"),
    )
    assert one.voter == same.voter
    assert one.address == ""
    assert len(same.address) == 64
    assert (await kept.admission.visitor("id", "")).voter not in {one.voter, "id"}
    account = await salted.admission.visitor("account:7", "", signed_in=True)
    assert account.signed_in
    assert account.voter != one.voter


async def test_a_vote_says_whether_the_voter_had_signed_in(store: VoteStore) -> None:
    """An owner who counts signed-in votes only needs that on each vote."""
    arena = arena_of(store, ScriptedModel("x", ANSWER), ScriptedModel("y", ANSWER))
    for signed_in in (True, False):
        visitor = replace(VISITOR, signed_in=signed_in)
        session = await arena.begin(replace(REQUEST, visitor=visitor))
        await play(arena, session)
        await arena.vote(session.battle.id, Winner.MODEL_A, visitor)
        vote = await store.get_vote(session.battle.id)
        assert vote is not None
        assert vote.signed_in is signed_in
    (pair,) = await store.tally(signed_in_only=True)
    assert pair.wins_first + pair.wins_second == 1
