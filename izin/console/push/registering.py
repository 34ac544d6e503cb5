"""Register our receiver for channels of a brand, by a person's order."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from izin.consent.model import Channel
from izin.console.push.session import connections
from izin.iys.client import IysClient
from izin.iys.errors import CallError
from izin.sinks.inbound.push import Credentials
from izin.sinks.inbound.push_connections import (
    ChannelConnections,
    FullChannelError,
    PushConnections,
    remedy_of,
)
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history.acts import brand_key, record_act
from izin.sinks.ledger.registry.customer_brands import registered_brand
from izin.sinks.record.brand import Brand


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelResult:
    """What became of one channel."""

    channel: Channel
    result: str
    remedy: str = ""
    """What to do about a failure."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registration:
    """An order to register channels of a brand; without ``by`` it only says what it would do."""

    brand_code: int
    channels: Collection[Channel]
    url: str
    credentials: Credentials
    by: str | None

    async def run(self, ledger: Ledger, client: IysClient) -> Sequence[ChannelResult]:
        """Register each channel that İYS does not have as ours; return what became of each.

        Raises:
            UnregisteredBrandError: the brand is not registered.
            CallError: İYS does not show its connections.
        """
        brand = await registered_brand(ledger, self.brand_code)
        at_iys = connections(ledger, client, self.url, self.credentials)
        states = [one for one in await at_iys.of(brand) if one.channel in self.channels]
        done = [await self._register(at_iys, brand, one) for one in states]
        registered = [str(one.channel) for one in done if one.result == "registered"]
        if self.by is not None and registered:
            await self._write_act(ledger, brand, registered)
        return done

    async def _register(
        self, at_iys: PushConnections, brand: Brand, state: ChannelConnections
    ) -> ChannelResult:
        if state.is_established and state.has_credentials:
            return ChannelResult(channel=state.channel, result="is registered")
        if self.by is None and not state.is_full:
            return ChannelResult(channel=state.channel, result="would be registered")
        try:
            await at_iys.register(brand, state)
        except FullChannelError as error:
            return ChannelResult(channel=state.channel, result="full", remedy=str(error))
        except CallError as error:
            return ChannelResult(
                channel=state.channel, result=f"refused ({error})", remedy=remedy_of(error)
            )
        return ChannelResult(channel=state.channel, result="registered")

    async def _write_act(self, ledger: Ledger, brand: Brand, channels: Sequence[str]) -> None:
        now = ledger.clock.now()
        async with ledger.transaction() as connection:
            await record_act(
                connection,
                "register push",
                brand_key(brand.brand_code),
                by=self.by or "",
                now=now,
                before={},
                after={"url": self.url, "channels": channels},
                customer_id=brand.customer_id,
            )
