"""An HTTP server with TLS in a thread, which knows one user: a token endpoint, and a proxy before a
schema registry that has neither TLS nor a login.

The tokens (OAuth 2.0, client credentials) are without a signature.
"""

import base64
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar
from urllib.parse import parse_qs

import httpx

from tests.support.secure.certificates import Certificate
from tests.support.secure.tls import server_context

_LIFETIME = 300


class HttpsServer(ThreadingHTTPServer):
    """A server on any port of 127.0.0.1; ``statuses`` are those of its answers so far."""

    daemon_threads = True

    def __init__(
        self, handler: type[BaseHTTPRequestHandler], certificate: Certificate, login: str
    ) -> None:
        super().__init__(("127.0.0.1", 0), handler)
        self.login = login
        """``user:password``."""
        self.statuses: list[int] = []
        # The handshake is its handler's: a client that is slow at it must not keep others waiting.
        self.socket = server_context(certificate).wrap_socket(
            self.socket, server_side=True, do_handshake_on_connect=False
        )

    @property
    def url(self) -> str:
        """The root of its URLs."""
        return f"https://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that ends a handshake."""


class HttpsHandler(BaseHTTPRequestHandler):
    """What the handlers of such servers share."""

    server: HttpsServer

    def is_known(self) -> bool:
        """Whether the request has the user's name and password (Basic)."""
        kind, _, login = self.headers.get("Authorization", "").partition(" ")
        return kind == "Basic" and base64.b64decode(login).decode() == self.server.login

    def body(self) -> bytes:
        """Return the body of the request."""
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def answer(self, status: int, body: bytes) -> None:
        """Answer with JSON."""
        self.server.statuses.append(status)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Write nothing to standard error."""


Server = TypeVar("Server", bound=HttpsServer)


@contextmanager
def running(server: Server) -> Iterator[Server]:
    """Yield ``server``, which answers from a thread until the context ends."""
    with server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server
        finally:
            server.shutdown()
            thread.join()


class RegistryProxy(HttpsServer):
    """Passes the requests of one user on to the registry at ``url``."""

    def __init__(self, url: str, certificate: Certificate, login: str) -> None:
        super().__init__(_RegistryHandler, certificate, login)
        self.upstream = httpx.URL(url)


class _RegistryHandler(HttpsHandler):
    server: RegistryProxy

    def _pass_on(self) -> None:
        body = self.body()
        if not self.is_known():
            self.answer(401, b'{"error_code": 40101, "message": "Unauthorized"}')
            return
        answer = httpx.request(
            self.command,
            self.server.upstream.join(self.path),
            content=body,
            headers={"Content-Type": self.headers.get("Content-Type", "application/json")},
            trust_env=False,
        )
        self.answer(answer.status_code, answer.content)

    do_GET = do_POST = do_PUT = _pass_on  # noqa: N815  # the library's names


class TokenEndpoint(HttpsServer):
    """Gives tokens to one client; ``scopes`` are those that were asked for."""

    def __init__(self, certificate: Certificate, *, client_id: str, secret: str) -> None:
        super().__init__(_TokenHandler, certificate, f"{client_id}:{secret}")
        self.scopes: set[str] = set()


class _TokenHandler(HttpsHandler):
    server: TokenEndpoint

    def do_POST(self) -> None:  # the library's name
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
