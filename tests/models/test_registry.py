"""Which models there are, which of them play, and who plays whom."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.errors.base import RegistryError
from arena.errors.battle import NoContestants
from arena.errors.models import EngineCrashed, KeyMissing, ModelUnavailable, NetworkFailed
from arena.models.base import Dormant, Loading, ModelStatus, Ready, Unavailable
from arena.models.registry import Entry, Registry, build_registry, slugify
from arena.models.variant import VariantModel
from tests.environment import settings_from
from tests.scripted import ClosedBook, ScriptedModel

GONE = Unavailable(ModelUnavailable(label="Phi", why="gone", remedy="get it"))


def variant(base: ScriptedModel, suffix: str, *, fallback: bool = False) -> Entry:
    """A variant of a scripted model."""
    model = VariantModel(base, suffix=suffix, label=suffix)
    return Entry(f"{base.slug}-{suffix}", model, fallback_variant=fallback)


def pair_ids(registry: Registry, seed: int, *, use_gemini: bool = True) -> tuple[str, str]:
    """The ids that a draw gives."""
    drawn = registry.draw(random.Random(seed), use_gemini=use_gemini)
    return drawn[0].model.spec.id, drawn[1].model.spec.id


@given(st.integers(0, 10_000))
def test_different_models_play_before_variants(seed: int) -> None:
    """A pair of different models is drawn while there is one, and no built-in variant."""
    x, y = ScriptedModel("x", ["a"]), ScriptedModel("y", ["b"])
    entries = [
        Entry("x", x),
        variant(x, "steps", fallback=True),
        variant(x, "terse"),
        Entry("y", y),
    ]
    drawn = pair_ids(Registry(entries), seed)
    assert "y" in drawn
    assert "x-steps" not in drawn, "the built-in variant only fills a gap"


@given(st.integers(0, 10_000))
def test_one_model_plays_its_variant(seed: int) -> None:
    """With one model ready, its built-in variant is the other side."""
    x, y = ScriptedModel("x", ["a"]), ScriptedModel("y", ["b"], provider="google")
    registry = Registry([Entry("x", x), variant(x, "steps", fallback=True), Entry("y", y)])
    assert set(pair_ids(registry, seed, use_gemini=False)) == {"x", "x-steps"}
    y.state = Unavailable(KeyMissing(label="Gemini", variable="GEMINI_API_KEY"))
    assert set(pair_ids(registry, seed)) == {"x", "x-steps"}
    assert not registry.enough(use_gemini=True)


def test_one_contestant_alone_is_an_error() -> None:
    """Without two contestants a draw raises at once."""
    x = ScriptedModel("x", ["a"])
    with pytest.raises(NoContestants):
        Registry([Entry("x", x)]).draw(random.Random(1), use_gemini=True)


def test_doubled_slugs_are_refused() -> None:
    """A slug names one contestant."""
    with pytest.raises(ValueError, match="differ"):
        Registry([Entry("x", ScriptedModel("x", ["a"])), Entry("x", ScriptedModel("y", ["a"]))])


async def test_the_stand_in_starts_only_when_the_primary_model_cannot() -> None:
    """It takes memory and votes, so it does not run beside the primary model."""
    primary, stand_in = ScriptedModel("phi", ["a"]), ScriptedModel("smol", ["b"])
    primary.state = stand_in.state = Dormant()
    primary.starts, stand_in.starts = Ready, Ready
    entries = [Entry("phi", primary, primary=True), Entry("smol", stand_in, stand_in=True)]
    registry = Registry(entries)
    registry.start()
    assert registry.settling
    await registry.started()
    assert isinstance(stand_in.status(), Dormant)
    primary.state, primary.starts = Dormant(), lambda: GONE
    again = Registry(entries)
    again.start()
    await again.started()
    assert isinstance(stand_in.status(), Ready)
    assert not again.settling


async def test_a_click_starts_the_stand_in_while_the_primary_model_loads() -> None:
    """It serves until the primary model is ready."""
    primary, stand_in = ScriptedModel("phi", ["a"]), ScriptedModel("smol", ["b"], stand_in=True)
    primary.state, stand_in.state = Loading(0.1, "download"), Dormant()
    stand_in.starts = Ready
    entries = [Entry("phi", primary, primary=True), Entry("smol", stand_in, stand_in=True)]
    registry = Registry(entries)
    assert registry.stand_in_offered
    registry.start_stand_in()
    for _ in range(5):
        await asyncio.sleep(0)
    assert registry["smol"].ready
    assert not registry.stand_in_offered
    assert registry.stand_in_serves
    primary.state = Ready()
    assert not registry.stand_in_serves
    await registry.aclose()


@pytest.mark.parametrize(
    ("error", "restarted"),
    [
        (EngineCrashed(), True),
        (NetworkFailed(), True),
        (KeyMissing(label="G", variable="V"), False),
    ],
)
async def test_passing_faults_are_tried_again(error: Exception, restarted: bool) -> None:  # noqa: FBT001
    """A crashed engine is started again; a missing key needs the owner."""
    x = ScriptedModel("x", ["a"])
    state: ModelStatus = Unavailable(error)  # type: ignore[arg-type]
    x.state, x.starts = state, Ready
    registry = Registry([Entry("x", x)])
    registry.restart_failed()
    for _ in range(5):
        await asyncio.sleep(0)
    assert registry["x"].ready is restarted
    await registry.aclose()


@given(st.text())
def test_slugs_are_safe_in_ids(name: str) -> None:
    """A slug has only characters that the page's ids and the database take."""
    slug = slugify(name)
    assert slug
    assert set(slug) <= set("abcdefghijklmnopqrstuvwxyz0123456789.-")


