"""What the page says, without a browser: blindness above all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from arena.battle.session import SideSnapshot, Snapshot
from arena.blind import Phase, SideFacts
from arena.domain import (
    Answer,
    Exchange,
    Finished,
    FinishReason,
    GenerationParams,
    Mode,
    ModelSpec,
    Side,
    Winner,
)
from arena.errors.base import ArenaError
from arena.errors.models import KeyMissing, KeyRejected, ModelUnavailable, NoFreeQuota, Overloaded
from arena.errors.reasons import ErrorReason
from arena.models.base import Dormant, Loading, Ready, Unavailable
from arena.models.registry import Entry, Registry
from arena.ui import model_cards as tables_view
from arena.ui import presets_view, status_view
from arena.ui.i18n import LANGUAGES, choose_language, error_texts, table
from arena.ui.page_state import SeedError, params_from, preset_behind, random_id
from arena.ui.view import battle_view, idle_view, tokens_per_second
from tests.scripted import ScriptedModel
from tests.vote_samples import battle

PHI = ModelSpec("phi-4-mini-bf16", "Phi-4-mini", "local", "microsoft/Phi-4-mini-instruct",
                precision="bf16", engine="transformers-cb")  # fmt: skip
GEMINI = ModelSpec("gemini-pro-latest", "Gemini", "google", "gemini-pro-latest")
ENDINGS = st.sampled_from(
    [
        (Phase.WAITING, None),
        (Phase.WRITING, None),
        (Phase.DONE, FinishReason.STOP),
        (Phase.DONE, FinishReason.LENGTH),
        (Phase.FAILED, FinishReason.BLOCKED),
        (Phase.FAILED, FinishReason.ERROR),
        (Phase.STOPPED, FinishReason.CANCELLED),
    ]
)


def side_view(phase: Phase, reason: FinishReason | None, text: str, served: str) -> SideSnapshot:
    """One side that stands so."""
    if reason is None:
        return SideSnapshot(phase, text, SideFacts())
    error = Overloaded("the provider's own words") if reason is FinishReason.ERROR else None
    finished = Finished(
        reason, error_code=error.code if error else None, completion_tokens=len(text),
        ttft_s=0.5, total_s=2.0, served_model=served,
    )  # fmt: skip
    facts = SideFacts(Answer(text, finished, 0.001), error)
    return SideSnapshot(phase, text, facts)


def snapshot(
    a: SideSnapshot, b: SideSnapshot, spec_a: ModelSpec, spec_b: ModelSpec, mode: Mode
) -> Snapshot:
    """A snapshot of a battle of these two."""
    talks = [(Exchange("Why?", side.facts.answer),) for side in (a, b)]
    fought = battle(
        id="0" * 32, mode=mode, spec_a=spec_a, spec_b=spec_b,
        conversation_a=talks[0], conversation_b=talks[1],
    )  # fmt: skip
    running = any(v.phase in (Phase.WAITING, Phase.WRITING) for v in (a, b))
    return Snapshot(fought, {Side.A: a, Side.B: b}, running, not running and fought.votable)


@given(ENDINGS, ENDINGS, st.sampled_from(LANGUAGES))
def test_blind_page_is_the_same_with_the_models_swapped(
    left: tuple[Any, Any], right: tuple[Any, Any], language: str
) -> None:
    """Before a blind vote the page is the same when only the models are swapped."""
    a = side_view(*left, "alpha", "gemini-3-pro-001")
    b = side_view(*right, "beta", "microsoft/Phi-4-mini-instruct@abc")
    a2 = side_view(*left, "alpha", "microsoft/Phi-4-mini-instruct@abc")
    b2 = side_view(*right, "beta", "gemini-3-pro-001")
    one = battle_view(snapshot(a, b, GEMINI, PHI, Mode.BLIND), language, None)
    two = battle_view(snapshot(a2, b2, PHI, GEMINI, Mode.BLIND), language, None)
    assert one == two
    shown = repr(one)
    for word in ("Phi", "Gemini", "gemini", "microsoft", "bf16", "provider's own", "$", "tok/s"):
        assert word not in shown


@given(ENDINGS, ENDINGS, st.sampled_from(LANGUAGES))
def test_blind_page_with_its_sides_swapped_swaps_the_texts_alone(
    left: tuple[Any, Any], right: tuple[Any, Any], language: str
) -> None:
    """How a side stands or ended, and whether it can be asked again, is shown for both alike."""
    a, b = side_view(*left, "alpha", "x@1"), side_view(*right, "beta", "y@1")
    one = battle_view(snapshot(a, b, GEMINI, PHI, Mode.BLIND), language, None)
    two = battle_view(snapshot(b, a, PHI, GEMINI, Mode.BLIND), language, None)
    swapped = {side: replace(two.panes[side], answer=two.panes[side.other].answer) for side in Side}
    assert one == replace(two, panes=swapped)
    assert one.panes[Side.A].stats == one.panes[Side.B].stats
    assert one.panes[Side.A].retry == one.panes[Side.B].retry


def test_names_and_numbers_appear_with_the_vote() -> None:
    """With the vote come names, versions, speeds and costs."""
    a = side_view(Phase.DONE, FinishReason.STOP, "alpha", "gemini-3-pro-001")
    b = side_view(Phase.DONE, FinishReason.LENGTH, "beta", "x@1")
    page = battle_view(snapshot(a, b, GEMINI, PHI, Mode.BLIND), "en", Winner.MODEL_A)
    assert "gemini-3-pro-001" in page.panes[Side.A].head
    assert "bf16" in page.panes[Side.B].head
    assert "tok/s" in page.panes[Side.A].stats
    assert "cut at the limit" in page.panes[Side.B].stats
    assert "<b>Gemini</b>" in page.bar
    assert not page.votable
    assert not page.follow_up


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("mode", [Mode.BLIND, Mode.OPEN])
def test_a_vote_that_can_be_taken_back_shows_nothing_new(language: str, mode: Mode) -> None:
    """Until it is final the panes are those of before the vote, and the models may be swapped."""
    a = side_view(Phase.DONE, FinishReason.STOP, "alpha", "x")
    b = side_view(Phase.DONE, FinishReason.LENGTH, "beta", "x")
    now = snapshot(a, b, GEMINI, PHI, mode)
    pending = replace(now, votable=False, undo_s=4)
    page = battle_view(pending, language, Winner.TIE)
    assert page.panes == battle_view(now, language, None).panes
    assert page.chosen is Winner.TIE
    assert page.undo
    assert not page.votable
    assert not page.follow_up
    assert "4" in page.bar
    if mode is Mode.BLIND:
        swapped = replace(snapshot(a, b, PHI, GEMINI, mode), votable=False, undo_s=4)
        assert battle_view(swapped, language, Winner.TIE) == page
        assert "Phi" not in repr(page)
    final = battle_view(replace(pending, undo_s=None), language, Winner.TIE)
    assert not final.undo
    assert "<b>Gemini</b>" in final.bar


def test_open_mode_says_what_failed_and_blind_mode_only_that() -> None:
    """Open mode shows an error's sentence at its side, blind mode one for the battle."""
    a = side_view(Phase.FAILED, FinishReason.ERROR, "", "")
    b = side_view(Phase.DONE, FinishReason.STOP, "beta", "x@1")
    opened = battle_view(snapshot(a, b, GEMINI, PHI, Mode.OPEN), "en", None)
    blind = battle_view(snapshot(a, b, GEMINI, PHI, Mode.BLIND), "en", None)
    assert "overloaded" in opened.panes[Side.A].stats
    assert "own words" not in opened.panes[Side.A].stats
    assert "overloaded" not in blind.panes[Side.A].stats
    assert "own words" not in repr(blind)
    assert "too much to do" in blind.bar
    assert "only two complete answers" in blind.bar
    assert [pane.retry for pane in blind.panes.values()] == [True, True]
    assert [pane.retry for pane in opened.panes.values()] == [True, False]


