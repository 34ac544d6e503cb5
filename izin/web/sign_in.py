"""Signing in: by password, by a link once, or at an identity provider; signing out, and one's own
account.

A session begins with a token of its own each time (nobody can plant one), and whoever knows a link
has to press a button: what looks at links before people do uses none up.
"""

from collections.abc import Awaitable, Callable
from functools import partial

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from izin.ledger.console import accounts, sessions
from izin.ledger.console.accounts import is_account_name
from izin.runtime.http_server.shedding import client_of
from izin.runtime.logs import get_logger
from izin.views import i18n
from izin.views.i18n import Language
from izin.web import pages
from izin.web.app import SESSION_COOKIE, SIGN_IN, ConsoleApp
from izin.web.oidc import BACK, Provider
from izin.web.pages import LANGUAGE_COOKIE
from izin.web.passwords import LONGEST, SHORTEST, Passwords
from izin.web.visit import Permit, RefusedVisitError, Screen, Visit, cookie_name, set_cookie

HOME = "/"
ACCOUNT = "/account"
LINK = "/sign-in/link/{token}"
_YEAR = 365 * 24 * 3600
_WRONG = "This name and password do not go together, or the account is locked for a while."
_log = get_logger(__name__)
_UNKNOWN = (
    "Your organisation knows you as %(name)s; no account here has that name. Ask an administrator."
)
_PROVIDER_COOKIE = "izin_provider"
_AT_PROVIDER = 600
"""Seconds that signing in there may take."""
_NO_LINK = "This link has been used, or is too old. Ask for another: izin accounts link"


