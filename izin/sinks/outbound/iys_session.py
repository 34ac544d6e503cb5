"""A client of İYS that shares rate limits and access token with all processes, by the ledger."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from izin.iys.client import IysClient
from izin.iys.rate_limit import Pace
from izin.iys.tokens import TokenAuth
from izin.runtime.settings import IysSettings
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.rate_limits import LedgerPacer


@asynccontextmanager
async def iys_session(
    ledger: Ledger, iys: IysSettings, *, counted: Callable[[str, str], None] | None = None
) -> AsyncIterator[tuple[IysClient, LedgerPacer]]:
    """Provide the client, and the pacer of its calls: begin it before the first call, and flush it
    after the last. ``counted`` is called with operation and code of each call.
    """
    pacer = LedgerPacer(
        ledger, Pace(rate=iys.requests_per_second), address=iys.egress_address, counted=counted
    )
    tokens = LedgerTokenStore.of(ledger, iys)
    await tokens.adopt()
    auth = TokenAuth(iys, tokens, now=ledger.clock.now)
    async with IysClient(iys, auth=auth, pacer=pacer) as client:
        yield client, pacer
