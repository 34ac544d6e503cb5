"""Find one brand in the ledger, with what suspends it and its numbers of keys."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from izin.console.terminal.ledger_session import Look, run_on_ledger
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger import reads
from izin.sinks.ledger import suspensions as standing
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.reads import Count, Parked
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import UnregisteredBrandError
from izin.sinks.record.suspension import Suspension

T = TypeVar("T")
OfBrand = TypeVar("OfBrand", Suspension, Count, Parked)


async def find_brand(ledger: Ledger, brand_code: int) -> Brand | None:
    """Return a brand, None where it is not registered."""
    async with ledger.transaction() as connection:
        return (await registry.of_codes(connection, [brand_code])).get(brand_code)


async def registered_brand(ledger: Ledger, brand_code: int) -> Brand:
    """Return a brand.

    Raises:
        UnregisteredBrandError: It is not registered.
    """
    found = await find_brand(ledger, brand_code)
    if found is None:
        raise UnregisteredBrandError(brand_code)
    return found


def run_on_brand(
    brand_code: int, work: Callable[[Ledger], Awaitable[T]], *, look: Look | None = None
) -> T:
    """Run ``work`` on the ledger if a brand is registered, and return its result; ``look`` is in
    the history first. Raises as :func:`registered_brand`.
    """

    async def run(ledger: Ledger) -> T:
        await registered_brand(ledger, brand_code)
        return await work(ledger)

    return run_on_ledger(run, look=look)


def of_brand(brand_code: int, found: Iterable[OfBrand]) -> tuple[OfBrand, ...]:
    """Return those of ``found`` that concern a brand."""
    return tuple(one for one in found if one.brand_code == brand_code)


async def suspended_and_counted(
    ledger: Ledger, brand_code: int
) -> tuple[tuple[Suspension, ...], tuple[Count, ...]]:
    """Return the suspensions of a brand, and how many of its keys are in which state."""
    suspensions = of_brand(brand_code, await standing.every(ledger))
    return suspensions, of_brand(brand_code, await reads.counts(ledger))
