"""Load an archive into an empty ledger: its registry, then the rows of the history as they were.

Each file is one transaction with the head of its chain, so what was stopped goes on. Numbers that
the history names (of submissions, of rows of the outbox) are not given a second time, and decisions
that it has are known when their topic is read again.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from izin.schemas.codec import UndecodableError
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ingest.suppressions import Suppressions
from izin.sinks.ledger.archive.folder import Archive, ArchivedFile
from izin.sinks.ledger.archive.rows import ArchivedRow, rows_of
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Connection, Ledger, copy
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.formats import history_codec
from izin.sinks.record.errors import BrokenHistoryError, UnreadableArchiveError

TABLES = (
    *("customers", "brands", "unknown_brands", "suspension_orders", "suspensions", "api_keys"),
    *("movement_months", "chain_cuts", "anchors", "legal_holds", "erasures", "retailer_access"),
    "complaints",
)
"""What of the registry is loaded, in this order."""
_NUMBERED = {"submission": "submission", "outbox": "outbox", "deliveries": "batch"}
"""What the sources of movements begin with, before a number that is given once."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SQL = statements("archive")
_MOVEMENTS = statements("movements")


@dataclass(slots=True, kw_only=True)
class Loaded:
    """What was loaded."""

    rows: int = 0
    numbers: dict[str, int] = field(default_factory=lambda: dict.fromkeys(_NUMBERED.values(), 0))
    """The greatest number of each kind that the history names."""
    erased: dict[str, str] = field(default_factory=dict)
    """The keys that are suppressed, each with its customer."""


async def load_registry(ledger: Ledger, tables: Mapping[str, Any]) -> None:
    """Put the registry back; what is there already stays as it is."""
    async with ledger.transaction() as connection:
        for name in TABLES:
            rows = {"rows": orjson.dumps(tables.get(name) or []).decode()}
            await connection.execute(_SQL[f"load-{name}"], rows)
        months = {"rows": orjson.dumps(tables.get("movement_months") or []).decode()}
        await connection.execute(_SQL["retain-movement_months"], months)
        for cut in tables.get("chain_cuts") or ():
            values = {**cut, "link": bytes.fromhex(cut["link"].removeprefix("\\x"))}
            await connection.execute(_SQL["begin-chain"], values)


class HistoryLoader:
    """Loads the rows of an archive."""

    def __init__(
        self, ledger: Ledger, suppressions: Suppressions, report: Callable[[int, int], None]
    ) -> None:
        self._ledger = ledger
        self._suppressions = suppressions
        self._report = report
        self._reader = DecisionReader(history_codec())

    async def load(self, archive: Archive) -> Loaded:
        """Load every file, month by month; one that is loaded is only looked through.

        Raises:
            BrokenHistoryError: a chain of the ledger does not end where a file begins.
            UnreadableArchiveError: a file was changed.
        """
        loaded, total = Loaded(), sum(one.last - one.first + 1 for one in archive.in_order())
        for one in archive.in_order():
            text, is_whole = await asyncio.to_thread(archive.read_rows, one)
            if not is_whole:
                raise UnreadableArchiveError(f"{one.name} was changed since it was written")
            rows = list(rows_of(text))
            await self._load_file(one, text, rows)
            loaded.rows += len(rows)
            self._note(loaded, rows)
            self._report(loaded.rows, total)
        return loaded

    async def finish(self, loaded: Loaded, *, anchor: int, now: datetime) -> None:
        """Go on with the numbers behind those of the history and the last ``anchor``, and keep the
        erasures of the keys that are suppressed.
        """
        keys = sorted(loaded.erased)
        erased = {
            "keys": keys,
            "customers": [loaded.erased[key] for key in keys],
            "event_ids": [str(uuid4()) for _ in keys],
            "untils": [self._suppressions.until(key) for key in keys],
            "now": now,
        }
        async with self._ledger.transaction() as connection:
            await connection.execute(_SQL["add-erased"], erased)
            await connection.execute(_SQL["continue-numbers"], {**loaded.numbers, "anchor": anchor})

    async def _load_file(self, one: ArchivedFile, text: bytes, rows: list[ArchivedRow]) -> None:
        async with self._ledger.transaction() as connection:
            found = await connection.execute(_SQL["lock-chain"], {"shard": one.shard})
            head = await found.fetchone()
            if head is None or head["place"] >= one.last:
                return
            if (head["place"], bytes(head["link"]).hex()) != (one.first - 1, one.link_before):
                raise BrokenHistoryError(one.shard, head["place"])
            body = text[len(copy_format.SIGNATURE) : -len(copy_format.END)]
            await copy(connection, _SQL["copy-in"], [body])
            values = {
                "shard": one.shard,
                "place": one.last,
                "link": bytes.fromhex(one.link),
                "recorded_at": _EPOCH + timedelta(microseconds=rows[-1].recorded),
            }
            await connection.execute(_MOVEMENTS["save-head"], values)
            await self._record_offsets(connection, rows)

    async def _record_offsets(self, connection: Connection, rows: Iterable[ArchivedRow]) -> None:
        """Note how far the decisions on input partitions are recorded."""
        nexts: dict[tuple[str, int], int] = {}
        for row in rows:
            if row.decision is None:
                continue
            with suppress(UndecodableError):  # of a release to come: it is looked up, if it repeats
                decision = self._reader.read(row.decision)
                place = decision.topic, decision.partition
                nexts[place] = max(nexts.get(place, 0), decision.offset + 1)
        values = {
            "topics": [topic for topic, _ in nexts],
            "partitions": [partition for _, partition in nexts],
            "nexts": list(nexts.values()),
        }
        await connection.execute(_MOVEMENTS["save-recorded"], values)

    def _note(self, loaded: Loaded, rows: Iterable[ArchivedRow]) -> None:
        """Note the numbers that ``rows`` name, and their keys that are suppressed."""
        for row in rows:
            what, _, rest = (row.source or "").partition("/")
            if what in _NUMBERED:
                number = int(rest.partition("/")[0])
                name = _NUMBERED[what]
                loaded.numbers[name] = max(loaded.numbers[name], number)
            key = row.key
            if key is not None and self._suppressions.until(key) is not None:
                loaded.erased[key] = row.customer_id
