"""Receive İYS's pushes: publish the movements on the express lane, then answer 200.

The answer is sent once the broker has acknowledged the records; the ledger is updated from the
decisions on them. After a crash before that, İYS pushes again or pull reads the movement, under the
same id. HTTP Basic is required, for İYS refuses a receiver without authentication; its test payload
is answered and not published.

While the credentials change, some processes have the old ones and some the new, and İYS has either.
The ledger has the fingerprints of both, so that each process accepts both. They are written before
they are registered, so that every process accepts them when İYS tests them.
"""

import base64
import binascii
import hashlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Self

import orjson
from psycopg.rows import DictRow
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response

from izin.consent import Channel
from izin.iys.errors import UnreadableError
from izin.iys.wire_format import Push, Stream, UnreadableItem, parse_push
from izin.ledger import brands
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.record import (
    Brand,
    LedgerUnavailableError,
    Message,
    StreamUnavailableError,
    TopicMessages,
    event_of,
    key_of,
)
from izin.runtime.errors import SettingError
from izin.runtime.http_server.problems import JsonResponse, RequestRefusedError
from izin.runtime.http_server.shedding import read_body
from izin.runtime.logs import get_logger
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound.movements import unreadable_messages
from izin.sinks.publish.publisher import Publisher

_READ_EVERY = timedelta(seconds=1)
"""A stranger's attempts must not become as many queries."""
_ALERT_EVERY = timedelta(hours=1)

_log = get_logger(__name__)
_MAX_BYTES = 8 * 1024 * 1024
FORMER_FOR = timedelta(days=1)
"""How long the credentials before are accepted once İYS has the new ones: it may push again what
failed."""

_SALT_BYTES = 32

_SQL = statements("push_registrations")


@dataclass(frozen=True, slots=True, kw_only=True)
class Fingerprint:
    """An HMAC-SHA-256 of a secret, with a random salt as its key."""

    salt: bytes
    digest: bytes

    @classmethod
    def of(cls, secret: bytes) -> Self:
        """Return a new fingerprint of ``secret``."""
        salt = secrets.token_bytes(_SALT_BYTES)
        return cls(salt=salt, digest=_digest(salt, secret))

    def is_of(self, secret: bytes) -> bool:
        """Return whether it is of ``secret``, in constant time."""
        return hmac.compare_digest(self.digest, _digest(self.salt, secret))


@dataclass(frozen=True, slots=True, kw_only=True)
class PushRegistrations:
    """The registrations of one address of ours."""

    ledger: Ledger
    url: str

    async def registered(self, brand_code: int, secret: bytes) -> frozenset[Channel]:
        """Return the channels of a brand for which İYS was given these credentials last."""
        return frozenset(
            Channel(channel)
            for row in await self._of(brand_code)
            if _fingerprint(row).is_of(secret)
            for channel in row["channels"]
        )

    async def begin(self, brand_code: int, secret: bytes) -> Fingerprint:
        """Let these credentials be accepted, and those before them still."""
        for row in await self._of(brand_code):
            known = _fingerprint(row)
            if known.is_of(secret):
                return known
        mine = Fingerprint.of(secret)
        await self.ledger.execute(
            _SQL["begin"],
            {**self._where(brand_code), "salt": mine.salt, "fingerprint": mine.digest},
        )
        return mine

    async def add(
        self, brand_code: int, channel: Channel, mine: Fingerprint, *, now: datetime
    ) -> None:
        """Note that İYS has these credentials for a channel."""
        await self.ledger.execute(
            _SQL["add-channel"],
            {
                **self._where(brand_code),
                "channel": str(channel),
                "every": [str(one) for one in Channel],
                "fingerprint": mine.digest,
                "now": now,
            },
        )

    async def remove(self, connection: Connection, brand_code: int, channel: Channel) -> None:
        """Note that İYS pushes a channel to this address no more."""
        values = {**self._where(brand_code), "channel": str(channel)}
        await connection.execute(_SQL["remove-channel"], values)

    async def _of(self, brand_code: int) -> Sequence[DictRow]:
        return await self.ledger.fetch(_SQL["of"], self._where(brand_code))

    def _where(self, brand_code: int) -> dict[str, object]:
        return {"brand_code": brand_code, "url": self.url}


def _fingerprint(row: DictRow) -> Fingerprint:
    return Fingerprint(salt=row["salt"], digest=row["fingerprint"])


def _digest(salt: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt, secret, hashlib.sha256)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """The credentials of İYS at our receiver."""

    username: str
    password: SecretStr

    @property
    def secret(self) -> bytes:
        """User and password, as HTTP Basic has them."""
        return f"{self.username}:{self.password.get_secret_value()}".encode()


def push_credentials(sink: SinkSettings) -> Credentials | None:
    """Return the credentials of the settings, if they have any; raises SettingError."""
    if sink.push_username is not None and sink.push_password is not None:
        return Credentials(username=sink.push_username, password=sink.push_password)
    if sink.push_url is not None:
        raise SettingError(
            "IZIN_PUSH_URL is set: set IZIN_PUSH_USERNAME and IZIN_PUSH_PASSWORD too"
        )
    return None


