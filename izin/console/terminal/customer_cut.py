"""What a command reads, cut to one customer: of no other customer is anything printed."""

from collections.abc import Awaitable, Callable, Collection, Iterable
from dataclasses import dataclass
from typing import TypeVar

from izin.console.terminal.ledger_session import Look, run_on_ledger
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry.customer_brands import brands_of

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


async def cut_to(
    ledger: Ledger, customer: str | None, only: Collection[int] | None = None
) -> CustomerCut:
    """Return the cut to ``customer``, None: everybody; to ``only`` those of its brands, where any
    are named.

    Raises:
        UnknownCustomerError: it is not registered.
        OtherBrandsError: one of ``only`` is not its brand.
    """
    if customer is None:
        return CustomerCut(customer_id=None, brand_codes=frozenset())
    found = await brands_of(ledger, customer, only or ())
    return CustomerCut(customer_id=customer, brand_codes=frozenset(found))


def run_cut(
    customer: str | None,
    read: Callable[[Ledger], Awaitable[Iterable[T]]],
    owner: Callable[[T], Owner],
    *,
    only: Collection[int] | None = None,
    look: Look | None = None,
) -> list[T]:
    """Return what ``read`` finds in the ledger, without what is another customer's; ``only`` are
    the brands that were named, and ``look`` is in the history first. Raises as :func:`cut_to`.
    """

    async def work(ledger: Ledger) -> list[T]:
        cut = await cut_to(ledger, customer, only)
        return [one for one in await read(ledger) if cut.has(owner(one))]

    return run_on_ledger(work, look=look)
