"""Access to the ledger for the length of one command."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TypeVar

from izin.console.terminal.interrupts import run_interruptible
from izin.console.terminal.output import kafka_settings
from izin.runtime.kafka import codec
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.db.connection import Ledger, reach
from izin.sinks.record.messages import TopicMessages

T = TypeVar("T")


def run_on_ledger(
    work: Callable[[Ledger], Awaitable[T]], settings: LedgerSettings | None = None
) -> T:
    """Run ``work`` on the ledger of ``settings``, else the environment's; return its result.

    Raises:
        KeyboardInterrupt: a signal came; ``work`` was cancelled where it waited.
    """

    async def run() -> T:
        async with open_ledger(settings or LedgerSettings()) as ledger:
            return await work(ledger)

    return run_interruptible(run())


@asynccontextmanager
async def open_ledger(settings: LedgerSettings) -> AsyncIterator[Ledger]:
    """Open the ledger under a random owner number.

    A worker waits for a server that is starting; a command reports it at once.
    """
    await reach(settings.database_url.get_secret_value())
    async with Ledger(settings, owner=secrets.randbelow(2**31 - 1) + 1) as ledger:
        yield ledger


def topic_messages() -> TopicMessages:
    """Return what makes the messages of a change, for the topics of the environment."""
    kafka = kafka_settings()
    return TopicMessages(codec(kafka), kafka.topics)
