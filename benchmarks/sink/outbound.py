"""Assemble the sink's submitting and settling over the ledger of a fixture and a given client."""

from collections.abc import Callable
from datetime import datetime, timedelta

from benchmarks.sink.fixture import SinkFixture
from izin.iys.client import IysClient
from izin.ledger.rate_limits import LedgerPacer
from izin.ledger.record import LeaseOwner
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.outbound.schedule import Scheduler
from izin.sinks.outbound.send import BatchResultPoller, Sender
from izin.sinks.outbound.status_query import StatusQuerier

BATCH_SIZE = 1000


def outbound_steps(
    fixture: SinkFixture,
    client: IysClient,
    pacer: LedgerPacer,
    clock: Callable[[], datetime],
    *,
    result_delay: timedelta,
) -> tuple[Scheduler, BatchResultPoller]:
    """Return what submits batches of ``BATCH_SIZE``, and what settles them."""
    context = OutboundContext(
        ledger=fixture.ledger,
        client=client,
        topic_messages=fixture.topic_messages,
        clock=clock,
        pacer=pacer,
        lease_owner=LeaseOwner(
            owner="1", lease=timedelta(seconds=60), call_within=timedelta(seconds=20)
        ),
        result_delay=result_delay,
        unforeseen=lambda _code: None,
    )
    sender = Sender(context=context)
    scheduler = Scheduler(
        context=context,
        sender=sender,
        querier=StatusQuerier(context=context),
        batch_size=BATCH_SIZE,
    )
    return scheduler, BatchResultPoller(context=context)
