"""Which retailers may use which consents of one brand; the one that took a consent is told apart.

A new movement of a key brings its own retailers; until then they can be changed.
"""

from collections.abc import Sequence

from iys_simulator.rules.fields import Consent
from iys_simulator.store.database import Database
from iys_simulator.store.movements import Key


class Access:
    """Retailers by consent, in the twin's database."""

    def __init__(self, database: Database, brand_code: int) -> None:
        self._database = database
        self._brand_code = brand_code

    def taker_of(self, key: Key) -> int | None:
        """Give the retailer that took the key's consent."""
        rows = self._database.rows("access_of", *self._names(key))
        return next((retailer for retailer, is_taker in rows if is_taker), None)

    def of(self, key: Key, *, with_taker: bool = True) -> list[int]:
        """Give the retailers that may use the key's consent."""
        rows = self._database.rows("access_of", *self._names(key))
        return sorted({retailer for retailer, is_taker in rows if with_taker or not is_taker})

    def count(self, retailer: int) -> int:
        """How many consents the retailer may use."""
        row = self._database.row("access_count", self._brand_code, retailer)
        return row[0] if row else 0

    def put(self, consent: Consent) -> None:
        """Let the retailers a consent came with use it, and no others."""
        taker = () if consent.retailer_code is None else ((consent.retailer_code, 1),)
        listed = ((retailer, 0) for retailer in consent.retailer_access)
        self._replace(consent.key, [*listed, *taker])

    def change(
        self,
        key: Key,
        *,
        added: Sequence[int] = (),
        removed: Sequence[int] = (),
        removes_all: bool = False,
    ) -> None:
        """Change which retailers may use the key's consent, which must stand in the register."""
        names = self._names(key)
        rows = [] if removes_all else self._database.rows("access_of", *names)
        kept = {(retailer, is_taker) for retailer, is_taker in rows if retailer not in removed}
        kept |= {(retailer, 0) for retailer in added}
        with self._database.transaction():
            self._replace(key, sorted(kept))
            self._database.run("mark_access", bool(kept), *names)

    def _replace(self, key: Key, rows: Sequence[tuple[int, int]]) -> None:
        names = self._names(key)
        self._database.run("delete_access", *names)
        self._database.run_many("insert_access", [(*names, *row) for row in rows])

    def _names(self, key: Key) -> tuple[int, str, str, str]:
        channel, kind, recipient = key
        return (self._brand_code, recipient, channel, kind)
