"""Fold a batch of records into what must be written: admit, repartition, decide, one by one.

Every applied event gives one ``desired-consents`` row and one decision; every change of the
effective status to RET gives one ``consent-opt-outs`` row. A stale or enriching event gives a
decision too, and a row where it changed the state. A duplicate gives nothing, a refused one a dead
letter. Nothing here does I/O or reads a clock, so a replay folds to the same bytes.

A key belongs to the partition that murmur2 gives it. A record found elsewhere (a producer keyed it
its own way) is repartitioned once, marked by a header; a marked one that is still in the wrong
partition is a dead letter.

A record whose outputs are too large for a Kafka record would stop its partition for ever. A RET
among them loses its evidence (the input topic has it) and takes effect; an ONAY is poison.
"""

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from izin.consent.errors import SourceError
from izin.consent.model import AdmittedEvent, ConsentEvent, Decision, DecisionKind, Status
from izin.consent.ordering import decide
from izin.schemas.cloud_events import Headers
from izin.schemas.codec import Codec
from izin.schemas.fast.decision_writer import DecisionWriter
from izin.schemas.fast.header_writer import HeaderWriter
from izin.schemas.fast.writer import EPOCH, MILLISECOND, long_bytes
from izin.schemas.partitioning import partition_of
from izin.schemas.records import MAX_COPIED_BYTES, consent_to_avro, event_to_avro
from izin.schemas.topics import Topics
from izin.streams.fast_path.row_writer import RowWriter, instant_bytes
from izin.streams.fast_path.simple_events import SimpleEventReader, decide_simple
from izin.streams.guard import (
    APPENDED_AT,
    AdmittedRecord,
    DeadLetter,
    Guard,
    SourceRecord,
    dead_letter_of,
    poison,
    repartitioned_twice,
)
from izin.streams.ownership.effects import DEAD_LETTER, Effects, OutputRecord, output_record, size
from izin.streams.state.packing import Packing
from izin.streams.state.state import PartitionState

REPARTITIONED = "izin-repartitioned"
"""The header that marks a repartitioned record; its value is the coordinates it came from."""

MAX_BYTES = 900_000
"""What a record of ours may hold: below librdkafka's and the broker's limits, both about 1 MB."""

_SECOND = timedelta(seconds=1)


class OversizedError(SourceError):
    """A record gives more than a Kafka record may hold."""


