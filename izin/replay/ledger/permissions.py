"""Rebuild the topic of permissions: what it says of each key, compared with the rows of the ledger.

A permission is published when its answer, its reason or its retailers change, so those are compared
and the instant since when it holds; the other fields are as they were then. What differs is written
through the outbox, in one transaction with a lock on the row: its place among the records of the
key is right, and it never says less than what was published before.
"""

import hashlib
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson

from izin.replay.errors import UnfitSelectionError
from izin.replay.ledger.rebuild import LISTED, refuse_others
from izin.replay.topic_tables import TopicTables
from izin.runtime.plan import REBUILD, Plan, Selection, bounds_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger import retailers
from izin.sinks.ledger.db import copy_format
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.leases import living
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history.append import rebuild_key, record_act
from izin.sinks.ledger.unit_of_work import UnitOfWork, append_messages, lock
from izin.sinks.record.consent_row import TYPES, ConsentRow
from izin.sinks.record.messages import Message, TopicMessages, permitted_row

TARGET = "permissions"
_PAGE = 1000
_DIGESTS = 1 << 256
_SQL = statements("permissions")


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionDifference:
    """A key of which the topic says something else than its row."""

    key: str
    kind: str
    published: bool | None
    """What the topic says; None: nothing."""
    may_send: bool | None
    """What the row says; None: there is none."""
    reason: str | None


