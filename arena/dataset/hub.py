"""The store's own records in a private dataset on the Hub: copied there, and restored from there.

The store is the truth; the copy is for the day when its disk is gone. A line of the copy is

    {"kind": "battle" | "vote" | "exclusion", "at": "<UTC time>", "record": {...}}

with the record as `arena.store.serialization` writes it, unmasked. What changed goes every few
minutes, and at the end of the process, as one more file `data/<UTC time>-<random>.jsonl`. No file
is changed after that, so any number of processes may share a dataset. Of several lines of one
record the newest counts (`Version`), in whatever file it stands. Once a day the small files are
merged into one; the new file and the removal of the old ones are one commit.

What the store has erased is removed from the files too, within an hour, and the history squashed.
A battle that the copy marks as erased is erased in every store that shares it, at its start.

At the start all files are read. A store that was never restored from the dataset gets what it
lacks of them (once: what the owner removes from a store later on does not come back); then what
the store holds and the copy lacks is pushed. So a crash between a commit and its push leaves no
gap while the disk is there.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TypeVar

from arena.concurrency import run_in_daemon_thread
from arena.dataset.hub_repository import (
    FILE_BYTES,
    HubRepository,
    Version,
    encode_lines,
    lacking,
    newest_versions,
    read_records,
)
from arena.domain import Battle, Exclusion, Vote
from arena.errors.base import SettingsError
from arena.errors.reasons import ErrorReason
from arena.errors.store import BackupFailed, StoreError
from arena.settings import Settings
from arena.store.changes import CopyState, RecordKey, RecordKind
from arena.store.settings_table import LAST_ERASURE
from arena.store.store import VoteStore

T = TypeVar("T")

_log = logging.getLogger(__name__)

BATCH = 50
"""Records in one transaction of the store: a visitor's vote must not wait for many more."""
COMPACT_CHECK_S = 3600.0
RETRY_S, LONGEST_RETRY_S = 2.0, 300.0
FINAL_PUSH_S = 5.0


def make_hub_dataset(settings: Settings, store: VoteStore) -> HubDataset | None:
    """The copy that the settings ask for, if any. Nothing is read or sent yet.

    Raises:
        SettingsError: a dataset without a token.
    """
    if settings.votes_dataset is None:
        return None
    if settings.hf_token is None:
        raise SettingsError(
            variable="HF_TOKEN",
            value="''",
            allowed="ARENA_VOTES_DATASET needs a token that may write to it",
            example="hf_your-token",
        )
    return HubDataset(
        store,
        settings.votes_dataset,
        settings.hf_token.get_secret_value(),
        settings.cache_dir,
        every_minutes=settings.votes_push_minutes,
    )


def derived_salt(token: str) -> str:
    """A salt for the voters' hashes that outlives the disk, for as long as the token does.

    With a salt that is lost with its store, every voter would be a new one after a restore. The
    copy does not tell the salt, and the salt does not tell the token.
    """
    return hmac.new(token.encode(), b"phi4-mini-arena voter salt 1", hashlib.sha256).hexdigest()


