"""Put aside what the ledger cannot take: which record is at fault, and how many may be.

Only what another record would not have caused is a record's fault: a value that PostgreSQL refuses,
and an error of our own pure code. A lost connection, a conflict, a server that restarts or refuses
every statement, a registry out of reach: none of them ever puts a record aside.

An opt-out (RET) closes its key whatever else is wrong with its record. What of it can be read, be
it the beginning of truncated bytes, becomes an opt-out of our own at the same instant: the law
admits and decides it like any other. It names the record that it stands for, which stays in the
dead letters.

As in the order stage there is a budget: where our own code fails on too many records of a source,
the fault is taken for ours. Then the position of the partition stays, and of what comes only the
opt-outs are stored, until a person has acted and the worker was restarted. The ledger knows no
order of arrival, so whatever is stored later gives the same rows.
"""

from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, NamedTuple, TypeVar
from uuid import UUID, uuid5

from confluent_kafka import Message
from prometheus_client import CollectorRegistry, Counter as Total, Gauge

from izin.consent import (
    FIRST_DATE,
    ConsentEvent,
    IllegalTransitionError,
    IzinError,
    NaiveInstantError,
    OutsideCalendarError,
    RefusedEvent,
    Source,
    SourceError,
    Status,
    admit,
    decide,
)
from izin.kafka.connections import headers_of
from izin.ledger.record import POISON, IllegalChangeError, QuarantinedRecord, RefusedValueError
from izin.runtime.dead_letter_budget import BUDGET, DeadLetterBudget, LatestRecords
from izin.runtime.logs import get_logger
from izin.schemas.codec import Codec, UndecodableError, UnknownSchemaError
from izin.schemas.fast.reader import append_instant, instant_of, long_of
from izin.schemas.generated.decision_offsets import head_offsets
from izin.schemas.records import consent_to_avro, event_to_avro, violation_to_avro
from izin.sinks.ingest.decision_reader import IncomingDecision

_log = get_logger(__name__)

T = TypeVar("T")

UNREADABLE = "unreadable"
"""The source of a record of which nothing can be read."""
_OF_A_RECORD = (
    SourceError,
    RefusedValueError,
    IllegalChangeError,
    IllegalTransitionError,
    NaiveInstantError,
    OutsideCalendarError,
)
_OF_THE_MACHINE = (OSError, MemoryError)
ORIGIN = "quarantine"
"""The origin of events that stand for an opt-out in the dead letters."""
_OPT_OUTS = UUID("b9a5a2b6-5c9e-5d0a-8f51-0d6f5f7e6a11")


class Gleaned(NamedTuple):
    """What could be read of a decision."""

    source: str
    """Customer and origin of its event."""
    status: str
    effective_at: datetime | None
    customer_id: str
    key: Mapping[str, Any]
    """The fields of the key, as the contracts name them."""


def glean(codec: Codec, value: bytes) -> Gleaned | None:
    """Return what can be read of a decision; None where not even its key and status can.

    An event that is an opt-out makes it one, though a newer opt-in may have won.
    """
    try:
        decision = codec.decode("Decision", value)
    except UndecodableError:
        return _beginning(value, codec.header("Decision"))
    consent, event = decision["consent"], decision["event"]
    return Gleaned(
        f"{event['customer_id']}/{event['origin']}",
        str(Status.RET if Status.RET in {event["status"], consent["status"]} else Status.ONAY),
        decision["effective_at"],
        consent["customer_id"],
        {name: consent[name] for name in ("brand_code", "type", "recipient_type", "recipient")},
    )


def opt_out(codec: Codec, gleaned: Gleaned, record: QuarantinedRecord) -> bytes | None:
    """Return the decision on the opt-out that stands for ``record``, encoded; None where the law
    can build no key of it.
    """
    appended_at, stated = record.appended_at, gleaned.effective_at
    is_instant = stated is not None and stated >= FIRST_DATE
    place = f"{record.topic}/{record.partition}/{record.offset}"
    event = ConsentEvent(
        event_id=str(uuid5(_OPT_OUTS, place)),
        customer_id=gleaned.customer_id,
        status=str(Status.RET),
        source=str(Source.HS_KARAR),
        consent_date=min(stated, appended_at) if stated is not None and is_instant else appended_at,
        received_at=appended_at,
        origin=ORIGIN,
        origin_ref=place,
        **gleaned.key,
    )
    admitted = admit(event, appended_at=appended_at)
    if isinstance(admitted, RefusedEvent):
        return None
    decision = decide(None, admitted)
    return codec.encode(
        "Decision",
        {
            "kind": decision.kind,
            "reason": decision.reason,
            "opted_out": decision.opted_out,
            "effective_at": admitted.effective_at,
            "violations": [violation_to_avro(violation) for violation in admitted.violations],
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "consent": consent_to_avro(decision.consent),
            "event": event_to_avro(admitted.event),
        },
    )


