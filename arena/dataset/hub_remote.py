"""The dataset repository on the Hub, by the Hub's own library. Everything here blocks.

Imports huggingface_hub, so import this only where a copy is really kept.
"""

from __future__ import annotations

import atexit
import errno
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, Protocol, TypeVar

import httpx2
from huggingface_hub import CommitInfo, CommitScheduler, HfApi, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils._http import default_client_factory
from huggingface_hub.utils.tqdm import silent_tqdm

from arena.dataset.hub_index import Source
from arena.dataset.hub_spool import Spool
from arena.errors.reasons import ErrorReason
from arena.errors.store import BackupFailed

P = ParamSpec("P")
R = TypeVar("R")

FOLDER = "data"
CARD = "README.md"
_CARD_TEXT = Path(__file__).with_name("hub_card.md")
_CONNECT_S, _SILENT_S = 10.0, 60.0
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
         errno.ENOENT, errno.ENOTDIR, errno.EIO)  # fmt: skip


class Courier:
    """Runs calls one after the other in a thread that never keeps the process alive.

    A pool of `concurrent.futures` would be joined at the end, however long the Hub is silent.
    """

    def __init__(self, name: str) -> None:
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def submit(self, work: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        """The call's result, in its turn."""
        future: Future[R] = Future()

        def call() -> None:
            if not future.set_running_or_notify_cancel():
                return
            try:
                result = work(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001 - it is handed to whoever waits
                future.set_exception(error)
            else:
                future.set_result(result)

        self._calls.put(call)
        return future

    def close(self) -> None:
        """Ends the thread after the calls that wait already."""
        self._calls.put(None)

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            call()


class _Api(HfApi):
    """The Hub's API, whose background jobs run on a courier instead of a pool."""

    courier: Courier

    def run_as_future(self, fn: Callable[..., R], *args: Any, **kwargs: Any) -> Future[R]:  # noqa: ANN401
        """As the library's, but for the end of the process."""
        return self.courier.submit(fn, *args, **kwargs)


class Pushes(Protocol):
    """Hears how the pushes go; called on the courier's thread."""

    def push_begins(self) -> int:
        """How many lines there are to push or pushed; called with the lock held.

        Raises:
            OSError: a file is gone.
        """
        ...

    def push_worked(self, lines: int, *, sent: bool) -> None:
        """So many are on the Hub; `sent` is False where there was nothing new."""
        ...

    def push_failed(self, error: BackupFailed) -> None:
        """They are not, and will be tried again."""
        ...


class Scheduler(CommitScheduler):
    """Pushes a spool's files at every tick, and says how that went."""

    def __init__(
        self,
        remote: Remote,
        spool: Spool,
        every_minutes: float,
        lock: threading.Lock,
        pushes: Pushes,
    ) -> None:
        self._remote = remote
        self._spool = spool
        self._pushes = pushes
        self._noting = lock
        self._sizes: dict[Path, int] = {}
        super().__init__(
            repo_id=remote.dataset,
            repo_type="dataset",
            folder_path=spool.data,
            path_in_repo=FOLDER,
            every=every_minutes,
            allow_patterns=["*.jsonl"],
            private=True,
            hf_api=remote.api,
        )
        # It would push once more when the process ends, for as long as the Hub is silent.
        atexit.unregister(self._push_to_hub)
        self.lock = lock

    def push_to_hub(self) -> CommitInfo | None:
        """Pushes what changed.

        Raises:
            BackupFailed: it did not work; the next tick tries again.
        """
        try:
            with self._noting:
                lines = self._pushes.push_begins()
                sizes = self._spool.sizes()
                # The library compares times of change, and two changes can have the same one.
                for path in [p for p in self.last_uploaded if sizes.get(p) != self._sizes.get(p)]:
                    del self.last_uploaded[path]
            info = super().push_to_hub()
        except Exception as error:  # noqa: BLE001 - typed, reported, and raised again
            failed = self._remote.explain(error)
            self._pushes.push_failed(failed)
            raise failed from None  # the library logs it, and a server's words may hold the token
        self._sizes = sizes
        self._pushes.push_worked(lines, sent=info is not None)
        return info


class Remote:
    """One dataset repository.

    Args:
        dataset: its name on the Hub.
        token: of an account that may write to it.
        folder: where this machine's files are, for people.
        endpoint: of the Hub; None is the library's own choice.
    """

    def __init__(self, dataset: str, token: str, folder: Path, endpoint: str | None = None) -> None:
        _bound_silence()
        self.dataset = dataset
        self._folder = folder
        self._stopped = threading.Event()
        self.courier = Courier("hub-push")
        self.api = _Api(endpoint=endpoint, token=token)
        self.api.courier = self.courier
        self._token = token

    def stop(self) -> None:
        """Downloads no more files."""
        self._stopped.set()

    def fetch(self, folder: Path) -> list[Source]:
        """Downloads all files of the copy as they are at this moment.

        Args:
            folder: for the downloads.

        Raises:
            InterruptedError: `stop` was called.
        """
        names, revision = self._names()
        found: list[Source] = []
        for name in sorted(names):
            if self._stopped.is_set():
                raise InterruptedError("the process ends")
            if name.startswith(f"{FOLDER}/") and name.endswith(".jsonl"):
                # By commit: by branch the library would give an old file when the Hub fails.
                path = self.api.hf_hub_download(
                    self.dataset,
                    name,
                    repo_type="dataset",
                    revision=revision,
                    cache_dir=folder,
                    tqdm_class=silent_tqdm,
                )
                found.append(Source(Path(path), name, Path(path).stat().st_size))
        return found

    def write_card(self) -> None:
        """Says in the repository what it is, unless something says it already."""
        names, _ = self._names()
        if CARD not in names:
            self.api.upload_file(
                path_or_fileobj=_CARD_TEXT.read_bytes(),
                path_in_repo=CARD,
                repo_id=self.dataset,
                repo_type="dataset",
                commit_message="Say what this is",
            )

    def _names(self) -> tuple[list[str], str | None]:
        """All file names, and the commit that they are of."""
        revision = self.api.dataset_info(self.dataset, timeout=_SILENT_S).sha
        names = self.api.list_repo_files(self.dataset, repo_type="dataset", revision=revision)
        return names, revision

    def explain(self, error: Exception) -> BackupFailed:
        """One of ours for what the library raises; the token is never in it."""
        if isinstance(error, BackupFailed):
            return error
        # The library wraps what goes wrong in its large-file storage.
        cause = error.__cause__ if isinstance(error, RuntimeError) else None
        if not isinstance(cause, Exception):
            cause = error
        remedy = ErrorReason.DO_WAIT_FOR_HUB
        if isinstance(cause, HfHubHTTPError):  # an OSError too, so it comes first
            if cause.response.status_code in (401, 403, 404):
                remedy = ErrorReason.DO_GRANT_WRITE
        elif isinstance(cause, OfflineModeIsEnabled):
            remedy = ErrorReason.DO_UNSET_HUB_OFFLINE
        elif isinstance(cause, OSError) and cause.errno in _DISK:
            remedy = ErrorReason.DO_FREE_CACHE
        detail = f"{type(cause).__name__}: {cause}"
        if not isinstance(cause, OSError | httpx2.HTTPError):
            detail = "".join(traceback.format_exception(error))  # nobody expects it
        detail = detail.replace(self._token, "(token)")
        return BackupFailed(detail, place=self.dataset, remedy=remedy, folder=self._folder)


@cache
def _bound_silence() -> None:
    """Gives the library's requests a timeout, where they have none of their own.

    By default a commit to a Hub that says nothing waits for ever, and all later ones behind it.
    """
    set_client_factory(_client)


def _client() -> httpx2.Client:
    client = default_client_factory()
    client.timeout = httpx2.Timeout(_SILENT_S, connect=_CONNECT_S)
    return client
