"""The kind `openai` of ARENA_MODELS: what may be written, where the key is, and what it costs."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from arena.errors.base import RegistryError
from arena.errors.models import BudgetSpent, KeyMissing, PriceUnknown
from arena.models.base import Dormant, Ready, Unavailable
from arena.models.models_file import OpenAiEntry, read_models_file
from arena.models.registry import Registry, build_registry
from arena.models.remote.model import RemoteModel
from arena.models.variant import VariantModel
from arena.settings import secret_from_environment
from arena.store.store import VoteStore
from tests.environment import settings_from
from tests.models.remote.apis import read
from tests.models.remote.openai_server import OpenAiServer, says, tokens
from tests.scripted import ClosedBook

ENTRY = """
[models.phi-vllm]
kind = "openai"
base_url = "{url}"
model = "microsoft/Phi-4-mini-instruct"
label = "Phi-4-mini (vLLM)"
{more}
"""


def built(
    tmp_path: Path, more: str = "", url: str = "http://127.0.0.1:9/v1", usage: object = None
) -> Registry:
    """The registry with this entry."""
    file = tmp_path / "models.toml"
    file.write_text(ENTRY.format(url=url, more=more), encoding="utf-8")
    settings = settings_from({"ARENA_CACHE_DIR": str(tmp_path), "ARENA_MODELS": str(file)})
    return build_registry(settings, usage or ClosedBook())  # type: ignore[arg-type]


def the_model(registry: Registry) -> RemoteModel:
    """What the entry made."""
    model = registry["phi-vllm"].model
    assert isinstance(model, RemoteModel)
    return model


def test_the_smallest_entry(tmp_path: Path) -> None:
    """An address and a name are enough."""
    file = tmp_path / "models.toml"
    file.write_text('[models.x]\nkind = "openai"\nbase_url = "http://h:1/v1"\nmodel = "m"')
    settings = settings_from({"ARENA_CACHE_DIR": str(tmp_path), "ARENA_MODELS": str(file)})

    model = build_registry(settings, ClosedBook())["x"].model

    assert isinstance(model, RemoteModel)
    assert isinstance(model.status(), Dormant)
    assert (model.spec.id, model.spec.label, model.spec.price_in) == ("x", "x", None)
    assert model.sends_to == "h:1"


def test_all_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field of an entry has its effect."""
    monkeypatch.setenv("VLLM_API_KEY", " the-key ")
    registry = built(
        tmp_path,
        """
        key_variable = "VLLM_API_KEY"
        precision = "Q4_K_M"
        licence = "MIT"
        context_tokens = 131072
        price_in = 0.1
        price_out = 0.4
        price_as_of = "2026-11-01"
        daily_budget_usd = 2.5
        thinking_tokens = 1024
        max_tokens_name = "max_completion_tokens"
        """,
    )
    model = the_model(registry)
    (entry,) = (entry for _, entry in read_models_file(tmp_path / "models.toml"))

    spec = model.spec
    assert (spec.id, spec.precision) == ("phi-vllm-q4-k-m", "Q4_K_M")
    assert (spec.licence, spec.context_tokens) == ("MIT", 131072)
    assert (spec.price_in, spec.price_out) == (0.1, 0.4)
    assert isinstance(entry, OpenAiEntry)
    assert (entry.daily_budget_usd, entry.thinking_tokens) == (2.5, 1024)
    assert entry.max_tokens_name == "max_completion_tokens"
    assert isinstance(model.status(), Dormant)
    assert "the-key" not in repr(entry) + str(model.status())


def test_a_variant_of_it(tmp_path: Path) -> None:
    """A variant may build on an entry."""
    registry = built(
        tmp_path,
        """
        [models.terse]
        kind = "variant"
        of = "phi-vllm"
        label = "terse"
        system_prompt = "Be brief."
        """,
    )
    variant = registry["terse"].model
    assert isinstance(variant, VariantModel)
    assert variant.spec.variant_of == "phi-vllm"
    assert variant.spec.provider == "openai-compatible"


@pytest.mark.parametrize(
    ("more", "problem"),
    [
        ("precision = 'b f'", "precision"),
        ("key_variable = 'sk-secret'", "key_variable"),
        ("api_key = 'sk-secret'", "api_key"),
        ("price_in = 1.0", "price_out"),
        ("price_in = inf\nprice_out = 1", "price_in"),
        ("price_as_of = 'yesterday'", "price_as_of"),
        ("context_tokens = 0", "context_tokens"),
        ("daily_budget_usd = -1", "daily_budget_usd"),
        ("daily_budget_usd = inf", "daily_budget_usd"),
        ("thinking_tokens = -1", "thinking_tokens"),
        ("max_tokens_name = 'tokens'", "max_tokens_name"),
    ],
)
def test_wrong_values_are_named_and_not_shown(tmp_path: Path, more: str, problem: str) -> None:
    """A wrong field is named; its value, which may be a key, is not."""
    with pytest.raises(RegistryError) as caught:
        built(tmp_path, more)

    assert caught.value.values["entry"] == "phi-vllm"
    assert problem in str(caught.value.values["problem"])
    assert "secret" not in str(caught.value) + caught.value.detail