def _beginning(data: bytes, header: bytes) -> Gleaned | None:
    """Return what the bytes of a Decision have up to its status."""
    if not data.startswith(header):
        return None
    try:
        *_, effective, at = head_offsets(data, len(header))
        # Of a customer only a part may be readable: the key does not need it.
        customer, at = _text(data, at, errors="replace")
        brand_code, at = long_of(data, at)
        channel, at = _text(data, at)
        recipient_type, at = _text(data, at)
        recipient, at = _text(data, at)
        status, at = _text(data, at)
    except (IndexError, ValueError, TypeError):
        return None
    key = {
        "brand_code": brand_code,
        "type": channel,
        "recipient_type": recipient_type,
        "recipient": recipient,
    }
    return Gleaned(customer, status, instant_of(effective), customer, key)


def _text(data: bytes, at: int, errors: str = "strict") -> tuple[str, int]:
    """Read a text; raises ValueError where it is cut off, for half a recipient is another's."""
    size, at = long_of(data, at)
    if size < 0 or at + size > len(data):
        raise ValueError("cut off")
    return data[at : at + size].decode(errors=errors), at + size


def is_poison(error: Exception) -> bool:
    """Whether ``error`` is the fault of a record that was being read or stored."""
    if isinstance(error, IzinError):
        return isinstance(error, _OF_A_RECORD)
    return not isinstance(error, _OF_THE_MACHINE)


async def store_apart(
    items: Sequence[T],
    store: Callable[[Sequence[T]], Awaitable[None]],
    set_aside: Callable[[T, Exception], Awaitable[None]],
) -> None:
    """Store ``items`` in their order, in parts of half the size where some cannot be stored
    together; the one that is at fault, alone, is to be ``set_aside``.

    Those at fault often come one after the other: what follows one is stored alone, and parts of
    twice the size after each that could be stored.

    Raises what is no record's fault.
    """
    start, size = 0, len(items)
    while start < len(items):
        part = items[start : start + size]
        try:
            await store(part)
        except Exception as error:
            if not is_poison(error):
                raise
            if len(part) > 1:
                size = len(part) // 2
                continue
            await set_aside(part[0], error)
            size = 1
        else:
            size *= 2
        start += len(part)


def quarantine(
    codec: Codec, message: Message, error: Exception
) -> tuple[QuarantinedRecord, bytes | None]:
    """Return ``message`` as it is put aside for ``error``, and the decision on the opt-out that
    stands for it, encoded; None where it is no opt-out, or has no key.
    """
    value = message.value()
    gleaned = None if value is None else glean(codec, value)
    record = replace(
        put_aside(message, error),
        source=UNREADABLE if gleaned is None else gleaned.source,
        is_ret=gleaned is not None and gleaned.status == "RET",
    )
    if gleaned is None or not record.is_ret:
        return record, None
    try:
        return record, opt_out(codec, gleaned, record)
    except Exception as fault:
        if is_poison(fault):
            return record, None
        raise


def put_aside(message: Message, error: Exception) -> QuarantinedRecord:
    """Return ``message`` as it is put aside for ``error``, whatever it has."""
    return QuarantinedRecord(
        topic=message.topic() or "",
        partition=message.partition() or 0,
        offset=message.offset() or 0,
        appended_at=append_instant(message.timestamp()[1]),
        key=_bytes(message.key()),
        value=_bytes(message.value()),
        headers=[(name, _bytes(content)) for name, content in headers_of(message)],
        reason=_reason(error),
        error=type(error).__name__,
        source=UNREADABLE,
        is_ret=False,
    )


def _reason(error: Exception) -> str:
    if isinstance(error, UnknownSchemaError):
        return "unknown-schema"
    return "undecodable" if isinstance(error, UndecodableError) else POISON


