"""Gets a model's files: from a folder, from the cache, or from the Hugging Face Hub."""

from __future__ import annotations

import errno
import json
import logging
import shutil
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import TimeoutError as FutureTimeoutError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from arena.concurrency import run_in_daemon_thread
from arena.errors.models import ModelError, ModelUnavailable, UnsupportedModel
from arena.errors.reasons import ErrorReason
from arena.models.local.engine import Foreign
from arena.models.local.memory import gib

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

log = logging.getLogger(__name__)

ProgressCallback = Callable[[str, float | None], None]
"""Takes the step (`download`, `convert`, `load`, `warm_up`) and 0 to 1, or None if unknown."""

REACH_S = 4.0
"""How long the Hub may take to answer at all."""
LOOKUP_S = 0.5
"""How much longer looking up its name may take, which has no timeout of its own."""
NAMED_FILES = 100
"""Of a repository's files, that stand in the log."""
REVISION_CHARACTERS = 12
"""Of a commit, as people read it."""

_SMALL_FILES = (".json", ".txt", ".model", ".jinja", ".tiktoken")


@dataclass(frozen=True, slots=True)
class Fetched:
    """Files that are here.

    Attributes:
        path: a folder, or a .gguf file.
        revision: the commit or content that was got; empty for a plain folder.
    """

    path: Path
    revision: str = ""


@dataclass(frozen=True, slots=True)
class WeightsForm:
    """A form in which a repository may hold a model.

    Attributes:
        select: of the names of a repository's files those to get; none if it has not this form.
        locate: the model's folder in a copy of the repository; None if files are missing.
        missing: why a repository without it is of no use.
        probe: a name that the copy surely has, or surely has not been asked for.
    """

    select: Callable[[Sequence[str]], list[str]]
    locate: Callable[[Path], Path | None]
    missing: ErrorReason
    probe: str


def fetch(
    source: str,
    revision: str,
    label: str,
    report: ProgressCallback,
    form: WeightsForm | None = None,
) -> Fetched:
    """The files of a folder, a .gguf file, or a Hub repository (from its cache if complete there).

    Args:
        source: a Hub id, a folder, or a .gguf file.
        revision: branch, tag or commit of a Hub repository.
        label: the model's name in messages.
        report: hears how far it is.
        form: what to get of a Hub repository; None is transformers' own.

    Raises:
        ModelError: they can't be had; says why and what to do.
    """
    path = Path(source).expanduser()
    if path.is_dir():
        return Fetched(path)
    if path.suffix == ".gguf" or path.is_file():
        if path.is_file():
            return Fetched(path)
        raise ModelUnavailable(label=label, why=ErrorReason.NO_FILE, source=source)
    if source.startswith((".", "/", "~")) or source.count("/") > 1:
        raise ModelUnavailable(label=label, why=ErrorReason.NO_FOLDER, source=source)
    return _HubFetch(source, revision, label, report, form or SAFETENSORS).run()


def in_cache(source: str, revision: str, label: str, form: WeightsForm | None = None) -> bool:
    """Whether all files of a Hub repository are in its cache; needs no network.

    Raises:
        ModelUnavailable: that is no name of a repository.
    """
    hub = _HubFetch(source, revision, label, lambda *_: None, form or SAFETENSORS)
    return hub.cached() is not None


def whereabouts(source: str, revision: str, label: str, form: WeightsForm | None = None) -> str:
    """Where the files are, or would come from; downloads nothing.

    Raises:
        ModelError: they can't be had; says why and what to do.
    """
    if Path(source).expanduser().exists():
        fetch(source, revision, label, lambda *_: None)
        return f"here, in {source}"
    hub = _HubFetch(source, revision, label, lambda *_: None, form or SAFETENSORS)
    return hub.whereabouts()


@dataclass(frozen=True, slots=True)
class _HubFetch:
    """One repository of the Hub; see `fetch`."""

    source: str
    revision: str
    label: str
    report: ProgressCallback
    form: WeightsForm

    def run(self) -> Fetched:
        cached = self.cached()
        if cached is not None:
            return cached
        self.report("download", None)
        try:
            info = self._ask_hub()
            names = self._select(info)
            need = self._check_disk(info, names)
            folder = self._download(names, need)
        except ModelError:
            raise
        except Exception as error:
            raise self._explain(error) from error
        return Fetched(self.form.locate(folder) or folder, folder.name)

    def whereabouts(self) -> str:
        """In words for people."""
        cached = self.cached()
        if cached is not None:
            return f"in the Hub's cache, revision {cached.revision[:REVISION_CHARACTERS]}"
        try:
            info = self._ask_hub()
            names = self._select(info)
        except ModelError:
            raise
        except Exception as error:
            raise self._explain(error) from error
        size = sum(f.size or 0 for f in info.siblings or [] if f.rfilename in names)
        return f"on the Hub, {gib(size)} to download at the first start"

    def cached(self) -> Fetched | None:
        """The files, if all of them are here."""
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

        try:
            # One file's name stands for all: the library would miss those never selected here.
            folder = Path(
                snapshot_download(
                    self.source,
                    revision=self.revision,
                    local_files_only=True,
                    allow_patterns=[self.form.probe],
                )
            )
        except LocalEntryNotFoundError:
            return None
        except HFValidationError as error:
            why = ErrorReason.NO_SUCH_NAME
            raise ModelUnavailable(
                str(error), label=self.label, why=why, source=self.source
            ) from error
        # An interrupted download leaves a folder with some of the files.
        located = self.form.locate(folder)
        return None if located is None else Fetched(located, folder.name)

    def _ask_hub(self) -> ModelInfo:
        from huggingface_hub import HfApi

        def ask() -> ModelInfo:
            return HfApi().model_info(
                self.source, revision=self.revision, files_metadata=True, timeout=REACH_S
            )

        return run_in_daemon_thread("hub-ask", ask).result(timeout=REACH_S + LOOKUP_S)

    def _select(self, info: ModelInfo) -> list[str]:
        """Names of the files to get."""
        names = [sibling.rfilename for sibling in info.siblings or []]
        selected = self.form.select(names)
        if not selected:
            files = f"files: {names[:NAMED_FILES]}"
            raise UnsupportedModel(files, source=self.source, why=self.form.missing)
        return selected

    def _check_disk(self, info: ModelInfo, names: Sequence[str]) -> int:
        """Bytes that are needed."""
        from huggingface_hub import constants

        sizes = {s.rfilename: s.size or 0 for s in info.siblings or []}
        need = sum(sizes[name] for name in names)
        place = Path(constants.HF_HUB_CACHE)
        while not place.exists():
            place = place.parent
        free = shutil.disk_usage(place).free
        if need > free:
            why = ErrorReason.DISK_SMALL
            raise ModelUnavailable(label=self.label, why=why, need=gib(need), free=gib(free))
        return need

    def _download(self, names: list[str], need: int) -> Path:
        from huggingface_hub import snapshot_download

        # By branch and not by commit: only then the cache finds it again under the branch's name.
        bar = _progress_bar(lambda share: self.report("download", share), need)
        return Path(
            snapshot_download(
                self.source, revision=self.revision, allow_patterns=names, tqdm_class=bar
            )
        )

    def _explain(self, error: Exception) -> ModelUnavailable:
        """One sentence per cause, with its own remedy."""
        status = getattr(getattr(error, "response", None), "status_code", 0)
        return ModelUnavailable(
            f"{type(error).__name__}: {error}",
            label=self.label,
            why=_cause(error, status),
            source=self.source,
            revision=self.revision,
            status=status,
        )


