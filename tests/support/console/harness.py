"""The console of a test, without a socket, and browsers that sign in to it.

``console_over(ledger)`` gives it; ``await console.signed_in(AccountRole.READER, ["acme"])`` a
browser of a new account, which posts forms as pages do: with the token of its session, from the
console's own origin.
"""

import re
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from pydantic import SecretStr
from starlette.applications import Starlette

from izin.ledger.console import accounts, sessions
from izin.ledger.console.accounts import AccountRole
from izin.ledger.db import Ledger
from izin.runtime.http_server.problems import public_app
from izin.runtime.settings import ConsoleSettings, KafkaSettings
from izin.schemas.codec import Codec
from izin.views.i18n import Language
from izin.web.app import CSRF_FIELD, ConsoleApp, ConsoleMetrics
from izin.web.live import LivePages
from izin.web.pages import LANGUAGE_COOKIE
from izin.web.process import routes_of
from izin.web.visit import Console
from tests.integration.sinks.sink_harness import Clock

HOME = "http://127.0.0.1:8090"
"""Where the console of a test is, for its browsers."""
_TOKEN = re.compile(rf'name="{CSRF_FIELD}" value="([0-9a-f]+)"')


@dataclass(kw_only=True)
class Browser:
    """One browser: it keeps cookies, and follows the redirect behind a form."""

    client: httpx.AsyncClient
    origin: str
    """What it says of where a form was: the console's own."""
    name: str = ""
    """Of its account; empty: nobody has signed in."""

    async def get(self, path: str, **query: str) -> httpx.Response:
        """Return the page at ``path``."""
        return await self.client.get(path, params=query or None)

    async def csrf(self) -> str:
        """Return the token that forms of its session have."""
        found = _TOKEN.search((await self.client.get("/account")).text)
        assert found is not None, "nobody has signed in"
        return found[1]

    async def post(
        self,
        path: str,
        form: Mapping[str, Any] | None = None,
        *,
        files: Mapping[str, Any] | None = None,
        query: Mapping[str, str] | None = None,
        follow: bool = True,
    ) -> httpx.Response:
        """Post a form as a page of the console does; return the page to which that leads."""
        fields = {**({CSRF_FIELD: await self.csrf()} if self.name else {}), **(form or {})}
        return await self.client.post(
            path,
            data=fields,
            files=files,
            params=query,
            headers={"Origin": self.origin},
            follow_redirects=follow,
        )


@dataclass(kw_only=True)
class ConsoleHarness:
    """The console of a test."""

    ledger: Ledger
    console: Console
    app: Starlette
    clock: Clock
    _browsers: list[httpx.AsyncClient] = field(default_factory=list)

    def browser(self, *, language: Language = Language.ENGLISH, **headers: str) -> Browser:
        """Return a browser in which nobody has signed in; ``headers`` are sent by it always."""
        origin = self.console.settings.url
        client = httpx.AsyncClient(
            transport=httpx.ASGITransport(app=self.app), base_url=origin, headers=headers
        )
        client.cookies.set(LANGUAGE_COOKIE, language, domain=client.base_url.host)
        self._browsers.append(client)
        return Browser(client=client, origin=origin)

    async def account(
        self,
        name: str,
        role: AccountRole = AccountRole.ADMIN,
        customers: Collection[str] | None = None,
    ) -> None:
        """Add an account, or change it; ``customers``, None for every one, must be registered."""
        await accounts.save(self.ledger, name, role, customers, by="test", now=self.clock())

    async def link(self, name: str) -> str:
        """Return the path of a link by which the account signs in once."""
        token = await sessions.make_link(self.ledger, name, by="test", now=self.clock())
        return f"/sign-in/link/{token}"

    async def signed_in(
        self,
        role: AccountRole = AccountRole.ADMIN,
        customers: Collection[str] | None = None,
        *,
        name: str = "",
        language: Language = Language.ENGLISH,
    ) -> Browser:
        """Return a browser in which an account of this role has signed in, by a link."""
        browser = self.browser(language=language)
        name = name or "-".join([role, *sorted(customers or ())])
        await self.account(name, role, customers)
        done = await browser.post(await self.link(name), follow=False)
        assert done.status_code == httpx.codes.SEE_OTHER, done.text
        browser.name = name
        return browser


@asynccontextmanager
async def console_over(
    ledger: Ledger,
    *,
    kafka: KafkaSettings | None = None,
    clock: Clock | None = None,
    live: LivePages | None = None,
    **settings: Any,  # noqa: ANN401  # of any type
) -> AsyncIterator[ConsoleHarness]:
    """Yield the console over ``ledger``; ``settings`` are fields of ConsoleSettings."""
    clock = clock or Clock()
    given: dict[str, Any] = {
        "url": HOME,
        "suppression_secrets": [SecretStr("s" * 32)],
        **settings,
    }
    console = Console(
        ledger=ledger,
        kafka=kafka or KafkaSettings(topic_prefix="", partitions=1),
        settings=ConsoleSettings(**given),
        codec=Codec(),
        clock=clock,
        live=live or LivePages(every=0.01, lasts=0.2),
    )
    served = ConsoleApp(console, ConsoleMetrics())
    app = public_app(routes_of(served), dict, served.unserved)
    harness = ConsoleHarness(ledger=ledger, console=console, app=app, clock=clock)
    try:
        yield harness
    finally:
        for client in harness._browsers:
            await client.aclose()
