"""The routes of the console: who is signed in, what is refused, and what every request must have.

Whoever is not signed in is sent to the sign-in page. What changes anything is posted, with the
token of the session's forms and from the console's own origin. A customer that is named must be
among those of the account.
"""

import hashlib
import hmac
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from izin.consent import IzinError, OurError, SourceError
from izin.ledger.console import sessions
from izin.ledger.registry import customers as registry
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.logs import get_logger
from izin.web import pages
from izin.web.forms import read_form
from izin.web.visit import (
    EVERY,
    NO_FORM,
    Console,
    RefusedVisitError,
    Screen,
    Visit,
    forbidden,
)

SESSION_COOKIE = "izin_session"
CSRF_FIELD = "csrf"
SIGN_IN = "/sign-in"
_log = get_logger(__name__)


class ConsoleMetrics:
    """The metrics of one process, in a registry of their own."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter(
            "izin_console_requests",
            "Requests to the console, by path and HTTP status.",
            ["path", "status"],
            registry=self.registry,
        )


def csrf_of(token: str) -> str:
    """Return what a form of the session must have: nobody derives the one from the other."""
    return hmac.new(token.encode(), b"form", hashlib.sha256).hexdigest()


def is_same_origin(request: Request, url: str) -> bool:
    """Whether a posted form comes from a page of the console at ``url``, as the browser says."""
    site = request.headers.get("sec-fetch-site")
    if site is not None and site != "same-origin":
        return False
    origin = request.headers.get("origin")
    if origin is None:
        return site is not None or "cookie" not in request.headers
    own = {urlsplit(url).netloc, request.headers.get("host", "")}
    return urlsplit(origin).netloc in own


class ConsoleApp:
    """Answers the requests of screens."""

    def __init__(self, console: Console, metrics: ConsoleMetrics) -> None:
        self.console = console
        self._metrics = metrics

    def route(self, screen: Screen) -> Route:
        """Return the route of a screen."""

        async def answer(request: Request) -> Response:
            return await self.answered(request, screen.path, lambda: self._run(request, screen))

        return Route(screen.path, answer, methods=[screen.method])

    async def answered(
        self, request: Request, path: str, work: Callable[[], Awaitable[Response]]
    ) -> Response:
        """Return the response of ``work``, or a page that says why there is none."""
        try:
            response = await work()
        except RequestRefusedError as error:
            response = self._refusal(request, error.text.status, error.text.detail)
        except RefusedVisitError as error:
            response = self._refusal(request, error.status, error.message)
        except SourceError as error:
            response = self._refusal(request, 422, str(error))
        except (OurError, IzinError) as error:
            _log.error("page not answered", path=path, error=str(error))
            response = self._refusal(request, 503, "The ledger does not answer; try again soon.")
        self._metrics.requests.labels(path, str(response.status_code)).inc()
        return response

    async def visit(self, request: Request) -> Visit | None:
        """Return the visit of who is signed in; None: nobody is.

        Raises:
            RefusedVisitError: the customer that is named is none of the account's.
        """
        console, now = self.console, self.console.clock()
        token = request.cookies.get(SESSION_COOKIE, "")
        account = await sessions.account_by(console.ledger, token, console.terms, now=now)
        if account is None:
            return None
        seen = [
            one for one in await registry.every(console.ledger) if account.sees(one.customer_id)
        ]
        return Visit(
            console=console,
            request=request,
            account=account,
            token=token,
            csrf=csrf_of(token),
            language=pages.language_of(request),
            now=now,
            customers=tuple(sorted(seen, key=lambda one: one.customer_id)),
            customer=_chosen(request, account.customers, [one.customer_id for one in seen]),
            form=NO_FORM,
        )

    async def _run(self, request: Request, screen: Screen) -> Response:
        visit = await self.visit(request)
        if visit is None:
            return _to_sign_in(request)
        if screen.method == "POST":
            form = await read_form(request, largest=screen.largest)
            if not is_same_origin(request, self.console.settings.url) or not hmac.compare_digest(
                form.get(CSRF_FIELD), visit.csrf
            ):
                raise RefusedVisitError(
                    403, "The form is not of this session; open the page again."
                )
            visit = replace(visit, form=form)
        visit.need(screen.right)
        return await screen.run(visit)

    def _refusal(self, request: Request, status: int, message: str) -> Response:
        language = pages.language_of(request)
        return pages.page("refused.html", language, status=status, message=message)


def _chosen(request: Request, own: frozenset[str] | None, known: Sequence[str]) -> str | None:
    """Return the customer that is shown: the one that is named, else everybody where the account
    sees all, else its first.
    """
    named = request.query_params.get("customer", "")
    if named and named != EVERY:
        if named not in known:
            raise forbidden()
        return named
    if own is None:
        return None
    if not known:
        raise forbidden()
    return min(known)


def _to_sign_in(request: Request) -> Response:
    # What was posted is lost, so the page of the form is what comes back.
    target = SIGN_IN
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={**pages.HEADERS, "HX-Redirect": target})
    return RedirectResponse(target, status_code=303, headers=dict(pages.HEADERS))