# --- ARENA_MODELS ------------------------------------------------------------------------------


def built(tmp_path: Path, text: str | None, **more: str) -> Registry:
    """The registry that these settings give."""
    values = {"ARENA_CACHE_DIR": str(tmp_path), **more}
    if text is not None:
        file = tmp_path / "models.toml"
        file.write_text(text, encoding="utf-8")
        values["ARENA_MODELS"] = str(file)
    return build_registry(settings_from(values), ClosedBook())


def test_built_in_entries(tmp_path: Path) -> None:
    """The slugs of the built-in contestants, by which chips and scripts find them."""
    registry = built(tmp_path, None)
    assert [e.slug for e in registry.entries] == [
        "phi-4-mini", "phi-4-mini-steps", "smollm2-135m", "smollm2-135m-steps", "gemini",
    ]  # fmt: skip
    assert registry["phi-4-mini"].primary
    assert registry["smollm2-135m"].stand_in
    only = built(tmp_path, None, ARENA_LOCAL_MODEL="embedded")
    assert [e.slug for e in only.entries] == ["smollm2-135m", "smollm2-135m-steps", "gemini"]
    other = built(tmp_path, None, ARENA_LOCAL_MODEL="./models/My_Model.gguf")
    assert other.entries[0].slug == "my-model"


def test_more_models_are_entries_not_code(tmp_path: Path) -> None:
    """An entry of the models file becomes a contestant."""
    registry = built(
        tmp_path,
        """
        [models.qwen]
        kind = "local"
        source = "Qwen/Qwen3-4B-Instruct"
        label = "Qwen3 4B"
        [models.phi-terse]
        kind = "variant"
        of = "phi-4-mini"
        label = "Phi, terse"
        system_prompt = "Be brief."
        temperature = 0.3
        """,
    )
    assert registry["qwen"].model.spec.label == "Qwen3 4B"
    spec = registry["phi-terse"].model.spec
    assert (spec.id, spec.variant_of) == ("phi-4-mini-phi-terse", "phi-4-mini")
    assert spec.system_prompt == "Be brief."
    assert dict(spec.overrides) == {"temperature": 0.3}


@pytest.mark.parametrize(
    ("text", "entry", "problem"),
    [
        ("[models.x]\nkind = 'local'", "x", "source"),
        ("[models.x]\nkind = 'cloud'", "x", "kind"),
        ("[models.x]\nkind = 'local'\nsource = 'a/b'\ncolour = 1", "x", "colour"),
        ("[models.x]\nkind = 'variant'\nof = 'nobody'\nlabel = 'X'", "x", "nobody"),
        ("[models.x]\nkind = 'variant'\nof = 'phi-4-mini-steps'\nlabel = 'X'", "x", "steps"),
        ("[models.gemini]\nkind = 'local'\nsource = 'a/b'", "gemini", "taken"),
        ("[models.'A B']\nkind = 'local'\nsource = 'a/b'", "A B", "a-z"),
        ("[models.x]\nkind = 'variant'\nof = 'gemini'\nlabel = 'X'\ntemperature = 3", "x", "temp"),
        ("[other]\nx = 1", "models", "no [models"),
        ("= broken", "", "line 1"),
    ],
)
def test_bad_entries_are_named(tmp_path: Path, text: str, entry: str, problem: str) -> None:
    """A wrong entry stops the start, and the error names it and what is wrong."""
    with pytest.raises(RegistryError) as caught:
        built(tmp_path, text)
    assert caught.value.values["entry"] == entry
    assert problem in str(caught.value.values["problem"])


def test_missing_file_is_named(tmp_path: Path) -> None:
    """A models file that is not there stops the start."""
    with pytest.raises(RegistryError, match=r"none\.toml"):
        built(tmp_path, None, ARENA_MODELS=str(tmp_path / "none.toml"))
