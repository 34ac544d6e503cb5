"""Compare the rows of the ledger with what the history makes of them, by digest and key by key."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from izin.replay.ledger.slices import ShadowWork
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.consent_row import DECIDED, TERMS

MENDED = frozenset({"missing", "differing", "terms"})
"""The kinds of differences that a switch mends; the others are for a person."""
_PAGE = 500
_A_DAY = timedelta(days=1)
"""By how much the clocks of the processes that write the history may differ."""
_SQL = statements("rebuild")


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerComparison:
    """What the history makes of the ledger, beside what stands."""

    shadow: str
    """Digest of what follows from the history."""
    standing: str
    """Digest of the rows that stand."""
    shadow_keys: int
    standing_keys: int
    differences: Mapping[str, int]
    """How many keys differ, by kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DifferingRow:
    """A key whose row is not what the history makes of it."""

    key: str
    kind: str
    fields: Mapping[str, tuple[object, object]]
    """The columns that differ: as they stand, and as they follow from the history."""


async def compare(ledger: Ledger, work: ShadowWork) -> LedgerComparison:
    """Compare every row; keys that were decided on since the heads are left out of the differences,
    and so are those that are being erased.
    """
    values = {**work.values, "since": work.now - _A_DAY}
    async with ledger.session() as connection:
        await connection.execute(_SQL["session"])
        await connection.execute(_SQL["forget-differences"])
        await connection.execute(_SQL["analyze"])
        (digests,) = await (await connection.execute(_SQL["digests"], values)).fetchall()
        await connection.execute(_SQL["compare"], values)
        await connection.execute(_SQL["analyze"])
        await connection.execute(_SQL["pass-over"], values)
    return LedgerComparison(**digests, differences=await counts(ledger))


async def counts(ledger: Ledger) -> dict[str, int]:
    """Return how many keys differ, by kind."""
    return {row["kind"]: row["keys"] for row in await ledger.fetch(_SQL["count-differences"])}


async def differing_rows(ledger: Ledger) -> AsyncIterator[DifferingRow]:
    """Yield the keys that differ, in order."""
    after = ""
    while True:
        values = {"after": after, "size": _PAGE}
        rows = await ledger.fetch(_SQL["differences"], values)
        if not rows:
            return
        for row in rows:
            yield _differing(row)
        after = rows[-1]["key"]


def _differing(row: Mapping[str, Any]) -> DifferingRow:
    standing, shadow = row["standing"] or {}, row["shadow"] or {}
    names = (*DECIDED, *TERMS) if standing and shadow else ()
    return DifferingRow(
        key=row["key"],
        kind=row["kind"],
        fields={
            name: (standing[name], shadow[name]) for name in names if standing[name] != shadow[name]
        },
    )
