"""Access to the ledger for the length of one command."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from contextlib import asynccontextmanager
from typing import TypeVar

from pydantic import ValidationError

from izin.cli.terminal.exit_codes import run_interruptible
from izin.cli.terminal.output import kafka_settings, say
from izin.consent import IzinError
from izin.kafka.clients import codec
from izin.ledger import brands
from izin.ledger.brands import registered_brand
from izin.ledger.db import Ledger, reach
from izin.ledger.record import Brand, TopicMessages
from izin.runtime.settings import LedgerSettings, StreamSettings
from izin.views.cut import Look, Owner, cut_to, record_look

T = TypeVar("T")


def run_on_ledger(
    work: Callable[[Ledger], Awaitable[T]],
    settings: LedgerSettings | None = None,
    *,
    customer: str | None = None,
    brand: int | None = None,
    look: Look | None = None,
) -> T:
    """Run ``work`` on the ledger of ``settings``, else the environment's; return its result. The
    ``look`` at people that it gives is in the history first; a ``customer`` or ``brand`` that was
    named must be registered.

    Raises:
        KeyboardInterrupt: a signal came; ``work`` was cancelled where it waited.
        UnregisteredBrandError: the brand is not registered.
        UnknownCustomerError: the customer is not registered.
        OtherBrandsError: the brand is not the customer's.
    """

    async def run() -> T:
        async with open_ledger(settings or LedgerSettings()) as ledger:
            if look is not None:
                await note_look(ledger, look)
            if customer is not None:
                await cut_to(ledger, customer, named_brand(brand))
            elif brand is not None:
                await registered_brand(ledger, brand)
            return await work(ledger)

    return run_interruptible(run())


async def note_look(ledger: Ledger, look: Look) -> None:
    """Write a look at people to the history.

    Where the ledger takes no writes that is said and nothing is raised: evidence must not be hidden
    from an operator when it is needed most.
    """
    try:
        await record_look(ledger, look, StreamSettings().suppressions)
    except IzinError as error:
        say(f"this look is not in the history: {error}")


def look_beside(look: Look) -> None:
    """Write a look at people to the history, of a command that shows what is not in the ledger;
    where there is no ledger that is said.
    """
    try:
        run_on_ledger(lambda ledger: note_look(ledger, look))
    except (ValidationError, IzinError):
        say("this look is not in the history: the ledger cannot be reached (DATABASE_URL)")


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


def named_brand(brand: int | None) -> Collection[int] | None:
    """Return the one brand that was named, if it was."""
    return None if brand is None else [brand]


async def chosen_brands(ledger: Ledger, codes: Collection[int] | None) -> list[Brand]:
    """Return the brands of these codes, None: every one. Raises UnregisteredBrandError."""
    if codes is None:
        return list(await brands.every(ledger))
    return [await registered_brand(ledger, code) for code in sorted(set(codes))]


def run_cut(
    customer: str | None,
    read: Callable[[Ledger], Awaitable[Iterable[T]]],
    owner: Callable[[T], Owner],
    *,
    only: Collection[int] | None = None,
    look: Look | None = None,
) -> list[T]:
    """Return what ``read`` finds in the ledger, without what is another customer's; ``only``
    are the brands that were named, and ``look`` is in the history first. Raises as :func:`cut_to`.
    """

    async def work(ledger: Ledger) -> list[T]:
        cut = await cut_to(ledger, customer, only)
        return [one for one in await read(ledger) if cut.has(owner(one))]

    return run_on_ledger(work, look=look)
