"""The repairs of a comparison: kept in a file, and executed by it.

The plan is one as replays have it, and beside it is a file with a line for each key. Both name
recipients, so only their owner may read them. The plan has the digest of the lines: a file that was
edited is refused. Each line says when the row last changed: what moved since is left alone, and
another comparison finds it if it still differs.

Each repair enters as everything else does, and no row or date is edited. Events go to the input
lanes through the outbox, where the law decides them. A status is queried by the sink workers, by
the action that they know. A page is one transaction with its act in the history, which is how a
second execution knows that it is done.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Self

from pydantic import ConfigDict, TypeAdapter

from izin.consent import ConsentEvent, ConsentKey, RefusedEvent, admit
from izin.iys.wire_format import RegisterRecord
from izin.kafka.clients import bounds_of, check_plan
from izin.ledger import brands, retailers
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.history import HistoryEntry, act, brand_key
from izin.ledger.record import (
    RECONCILE,
    Brand,
    ConsentRow,
    Message,
    TopicMessages,
    UnregisteredBrandError,
    permitted_row,
    ruling,
)
from izin.ledger.registry.ownership import alert
from izin.ledger.unit_of_work import UnitOfWork, lock
from izin.reconcile.comparing import Difference, ReconcileScope, decisions_of
from izin.reconcile.judging import IysRecord
from izin.reconcile.remedies import KeyDecisions, Repair
from izin.runtime.plan import (
    OnProgress,
    Plan,
    PrivateLines,
    Selection,
    lines_of,
    silent,
    work_folder,
)
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import SuppressionKeys
from izin.sinks.ingest.bootstrap import StateRecord, Suppressions, read_suppressions, restore_rows
from izin.sinks.outbound import status_query
from izin.streams.fetched_record import APPENDED_AT

_PAGE = 200
_SQL = statements("reconcile")
KIND = "reconcile"
_FILE = "repairs.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyRepairs:
    """What is to be done about one key."""

    __pydantic_config__ = ConfigDict(ser_json_bytes="base64", val_json_bytes="base64")

    key: str
    customer_id: str | None
    repairs: tuple[Repair, ...]
    updated_at: datetime | None
    """When its row last changed; None: it has none."""
    event_id: str | None = None
    """The event to publish again, and from when it counts."""
    effective_at: datetime | None = None
    partition: int = 0
    offset: int = 0
    value: bytes | None = None
    """The record of ``desired-consents`` to restore from, and its place."""
    published: bool | None = None
    """What the topic of permissions says."""
    entry: IysRecord | None = None

    @classmethod
    def of(cls, differences: Sequence[Difference]) -> Self | None:
        """Return what repairs the ``differences`` of one key; None: nothing does."""
        repairs = {difference.remedy.repair for difference in differences} - {None}
        if not repairs:
            return None
        compared = differences[0].compared
        row, desired, permission = compared.row, compared.desired, compared.permission
        entries = [
            one.finding.record for one in differences if one.remedy.repair is Repair.MOVEMENT
        ]
        return cls(
            key=compared.key,
            customer_id=compared.customer_id,
            repairs=tuple(repair for repair in Repair if repair in repairs),
            updated_at=None if row is None else row.updated_at,
            event_id=None if row is None else row.desired_event_id,
            effective_at=None if row is None else row.desired_at,
            partition=0 if desired is None else desired.partition,
            offset=0 if desired is None else desired.offset,
            value=desired.value if desired is not None and Repair.RESTORE in repairs else None,
            published=None if permission is None else permission.may_send,
            entry=entries[0] if entries else None,
        )


LINES = TypeAdapter(KeyRepairs)
"""How the repairs of a key are a line of the file."""


class RepairFile:
    """Writes the plan at ``path``: the repairs as they come, and the plan itself last."""

    def __init__(self, path: Path) -> None:
        self.keys = 0
        """How many keys are to be repaired."""
        self.counts = Counter[str]()
        """How many of them by which repair."""
        self._path = path
        self._of_key: list[Difference] = []
        self._lines = PrivateLines(work_folder(path) / _FILE)

    def add(self, difference: Difference) -> None:
        """Add a difference; those of one key come together."""
        if self._of_key and self._of_key[0].key != difference.key:
            self._write()
        self._of_key.append(difference)

    def write(self, plan: Plan) -> Plan:
        """Complete the file, and write ``plan`` with its digest."""
        self._write()
        with self._lines as lines:
            digest = lines.complete()
        written = replace(
            plan,
            options={
                **plan.options,
                "keys": self.keys,
                "repairs": dict(self.counts),
                "sha256": digest,
            },
        )
        written.write(self._path)
        return written

    def _write(self) -> None:
        found = KeyRepairs.of(self._of_key) if self._of_key else None
        self._of_key = []
        if found is not None:
            self._lines.add(LINES.dump_json(found) + b"\n")
            self.keys += 1
            self.counts.update(map(str, found.repairs))


def plan_of(
    scope: ReconcileScope, kafka: KafkaSettings, *, asked: bool, now: datetime, by: str
) -> Plan:
    """Return the plan of ``scope`` as it would be made ``now``, without repairs.

    Raises:
        BrokerError: Kafka cannot be reached.
    """
    cluster_id, bounds = bounds_of(
        kafka,
        dict.fromkeys((kafka.topics.desired_consents.name, kafka.topics.permissions.name), False),
    )
    return Plan(
        kind=KIND,
        target=str(scope.brand.brand_code),
        selection=Selection(brands=frozenset({scope.brand.brand_code})),
        options={
            "channel": scope.channel and str(scope.channel),
            "since": scope.since and scope.since.isoformat(),
            "until": scope.until and scope.until.isoformat(),
            "asked": asked,
        },
        cluster_id=cluster_id,
        topics=bounds,
        made_at=now,
        by=by,
    )


def pages_of(path: Path, plan: Plan, size: int) -> Iterator[Sequence[KeyRepairs]]:
    """Yield the repairs of the ``plan`` in ``path``, ``size`` keys at a time.

    Raises:
        UnreadablePlanError: they are not those that it was made with.
    """
    lines = lines_of(work_folder(path) / _FILE, plan.options["sha256"])
    while page := list(islice(lines, size)):
        yield [LINES.validate_json(one) for one in page]


Executed = Counter[str]
"""How many keys of a plan were ``repaired``; how many have ``moved``, and were left alone, for they
changed since the plan was made; and how many an earlier execution of it has ``done_before``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RepairExecution:
    """Executes the plans of one installation."""

    ledger: Ledger
    kafka: KafkaSettings
    codec: Codec
    secrets: SuppressionKeys
    clock: Callable[[], datetime]
    progress: OnProgress = silent
    """Gets how many keys were looked at."""

    async def execute(self, path: Path, plan: Plan, *, by: str) -> Executed:
        """Execute the ``plan`` in ``path`` by the order of ``by``. One that was stopped goes on.

        Raises:
            PlanMovedError: it was made for other topics or by another law.
            UnreadablePlanError: the repairs are not those of the plan.
            ConcurrentChangeError: another process changes the same rows; execute it again.
            UnknownSuppressionError: something was erased under a secret that is not here.
            BrokerError: Kafka cannot be reached.
        """
        check_plan(plan, self.kafka)
        suppressions = Suppressions(self.secrets, {})
        if str(Repair.RESTORE) in plan.options["repairs"]:
            # A row is restored past the order stage, which knows who was erased since.
            suppressions = await read_suppressions(self.kafka, self.codec, self.secrets)
        messages = TopicMessages(self.codec, self.kafka.topics)
        done, code = Executed(), int(plan.target)
        for number, page in enumerate(pages_of(path, plan, _PAGE)):
            async with self.ledger.transaction() as connection:
                brand = (await brands.of_codes(connection, [code])).get(code)
                if brand is None:
                    raise UnregisteredBrandError(code)
                work = _RepairPage(
                    execution=self,
                    brand=brand,
                    plan=plan,
                    number=number,
                    suppressions=suppressions,
                    messages=messages,
                    by=by,
                    now=self.clock(),
                )
                done.update(await work.repair(connection, page))
            self.progress(done.total(), plan.options["keys"])
        return done


