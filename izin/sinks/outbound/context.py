"""The resources that every step towards İYS works with."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TypeVar

from izin.consent import OurError
from izin.iys.client import IysClient
from izin.iys.errors import CallError, Verdict
from izin.iys.rate_limit import CircuitState, Pace
from izin.iys.tokens import TokenAuth
from izin.ledger import submissions
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LeaseOwner, Submission, TopicMessages
from izin.ledger.registry import granted
from izin.ledger.unit_of_work import UnitOfWork, unit_of_work
from izin.runtime.backoff import Backoff
from izin.runtime.settings import IysSettings, SinkSettings

T = TypeVar("T")
RENEWALS_PER_LEASE = 4
"""A lease is renewed so many times before it would expire."""


@dataclass(frozen=True, slots=True)
class LeaseRenewals:
    """The leases of the submissions that this process is sending, renewed while calls wait.

    Leases are short, so that another process soon recovers what a paused one has left. Where many
    processes share the rate limit of an address, a call may wait longer than its lease: it is
    renewed meanwhile, or processes would recover each other's submissions and spend slots on
    finding out. A step that fails, as every one does when the ledger restarts, has nothing in its
    hands any more: its leases are released, or an opt-out would wait until they expire.
    """

    _renewing: Counter[int] = field(default_factory=Counter)
    _abandoned: set[int] = field(default_factory=set)
    """Of steps that failed, and not released yet."""

    @contextmanager
    def renewing(self, some: Iterable[Submission]) -> Iterator[None]:
        """Have the leases of ``some`` renewed until the context ends; released where it fails."""
        numbers = [submission.id for submission in some]
        self._renewing.update(numbers)
        try:
            yield
        except BaseException:
            self._abandoned.update(numbers)
            raise
        finally:
            self._renewing.subtract(numbers)
            for number in numbers:
                if self._renewing[number] <= 0:
                    del self._renewing[number]

    async def renew(self, ledger: Ledger, lease_owner: LeaseOwner, now: datetime) -> None:
        """Renew those leases that this process still owns."""
        if self._renewing:
            async with ledger.transaction() as connection:
                await submissions.renew_all(
                    connection, tuple(self._renewing), now=now, lease_owner=lease_owner
                )

    async def release(self, ledger: Ledger, lease_owner: LeaseOwner, now: datetime) -> None:
        """Release the leases of steps that failed, unless another step has them by now."""
        numbers = {number for number in self._abandoned if number not in self._renewing}
        if numbers:
            async with ledger.transaction() as connection:
                await submissions.release(
                    connection, owner=lease_owner.owner, now=now, numbers=numbers
                )
        self._abandoned.clear()


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

    def is_paused(self, operation: str) -> bool:
        """Whether calls of an operation of İYS are not made now, for its circuit is open."""
        return self.client.circuit_state(operation) is CircuitState.OPEN


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
        await granted.ask_for_reading(
            context.ledger, context.lease_owner.account, now=context.clock()
        )


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


_TRIES = 3
"""So often a call is made that İYS does not answer."""
_BACKOFF = Backoff(timedelta(seconds=1), timedelta(seconds=5))
_MADE_UP = 1.0
"""Seconds for which missed turns are made up."""


class RequestBudget:
    """A share of İYS's requests, as that of sweeps: so many turns a second, none of them lost.

    A turn that could not be taken in time, because the event loop or İYS was slow, is made up for,
    up to a second's worth. Whoever waits first goes first. ``clock`` is monotonic, in seconds.
    """

    def __init__(
        self,
        rate: float,
        *,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.rate = rate
        self._clock = clock
        self._sleep = sleep
        self._next_at = clock()
        self._line = asyncio.Lock()

    async def patiently(self, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call of İYS in its turn, up to three times where it may succeed later; return its
        result.

        Raises:
            CallError: the last error, or the first one that a person must correct.
        """
        tries = 0
        while True:
            await self.turn()
            tries += 1
            try:
                return await call()
            except CallError as error:
                if not error.is_transient or tries >= _TRIES:
                    raise
                await self._sleep(error.pause(_BACKOFF.after(tries)).total_seconds())

    async def turn(self) -> None:
        """Wait for the next turn."""
        async with self._line:
            at = max(self._next_at, self._clock() - _MADE_UP)
            while (left := at - self._clock()) > 0:
                await self._sleep(left)
            self._next_at = at + 1 / self.rate