def test_open_mode_counts_while_it_writes_and_blind_mode_does_not() -> None:
    """Open mode shows the running times of a side, blind mode does not."""
    a = SideSnapshot(Phase.WRITING, "al", SideFacts(ttft_s=0.25, elapsed_s=7.0))
    b = side_view(Phase.WAITING, None, "", "")
    opened = battle_view(snapshot(a, b, GEMINI, PHI, Mode.OPEN), "en", None)
    blind = battle_view(snapshot(a, b, GEMINI, PHI, Mode.BLIND), "en", None)
    assert "first text 0.25 s · 7 s" in opened.panes[Side.A].stats
    assert "7 s" not in blind.panes[Side.A].stats


def test_answers_are_made_harmless_before_they_are_shown() -> None:
    """Answers pass the Markdown guard."""
    a = side_view(Phase.DONE, FinishReason.STOP, "![x](https://t.example/a.png)<b>", "x")
    b = side_view(Phase.DONE, FinishReason.STOP, "beta", "x@1")
    page = battle_view(snapshot(a, b, GEMINI, PHI, Mode.BLIND), "en", None)
    assert "![x]" not in page.panes[Side.A].answer


def test_labels_are_escaped() -> None:
    """A label from ARENA_MODELS is text, never HTML."""
    odd = replace(PHI, label="<i>x</i>")
    a = side_view(Phase.DONE, FinishReason.STOP, "a", "<u>")
    page = battle_view(snapshot(a, a, odd, odd, Mode.OPEN), "en", Winner.TIE)
    assert "<i>" not in page.panes[Side.A].head + page.bar
    registry = Registry([Entry("odd", ScriptedModel("<u>", ["x"]))])
    for html in (
        status_view.chips_html(registry, "en"),
        tables_view.models_html(registry, "en"),
    ):
        assert "<u>" not in html.lower()


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("language", LANGUAGES)
def test_empty_page_exists_in_every_mode(mode: Mode, language: str) -> None:
    """The page before a battle exists in every mode and language."""
    page = idle_view(language, mode)
    assert page.single is (mode is Mode.SINGLE)
    assert not page.votable
    assert set(page.panes) == set(Side)


