"""A loopback OpenID Connect provider: the endpoints that signing in with Hugging Face uses.

Real tokens (RS256) over the documented wire format; everybody who asks is the person whose
account the test has put in `person`. No password is asked, and nothing leaves the machine.
"""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from joserfc import jwt
from joserfc.jwk import RSAKey

CLIENT_ID = "client-of-the-tests"
Json = dict[str, Any]


class Provider(ThreadingHTTPServer):
    """The server and what it knows.

    Attributes:
        person: the account that signs in next.
        asked: the paths that were asked, oldest first.
    """

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.key = RSAKey.generate_key(2048, parameters={"kid": "k", "alg": "RS256", "use": "sig"})
        self.person: Json = {}
        self.asked: list[str] = []
        self.nonces: dict[str, str] = {}

    @property
    def url(self) -> str:
        """Its address, which is also its name as an issuer."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def metadata(self) -> Json:
        """The discovery document."""
        return {
            "issuer": self.url,
            "authorization_endpoint": f"{self.url}/authorize",
            "token_endpoint": f"{self.url}/token",
            "jwks_uri": f"{self.url}/jwks",
            "userinfo_endpoint": f"{self.url}/userinfo",
            "response_types_supported": ["code"],
            "id_token_signing_alg_values_supported": ["RS256"],
        }

    def token(self, code: str) -> Json:
        """What a code is exchanged for."""
        now = int(time.time())
        claims = {
            "iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 600,
            "nonce": self.nonces.pop(code), **self.person,
        }  # fmt: skip
        return {
            "access_token": "access-of-the-tests",
            "token_type": "Bearer",
            "expires_in": 28800,
            "scope": "openid profile",
            "id_token": jwt.encode({"alg": "RS256", "kid": "k"}, claims, self.key),
        }


class _Handler(BaseHTTPRequestHandler):
    server: Provider

    def do_GET(self) -> None:
        split = urlsplit(self.path)
        self.server.asked.append(split.path)
        if split.path == "/authorize":
            query = {name: values[0] for name, values in parse_qs(split.query).items()}
            code = f"code-{len(self.server.asked)}"
            self.server.nonces[code] = query.get("nonce", "")
            back = urlencode({"code": code, "state": query["state"]})
            join = "&" if "?" in query["redirect_uri"] else "?"
            self.send_response(302)
            self.send_header("Location", f"{query['redirect_uri']}{join}{back}")
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif split.path == "/jwks":
            self._say({"keys": [self.server.key.as_dict(private=False)]})
        elif split.path == "/userinfo":
            self._say(self.server.person)
        else:
            self._say(self.server.metadata())

    def do_POST(self) -> None:
        self.server.asked.append(self.path)
        form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        self._say(self.server.token(form["code"][0]))

    def _say(self, body: Json) -> None:
        data = json.dumps(body).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 -- the base's name
        """Quiet."""


@contextmanager
def running_provider() -> Iterator[Provider]:
    """A provider in a thread of its own."""
    with Provider() as provider:
        thread = threading.Thread(target=provider.serve_forever, daemon=True)
        thread.start()
        yield provider
        provider.shutdown()
        thread.join(5)
