"""A token endpoint (OAuth 2.0, client credentials), and tokens without a signature."""

import base64
import json
import time
from urllib.parse import parse_qs

from tests.support.secure.certificates import Certificate
from tests.support.secure.https import HttpsHandler, HttpsServer

_LIFETIME = 300


class TokenEndpoint(HttpsServer):
    """Gives tokens to one client; ``scopes`` are those that were asked for."""

    def __init__(self, certificate: Certificate, *, client_id: str, secret: str) -> None:
        super().__init__(_Handler, certificate, f"{client_id}:{secret}")
        self.scopes: set[str] = set()


class _Handler(HttpsHandler):
    server: TokenEndpoint

    def do_POST(self) -> None:  # noqa: N802  # the library's name
        form = parse_qs(self.body().decode())
        if self.is_known() and form.get("grant_type") == ["client_credentials"]:
            self.server.scopes.update(form.get("scope", ()))
            token = unsigned_token(self.server.login.partition(":")[0])
            given = {"access_token": token, "token_type": "Bearer", "expires_in": _LIFETIME}
            self.answer(200, json.dumps(given).encode())
        else:
            self.answer(401, b'{"error": "invalid_client"}')


def unsigned_token(subject: str) -> str:
    """Return a token that only a broker accepts that looks at no signature."""
    now = int(time.time())
    claims = {"sub": subject, "iat": now, "exp": now + _LIFETIME}
    return f"{_part({'alg': 'none'})}.{_part(claims)}."


def _part(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")
