"""An HTTP server with TLS in a thread, which knows one user."""

import base64
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TypeVar

from tests.support.secure.certificates import Certificate
from tests.support.secure.tls import server_context


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
