"""Free our push connections of brands that end; those of others are named."""

from collections.abc import Sequence

from izin.iys.client import IysClient
from izin.iys.errors import CallError
from izin.iys.wire_format.account import PushConnection
from izin.runtime.settings import IysSettings, SinkSettings
from izin.sinks.inbound.push import Credentials, push_credentials
from izin.sinks.inbound.push_connections import connections_of, unregister
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.outbound.iys_session import iys_session
from izin.sinks.record.brand import Brand


async def push_ends(ledger: Ledger, brands: Sequence[Brand], *, by: str) -> list[str]:
    """Have İYS push nothing of ``brands`` to us any more; return what a person must do.

    The history has each connection that is freed, ``by`` whose order.
    """
    sink = SinkSettings()
    credentials, url = push_credentials(sink), sink.push_url
    if credentials is None or url is None:
        return []
    left: list[str] = []
    async with iys_session(ledger, IysSettings()) as (client, pacer):
        await pacer.begin()
        try:
            for brand in brands:
                left += await _free(ledger, client, brand, url, credentials, by=by)
        finally:
            await pacer.flush()
    return left


async def _free(
    ledger: Ledger,
    client: IysClient,
    brand: Brand,
    url: str,
    credentials: Credentials,
    *,
    by: str,
) -> list[str]:
    code, left = brand.brand_code, []
    try:
        found = connections_of(await client.push_registrations(brand.path), url, frozenset())
        for one in found:
            left += [
                f"İYS pushes {one.channel} of brand {code} to {other.url} too: its owner frees it"
                for other in one.others
            ]
            if one.ours is None:
                continue
            ours = PushConnection(
                url=url,
                type=one.channel,
                username=credentials.username,
                password=credentials.password,
            )
            await unregister(ledger, client, brand, ours, by=by)
    except CallError as error:
        remedy = f"izin iys push status {code}, then izin iys push unregister {code}"
        left.append(f"push connections of brand {code} are not freed ({error}): {remedy}")
    return left
