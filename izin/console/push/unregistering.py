"""Free a push connection of a brand at İYS, ours or an older receiver's, by a person's order."""

from dataclasses import dataclass

from pydantic import SecretStr

from izin.consent.errors import SourceError
from izin.consent.model import Channel
from izin.iys.client import IysClient
from izin.iys.errors import MisconfiguredError
from izin.iys.wire_format.account import PushConnection
from izin.sinks.inbound.push_connections import unregister
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry.customer_brands import registered_brand


@dataclass(frozen=True, slots=True, kw_only=True)
class Unregistration:
    """An order to free the connection of a channel at a URL, with its own credentials."""

    brand_code: int
    channel: Channel
    url: str
    username: str

    async def look(self, ledger: Ledger, client: IysClient) -> None:
        """Return if İYS has the connection.

        Raises:
            UnregisteredBrandError: the brand is not registered.
            SourceError: İYS has no such connection.
        """
        brand = await registered_brand(ledger, self.brand_code)
        found = await client.push_registrations(brand.path)
        if not any((one.type, one.url) == (self.channel, self.url) for one in found):
            raise SourceError(
                f"İYS pushes {self.channel} of brand {self.brand_code} to no {self.url}; see: "
                f"izin iys push status {self.brand_code}"
            )

    async def run(self, ledger: Ledger, client: IysClient, *, password: SecretStr, by: str) -> None:
        """Have İYS push there no more; the history has who ordered it.

        Raises:
            SourceError: İYS does not free it, for user or password are others.
            CallError: İYS does not answer.
        """
        brand = await registered_brand(ledger, self.brand_code)
        connection = PushConnection(
            url=self.url, type=self.channel, username=self.username, password=password
        )
        try:
            await unregister(ledger, client, brand, connection, by=by)
        except MisconfiguredError as error:
            raise SourceError(
                f"İYS did not free it ({error}): user and password must be those that it was "
                "registered with; if nobody has them, ask İYS's support (API Destek Platformu)"
            ) from error
