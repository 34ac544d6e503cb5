"""The sink's steps of submitting and settling, over a fixture's ledger and a given client."""

from collections.abc import Callable
from datetime import datetime, timedelta

from benchmarks.sink.fixture import SinkFixture
from izin.iys import IysClient
from izin.sinks.ledger.rate_limits import LedgerPacer
from izin.sinks.outbound.batch_results import Settler
from izin.sinks.outbound.context import Tools
from izin.sinks.outbound.schedule import Submitter
from izin.sinks.outbound.send import Teller
from izin.sinks.outbound.status_query import Asker
from izin.sinks.record.lease import Holder

BATCH_SIZE = 1000


def outbound_steps(
    fixture: SinkFixture,
    client: IysClient,
    pacer: LedgerPacer,
    clock: Callable[[], datetime],
    *,
    result_delay: timedelta,
) -> tuple[Submitter, Settler]:
    """Return what submits batches of ``BATCH_SIZE``, and what settles them."""
    tools = Tools(
        ledger=fixture.ledger,
        client=client,
        announcer=fixture.announcer,
        clock=clock,
        pacer=pacer,
        holder=Holder(owner="1", lease=timedelta(seconds=60), call_within=timedelta(seconds=20)),
        unforeseen=lambda _code: None,
    )
    teller = Teller(tools=tools, result_delay=result_delay)
    submitter = Submitter(
        tools=tools, teller=teller, asker=Asker(tools=tools), batch_size=BATCH_SIZE
    )
    return submitter, Settler(tools=tools, result_delay=result_delay)
