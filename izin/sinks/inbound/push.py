"""What İYS pushes: published on the express lane and acknowledged by the broker before we say 200.

The topic has it then, and the ledger takes İYS's statement from the decision; a crash before 200
makes İYS push again or pull bring it, under the same id. HTTP Basic is enforced, for İYS refuses a
receiver that lets anybody in; its test payload is acknowledged and kept nowhere.
"""

import asyncio
import base64
import binascii
import hmac
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from izin.consent.model import Channel
from izin.iys.errors import CallError, UnreadableError
from izin.iys.wire_format.account import PushConnection
from izin.iys.wire_format.consents import IysMovement, Stream
from izin.iys.wire_format.push import parse_push
from izin.runtime.observe import get_logger
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.publish.publisher import Publisher
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import LedgerUnavailableError, StreamUnavailableError
from izin.sinks.record.iys_movements import event_of, key_of
from izin.sinks.record.messages import TopicMessages

_MOST_BYTES = 8 * 1024 * 1024
_RETRY = timedelta(seconds=30)
_REFUSED = timedelta(minutes=15)
_LOOK_AGAIN = timedelta(seconds=2)
_FOREVER = datetime.max.replace(tzinfo=UTC)

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Credentials:
    """How İYS signs in at our receiver."""

    username: str
    password: SecretStr

    def admits(self, header: str | None) -> bool:
        """Return whether an ``Authorization`` header carries these credentials; takes the same
        time for any.
        """
        expected = f"{self.username}:{self.password.get_secret_value()}".encode()
        return hmac.compare_digest(_basic(header), expected)


class BrandDirectory:
    """The brands, remembered: a push must neither wait for the ledger nor be lost without it."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[int, Brand] = {}

    async def find(self, brand_code: int) -> Brand | None:
        """Return the brand of this code, looked up anew only if it is not known."""
        if brand_code not in self._known:
            await self.refresh()
        return self._known.get(brand_code)

    async def refresh(self) -> tuple[Brand, ...]:
        """Return every brand as the ledger has them now."""
        found = await brands.every(self._ledger)
        self._known = {brand.brand_code: brand for brand in found}
        return found


@dataclass(frozen=True, slots=True, kw_only=True)
class PushReceiver:
    """The route that İYS pushes to."""

    credentials: Credentials | None
    directory: BrandDirectory
    publisher: Publisher
    topic_messages: TopicMessages
    clock: Callable[[], datetime]
    counted: Callable[[int], None]
    """Told how many movements a push brought."""

    async def __call__(self, request: Request) -> Response:
        """Take one push."""
        if self.credentials is None or not self.credentials.admits(
            request.headers.get("authorization")
        ):
            return JSONResponse(
                {"error": "sign in with HTTP Basic"},
                HTTPStatus.UNAUTHORIZED,
                {"WWW-Authenticate": 'Basic realm="izin"'},
            )
        try:
            body = await _body(request)
            push = parse_push(body)
        except UnreadableError as error:
            return JSONResponse({"error": str(error)}, HTTPStatus.BAD_REQUEST)
        at = self.clock()
        try:
            messages = []
            for place, movement in enumerate(push.movements):
                brand = await self._brand_of(movement)
                if brand is None:
                    told = f"list[{place}].brandCode: no brand of ours"
                    return JSONResponse({"error": told}, HTTPStatus.BAD_REQUEST)
                event = event_of(movement, brand, Stream.IYS, path="push", at=at)
                key = key_of(event)
                messages.append(
                    self.topic_messages.unkeyed(event, at)
                    if key is None
                    else self.topic_messages.event(event, key, at)
                )
            await self.publisher.publish(messages)
        except (StreamUnavailableError, LedgerUnavailableError) as error:
            _log.warning("push not taken", error=str(error))
            return JSONResponse({"error": "try again"}, HTTPStatus.SERVICE_UNAVAILABLE)
        self.counted(len(push.movements))
        return JSONResponse({"status": "ok"})

    async def _brand_of(self, movement: IysMovement) -> Brand | None:
        if movement.brand_code is None:
            return None
        return await self.directory.find(movement.brand_code)


@dataclass(slots=True, kw_only=True)
class PushRegistrar:
    """Keeps our receiver registered at İYS for the brands that are ours to tell and to be pushed.

    What İYS refuses a person mends; to ask for it again and again would count against our address.
    """

    context: OutboundContext
    directory: BrandDirectory
    url: str
    credentials: Credentials
    only: tuple[int, ...] | None
    _not_before: dict[int, datetime] = field(default_factory=dict)

    async def run(self) -> None:
        """Register brands as they become known, until cancelled."""
        while True:
            await self.look()
            await asyncio.sleep(_LOOK_AGAIN.total_seconds())

    async def look(self) -> None:
        """Register every brand whose turn it is."""
        for brand in await self.directory.refresh():
            now = self.context.clock()
            if not self._is_ours(brand) or now < self._not_before.get(brand.brand_code, now):
                continue
            try:
                await self.register(brand)
            except CallError as error:
                _log.warning("push not registered", brand=brand.brand_code, error=str(error))
                rest = error.retry_after or (_RETRY if error.is_transient else _REFUSED)
                self._not_before[brand.brand_code] = now + rest
            else:
                self._not_before[brand.brand_code] = _FOREVER

    def _is_ours(self, brand: Brand) -> bool:
        lease_owner = self.context.lease_owner
        return (
            brand.status == "active"
            and brand.is_served_by(lease_owner.account, lease_owner.address)
            and (self.only is None or brand.brand_code in self.only)
        )

    async def register(self, brand: Brand) -> None:
        """Register every channel of the brand that does not stand yet; raises CallError."""
        standing = {
            Channel(one.type)
            for one in await self.context.client.push_registrations(brand.path)
            if one.url == self.url and one.type in set(Channel) and stands(one.status)
        }
        missing = [channel for channel in Channel if channel not in standing]
        if missing:
            await self.context.client.register_push(
                brand.path,
                [
                    PushConnection(
                        url=self.url,
                        type=channel,
                        username=self.credentials.username,
                        password=self.credentials.password,
                    )
                    for channel in missing
                ],
            )
            _log.info("push registered", brand=brand.brand_code, channels=[*map(str, missing)])


def stands(status: str | None) -> bool:
    """Return whether İYS lists a connection as made: its sentence for the others is the negative
    one.
    """
    return status is not None and status.strip().lower() == "bağlantı oluşturuldu"


def _basic(header: str | None) -> bytes:
    scheme, _, text = (header or "").partition(" ")
    if scheme.lower() != "basic":
        return b""
    try:
        return base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        return b""


async def _body(request: Request) -> bytes:
    received = bytearray()
    async for chunk in request.stream():
        received += chunk
        if len(received) > _MOST_BYTES:
            raise UnreadableError(f"a push of more than {_MOST_BYTES} bytes")
    return bytes(received)
