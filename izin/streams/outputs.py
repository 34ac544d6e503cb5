"""What is written of a decision, and of an erasure: rows, opt-outs, the decision itself.

A record whose outputs are too large for a Kafka record would stop its partition for ever. A RET
among them has lost texts at the guard and takes effect; an ONAY is refused.

An erasure leaves nothing of a key but a suppression of the opt-ins that would bring it back. In one
transaction the key's row in ``desired-consents`` becomes a tombstone, and a suppression is written
beside it: a row of the same partition whose key is the keyed digest of the erased key. So whoever
reads the state back has both, and a suppression is never older than the state it is for.

A merchant whom nobody knows may be sent to where the registration is not needed (6563 m.6/2). So
the opt-out of one who is erased is suppressed for the gate too, in ``opted-out-merchants``.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from izin.consent import (
    LAW_VERSION,
    AdmittedEvent,
    Consent,
    ConsentEvent,
    Decision,
    DecisionKind,
    OriginRank,
    RecipientType,
    SourceError,
    Status,
)
from izin.schemas.codec import Codec
from izin.schemas.erasure import ERASED, ERASURE, KNOWN_AGAIN, ORIGIN, SuppressionKeys
from izin.schemas.fast.decision_writer import DecisionWriter, HeaderWriter
from izin.schemas.fast.record_format import headers_bytes
from izin.schemas.fast.writer import EPOCH, MILLISECOND, long_bytes
from izin.schemas.partitioning import partition_of
from izin.schemas.records import (
    MAX_COPIED_BYTES,
    consent_to_avro,
    derived_id,
    event_to_avro,
    headers,
)
from izin.schemas.topics import Topics
from izin.streams.fast_path.rows import RowWriter, instant_bytes
from izin.streams.fast_path.simple_events import SimpleDecision, SimpleEvent
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord, UnreadableBatch
from izin.streams.guard import (
    AdmittedRecord,
    DeadLetter,
    dead_letter_message,
    first_append,
    repartitioned_twice,
)
from izin.streams.ownership import DEAD_LETTER, Effects, OutputRecord, output_record
from izin.streams.state.state import PartitionState, erased_until, suppression

REPARTITIONED = "izin-repartitioned"
"""The header that marks a repartitioned record; its value is the coordinates it came from."""

BATCH_OFFSETS = "izin-batch-offsets"
"""The header of a dead letter of a batch; its value is which offsets could not be read."""
BATCH_PART = "izin-batch-part"
"""The same; its value is which part of the batch's bytes it has, of how many: ``1/3``."""

MAX_BYTES = 900_000
"""What a record of ours may hold: below librdkafka's and the broker's limits, both about 1 MB."""

_SECOND = timedelta(seconds=1)
_MICROSECONDS: Final = 1_000_000
_MILLISECOND: Final = 1000
_NOBODY: Mapping[str, Any] = {
    "customer_id": "",
    "brand_code": 0,
    "type": "",
    "recipient_type": "",
    "recipient": "",
}
"""Customer and key of a row that names nobody."""


class OversizedError(SourceError):
    """A record gives more than a Kafka record may hold."""


