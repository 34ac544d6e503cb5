"""What every step of the sinks works with: the ledger, İYS, the announcer, the clock, the pace,
and who it is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from izin.iys.client import IysClient
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.rate_limits import LedgerPacer
from izin.sinks.outbound.lease_renewal import Leases
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.messages import TopicMessages


@dataclass(frozen=True, slots=True, kw_only=True)
class Tools:
    """Put together once, by the entry point."""

    ledger: Ledger
    client: IysClient
    topic_messages: TopicMessages
    clock: Callable[[], datetime]
    pacer: LedgerPacer
    lease_owner: LeaseOwner
    unforeseen: Callable[[str], None]
    """Counts, by code, what İYS found wrong in a field and we did not."""
    leases: Leases = field(default_factory=Leases)