_Said = tuple[bool, str | None, int | None, str | None]
"""What is compared of a permission: the answer, its reason, since when (in milliseconds since
1970), and the retailers.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class PermissionRebuild:
    """Plans and executes rebuilds of the topic."""

    ledger: Ledger
    kafka: KafkaSettings
    codec: Codec
    clock: Callable[[], datetime]
    on_write: Callable[[int], None] = lambda _: None

    @property
    def messages(self) -> TopicMessages:
        """The messages of the ledger."""
        return TopicMessages(self.codec, self.kafka.topics)

    async def plan(self, path: Path, selection: Selection, *, by: str) -> Plan:
        """Compare every key, and write the plan of what would be published to ``path``.

        Raises:
            UnfitSelectionError: something is selected.
            StreamUnavailableError: Kafka cannot be reached.
        """
        if selection != Selection():
            raise UnfitSelectionError(f"the topic {TARGET}", "nothing less")
        rebuild = secrets.token_hex(8)
        now = self._now(by)
        digests = await self._compare(rebuild)
        found = {"rebuild": rebuild, "differences": await self._counts(rebuild), **digests}
        plan = replace(now, options=found)
        plan.write(path)
        return plan

    async def check(self, plan: Plan) -> None:
        """Refuse a plan that cannot be executed now.

        Raises:
            LiveGroupError: processes of the sinks run.
            PlanMovedError: the topic, or the law, has moved.
        """
        await refuse_others(self.ledger)
        plan.check(self._now(plan.by))

    async def execute(self, plan: Plan, *, by: str) -> int:
        """Put the records that differ into the outbox, which a sink worker publishes; return how
        many. One that was stopped goes on. Raises as :meth:`check` does.
        """
        written = 0
        async with living(self.ledger):
            await self.check(plan)
            while page := await self._write_page(plan, by):
                written += page
                self.on_write(written)
        return written

    async def left(self, plan: Plan) -> tuple[Mapping[str, int], Sequence[PermissionDifference]]:
        """Return how many keys differ now, by kind, and the first of them, in order."""
        rebuild = plan.options["rebuild"]
        values = {"rebuild": rebuild, "size": LISTED}
        rows = await self.ledger.fetch(_SQL["differences"], values)
        return await self._counts(rebuild), [PermissionDifference(**row) for row in rows]

    async def _counts(self, rebuild: str) -> dict[str, int]:
        rows = await self.ledger.fetch(_SQL["counts"], {"rebuild": rebuild})
        return {row["kind"]: row["keys"] for row in rows}

    def _now(self, by: str) -> Plan:
        """Return the plan that would be made now, without what differs."""
        cluster_id, topics = bounds_of(self.kafka, {self.kafka.topics.permissions.name: True})
        return Plan(
            kind=REBUILD,
            target=TARGET,
            selection=Selection(),
            cluster_id=cluster_id,
            topics=topics,
            made_at=self.clock(),
            by=by,
        )

    async def _compare(self, rebuild: str) -> dict[str, str]:
        """Note the keys that differ for ``rebuild``; return the digests of both sides: sums of
        those of their keys, for the sides come in no order.
        """
        digests = {"rows": 0, "topic": 0}
        found: list[Mapping[str, Any]] = []
        async with self.ledger.session() as connection:
            await connection.execute(_SQL["forget"])
            tables = TopicTables(kafka=self.kafka, codec=self.codec, connection=connection)
            await tables.fill_permissions()
            async with connection.cursor() as cursor:
                async for row in cursor.stream(_SQL["sides"]):
                    ours, theirs = _of_row(row, self.clock()), _of_topic(row)
                    key = row["key"] or row["topic_key"]
                    for side, said in (("rows", ours), ("topic", theirs)):
                        digests[side] += 0 if said is None else _digest_of(key, said)
                    kind = "missing" if theirs is None else "differing"
                    if row["key"] is None:
                        kind = "surplus"
                    elif ours is None or ours == theirs:
                        continue
                    customer = row["customer_id"] or row["topic_customer_id"]
                    found.append(
                        {
                            "key": key,
                            "kind": kind,
                            "customer_id": customer,
                            "may_send": row["published"],
                        }
                    )
                    if len(found) == _PAGE:
                        await self._note(rebuild, found)
                        found.clear()
            await self._note(rebuild, found)
            waiting = {"topic": self.kafka.topics.permissions.name}
            await connection.execute(_SQL["pass-over"], waiting)
        return {side: f"{digest % _DIGESTS:064x}" for side, digest in digests.items()}

    async def _note(self, rebuild: str, found: Sequence[Mapping[str, Any]]) -> None:
        values = {"rebuild": rebuild, "rows": orjson.dumps(found).decode()}
        async with self.ledger.transaction() as connection:
            await connection.execute(_SQL["add"], values)

    async def _write_page(self, plan: Plan, by: str) -> int:
        """Put one page of records into the outbox; return how many."""
        now, messages = self.clock(), list[Message]()
        async with self.ledger.transaction() as connection:
            values = {"rebuild": plan.options["rebuild"], "size": _PAGE}
            found = await (await connection.execute(_SQL["to-write"], values)).fetchall()
            if not found:
                return 0
            keys = [one["key"] for one in found]
            rows = await lock(connection, keys)
            access = await retailers.registered(connection, rows)
            changes = UnitOfWork(connection, self.messages, self.ledger.calendar, now)
            for one in found:
                row = rows.get(one["key"])
                if row is None:
                    customer = one["customer_id"]
                    messages.append(self.messages.no_permission(one["key"], customer, now))
                    continue
                permission = _permitted(row, now)
                changes.put(row, permission)
                messages.append(
                    self.messages.permission_of(
                        permission,
                        now,
                        previous=one["may_send"],
                        retailers=access.get(row.key, ()) if permission.may_send else (),
                    )
                )
            await changes.write()
            await append_messages(connection, messages, now)
            await record_act(
                connection,
                "rebuild permissions",
                rebuild_key(TARGET),
                by=by,
                now=now,
                before={},
                after={"records": len(messages), "plan": plan.digest},
            )
            await connection.execute(_SQL["written"], {"keys": keys})
        return len(messages)


def _permitted(row: ConsentRow, now: datetime) -> ConsentRow:
    """Return ``row`` with the permission that follows from it, as the sinks compute it."""
    return permitted_row(row, row, now) or row


def _digest_of(key: str, said: _Said) -> int:
    return int.from_bytes(hashlib.sha256(f"{key}{said}".encode()).digest())


def _of_row(found: Mapping[str, Any], now: datetime) -> _Said | None:
    """Return what follows from the row of ``sides``; None: there is none, or it says nothing."""
    if found["permission_reason"] is None:
        return None
    row = _permitted(ConsentRow.from_row({name: found[name] for name in TYPES}), now)
    codes = set(found["retailers"] or ()) if row.may_send else ()
    retailers_of = ",".join(map(str, sorted(codes))) or None
    return (row.may_send, row.permission_reason, _milliseconds(row.permission_since), retailers_of)


def _of_topic(found: Mapping[str, Any]) -> _Said | None:
    """Return what the topic says; None: nothing."""
    if found["topic_key"] is None:
        return None
    return (
        found["published"],
        found["published_reason"],
        _milliseconds(found["published_since"]),
        found["published_retailers"],
    )


def _milliseconds(instant: datetime | None) -> int | None:
    return None if instant is None else copy_format.microseconds(instant) // 1000
