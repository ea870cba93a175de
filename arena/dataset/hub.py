"""The copy of battles and votes in a dataset repository on the Hub, and the way back from it.

The store is the truth; the copy is for the day when its disk is gone. Three things keep it whole:

1. Every change is noted in a file of this process when the store has committed it, and the files
   are pushed every few minutes and once more at the end (`hub_spool`, `hub_remote`).
2. A store that was never restored from the copy is restored at the start (once: what the owner
   removes from a store later on does not come back).
3. At every start, and after a note that could not be written, what the store holds and the copy
   lacks is noted again. So a crash between a commit and its note, a full disk, or a push that never
   came to pass leaves no gap.

A battle is noted when the answers of both sides have ended. One that never ended, because the
process was killed, is noted by step 3 as far as it came; only if the disk is lost too, the copy
never hears of it, and no answer that anybody could vote on is lost with it.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from arena.dataset.hub_index import Index
from arena.dataset.hub_lines import Change, all_ended, encode_line, key_of
from arena.dataset.hub_merge import Pair, missing, missing_decisions, restore
from arena.dataset.hub_spool import Spool
from arena.domain import Battle, Exclusion, Vote
from arena.errors.base import SettingsError
from arena.errors.reasons import ErrorReason
from arena.errors.store import BackupFailed, StoreError
from arena.settings import Settings
from arena.store.journal import CopyState, NoJournal
from arena.store.serialization import RecordError

if TYPE_CHECKING:
    from arena.dataset.hub_remote import Courier, Remote, Scheduler
    from arena.store.store import VoteStore

P = ParamSpec("P")
R = TypeVar("R")

_log = logging.getLogger(__name__)
_LONGEST_RETRY_S = 300.0


def make_journal(settings: Settings) -> HubBackup | NoJournal:
    """The copy that the settings ask for, or none. Nothing is read or sent before its `start`.

    Raises:
        SettingsError: a dataset without a token.
    """
    if settings.votes_dataset is None:
        return NoJournal()
    if settings.hf_token is None:
        raise SettingsError(
            variable="HF_TOKEN",
            value="''",
            allowed="ARENA_VOTES_DATASET needs a token that may write to it",
            example="hf_your-token",
        )
    return HubBackup(
        settings.votes_dataset,
        settings.hf_token.get_secret_value(),
        settings.cache_dir,
        every_minutes=settings.votes_push_minutes,
    )


def derived_salt(token: str) -> str:
    """A salt for the voters' hashes that outlives the disk, for as long as the token does.

    A salt that is kept in the store alone is lost with it, and everybody would be a new voter.
    Who has the copy can't compute it, and who has it can't compute the token.
    """
    return hmac.new(token.encode(), b"phi4-mini-arena voter salt 1", hashlib.sha256).hexdigest()


class HubBackup:
    """A journal that copies to a dataset repository. One object for one process.

    Attributes:
        settled: set when the store has been restored and the files lack nothing of it.

    Args:
        dataset: the repository; made, private, where there is none.
        token: of an account that may write to it; never logged.
        cache_dir: where the files are kept until they are pushed.
        every_minutes: time between two pushes.
        endpoint: of the Hub; None is the library's own choice (`HF_ENDPOINT`).
        retry_s: seconds to the second attempt to restore; doubled after each.
        final_s: how long the last push may hold up the end.
    """

    def __init__(
        self,
        dataset: str,
        token: str,
        cache_dir: Path,
        *,
        every_minutes: float = 5.0,
        endpoint: str | None = None,
        retry_s: float = 2.0,
        final_s: float = 5.0,
    ) -> None:
        from arena.dataset.hub_remote import Courier, Remote

        # The scheduler compares paths after it has followed their links.
        root = cache_dir.expanduser().resolve() / "votes" / dataset.replace("/", "--")
        self.dataset = dataset
        self._mark = f"restored:{dataset}"
        self.lock = threading.Lock()
        self.settled = asyncio.Event()
        self._spool = Spool(root)
        self._remote: Remote = Remote(dataset, token, root, endpoint)
        self._reader: Courier = Courier("hub-read")
        self._every_minutes = every_minutes
        self._retry_s, self._final_s = retry_s, final_s
        self._scheduler: Scheduler | None = None
        self._task: asyncio.Task[None] | None = None
        # Lines in the files and on the Hub; changes that got no line, and those of them that the
        # store has given again. Each is written by one thread at a time.
        self._noted = self._pushed = self._missed = self._healed = 0
        self._pushed_at: float | None = None
        self._restoring, self._closed, self._unreadable = False, False, 0
        self._errors: dict[str, StoreError] = {}
        self._unnoted: list[Exclusion] = []
        self._fresh: set[tuple[type, str]] | None = None  # noted since the index was made

    # --- the journal: called by the store's threads, with the lock held ---------------------------

    def battle(self, battle: Battle) -> None:
        """Notes it if no answer of it is still being written."""
        if all_ended(battle):
            self._note(battle)

    def vote(self, vote: Vote) -> None:
        """Notes it."""
        self._note(vote)

    def exclusion(self, exclusion: Exclusion) -> None:
        """Notes it."""
        self._note(exclusion)

    def state(self) -> CopyState:
        """How the copy stands; never blocks."""
        return CopyState(
            place=self.dataset,
            unpushed=self._noted - self._pushed + self._missed - self._healed,
            pushed_at=self._pushed_at,
            error=next(iter(dict(self._errors).values()), None),
            restoring=self._restoring,
            unreadable=self._unreadable,
        )

    def _note(self, change: Change) -> None:
        """Adds a line. A visitor has been told already that it is saved, so this never raises."""
        try:
            self._spool.append(encode_line(change, datetime.now(UTC)))
        except (OSError, RecordError) as error:
            # Not lost: the store has it, and `_keep` goes through the store again.
            self._missed += 1
            self._failed("note", error)
            if isinstance(change, Exclusion):  # the store tells only which ones are in force
                self._unnoted.append(change)
        else:
            self._noted += 1
            if self._fresh is not None:
                self._fresh.add(key_of(change))

    def _failed(self, what: str, error: Exception) -> None:
        failed = error if isinstance(error, StoreError) else self._remote.explain(error)
        self._errors[what] = failed
        _log.error("copy of the votes: %s failed: %s", what, failed.detail)

    # --- how pushes go: called by the courier's thread --------------------------------------------

    def push_begins(self) -> int:
        """How many lines are in the files.

        Raises:
            OSError: a file was removed; `_keep` notes again what was in it.
        """
        try:
            self._spool.check()
        except OSError:
            self._missed += 1
            raise
        return self._noted

    def push_worked(self, lines: int, *, sent: bool) -> None:
        """They are on the Hub."""
        self._pushed = lines
        self._errors.pop("push", None)
        if sent:
            self._pushed_at = time.time()

    def push_failed(self, error: BackupFailed) -> None:
        """They will be tried again at the next tick."""
        self._failed("push", error)

    # --- start and end ----------------------------------------------------------------------------

    async def start(self, store: VoteStore) -> None:
        """Begins to restore, and to copy; returns at once, and no failing Hub stops it.

        The arena may serve meanwhile: what is restored simply appears.

        Raises:
            StoreError: the store can't be read.
        """
        self._restoring = await store.get_meta(self._mark) is None
        self._task = asyncio.create_task(self._keep(store), name="hub-backup")

    async def aclose(self) -> None:
        """Pushes what is left, within `final_s`, and stops all work.

        What could not be pushed stays in its folder, and the next process takes it over.
        """
        if self._closed:
            return
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task
        self._remote.stop()
        # With nothing to push, this only waits for what the threads are doing.
        pushing = asyncio.wrap_future(self._remote.courier.submit(self._push_last))
        reading = asyncio.wrap_future(self._reader.submit(lambda: None))
        _, late = await asyncio.wait([pushing, reading], timeout=self._final_s)
        for future in late:
            future.cancel()
        if pushing in late:
            self._failed("push", TimeoutError(f"no answer in {self._final_s:g} s at the end"))
        if self.state().unpushed:
            _log.warning("%d changes are on this disk alone", self.state().unpushed)
        if self._scheduler is not None:
            self._scheduler.stop()
        self._remote.courier.close()
        self._reader.close()
        await asyncio.to_thread(self._let_go, remove=not late and not self.state().unpushed)

    def _push_last(self) -> None:
        if not self.state().unpushed:
            return
        try:
            self._connect().push_to_hub()
        except BackupFailed:
            pass  # `push_failed` has heard of it
        except Exception as error:  # noqa: BLE001 - the end goes on; the files stay
            self._failed("push", error)

    def _let_go(self, *, remove: bool) -> None:
        with self.lock:
            self._spool.close(remove=remove)

    async def _keep(self, store: VoteStore) -> None:
        """Brings store and copy together until it has worked, and again after a missed note."""
        wait = self._retry_s
        while True:
            try:
                await self._settle(store)
            except Exception as error:  # noqa: BLE001 - reported, and tried again
                self._failed("restore", error)
                await asyncio.sleep(wait)
                wait = min(2 * wait, _LONGEST_RETRY_S)
                continue
            wait = self._retry_s
            while self._missed == self._healed:  # noqa: ASYNC110 - threads count, minutes do
                await asyncio.sleep(self._every_minutes * 60)

    async def _settle(self, store: VoteStore) -> None:
        """One attempt; all that it does may be done again."""
        missed = self._missed
        scheduler = await asyncio.wrap_future(self._remote.courier.submit(self._connect))
        index = await self._read(self._index)
        if await store.get_meta(self._mark) is None:
            self._restoring = True
            added = await restore(
                store, index, lambda places: self._read(index.load, places),
                mark=self._mark, part_mark=f"restoring:{self.dataset}",
            )  # fmt: skip
            _log.info("restored %d battles and %d votes", added.battles, added.votes)
        self._restoring = False
        await self._reconcile(store, index)
        await self._read(shutil.rmtree, self._spool.hub, ignore_errors=True)
        self._healed, self._fresh = missed, None
        self._report(index)
        scheduler.trigger()
        self.settled.set()
        await asyncio.wrap_future(self._remote.courier.submit(self._write_card))

    def _connect(self) -> Scheduler:
        """The repository and its scheduler; on the courier, so that no push comes before it."""
        if self._scheduler is None:
            from arena.dataset.hub_remote import Scheduler

            with self.lock:
                self._spool.open()
            self._scheduler = Scheduler(
                self._remote, self._spool, self._every_minutes, self.lock, self
            )
            if self._closed:  # `aclose` did not see it; the last push needs no ticks
                self._scheduler.stop()
        return self._scheduler

    def _write_card(self) -> None:
        try:
            self._remote.write_card()
        except Exception as error:  # noqa: BLE001 - no vote depends on it; the next start tries
            _log.warning("%s has no card: %s", self.dataset, self._remote.explain(error).detail)

    # --- between store and copy -------------------------------------------------------------------

    def _index(self) -> Index:
        """What the Hub has, and what this process and those that were killed noted here."""
        sources = self._remote.fetch(self._spool.hub)
        with self.lock:
            self._noted += self._spool.adopt({source.name: source.size for source in sources})
            sources += self._spool.sources()
            self._fresh = set()
        return Index.build(sources)

    def _report(self, index: Index) -> None:
        self._unreadable = index.broken + index.cut
        for what in ("restore", "lines", *(["note"] if self._missed == self._healed else [])):
            self._errors.pop(what, None)
        if index.broken:
            self._errors["lines"] = BackupFailed(
                f"{index.broken} lines can't be read",
                place=self.dataset,
                remedy=ErrorReason.DO_MEND_LINES,
                number=index.broken,
            )

    async def _reconcile(self, store: VoteStore, index: Index) -> None:
        """Notes what the store holds and the copy lacks."""
        at = datetime.now(UTC)  # before the reading: a line of what comes later must win
        number = 0
        async for batch in store.iter_records():
            pairs = [(battle, vote) for battle, vote, _ in batch]
            number += await self._read(self._note_missing, index, pairs, at)
        decisions = list(await store.decisions())
        number += await self._read(self._note_decisions, index, decisions, at)
        if number:
            _log.info("%d records of the store were not in the copy", number)

    def _note_missing(self, index: Index, pairs: Sequence[Pair], at: datetime) -> int:
        changes = missing(index, pairs)
        with self.lock:
            changes = [c for c in changes if key_of(c) not in (self._fresh or ())]
        return self._note_all(changes, at)

    def _note_decisions(self, index: Index, decisions: Sequence[Exclusion], at: datetime) -> int:
        with self.lock:
            unnoted, self._unnoted = self._unnoted, []
        try:
            return self._note_all(missing_decisions(index, [*unnoted, *decisions]), at)
        except OSError:
            with self.lock:
                self._unnoted += unnoted
            raise

    def _note_all(self, changes: Sequence[Change], at: datetime) -> int:
        """Adds those lines.

        Raises:
            OSError: one can't be written; those before it are noted.
        """
        for change in changes:
            line = encode_line(change, at)
            with self.lock:  # for one line at a time: a vote may wait for it
                self._spool.append(line)
                self._noted += 1
        return len(changes)

    async def _read(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Runs it on the reading thread, behind which no push waits."""
        return await asyncio.wrap_future(self._reader.submit(work, *args, **kwargs))