def test_speed_leaves_the_first_text_out() -> None:
    """Tokens per second count decoding alone, without prefill."""
    done = Finished(FinishReason.STOP, completion_tokens=11, ttft_s=1.0, total_s=2.0)
    assert tokens_per_second(done) == pytest.approx(10.0)
    assert tokens_per_second(replace(done, ttft_s=None)) is None
    assert tokens_per_second(replace(done, ttft_s=2.0)) is None


# --- words -------------------------------------------------------------------------------------


def test_both_languages_have_the_same_texts() -> None:
    """Both languages have the same keys."""
    japanese = {key for key in table("ja") if not _is_error(key)}
    english = set(table("en"))
    assert japanese == english


def _is_error(key: str) -> bool:
    return key.startswith("phrase.") or (
        key.startswith("error.") and key.endswith((".message", ".remedy"))
    )


def all_error_types() -> list[type[ArenaError]]:
    """Every class of the tree, parents before children."""
    found = [ArenaError]
    for kind in found:
        found.extend(kind.__subclasses__())
    return found


def test_every_error_can_be_said_in_both_languages() -> None:
    """Each error has a Japanese sentence and remedy with the same braces, and a code of its own."""
    for kind in all_error_types():
        for part in ("message", "remedy"):
            japanese = table("ja")[f"error.{kind.code}.{part}"]
            english = getattr(kind, part)
            assert _braces(japanese) == _braces(english), kind.code
    codes = [kind.code for kind in all_error_types()]
    assert len(codes) == len(set(codes))


def test_every_phrase_can_be_said_in_japanese() -> None:
    """Each reason has a Japanese text with the same braces."""
    for phrase in ErrorReason:
        japanese = table("ja")[f"phrase.{phrase.name.lower()}"]
        assert _braces(japanese) == _braces(phrase), phrase


def _braces(text: str) -> set[str]:
    import string

    return {name for _, name, _, _ in string.Formatter().parse(text) if name}


def test_error_texts_are_filled() -> None:
    """The braces of sentences and remedies are filled in both languages."""
    gone = ModelUnavailable(label="X", why=ErrorReason.NO_FILE, source="a/b")
    assert gone.sentence == "X is not available: there is no file a/b."
    assert error_texts("ja", gone)[0] == "X は使えません: ファイル a/b がありません。"
    message, remedy = error_texts("ja", KeyMissing(label="Gemini", variable="GEMINI_API_KEY"))
    assert "Gemini" in message
    assert "GEMINI_API_KEY" in remedy


@pytest.mark.parametrize(
    ("setting", "wanted", "accepted", "language"),
    [
        ("auto", "", "en-GB", "en"),
        ("auto", "", "ja", "ja"),
        ("auto", "", "fr-FR", "en"),
        ("auto", "", "", "ja"),
        ("auto", "ja", "en", "ja"),
        ("en", "", "ja", "en"),
        ("en", "ja", "ja", "ja"),
        ("auto", "xx", "en", "en"),
    ],
)
def test_language_is_the_visitors_choice_first(
    setting: str, wanted: str, accepted: str, language: str
) -> None:
    """The visitor's choice comes first, then the owner's setting, then the browser's language."""
    assert choose_language(setting, wanted, accepted) == language


# --- header, presets, visits -------------------------------------------------------------------


