"""The receiver of İYS's pushes that the settings name, and its connections."""

from izin.consent.errors import OurError
from izin.iys.client import IysClient
from izin.runtime.settings import SinkSettings
from izin.sinks.inbound.push import Credentials, push_credentials
from izin.sinks.inbound.push_connections import PushConnections
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.push_registrations import PushRegistrations


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
