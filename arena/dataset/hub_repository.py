"""The files of the copy in a dataset repository: lines, versions, and the Hub's own library.

Everything here blocks. Imports huggingface_hub: import it only where a copy is really kept.
"""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import re
import secrets
import shutil
import traceback
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
from huggingface_hub import (
    CommitOperationAdd,
    CommitOperationDelete,
    HfApi,
    set_client_factory,
)
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils._http import default_client_factory
from huggingface_hub.utils.tqdm import silent_tqdm

from arena.domain import Battle, Vote
from arena.errors.reasons import ErrorReason
from arena.errors.store import BackupFailed
from arena.store.changes import Record, RecordKey, RecordKind, key_of
from arena.store.restore import answers_in
from arena.store.serialization import BATTLE, EXCLUSION, VOTE, RecordError, Serializer

_log = logging.getLogger(__name__)

FOLDER, CARD = "data", "README.md"
FILE_BYTES = 4 * 1024 * 1024
"""About the size of the largest file: well below the 10 MB from which the Hub wants its large-file
storage."""
COMPACT_AGE = timedelta(days=1)
CONNECT_S, SILENT_S = 10.0, 60.0

_CARD_TEXT = Path(__file__).with_name("hub_card.md")
_TIME = "%Y%m%dT%H%M%SZ"
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM,
         errno.ENOENT, errno.ENOTDIR, errno.EIO)  # fmt: skip


_ID: Final = re.compile(rb'"([0-9a-f]{32})"')
_ERASED: Final = b'"erased":{'


# --- lines ------------------------------------------------------------------------------------


class Version(NamedTuple):
    """Orders the lines of one record: the greatest counts.

    Attributes:
        erased: whether it is a battle whose texts were erased; those never come back.
        answers: how many answers a battle holds, so that a clock that is wrong costs none.
        at: the moment before the record was read from the store.
        digest: of the record's content.
        words: how much a voter has added to a vote.
    """

    erased: bool
    answers: int
    at: datetime
    digest: bytes
    words: int


def encode_line(record: Record, at: datetime) -> bytes:
    """The line of a record, its end included; one line, whatever the texts hold.

    Raises:
        RecordError: it holds what could not be read back.
    """
    kind = key_of(record).kind
    plain = _SERIALIZERS[kind].encode(record)
    line = {"kind": kind, "at": at.astimezone(UTC).isoformat(), "record": plain}
    return json.dumps(line, **_JSON).encode() + b"\n"


def decode_line(line: bytes) -> tuple[Record, Version]:
    """The record and its version.

    Raises:
        RecordError: it is not a line of ours, or only a part of one.
    """
    try:
        found = json.loads(line)
        kind, at = RecordKind(found["kind"]), datetime.fromisoformat(found["at"])
        plain = dict(found["record"])
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise RecordError(f"not a line of the copy: {type(error).__name__}") from error
    if at.tzinfo is None:
        raise RecordError("a moment without a time zone")
    record: Record = _SERIALIZERS[kind].decode(plain)
    return record, Version(_erased(record), _answers(record), at, _digest(plain), _words(record))


_JSON: Final[dict[str, Any]] = {
    "ensure_ascii": False, "allow_nan": False, "separators": (",", ":"),
}  # fmt: skip
_SERIALIZERS: Final[Mapping[RecordKind, Serializer[Any]]] = {
    RecordKind.BATTLE: BATTLE,
    RecordKind.VOTE: VOTE,
    RecordKind.EXCLUSION: EXCLUSION,
}


def encode_lines(records: Sequence[Record], at: datetime) -> list[bytes]:
    """The lines of records."""
    return [encode_line(record, at) for record in records]


def _erased(record: Record) -> bool:
    return isinstance(record, Battle) and record.erased is not None


def _answers(record: Record) -> int:
    return answers_in(record) if isinstance(record, Battle) else 0


def _words(record: Record) -> int:
    if not isinstance(record, Vote):
        return 0
    words = (record.comment, record.guess, record.grade_a, record.grade_b)
    return len(record.reasons) + sum(word is not None for word in words)


def _digest(plain: Mapping[str, Any]) -> bytes:
    # A field that older records lack is null in newer ones: that is no change to copy.
    said = {name: value for name, value in plain.items() if value is not None}
    text = json.dumps(said, sort_keys=True, **_JSON)
    return hashlib.blake2b(text.encode(), digest_size=16).digest()


# --- files ------------------------------------------------------------------------------------


def _lines(files: Sequence[Path]) -> Iterator[tuple[Path, int, bytes]]:
    """Every line that is not empty, without its end, with its file and its number."""
    for path in files:
        with path.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                if text := line.strip():
                    yield path, number, text


