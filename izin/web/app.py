"""The routes of the console: who is signed in, what is refused, and what every request must have.

Whoever is not signed in is sent to the sign-in page. What changes anything is posted, with the
token of the session's forms and from the console's own origin. A customer that is named must be
among those of the account.
"""

import asyncio
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from types import MappingProxyType

from prometheus_client import CollectorRegistry, Counter
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from izin.consent import IzinError, SourceError
from izin.evidence.container import UnprovenHistoryError
from izin.ledger.brands import OtherBrandsError
from izin.ledger.console import sessions
from izin.ledger.record import (
    BrandOfAnotherError,
    ClosedComplaintError,
    CompanyNumberError,
    DecidedSuspensionError,
    NationalIdError,
    OffboardedCustomerError,
    RefusedValueError,
    StreamUnavailableError,
    UnknownComplaintError,
    UnregisteredBrandError,
)
from izin.ledger.registry.application_items import ItemFormError
from izin.ledger.webhooks.registry import UnknownSubscriberError
from izin.runtime.http_server.problems import RequestRefusedError
from izin.runtime.logs import get_logger
from izin.web import pages
from izin.web.forms import SMALL, Form, read_form
from izin.web.visit import (
    EVERY,
    NO_FORM,
    Console,
    RefusedVisitError,
    Screen,
    Visit,
    cookie_name,
    forbidden,
)

SESSION_COOKIE = "izin_session"
CSRF_FIELD = "csrf"
SIGN_IN = "/sign-in"
_UPLOADS = 4
"""Files that are received at once, for each is in memory; others wait."""
_TUNNEL = re.compile(r"http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?")
_EVENTS = "text/event-stream"
_VALUE = "There is a value that cannot be; correct it, or open the page again."
_MISTAKE = "The console has made a mistake, which its log has. Tell an operator."
_REFUSALS: Mapping[int, str] = MappingProxyType(
    {
        400: "The form cannot be read; open the page again.",
        404: "There is no such page.",
        405: "There is no such page.",
        408: "What you sent took too long; send it again.",
        413: "What you sent is too large.",
        429: "There are too many requests at once; try again soon.",
    }
)
_PERMITTED = forbidden()
_REFUSED: Mapping[type[IzinError], tuple[int, str]] = MappingProxyType(
    {
        # Of another account's no one learns that it is there.
        **dict.fromkeys(
            (
                OtherBrandsError,
                UnknownComplaintError,
                UnknownSubscriberError,
                UnregisteredBrandError,
            ),
            (_PERMITTED.status, _PERMITTED.message),
        ),
        RefusedValueError: (422, _VALUE),
        CompanyNumberError: (
            422,
            "A number cannot be right: look it up in the company's documents.",
        ),
        NationalIdError: (
            422,
            (
                "The number of a natural person (T.C. kimlik numarası) is never stored: leave it "
                "out, and give the VKN."
            ),
        ),
        OffboardedCustomerError: (
            422,
            "This customer was offboarded: nothing more is done for it.",
        ),
        ItemFormError: (
            422,
            "A value is not what its item asks for; see the example beside it.",
        ),
        BrandOfAnotherError: (
            422,
            "Another customer has this brand. Where it moves: izin brands add --from",
        ),
        DecidedSuspensionError: (
            409,
            "It was decided otherwise meanwhile, and nothing was done: look at the worklist again.",
        ),
        ClosedComplaintError: (409, "This complaint is closed already."),
        UnprovenHistoryError: (
            409,
            "No archive was made: the history was changed (izin ledger verify says where).",
        ),
        StreamUnavailableError: (503, "Kafka does not answer; try again soon."),
    }
)
"""What a page says of errors that name what is at fault, with its status."""
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


