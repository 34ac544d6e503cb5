"""The resources that every step towards İYS works with."""

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
class OutboundContext:
    """The ledger, the client of İYS and all else that steps share; composed by the entry point."""

    ledger: Ledger
    client: IysClient
    topic_messages: TopicMessages
    clock: Callable[[], datetime]
    pacer: LedgerPacer
    lease_owner: LeaseOwner
    unforeseen: Callable[[str], None]
    """Counts, by code, a fault of a field that İYS found and our validation did not."""
    leases: Leases = field(default_factory=Leases)
