"""The one place that models come from."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import tomllib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from arena.errors import (
    EngineCrashed,
    NetworkFailed,
    NoContestants,
    Overloaded,
    RateLimited,
    RegistryError,
)
from arena.models.base import ChatModel, Dormant, Loading, ModelStatus, Ready, Unavailable
from arena.models.embedded import embedded_model
from arena.models.gemini import GeminiModel
from arena.models.local import LocalModel, VariantModel
from arena.settings import EMBEDDED, Settings

log = logging.getLogger(__name__)

PHI = "microsoft/Phi-4-mini-instruct"
STEPS_LABEL = "step by step"
STEPS_PROMPT = (
    "Work through the task step by step before you state the result. "
    "Answer in the language of the question."
)
GOOGLE = "google"


@dataclass(frozen=True, slots=True)
class Entry:
    """One contestant and its part in the arena.

    Attributes:
        slug: stable key, known before the model is loaded (a spec's id may gain its precision).
        spare: a built-in variant, drawn only when fewer than two different models are ready.
        standby: starts only when the primary local model could not, or on a click.
        primary: the local model that the owner asked for.
    """

    slug: str
    model: ChatModel
    spare: bool = False
    standby: bool = False
    primary: bool = False

    @property
    def is_variant(self) -> bool:
        """Whether it shares another contestant's weights."""
        return self.model.spec.variant_of is not None

    @property
    def ready(self) -> bool:
        """Whether it answers now."""
        return isinstance(self.model.status(), Ready)


class Registry:
    """All contestants: starts them, and draws pairs from those that are ready."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        slugs = [entry.slug for entry in entries]
        twice = {slug for slug in slugs if slugs.count(slug) > 1}
        if twice:
            raise ValueError(f"slugs must differ: {sorted(twice)}")
        self.entries = tuple(entries)
        self._by_slug = {entry.slug: entry for entry in entries}
        self._starting: asyncio.Task[None] | None = None
        self._woken: asyncio.Task[None] | None = None
        self._revived: asyncio.Task[None] | None = None

    def __getitem__(self, slug: str) -> Entry:
        return self._by_slug[slug]

    def find(self, slug: str | None) -> Entry | None:
        """The contestant of that name, if there is one."""
        return self._by_slug.get(slug or "")

    def start(self) -> None:
        """Begin to start everything that should run; returns at once."""
        if self._starting is None or self._starting.done():
            self._starting = asyncio.create_task(self._start_all())

    async def started(self) -> None:
        """Wait until every start has ended, well or badly."""
        if self._starting is not None:
            await asyncio.shield(self._starting)

    async def _start_all(self) -> None:
        wanted = [e for e in self.entries if not e.standby and not e.is_variant]
        await asyncio.gather(*(self._start_one(entry) for entry in wanted))

    async def _start_one(self, entry: Entry) -> None:
        await entry.model.start()
        status = entry.model.status()
        if isinstance(status, Unavailable):
            error = status.error
            log.warning("%s: %s %s %s", entry.slug, error.sentence, error.remedy_text, error.detail)
            if entry.primary:
                await self._wake()

    def wake_stand_in(self) -> None:
        """Start the stand-in beside a primary model that is still loading; returns at once."""
        if self._woken is None or self._woken.done():
            self._woken = asyncio.create_task(self._wake())

    async def _wake(self) -> None:
        await self._start_each([e for e in self.entries if e.standby and not e.is_variant])

    async def restart(self, slug: str) -> None:
        """Try again a model that failed."""
        await self._by_slug[slug].model.start()

    def revive(self) -> None:
        """Start again what a passing fault made unavailable; returns at once."""
        fallen = [e for e in self.entries if not e.is_variant and _passing(e.model.status())]
        if fallen and (self._revived is None or self._revived.done()):
            self._revived = asyncio.create_task(self._start_each(fallen))

    async def _start_each(self, entries: Sequence[Entry]) -> None:
        await asyncio.gather(*(entry.model.start() for entry in entries))

    @property
    def settling(self) -> bool:
        """Whether something that may become ready is on its way."""
        tasks = (self._starting, self._woken, self._revived)
        if any(task is not None and not task.done() for task in tasks):
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
            e.standby and not e.is_variant and isinstance(e.model.status(), Dormant)
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
        ready = self.contestants(use_gemini=use_gemini)
        pairs = [
            (x, y)
            for x, y in combinations([e for e in ready if not e.spare], 2)
            if x.model.spec.base_id != y.model.spec.base_id
        ] or list(combinations(ready, 2))
        if not pairs:
            raise NoContestants
        first, second = rng.choice(pairs)
        return (first, second) if rng.random() < 0.5 else (second, first)

    async def aclose(self) -> None:
        """Stop every model."""
        started = (self._starting, self._woken, self._revived)
        tasks = [task for task in started if task is not None and not task.done()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*(entry.model.aclose() for entry in self.entries))


def _passing(status: ModelStatus) -> bool:
    """Whether a model that failed may well work when it is started again."""
    passing = (EngineCrashed, NetworkFailed, Overloaded, RateLimited)
    return isinstance(status, Unavailable) and isinstance(status.error, passing)


def is_google(entry: Entry) -> bool:
    """Whether what a visitor types would go to Google."""
    return entry.model.spec.provider == GOOGLE


def slugify(name: str) -> str:
    """Lower-case letters, digits, dots and dashes; the last part of a path or Hub id."""
    tail = name.rstrip("/").rsplit("/", 1)[-1].removesuffix(".gguf")
    return re.sub(r"[^a-z0-9.]+", "-", tail.lower()).strip("-.") or "model"


class _LocalEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["local"]
    source: str = Field(min_length=1)
    label: str = ""
    revision: str = "main"
    dtype: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    licence: str = ""


class _VariantEntry(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: Literal["variant"]
    of: str
    label: str = Field(min_length=1)
    system_prompt: str = ""
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)


_ENTRY: TypeAdapter[_LocalEntry | _VariantEntry] = TypeAdapter(
    Annotated[_LocalEntry | _VariantEntry, Field(discriminator="kind")]
)
Reserve = Callable[[str, int], Awaitable[bool]]


def build_registry(settings: Settings, reserve: Reserve) -> Registry:
    """The arena's contestants: the local model, its stand-in, Gemini, and those of ARENA_MODELS.

    Args:
        settings: what the owner set.
        reserve: takes a name and a daily limit; counts one use in the store and says whether it
            was still allowed.

    Raises:
        RegistryError: ARENA_MODELS cannot be read or has a wrong entry.
    """
    entries = _local_entries(settings)
    entries.append(Entry("gemini", _gemini(settings, reserve)))
    if settings.models_file is not None:
        entries.extend(_declared(settings, {e.slug: e for e in entries}))
    return Registry(entries)


def _local_entries(settings: Settings) -> list[Entry]:
    embedded = embedded_model(settings.cache_dir, max_cache_gib=settings.max_cache_gib)
    if settings.local_model == EMBEDDED:
        return [
            Entry(embedded.slug, embedded, primary=True),
            _spare(embedded.slug, embedded, standby=False),
        ]
    source = settings.local_model
    phi = source == PHI
    slug = "phi-4-mini" if phi else slugify(source)
    primary = LocalModel(
        slug=slug,
        label="Phi-4-mini" if phi else source.rstrip("/").rsplit("/", 1)[-1],
        source=source,
        revision=settings.local_revision,
        dtype=settings.local_dtype,
        licence="MIT" if phi else "",
        max_cache_gib=settings.max_cache_gib,
    )
    return [
        Entry(slug, primary, primary=True),
        _spare(slug, primary, standby=False),
        Entry(embedded.slug, embedded, standby=True),
        _spare(embedded.slug, embedded, standby=True),
    ]


def _spare(slug: str, base: LocalModel, *, standby: bool) -> Entry:
    variant = VariantModel(
        base,
        suffix="steps",
        label=f"{base.spec.label} · {STEPS_LABEL}",
        system_prompt=STEPS_PROMPT,
    )
    return Entry(f"{slug}-steps", variant, spare=True, standby=standby)


def _gemini(settings: Settings, reserve: Reserve) -> GeminiModel:
    key = settings.gemini_api_key

    async def reserve_call(limit: int) -> bool:
        return await reserve("gemini", limit)

    return GeminiModel(
        api_key=key.get_secret_value() if key else None,
        model=settings.gemini_model,
        fallback_model=settings.gemini_fallback_model,
        base_url=settings.gemini_base_url,
        thinking_tokens=settings.gemini_thinking_tokens,
        daily_requests=settings.gemini_daily_requests,
        reserve=reserve_call,
    )


def _declared(settings: Settings, known: dict[str, Entry]) -> list[Entry]:
    """The entries of ARENA_MODELS, in its order; a variant may build on an earlier one."""
    path = settings.models_file or Path()
    found: list[Entry] = []
    for slug, table in _read_tables(path).items():
        try:
            if slug in known or slugify(slug) != slug:
                raise ValueError("the name is taken, or not of a-z 0-9 . -")  # noqa: TRY301
            entry = _entry(slug, _ENTRY.validate_python(table), settings, known)
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(str(part) for part in first["loc"][1:]) or "kind"
            problem = f"{where}: {first['msg']}"
            raise RegistryError(file=path.name, entry=slug, problem=problem) from None
        except ValueError as error:
            raise RegistryError(file=path.name, entry=slug, problem=str(error)) from None
        known[slug] = entry
        found.append(entry)
    return found


def _read_tables(path: Path) -> dict[str, object]:
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8")).get("models", {})
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RegistryError(file=path.name, entry="", problem=str(error)) from None
    if not isinstance(tables, dict) or not tables:
        raise RegistryError(file=path.name, entry="models", problem="there is no [models.<name>]")
    return tables


def _entry(
    slug: str, declared: _LocalEntry | _VariantEntry, settings: Settings, known: dict[str, Entry]
) -> Entry:
    if isinstance(declared, _LocalEntry):
        return Entry(
            slug,
            LocalModel(
                slug=slug,
                label=declared.label or slug,
                source=declared.source,
                revision=declared.revision,
                dtype=declared.dtype,
                licence=declared.licence,
                max_cache_gib=settings.max_cache_gib,
            ),
        )
    base = known.get(declared.of)
    if base is None or base.is_variant:
        raise ValueError(f"of: there is no model {declared.of!r} before it")
    overrides = {
        name: value
        for name, value in (("temperature", declared.temperature), ("top_p", declared.top_p))
        if value is not None
    }
    variant = VariantModel(
        base.model,
        suffix=slug,
        label=declared.label,
        system_prompt=declared.system_prompt or None,
        overrides=overrides,
    )
    return Entry(slug, variant, standby=base.standby)