def newest_versions(files: Sequence[Path]) -> tuple[dict[RecordKey, Version], int]:
    """The version that counts of every record, and how many lines can't be read."""
    newest: dict[RecordKey, Version] = {}
    unreadable = 0
    for path, number, line in _lines(files):
        try:
            record, version = decode_line(line)
        except RecordError:  # its text may hold what a visitor wrote
            unreadable += 1
            _log.error("line %d of %s/%s can't be read", number, FOLDER, path.name)
        else:
            key = key_of(record)
            newest[key] = max(version, newest.get(key, version))
    return newest, unreadable


def read_records(
    files: Sequence[Path], kinds: Sequence[RecordKind], newest: Mapping[RecordKey, Version]
) -> Iterator[Record]:
    """The records of those kinds as the lines that count have them."""
    for _, _, line in _lines(files):
        try:
            record, version = decode_line(line)
        except RecordError:
            continue  # `newest_versions` has counted it
        key = key_of(record)
        if key.kind in kinds and newest[key] == version:
            yield record


def lacking(newest: Mapping[RecordKey, Version], records: Sequence[Record]) -> list[RecordKey]:
    """Those that the copy does not have, or has otherwise and no fuller.

    A record that the copy has fuller is of an old disk: another process has added to it since.
    """
    found = []
    for record in records:
        key = key_of(record)
        known, digest = newest.get(key), _digest(_SERIALIZERS[key.kind].encode(record))
        if known is None or (
            known.digest != digest
            and not known.erased
            and (
                _erased(record)
                or (known.answers <= _answers(record) and known.words <= _words(record))
            )
        ):
            found.append(key)
    return found


def erased_in(files: Sequence[Path]) -> set[str]:
    """The battles that a line marks as erased."""
    found = set()
    for _, _, line in _lines(files):
        if _ERASED in line:
            try:
                record, version = decode_line(line)
            except RecordError:
                continue  # it marks nothing
            if version.erased:
                found.add(key_of(record).battle_id)
    return found


def without_texts(line: bytes, erased: AbstractSet[str]) -> bytes | None:
    """A line without the texts of erased battles; None where nothing of it may stay.

    That is an older line of such a battle, or one that names it and can't be read.
    """
    if erased.isdisjoint(name.decode() for name in _ID.findall(line)):
        return line
    try:
        record, version = decode_line(line)
    except RecordError:
        return None
    if isinstance(record, Battle) and record.id in erased and not version.erased:
        return None
    if isinstance(record, Vote) and record.battle_id in erased and record.comment is not None:
        return encode_line(replace(record, comment=None), version.at).rstrip(b"\n")
    return line


# --- the repository ---------------------------------------------------------------------------


