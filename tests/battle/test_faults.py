"""Every fault of `fault_table.py`, in a real battle: with the real SDKs, and the real store.

What holds for all: the other side is unharmed; the visitor reads a typed reason in both languages;
there is no vote without two usable answers; a retry works once the fault is over; slots, sessions,
tasks, sockets and memory are given back.
"""

from __future__ import annotations

import asyncio
import gc
import importlib
import random
import socket
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from arena.battle.arena import Arena
from arena.battle.session import BattleSession, Phase
from arena.domain import Mode, Side, Winner
from arena.errors.battle import VoteTooEarly
from arena.models.registry import Entry, Registry
from arena.models.remote import model as remote_model
from arena.models.remote.model import LONGEST_ANSWER_S, RemoteModel
from arena.settings import Limits
from arena.store.store import VoteStore
from arena.ui.i18n import LANGUAGES, error_line, say
from arena.ui.view import battle_view
from tests.battle.arenas import REQUEST, VISITOR, until
from tests.battle.ends import ended, forgotten, freed
from tests.battle.fault_document import document
from tests.battle.fault_table import FIRST, KEPT, ProviderFault, provider_cases
from tests.conftest import ROOT
from tests.models.remote.apis import Api, running
from tests.models.remote.certificates import make_certificate, shown
from tests.scripted import ScriptedModel
from tests.store_tools import until as soon_so
from tests.virtual_time import put_forward

pytestmark = pytest.mark.filterwarnings("ignore:.* is not a valid FinishReason")

SILENCE_S, LONG_S = 40.0, 1000.0
"""What is waited for in the cases where the provider says nothing, and what is not."""
HOST = "engine.invalid"
REMOTE, LOCAL = Side.A, Side.B


class Match:
    """One battle: side A is the remote model, side B a local one that waits to be let on.

    Attributes:
        rest: lets the local side write its second half.
    """

    def __init__(self, store: VoteStore, remote: RemoteModel) -> None:
        self.rest = asyncio.Event()
        self.local = ScriptedModel("local", ["Local ", self.rest, "answer."])
        entries = [Entry("remote", remote), Entry("local", self.local)]
        limits = Limits(battles_per_minute=1000, battles=1)
        self.arena = Arena(Registry(entries), store, limits, rng=random.Random(7))

    async def begin(self) -> BattleSession:
        request = replace(REQUEST, mode=Mode.OPEN, model_a="remote", model_b="local")
        self.session = await self.arena.begin(request)
        return self.session


class Way:
    """The way to the server, which can be cut.

    Args:
        api: its server listens.
        kind: how it is cut.
        monkeypatch: of the test.
        certificates: the one that the clients trust, and another.
    """

    def __init__(
        self, api: Api, kind: str, monkeypatch: pytest.MonkeyPatch, certificates: tuple[Path, Path]
    ) -> None:
        self.kind = kind
        self._api = api
        self._cut = False
        self.url: str = api.server.url
        self._trusted, self._other = certificates
        if kind == "tls":
            self.url = self.url.replace("http://", "https://")
            monkeypatch.setenv("SSL_CERT_FILE", str(self._trusted))
        if kind == "dns":
            self.url = self.url.replace("127.0.0.1", HOST)
            self._find = socket.getaddrinfo
            monkeypatch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, host: Any, *rest: Any, **more: Any) -> Any:
        """In place of the machine's resolver, for one name."""
        if host not in (HOST, HOST.encode()):
            return self._find(host, *rest, **more)
        if self._cut:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return self._find("127.0.0.1", *rest, **more)

    async def cut(self) -> None:
        """From now on no client gets through."""
        self._cut = True
        await self._api.server.drop_clients()
        if self.kind == "refused":
            await self._api.server.__aexit__()
        if self.kind == "tls":
            await self._show(self._other)

    async def mend(self) -> None:
        """As it should be, which it is not before the first time."""
        self._cut = False
        if self.kind == "refused":
            await self._api.server.__aenter__()
        if self.kind == "tls":
            await self._show(self._trusted)

    async def _show(self, certificate: Path) -> None:
        await self._api.server.__aexit__()
        self._api.server.tls = shown(certificate)
        await self._api.server.__aenter__()