class HubDataset:
    """Copies a store to a dataset repository and restores it. One object for one process.

    Attributes:
        settled: set when the store has been restored, and what the copy lacked is pushed.

    Args:
        store: its changes are tracked from now on.
        dataset: the repository; made, private, where there is none.
        token: of an account that may write to it; never logged.
        cache_dir: files of the copy are there while they are read.
        every_minutes: time between two pushes.
        endpoint: of the Hub; None is the library's own choice (`HF_ENDPOINT`).
        retry_s: seconds until what failed is tried again; doubled after each failure.
        final_s: how long the last push may hold up the end.
    """

    def __init__(
        self,
        store: VoteStore,
        dataset: str,
        token: str,
        cache_dir: Path,
        *,
        every_minutes: float = 5.0,
        endpoint: str | None = None,
        retry_s: float = RETRY_S,
        final_s: float = FINAL_PUSH_S,
    ) -> None:
        self.settled = asyncio.Event()
        self._store = store
        self._changes = store.track_changes(self.state)
        self._repository = HubRepository(dataset, token, cache_dir.expanduser() / "votes", endpoint)
        self._mark, self._erased = f"restored:{dataset}", f"erased:{dataset}"
        self._every_s, self._retry_s, self._final_s = every_minutes * 60, retry_s, final_s
        self._turn = asyncio.Lock()
        self._sending: asyncio.Future[None] | None = None
        self._task: asyncio.Task[None] | None = None
        self._compact_at = 0.0
        self._restoring = self._compared = self._closed = False
        self._unreadable = 0
        self._pushed_at: float | None = None
        self._errors: dict[str, StoreError] = {}

    def state(self) -> CopyState:
        """How the copy stands; never blocks."""
        return CopyState(
            place=self._repository.dataset,
            unpushed=len(self._changes),
            pushed_at=self._pushed_at,
            error=next(iter(self._errors.values()), None),
            restoring=self._restoring,
            unreadable=self._unreadable,
        )

    async def start(self) -> None:
        """Begins to restore and to copy; returns at once, and no failing Hub stops it.

        The arena may serve meanwhile: what is restored simply appears.

        Raises:
            StoreError: the store can't be read.
        """
        self._restoring = await self._store.get_meta(self._mark) is None
        self._task = asyncio.create_task(self._run(), name="hub-dataset")

    async def aclose(self) -> None:
        """Pushes what is left, within `final_s`, and stops. Also without a `start` before it."""
        if self._closed:
            return
        self._closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
        try:
            async with asyncio.timeout(self._final_s):
                await self.push()
        except TimeoutError:
            self._failed("push", TimeoutError(f"no answer in {self._final_s:g} s at the end"))
        except StoreError:
            pass  # the state has it
        if self._changes:
            _log.warning("%d changes are on this disk alone", len(self._changes))

    async def _run(self) -> None:
        wait = self._retry_s
        while True:
            # No restore waits for a push that fails, and no push for a restore that does.
            first = (self.push, self._compare, self.push)
            failed = False
            for step in (self.push, self._compact) if self._compared else first:
                try:
                    await step()
                except StoreError:  # the state has it
                    failed = True
            if not failed:
                self.settled.set()
            await asyncio.sleep(wait if failed else self._every_s)
            wait = min(2 * wait, LONGEST_RETRY_S) if failed else self._retry_s

    @contextmanager
    def _reported(self, what: str) -> Iterator[None]:
        """Keeps an error for the state, until the same work succeeds.

        Raises:
            StoreError: for whatever was raised inside.
        """
        try:
            yield
        except Exception as error:  # noqa: BLE001 - typed, reported, and raised again
            raise self._failed(what, error) from None  # a server's words may hold the token
        self._errors.pop(what, None)

    def _failed(self, what: str, error: Exception) -> StoreError:
        failed = error if isinstance(error, StoreError) else self._repository.explain(error)
        self._errors[what] = failed
        _log.error("copy of the votes: %s failed: %s", what, failed.detail)
        return failed

    # --- to the Hub -------------------------------------------------------------------------------

    async def push(self) -> None:
        """Copies all that has changed; nothing is sent where nothing has.

        Raises:
            StoreError: it did not work; what is left waits for the next push.
        """
        async with self._turn:
            if self._sending is not None:  # of a push that was cancelled: nothing goes twice
                await asyncio.wait([self._sending])
            pending = self._changes.pending()
            batches = _batches(list(pending))
            with self._reported("push"):
                for batch in batches:
                    await self._push_file(batch, batches, pending)

    async def _push_file(
        self,
        batch: list[RecordKey] | None,
        more: Iterator[list[RecordKey]],
        pending: Mapping[RecordKey, int],
    ) -> None:
        """One file of that batch and as many more as it has room for."""
        at = datetime.now(UTC)  # before the reading: a line of what comes later must win
        lines: list[bytes] = []
        copied: dict[RecordKey, int] = {}
        while batch is not None:
            records = await self._store.records(batch)
            lines += await _in_thread(partial(encode_lines, records, at))
            copied |= {key: pending[key] for key in batch}
            batch = next(more, None) if sum(map(len, lines)) < FILE_BYTES else None
        send = partial(self._send, b"".join(lines), copied)
        self._sending = asyncio.wrap_future(run_in_daemon_thread("hub-push", send))
        await asyncio.shield(self._sending)

    def _send(self, content: bytes, copied: Mapping[RecordKey, int]) -> None:
        """In a thread, which goes on when the wait for it is cancelled."""
        if content:
            self._repository.add(content)
            self._pushed_at = time.time()
        self._changes.forget(copied)

    async def erase(self) -> None:
        """Removes from the copy and its history what the store has erased since the last time.

        Raises:
            StoreError: it did not work; nothing is lost by it, and it may be repeated.
        """
        due = await self._store.get_meta(LAST_ERASURE)
        if due is None or due == await self._store.get_meta(self._erased):
            return
        await self._compare()  # another process may have erased it, and not said so here
        await self.push()
        with self._reported("erase"):
            await _in_thread(self._repository.erase)
        await self._store.set_meta(self._erased, due)

    async def _compact(self) -> None:
        if time.monotonic() < self._compact_at:
            return
        await self.erase()
        self._compact_at = time.monotonic() + COMPACT_CHECK_S
        try:
            await _in_thread(self._repository.compact)
        except Exception as error:  # noqa: BLE001 - nothing is lost by it; the next check tries
            _log.warning("files were not merged: %s", self._repository.explain(error).detail)

    # --- from the Hub -----------------------------------------------------------------------------

    async def _compare(self) -> None:
        """Brings store and copy together; doing it again changes nothing.

        Raises:
            StoreError: it did not work.
        """
        with self._reported("restore"):
            files = await _in_thread(self._repository.download)
            newest, unreadable = await _in_thread(partial(newest_versions, files))
            if await self._store.get_meta(self._mark) is None:
                await self._restore(files, newest)
            self._restoring = False
            await self._store.erase([key.battle_id for key, one in newest.items() if one.erased])
            for keys in _batches(await self._store.record_keys()):
                records = await self._store.records(keys)
                self._changes.add(await _in_thread(partial(lacking, newest, records)))
            await _in_thread(self._repository.remove_downloads)
        self._unreadable = unreadable
        if unreadable:
            self._errors["lines"] = BackupFailed(
                f"{unreadable} lines can't be read",
                place=self._repository.dataset,
                remedy=ErrorReason.DO_MEND_LINES,
                number=unreadable,
            )
        self._compared = True
        await _in_thread(self._repository.write_card)

    async def _restore(self, files: Sequence[Path], newest: Mapping[RecordKey, Version]) -> None:
        """Puts into the store what it lacks of the copy, then the mark."""
        battles = votes = 0
        for kinds in ([RecordKind.BATTLE], [RecordKind.VOTE, RecordKind.EXCLUSION]):
            found = read_records(files, kinds, newest)
            while batch := await _in_thread(partial(_next, found)):
                counts = await self._store.restore(
                    [record for record in batch if isinstance(record, Battle)],
                    [record for record in batch if isinstance(record, Vote)],
                    [record for record in batch if isinstance(record, Exclusion)],
                )
                battles, votes = battles + counts.battles, votes + counts.votes
        await self._store.set_meta(self._mark, datetime.now(UTC).isoformat())
        _log.info("restored %d battles and %d votes", battles, votes)


async def _in_thread(work: Callable[[], T]) -> T:
    return await asyncio.wrap_future(run_in_daemon_thread("hub-work", work))


def _next(found: Iterator[T]) -> list[T]:
    return list(islice(found, BATCH))


def _batches(keys: Sequence[RecordKey]) -> Iterator[list[RecordKey]]:
    for start in range(0, len(keys), BATCH):
        yield list(keys[start : start + BATCH])