class AcceptedCredentials:
    """The credentials of the settings, and those that the ledger has fingerprints of."""

    def __init__(
        self, credentials: Credentials | None, ledger: Ledger, *, clock: Callable[[], datetime]
    ) -> None:
        self._expected = None if credentials is None else credentials.secret
        self._ledger = ledger
        self._clock = clock
        self._others: Sequence[Fingerprint] = ()
        self._read_at: datetime | None = None

    async def admits(self, header: str | None) -> bool:
        """Return whether an ``Authorization`` header has accepted credentials.

        Without credentials in the settings, nobody is admitted.
        """
        given = _basic(header)
        if not given or self._expected is None:
            return False
        if hmac.compare_digest(given, self._expected):
            return True
        await self._read()
        return any(one.is_of(given) for one in self._others)

    async def _read(self) -> None:
        now = self._clock()
        if self._read_at is not None and now - self._read_at < _READ_EVERY:
            return
        self._read_at = now
        with suppress(LedgerUnavailableError):  # those read before are accepted meanwhile
            rows = await self._ledger.fetch(_SQL["all"], {"former_since": now - FORMER_FOR})
            self._others = [_fingerprint(row) for row in rows]


@dataclass(slots=True)
class RefusedPushes:
    """Alerts that pushes are refused, once an hour: İYS may have a password that we have not."""

    _pushes: int = 0
    _alerted_at: datetime | None = None

    def note(self, now: datetime) -> None:
        """Note a push with wrong credentials."""
        self._pushes += 1
        if self._alerted_at is not None and now - self._alerted_at < _ALERT_EVERY:
            return
        self._alerted_at = now
        _log.critical(
            "pushes refused",
            pushes=self._pushes,
            reason="wrong user or password",
            remedy="compare IZIN_PUSH_USERNAME and IZIN_PUSH_PASSWORD of every sink worker, and "
            "restart one of them: it registers its own at İYS; or a stranger is trying",
        )
        self._pushes = 0


def _basic(header: str | None) -> bytes:
    scheme, _, text = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


class BrandCache:
    """A cache of the brands: a push must neither wait for the ledger nor fail without it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[int | None, Brand] = {}
        self.is_current = False
        """Whether the ledger could be read when it had to be the last time."""

    async def find(self, brand_codes: Iterable[int | None]) -> Mapping[int | None, Brand]:
        """Return the brands, by code; read the ledger only where one of these is not cached.

        Where it cannot be read, those that are cached.
        """
        if not self._known.keys() >= set(brand_codes):
            try:
                await self.refresh()
            except LedgerUnavailableError as error:
                _log.warning("brands unknown", error=str(error))
                self.is_current = False
        return self._known

    async def refresh(self) -> tuple[Brand, ...]:
        """Return all brands of the ledger, and cache them."""
        found = await brands.every(self._ledger)
        self._known = {brand.brand_code: brand for brand in found}
        self.is_current = True
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReceiver:
    """The endpoint that İYS pushes to."""

    credentials: AcceptedCredentials
    brands: BrandCache
    publisher: Publisher
    topic_messages: TopicMessages
    clock: Callable[[], datetime]
    count: Callable[[int], None]
    """Counts the movements of a push."""
    count_refused: Callable[[str], None]
    """Counts a push that is refused because its credentials are ``missing`` or ``wrong``."""
    refused: RefusedPushes = field(default_factory=RefusedPushes)

    async def receive(self, request: Request) -> Response:
        """Receive one push."""
        header = request.headers.get("authorization")
        if not await self.credentials.admits(header):
            self.count_refused("missing" if header is None else "wrong")
            if header is not None:
                self.refused.note(self.clock())
            return JsonResponse(
                {"error": "sign in with HTTP Basic"},
                HTTPStatus.UNAUTHORIZED,
                {"WWW-Authenticate": 'Basic realm="izin"'},
            )
        try:
            push = parse_push(await read_body(request, largest=_MAX_BYTES))
        except RequestRefusedError as error:
            return error.response()
        except UnreadableError as error:
            return JsonResponse({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        known = await self.brands.find(movement.brand_code for movement in push.movements)
        found = [one for one in push.movements if one.brand_code in known]
        is_complete = self.brands.is_current or len(found) == len(push.movements)
        try:
            await self.publisher.publish(self._messages(push, known, is_complete=is_complete))
        except StreamUnavailableError as error:
            _log.warning("push failed", error=str(error))
            return JsonResponse({"error": "try again"}, HTTPStatus.SERVICE_UNAVAILABLE)
        if not is_complete:
            # Those of known brands are published: the others may be of a new one.
            return JsonResponse({"error": "try again"}, HTTPStatus.SERVICE_UNAVAILABLE)
        self.count(len(push.movements))
        return JsonResponse({"status": "ok"})

    def _messages(
        self, push: Push, known: Mapping[int | None, Brand], *, is_complete: bool
    ) -> list[Message]:
        """Return the events of the movements, and the dead letters of what none can be made of;
        where it is not known whether a brand is ours (not ``is_complete``), those of known ones.
        """
        at = self.clock()
        messages, unreadable = [], list(push.unreadable) if is_complete else []
        for movement in push.movements:
            brand = known.get(movement.brand_code)
            if brand is None:
                if not is_complete:
                    continue
                unreadable.append(
                    UnreadableItem(orjson.dumps(asdict(movement)), "brandCode: no brand of ours")
                )
                continue
            event = event_of(movement, brand, Stream.IYS, path="push", at=at)
            messages.append(self.topic_messages.event(event, key_of(event), at))
        return messages + unreadable_messages(unreadable, "iys/push", self.topic_messages, at)
