"""A ledger that has lost transactions: nothing is published or submitted until it has caught up.

How far the ledger has read the decisions it announces in ``ledger-positions``, by its own outbox,
so only once the transaction is committed. A ledger that is behind the last announcement was
restored from a backup, or a standby took over that lacked the last transactions. What its outbox
has was published before, or is no longer true: a permission of then may have been withdrawn since.
What is due to İYS in it may have been submitted since.

So the relay waits, and whatever submits, and whatever brings in what İYS has: our own consents of
since would look like another's, and a rescue would undo them. The decisions are read again up to
the announcement. Then what İYS holds is unknown for every key of which something may have happened
since: its permission is withdrawn until İYS was asked (``fold.LOST``), unless it is an opt-out
anyway, which is submitted at once, for none may wait. İYS settles one that it has already (H174).

What the chains of the history had beyond the moment is lost. An act says so, within the anchors
that were published: the next anchor proves it, and ``izin ledger verify`` takes nothing else for
that loss.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from izin.kafka.bounded_reader import reading, record_of
from izin.ledger import brands, offsets
from izin.ledger.db import fetch, statements
from izin.ledger.history import RESTORED, rebuild_key, record_act
from izin.ledger.record import RESCUE, ConsentRow, StreamUnavailableError
from izin.ledger.record.apply import unregistered
from izin.ledger.unit_of_work import lock, unit_of_work
from izin.runtime.errors import BrokerError
from izin.runtime.logs import get_logger
from izin.schemas.topics import Topic
from izin.sinks.ingest.ingested_topics import IngestContext

RELEASED = "release ledger"
"""What the act is called that says that a ledger has caught up; nobody orders it."""
_BY = "izin"
_PAGE = 1000
_UNPUBLISHED = 1000
"""More anchors than are in the anchor file and not in Kafka yet."""
_SQL = statements("catch_up")
_log = get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class CatchUp(IngestContext):
    """Holds a ledger that has lost transactions, and releases it."""

    async def begin(self) -> None:
        """Hold the ledger where it is behind what it has announced; before anything else is done.

        Raises:
            StreamUnavailableError: Kafka cannot be read.
            LedgerUnavailableError: the ledger does not answer.
        """
        topics = self.settings.topics
        announced = await self._last(topics.ledger_positions)
        if announced is None:
            return
        nexts = dict(enumerate(announced["decisions_offsets"]))
        now = self.clock()
        values = {
            "topic": topics.decisions.name,
            "topic_id": announced["decisions_topic_id"],
            "partitions": list(nexts),
            "nexts": list(nexts.values()),
            "now": now,
        }
        async with self.ledger.transaction() as connection:
            behind = await fetch(connection, _SQL["hold"], values)
            if not behind:
                return
            lost = sum(row["announced_offset"] - row["next_offset"] for row in behind)
            last = await self._last(topics.anchors)
            anchor = _UNPUBLISHED + (0 if last is None else last["anchor_id"])
            ends = await fetch(connection, _SQL["ends"])
            (numbers,) = await fetch(connection, _SQL["continue-numbers"], {"anchor": anchor})
            await record_act(
                connection,
                RESTORED,
                rebuild_key("ledger"),
                by=_BY,
                now=now,
                before={"offsets": {str(row["partition"]): row["next_offset"] for row in behind}},
                after={
                    "offsets": {str(row["partition"]): row["announced_offset"] for row in behind},
                    "ends": {str(row["shard"]): row["place"] for row in ends},
                    "anchor": anchor,
                    "batch": numbers["batch"],
                },
            )
        _log.critical(
            "ledger is behind what it has announced",
            partitions=len(behind),
            decisions=lost,
            effect="it was restored, or a standby lacked transactions: nothing is published or "
            "submitted until it has caught up, and İYS is asked about what changed since",
        )

    async def ready(self) -> None:
        """Return once the ledger may publish; raises as ``begin``."""
        await self.begin()
        await offsets.until_released(self.ledger)

    async def step(self) -> None:
        """Release the ledger, if it is held and has caught up."""
        held = await offsets.held(self.ledger)
        if held is None or held.is_behind:
            return
        asked, after = 0, ""
        values = {"since": held.since, "size": _PAGE}
        while page := await self.ledger.fetch(_SQL["changed"], {**values, "after": after}):
            asked += await self._ask([row["key"] for row in page])
            after = page[-1]["key"]
        now = self.clock()
        async with self.ledger.transaction() as connection:
            topic = {"topic": self.settings.topics.permissions.name}
            await connection.execute(_SQL["superseded"], topic)
            lanes = [self.settings.topics.events.name, self.settings.topics.express.name]
            events = await fetch(connection, _SQL["events"], {"lanes": lanes, "since": held.since})
            rescues = [row["id"] for row in events if self._is_rescue(row["value"])]
            await connection.execute(_SQL["unsaid"], {"ids": rescues})
            await connection.execute(_SQL["release"])
            await record_act(
                connection,
                RELEASED,
                rebuild_key("ledger"),
                by=_BY,
                now=now,
                before={"held_since": held.since.isoformat()},
                after={"keys_asked_about": asked},
            )
        _log.warning("ledger has caught up", keys_asked_about=asked)

    def _is_rescue(self, value: bytes) -> bool:
        return bool(self.codec.decode("ConsentEvent", value)["origin"] == RESCUE)

    async def _ask(self, keys: Sequence[str]) -> int:
        """Forget what İYS holds of ``keys``, so that it is asked; return of how many."""
        now, asked = self.clock(), 0
        async with unit_of_work(self.ledger, self.topic_messages, now) as changes:
            rows = await lock(changes.connection, keys)
            known = await brands.of_codes(
                changes.connection, {row.brand_code for row in rows.values()}
            )
            for row in rows.values():
                after: ConsentRow = unregistered(row)
                if after != row:
                    changes.rule(row, after, known.get(row.brand_code))
                    asked += 1
        return asked

    async def _last(self, topic: Topic) -> Mapping[str, Any] | None:
        """Return the last record of a topic of one partition; None: there is none.

        Raises:
            StreamUnavailableError: Kafka cannot be read.
        """

        def read() -> Mapping[str, Any] | None:
            with reading(self.settings, topic) as reader:
                latest = reader.latest(reader.ends()).get(0)
            record = None if latest is None else record_of(latest, self.codec, topic)
            return None if record is None else record.value

        try:
            return await asyncio.to_thread(read)
        except BrokerError as error:
            raise StreamUnavailableError(f"{topic.name}: {error}") from error
