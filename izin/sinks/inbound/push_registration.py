"""Keep our push receiver registered at İYS, with the credentials of the settings.

Each channel whose credentials have changed is registered anew: to unregister it would take the
former password. What İYS no longer shows later is registered again.

After an error that a person must correct, a channel is tried again only after a quarter of an hour:
each failed call counts against our address.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.consent.model import Channel
from izin.iys.errors import CallError
from izin.runtime.observe import get_logger
from izin.sinks.inbound.push import BrandCache
from izin.sinks.inbound.push_connections import (
    ChannelConnections,
    FullChannelError,
    PushConnections,
    remedy_of,
)
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.record.brand import Brand

_RETRY = timedelta(seconds=30)
_FULL = timedelta(minutes=15)
_AGAIN = timedelta(hours=6)
"""How often it is looked whether İYS still shows what was registered."""
_INTERVAL = timedelta(seconds=2)

_log = get_logger(__name__)


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
            and brand.is_served_by(lease_owner.account, lease_owner.address)
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
