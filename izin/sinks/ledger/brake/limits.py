"""The limits of a customer's brake, set by a person."""

from dataclasses import asdict, dataclass
from datetime import datetime

from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import customer_key, record_act
from izin.sinks.ledger.registry import customers
from izin.sinks.ledger.registry.customers import Customer
from izin.sinks.record.errors import UnknownCustomerError

_SQL = statements("brakes")
_CUSTOMERS = statements("customers")


@dataclass(frozen=True, slots=True, kw_only=True)
class BrakeLimits:
    """Above what a brake trips."""

    share: float | None = None
    """Of a brand's keys that one source opts out within an hour, in percent: above 0, below 100;
    None: opt-outs are not held back.
    """
    at_least: int | None = None
    """Below so many opt-outs it never trips; given with the share."""
    reversals: int | None = None
    """How many opt-outs of a brand one source may reverse within an hour; None: any number."""

    def __str__(self) -> str:
        """Return the limits in words."""
        found = []
        if self.share is not None:
            found.append(
                f"more than {self.share:g} % and at least {self.at_least} opt-outs an hour"
            )
        if self.reversals is not None:
            found.append(f"more than {self.reversals} opt-outs reversed an hour")
        return "; ".join(found)


def limits_of(customer: Customer) -> BrakeLimits | None:
    """Return the limits that ``customer`` has set; None: it has no brake."""
    found = BrakeLimits(
        share=customer.brake_share,
        at_least=customer.brake_at_least,
        reversals=customer.brake_reversals,
    )
    return None if found == BrakeLimits() else found


async def set_limits(
    ledger: Ledger, customer_id: str, limits: BrakeLimits | None, *, by: str, now: datetime
) -> None:
    """Set the brake of a customer, or take it away; the history has who ordered it, ``by``.

    With a brake on opt-outs, the opt-ins of the customer's brands are counted, which reads the
    ledger once. Without, what was counted is forgotten; what is held back stays so until it is
    decided about.
    The same limits again count anew, and are no movement.

    Raises:
        UnknownCustomerError: the customer is not registered.
    """
    async with ledger.transaction() as connection:
        values = {"customer_id": customer_id}
        customer = await customers.lock(connection, customer_id)
        if customer is None:
            raise UnknownCustomerError(customer_id)
        before = limits_of(customer)
        found = await connection.execute(_CUSTOMERS["brands"], values)
        codes = {"codes": [one["brand_code"] for one in await found.fetchall()]}
        await connection.execute(
            _SQL["set-limits"],
            {
                **values,
                **asdict(limits or BrakeLimits()),
            },
        )
        counts = limits is not None and limits.share is not None
        await connection.execute(_SQL["count-opt-ins" if counts else "forget"], codes)
        if limits != before:
            await record_act(
                connection,
                "set brake",
                customer_key(customer_id),
                by=by,
                now=now,
                before={"brake": None if before is None else str(before)},
                after={"brake": None if limits is None else str(limits)},
                customer_id=customer_id,
            )
