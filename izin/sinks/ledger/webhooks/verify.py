"""Verify the deliveries: each batch has the rows whose digest the history has, and no others.

The history itself is verified by its chains (``history.verify``).
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.batches import BatchDigest, digest_of
from izin.sinks.ledger.webhooks.deliveries import commitment_of_delivery

_PAGE = 5000
_MEANWHILE = timedelta(days=1)
"""How long a verification takes at most."""
_SQL = statements("deliveries")


class DeliveryFault(NamedTuple):
    """A fault of a batch of deliveries."""

    batch: int
    place: int | None
    """None: of the batch as a whole."""
    what: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedDeliveries:
    """The result of a verification."""

    rows: int
    faults: tuple[DeliveryFault, ...]
    lost: int = 0
    """The deliveries that a restoration of the ledger has lost, as its act says."""


async def verify(
    ledger: Ledger,
    digests: Mapping[int, BatchDigest],
    erased: Collection[tuple[int, int]],
    *,
    read_at: datetime,
    lost_until: int = 0,
) -> VerifiedDeliveries:
    """Compare every row with what the history says: ``digests`` by batch, and batch and place of
    the rows that acts have ``erased``. The history was read from ``read_at`` on: what was recorded
    later may not be among them. Whole batches up to ``lost_until`` may be missing.
    """
    unseen, faults, count = dict(digests), list[DeliveryFault](), 0
    async for batch, rows in _batches(ledger):
        if batch not in unseen and read_at < rows[0]["recorded_at"] < read_at + _MEANWHILE:
            continue
        count += len(rows)
        faults += _faults(batch, rows, unseen.pop(batch, None), erased)
    faults += [
        DeliveryFault(batch, None, f"all {one.rows} rows are missing")
        for batch, one in unseen.items()
        if batch > lost_until
    ]
    lost = sum(one.rows for batch, one in unseen.items() if batch <= lost_until)
    return VerifiedDeliveries(rows=count, faults=tuple(faults), lost=lost)


def _faults(
    batch: int,
    rows: Sequence[Mapping[str, Any]],
    known: BatchDigest | None,
    erased: Collection[tuple[int, int]],
) -> list[DeliveryFault]:
    if known is None:
        return [
            DeliveryFault(
                batch, None, f"{len(rows)} rows were added: the history has no such batch"
            )
        ]
    faults = []
    for row in rows:
        if row["key"] is None:
            if (batch, row["place"]) not in erased:
                faults.append(
                    DeliveryFault(batch, row["place"], "the row was erased, and no act names it")
                )
        elif commitment_of_delivery(row) != row["commitment"]:
            faults.append(DeliveryFault(batch, row["place"], "the row was changed"))
    if len(rows) != known.rows:
        more = "added" if len(rows) > known.rows else "missing"
        faults.append(DeliveryFault(batch, None, f"{abs(known.rows - len(rows))} rows are {more}"))
    elif digest_of(row["commitment"] for row in rows) != known.digest:
        faults.append(
            DeliveryFault(batch, None, "the rows are not those whose digest the history has")
        )
    return faults


async def _batches(ledger: Ledger) -> AsyncIterator[tuple[int, Sequence[Mapping[str, Any]]]]:
    """Yield each batch with its rows, in the order of their places."""
    rows: list[Mapping[str, Any]] = []
    async with (
        ledger.transaction() as connection,
        connection.cursor(name="deliveries") as cursor,
    ):
        cursor.itersize = _PAGE
        await cursor.execute(_SQL["batches"])
        async for row in cursor:
            if rows and row["batch"] != rows[0]["batch"]:
                yield int(rows[0]["batch"]), rows
                rows = []
            rows.append(row)
    if rows:
        yield int(rows[0]["batch"]), rows
