"""What a command reads, cut to one customer: of no other customer is anything printed."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from izin.console.terminal.ledger_session import run_on_ledger
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import customers

T = TypeVar("T")
Owner = int | str | Collection[str] | None
"""Whose something is: a brand's code, a customer's id, several of them, or nobody's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerCut:
    """One customer with its brands, or everybody."""

    customer_id: str | None
    brand_codes: frozenset[int]

    def has(self, owner: Owner) -> bool:
        """Return whether what ``owner`` names is of the customer; everything is of everybody."""
        match owner:
            case _ if self.customer_id is None:
                return True
            case None:
                return False
            case int():
                return owner in self.brand_codes
            case str():
                return owner == self.customer_id
            case _:
                return self.customer_id in owner


async def cut_to(ledger: Ledger, customer: str | None) -> CustomerCut:
    """Return the cut to ``customer``; None is everybody.

    Raises:
        UnknownCustomerError: it is not registered.
    """
    if customer is None:
        return CustomerCut(customer_id=None, brand_codes=frozenset())
    async with ledger.transaction() as connection:
        await customers.require(connection, {customer})
    codes = (one.brand_code for one in await brands.every(ledger) if one.customer_id == customer)
    return CustomerCut(customer_id=customer, brand_codes=frozenset(codes))


def run_cut(
    customer: str | None,
    read: Callable[[Ledger], Awaitable[Iterable[T]]],
    owner: Callable[[T], Owner],
) -> list[T]:
    """Return what ``read`` finds in the ledger, without what is another customer's."""

    async def work(ledger: Ledger) -> list[T]:
        cut = await cut_to(ledger, customer)
        return [one for one in await read(ledger) if cut.has(owner(one))]

    return run_on_ledger(work)
