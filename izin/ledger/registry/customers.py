"""The customers: who the consents of a brand belong to, and under which numbers İYS knows them.

A company has a MERSİS number (16 digits) and a VKN (10 digits), with their check digits. The number
of a natural person, the T.C. kimlik numarası, is personal data that İYS's calls do not need: it is
never stored. The MERSİS number of a natural person begins with it, and is not stored either; such a
customer is registered by its VKN. The check of MERSİS is İYS's own (description 1.1.0): behind a
leading zero stands a valid VKN.
"""

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any, Self

from izin.ledger.db import Connection, Ledger, fetch, fetch_one, statements
from izin.ledger.history import customer_key, record_act
from izin.ledger.record import (
    CompanyNumberError,
    NationalIdError,
    OffboardedCustomerError,
    UnknownCustomerError,
)

MERSIS_DIGITS = 16
VKN_DIGITS = 10
_ID_DIGITS = 11
_ID = re.compile(rf"(?<!\d)\d{{{_ID_DIGITS}}}(?!\d)", re.ASCII)
_SQL = statements("customers")
_BY_OPERATORS = ("name", "kind", "mersis", "vkn", "iys_code")


def is_vkn(digits: str) -> bool:
    """Return whether ``digits`` are ten, and the last is their check digit."""
    if not _are_digits(digits, VKN_DIGITS):
        return False
    total = 0
    for place, digit in enumerate(digits[:-1]):
        shifted = (int(digit) + 9 - place) % 10
        weighted = shifted * 2 ** (9 - place) % 9
        total += 9 if shifted and not weighted else weighted
    return int(digits[-1]) == -total % 10


def is_national_id(digits: str) -> bool:
    """Return whether ``digits`` are the eleven of a natural person (T.C. kimlik numarası)."""
    if not _are_digits(digits, _ID_DIGITS) or digits[0] == "0":
        return False
    numbers = [int(digit) for digit in digits]
    tenth = (sum(numbers[0:9:2]) * 7 - sum(numbers[1:8:2])) % 10
    return numbers[9:] == [tenth, (sum(numbers[:9]) + tenth) % 10]


def refuse_national_id(text: str, what: str) -> str:
    """Return ``text``; one with the number of a natural person is refused. ``what`` names it.

    Raises:
        NationalIdError: it has such a number; the message does not repeat it.
    """
    if any(map(is_national_id, _ID.findall(text))):
        raise NationalIdError(what)
    return text


def read_vkn(text: str) -> str:
    """Return the ten digits of a VKN; spaces between them are left out.

    Raises:
        CompanyNumberError: it has other than ten digits, or its check digit is wrong.
        NationalIdError: it is the number of a natural person.
    """
    digits = refuse_national_id("".join(text.split()), "the VKN")
    if not _are_digits(digits, VKN_DIGITS):
        raise CompanyNumberError("the VKN", f"it must have {VKN_DIGITS} digits")
    if not is_vkn(digits):
        raise CompanyNumberError("the VKN", "its last digit does not fit the others")
    return digits


def read_mersis(text: str) -> str:
    """Return the sixteen digits of a MERSİS number; spaces and dashes are left out.

    Raises:
        CompanyNumberError: it has other than sixteen digits, or the VKN in it is wrong.
        NationalIdError: it is, or begins with, the number of a natural person.
    """
    what = "the MERSİS number"
    digits = refuse_national_id("".join(text.replace("-", " ").split()), what)
    if not _are_digits(digits, MERSIS_DIGITS):
        raise CompanyNumberError(what, f"it must have {MERSIS_DIGITS} digits")
    if is_national_id(digits[:_ID_DIGITS]):
        raise NationalIdError(what)
    if digits[0] == "0" and not is_vkn(digits[1 : 1 + VKN_DIGITS]):
        raise CompanyNumberError(what, "behind its leading zero stands no valid VKN")
    return digits


def _are_digits(text: str, count: int) -> bool:
    return len(text) == count and text.isascii() and text.isdecimal()


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
    """Never fewer; None, as the share is: the customer has set none."""
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

    The history has who ordered it, ``by``; what changes nothing is no entry.

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
    fields = {by_operator: getattr(after, by_operator) for by_operator in _BY_OPERATORS}
    known = {} if before is None else {one: getattr(before, one) for one in _BY_OPERATORS}
    differing = [field for field in fields if fields[field] != known.get(field)]
    await connection.execute(
        _SQL["upsert"], {**fields, "customer_id": after.customer_id, "now": now}
    )
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
    row = await fetch_one(connection, _SQL["lock"], {"customer_id": customer_id})
    return None if row is None else Customer.from_row(row)


async def every(ledger: Ledger) -> tuple[Customer, ...]:
    """Return every customer."""
    return tuple(Customer.from_row(row) for row in await ledger.fetch(_SQL["all"]))


async def find(ledger: Ledger, customer_id: str) -> Customer:
    """Return a customer; raises UnknownCustomerError."""
    for customer in await every(ledger):
        if customer.customer_id == customer_id:
            return customer
    raise UnknownCustomerError(customer_id)


async def require_active(connection: Connection, customers: Collection[str]) -> None:
    """Refuse ``customers`` for which nothing more may be registered.

    Raises:
        UnknownCustomerError: one is not registered.
        OffboardedCustomerError: one was offboarded.
    """
    for one, offboarded_at in (await require(connection, customers)).items():
        if offboarded_at is not None:
            raise OffboardedCustomerError(one, offboarded_at)


async def require(
    connection: Connection, customers: Collection[str]
) -> Mapping[str, datetime | None]:
    """Return since when each customer is offboarded; raises UnknownCustomerError."""
    known = {
        row["customer_id"]: row["offboarded_at"]
        for row in await fetch(connection, _SQL["known"], {"customers": sorted(customers)})
    }
    for customer in sorted(customers):
        if customer not in known:
            raise UnknownCustomerError(customer)
    return known
