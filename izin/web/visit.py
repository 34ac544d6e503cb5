"""One request of who is signed in: what the account may do, whose data is shown, its page, and
looks at people.
"""

import base64
import hashlib
import hmac
import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum, StrEnum
from types import MappingProxyType
from typing import Any, NamedTuple, TypeVar
from urllib.parse import quote_plus, unquote_plus, urlencode

from cryptography.fernet import Fernet, InvalidToken
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from izin.consent import TURKEY, IzinError, SourceError, read_email, read_phone
from izin.consent.forecast import records_per_second
from izin.ledger import brands
from izin.ledger.console.accounts import Account, AccountRole
from izin.ledger.console.sessions import SessionTerms
from izin.ledger.db import Ledger
from izin.ledger.record import TopicMessages
from izin.ledger.registry import customers as registry
from izin.ledger.registry.customers import Customer
from izin.runtime.masking import mask
from izin.runtime.settings import (
    ConsoleSettings,
    KafkaSettings,
    WebhookSettings,
)
from izin.schemas.codec import Codec
from izin.views import i18n
from izin.views.cut import CustomerCut, Look, cut_to, record_look
from izin.views.i18n import Language
from izin.views.kept import Kept
from izin.views.overview import KeptFigures
from izin.views.sentences import Sentence, turkish
from izin.views.unreadable import Unreadable
from izin.views.words import Words, read_instant
from izin.web import pages
from izin.web.forms import SMALL, Form
from izin.web.imports.runs import ImportRuns
from izin.web.live import LivePages


class Permit(StrEnum):
    """What may be done."""

    SEE = "see"
    """Every screen, with recipients masked."""
    UNMASK = "unmask"
    """Recipients as they are: a look, which the history has."""
    IMPORT = "import"
    """Publish the consents and opt-outs of a file."""
    DECIDE = "decide"
    """What waits for a person: parked, refused, held back, suspended."""
    ONBOARD = "onboard"
    """Customers, brands and their applications."""
    DELIVER = "deliver"
    """Subscribers: pause, resume, resend, test."""
    COMPLAIN = "complain"
    """Complaints and their evidence."""
    ERASE = "erase"
    """What is known of a person (6698 m.7)."""


_ALL = frozenset(Permit)
RIGHTS: Mapping[AccountRole, frozenset[Permit]] = MappingProxyType(
    {
        AccountRole.READER: frozenset({Permit.SEE}),
        AccountRole.OPERATOR: _ALL - {Permit.COMPLAIN, Permit.ERASE},
        AccountRole.COMPLIANCE: frozenset(
            {
                Permit.SEE,
                Permit.UNMASK,
                Permit.DECIDE,
                Permit.COMPLAIN,
                Permit.ERASE,
            }
        ),
        AccountRole.ADMIN: _ALL,
    }
)


class Entry(NamedTuple):
    """An entry of the navigation."""

    path: str
    name: str
    """English, with a Turkish text."""
    right: Permit = Permit.SEE


NAVIGATION = (
    Entry("/", "Overview"),
    Entry("/recipient", "Recipient"),
    Entry("/worklist", "Worklist"),
    Entry("/deadlines", "Deadlines"),
    Entry("/imports", "Imports"),
    Entry("/customers", "Customers and brands"),
    Entry("/complaints", "Complaints"),
    Entry("/subscribers", "Subscribers"),
    Entry("/months", "Monthly report"),
    Entry("/acts", "Acts"),
)


NO_FORM = Form((), {})
SAID_COOKIE = "izin_said"
_UNSAFE = re.compile(r"[^A-Za-z0-9._-]")
"""What a file's name in a header does not have."""
_DIGITS = 9
"""Of the largest number of a form: it fits into every column of the ledger."""
Choice = TypeVar("Choice", bound=Enum)
EVERY = "*"
"""The customer that an account which sees all of them chooses to see everything."""


