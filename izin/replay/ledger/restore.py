"""A ledger from nothing: from an archive of its history and the topics, or from the topics alone.

What was erased is known first. Then the history is loaded as it was, the rows are made from it, and
what the topic of desired consents has beyond it is added. What İYS holds is unknown until it is
asked, and every brand's calls are held back until a person resumes them, so that the asking can be
looked at before. No step is done twice: a restoration that was stopped goes on.

Each file of the archive is one transaction with the head of its chain. Numbers that the history
names (of submissions, of rows of the outbox) are not given a second time, and decisions that it has
are known when their topic is read again.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from izin.consent import OurError
from izin.ledger import brands
from izin.ledger.archive.folder import (
    Archive,
    ArchivedFile,
    ArchivedRow,
    rows_of,
    verify_archive,
)
from izin.ledger.db import Ledger, copy, copy_format, living, statements
from izin.ledger.history import RESTORED, Fault, history_codec, rebuild_key, record_act
from izin.ledger.offsets import Bootstrap
from izin.ledger.record import (
    Anchor,
    Brand,
    BrokenHistoryError,
    FullLedgerError,
    TopicMessages,
    UnreadableArchiveError,
)
from izin.ledger.registry import customers, suspension_orders
from izin.ledger.registry.suspension_orders import Part, Target
from izin.replay.ledger.rebuild import LedgerRebuild
from izin.runtime.plan import OnProgress, Plan, Selection, silent
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.topics import Topic
from izin.sinks.ingest.bootstrap import Bootstrapper, Suppressions, read_suppressions
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ingest.ingested_topics import every_record

REASON = "the ledger was restored; İYS is asked once this ends"
TABLES = (
    *("customers", "brands", "unknown_brands", "suspension_orders", "suspensions", "api_keys"),
    *("history_months", "chain_cuts", "anchors", "legal_holds", "erasures", "retailer_access"),
    "complaints",
)
"""What of the registry is loaded, in this order."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SQL = statements("archive")
_HISTORY = statements("history")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorable:
    """What there is to restore from."""

    entries: int
    """Of the archive."""
    suppressions: Suppressions
    """Of the keys that were erased."""
    lost: Sequence[Fault]
    """What was anchored and is not in the archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored."""

    entries: int
    erased: int
    """Keys of the archive that stay erased."""
    rows: int
    """From the history."""
    keys: int
    """Read from the topic of desired consents."""
    held: Sequence[str]
    """The customers whose calls to İYS wait for a person."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LedgerRestoration:
    """Restores an empty ledger."""

    rebuild: LedgerRebuild
    kafka: KafkaSettings
    codec: Codec
    secrets: SuppressionKeys
    archive: Archive | None
    """None: from the topics alone."""
    on_load: OnProgress = silent
    on_read: Callable[[Sequence[Bootstrap]], None] = lambda _: None

    @property
    def ledger(self) -> Ledger:
        """The ledger that is restored."""
        return self.rebuild.ledger

    async def check(self, anchors: Iterable[Anchor]) -> Restorable:
        """Verify the archive against ``anchors``, and that the ledger can take it.

        Raises:
            FullLedgerError: the ledger is neither empty nor partly restored from this archive.
            UnreadableArchiveError: a row or a file of the archive was changed.
            UnknownSuppressionError: something was erased under a secret that is not here.
        """
        (row,) = await self.ledger.fetch(_SQL["contents"])
        if row["submissions"]:
            raise FullLedgerError(f"{row['submissions']} submissions")
        if row["consents"] and not any(
            order.reason == REASON for order in await suspension_orders.every(self.ledger)
        ):
            raise FullLedgerError(f"{row['consents']} consents")
        suppressions = await read_suppressions(self.kafka, self.codec, self.secrets)
        if self.archive is None:
            return Restorable(entries=0, suppressions=suppressions, lost=())
        found = await verify_archive(self.archive, anchors)
        ends = {shard: one.last for shard, one in self.archive.ends.items()}
        lost = [fault for fault in found.faults if fault.place > ends.get(fault.shard, 0)]
        changed = [one for one in found.faults if one not in lost]
        if changed:
            first = changed[0]
            raise UnreadableArchiveError(
                f"{len(changed)} faults, the first in shard {first.shard} at place {first.place}: "
                f"{first.what}; use another copy of the archive"
            )
        return Restorable(entries=found.rows, suppressions=suppressions, lost=lost)

    async def execute(self, anchors: Sequence[Anchor], *, accept_loss: bool, by: str) -> Restored:
        """Restore; the plan of the rows is written to the folder of the archive.

        Raises:
            OurError: what was anchored is not in the archive, and that is not accepted, or
                processes of the sinks run.
            FullLedgerError: as :meth:`check` and whatever else it raises.
        """
        found = await self.check(anchors)
        if found.lost and not accept_loss:
            first = found.lost[0]
            raise OurError(
                f"rows were recorded after the archive was written: of {len(found.lost)} chains, "
                f"such as shard {first.shard} up to place {first.place}; use a later archive, or "
                "add --accept-loss: what the topics have is restored, and the history keeps what "
                "it lacks"
            )
        messages = TopicMessages(self.codec, self.kafka.topics)
        erased, numbers, rows = 0, dict[str, int](), 0
        if self.archive is not None:
            erased, numbers = await self._load(self.archive, found.suppressions, anchors)
        await self._add_registry(messages, by=by)
        held = await self._hold(messages, by=by)
        if self.archive is not None:
            await self._record(self.archive, found, numbers, by=by)
            plan = self.archive.folder / "restore.json"
            await self.rebuild.plan(plan, Selection(), by=by)
            rows = (await self.rebuild.execute(Plan.read(plan), messages, by=by))["restored"]
        keys = await self._read_state(messages, found.suppressions, by=by)
        return Restored(entries=found.entries, erased=erased, rows=rows, keys=keys, held=held)

    async def _load(
        self, archive: Archive, suppressions: Suppressions, anchors: Sequence[Anchor]
    ) -> tuple[int, dict[str, int]]:
        """Load the archive, go on with numbers behind those that it names, and keep the erasures
        of the keys that are suppressed; return how many they are, and the last numbers of anchors
        and of batches of deliveries.
        """
        tables = archive.read_registry()
        await _load_registry(self.ledger, tables)
        customers_of = await self._load_history(archive, suppressions)
        keys = sorted(customers_of)
        erased = {
            "keys": keys,
            "customers": [customers_of[key] for key in keys],
            "event_ids": [str(uuid4()) for _ in keys],
            "untils": [suppressions.until(key) for key in keys],
            "now": self.rebuild.clock(),
        }
        known = (int(one["id"]) for one in tables["anchors"] or ())
        anchor = max((1, *(one.id for one in anchors), *known))
        async with self.ledger.transaction() as connection:
            await connection.execute(_SQL["add-erased"], erased)
            found = await connection.execute(_SQL["continue-numbers"], {"anchor": anchor})
            (numbers,) = await found.fetchall()
        return len(keys), {"anchor": anchor, "batch": numbers["batch"]}

    async def _load_history(self, archive: Archive, suppressions: Suppressions) -> dict[str, str]:
        """Load every file, month by month; one that is loaded is only looked through. Return the
        keys that are suppressed, each with its customer.

        Raises:
            BrokenHistoryError: a chain of the ledger does not end where a file begins.
            UnreadableArchiveError: a file was changed.
        """
        erased: dict[str, str] = {}
        done, total = 0, sum(file.last - file.first + 1 for file in archive.in_order())
        reader = DecisionReader(history_codec())
        for one in archive.in_order():
            text, is_whole = await asyncio.to_thread(archive.read_rows, one)
            if not is_whole:
                raise UnreadableArchiveError(f"{one.name} was changed since it was written")
            rows = list(rows_of(text))
            await _load_file(self.ledger, one, text, rows, reader)
            for row in rows:
                if row.key is not None and suppressions.until(row.key) is not None:
                    erased[row.key] = row.customer_id
            done += len(rows)
            self.on_load(done, total)
        return erased

    async def _add_registry(self, messages: TopicMessages, *, by: str) -> None:
        """Add the brands and API keys of the topics that the archive does not have."""
        now = self.rebuild.clock()
        found = [one async for one in self._latest(self.kafka.topics.brands)]
        known = {one.customer_id: one for one in await customers.every(self.ledger)}
        for customer in sorted({one["customer_id"] for one in found} - known.keys()):
            # Its name is in no topic.
            await customers.add(self.ledger, customer, customer, by=by, now=now)
        stored = {one.brand_code: one for one in await brands.every(self.ledger)}
        for one in found:
            customer_of = known.get(one["customer_id"])
            if customer_of is not None and customer_of.offboarded_at is not None:
                continue  # what the archive has of a customer that was offboarded stands
            suspension = one.pop("suspension")
            brand, before = Brand(**one), stored.get(one["brand_code"])
            if before is None or any(getattr(before, name) != one[name] for name in one):
                await brands.upsert(self.ledger, messages, brand, by=by, now=now)
            if suspension is not None and (before is None or before.suspension is None):
                target, parts = Target(brand_code=brand.brand_code), [Part.GATE]
                await suspension_orders.suspend(
                    self.ledger, messages, target, parts, reason=suspension, by=by, now=now
                )
        keys = sorted(
            [one async for one in self._latest(self.kafka.topics.api_keys)],
            key=lambda one: (one["name"], one["created_at"]),
        )
        rows = list(map(_key_row, keys, [*keys[1:], None]))
        async with self.ledger.transaction() as connection:
            await connection.execute(_SQL["load-api_keys"], {"rows": orjson.dumps(rows).decode()})

    async def _latest(self, topic: Topic) -> AsyncIterator[dict[str, Any]]:
        """Yield the latest record of each key of a topic."""
        latest: dict[bytes, bytes | None] = {}
        async for message in every_record(self.kafka, topic.name):
            latest[message.key() or b""] = message.value()
        for value in latest.values():
            if value is not None:
                yield self.codec.decode(topic.record, value)

    async def _hold(self, messages: TopicMessages, *, by: str) -> list[str]:
        """Hold the calls of every customer back until a person resumes them; return whose."""
        held = {
            order.customer_id
            for order in await suspension_orders.every(self.ledger)
            if order.part == Part.IYS
        }
        every = [customer.customer_id for customer in await customers.every(self.ledger)]
        for one in every:
            if one not in held:
                await suspension_orders.suspend(
                    self.ledger,
                    messages,
                    Target(customer_id=one),
                    [Part.IYS],
                    reason=REASON,
                    by=by,
                    now=self.rebuild.clock(),
                )
        return every

    async def _record(
        self,
        archive: Archive,
        found: Restorable,
        numbers: Mapping[str, int],
        *,
        by: str,
    ) -> None:
        """Append the act: from which archive, and within which bounds something is lost."""
        async with self.ledger.transaction() as connection:
            await record_act(
                connection,
                RESTORED,
                rebuild_key("ledger"),
                by=by,
                now=self.rebuild.clock(),
                before={},
                after={
                    "folder": str(archive.folder.absolute()),
                    "digest": archive.digest,
                    "rows": found.entries,
                    "lost": {str(fault.shard): fault.place for fault in found.lost},
                    "ends": {str(shard): one.last for shard, one in archive.ends.items()},
                    **numbers,
                },
            )

    async def _read_state(
        self, messages: TopicMessages, suppressions: Suppressions, *, by: str
    ) -> int:
        """Add what the topic of desired consents has beyond the history; return how many keys it
        has.
        """
        bootstrapper = Bootstrapper(
            ledger=self.ledger,
            topic_messages=messages,
            codec=self.codec,
            settings=self.kafka,
            clock=self.rebuild.clock,
            is_suppressed=suppressions.covers,
        )
        async with living(self.ledger):
            await bootstrapper.begin(await bootstrapper.everything(), by=by)
            await bootstrapper.run(self.on_read)
        return sum(one.keys for one in await bootstrapper.progress())


async def _load_registry(ledger: Ledger, tables: Mapping[str, Any]) -> None:
    """Put the registry back; what is there already stays as it is."""
    async with ledger.transaction() as connection:
        for name in TABLES:
            await connection.execute(
                _SQL[f"load-{name}"], {"rows": orjson.dumps(tables.get(name) or []).decode()}
            )
        await connection.execute(
            _SQL["retain-history_months"],
            {"rows": orjson.dumps(tables.get("history_months") or []).decode()},
        )
        for cut in tables.get("chain_cuts") or ():
            await connection.execute(
                _SQL["begin-chain"], {**cut, "link": bytes.fromhex(cut["link"].removeprefix("\\x"))}
            )


async def _load_file(
    ledger: Ledger,
    one: ArchivedFile,
    text: bytes,
    rows: Sequence[ArchivedRow],
    reader: DecisionReader,
) -> None:
    """Load the ``rows`` of a file, which are in ``text``, unless they are there."""
    async with ledger.transaction() as connection:
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
        await connection.execute(_HISTORY["save-head"], values)
        nexts: dict[tuple[str, int], int] = {}
        for row in rows:
            if row.decision is None:
                continue
            with suppress(UndecodableError):  # of a release to come: it is looked up, if it repeats
                decision = reader.read(row.decision)
                place = decision.topic, decision.partition
                nexts[place] = max(nexts.get(place, 0), decision.offset + 1)
        recorded = {
            "topics": [topic for topic, _ in nexts],
            "partitions": [partition for _, partition in nexts],
            "nexts": list(nexts.values()),
        }
        await connection.execute(_HISTORY["save-recorded"], recorded)


def _key_row(key: Mapping[str, Any], following: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the row of an API key; one with the same name ``following`` it has replaced it."""
    is_replaced = following is not None and following["name"] == key["name"]
    return {
        **key,
        "secret_hash": f"\\x{bytes(key['secret_hash']).hex()}",
        "replaced_at": following["created_at"] if is_replaced and following else None,
    }