def _bytes(content: bytes | str | None) -> bytes | None:
    return content.encode() if isinstance(content, str) else content


class Record(NamedTuple):
    """One message of the topic; neither decision nor quarantined: the end of a partition."""

    message: Message
    decision: IncomingDecision | None = None
    """What is stored of it; of a quarantined opt-out the one that stands for it."""
    quarantined: QuarantinedRecord | None = None

    @property
    def partition(self) -> int:
        """The partition."""
        return self.message.partition() or 0

    @property
    def is_opt_out(self) -> bool:
        """Whether it may not wait."""
        if self.quarantined is not None:
            return self.quarantined.is_ret
        return self.decision is not None and self.decision.is_ret


class Isolation:
    """Which partitions are paused, what is put aside, and the metrics of both."""

    def __init__(
        self, budget: DeadLetterBudget = BUDGET, registry: CollectorRegistry | None = None
    ) -> None:
        self.paused: set[int] = set()
        """The partitions whose opt-ins wait for a person."""
        self.restoring: frozenset[int] = frozenset()
        """The partitions whose opt-ins wait until their keys are restored (``bootstrap``)."""
        self._latest: defaultdict[int, LatestRecords] = defaultdict(lambda: LatestRecords(budget))
        self._quarantined = Total(
            "izin_quarantined_decisions",
            "Records of the topic of decisions that the ledger could not take, by reason",
            ["reason", "is_ret"],
            registry=registry,
        )
        self._paused = Gauge(
            "izin_ingest_partitions_paused",
            "Partitions of the topic of decisions whose opt-ins wait for a person",
            registry=registry,
        )

    @property
    def held(self) -> frozenset[int]:
        """The partitions whose position stays, and of which only opt-outs are stored."""
        return self.restoring | self.paused

    def passing(self, records: Sequence[Record]) -> Sequence[Record]:
        """Return those of ``records`` that may be stored, after pausing partitions in which too
        many are put aside.
        """
        suspects, counts = _count(records)
        for partition, by_source in suspects.items():
            source = self._latest[partition].exceeded_by(by_source, counts[partition])
            if source is not None and partition not in self.paused:
                self._pause(partition, source)
        held = self.held
        if not held:
            return records
        return [record for record in records if record.partition not in held or record.is_opt_out]

    def stored(self, records: Sequence[Record]) -> None:
        """Count ``records`` once they are stored, and call a person for those put aside."""
        suspects, counts = _count(records)
        for partition, count in counts.items():
            self._latest[partition].add(suspects.get(partition, {}), count)
        for record in records:
            if record.quarantined is not None:
                self._alert(record.quarantined, is_closed=record.decision is not None)

    def _pause(self, partition: int, source: str) -> None:
        self.paused.add(partition)
        self._paused.set(len(self.paused))
        _log.critical(
            "opt-ins paused",
            partition=partition,
            source=source,
            effect="its opt-ins wait; its opt-outs and the other partitions go on",
            remedy="if the last deploy is at fault, take it back; if the records are, set "
            "IZIN_DEAD_LETTER_SHARE higher (1: no bound); then restart",
        )

    def _alert(self, record: QuarantinedRecord, *, is_closed: bool) -> None:
        self._quarantined.labels(record.reason, str(record.is_ret).lower()).inc()
        place = {"topic": record.topic, "partition": record.partition, "offset": record.offset}
        if record.is_ret:
            _log.critical(
                "opt-out quarantined",
                **place,
                error=record.error,
                closed=is_closed,
                remedy="izin dead-letters has it as it was; "
                + ("its permission is closed" if is_closed else "nothing was closed: act by hand"),
            )
        else:
            _log.critical(
                "decision quarantined",
                **place,
                error=record.error,
                remedy="izin dead-letters has it as it was; where it is unreadable, it may be an "
                "opt-out",
            )


def _count(records: Sequence[Record]) -> tuple[Mapping[int, Counter[str]], Counter[int]]:
    """Return how many are put aside, by partition and source, and how many there are."""
    suspects: defaultdict[int, Counter[str]] = defaultdict(Counter)
    counts: Counter[int] = Counter()
    for record in records:
        if record.quarantined is not None:
            suspects[record.partition][record.quarantined.source] += 1
        counts[record.partition] += record.decision is not None or record.quarantined is not None
    return suspects, counts
