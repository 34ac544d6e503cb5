"""Access to the ledger and to İYS for the length of one command, at the worker's rate limits."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from izin.cli.terminal.ledger_session import run_on_ledger, topic_messages
from izin.iys.client import IysClient
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import LedgerPacer
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.outbound.context import OutboundContext, iys_session, lease_owner

T = TypeVar("T")


class WorkerSettings(IysSettings, SinkSettings, LedgerSettings):
    """What a sink worker needs, as one group: all that is missing is named at once."""


@asynccontextmanager
async def calling_iys(
    ledger: Ledger, iys: IysSettings
) -> AsyncIterator[tuple[IysClient, LedgerPacer]]:
    """Provide a client for the calls of the block, and the pacer of these."""
    async with iys_session(ledger, iys) as (client, pacer):
        await pacer.begin()
        try:
            yield client, pacer
        finally:
            await pacer.flush()


def run_at_iys(work: Callable[[Ledger, IysClient], Awaitable[T]]) -> T:
    """Run ``work`` on the ledger and on İYS; return its result."""
    return run_in_context(lambda context: work(context.ledger, context.client))


def run_in_context(work: Callable[[OutboundContext], Awaitable[T]]) -> T:
    """Run ``work`` with what the steps of a sink worker share; return its result."""
    iys, sink, messages = IysSettings(), SinkSettings(), topic_messages()

    async def run(ledger: Ledger) -> T:
        async with calling_iys(ledger, iys) as (client, pacer):
            context = OutboundContext(
                ledger=ledger,
                client=client,
                topic_messages=messages,
                clock=ledger.clock.now,
                pacer=pacer,
                lease_owner=lease_owner(ledger.owner, iys, sink),
                result_delay=iys.result_delay,
                unforeseen=lambda _code: None,
            )
            return await work(context)

    return run_on_ledger(run)