class OrderStage:
    """Folds batches into effects."""

    def __init__(self, *, topics: Topics, partitions: int, codec: Codec) -> None:
        self._topics = topics
        self._rows_topic, self._opt_outs_topic = topics.desired_consents.name, topics.opt_outs.name
        self._decisions_topic = topics.decisions.name
        self._partitions = partitions
        self._codec = codec
        self._guard = Guard(codec)
        self._simple_events = SimpleEventReader(codec)
        self._rows = RowWriter(codec)
        self._decisions = DecisionWriter(codec.header("Decision"))
        self._decision_headers = HeaderWriter("Decision")
        self._row_headers = HeaderWriter("Consent")
        self._event_header = codec.header("ConsentEvent")
        self._row_header = codec.header("Consent")

    def fold(
        self,
        partition: int,
        records: Iterable[SourceRecord],
        state: PartitionState,
        before: Effects | None = None,
    ) -> Effects:
        """Return the effects on ``state`` of ``records``, of either lane of ``partition``, added to
        those of the records ``before`` them.
        """
        effects = Effects() if before is None else before
        for record in records:
            try:
                is_done = self._fold_fast(effects, record, partition, state)
            except Exception:  # noqa: BLE001  # nothing was added yet, and the general path decides
                is_done = False
            if not is_done:
                self._fold_general(effects, record, partition, state)
        return effects

    def fold_opt_outs(
        self, partition: int, records: Iterable[SourceRecord], state: PartitionState
    ) -> Effects:
        """Return the effects of the opt-outs (RET) among ``records`` alone.

        A fold of all of them may follow: it finds these decided.
        """
        effects = Effects()
        for record in records:
            checked = self._guard.admit(record)
            if isinstance(checked, AdmittedRecord) and checked.admitted.status is Status.RET:
                self._fold_admitted(effects, record, checked, partition, state)
        return effects

    def _fold_fast(
        self, effects: Effects, record: SourceRecord, partition: int, state: PartitionState
    ) -> bool:
        """Add the effects of a simple event; False, with nothing added, where it is none."""
        event = self._simple_events.read(record)
        if event is None:
            return False
        key, packing = record.key or b"", state.packing
        packed = effects.changes.get(key) or state.packed(key)
        # A key in the state was once found to belong here: no need to hash it again.
        if packed is None and partition_of(key, self._partitions) != partition:
            return False
        decision = decide_simple(event, packed, packing)
        if decision is None:
            return False
        kind, reason, opted_out, facts = decision
        if kind is DecisionKind.DUPLICATE:
            effects.counts[kind] += 1
            return True
        (_, _, source), key_fields, event_id, _, effective = event
        row = self._rows.write(key_fields, facts)
        encoded = self._decisions.encode(
            kind=kind,
            reason=reason,
            opted_out=opted_out,
            effective_at=instant_bytes(effective),
            topic=record.topic,
            partition=record.partition,
            offset=record.offset,
            consent=row[len(self._row_header) :],
            event=(record.value or b"")[len(self._event_header) :],
        )
        headers = self._decision_headers.headers(event_id, source, effective // 1_000_000)
        changed = None if kind is DecisionKind.STALE else packing.pack_facts(*facts)
        self._add(effects, record.partition, key, kind, opted_out, changed, row, encoded, headers)
        return True

    def _add(  # noqa: PLR0913, PLR0917  # what was decided, and all that is written of it
        self,
        effects: Effects,
        partition: int,
        key: bytes,
        kind: DecisionKind,
        opted_out: bool,
        changed: bytes | None,
        row: bytes,
        decision: bytes,
        headers: Headers,
    ) -> None:
        """Add an encoded ``decision``, and the ``row`` where it ``changed`` the packed state."""
        counts, writes = effects.counts, effects.writes
        counts[kind] += 1
        if changed is not None:
            effects.changes[key] = changed
            row_headers = self._row_headers.retyped(headers)
            writes.append(output_record((self._rows_topic, partition, key, row, row_headers)))
            if opted_out:
                counts["opt-outs"] += 1
                writes.append(
                    output_record((self._opt_outs_topic, partition, key, row, row_headers))
                )
        writes.append(output_record((self._decisions_topic, partition, key, decision, headers)))

    def _fold_general(
        self, effects: Effects, record: SourceRecord, partition: int, state: PartitionState
    ) -> None:
        checked = self._guard.admit(record)
        if isinstance(checked, DeadLetter):
            self._dead_letter(effects, record, checked)
        else:
            self._fold_admitted(effects, record, checked, partition, state)

    def _fold_admitted(
        self,
        effects: Effects,
        record: SourceRecord,
        checked: AdmittedRecord,
        partition: int,
        state: PartitionState,
    ) -> None:
        admitted = checked.admitted
        key = admitted.key.encode()
        packed = effects.changes.get(key) or state.packed(key)
        try:
            if packed is None and partition_of(key, self._partitions) != partition:
                self._repartition(effects, record, admitted, key)
            else:
                self._decide(effects, record, checked, key, packed, state.packing)
        except Exception as error:  # noqa: BLE001  # pure code failed, and added nothing yet
            self._dead_letter(effects, record, poison(error, admitted.event))

    def _decide(  # noqa: PLR0913, PLR0917  # an event, its record, and the state of its key
        self,
        effects: Effects,
        record: SourceRecord,
        checked: AdmittedRecord,
        key: bytes,
        packed: bytes | None,
        packing: Packing,
    ) -> None:
        current = None if packed is None else packing.unpack(key, packed)
        decision = decide(current, checked.admitted)
        kind = decision.kind
        if kind is DecisionKind.DUPLICATE:
            effects.counts[kind] += 1
            return
        event = checked.admitted.event
        row = self._codec.encode("Consent", consent_to_avro(decision.consent))
        encoded = self._encode(decision, record, row, is_unchanged=checked.is_unchanged)
        headers = self._decision_headers.headers(
            event.event_id.encode(),
            f"/{event.customer_id}/{event.origin}",
            (checked.admitted.effective_at - EPOCH) // _SECOND,
        )
        # The decision has all that the others have, key and headers too: a small one needs no sum.
        if len(encoded) > MAX_BYTES // 4 and size(key, encoded, headers) > MAX_BYTES:
            raise OversizedError(self._decisions_topic)
        changed = None if decision.consent is current else packing.pack(decision.consent)
        opted_out = decision.opted_out
        self._add(effects, record.partition, key, kind, opted_out, changed, row, encoded, headers)

    def _encode(
        self, decision: Decision, record: SourceRecord, row: bytes, *, is_unchanged: bool
    ) -> bytes:
        """Return ``decision`` encoded around ``row``, its framed Consent."""
        admitted, value = decision.admitted, record.value or b""
        if is_unchanged and value.startswith(self._event_header):
            event = value[len(self._event_header) :]
        else:
            event = self._event_body(admitted.event)
        if len(event) > MAX_BYTES // 2 and admitted.status is Status.RET:
            event = self._event_body(replace(admitted.event, evidence={}))
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

    def _repartition(
        self, effects: Effects, record: SourceRecord, admitted: AdmittedEvent, key: bytes
    ) -> None:
        if any(name == REPARTITIONED for name, _ in record.headers):
            self._dead_letter(effects, record, repartitioned_twice(admitted))
            return
        came_from = f"{record.topic}/{record.partition}/{record.offset}".encode()
        first_appended = str(record.timestamp).encode()
        again = OutputRecord(
            topic=record.topic,
            partition=partition_of(key, self._partitions),
            key=key,
            value=record.value or b"",
            headers=[*record.headers, (REPARTITIONED, came_from), (APPENDED_AT, first_appended)],
        )
        if size(key, again.value, again.headers) > MAX_BYTES:
            raise OversizedError(record.topic)
        effects.counts["repartitioned"] += 1
        effects.repartitioned.append(again)

    def _dead_letter(self, effects: Effects, record: SourceRecord, letter: DeadLetter) -> None:
        effects.counts[DEAD_LETTER + letter.reason] += 1
        if letter.suspect:
            effects.suspects[letter.suspect] += 1
        # Publishers put opt-outs on the express lane, so what is unreadable there may be one.
        if letter.lost_ret or record.topic == self._topics.express.name:
            effects.alarms.append((record.topic, record.partition, record.offset))
        key = record.key
        effects.writes.append(
            OutputRecord(
                topic=self._topics.dead_letters.name,
                partition=None,
                key=key if key is None or len(key) <= MAX_COPIED_BYTES else None,
                value=self._codec.encode("DeadLetter", dead_letter_of(letter, record)),
                headers=[],
            )
        )
