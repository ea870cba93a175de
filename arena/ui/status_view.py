"""The lines that say how things are: chips, banner, notices. Pure: no Gradio, no I/O."""

from __future__ import annotations

from html import escape
from urllib.parse import urlsplit

from arena.domain import ModelSpec
from arena.errors.base import ArenaError
from arena.models.base import Dormant, Loading, ModelStatus, Ready, Sending, Unavailable
from arena.models.registry import Entry, Registry, is_google
from arena.ui.i18n import error_line, in_line, say, say_or

LIGHTS = {Ready: "ok", Loading: "wait", Unavailable: "warn", Dormant: "off"}


def chips_html(registry: Registry, language: str) -> str:
    """One light and a sentence for all models; a click shows each. Variants share their base's."""
    shown = [e for e in registry.entries if not e.is_variant]
    ready = sum(entry.ready for entry in registry.entries)
    loading = any(isinstance(entry.model.status(), Loading) for entry in shown)
    light = "ok" if ready > 1 else "wait" if loading else "warn"
    state = "ready" if ready > 1 or not loading else "loading"
    text = escape(say(language, f"status.all.{state}", count=ready))
    chips = "".join(_chip(entry, language) for entry in shown)
    return (
        f'<details class="status" id="status"><summary class="pill chip {light}"><i></i>{text}'
        f'</summary><div class="sheet chips">{chips}</div></details>'
    )


def _chip(entry: Entry, language: str) -> str:
    status = entry.model.status()
    words, _ = status_words(status, entry.model.spec, language)
    text = f"{escape(entry.model.spec.label)} · {escape(words)}"
    return (
        f'<span class="chip {LIGHTS[type(status)]}" id="status-{entry.slug}"><i></i>{text}</span>'
    )


def state_line(entry: Entry, language: str) -> str:
    """A model's name and state in plain text."""
    words, _ = status_words(entry.model.status(), entry.model.spec, language)
    return f"{entry.model.spec.label} ({words})"


def status_words(status: ModelStatus, spec: ModelSpec, language: str) -> tuple[str, str]:
    """A few words for everybody, and for the owner what is wrong and what to do."""
    if isinstance(status, Loading):
        words = say_or(language, f"status.{status.step}", say(language, "status.loading"))
        if status.progress is not None:
            words = f"{words} {status.progress:.0%}"
        return words, ""
    if isinstance(status, Ready):
        device = status.facts.get("device", "").split(":")[0].upper()
        parts = [spec.precision, device]
        if status.notice:
            parts.append(say_or(language, f"status.{status.notice}", status.notice))
        return " · ".join(p for p in parts if p) or say(language, "status.ready"), ""
    if isinstance(status, Unavailable):
        wrong = error_line(language, status.error)
        until = status.error.values.get("until")
        if until is not None:  # a cap of the day: the owner meant it so
            return say(language, "status.spent", until=until), wrong
        return say(language, "status.unavailable"), wrong
    return say(language, "status.dormant"), ""


def banner_html(registry: Registry, language: str) -> str:
    """The model that answers in place of the wanted one; empty if none does."""
    primary = next((e for e in registry.entries if e.primary), None)
    stand_in = next((e for e in registry.entries if e.stand_in and not e.is_variant), None)
    if primary is None or stand_in is None:
        return ""
    names = {"wanted": primary.model.spec.label, "stand_in": stand_in.model.spec.label}
    status = primary.model.status()
    if isinstance(status, Unavailable):
        lead = say(language, "banner.stand_in", **names)
        extra = say(language, "banner.english", **names) if language == "ja" else ""
        text = escape(in_line(language, lead, extra))
        return f'<div class="banner"><span>{text}</span></div>'
    if registry.stand_in_offered:
        text = escape(say(language, "banner.loading", **names))
        return f'<div class="banner"><span>{text}</span></div>'
    return ""


def privacy_html(
    registry: Registry, language: str, *, use_gemini: bool, public: bool = False
) -> str:
    """What is stored, who may download it, and where the text goes."""
    # One that still loads counts: it may be drawn by the time the question is sent.
    may_answer = [e for e in registry.entries if not isinstance(e.model.status(), Unavailable)]
    google = use_gemini and any(is_google(e) for e in may_answer)
    hosts = sorted({host for e in may_answer if (host := far_host(e))})
    where = say(language, "notice.google" if google else "notice.local")
    if hosts:
        away = say(language, "notice.hosts", hosts=", ".join(hosts))
        where = in_line(language, where, away) if google else away
    stored = say(language, "notice.stored_public" if public else "notice.stored")
    text = in_line(language, stored, where)
    keys = escape(say(language, "notice.keys"))
    return f'<div class="privacy"><span>{escape(text)}</span><span class="keys">{keys}</span></div>'


def account_html(name: str | None, language: str, *, votes_only: bool) -> str:
    """The account with a link to sign out, or a link to sign in.

    Args:
        name: of the account; None without one.
        language: of the page.
        votes_only: other people's votes are not counted, which they should know.
    """
    why = say(language, "account.why")
    if votes_only:
        why = f"{why}. {say(language, 'account.only')}"
    action = "account.sign_in" if name is None else "account.sign_out"
    target = "login/huggingface" if name is None else "logout"
    who = "" if name is None else f'<span class="who">{escape(name)}</span>'
    link = (
        f'<a id="sign-in" href="{target}?_target_url=/" title="{escape(why, quote=True)}">'
        f"{escape(say(language, action))}</a>"
    )
    return f'<div class="account">{who}{link}</div>'


def far_host(entry: Entry) -> str:
    """Which other machine a visitor's text is sent to for that contestant; empty for none."""
    model = entry.model
    if not isinstance(model, Sending):
        return ""
    host = urlsplit(f"//{model.sends_to}").hostname or ""
    here = host in {"localhost", "::1"} or host.startswith("127.")
    return "" if here else model.sends_to


def notice_html(text: str, *, error: bool = True) -> str:
    """A line about what the visitor just did; empty hides it."""
    if not text:
        return ""
    kind, role = ("error", "alert") if error else ("info", "status")
    return f'<div class="notice {kind}" role="{role}">{escape(text)}</div>'


def error_notice(language: str, error: ArenaError) -> str:
    """The same for a typed error."""
    return notice_html(error_line(language, error))
