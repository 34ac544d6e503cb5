"""The accounts of the console: made, changed and disabled by people, each by an entry of history.

An account has a role, and sees the customers that are its own, or every one. It signs in by a
password, by a link once, or at an identity provider.
"""

import re
from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from izin.ledger.db import Ledger, fetch_one, statements
from izin.ledger.history import record_act
from izin.ledger.record import UnknownAccountError
from izin.ledger.registry.customers import require_active

_SQL = statements("console")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@+-]{0,127}")


class AccountRole(StrEnum):
    """What an account is there for; ``izin.web.visit`` says what each may do."""

    READER = "reader"
    OPERATOR = "operator"
    COMPLIANCE = "compliance"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Who is signed in: the actor of what is done."""

    name: str
    role: AccountRole
    customers: frozenset[str] | None
    """Whose data it sees; None: of every customer."""
    created_at: datetime
    disabled_at: datetime | None = None
    has_password: bool = False

    def sees(self, customer: str) -> bool:
        """Whether the customer is one of its own."""
        return self.customers is None or customer in self.customers


def is_account_name(text: str) -> bool:
    """Whether an account may have this name."""
    return _NAME.fullmatch(text) is not None


def account_key(name: str) -> str:
    """Return the key of acts on an account."""
    return f"account/{name}"


def account_of(row: dict[str, Any]) -> Account:
    """Return the account that a row has, which may have more columns."""
    customers = row["customers"]
    return Account(
        name=row["name"],
        role=AccountRole(row["role"]),
        customers=None if customers is None else frozenset(customers),
        created_at=row["created_at"],
        disabled_at=row["disabled_at"],
        has_password=row["has_password"],
    )


async def every(ledger: Ledger) -> tuple[Account, ...]:
    """Return every account, by name."""
    return tuple(account_of(row) for row in await ledger.fetch(_SQL["all"]))


async def find(ledger: Ledger, name: str) -> Account | None:
    """Return the account of ``name`` where there is one that is not disabled."""
    rows = await ledger.fetch(_SQL["account"], {"name": name})
    found = account_of(rows[0]) if rows else None
    return None if found is None or found.disabled_at is not None else found


async def save(  # noqa: PLR0913  # which account, and by whose order
    ledger: Ledger,
    name: str,
    role: AccountRole,
    customers: Collection[str] | None,
    *,
    by: str,
    now: datetime,
) -> None:
    """Add the account, or change what it may do; ``customers``: None for every one.

    Raises:
        UnknownCustomerError: one of them is not registered.
        OffboardedCustomerError: one of them was offboarded.
    """
    given = None if customers is None else sorted(set(customers))
    async with ledger.transaction() as connection:
        await require_active(connection, frozenset(given or ()))
        before = await fetch_one(connection, _SQL["account"], {"name": name})
        values = {"name": name, "role": role, "customers": given, "now": now}
        await connection.execute(_SQL["save"], values)
        await record_act(
            *(connection, "save account", account_key(name)),
            by=by,
            now=now,
            before={} if before is None else _shown(before["role"], before["customers"]),
            after=_shown(role, given),
        )


async def disable(ledger: Ledger, name: str, *, by: str, now: datetime) -> None:
    """Disable the account, and end its sessions.

    Raises:
        UnknownAccountError: there is none that is enabled.
    """
    async with ledger.transaction() as connection:
        row = await fetch_one(connection, _SQL["disable"], {"name": name, "now": now})
        if row is None:
            raise UnknownAccountError(name)
        await connection.execute(_SQL["end-sessions"], {"name": name})
        await record_act(
            *(connection, "disable account", account_key(name)),
            by=by,
            now=now,
            before=_shown(row["role"], row["customers"]),
            after={"disabled_at": now},
        )


async def set_password(ledger: Ledger, name: str, password_hash: str, *, now: datetime) -> None:
    """Store the hash of the password that the account has chosen; end its sessions."""
    async with ledger.transaction() as connection:
        values = {"name": name, "password_hash": password_hash}
        await connection.execute(_SQL["set-password"], values)
        await connection.execute(_SQL["end-sessions"], {"name": name})
        await record_act(
            *(connection, "set password", account_key(name)),
            by=name,
            now=now,
            before={},
            after={},
        )


def _shown(role: str, customers: Collection[str] | None) -> dict[str, Any]:
    return {"role": str(role), "customers": "every" if customers is None else sorted(customers)}