def test_chip_says_name_and_state_and_leaves_the_remedy_to_the_owner() -> None:
    """A chip has the model's name and state; what the owner could set is not a visitor's matter."""
    model = ScriptedModel("gemini", ["x"])
    registry = Registry([Entry("gemini", model)])
    model.state = Unavailable(KeyMissing(label="Gemini", variable="GEMINI_API_KEY"))
    assert "Gemini · 利用できません<" in status_view.chips_html(registry, "ja")
    model.state = Unavailable(KeyRejected("no", variable="GEMINI_API_KEY"))
    assert "key" not in status_view.chips_html(registry, "en")
    quota = NoFreeQuota(model="pro", variable="GEMINI_MODEL", suggestion="gemini-flash-latest")
    model.state = Unavailable(quota)
    assert "GEMINI_MODEL" not in status_view.chips_html(registry, "en")
    _, todo = status_view.status_words(model.state, model.spec, "en")
    assert "set GEMINI_MODEL=gemini-flash-latest" in todo
    model.state = Loading(0.43, "download")
    assert "43%" in status_view.chips_html(registry, "ja")
    model.state = Ready({"device": "cuda:0"}, notice="one_at_a_time")
    assert "one at a time" in status_view.chips_html(registry, "en")
    model.state = Dormant()
    assert 'id="status-gemini"' in status_view.chips_html(registry, "en")


def test_privacy_notice_names_google_as_long_as_it_may_be_drawn() -> None:
    """Google is named while its model may still be drawn, loading included."""
    google = ScriptedModel("gemini", ["x"], provider="google")
    registry = Registry([Entry("gemini", google)])
    for state in (Ready(), Loading(), Dormant()):
        google.state = state
        assert "Google" in status_view.privacy_html(registry, "ja", use_gemini=True)
        assert "Google" not in status_view.privacy_html(registry, "ja", use_gemini=False)
    google.state = Unavailable(KeyMissing(label="Gemini", variable="GEMINI_API_KEY"))
    assert "Google" not in status_view.privacy_html(registry, "ja", use_gemini=True)


def test_every_preset_is_on_the_page_once(presets: Any) -> None:
    """Each preset has its button `preset-<id>` exactly once, in the right order."""
    for language in LANGUAGES:
        for first in LANGUAGES:
            html = presets_view.presets_html(presets, language, first=first)
            for preset in presets:
                assert html.count(f'id="preset-{preset.id}"') == 1
    first = presets_view.presets_html(presets, "ja", first="en")
    assert first.index('lang="en"') < first.index('lang="ja"')


@pytest.mark.parametrize("value", [None, 3, "", "x" * 32, "A" * 32, "0" * 31, "0" * 33, {}])
def test_odd_visitor_ids_are_not_believed(value: object) -> None:
    """An id from the browser must have the form of one."""
    assert random_id(value) is None
    assert random_id("0123456789abcdef" * 2)


@given(st.tuples(st.text(), st.text(), st.text(), st.text()))
def test_odd_params_are_refused_not_crashed_on(values: tuple[str, str, str, str]) -> None:
    """Parameters that are no numbers or out of range are a ValueError."""
    try:
        params = params_from(*values)
    except ValueError:
        return
    assert isinstance(params, GenerationParams)


def test_params_from_the_page() -> None:
    """An empty seed means that one is drawn; 0 is a seed like any other."""
    assert params_from(0.7, 1, 1024, "") == GenerationParams()
    assert params_from(0, 0.5, 16.0, "0").seed == 0
    for bad in ((3, 1, 10, ""), (1, 0, 10, ""), (1, 1, 0, ""), (1, 1, 1e400, ""), (1, 1, 9, "x")):
        with pytest.raises(ValueError, match=r"must be|invalid|could not|infinity"):
            params_from(*bad)


@given(st.one_of(st.text(), st.integers(), st.floats()))
def test_a_seed_that_is_none_is_said_to_be_wrong(seed: object) -> None:
    """What is no seed is a `SeedError`, whatever the other values are; the rest is a seed."""
    try:
        found = params_from(0.7, 1, 1024, seed).seed
    except SeedError:
        with pytest.raises(SeedError):
            params_from("x", 1, 1024, seed)
        return
    assert found is None or 0 <= found < 2**31


def test_preset_stays_while_its_text_is_recognisable(presets: Any) -> None:
    """An edited example stays that example; another question in its place does not."""
    preset = presets[0]
    assert preset_behind(preset.text, preset) is preset
    assert preset_behind(preset.text + " Be brief.", preset) is preset
    assert preset_behind("What is the capital of France?", preset) is None
    assert preset_behind("x", None) is None
