"""The retailers that may use a consent (reference 2.11): an obligation beside the consent's own.

A consent is submitted with its retailers. One that İYS holds already is not submitted again, so
where its event names other retailers, the difference is parked for a person and never dropped. An
event without retailers changes nothing about them.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum, auto
from typing import Any

import orjson

from izin.consent import SETTLED, Registered, State, Status
from izin.ledger.db import Connection, Ledger, fetch, statements
from izin.ledger.record import ConsentRow

DIFFERENCE = "retailer-access"
"""The reason for which such consents are parked."""

_SQL = statements("retailers")


class Step(Enum):
    """What a change of a row means for its retailers."""

    REGISTERED = auto()
    """İYS accepted the consent, and its retailers with it."""
    DESIRED = auto()
    """İYS holds the consent, and this event was not submitted."""
    ENDED = auto()
    """İYS no longer holds the consent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RetailerDifference:
    """A consent at İYS whose latest event names other retailers than those registered."""

    key: str
    event_id: str
    registered_code: int | None
    registered_access: Sequence[int] | None
    desired_code: int | None
    desired_access: Sequence[int] | None
    since: datetime


def step(before: ConsentRow | None, after: ConsentRow) -> Step | None:
    """Return what the change from ``before`` to ``after`` means for retailers; None: nothing."""
    if after.registered != Registered.ONAY:
        was_registered = before is not None and before.registered == Registered.ONAY
        return Step.ENDED if was_registered else None
    if after.retailer_code is None and after.retailer_access is None:
        return None
    if after.desired_status != Status.ONAY or after.state not in SETTLED:
        return None
    same = before is not None and after.is_of(before.desired_event_id, before.desired_status)
    if same and before is not None and before.state == after.state:
        return None
    return Step.REGISTERED if after.state is State.ACCEPTED else Step.DESIRED


async def write(
    connection: Connection, steps: Iterable[tuple[Step, ConsentRow]], *, now: datetime
) -> None:
    """Store the changes of retailers, key by key; what has ended ends first."""
    rows: dict[Step, list[ConsentRow]] = {one: [] for one in Step}
    for one, row in steps:
        rows[one].append(row)
    if rows[Step.ENDED]:
        await end(connection, [row.key for row in rows[Step.ENDED]])
    for one, query in ((Step.REGISTERED, "registered"), (Step.DESIRED, "desired")):
        if rows[one]:
            values = {"rows": orjson.dumps([_row(row) for row in rows[one]]).decode()}
            await connection.execute(_SQL[query], {**values, "now": now})


async def end(connection: Connection, keys: Sequence[str]) -> None:
    """Forget the retailers of consents that İYS no longer holds."""
    await connection.execute(_SQL["ended"], {"keys": list(keys)})


async def registered(connection: Connection, keys: Collection[str]) -> dict[str, frozenset[int]]:
    """Return the retailers that İYS holds with the consents of ``keys``: the one that collected it
    and those with access; a key without any is left out.
    """
    if not keys:
        return {}
    return {
        row["key"]: frozenset(row["retailers"])
        for row in await fetch(connection, _SQL["of-keys"], {"keys": list(keys)})
    }


async def settle(connection: Connection, shown: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Record a person's confirmation that İYS has the retailers that were ``shown`` as desired, of
    keys whose rows the transaction has locked; return each that still differed so, with what is
    registered now.
    """
    return await fetch(connection, _SQL["settle"], shown)


async def differences(ledger: Ledger, brand_code: int) -> tuple[RetailerDifference, ...]:
    """Return the differences that a person has to change at İYS."""
    return tuple(
        RetailerDifference(**row)
        for row in await ledger.fetch(_SQL["differences"], {"brand_code": brand_code})
    )


def _row(row: ConsentRow) -> dict[str, object]:
    access = row.retailer_access
    return {
        "key": row.key,
        "customer_id": row.customer_id,
        "brand_code": row.brand_code,
        "channel": row.channel,
        "event_id": row.desired_event_id,
        "code": row.retailer_code,
        "access": None if access is None else sorted(set(access)),
    }