def is_same_origin(request: Request, own: str) -> bool:
    """Whether a posted form comes from a page of the console, whose origin is ``own``, as the
    browser says; one that says nothing is none.

    Through a tunnel it is at an address of the browser's own machine, which no other host can have.
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site not in {None, "same-origin"}:
        return False
    if origin is None:
        return site is not None
    host = request.headers.get("host", "")
    return origin == own or (origin == f"http://{host}" and _TUNNEL.fullmatch(origin) is not None)


class ConsoleApp:
    """Answers the requests of screens."""

    def __init__(self, console: Console, metrics: ConsoleMetrics) -> None:
        self.console = console
        self._metrics = metrics
        self._uploads = asyncio.Semaphore(_UPLOADS)

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
            status = error.text.status
            response = self._refusal(request, status, _REFUSALS.get(status, error.text.detail))
        except RefusedVisitError as error:
            response = self._refusal(request, error.status, error.message)
        except IzinError as error:
            known = _REFUSED.get(type(error))
            if known is None and isinstance(error, SourceError):
                known = 422, str(error)
            elif known is None:
                _log.error("page not answered", path=path, error=str(error))
                known = 503, "The ledger does not answer; try again soon."
            response = self._refusal(request, *known)
        if request.method == "HEAD" and isinstance(response, StreamingResponse):
            response = Response(status_code=response.status_code, headers=response.headers)
        if self.console.settings.has_tls:
            response.headers["Strict-Transport-Security"] = "max-age=31536000"
        self._metrics.requests.labels(path, str(response.status_code)).inc()
        return response

    async def unserved(self, request: Request, error: Exception) -> Response:
        """Return the page for what has no route, or what nobody expected."""
        status = error.status_code if isinstance(error, HTTPException) else 500
        response = self._refusal(request, status, _REFUSALS.get(status, _MISTAKE))
        response.headers.update(getattr(error, "headers", None) or {})
        return response

    async def form(self, request: Request, *, largest: int = SMALL, csrf: str = "") -> Form:
        """Return the form that was posted by a page of the console, with the token ``csrf`` where
        somebody is signed in.

        Raises:
            RefusedVisitError: it comes from elsewhere, or is not of this session.
            RequestRefusedError: it is too large, or cannot be read.
        """
        is_ours = is_same_origin(request, self.console.settings.origin)
        form = await read_form(request, largest=largest) if is_ours else NO_FORM
        # As bytes: of texts that are not ASCII nothing can be compared.
        given = form.get(CSRF_FIELD).encode() if csrf else b""
        if not is_ours or not hmac.compare_digest(given, csrf.encode()):
            raise RefusedVisitError(403, "The form is not of this session; open the page again.")
        return form

    async def visit(self, request: Request) -> Visit | None:
        """Return the visit of who is signed in; None: nobody is.

        Raises:
            RefusedVisitError: the customer that is named is none of the account's.
        """
        console, now = self.console, self.console.clock()
        token = request.cookies.get(cookie_name(console.settings, SESSION_COOKIE), "")
        # What a page asks by itself does not keep a session from becoming idle.
        is_used = _EVENTS not in request.headers.get("accept", "")
        account = await sessions.account_by(
            console.ledger, token, console.terms, now=now, is_used=is_used
        )
        if account is None:
            return None
        if "\0" in request.scope["path"] or any(
            "\0" in value for value in request.query_params.values()
        ):
            raise RefusedVisitError(400, _VALUE)
        every = await console.customers()
        if not (account.customers or frozenset()) <= {one.customer_id for one in every}:
            console.kept.forget("customers")  # one of its own was registered since
            every = await console.customers()
        seen = [one for one in every if account.sees(one.customer_id)]
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
        visit.need(screen.right)
        if screen.method != "POST":
            return await screen.run(visit)
        async with self._uploads if screen.largest > SMALL else nullcontext():
            form = await self.form(request, largest=screen.largest, csrf=visit.csrf)
            return await screen.run(replace(visit, form=form))

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
    if request.headers.get("hx-request"):
        return Response(status_code=204, headers={**pages.HEADERS, "HX-Redirect": SIGN_IN})
    return RedirectResponse(SIGN_IN, status_code=303, headers=dict(pages.HEADERS))
