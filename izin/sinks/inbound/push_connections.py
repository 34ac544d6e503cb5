"""Our push connections at İYS: one for each channel of a brand, at most two beside each other.

İYS shows what is registered and not with which credentials, so the ledger has their fingerprints.
Each channel is registered by a call of its own: what is wrong with one must not cost the others. A
channel that two other receivers have is not tried, for İYS would refuse it and count the call. One
of theirs is freed only with its own user and password (reference 2.8).

A worker keeps them registered with the credentials of the settings. A channel whose credentials
have changed is registered anew: to unregister it would take the former password. What İYS no longer
shows later is registered again. After an error that a person must correct, a channel is tried again
only after a quarter of an hour: each failed call counts against our address.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.consent import Channel, OurError
from izin.iys.client import IysClient
from izin.iys.errors import CallError
from izin.iys.wire_format import PushConnection, PushRegistration
from izin.ledger.db import Ledger
from izin.ledger.history import brand_key, record_act
from izin.ledger.record import Brand
from izin.runtime.logs import get_logger
from izin.sinks.inbound.push import BrandCache, Credentials, PushRegistrations
from izin.sinks.outbound.context import OutboundContext

MOST = 2
"""The most connections of a channel of a brand at İYS."""
_ENABLE = (
    "ask İYS's support (API Destek Platformu) whether push is enabled for the brand: only they "
    "enable it"
)
_REMEDIES = {
    "H191": "İYS waited five seconds for the receiver: see that the URL reaches a sink worker from "
    "outside, without a firewall or a slow proxy between",
    "H530": "see that a POST from outside reaches a sink worker, with a certificate that İYS "
    f"trusts, and gets 401 without user and password; else {_ENABLE}",
    "H531": "the URL must begin with https://: put TLS before the sink worker",
    "H353": f"the account has no right to this brand or channel, or no push; {_ENABLE}",
}
_RETRY = timedelta(seconds=30)
_FULL = timedelta(minutes=15)
_AGAIN = timedelta(hours=6)
"""How often it is looked whether İYS still shows what was registered."""
_INTERVAL = timedelta(seconds=2)
_log = get_logger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelConnections:
    """What İYS has registered for one channel of a brand."""

    channel: Channel
    ours: PushRegistration | None
    """The one at our URL, established or not; None: there is none."""
    others: Sequence[PushRegistration]
    """Established ones at other URLs."""
    has_credentials: bool
    """Whether İYS was given our present credentials for it."""

    @property
    def is_established(self) -> bool:
        """Whether İYS pushes to our URL."""
        return self.ours is not None and is_established(self.ours.status)

    @property
    def is_full(self) -> bool:
        """Whether İYS would refuse ours, for others have every place."""
        return not self.is_established and len(self.others) >= MOST


class FullChannelError(OurError):
    """Two other receivers have the places of a channel."""

    def __init__(self, brand_code: int, state: ChannelConnections) -> None:
        urls = " and ".join(one.url for one in state.others)
        super().__init__(
            f"{state.channel} of brand {brand_code} is pushed to {urls}, and İYS allows {MOST}; "
            f"free one, with its own user and password: izin iys push unregister {brand_code} "
            f"--type {state.channel} --url URL"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PushConnections:
    """Registers our receiver at İYS, and frees what others have."""

    client: IysClient
    registrations: PushRegistrations
    credentials: Credentials
    clock: Callable[[], datetime]

    async def of(self, brand: Brand) -> tuple[ChannelConnections, ...]:
        """Return what İYS has registered for each channel of a brand.

        Raises:
            CallError: İYS does not answer, or gives no right.
            LedgerUnavailableError: the ledger cannot be reached.
        """
        given = await self.registrations.registered(brand.brand_code, self.credentials.secret)
        return connections_of(
            await self.client.push_registrations(brand.path), self.registrations.url, given
        )

    async def register(self, brand: Brand, state: ChannelConnections) -> None:
        """Register our receiver for a channel of a brand. İYS calls it before it answers.

        Raises:
            FullChannelError: other receivers have every place; nothing was sent.
            CallError: İYS does not take it, or does not answer; see ``remedy_of``.
            LedgerUnavailableError: the ledger cannot be reached.
        """
        code, channel = brand.brand_code, state.channel
        if state.is_full:
            raise FullChannelError(code, state)
        fingerprint = await self.registrations.begin(code, self.credentials.secret)
        ours = PushConnection(
            url=self.registrations.url,
            type=channel,
            username=self.credentials.username,
            password=self.credentials.password,
        )
        await self.client.register_push(brand.path, [ours])
        await self.registrations.add(code, channel, fingerprint, now=self.clock())


async def unregister(
    ledger: Ledger, client: IysClient, brand: Brand, connection: PushConnection, *, by: str
) -> None:
    """Have İYS push nothing over ``connection`` any more; the history has ``by`` whose order.

    Raises:
        CallError: İYS does not free it, or does not answer; nothing is noted.
    """
    await client.unregister_push(brand.path, connection)
    registrations = PushRegistrations(ledger=ledger, url=connection.url)
    async with ledger.transaction() as session:
        await registrations.remove(session, brand.brand_code, connection.type)
        await record_act(
            session,
            "unregister push",
            brand_key(brand.brand_code),
            by=by,
            now=ledger.clock.now(),
            before={"url": connection.url, "channel": str(connection.type)},
            after={},
            customer_id=brand.customer_id,
        )


def connections_of(
    found: Sequence[PushRegistration], url: str, given: frozenset[Channel]
) -> tuple[ChannelConnections, ...]:
    """Return what of ``found`` concerns each channel; ours are those at ``url``, and İYS has our
    credentials of the channels ``given``.
    """
    return tuple(
        ChannelConnections(
            channel=channel,
            ours=next((one for one in found if (one.type, one.url) == (channel, url)), None),
            others=[
                one
                for one in found
                if one.type == channel and one.url != url and is_established(one.status)
            ],
            has_credentials=channel in given,
        )
        for channel in Channel
    )


def is_established(status: str | None) -> bool:
    """Return whether ``status`` is İYS's text for an established connection."""
    return status is not None and status.strip().lower() == "bağlantı oluşturuldu"