class HubRepository:
    """One dataset on the Hub."""

    def __init__(self, dataset: str, token: str, cache: Path, endpoint: str | None) -> None:
        _bound_silence()
        self.dataset = dataset
        self._cache = cache / dataset.replace("/", "--")
        self._token = token
        self._api = HfApi(endpoint=endpoint, token=token)
        self._created = False

    def download(self) -> list[Path]:
        """All files of the copy as they are at this moment."""
        self._create()
        commit, files = self._files()
        return [self._fetch(file, commit) for file in files]

    def remove_downloads(self) -> None:
        """Removes what was downloaded."""
        shutil.rmtree(self._cache, ignore_errors=True)

    def add(
        self, content: bytes, *, replaced: Sequence[RepoFile] = (), parent: str | None = None
    ) -> None:
        """One more file, and the removal of others, as one commit.

        Args:
            content: the lines.
            replaced: the files to remove.
            parent: the newest commit that there may be; None for any.

        Raises:
            BackupFailed: the dataset is public.
        """
        name = f"{FOLDER}/{datetime.now(UTC):{_TIME}}-{secrets.token_hex(6)}.jsonl"
        removed = [CommitOperationDelete(file.path) for file in replaced]
        message = "Merge files" if replaced else "Add records"
        self._commit([CommitOperationAdd(name, content), *removed], message, parent)

    def erase(self) -> None:
        """Rewrites the files without the texts of battles that are marked as erased in them.

        Then squashes the history, in which the old files would stay. May be repeated at any time;
        the file of a merge or of another process that comes in between makes it fail.
        """
        self._create()
        commit, files = self._files()
        paths = {file.path: self._fetch(file, commit) for file in files}
        erased = erased_in(list(paths.values()))
        changes: list[CommitOperationAdd | CommitOperationDelete] = []
        for name, path in paths.items():
            lines = [line for _, _, line in _lines([path])]
            kept = [bare for line in lines if (bare := without_texts(line, erased)) is not None]
            if kept != lines:
                content = b"".join(line + b"\n" for line in kept)
                changes.append(
                    CommitOperationAdd(name, content) if kept else CommitOperationDelete(name)
                )
        if changes:
            self._commit(changes, "Remove texts", commit)
        self._api.super_squash_history(
            self.dataset, repo_type="dataset", commit_message="Squash the history"
        )
        self.remove_downloads()

    def _commit(
        self,
        changes: Sequence[CommitOperationAdd | CommitOperationDelete],
        message: str,
        parent: str | None,
    ) -> None:
        """One commit; errors as `add`."""
        self._create()
        if not self._api.dataset_info(self.dataset, timeout=SILENT_S).private:
            place, remedy = self.dataset, ErrorReason.DO_MAKE_PRIVATE
            raise BackupFailed("the dataset is public", place=place, remedy=remedy)
        self._api.create_commit(
            self.dataset,
            changes,
            commit_message=message,
            repo_type="dataset",
            parent_commit=parent,
        )

    def compact(self) -> None:
        """Merges small files, oldest first, where one of them is older than `COMPACT_AGE`.

        Safe at any moment: until the commit nothing is changed, and a reader of the commit before
        it finds the old files. A file with a line that can't be read is left for people to mend.
        """
        commit, files = self._files()
        small = [file for file in files if file.size < FILE_BYTES / 2]
        if not small or Path(small[0].path).name > f"{datetime.now(UTC) - COMPACT_AGE:{_TIME}}":
            return
        newest: dict[RecordKey, tuple[Version, bytes]] = {}
        merged: list[RepoFile] = []
        for file in small:
            if sum(one.size for one in [*merged, file]) > FILE_BYTES:
                break
            try:
                found = [
                    (decode_line(line), line) for *_, line in _lines([self._fetch(file, commit)])
                ]
            except RecordError:
                continue
            merged.append(file)
            for (record, version), line in found:
                key = key_of(record)
                newest[key] = max((version, line), newest.get(key, (version, line)))
        if len(merged) > 1:
            content = b"".join(line + b"\n" for _, line in newest.values())
            self.add(content, replaced=merged, parent=commit)
        self.remove_downloads()

    def write_card(self) -> None:
        """Says in the repository what it is, unless something says it already."""
        try:
            if not self._api.file_exists(self.dataset, CARD, repo_type="dataset"):
                self._api.upload_file(
                    path_or_fileobj=_CARD_TEXT.read_bytes(),
                    path_in_repo=CARD,
                    repo_id=self.dataset,
                    repo_type="dataset",
                    commit_message="Say what this is",
                )
        except Exception as error:  # noqa: BLE001 - no vote depends on it; the next start tries
            _log.warning("%s has no card: %s", self.dataset, self.explain(error).detail)

    def explain(self, error: Exception) -> BackupFailed:
        """One of ours for what the library raises; the token is never in it."""
        # The library wraps what goes wrong in its large-file storage.
        cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ else error
        remedy = ErrorReason.DO_WAIT_FOR_HUB
        if isinstance(cause, HfHubHTTPError):  # an OSError too, so it comes first
            if cause.response.status_code in (401, 403, 404):
                remedy = ErrorReason.DO_GRANT_WRITE
        elif isinstance(cause, OfflineModeIsEnabled):
            remedy = ErrorReason.DO_UNSET_HUB_OFFLINE
        elif isinstance(cause, OSError) and cause.errno in _DISK:
            remedy = ErrorReason.DO_FREE_CACHE
        expected = isinstance(cause, OSError | httpx2.HTTPError)
        detail = f"{type(cause).__name__}: {cause}"
        if not expected:
            detail = "".join(traceback.format_exception(error))
        detail = detail.replace(self._token, "(token)")
        return BackupFailed(detail, place=self.dataset, remedy=remedy, folder=self._cache)

    def _create(self) -> None:
        if not self._created:
            self._api.create_repo(self.dataset, repo_type="dataset", private=True, exist_ok=True)
            self._created = True

    def _files(self) -> tuple[str | None, list[RepoFile]]:
        """The newest commit, and the files of the copy in it, oldest first."""
        commit = self._api.dataset_info(self.dataset, timeout=SILENT_S).sha
        tree = self._api.list_repo_tree(
            self.dataset, recursive=True, revision=commit, repo_type="dataset"
        )
        found = [file for file in tree if isinstance(file, RepoFile)]
        return commit, sorted(
            (f for f in found if f.path.startswith(f"{FOLDER}/") and f.path.endswith(".jsonl")),
            key=lambda file: file.path,
        )

    def _fetch(self, file: RepoFile, commit: str | None) -> Path:
        # By commit: by branch the library would give an old file when the Hub fails.
        path = self._api.hf_hub_download(
            self.dataset,
            file.path,
            repo_type="dataset",
            revision=commit,
            cache_dir=self._cache,
            tqdm_class=silent_tqdm,
        )
        return Path(path)


@cache
def _bound_silence() -> None:
    """Gives the library's requests a timeout, where they have none of their own.

    By default a commit to a Hub that says nothing waits for ever, and all later ones behind it.
    """

    def client() -> httpx2.Client:
        made = default_client_factory()
        made.timeout = httpx2.Timeout(SILENT_S, connect=CONNECT_S)
        return made

    set_client_factory(client)