@dataclass(frozen=True, slots=True, kw_only=True)
class _RepairPage:
    """The repairs of one transaction."""

    execution: RepairExecution
    brand: Brand
    plan: Plan
    number: int
    suppressions: Suppressions
    messages: TopicMessages
    by: str
    now: datetime

    @property
    def source(self) -> str:
        """The source of its act, by which a second execution knows that it is done."""
        return f"{RECONCILE}/{self.plan.digest}/{self.number}"

    async def repair(self, connection: Connection, page: Sequence[KeyRepairs]) -> Executed:
        """Repair the keys of ``page``, unless that is done."""
        await connection.execute(_SQL["take-turn"])
        place = {"key": brand_key(self.brand.brand_code), "source": self.source}
        if await (await connection.execute(_SQL["is-done"], place)).fetchone() is not None:
            return Executed(done_before=len(page))
        keys = [one.key for one in page]
        updated = {key: row.updated_at for key, row in (await lock(connection, keys)).items()}
        fit = [
            one
            for one in page
            if updated.get(one.key) == one.updated_at and not self._is_erased(one)
        ]
        await self._restore(connection, fit)
        rows = await lock(connection, keys)
        access = await retailers.registered(connection, list(rows))
        again = [one.key for one in fit if Repair.REPUBLISH in one.repairs]
        ledger = self.execution.ledger
        decided = await decisions_of(ledger, again) if again else {}
        changes = UnitOfWork(connection, self.messages, ledger.calendar, self.now)
        for one in fit:
            row = rows.get(one.key)
            if Repair.PERMISSION in one.repairs and row is not None:
                row = changes.put(row, permitted_row(row, row, self.now) or row)
            if Repair.QUERY in one.repairs and row is not None:
                row = changes.put(row, ruling.query_again(row, RECONCILE, self.now))
            for message in self._messages_of(one, row, decided.get(one.key), access):
                changes.add_last(message)
        changes.add_entry(self._act(fit))
        await changes.write()
        return Executed(repaired=len(fit), moved=len(page) - len(fit))

    def _is_erased(self, one: KeyRepairs) -> bool:
        """Whether what a row would be restored from was erased, as its suppression says."""
        until = self.suppressions.until(one.key)
        if until is None or one.value is None:
            return False
        return self.execution.codec.decode_consent(one.value).effective_at <= until

    async def _restore(self, connection: Connection, fit: Sequence[KeyRepairs]) -> None:
        topic, codec = self.execution.kafka.topics.desired_consents.name, self.execution.codec
        records = [
            StateRecord(topic, one.partition, one.offset, codec.decode_consent(one.value))
            for one in fit
            if one.value is not None
        ]
        if records:
            alert(
                await restore_rows(
                    connection, self.execution.ledger, self.messages, records, now=self.now
                )
            )

    def _messages_of(
        self,
        one: KeyRepairs,
        row: ConsentRow | None,
        decided: KeyDecisions | None,
        access: Mapping[str, frozenset[int]],
    ) -> Sequence[Message]:
        """Return what is published about a key."""
        found, messages = [], self.messages
        if Repair.REPUBLISH in one.repairs and decided is not None:
            event = decided.event(one.event_id, one.effective_at)
            if event is not None and one.effective_at is not None:
                found.append(self._again(event, one.key, one.effective_at))
        if Repair.MOVEMENT in one.repairs and one.entry is not None:
            record = _register_record(one.entry, one.key, self.now)
            event = status_query.event_of_record(record, self.brand, self.now)
            found.append(messages.event(event, ConsentKey.parse(one.key), self.now))
        if Repair.PERMISSION in one.repairs and row is not None:
            shared = access.get(one.key, ()) if row.may_send else ()
            found.append(
                messages.permission_of(row, self.now, previous=one.published, retailers=shared)
            )
        if Repair.REMOVE_PERMISSION in one.repairs and row is None:
            customer = one.customer_id or self.brand.customer_id
            found.append(messages.no_permission(one.key, customer, self.now))
        return found

    def _again(self, event: ConsentEvent, key: str, effective_at: datetime) -> Message:
        """Return the message of an event that was decided before, which counts as it did then."""
        message = self.messages.event(event, ConsentKey.parse(key), self.now)
        appended = str(int(first_append(event, effective_at).timestamp() * 1000))
        # The order stage reads it as the last header: the outbox has the longest name last.
        return replace(message, headers={**message.headers, APPENDED_AT: appended})

    def _act(self, fit: Sequence[KeyRepairs]) -> HistoryEntry:
        entry = act(
            "reconcile",
            brand_key(self.brand.brand_code),
            by=self.by,
            now=self.now,
            before={"differing": len(fit)},
            after={
                "repairs": dict(Counter(str(repair) for one in fit for repair in one.repairs)),
                "plan": self.plan.digest,
            },
            customer_id=self.brand.customer_id,
        )
        return replace(entry, source=self.source)


def first_append(event: ConsentEvent, effective_at: datetime) -> datetime:
    """Return an instant of its first append with which ``event`` counts as it did then.

    The history has the event as it was admitted, not when the broker had it: that was about when it
    was received, and earlier only where the clock of its sender was ahead.
    """
    received_at = event.received_at or effective_at
    again = admit(event, appended_at=received_at)
    if isinstance(again, RefusedEvent) or again.effective_at == effective_at:
        return received_at
    return effective_at


def _register_record(record: IysRecord, key: str, now: datetime) -> RegisterRecord:
    parsed = ConsentKey.parse(key)
    return RegisterRecord(
        recipient=parsed.recipient,
        type=parsed.channel,
        recipient_type=parsed.recipient_type,
        status=record.value,
        source=record.source,
        consent_date=record.consent_date,
        creation_date=record.creation_date or now,
        transaction_id=record.transaction_id,
    )
