"""A reverse proxy with TLS and a login before a schema registry that has neither."""

import httpx

from tests.support.secure.certificates import Certificate
from tests.support.secure.https import HttpsHandler, HttpsServer


class RegistryProxy(HttpsServer):
    """Passes the requests of one user on to the registry at ``url``."""

    def __init__(self, url: str, certificate: Certificate, login: str) -> None:
        super().__init__(_Handler, certificate, login)
        self.upstream = httpx.URL(url)


class _Handler(HttpsHandler):
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
