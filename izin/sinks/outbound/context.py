"""The resources that every step towards İYS works with."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.consent.errors import OurError
from izin.iys.client import IysClient
from izin.runtime.settings import IysSettings, SinkSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.rate_limits import LedgerPacer
from izin.sinks.outbound.lease_renewal import Leases
from izin.sinks.record.lease import LeaseOwner
from izin.sinks.record.messages import TopicMessages

_CALL_MARGIN = 1.25
"""So many times its timeout a call may be on its way: İYS may have it when we have given it up."""


class LeaseTooShortError(OurError):
    """A call to İYS could outlast its lease, and another process would send it again."""

    def __init__(self, lease: timedelta, timeout: timedelta) -> None:
        super().__init__(
            f"IZIN_LEASE ({lease.total_seconds():g} s) must be at least twice IYS_TIMEOUT "
            f"({timeout.total_seconds():g} s)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboundContext:
    """The ledger, the client of İYS and all else that steps share; composed by the entry point."""

    ledger: Ledger
    client: IysClient
    topic_messages: TopicMessages
    clock: Callable[[], datetime]
    pacer: LedgerPacer
    lease_owner: LeaseOwner
    result_delay: timedelta
    """How long after its call İYS may still save the records of a batch."""
    unforeseen: Callable[[str], None]
    """Counts, by code, a fault of a field that İYS found and our validation did not."""
    leases: Leases = field(default_factory=Leases)


def lease_owner(owner: str, iys: IysSettings, sink: SinkSettings) -> LeaseOwner:
    """Return the process of these settings as an owner of leases; raises LeaseTooShortError."""
    if sink.lease < 2 * iys.timeout:
        raise LeaseTooShortError(sink.lease, iys.timeout)
    return LeaseOwner(
        owner=owner,
        lease=sink.lease,
        call_within=_CALL_MARGIN * iys.timeout,
        account=iys.username,
        address=iys.egress_address,
    )
