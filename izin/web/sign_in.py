"""Signing in: by password, or by a link once; signing out, and one's own account.

A session begins with a token of its own each time (nobody can plant one), and whoever knows a link
has to press a button: what looks at links before people do uses none up.
"""

from collections.abc import Awaitable, Callable

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from izin.ledger.console import accounts, sessions
from izin.web import pages
from izin.web.app import SESSION_COOKIE, SIGN_IN, ConsoleApp, is_same_origin
from izin.web.forms import SMALL, Form, read_form
from izin.web.i18n import Language
from izin.web.pages import LANGUAGE_COOKIE
from izin.web.passwords import LONGEST, SHORTEST, Passwords
from izin.web.rights import Right
from izin.web.visit import RefusedVisitError, Screen, Visit, set_cookie

HOME = "/"
ACCOUNT = "/account"
LINK = "/sign-in/link/{token}"
_YEAR = 365 * 24 * 3600
_WRONG = "This name and password do not go together, or the account is locked for a while."
_NO_LINK = "This link has been used, or is too old. Ask for another: izin accounts link"


class SignIn:
    """The pages for who is not signed in."""

    def __init__(self, app: ConsoleApp, *, has_provider: bool) -> None:
        self._app = app
        self._console = app.console
        self._has_provider = has_provider
        self._passwords = Passwords()

    def routes(self) -> list[Route]:
        """Return the routes."""
        app = self._app
        return [
            self._route(SIGN_IN, "GET", self._page),
            self._route(SIGN_IN, "POST", self._by_password),
            self._route(LINK, "GET", self._link_page),
            self._route(LINK, "POST", self._by_link),
            self._route("/language", "POST", self._choose_language),
            app.route(Screen(path="/sign-out", method="POST", run=self._sign_out, right=Right.SEE)),
            app.route(Screen(path=ACCOUNT, run=_account, right=Right.SEE)),
            app.route(
                Screen(path="/account/password", method="POST", run=self._password, right=Right.SEE)
            ),
        ]

    def _route(
        self, path: str, method: str, work: Callable[[Request], Awaitable[Response]]
    ) -> Route:
        async def answer(request: Request) -> Response:
            return await self._app.answered(request, path, lambda: work(request))

        return Route(path, answer, methods=[method])

    async def _form(self, request: Request) -> Form:
        form = await read_form(request, largest=SMALL)
        if not is_same_origin(request, self._console.settings.url):
            raise RefusedVisitError(403, "The form is not of this session; open the page again.")
        return form

    async def begin(self, request: Request, name: str) -> Response:
        """Return a redirect with a new session of the account ``name``; the one before ended."""
        console = self._console
        await sessions.end(console.ledger, request.cookies.get(SESSION_COOKIE, ""))
        token = await sessions.begin(console.ledger, name, console.terms, now=console.clock())
        response = RedirectResponse(HOME, status_code=303, headers=dict(pages.HEADERS))
        set_cookie(response, console.settings, SESSION_COOKIE, token, lasts=None)
        return response

    async def _page(self, request: Request) -> Response:
        return self._shown(request)

    def _shown(self, request: Request, *, name: str = "", fault: str = "") -> Response:
        return pages.page(
            "sign_in.html",
            pages.language_of(request),
            status=401 if fault else 200,
            name=name,
            fault=fault,
            has_provider=self._has_provider,
        )

    async def _by_password(self, request: Request) -> Response:
        form, now = await self._form(request), self._console.clock()
        name, ledger = form.get("name"), self._console.ledger
        stored = await sessions.password_hash(ledger, name, now=now)
        is_right = await self._passwords.is_right(form.get("password"), stored)
        if stored is not None:
            await sessions.note_password(ledger, name, is_right=is_right, now=now)
        return (
            await self.begin(request, name)
            if is_right
            else self._shown(request, name=name, fault=_WRONG)
        )

    async def _link_page(self, request: Request) -> Response:
        return pages.page("link.html", pages.language_of(request))

    async def _by_link(self, request: Request) -> Response:
        await self._form(request)
        token, now = request.path_params["token"], self._console.clock()
        name = await sessions.use_link(self._console.ledger, token, now=now)
        if name is None:
            raise RefusedVisitError(410, _NO_LINK)
        return await self.begin(request, name)

    async def _choose_language(self, request: Request) -> Response:
        form = await self._form(request)
        chosen, back = form.get("language"), form.get("back")
        target = back if back.startswith("/") and not back.startswith(("//", "/\\")) else HOME
        response = RedirectResponse(target, status_code=303, headers=dict(pages.HEADERS))
        if chosen in set(Language):
            set_cookie(response, self._console.settings, LANGUAGE_COOKIE, chosen, lasts=_YEAR)
        return response

    async def _sign_out(self, visit: Visit) -> Response:
        await sessions.end(visit.ledger, visit.token)
        response = RedirectResponse(SIGN_IN, status_code=303, headers=dict(pages.HEADERS))
        response.delete_cookie(SESSION_COOKIE, path="/")
        return response

    async def _password(self, visit: Visit) -> Response:
        chosen, name = visit.form.get("password"), visit.account.name
        if not SHORTEST <= len(chosen) <= LONGEST:
            raise RefusedVisitError(422, "A password has 12 characters at least, and 256 at most.")
        if visit.account.has_password:
            stored = await sessions.password_hash(visit.ledger, name, now=visit.now)
            is_right = await self._passwords.is_right(visit.form.get("former"), stored)
            await sessions.note_password(visit.ledger, name, is_right=is_right, now=visit.now)
            if not is_right:
                raise RefusedVisitError(403, "The former password is wrong.")
        await accounts.set_password(
            visit.ledger,
            name,
            await self._passwords.hash(chosen),
            but=sessions.digest_of(visit.token),
            now=visit.now,
        )
        return visit.redirect(
            ACCOUNT, said=visit.text("The password is set; other sessions have ended.")
        )


async def _account(visit: Visit) -> Response:
    return visit.page("account.html", shortest=SHORTEST)
