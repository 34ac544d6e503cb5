"""The resources that every step towards İYS works with."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from izin.consent import OurError
from izin.iys.client import IysClient
from izin.iys.errors import CallError, Verdict
from izin.iys.rate_limit import Pace
from izin.iys.tokens import TokenAuth
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LeaseOwner, TopicMessages
from izin.ledger.registry import granted
from izin.ledger.unit_of_work import UnitOfWork, unit_of_work
from izin.runtime.settings import IysSettings, SinkSettings
from izin.sinks.outbound.lease_renewal import LeaseRenewals

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
    leases: LeaseRenewals = field(default_factory=LeaseRenewals)

    def changes(self) -> AbstractAsyncContextManager[UnitOfWork]:
        """Provide the unit of work of a transaction of now, which is written at its end; raises
        ConcurrentChangeError.
        """
        return unit_of_work(self.ledger, self.topic_messages, self.clock())


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


async def ask_for_rights(context: OutboundContext, error: CallError) -> None:
    """Have the list read soon, where ``error`` says that a right is missing; it says which."""
    if error.verdict is Verdict.RIGHTS:
        account = context.lease_owner.account
        await granted.ask_for_reading(context.ledger, account, now=context.clock())


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
