"""All contestants: which there are, how they start, and how pairs are drawn."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from pathlib import Path

from arena.errors.battle import NoContestants
from arena.errors.models import EngineCrashed, NetworkFailed, Overloaded, RateLimited
from arena.models.base import (
    ChatModel,
    Dormant,
    Loading,
    Metered,
    Ready,
    Recovering,
    Unavailable,
    slug_of,
)
from arena.models.local.embedded import embedded_config
from arena.models.local.model import LocalModel
from arena.models.local.spec import ModelConfig
from arena.models.models_file import (
    FileEntry,
    LocalEntry,
    OpenAiEntry,
    read_models_file,
    wrong_entry,
)
from arena.models.remote.budget import UsageStore
from arena.models.remote.gemini import GOOGLE, gemini_model
from arena.models.remote.openai import openai_model
from arena.models.variant import VariantModel
from arena.settings import EMBEDDED, Settings

log = logging.getLogger(__name__)

RETRY_POLL_S = 1.0
"""How often it is looked which contestants are to be tried again."""

PHI = "microsoft/Phi-4-mini-instruct"
STEPS_SUFFIX, STEPS_LABEL = "steps", "step by step"
STEPS_PROMPT = (
    "Work through the task step by step before you state the result. "
    "Answer in the language of the question."
)


@dataclass(frozen=True, slots=True)
class Entry:
    """One contestant and its part in the arena.

    Attributes:
        slug: stable key, known before the model is loaded (a spec's id may gain its precision).
        fallback_variant: a built-in variant, drawn only when fewer than two different models are
            ready.
        stand_in: starts only when the primary local model could not, or on a click.
        primary: the local model that the owner asked for.
    """

    slug: str
    model: ChatModel
    fallback_variant: bool = False
    stand_in: bool = False
    primary: bool = False

    @property
    def is_variant(self) -> bool:
        """Whether it shares another contestant's weights."""
        return self.model.spec.variant_of is not None

    @property
    def ready(self) -> bool:
        """Whether it answers now."""
        return isinstance(self.model.status(), Ready)

    @property
    def facts(self) -> dict[str, str]:
        """What is known of a ready model; empty if it is not ready."""
        status = self.model.status()
        return dict(status.facts) if isinstance(status, Ready) else {}

    @property
    def state(self) -> str:
        """`ready`, `loading`, `unavailable` or `dormant`, for programs."""
        return type(self.model.status()).__name__.lower()


class Registry:
    """All contestants: starts them, and draws pairs from those that are ready.

    Args:
        entries: the contestants.
        sleep: waits between two looks at those that failed.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        *,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        slugs = [entry.slug for entry in entries]
        twice = {slug for slug in slugs if slugs.count(slug) > 1}
        if twice:
            raise ValueError(f"slugs must differ: {sorted(twice)}")
        self.entries = tuple(entries)
        self._by_slug = {entry.slug: entry for entry in entries}
        self._sleep = sleep
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._retrying: asyncio.Task[None] | None = None

    def __getitem__(self, slug: str) -> Entry:
        return self._by_slug[slug]

    def find(self, slug: str | None) -> Entry | None:
        """The contestant of that name, if there is one."""
        return self._by_slug.get(slug or "")

    def start(self) -> None:
        """Begin to start everything that should run, and to retry it; returns at once."""
        self._begin("start", self._start_all)
        if self._retrying is None:
            self._retrying = asyncio.create_task(self._retry_when_due())

    async def started(self) -> None:
        """Wait until every start has ended, well or badly."""
        if "start" in self._tasks:
            await asyncio.shield(self._tasks["start"])

    def _begin(self, name: str, work: Callable[[], Coroutine[None, None, None]]) -> None:
        """Do it in a task, if that is not under way already."""
        if name not in self._tasks or self._tasks[name].done():
            self._tasks[name] = asyncio.create_task(work())

    async def _start_all(self) -> None:
        first = [e for e in self.entries if not e.stand_in and not e.is_variant]
        await asyncio.gather(*(self._start_one(entry) for entry in first))

    async def _start_one(self, entry: Entry) -> None:
        await entry.model.start()
        status = entry.model.status()
        if isinstance(status, Unavailable):
            error = status.error
            log.warning("%s: %s %s %s", entry.slug, error.sentence, error.remedy_text, error.detail)
            if entry.primary:
                await self._start_stand_in()

    def start_stand_in(self) -> None:
        """Start the stand-in beside a primary model that is still loading; returns at once."""
        self._begin("stand-in", self._start_stand_in)

    async def _start_stand_in(self) -> None:
        await self._start_each([e for e in self.entries if e.stand_in and not e.is_variant])

    def load_before_launch(self) -> None:
        """Load the local models on this thread; the stand-in only where the primary one failed.

        Blocks for as long as that takes. On ZeroGPU the weights have to be there when the page is
        launched, and they leave this process then: what is not loaded by then never will be.
        """
        local = [(e, e.model) for e in self.entries if isinstance(e.model, LocalModel)]
        for entry, model in local:
            if not entry.stand_in:
                model.load_now()
        if not any(entry.primary and entry.ready for entry, _ in local):
            for entry, model in local:
                if entry.stand_in:
                    model.load_now()

    async def refresh(self) -> None:
        """Bring up to date what other processes have used of the contestants' caps.

        Raises:
            StoreError: the store, which counts, did not answer.
        """
        metered = [e.model for e in self.entries if isinstance(e.model, Metered)]
        await asyncio.gather(*(model.refresh() for model in metered))

    def restart_failed(self) -> None:
        """Start again what a passing fault made unavailable; returns at once.

        A contestant that knows when to try again is started when that time has come.
        """
        failed = [e for e in self.entries if not e.is_variant and _passing(e.model)]
        if failed:
            self._begin("restart", partial(self._start_each, failed))

    async def try_again(self, slug: str | None = None) -> None:
        """Start what is unavailable now, whatever its next time is; returns when that has ended.

        Args:
            slug: the only one to try; None tries all of them.
        """
        wanted = self.entries if slug is None else [self[slug]]
        failed = [e for e in wanted if isinstance(e.model.status(), Unavailable)]
        await self._start_each([e for e in failed if not e.is_variant])

    async def _retry_when_due(self) -> None:
        """Start those whose time has come, for as long as the arena runs. No battle waits for it.

        Polled: the next time may change with each answer, and a look costs nothing.
        """
        while True:
            await self._sleep(RETRY_POLL_S)
            models = [e.model for e in self.entries if not e.is_variant]
            due = [m for m in models if isinstance(m, Recovering) and m.retry_due]
            for failed in await asyncio.gather(*(m.start() for m in due), return_exceptions=True):
                if isinstance(failed, Exception):
                    log.error("a start failed unexpectedly", exc_info=failed)

    async def _start_each(self, entries: Sequence[Entry]) -> None:
        await asyncio.gather(*(entry.model.start() for entry in entries))

    @property
    def settling(self) -> bool:
        """Whether something that may become ready is on its way."""
        if any(not task.done() for task in self._tasks.values()):
            return True
        return any(isinstance(e.model.status(), Loading) for e in self.entries)

    @property
    def stand_in_serves(self) -> bool:
        """Whether the stand-in answers in place of a primary model that could not be had."""
        primary_ready = any(e.primary and e.ready for e in self.entries)
        return not primary_ready and any(e.model.spec.stand_in and e.ready for e in self.entries)

    @property
    def stand_in_offered(self) -> bool:
        """Whether a click could start the stand-in while the primary model loads."""
        loading = any(e.primary and isinstance(e.model.status(), Loading) for e in self.entries)
        return loading and any(
            e.stand_in and not e.is_variant and isinstance(e.model.status(), Dormant)
            for e in self.entries
        )

    def contestants(self, *, use_gemini: bool = True) -> tuple[Entry, ...]:
        """Those that are ready; without Google's when the visitor leaves Gemini out."""
        return tuple(e for e in self.entries if e.ready and (use_gemini or not is_google(e)))

    def enough(self, *, use_gemini: bool) -> bool:
        """Whether a battle needs not wait: two different models are ready."""
        ready = self.contestants(use_gemini=use_gemini)
        return len({e.model.spec.base_id for e in ready}) >= 2

    def draw(self, rng: random.Random, *, use_gemini: bool) -> tuple[Entry, Entry]:
        """A pair in random order: different models before variants of one.

        Raises:
            NoContestants: fewer than two contestants are ready.
        """
        pairs = self._pairs(use_gemini=use_gemini)
        if not pairs:
            raise NoContestants
        first, second = rng.choice(pairs)
        return (first, second) if rng.random() < 0.5 else (second, first)

    def pool(self, *, use_gemini: bool = True) -> tuple[Entry, ...]:
        """All that `draw` could give now."""
        drawn = {entry.slug for pair in self._pairs(use_gemini=use_gemini) for entry in pair}
        return tuple(entry for entry in self.entries if entry.slug in drawn)

    def _pairs(self, *, use_gemini: bool) -> list[tuple[Entry, Entry]]:
        ready = self.contestants(use_gemini=use_gemini)
        return [
            (x, y)
            for x, y in combinations([e for e in ready if not e.fallback_variant], 2)
            if x.model.spec.base_id != y.model.spec.base_id
        ] or list(combinations(ready, 2))

    async def aclose(self) -> None:
        """Stop every model."""
        tasks = [*self._tasks.values(), *([self._retrying] if self._retrying else ())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(entry.model.aclose() for entry in self.entries))


def _passing(model: ChatModel) -> bool:
    """Whether a model that failed may well work when it is started again."""
    if isinstance(model, Recovering):
        return model.retry_due
    status = model.status()
    passing = (EngineCrashed, NetworkFailed, Overloaded, RateLimited)
    return isinstance(status, Unavailable) and isinstance(status.error, passing)


def is_google(entry: Entry) -> bool:
    """Whether what a visitor types would go to Google."""
    return entry.model.spec.provider == GOOGLE


def slugify(name: str) -> str:
    """Lower-case letters, digits, dots and dashes; the last part of a path or Hub id."""
    tail = name.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")
    return slug_of(tail) or "model"


def build_registry(settings: Settings, usage: UsageStore) -> Registry:
    """The arena's contestants: the local model, its stand-in, Gemini, and those of ARENA_MODELS.

    Args:
        settings: what the owner set.
        usage: counts the day's requests and money, over all processes.

    Raises:
        RegistryError: ARENA_MODELS cannot be read or has a wrong entry.
    """
    entries = _local_entries(settings)
    entries.append(Entry("gemini", gemini_model(settings, usage)))
    if settings.models_file is not None:
        entries.extend(_file_entries(settings, usage, {e.slug: e for e in entries}))
    return Registry(entries)


def _local_entries(settings: Settings) -> list[Entry]:
    embedded = replace(
        embedded_config(settings.cache_dir),
        engine=settings.engine,
        max_cache_gib=settings.max_cache_gib,
    )
    if settings.local_model == EMBEDDED:
        return _with_variant(embedded, primary=True)
    source = settings.local_model
    phi = source == PHI
    primary = ModelConfig(
        slug="phi-4-mini" if phi else slugify(source),
        label="Phi-4-mini" if phi else source.rstrip("/").rsplit("/", 1)[-1],
        source=source,
        revision=settings.local_revision,
        dtype=settings.local_dtype,
        engine=settings.engine,
        licence="MIT" if phi else "",
        max_cache_gib=settings.max_cache_gib,
    )
    return [*_with_variant(primary, primary=True), *_with_variant(embedded, primary=False)]


def _with_variant(config: ModelConfig, *, primary: bool) -> list[Entry]:
    """A local model, which is the primary one or the stand-in, and its built-in variant."""
    model = LocalModel(config)
    variant = VariantModel(
        model,
        suffix=STEPS_SUFFIX,
        label=f"{config.label} · {STEPS_LABEL}",
        system_prompt=STEPS_PROMPT,
    )
    return [
        Entry(config.slug, model, primary=primary, stand_in=not primary),
        Entry(
            f"{config.slug}-{STEPS_SUFFIX}", variant, fallback_variant=True, stand_in=not primary
        ),
    ]


def _file_entries(settings: Settings, usage: UsageStore, known: dict[str, Entry]) -> list[Entry]:
    """The entries of ARENA_MODELS, in its order; a variant may build on an earlier one."""
    path = settings.models_file or Path()
    found: list[Entry] = []
    for slug, declared in read_models_file(path):
        if slug in known or slugify(slug) != slug:
            raise wrong_entry(path, slug, "the name is taken, or not of a-z 0-9 . -")
        try:
            entry = _entry(slug, declared, settings, usage, known)
        except ValueError as error:
            raise wrong_entry(path, slug, str(error)) from None
        known[slug] = entry
        found.append(entry)
    return found


def _entry(
    slug: str,
    declared: FileEntry,
    settings: Settings,
    usage: UsageStore,
    known: Mapping[str, Entry],
) -> Entry:
    if isinstance(declared, OpenAiEntry):
        model = openai_model(slug, declared, usage)
        if model.spec.id in {e.model.spec.id for e in known.values()}:
            raise ValueError(f"the id {model.spec.id} is taken: votes would be pooled")
        return Entry(slug, model)
    if isinstance(declared, LocalEntry):
        return Entry(
            slug,
            LocalModel(
                ModelConfig(
                    slug=slug,
                    label=declared.label or slug,
                    engine=settings.engine,
                    max_cache_gib=settings.max_cache_gib,
                    **declared.model_dump(exclude={"kind", "label"}),
                )
            ),
        )
    base = known.get(declared.of)
    if base is None or base.is_variant:
        raise ValueError(f"of: there is no model {declared.of!r} before it")
    variant = VariantModel(
        base.model,
        suffix=slug,
        label=declared.label,
        system_prompt=declared.system_prompt or None,
        overrides=declared.model_dump(include={"temperature", "top_p"}, exclude_none=True),
    )
    return Entry(slug, variant, stand_in=base.stand_in)