@pytest.fixture(scope="module", autouse=True)
def _sdks() -> None:
    """All that they import stays: no collection goes through it, of which each case makes one."""
    for name in ("google.genai", "openai"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Two that do not trust each other."""
    folder = tmp_path_factory.mktemp("certificates")
    return make_certificate(folder / "one.pem"), make_certificate(folder / "other.pem")


CASES = [pytest.param(case, id=f"{case[0].name}-{case[1]}-{case[2]}") for case in provider_cases()]


@pytest.mark.parametrize("case", CASES)
async def test_a_provider_fails(
    store: VoteStore,
    monkeypatch: pytest.MonkeyPatch,
    certificates: tuple[Path, Path],
    case: tuple[ProviderFault, str, str, str],
) -> None:
    """See the module's docstring."""
    fault, name, moment, code = case
    tasks_before = asyncio.all_tasks()
    async with running(name) as api:
        way = Way(api, fault.way, monkeypatch, certificates)
        if fault.way == "tls":
            await way.mend()
        kept_alive = fault.silent == "but alive"
        model = api.make(base_url=way.url, silence_s=LONG_S if kept_alive else SILENCE_S)
        await model.start()
        match = Match(store, model)
        first = [api.wire.chunk(FIRST)] if moment == "mid" else []
        if fault.reply is not None:
            api.server.default = fault.reply(api.wire, first)
        if fault.way:
            await way.cut()

        with monkeypatch.context() as patch:
            patch.setattr(remote_model, "KEPT_ALIVE_S", SILENCE_S if kept_alive else LONG_S)
            await play(match, api, fault, code)
        check_end(match, fault, code, (FIRST if first else "") + fault.text * (code == KEPT))
        await way.mend()
        if code != KEPT:
            await retried(match, api)
        if match.session.snapshot().votable:
            battle = await match.arena.vote(match.session.battle.id, Winner.TIE, VISITOR)
            assert battle == await store.get_battle(battle.id)
        await given_back(match, api, model)
    await soon_so(lambda: asyncio.all_tasks() <= tasks_before)


async def play(match: Match, api: Api, fault: ProviderFault, code: str) -> None:
    """Until both sides have ended; the remote one ends while the local one still writes."""
    session = await match.begin()
    if fault.slow:
        await until(session, FIRST + "drop ", REMOTE)
        api.time.now += LONGEST_ANSWER_S + 1
    if fault.silent:
        await silence_over(match, api)
    await ended(session, REMOTE)
    assert session.streams[LOCAL].running, "the other side goes on"
    with pytest.raises(VoteTooEarly):
        await match.arena.vote(session.battle.id, Winner.TIE, VISITOR)
    match.rest.set()
    await ended(session, LOCAL)
    assert session.snapshot().votable is (code == KEPT)


async def silence_over(match: Match, api: Api) -> None:
    """Nothing has come for so long that the remote side ends."""
    await soon_so(lambda: api.server.streaming == 1)
    while match.session.streams[REMOTE].running:
        put_forward(SILENCE_S)
        await asyncio.sleep(0.01)


def check_end(match: Match, fault: ProviderFault, code: str, text: str) -> None:
    """The other side is whole; the failed one has a reason that can be read."""
    snapshot = match.session.snapshot()
    local, remote = snapshot.sides[LOCAL], snapshot.sides[REMOTE]
    assert (local.phase, local.text) == (Phase.DONE, "Local answer.")
    answer = remote.facts.answer
    assert answer is not None
    if code == KEPT:
        assert (remote.phase, remote.text) == (Phase.DONE, text)
        assert answer.finished.reason == fault.mark
        return
    assert remote.phase is Phase.FAILED
    error = remote.facts.error
    assert error is not None
    assert (error.code, answer.finished.error_code) == (code, code), error.detail
    if not fault.slow and code != "content_blocked":
        assert remote.text == text
    for language in LANGUAGES:
        line = error_line(language, error)
        shown = battle_view(snapshot, language, None).panes[REMOTE].stats
        assert len(line) > len(say(language, "phase.failed"))
        assert line.isascii() is (language == "en"), "each language has its own sentence"
        assert line.split("{")[0] in shown.replace("&#x27;", "'")


async def retried(match: Match, api: Api) -> None:
    """There is no vote before it; then the fault is over, and the side alone is asked again."""
    session, arena = match.session, match.arena
    with pytest.raises(VoteTooEarly):
        await arena.vote(session.battle.id, Winner.TIE, VISITOR)
    api.server.default = api.wire.says("All ", "well.")
    api.time.now += 60  # the breaker's rest, if there was one
    await arena.retry(session, REMOTE, VISITOR)
    await ended(session, REMOTE)
    snapshot = session.snapshot()
    assert snapshot.sides[REMOTE].text == "All well.", snapshot.sides[REMOTE].facts.error
    assert snapshot.votable
    assert len(match.local.asked) == 1


async def given_back(match: Match, api: Api, model: RemoteModel) -> None:
    """The slot, the session, the streams, the sockets and the memory."""
    assert match.local.running == 0
    await soon_so(lambda: api.server.streaming == 0)
    assert api.server.open_connections <= 1, "one may be kept for the next answer"
    await model.aclose()
    session = await forgotten(match.arena, match.session)
    del match.session
    freed(session)
    await soon_so(lambda: api.server.open_connections == 0)


def test_the_document_is_the_table() -> None:
    """`python -m tests.battle.fault_document > docs/faults.md` brings it up to date."""
    assert (ROOT / "docs" / "faults.md").read_text(encoding="utf-8") == document()
