"""The customers: who the consents of a brand belong to, and under which numbers İYS knows them.

No number of a natural person is stored of them (``registry.company_numbers``).
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from izin.sinks.ledger.db.connection import Connection, Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import customer_key, record_act
from izin.sinks.ledger.registry.company_numbers import read_mersis, read_vkn, refuse_national_id
from izin.sinks.record.errors import OffboardedCustomerError, UnknownCustomerError

_SQL = statements("customers")


class PersonKind(StrEnum):
    """What a customer is before the law: a company, or a natural person of a trade."""

    LEGAL = "legal"
    """A legal person (tüzel kişi)."""
    MERCHANT = "merchant"
    """A natural person who is a merchant (tacir)."""
    CRAFTSMAN = "craftsman"
    """A natural person who is a craftsman (esnaf)."""
    OTHER = "other"
    """Any other natural person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Customer:
    """A company whose consents are managed."""

    customer_id: str
    name: str
    created_at: datetime
    brake_share: float | None
    """Of a brand's keys, in percent: more opt-outs of one source an hour wait for a person."""
    brake_at_least: int | None
    """Never fewer; None, as the share is: the customer has set no brake (``ledger.brake``)."""
    brake_reversals: int | None = None
    """How many opt-outs one source may reverse within an hour; None: the customer has not set it.
    """
    kind: PersonKind | None = None
    """None, as of the numbers: nobody has said it."""
    mersis: str | None = None
    """16 digits."""
    vkn: str | None = None
    """10 digits."""
    iys_code: int | None = None
    """Its number as a provider at İYS (iysCode)."""
    offboarded_at: datetime | None = None
    """Since when nothing more is done for it; None: it is a customer."""

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Self:
        """Return the customer of a row of ``customers``."""
        kind = row["kind"]
        return cls(**{**row, "kind": None if kind is None else PersonKind(kind)})


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomerDetails:
    """What a person says of a customer; None leaves it as it is, an empty text or 0 takes it away.

    Raises:
        CompanyNumberError: a number that cannot be right.
        NationalIdError: one of the texts has the number of a natural person.
    """

    name: str | None = None
    kind: PersonKind | None = None
    mersis: str | None = None
    vkn: str | None = None
    iys_code: int | None = None

    def __post_init__(self) -> None:
        """Check the texts; of the numbers the digits alone are left."""
        refuse_national_id(self.name or "", "the name of the customer")
        if self.mersis:
            object.__setattr__(self, "mersis", read_mersis(self.mersis))
        if self.vkn:
            object.__setattr__(self, "vkn", read_vkn(self.vkn))

    def of(self, before: Customer) -> Customer:
        """Return ``before`` with these details."""
        return replace(
            before,
            name=self.name or before.name,
            kind=before.kind if self.kind is None else self.kind,
            mersis=before.mersis if self.mersis is None else self.mersis or None,
            vkn=before.vkn if self.vkn is None else self.vkn or None,
            iys_code=before.iys_code if self.iys_code is None else self.iys_code or None,
        )


_BY_OPERATORS = ("name", "kind", "mersis", "vkn", "iys_code")
_NO_DETAILS = CustomerDetails()


async def add(  # noqa: PLR0913  # the customer, what is said of it, and by whom
    ledger: Ledger,
    customer_id: str,
    name: str,
    *,
    details: CustomerDetails = _NO_DETAILS,
    by: str,
    now: datetime,
) -> tuple[Customer | None, Customer]:
    """Register a customer, or change it; return it as it was and as it is.

    The history has who ordered it, ``by``; what changes nothing is no movement.

    Raises:
        NationalIdError: its id or name has the number of a natural person; nothing is changed.
        OffboardedCustomerError: it was offboarded.
    """
    refuse_national_id(customer_id, "the id of the customer")
    details = replace(details, name=name)
    async with ledger.transaction() as connection:
        before = await lock(connection, customer_id)
        _check_active(before)
        new = before or Customer(
            customer_id=customer_id,
            name=name,
            created_at=now,
            brake_share=None,
            brake_at_least=None,
        )
        after = details.of(new)
        await _store(connection, before, after, by=by, now=now)
    return before, after


async def change(
    ledger: Ledger, customer_id: str, details: CustomerDetails, *, by: str, now: datetime
) -> tuple[Customer, Customer]:
    """Change a customer that is registered; the rest is as in :func:`add`.

    Raises:
        UnknownCustomerError: it is not registered.
        OffboardedCustomerError: it was offboarded.
    """
    async with ledger.transaction() as connection:
        before = await lock(connection, customer_id)
        if before is None:
            raise UnknownCustomerError(customer_id)
        _check_active(before)
        after = details.of(before)
        await _store(connection, before, after, by=by, now=now)
    return before, after


def _check_active(customer: Customer | None) -> None:
    if customer is not None and customer.offboarded_at is not None:
        raise OffboardedCustomerError(customer.customer_id, customer.offboarded_at)


async def _store(
    connection: Connection, before: Customer | None, after: Customer, *, by: str, now: datetime
) -> None:
    if after == before:
        return
    fields = {one: getattr(after, one) for one in _BY_OPERATORS}
    known = {} if before is None else {one: getattr(before, one) for one in _BY_OPERATORS}
    differing = [one for one in fields if fields[one] != known.get(one)]
    values = {**fields, "customer_id": after.customer_id, "now": now}
    await connection.execute(_SQL["upsert"], values)
    await record_act(
        connection,
        "add customer" if before is None else "change customer",
        customer_key(after.customer_id),
        by=by,
        now=now,
        before={one: known[one] for one in differing if one in known},
        after={one: fields[one] for one in differing},
        customer_id=after.customer_id,
    )


async def lock(connection: Connection, customer_id: str) -> Customer | None:
    """Return a customer, locked until the transaction ends; None: it is not registered."""
    found = await connection.execute(_SQL["lock"], {"customer_id": customer_id})
    row = await found.fetchone()
    return None if row is None else Customer.from_row(row)


async def every(ledger: Ledger) -> tuple[Customer, ...]:
    """Return every customer."""
    return tuple(Customer.from_row(row) for row in await ledger.fetch(_SQL["all"]))


async def require(connection: Connection, customers: Collection[str]) -> None:
    """Raise UnknownCustomerError where one of ``customers`` is not registered."""
    await _required(connection, customers)


async def require_active(connection: Connection, customers: Collection[str]) -> None:
    """Refuse ``customers`` for which nothing more may be registered.

    Raises:
        UnknownCustomerError: one is not registered.
        OffboardedCustomerError: one was offboarded.
    """
    for one, offboarded_at in (await _required(connection, customers)).items():
        if offboarded_at is not None:
            raise OffboardedCustomerError(one, offboarded_at)


async def _required(
    connection: Connection, customers: Collection[str]
) -> Mapping[str, datetime | None]:
    """Return since when each customer is offboarded; raises UnknownCustomerError."""
    found = await connection.execute(_SQL["known"], {"customers": sorted(customers)})
    known = {row["customer_id"]: row["offboarded_at"] for row in await found.fetchall()}
    for one in sorted(customers):
        if one not in known:
            raise UnknownCustomerError(one)
    return known
