"""Rebuild the topic of permissions: what it says of each key, compared with the rows of the ledger.

A permission is published when its answer, its reason or its retailers change, so those are compared
and the instant since when it holds; the other fields are as they were then. What differs is written
through the outbox, in one transaction with a lock on the row: its place among the records of the
key is right, and it never says less than what was published before.
"""

import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from izin.replay.errors import LiveGroupError, UnfitSelectionError
from izin.replay.ledger.permission_comparer import PermissionComparer, permitted
from izin.runtime.plan import Plan, Selection, bounds_of
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.sinks.ledger import retailers
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.db.processes import living
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.acts import act, rebuild_key
from izin.sinks.ledger.unit_of_work import UnitOfWork, append_messages, lock
from izin.sinks.record.messages import Message, TopicMessages

KIND, TARGET = "rebuild", "permissions"
_PAGE = 1000
_REBUILD = statements("rebuild")
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
        cluster_id, topics = bounds_of(self.kafka, {self._topic: True})
        rebuild = secrets.token_hex(8)
        comparer = PermissionComparer(
            ledger=self.ledger, kafka=self.kafka, codec=self.codec, clock=self.clock
        )
        digests = await comparer.compare(rebuild)
        plan = Plan(
            kind=KIND,
            target=TARGET,
            selection=selection,
            options={"rebuild": rebuild, "differences": await self.counts(rebuild), **digests},
            cluster_id=cluster_id,
            topics=topics,
            made_at=self.clock(),
            by=by,
        )
        plan.write(path)
        return plan

    async def check(self, plan: Plan) -> None:
        """Refuse a plan that cannot be executed now.

        Raises:
            LiveGroupError: processes of the sinks run.
            PlanMovedError: the topic, or the law, has moved.
        """
        (row,) = await self.ledger.fetch(_REBUILD["is-alone"], {"owner": self.ledger.owner})
        if not row["is_alone"]:
            raise LiveGroupError("other processes of the sinks", row["others"], "stop them")
        cluster_id, topics = bounds_of(self.kafka, {self._topic: True})
        now = Plan(
            kind=plan.kind,
            target=plan.target,
            selection=plan.selection,
            cluster_id=cluster_id,
            topics=topics,
            made_at=self.clock(),
            by=plan.by,
        )
        plan.check(now)

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

    async def counts(self, rebuild: str) -> dict[str, int]:
        """Return how many keys differ, by kind."""
        rows = await self.ledger.fetch(_SQL["counts"], {"rebuild": rebuild})
        return {row["kind"]: row["keys"] for row in rows}

    async def differences(self, plan: Plan) -> AsyncIterator[PermissionDifference]:
        """Yield the keys that differ, in order."""
        values = {"rebuild": plan.options["rebuild"], "after": "", "size": _PAGE}
        while rows := await self.ledger.fetch(_SQL["differences"], values):
            for row in rows:
                yield PermissionDifference(**row)
            values["after"] = rows[-1]["key"]

    @property
    def _topic(self) -> str:
        return self.kafka.topics.permissions.name

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
                permission = permitted(row, now)
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
            await append.append(connection, [_act(plan, len(messages), by, now)], now=now)
            await connection.execute(_SQL["written"], {"keys": keys})
        return len(messages)


def _act(plan: Plan, count: int, by: str, now: datetime) -> append.Movement:
    """Return the movement of the records that a transaction has written."""
    after = {"records": count, "plan": plan.digest}
    key = rebuild_key(TARGET)
    return act("rebuild permissions", key, by=by, now=now, before={}, after=after)
