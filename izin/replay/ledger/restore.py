"""A ledger from nothing: from an archive of its history and the topics, or from the topics alone.

What was erased is known first. Then the history is loaded, the rows are made from it, and what the
topic of desired consents has beyond it is added. What İYS holds is unknown until it is asked, and
every brand's calls are held back until a person resumes them, so that the asking can be looked at
before. No step is done twice: a restoration that was stopped goes on.
"""

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from izin.replay.errors import LostMovementsError
from izin.replay.ledger.loader import HistoryLoader, Loaded, load_registry
from izin.replay.ledger.rebuild import LedgerRebuild
from izin.runtime.plan import Plan, Selection
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SuppressionKeys
from izin.schemas.topics import Topic
from izin.sinks.ingest.bootstrap import Bootstrapper
from izin.sinks.ingest.suppressions import Suppressions, read_suppressions
from izin.sinks.ingest.topic_reader import every_record
from izin.sinks.ledger import brands
from izin.sinks.ledger.archive.folder import Archive
from izin.sinks.ledger.archive.reader import verify_archive
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.processes import living
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.acts import RESTORED, rebuild_key, record_act
from izin.sinks.ledger.history.chain_check import Fault
from izin.sinks.ledger.offsets import Bootstrap
from izin.sinks.ledger.registry import customers, suspension_orders
from izin.sinks.ledger.registry.suspension_orders import Part, Target
from izin.sinks.record.anchor import Anchor
from izin.sinks.record.brand import Brand
from izin.sinks.record.errors import FullLedgerError, UnreadableArchiveError
from izin.sinks.record.messages import TopicMessages

REASON = "the ledger was restored; İYS is asked once this ends"
_SQL = statements("archive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Restorable:
    """What there is to restore from."""

    movements: int
    """Of the archive."""
    suppressed: int
    """The keys that were erased."""
    lost: Sequence[Fault]
    """What was anchored and is not in the archive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Restored:
    """What was restored."""

    movements: int
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
    on_load: Callable[[int, int], None] = lambda *_: None
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
        await self._refuse_full()
        suppressions = await read_suppressions(self.kafka, self.codec, self.secrets)
        if self.archive is None:
            return Restorable(movements=0, suppressed=len(suppressions), lost=())
        found = await verify_archive(self.archive, anchors)
        ends = {shard: one.last for shard, one in self.archive.ends.items()}
        lost = [one for one in found.faults if one.place > ends.get(one.shard, 0)]
        changed = [one for one in found.faults if one not in lost]
        if changed:
            first = changed[0]
            raise UnreadableArchiveError(
                f"{len(changed)} faults, the first in shard {first.shard} at place {first.place}: "
                f"{first.what}; use another copy of the archive"
            )
        return Restorable(movements=found.rows, suppressed=len(suppressions), lost=lost)

    async def execute(self, anchors: Sequence[Anchor], *, accept_loss: bool, by: str) -> Restored:
        """Restore; the plan of the rows is written to the folder of the archive.

        Raises:
            LostMovementsError: what was anchored is not in the archive, and that is not accepted.
            LiveGroupError: processes of the sinks run.
            FullLedgerError: as :meth:`check` and whatever else it raises.
        """
        found = await self.check(anchors)
        if found.lost and not accept_loss:
            raise LostMovementsError([(one.shard, one.place) for one in found.lost])
        suppressions = await read_suppressions(self.kafka, self.codec, self.secrets)
        messages = TopicMessages(self.codec, self.kafka.topics)
        erased = rows = 0
        loaded = None
        if self.archive is not None:
            loaded, anchor = await self._load(self.archive, suppressions, anchors)
            erased = len(loaded.erased)
        await self._add_registry(messages, by=by)
        held = await self._hold(messages, by=by)
        if self.archive is not None and loaded is not None:
            await self._record(self.archive, found, loaded, anchor, by=by)
            plan = self.archive.folder / "restore.json"
            await self.rebuild.plan(plan, Selection(), by=by)
            rows = (await self.rebuild.execute(Plan.read(plan), messages, by=by)).restored
        keys = await self._read_state(messages, suppressions, by=by)
        return Restored(movements=found.movements, erased=erased, rows=rows, keys=keys, held=held)

    async def _refuse_full(self) -> None:
        (row,) = await self.ledger.fetch(_SQL["contents"])
        if row["submissions"]:
            raise FullLedgerError(f"{row['submissions']} submissions")
        orders = await suspension_orders.every(self.ledger)
        if row["consents"] and not any(one.reason == REASON for one in orders):
            raise FullLedgerError(f"{row['consents']} consents")

    async def _load(
        self, archive: Archive, suppressions: Suppressions, anchors: Sequence[Anchor]
    ) -> tuple[Loaded, int]:
        """Load the archive; return what was loaded, and the last anchor before, by its id."""
        tables = archive.read_registry()
        await load_registry(self.ledger, tables)
        loader = HistoryLoader(self.ledger, suppressions, self.on_load)
        loaded = await loader.load(archive)
        last = max((one.id for one in anchors), default=0)
        known = max((int(one["id"]) for one in tables["anchors"] or ()), default=0)
        anchor = max(last, known, 1)
        await loader.finish(loaded, anchor=anchor, now=self.rebuild.clock())
        return loaded, anchor

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
        await self._add_api_keys()

    async def _add_api_keys(self) -> None:
        keys = sorted(
            [one async for one in self._latest(self.kafka.topics.api_keys)],
            key=lambda one: (one["name"], one["created_at"]),
        )
        rows = list(map(_key_row, keys, [*keys[1:], None]))
        async with self.ledger.transaction() as connection:
            values = {"rows": orjson.dumps(rows).decode()}
            await connection.execute(_SQL["load-api_keys"], values)

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
        orders = await suspension_orders.every(self.ledger)
        held = {one.customer_id for one in orders if one.part == Part.IYS}
        every = [one.customer_id for one in await customers.every(self.ledger)]
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
        self, archive: Archive, found: Restorable, loaded: Loaded, anchor: int, *, by: str
    ) -> None:
        """Append the act: from which archive, and within which bounds something is lost."""
        now = self.rebuild.clock()
        async with self.ledger.transaction() as connection:
            await record_act(
                connection,
                RESTORED,
                rebuild_key("ledger"),
                by=by,
                now=now,
                before={},
                after={
                    "folder": str(archive.folder.absolute()),
                    "digest": archive.digest,
                    "rows": found.movements,
                    "lost": {str(one.shard): one.place for one in found.lost},
                    "ends": {str(shard): one.last for shard, one in archive.ends.items()},
                    "anchor": anchor,
                    "batch": loaded.numbers["batch"],
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


def _key_row(key: Mapping[str, Any], following: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the row of an API key; one with the same name ``following`` it has replaced it."""
    is_replaced = following is not None and following["name"] == key["name"]
    return {
        **key,
        "secret_hash": f"\\x{bytes(key['secret_hash']).hex()}",
        "replaced_at": following["created_at"] if is_replaced and following else None,
    }
