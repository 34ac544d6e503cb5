"""Which retailers may use which consents of one brand, and which one collected a consent.

A new movement of a key replaces its retailers; until then they can be changed.
"""

from collections.abc import Sequence

from iys_simulator.rules.consent import Consent, ConsentKey
from iys_simulator.store.database import Database


class RetailerAccess:
    """Retailers by consent, in the simulator's database."""

    def __init__(self, database: Database, brand_code: int) -> None:
        self._database = database
        self._brand_code = brand_code

    def collector_of(self, key: ConsentKey) -> int | None:
        """Return the retailer that collected the key's consent."""
        rows = self._database.rows("access_of", *self._columns(key))
        return next((retailer for retailer, is_collector in rows if is_collector), None)

    def of(self, key: ConsentKey) -> list[int]:
        """Return the retailers that may use the key's consent, including its collector."""
        return sorted({row[0] for row in self._database.rows("access_of", *self._columns(key))})

    def count(self, retailer: int) -> int:
        """Return how many consents the retailer may use."""
        row = self._database.row("access_count", self._brand_code, retailer)
        return row[0] if row else 0

    def put(self, consent: Consent) -> None:
        """Grant access to the retailers that `consent` names, and to no others."""
        collector = () if consent.retailer_code is None else ((consent.retailer_code, 1),)
        listed = ((retailer, 0) for retailer in consent.retailer_access)
        self._replace(consent.key, [*listed, *collector])

    def change(
        self,
        key: ConsentKey,
        *,
        added: Sequence[int] = (),
        removed: Sequence[int] = (),
        removes_all: bool = False,
    ) -> None:
        """Change which retailers may use the key's consent, which must be registered."""
        columns = self._columns(key)
        rows = [] if removes_all else self._database.rows("access_of", *columns)
        remaining = {
            (retailer, is_collector) for retailer, is_collector in rows if retailer not in removed
        }
        remaining |= {(retailer, 0) for retailer in added}
        with self._database.transaction():
            self._replace(key, sorted(remaining))
            self._database.run("mark_access", bool(remaining), *columns)

    def _replace(self, key: ConsentKey, rows: Sequence[tuple[int, int]]) -> None:
        columns = self._columns(key)
        self._database.run("delete_access", *columns)
        self._database.run_many("insert_access", [(*columns, *row) for row in rows])

    def _columns(self, key: ConsentKey) -> tuple[int, str, str, str]:
        channel, recipient_type, recipient = key
        return (self._brand_code, recipient, channel, recipient_type)
