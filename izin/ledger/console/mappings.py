"""The mappings of a customer: how its files are read that are imported in the console.

Each is the text of a mapping as a file has it (:mod:`izin.producers.mapping.saved`), so that what
was found out in the console is used by ``izin import --mapping``, too. What one says decides who
has consented: the history has who saved which.
"""

from collections.abc import Mapping
from datetime import datetime

from izin.ledger.db import Ledger, statements
from izin.ledger.history import customer_key, record_act

_SQL = statements("console_mappings")
LONGEST_NAME, LONGEST = 80, 100_000
"""Characters of a name, and of a mapping."""


async def every(ledger: Ledger, customer: str) -> Mapping[str, str]:
    """Return the mappings of a customer, by name."""
    rows = await ledger.fetch(_SQL["every"], {"customer_id": customer})
    return {row["name"]: row["mapping"] for row in rows}


async def save(  # noqa: PLR0913  # which mapping of whom, and by whose order
    ledger: Ledger, customer: str, name: str, mapping: str, *, by: str, now: datetime
) -> None:
    """Save a mapping of a registered customer, in place of the one of this name."""
    values = {"customer_id": customer, "name": name, "mapping": mapping, "now": now}
    async with ledger.transaction() as connection:
        await connection.execute(_SQL["save"], values)
        await record_act(
            connection,
            "save mapping",
            customer_key(customer),
            by=by,
            now=now,
            before={},
            after={"name": name, "mapping": mapping},
            customer_id=customer,
        )
