"""Access to the ledger and to İYS for the length of one command, at the worker's rate limits."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import kafka_settings
from izin.iys.client import IysClient
from izin.runtime.kafka import codec
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.outbound.context import OutboundContext, lease_owner
from izin.sinks.outbound.iys_session import iys_session
from izin.sinks.record.messages import TopicMessages

T = TypeVar("T")


class WorkerSettings(IysSettings, SinkSettings, LedgerSettings):
    """What a sink worker needs, as one group: all that is missing is named at once."""


def run_at_iys(work: Callable[[Ledger, IysClient], Awaitable[T]]) -> T:
    """Run ``work`` on the ledger and on İYS; return its result."""
    return run_in_context(lambda context: work(context.ledger, context.client))


def run_in_context(work: Callable[[OutboundContext], Awaitable[T]]) -> T:
    """Run ``work`` with what the steps of a sink worker share; return its result."""
    iys, sink, kafka = IysSettings(), SinkSettings(), kafka_settings()

    async def run(ledger: Ledger) -> T:
        async with iys_session(ledger, iys) as (client, pacer):
            context = OutboundContext(
                ledger=ledger,
                client=client,
                topic_messages=TopicMessages(codec(kafka), kafka.topics),
                clock=ledger.clock.now,
                pacer=pacer,
                lease_owner=lease_owner(ledger.owner, iys, sink),
                result_delay=iys.result_delay,
                unforeseen=lambda _code: None,
            )
            await pacer.begin()
            try:
                return await work(context)
            finally:
                await pacer.flush()

    return run_on_ledger(run)