@pytest.mark.parametrize(
    "url",
    [
        "127.0.0.1:8000/v1",
        "ftp://u:secret@h/v1",
        "http:///v1",
        "http://u:secret@h:99999/v1",
        "http://h/v1?api-key=secret",
        "http://h/v1#secret",
        "http://h /v1",
        "http://h/v1/chat/completions",
        "http://hö/v1",
    ],
)
def test_wrong_addresses_are_not_shown(tmp_path: Path, url: str) -> None:
    """A wrong address is refused and not shown: it may hold a password."""
    with pytest.raises(RegistryError) as caught:
        built(tmp_path, url=url)

    assert "base_url" in str(caught.value.values["problem"])
    assert "secret" not in str(caught.value) + caught.value.detail


def test_one_authorization(tmp_path: Path) -> None:
    """A name in the address and a key cannot both be sent."""
    with pytest.raises(RegistryError) as caught:
        built(tmp_path, "key_variable = 'K'", url="http://u:secret@h/v1")

    assert "cannot both be sent" in str(caught.value)
    assert "secret" not in str(caught.value)


def test_ids_do_not_meet(tmp_path: Path) -> None:
    """Two contestants never have one id."""
    with pytest.raises(RegistryError) as caught:
        built(
            tmp_path,
            """
            precision = "bf16"
            [models.phi-vllm-bf16]
            kind = "openai"
            base_url = "http://127.0.0.1:8/v1"
            model = "m"
            """,
        )

    assert caught.value.values["entry"] == "phi-vllm-bf16"


def test_the_key_comes_from_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing key is named at the start."""
    monkeypatch.delenv("VLLM_API_KEY", raising=False)
    status = the_model(built(tmp_path, "key_variable = 'VLLM_API_KEY'")).status()
    assert isinstance(status, Unavailable)
    assert isinstance(status.error, KeyMissing)
    assert status.error.remedy_text == "Set VLLM_API_KEY and start again."


def test_secrets_of_named_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret has no spaces around it and is never shown; an empty variable has none."""
    monkeypatch.setenv("SECRET_A", " the-secret ")
    monkeypatch.setenv("SECRET_B", "  ")
    secret = secret_from_environment("SECRET_A")
    assert secret is not None
    assert secret.get_secret_value() == "the-secret"
    assert "the-secret" not in repr(secret)
    assert secret_from_environment("SECRET_B") is None
    assert secret_from_environment("SECRET_C") is None


# ---------------------------------------------------------------- the day's money

PRICES = "price_in = 1.0\nprice_out = 10.0\n"


@pytest.fixture
async def server() -> AsyncIterator[OpenAiServer]:
    async with OpenAiServer() as running:
        running.default = says("Because.", usage=tokens(1000, 90, reasoning=60))
        yield running


async def test_an_answer_costs_the_declared_price(
    server: OpenAiServer, store: VoteStore, tmp_path: Path
) -> None:
    """The cost is counted in the store under the entry's name."""
    model = the_model(built(tmp_path, PRICES, server.url, store))

    _, finished = await read(model)

    assert finished.cost_usd == pytest.approx(0.0019)
    assert await store.spent_today("openai:phi-vllm") == 1900
    await model.aclose()


async def test_a_spent_budget_closes_it_in_every_process(
    server: OpenAiServer, store: VoteStore, tmp_path: Path
) -> None:
    """A spent budget refuses requests in all processes, with the entry's field as the remedy."""
    more = PRICES + "daily_budget_usd = 0.003"
    model = the_model(built(tmp_path, more, server.url, store))
    other = the_model(built(tmp_path, more, server.url, store))
    await model.start()
    await other.start()
    assert isinstance(model.status(), Ready)
    await read(model)
    await read(model)

    with pytest.raises(BudgetSpent):
        await read(model)
    await other.refresh()

    assert len(server.asked) == 2
    for closed in (model, other):
        status = closed.status()
        assert isinstance(status, Unavailable)
        assert "[models.phi-vllm] daily_budget_usd" in status.error.remedy_text
        await closed.aclose()


async def test_a_budget_without_a_price(
    server: OpenAiServer, store: VoteStore, tmp_path: Path
) -> None:
    """A budget over a model without a price is refused, with the entry's field as the remedy."""
    model = the_model(built(tmp_path, "daily_budget_usd = 1", server.url, store))
    await model.start()

    status = model.status()

    assert isinstance(status, Unavailable)
    assert isinstance(status.error, PriceUnknown)
    assert "[models.phi-vllm] price_in" in status.error.remedy_text
    await model.aclose()


async def test_a_free_engine_needs_no_store(server: OpenAiServer, tmp_path: Path) -> None:
    """The answers of an engine that costs nothing do not wait for the store."""
    model = the_model(built(tmp_path, "price_in = 0\nprice_out = 0", server.url))

    _, finished = await read(model)  # the store of this registry lets nothing through

    assert finished.cost_usd == 0.0
    assert model.expenses() is None
    await model.aclose()