def _cause(error: Exception, status: int) -> ErrorReason:
    """Why a repository could not be had.

    Args:
        error: what the Hub's library raised.
        status: of the Hub's HTTP response; 0 without one.
    """
    from huggingface_hub import errors

    kinds = (  # the first that holds; GatedRepoError is a kind of RepositoryNotFoundError
        (errors.GatedRepoError, ErrorReason.GATED),
        (errors.RevisionNotFoundError, ErrorReason.NO_REVISION),
        (errors.RepositoryNotFoundError, ErrorReason.NO_REPOSITORY),
        (errors.OfflineModeIsEnabled, ErrorReason.HUB_OFFLINE),
        (FutureTimeoutError, ErrorReason.HUB_SILENT),
        (TimeoutError, ErrorReason.HUB_SILENT),
    )
    for kind, reason in kinds:
        if isinstance(error, kind):
            return reason
    if isinstance(error, errors.HfHubHTTPError) and status:
        return ErrorReason.HUB_REFUSES if status in (401, 403) else ErrorReason.HUB_FAILS
    full = isinstance(error, OSError) and error.errno == errno.ENOSPC
    return ErrorReason.DISK_FULL if full else ErrorReason.HUB_UNREACHABLE


def is_complete(folder: Path) -> bool:
    """Whether a model can be loaded from it: settings, all shards, and a tokenizer."""
    if not (folder / "config.json").is_file():
        return False
    if not any((folder / name).is_file() for name in ("tokenizer.json", "tokenizer.model")):
        return False
    return bool(weight_files(folder))


def _transformers_files(names: Sequence[str]) -> list[str]:
    """Settings, tokenizer, and one form of the weights."""
    names = [name for name in names if "/" not in name]
    weights = [n for n in names if n.endswith(".safetensors")] or [
        n for n in names if n.endswith(".bin") and n.startswith("pytorch_model")
    ]
    return weights and weights + [n for n in names if n.endswith(_SMALL_FILES)]


SAFETENSORS = WeightsForm(
    select=_transformers_files,
    locate=lambda folder: folder if is_complete(folder) else None,
    missing=ErrorReason.NO_WEIGHTS,
    probe="config.json",
)


def weight_files(folder: Path) -> list[Path]:
    """The folder's weights; empty if any are missing."""
    for index, single in (
        ("model.safetensors.index.json", "model.safetensors"),
        ("pytorch_model.bin.index.json", "pytorch_model.bin"),
    ):
        names = {single}
        if (folder / index).is_file():
            names = set(json.loads((folder / index).read_text("utf-8"))["weight_map"].values())
        if all((folder / name).is_file() for name in names):
            return sorted(folder / name for name in names)
    return []


def _progress_bar(report: Callable[[float], None], total: int) -> Foreign:
    """A class that looks like tqdm to the Hub's library and reports the share of bytes.

    The library's own totals grow as it comes to each file, so its first file would be 100%. It
    makes several bars for the same bytes; the one that is ahead counts.
    """
    from tqdm.auto import tqdm  # type: ignore[import-untyped]

    guard = threading.Lock()
    furthest = 0.0

    class Bar(tqdm):  # type: ignore[misc]
        """Counts bytes; shows nothing."""

        def __init__(self, *args: Foreign, **kwargs: Foreign) -> None:
            self._counts = kwargs.get("unit") == "B"
            self._done = 0.0
            kwargs["disable"] = True
            super().__init__(*args, **kwargs)
            self.total = kwargs.get("total") or 0

        def update(self, n: float | None = 1) -> bool | None:
            """Count, and report if these are bytes."""
            nonlocal furthest
            with guard:
                self._done += n or 0
                share = min(self._done / max(total, 1), 1.0)
                if self._counts and share > furthest:
                    furthest = share
                    report(share)
            return None

    return Bar