class RefusedVisitError(SourceError):
    """What was asked for is not done; the page says why."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        """English, with a Turkish text."""


def forbidden() -> RefusedVisitError:
    """Return why somebody is refused what its role or its customers do not include; what is not
    there is refused in the same words.
    """
    return RefusedVisitError(403, "This is not among what your account may see or do.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Console:
    """What every screen works on."""

    ledger: Ledger
    kafka: KafkaSettings
    settings: ConsoleSettings
    codec: Codec
    clock: Callable[[], datetime]
    live: LivePages = field(default_factory=LivePages)
    webhooks: WebhookSettings = field(default_factory=WebhookSettings)
    """Where a test event may be posted."""
    unreadable: Unreadable = field(default_factory=Unreadable)
    imports: ImportRuns = field(default_factory=ImportRuns)
    kept: Kept = field(default_factory=Kept)

    @property
    def figures(self) -> KeptFigures:
        """What several screens show, kept for some seconds."""
        settings = self.settings
        return KeptFigures(
            ledger=self.ledger,
            kept=self.kept,
            records_per_second=records_per_second(
                settings.requests_per_second, batch_size=settings.batch_size
            ),
            permissions=self.kafka.topics.permissions.name,
            clock=self.clock,
            unreadable=self.unreadable,
        )

    async def customers(self) -> tuple[Customer, ...]:
        """Return every customer, kept for some seconds."""
        return await self.kept.get("customers", lambda: registry.every(self.ledger))

    @property
    def topic_messages(self) -> TopicMessages:
        """What makes the messages of a change."""
        return TopicMessages(self.codec, self.kafka.topics)

    @property
    def terms(self) -> SessionTerms:
        """How long a session lasts."""
        return SessionTerms(idle=self.settings.idle, longest=self.settings.session)


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One request of an account."""

    console: Console
    request: Request
    account: Account
    token: str
    """Of the session."""
    csrf: str
    language: Language
    now: datetime
    customers: tuple[Customer, ...]
    """Those that the account sees, by name."""
    customer: str | None
    """Whose data is shown; None: everybody's, for an account that sees all."""
    form: Form = field(default=NO_FORM)

    @property
    def ledger(self) -> Ledger:
        """The ledger."""
        return self.console.ledger

    def may(self, right: Permit) -> bool:
        """Whether the account has the right."""
        return right in RIGHTS[self.account.role]

    def need(self, right: Permit) -> None:
        """Raise RefusedVisitError where the account does not have the right."""
        if not self.may(right):
            raise forbidden()

    async def cut(self) -> CustomerCut:
        """Return the customer that is shown, with its brands; or everybody."""
        return await cut_to(self.ledger, self.customer)

    async def brand_names(self) -> Mapping[int, str]:
        """Return what each brand is called, by its code."""
        found = await self.console.kept.get("brands", lambda: brands.every(self.ledger))
        return {brand.brand_code: brand.name for brand in found}

    async def need_brand(self, brand_code: int) -> None:
        """Raise RefusedVisitError where the account does not see the brand's customer, or there is
        no such brand.
        """
        if self.account.customers is None:
            return
        for customer in sorted(self.account.customers):
            if brand_code in (await cut_to(self.ledger, customer)).brand_codes:
                return
        raise forbidden()

    async def look(
        self,
        screen: str,
        people: Collection[str] = (),
        brand: int | None = None,
        *,
        right: Permit = Permit.UNMASK,
    ) -> None:
        """Write a look at people to the history: at what they are called, which needs
        ``Permit.UNMASK``, or at what is known of somebody whom the account named itself, which
        needs another ``right``.

        Raises:
            RefusedVisitError: the account may not, or the history cannot have it; nothing is shown.
        """
        self.need(right)
        look = Look(
            command=f"console {screen}",
            by=self.account.name,
            people=people,
            brand=brand,
            customer=self.customer,
        )
        try:
            await record_look(self.ledger, look, self.console.settings.suppressions)
        except IzinError:
            raise RefusedVisitError(
                503, "Nothing is shown: the history cannot record now that you look."
            ) from None

    def masked(self, recipient: str, *, is_shown: bool = False) -> str:
        """Return a recipient for the page: masked, unless a look at it is in the history."""
        return recipient if is_shown else mask(recipient)

    def recipient(self, field: str) -> str:
        """Return the recipient that a field of the form has, as keys spell it.

        Raises:
            RefusedVisitError: it is neither a phone number nor an e-mail address.
        """
        given = self.form.get(field)
        read = read_email(given) if "@" in given else read_phone(given)
        if isinstance(read, str):
            return read
        is_turkish = self.language is Language.TURKISH
        raise RefusedVisitError(422, read.reason_tr if is_turkish else read.reason)

    def instant(self, field: str) -> datetime | None:
        """Return the instant that a field of the form has, Turkish time where it names no other;
        None: it is empty.

        Raises:
            RefusedVisitError: it is none.
        """
        given = self.form.get(field)
        if not given:
            return None
        try:
            return read_instant(given)
        except (ValueError, OverflowError):
            raise RefusedVisitError(422, "Write date and time as 2026-03-02T12:00.") from None

    def number(self, field: str) -> int:
        """Return the number that a field of the form has; 0: it is empty.

        Raises:
            RefusedVisitError: it is none, or larger than any.
        """
        given = self.form.get(field) or "0"
        if not (given.isascii() and given.isdecimal() and len(given) <= _DIGITS):
            raise RefusedVisitError(422, "Write the number in digits alone.")
        return int(given)

    def chosen(self, field: str, kind: type[Choice]) -> Choice:
        """Return which of ``kind`` a field of the form has; raises RefusedVisitError."""
        try:
            return kind(self.form.get(field))
        except ValueError:
            raise RefusedVisitError(422, "Choose one of those that the page has.") from None

    def required(self, *fields: str) -> list[str]:
        """Return what fields of the form have; raises RefusedVisitError where one is empty."""
        found = [self.form.get(field) for field in fields]
        if not all(found):
            raise RefusedVisitError(
                422, "Something that is needed is empty: go back, and fill it in."
            )
        return found

    @staticmethod
    def local(at: datetime | None) -> str:
        """Return an instant as a field of a form has it, in Turkish time; empty for none."""
        return "" if at is None else f"{at.astimezone(TURKEY):%Y-%m-%dT%H:%M:%S}"

    def download(self, name: str, content: bytes, kind: str) -> Response:
        """Return a file that the browser saves."""
        disposition = f'attachment; filename="{_UNSAFE.sub("_", name)}"'
        headers = {**pages.HEADERS, "Content-Disposition": disposition}
        return Response(content, media_type=kind, headers=headers)

    def sealed(self, name: str, text: str) -> str:
        """Return a text, as a recipient is, for a hidden field called ``name``: nobody reads it in
        the page, and neither another session nor another field can use it.
        """
        return self._seal.encrypt(f"{name}\0{text}".encode()).decode()

    def opened(self, name: str, sealed: str | None = None) -> str:
        """Return the text that a field of the form has sealed; of several what is ``sealed``.

        Raises:
            RefusedVisitError: it has none that this session has sealed for it.
        """
        try:
            given = self.form.get(name) if sealed is None else sealed
            found = self._seal.decrypt(given.encode()).decode()
        except InvalidToken:
            found = ""
        sealed_for, _, text = found.partition("\0")
        if sealed_for != name:
            raise RefusedVisitError(403, "The form is not of this session; open the page again.")
        return text

    @property
    def _seal(self) -> Fernet:
        key = hmac.new(self.token.encode(), b"sealed", hashlib.sha256).digest()
        return Fernet(base64.urlsafe_b64encode(key))

    @property
    def words(self) -> Words:
        """How views say what they show: in the language of the page."""
        return Words(text=self.text, when=turkish)

    def text(self, message: str | Sentence, **values: object) -> str:
        """Return a text in the language of the page."""
        return i18n.text(self.language, message, **values)

    def address(self, path: str, **query: object) -> str:
        """Return a link within the console that keeps the customer that is shown."""
        given = {name: value for name, value in query.items() if value is not None}
        if self.customer is not None:
            given = {"customer": self.customer, **given}
        return f"{path}?{urlencode(given)}" if given else path

    @property
    def navigation(self) -> list[Entry]:
        """The screens that the account may see."""
        return [entry for entry in NAVIGATION if self.may(entry.right)]

    @property
    def shared(self) -> Mapping[str, Any]:
        """What every template of who is signed in has."""
        return MappingProxyType(
            {
                "visit": self,
                "csrf": self.csrf,
                "account": self.account,
                "said": unquote_plus(self.request.cookies.get(self._said, "")),
                "path": self.request.scope["path"],  # of a URL, Host would be a part
            }
        )

    @property
    def _said(self) -> str:
        return cookie_name(self.console.settings, SAID_COOKIE)

    def page(self, template: str, *, status: int = 200, **context: Any) -> Response:  # noqa: ANN401  # what the template shows
        """Return a page; what was said once is shown, and forgotten."""
        response = pages.page(template, self.language, status=status, **self.shared, **context)
        if self._said in self.request.cookies:
            set_cookie(response, self.console.settings, SAID_COOKIE, "", lasts=0)
        return response

    def redirect(self, path: str, *, said: str = "", **query: object) -> Response:
        """Return a redirect within the console, where the next page says what was done:
        ``said``, in the language of the page.
        """
        headers = dict(pages.HEADERS)
        response = RedirectResponse(self.address(path, **query), status_code=303, headers=headers)
        if said:
            set_cookie(response, self.console.settings, SAID_COOKIE, quote_plus(said), lasts=60)
        return response


def cookie_name(settings: ConsoleSettings, name: str) -> str:
    """Return what a cookie is called: over TLS so that neither another host nor a page without TLS
    can set it.
    """
    return f"{pages.HOST}{name}" if settings.has_tls else name


def set_cookie(
    response: Response, settings: ConsoleSettings, name: str, value: str, *, lasts: int | None
) -> None:
    """Set a cookie that no script reads, for ``lasts`` seconds (0: it goes); None: until the
    browser ends.
    """
    response.set_cookie(
        cookie_name(settings, name),
        value,
        max_age=lasts,
        path="/",
        secure=settings.has_tls,
        httponly=True,
        samesite="lax",
    )


Handler = Callable[[Visit], Awaitable[Response]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Screen:
    """A route of a screen."""

    path: str
    run: Handler
    right: Permit
    method: str = "GET"
    largest: int = SMALL
    """Bytes of what may be posted to it."""