class SignIn:
    """The pages for who is not signed in."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        self._console = console = app.console
        self._passwords = Passwords()
        is_set = console.settings.oidc_issuer is not None
        self._provider = Provider(console.settings, console.clock) if is_set else None

    def routes(self) -> list[Route]:
        """Return the routes."""
        app = self._app
        at_provider = ("/sign-in/oidc", self._to_provider), (BACK, self._from_provider)
        return [
            *(
                self._route(path, "GET", partial(work, self._provider))
                for path, work in at_provider
                if self._provider is not None
            ),
            self._route(SIGN_IN, "GET", self._page),
            self._route(SIGN_IN, "POST", self._by_password),
            self._route(LINK, "GET", self._link_page),
            self._route(LINK, "POST", self._by_link),
            self._route("/language", "POST", self._choose_language),
            app.route(
                Screen(path="/sign-out", method="POST", run=self._sign_out, right=Permit.SEE)
            ),
            app.route(Screen(path=ACCOUNT, run=_account, right=Permit.SEE)),
            app.route(
                Screen(
                    path="/account/password",
                    method="POST",
                    run=self._password,
                    right=Permit.SEE,
                )
            ),
        ]

    def _route(
        self, path: str, method: str, work: Callable[[Request], Awaitable[Response]]
    ) -> Route:
        async def answer(request: Request) -> Response:
            return await self._app.answered(request, path, lambda: work(request))

        return Route(path, answer, methods=[method])

    async def _begin(self, request: Request, name: str, how: str) -> Response:
        """Return a redirect with a new session of the account ``name``; the one before ended."""
        console = self._console
        former = request.cookies.get(cookie_name(console.settings, SESSION_COOKIE), "")
        await sessions.end(console.ledger, former)
        _log.info("signed in", account=name, how=how)
        response = RedirectResponse(HOME, status_code=303, headers=dict(pages.HEADERS))
        return await self._with_session(response, name)

    async def _with_session(self, response: Response, name: str) -> Response:
        console = self._console
        token = await sessions.begin(console.ledger, name, console.terms, now=console.clock())
        set_cookie(response, console.settings, SESSION_COOKIE, token, lasts=None)
        return response

    async def _page(self, request: Request) -> Response:
        return self._shown(request)

    def _shown(
        self, request: Request, fault: str = "", *, status: int = 200, **said: str
    ) -> Response:
        """Return the page, with what is wrong: ``said`` stands for ``%(…)s`` in it."""
        language = pages.language_of(request)
        return pages.page(
            "sign_in.html",
            language,
            status=status,
            name=said.get("name", ""),
            fault=i18n.text(language, fault, **said) if fault else "",
            has_provider=self._provider is not None,
        )

    async def _by_password(self, request: Request) -> Response:
        form = await self._app.form(request)
        name = form.get("name")
        if await self._is_right(request, name, form.get("password")):
            return await self._begin(request, name, "password")
        return self._shown(request, _WRONG, status=401, name=name)

    async def _is_right(self, request: Request, name: str, password: str) -> bool:
        ledger, client = self._console.ledger, client_of(request.client)
        stored = await sessions.attempt(ledger, name, now=self._console.clock())
        kept = await self._passwords.verified(password, stored, client=client)
        if stored is None:  # nobody's: what was typed may be a password
            return False
        if kept is None:
            _log.warning("wrong password", account=name, client=client)
            return False
        await sessions.succeed(ledger, name, stored=stored, kept=kept)
        return True

    async def _link_page(self, request: Request) -> Response:
        return pages.page("link.html", pages.language_of(request))

    async def _by_link(self, request: Request) -> Response:
        await self._app.form(request)
        token, now = request.path_params["token"], self._console.clock()
        name = await sessions.use_link(self._console.ledger, token, now=now)
        if name is None:
            raise RefusedVisitError(410, _NO_LINK)
        return await self._begin(request, name, "link")

    async def _to_provider(self, provider: Provider, request: Request) -> Response:
        secret = sessions.new_token()
        try:
            address = await provider.address(secret)
        except RefusedVisitError as error:
            return self._shown(request, error.message, status=error.status)
        response = RedirectResponse(address, status_code=303, headers=dict(pages.HEADERS))
        set_cookie(response, self._console.settings, _PROVIDER_COOKIE, secret, lasts=_AT_PROVIDER)
        return response

    async def _from_provider(self, provider: Provider, request: Request) -> Response:
        settings = self._console.settings
        secret = request.cookies.get(cookie_name(settings, _PROVIDER_COOKIE), "")
        try:
            name = await provider.name(secret, request.query_params)
        except RefusedVisitError as error:
            return self._shown(request, error.message, status=error.status)
        if not is_account_name(name) or not await accounts.find(self._console.ledger, name):
            return self._shown(request, _UNKNOWN, status=403, name=name)
        response = await self._begin(request, name, "provider")
        set_cookie(response, settings, _PROVIDER_COOKIE, "", lasts=0)
        return response

    async def _choose_language(self, request: Request) -> Response:
        form = await self._app.form(request)
        chosen, back = form.get("language"), form.get("back")
        target = back if back.startswith("/") and not back.startswith(("//", "/\\")) else HOME
        response = RedirectResponse(target, status_code=303, headers=dict(pages.HEADERS))
        if chosen in set(Language):
            set_cookie(response, self._console.settings, LANGUAGE_COOKIE, chosen, lasts=_YEAR)
        return response

    async def _sign_out(self, visit: Visit) -> Response:
        await sessions.end(visit.ledger, visit.token)
        # So that "back" shows nothing either.
        headers = {**pages.HEADERS, "Clear-Site-Data": '"cache"'}
        response = RedirectResponse(SIGN_IN, status_code=303, headers=headers)
        set_cookie(response, self._console.settings, SESSION_COOKIE, "", lasts=0)
        return response

    async def _password(self, visit: Visit) -> Response:
        chosen, name = visit.form.get("password"), visit.account.name
        if not SHORTEST <= len(chosen) <= LONGEST:
            raise RefusedVisitError(422, "A password has 12 characters at least, and 256 at most.")
        if visit.account.has_password and not await self._is_right(
            visit.request, name, visit.form.get("former")
        ):
            raise RefusedVisitError(403, "The former password is wrong.")
        hashed = await self._passwords.hash(chosen)
        await accounts.set_password(visit.ledger, name, hashed, now=visit.now)
        said = visit.text("The password is set; other sessions have ended.")
        return await self._with_session(visit.redirect(ACCOUNT, said=said), name)


async def _account(visit: Visit) -> Response:
    return visit.page("account.html", shortest=SHORTEST)
