"""Keep our push receiver registered at İYS, with the credentials of the settings.

İYS shows what is registered and not with which credentials, so the ledger has their fingerprints.
When they have changed, every channel is registered anew: to unregister it would take the former
password.

After an error that a person must correct, registration is tried again only after a quarter of an
hour: each failed call counts against our address.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from izin.consent.model import Channel
from izin.iys.errors import CallError
from izin.iys.wire_format.account import PushConnection
from izin.runtime.observe import get_logger
from izin.sinks.inbound.push import BrandCache
from izin.sinks.inbound.push_credentials import Credentials
from izin.sinks.ledger.push_registrations import PushRegistrations
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.record.brand import Brand

_RETRY = timedelta(seconds=30)
_INTERVAL = timedelta(seconds=2)
_NEVER = datetime.max.replace(tzinfo=UTC)

_log = get_logger(__name__)


@dataclass(slots=True, kw_only=True)
class PushRegistrar:
    """Registers our receiver for the brands that this account and address serve."""

    context: OutboundContext
    brands: BrandCache
    url: str
    credentials: Credentials
    only: tuple[int, ...] | None
    _not_before: dict[int, datetime] = field(default_factory=dict)

    async def run(self) -> None:
        """Register brands as they become known, until cancelled."""
        while True:
            await self.register_due()
            await asyncio.sleep(_INTERVAL.total_seconds())

    async def register_due(self) -> None:
        """Register every brand that is not registered and whose retry is due."""
        for brand in await self.brands.refresh():
            now = self.context.clock()
            if not self._is_ours(brand) or now < self._not_before.get(brand.brand_code, now):
                continue
            try:
                await self.register(brand)
            except CallError as error:
                _log.warning("push registration failed", brand=brand.brand_code, error=str(error))
                rest = error.pause(_RETRY)
                self._not_before[brand.brand_code] = now + rest
            else:
                self._not_before[brand.brand_code] = _NEVER

    def _is_ours(self, brand: Brand) -> bool:
        lease_owner = self.context.lease_owner
        return (
            brand.status == "active"
            and brand.is_served_by(lease_owner.account, lease_owner.address)
            and (self.only is None or brand.brand_code in self.only)
        )

    async def register(self, brand: Brand) -> None:
        """Register every channel of the brand that is not registered with these credentials yet.

        Raises:
            CallError: İYS does not take it, or does not answer.
            LedgerUnavailableError: The ledger cannot be reached.
        """
        ledger = PushRegistrations(ledger=self.context.ledger, url=self.url)
        is_current = await ledger.is_registered(brand.brand_code, self.credentials.secret)
        registered = {
            Channel(one.type)
            for one in await self.context.client.push_registrations(brand.path)
            if one.url == self.url and one.type in set(Channel) and is_registered(one.status)
        }
        missing = [one for one in Channel if not is_current or one not in registered]
        if missing:
            fingerprint = await ledger.begin(brand.brand_code, self.credentials.secret)
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
            await ledger.end(brand.brand_code, fingerprint, now=self.context.clock())
            _log.info("push registered", brand=brand.brand_code, channels=[*map(str, missing)])


def is_registered(status: str | None) -> bool:
    """Return whether ``status`` is İYS's text for an established connection."""
    return status is not None and status.strip().lower() == "bağlantı oluşturuldu"
