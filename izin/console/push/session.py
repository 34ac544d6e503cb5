"""Access to İYS's push connections for the length of one command, at the worker's rate limits."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from izin.consent.errors import OurError
from izin.console.terminal.ledger_session import run_on_ledger
from izin.iys.client import IysClient
from izin.runtime.settings import IysSettings, SinkSettings
from izin.sinks.inbound.push_connections import PushConnections
from izin.sinks.inbound.push_credentials import Credentials, push_credentials
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.push_registrations import PushRegistrations
from izin.sinks.outbound.iys_session import iys_session

T = TypeVar("T")


class NoReceiverError(OurError):
    """The settings have no receiver of pushes."""

    def __init__(self) -> None:
        super().__init__(
            "no push receiver is set: set IZIN_PUSH_URL, IZIN_PUSH_USERNAME and "
            "IZIN_PUSH_PASSWORD as the sink workers have them"
        )


def receiver(sink: SinkSettings) -> tuple[str, Credentials]:
    """Return URL and credentials of our receiver; raises NoReceiverError."""
    credentials = push_credentials(sink)
    if sink.push_url is None or credentials is None:
        raise NoReceiverError
    return sink.push_url, credentials


def run_at_iys(work: Callable[[Ledger, IysClient], Awaitable[T]]) -> T:
    """Run ``work`` on the ledger and on İYS; return its result."""

    async def run(ledger: Ledger) -> T:
        async with iys_session(ledger, IysSettings()) as (client, pacer):
            await pacer.begin()
            try:
                return await work(ledger, client)
            finally:
                await pacer.flush()

    return run_on_ledger(run)


def connections(
    ledger: Ledger, client: IysClient, url: str, credentials: Credentials
) -> PushConnections:
    """Return the connections of our receiver at ``url``."""
    return PushConnections(
        client=client,
        registrations=PushRegistrations(ledger=ledger, url=url),
        credentials=credentials,
        clock=ledger.clock.now,
    )