def remedy_of(error: CallError) -> str:
    """Return what an operator does about a registration that İYS did not take."""
    for refusal in error.refusals:
        if refusal.code in _REMEDIES:
            return _REMEDIES[refusal.code]
    return "nothing: it is tried again" if error.is_transient else _ENABLE


@dataclass(slots=True, kw_only=True)
class PushRegistrar:
    """Registers our receiver for the brands that this account and address serve."""

    context: OutboundContext
    brands: BrandCache
    connections: PushConnections
    only: tuple[int, ...] | None
    _not_before: dict[tuple[int, Channel], datetime] = field(default_factory=dict)
    _registered: set[tuple[int, Channel]] = field(default_factory=set)

    async def run(self) -> None:
        """Register brands as they become known, until cancelled."""
        while True:
            await self.register_due()
            await asyncio.sleep(_INTERVAL.total_seconds())

    async def register_due(self) -> None:
        """Register every channel that is not registered and whose retry is due."""
        for brand in await self.brands.refresh():
            now = self.context.clock()
            due = {
                channel
                for channel in Channel
                if now >= self._not_before.get((brand.brand_code, channel), now)
            }
            if not (due and self._is_ours(brand)):
                continue
            try:
                states = await self.connections.of(brand)
            except CallError as error:
                error.warn(_log, "push registration failed", brand=brand.brand_code)
                self._postpone(brand, due, error.pause(_RETRY))
                continue
            for state in states:
                if state.channel in due:
                    await self._register(brand, state)

    def _is_ours(self, brand: Brand) -> bool:
        lease_owner = self.context.lease_owner
        return (
            brand.status == "active"
            and brand.is_served_by(lease_owner.account, lease_owner.addresses)
            and (self.only is None or brand.brand_code in self.only)
        )

    async def _register(self, brand: Brand, state: ChannelConnections) -> None:
        """Register a channel of a brand, unless that was done and İYS still shows it."""
        place = (brand.brand_code, state.channel)
        # Where another process has other credentials, each registers its own once only.
        is_done = state.has_credentials or place in self._registered
        where = {"brand": brand.brand_code, "channel": str(state.channel)}
        pause = _AGAIN
        try:
            if not (is_done and state.is_established):
                await self.connections.register(brand, state)
                _log.info("push registered", **where)
            self._registered.add(place)
        except FullChannelError as error:
            _log.critical("push connections full", **where, remedy=str(error))
            pause = _FULL
        except CallError as error:
            about = {**where, "remedy": remedy_of(error)}
            if error.is_transient:
                error.warn(_log, "push registration failed", **about)
            else:
                _log.critical("push registration failed", error=str(error), **about)
            pause = error.pause(_RETRY)
        self._postpone(brand, {state.channel}, pause)

    def _postpone(self, brand: Brand, channels: set[Channel], pause: timedelta) -> None:
        """Look at channels of a brand again after ``pause``."""
        not_before = self.context.clock() + pause
        self._not_before |= {(brand.brand_code, channel): not_before for channel in channels}