class OutputWriter:
    """Adds what is to be written to the effects of a batch."""

    def __init__(self, *, topics: Topics, partitions: int, codec: Codec) -> None:
        self._topics = topics
        self._rows_topic, self._opt_outs_topic = topics.desired_consents.name, topics.opt_outs.name
        self._decisions_topic = topics.decisions.name
        self._partitions = partitions
        self._codec = codec
        self._rows = RowWriter(codec)
        self._decisions = DecisionWriter(codec.header("Decision"))
        self._decision_headers = HeaderWriter("Decision")
        self._row_headers = HeaderWriter("Consent", "/row")
        self._opt_out_headers = HeaderWriter("Consent", "/opt-out")
        self._event_header = codec.header("ConsentEvent")
        self._row_header = codec.header("Consent")

    def simple(  # noqa: PLR0913, PLR0917  # what was decided of what, over which state
        self,
        effects: Effects,
        record: FetchedRecord,
        key: bytes,
        event: SimpleEvent,
        decision: SimpleDecision,
        changed: bytes | None,
    ) -> None:
        """Add the ``decision`` on a simple event, and its row where it ``changed`` the state."""
        kind, opted_out = decision.kind, decision.opted_out
        row = self._rows.write(
            event.key_fields,
            decision.fields,
            decision.effective,
            decision.consent_date,
            decision.latest_onay,
            decision.latest_ret,
            decision.event_id,
        )
        encoded = self._decisions.encode(
            kind=kind,
            reason=decision.reason,
            opted_out=opted_out,
            effective_at=instant_bytes(event.effective),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            consent=row[len(self._row_header) :],
            event=(record.value or b"")[len(self._event_header) :],
        )
        record_id = self._decision_headers.derived_id(
            event.event_id, record.topic, record.partition, record.offset
        )
        shared = self._decision_headers.shared(
            event.content.source, event.effective // _MICROSECONDS
        )
        self._add(effects, record, key, kind, opted_out, changed, row, encoded, shared, record_id)

    def general(  # noqa: PLR0913, PLR0917  # what was decided of what, over which state
        self,
        effects: Effects,
        record: FetchedRecord,
        key: bytes,
        checked: AdmittedRecord,
        decision: Decision,
        changed: bytes | None,
    ) -> None:
        """Add any ``decision``, and its row where it ``changed`` the state.

        Raises:
            OversizedError: it is too large for a Kafka record; nothing was added.
        """
        event = checked.admitted.event
        row = self._codec.encode("Consent", consent_to_avro(decision.consent))
        encoded = self._encode(decision, record, row, is_unchanged=checked.is_unchanged)
        record_id = self._decision_headers.derived_id(
            event.event_id.encode(), record.topic, record.partition, record.offset
        )
        shared = self._decision_headers.shared(
            f"/{event.customer_id}/{event.origin}",
            (checked.admitted.effective_at - EPOCH) // _SECOND,
        )
        # The decision has all that the others have, key and headers too.
        if len(key) + len(encoded) + len(record_id) + len(shared) > MAX_BYTES:
            raise OversizedError(self._decisions_topic)
        kind, opted_out = decision.kind, decision.opted_out
        self._add(effects, record, key, kind, opted_out, changed, row, encoded, shared, record_id)

    def _add(  # noqa: PLR0913, PLR0917  # what was decided, and all that is written of it
        self,
        effects: Effects,
        record: FetchedRecord,
        key: bytes,
        kind: DecisionKind,
        opted_out: bool,
        changed: bytes | None,
        row: bytes,
        decision: bytes,
        shared: bytes,
        record_id: bytes,
    ) -> None:
        """Add an encoded ``decision``, and the ``row`` where it ``changed`` the packed state;
        ``shared`` is of the headers of all.
        """
        counts, writes, partition = effects.counts, effects.writes, record.partition
        counts[kind] += 1
        if changed is not None:
            effects.changes[key] = changed
            headers = self._row_headers.headers(record_id, shared)
            writes.append(output_record((self._rows_topic, partition, key, row, headers)))
            if opted_out:
                counts["opt-outs"] += 1
                headers = self._opt_out_headers.headers(record_id, shared)
                writes.append(output_record((self._opt_outs_topic, partition, key, row, headers)))
        headers = self._decision_headers.headers(record_id, shared)
        writes.append(output_record((self._decisions_topic, partition, key, decision, headers)))

    def _encode(
        self, decision: Decision, record: FetchedRecord, row: bytes, *, is_unchanged: bool
    ) -> bytes:
        """Return ``decision`` encoded around ``row``, its framed Consent."""
        admitted, value = decision.admitted, record.value or b""
        if is_unchanged and value.startswith(self._event_header):
            event = value[len(self._event_header) :]
        else:
            event = self._event_body(admitted.event)
        return self._decisions.encode(
            kind=decision.kind,
            reason=decision.reason,
            opted_out=decision.opted_out,
            effective_at=long_bytes((admitted.effective_at - EPOCH) // MILLISECOND),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            consent=row[len(self._row_header) :],
            event=event,
            violations=admitted.violations,
        )

    def _event_body(self, event: ConsentEvent) -> bytes:
        return self._codec.encode("ConsentEvent", event_to_avro(event))[len(self._event_header) :]

    def repartition(
        self, effects: Effects, record: FetchedRecord, admitted: AdmittedEvent, key: bytes
    ) -> None:
        """Add the record again, in the partition that its key belongs to; once.

        Raises:
            OversizedError: it is too large for a Kafka record; nothing was added.
        """
        if any(name == REPARTITIONED for name, _ in record.headers):
            self.dead_letter(effects, record, repartitioned_twice(admitted))
            return
        came_from = f"{record.topic}/{record.partition}/{record.offset}".encode()
        marks = [(REPARTITIONED, came_from), (APPENDED_AT, str(first_append(record)).encode())]
        value, headers = record.value or b"", headers_bytes([*record.headers, *marks])
        if len(key) + len(value) + len(headers) > MAX_BYTES:
            if admitted.status is not Status.RET:
                raise OversizedError(record.topic)
            value = self._event_header + self._event_body(admitted.event)
            headers = headers_bytes([*marks])
        effects.counts["repartitioned"] += 1
        home = partition_of(key, self._partitions)
        effects.repartitioned.append(OutputRecord(record.topic, home, key, value, headers))

    def dead_letter(self, effects: Effects, record: FetchedRecord, letter: DeadLetter) -> None:
        """Add the dead letter that ``record`` becomes; of a batch, in as many parts as it needs."""
        parts = _parts(record) if isinstance(record, UnreadableBatch) else [record]
        effects.counts[DEAD_LETTER + letter.reason] += 1
        if letter.suspect:
            effects.suspects[letter.suspect] += 1
        # Publishers put opt-outs on the express lane, so what is unreadable there may be one.
        if letter.lost_ret or record.topic == self._topics.express.name:
            effects.alarms.append((record.topic, record.partition, parts[0].offset))
        topic = self._topics.dead_letters.name  # which has one partition
        for part in parts:
            key, value, headers = dead_letter_message(letter, part, self._codec)
            effects.writes.append(OutputRecord(topic, 0, key, value, headers_bytes(headers)))


def _parts(batch: UnreadableBatch) -> list[FetchedRecord]:
    """Return records with the bytes of ``batch``, as many of them as a dead letter may have."""
    starts = range(0, len(batch.batch), MAX_COPIED_BYTES)
    offsets = BATCH_OFFSETS, f"{batch.first}-{batch.offset}".encode()
    return [
        FetchedRecord(
            batch.topic,
            batch.partition,
            batch.first,
            batch.timestamp,
            None,
            batch.batch[start : start + MAX_COPIED_BYTES],
            (offsets, (BATCH_PART, f"{number}/{len(starts)}".encode())),
        )
        for number, start in enumerate(starts, 1)
    ]


class Erasures:
    """Erases keys of the state, and knows which opt-ins are suppressed."""

    def __init__(self, *, keys: SuppressionKeys, topics: Topics, codec: Codec) -> None:
        self._keys = keys
        self._topics = topics
        self._codec = codec

    @property
    def can_erase(self) -> bool:
        """Whether there is a secret to suppress under."""
        return bool(self._keys)

    def suppress(self, effects: Effects, state: PartitionState, key: bytes, effective: int) -> bool:
        """Whether an opt-in of ``key`` given at ``effective`` (microseconds) is suppressed."""
        for one in self._keys.every(key):
            found = effects.changes.get(one) or state.packed(one)
            if found is not None and effective <= erased_until(found) * _MILLISECOND:
                return True
        return False

    def erase(
        self,
        effects: Effects,
        record: FetchedRecord,
        admitted: AdmittedEvent,
        state: PartitionState,
        current: Consent | None,
    ) -> None:
        """Add the erasure of the key of ``admitted``, whose state is ``current``.

        Where a later event of the key was decided (it is known again, or the erasure is repeated),
        the state stays. There must be a secret (``can_erase``).
        """
        key, partition = admitted.key.encode(), record.partition
        at, event_id = admitted.effective_at, admitted.event.event_id
        is_known_again = current is not None and current.effective_at > at
        kept = self._keys.of(key)
        until = (at - EPOCH) // MILLISECOND
        before = effects.changes.get(kept) or state.packed(kept)
        changes: dict[bytes, bytes] = {}
        writes: list[OutputRecord] = []
        rows = self._topics.desired_consents.name
        if before is None or erased_until(before) < until:
            changes[kept] = suppression(until)
            value = suppression_row(self._codec, at, event_id)
            identity = _erasure_headers("Consent", kept.decode(), record, at)
            writes.append(OutputRecord(rows, partition, kept, value, identity))
            if (
                admitted.key.recipient_type is RecipientType.TACIR
                and current is not None
                and current.status is Status.RET
            ):
                topic = self._topics.opted_out_merchants.name
                identity = _erasure_headers("Consent", f"{kept.decode()}/merchant", record, at)
                writes.append(OutputRecord(topic, 0, kept, value, identity))
        if not is_known_again:
            changes[key] = b""
            identity = _erasure_headers("Consent", event_id, record, at)
            writes.append(OutputRecord(rows, partition, key, None, identity))
        reason = KNOWN_AGAIN if is_known_again else ERASED
        decision = self._codec.encode("Decision", _erasure_decision(admitted, record, reason))
        identity = _erasure_headers("Decision", event_id, record, at)
        topic = self._topics.decisions.name
        writes.append(OutputRecord(topic, partition, key, decision, identity))
        # All at once: whatever failed above has added nothing.
        effects.suppresses = True
        effects.counts[ERASED] += 1
        effects.changes.update(changes)
        effects.writes.extend(writes)


def suppression_row(codec: Codec, at: datetime, event_id: str) -> bytes:
    """Return the row that suppresses what was given until ``at``, by the erasure ``event_id``."""
    return codec.encode("Consent", _erased_consent(at, _NOBODY, event_id))


def _erasure_headers(name: str, event_id: str, record: FetchedRecord, at: datetime) -> bytes:
    """Return the headers of a record of the contract ``name`` that an erasure gives."""
    identity = derived_id(f"{event_id}/{name}", record.topic, record.partition, record.offset)
    return headers_bytes(headers(record=name, event_id=identity, source="/izin/streams", at=at))


def _erased_consent(at: datetime, address: Mapping[str, Any], event_id: str) -> Mapping[str, Any]:
    """Return the Consent of an ``address`` (customer and key) that was erased ``at`` an instant."""
    return {
        **address,
        "status": ERASURE,
        "previous_status": None,
        "effective_at": at,
        "origin_rank": int(OriginRank.OURS),
        "event_id": event_id,
        "origin": ORIGIN,
        "source": None,
        "consent_date": None,
        "registrable": False,
        "latest_onay_at": None,
        "latest_ret_at": None,
        "law_version": LAW_VERSION,
    }


def _erasure_decision(
    admitted: AdmittedEvent, record: FetchedRecord, reason: str
) -> Mapping[str, Any]:
    event = event_to_avro(replace(admitted.event, status=ERASURE))
    address = {name: event[name] for name in _NOBODY}
    return {
        "kind": ERASED,
        "reason": reason,
        "opted_out": False,
        "effective_at": admitted.effective_at,
        "violations": [],
        "topic": record.topic,
        "partition": record.partition,
        "offset": record.offset,
        "consent": _erased_consent(admitted.effective_at, address, ""),
        "event": event,
    }
