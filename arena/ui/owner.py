"""Who runs the arena: whoever opened the link with the key, and on a Space its signed-in owner.

The link is printed at the start. Its cookie holds a keyed hash of the key, so that neither browser
nor proxy keeps what opens the door. Listeners can be called by anybody: each of the owner's asks
`Owner.knows`.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Mapping
from http import HTTPStatus
from typing import Protocol

from gradio.utils import get_space
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from arena.settings import Settings
from arena.ui.i18n import LANGUAGES, say

COOKIE = "arena-owner"
KEEP_S = 30 * 24 * 3600
PATH = "/owner"
# A wrong key learns nothing, and the address with the key goes nowhere else.
HEADERS = {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"}

_REFUSAL_STYLE = (
    "body{font:1rem/1.6 system-ui,sans-serif;max-width:36rem;margin:3rem auto;padding:0 1rem}"
    "h1{font-size:1.25rem;margin:0 0 .5rem}section+section{margin-top:2.5rem}"
)


class HasCookies(Protocol):
    """A request of Gradio's or of the web server's."""

    @property
    def cookies(self) -> Mapping[str, str]:
        """By name."""


class Owner:
    """Knows the owner again.

    Args:
        key: opens the door; None draws one.
        account: name of the account that is the owner too; None for none.
    """

    def __init__(self, key: str | None = None, account: str | None = None) -> None:
        self._key = key or secrets.token_urlsafe(24)
        self._drawn = key is None
        self._account = account

    def link(self, base: str) -> str:
        """The owner's link on the page at that address; a key that the owner set is not in it."""
        key = self._key if self._drawn else "<ARENA_OWNER_KEY>"
        return f"{base.rstrip('/')}{PATH}?key={key}"

    def knows(self, request: HasCookies, profile: Mapping[str, object] | None) -> bool:
        """Whether a request comes from the owner.

        Args:
            request: what the browser sent.
            profile: of the account that signed in, from its provider; None without one.
        """
        if _same(request.cookies.get(COOKIE, ""), self._cookie()):
            return True
        name = None if profile is None else profile.get("preferred_username")
        return self._account is not None and name == self._account

    def route(self) -> Route:
        """The page behind the link: the right key gets the cookie, every other one 403."""

        async def answer(request: Request) -> Response:
            if not _same(request.query_params.get("key", ""), self._key):
                return HTMLResponse(refusal_html(), HTTPStatus.FORBIDDEN, HEADERS)
            # Relative: the arena may be served below another path.
            response = RedirectResponse("./", HTTPStatus.SEE_OTHER, HEADERS)
            response.set_cookie(
                COOKIE, self._cookie(), max_age=KEEP_S, httponly=True, samesite="strict",
                secure=request.url.scheme == "https",
            )  # fmt: skip
            return response

        return Route(PATH, answer)

    def _cookie(self) -> str:
        return hmac.new(self._key.encode(), COOKIE.encode(), hashlib.sha256).hexdigest()


def refusal_html() -> str:
    """The page for a wrong key, the same for each; in all languages, since it knows none yet."""
    told = "".join(
        f'<section lang="{language}"><h1>{say(language, "owner.refused")}</h1>'
        f"<p>{say(language, 'owner.refused_do')}</p>"
        f'<p><a href="./">{say(language, "owner.back")}</a></p></section>'
        for language in LANGUAGES
    )
    return (
        f'<!doctype html><html lang="{LANGUAGES[0]}"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><meta name="robots" content="noindex">'
        '<meta name="color-scheme" content="light dark">'
        f"<title>{HTTPStatus.FORBIDDEN.value}</title>"
        f"<style>{_REFUSAL_STYLE}</style></head><body>{told}</body></html>"
    )


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


def owner_of(settings: Settings) -> Owner:
    """The owner whom the settings name.

    The account counts only on a Space: elsewhere Gradio signs everybody in as the machine's user.
    """
    key = settings.owner_key.get_secret_value() if settings.owner_key else None
    space = get_space() if settings.oauth_client_id else None
    return Owner(key, space.split("/", 1)[0] if space else None)
