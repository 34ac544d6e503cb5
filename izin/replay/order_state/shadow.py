"""The state of a partition as it should stand: folded again from its events, with no effects.

The order stage itself folds both lanes, one after the other, for the law knows no order of arrival.
What the stage would write is dropped: repartitioned records are in the lanes of their partitions
already, and nobody is notified. Events that the lanes no longer have are decided from the history.

Only an erasure depends on what was decided before it: an opt-out (RET) decided earlier is erased
with its key, and one decided later stands. That order is the one of the decisions, in their topic
and in the history; the two lanes alone do not have it. So the decisions on such keys are read, and
the law decides their events once more, one key at a time.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from confluent_kafka import Message

from izin.consent import AdmittedEvent, Consent, Status, Violation, decide
from izin.ledger.history import history_codec
from izin.replay.order_state.planning import (
    Installation,
    decided_offsets,
    records_between,
    removed_decisions,
)
from izin.replay.processes import Advance
from izin.runtime import kafka
from izin.runtime.kafka_clients import headers_of
from izin.runtime.plan import Plan
from izin.schemas.erasure import ERASED, SUPPRESSED
from izin.schemas.fast.writer import EPOCH, MILLISECOND, writer_of
from izin.schemas.records import event_from_avro, key_from_avro
from izin.streams.fetched_record import FetchedRecord
from izin.streams.order import OrderStage
from izin.streams.outputs import suppression_row
from izin.streams.ownership import Effects
from izin.streams.state.state import MemoryState, suppression

AvroDecision = Mapping[str, Any]
"""A decoded Avro Decision."""
_Headers = Sequence[tuple[str, bytes | None]]
_AT_ONCE = 2000
"""Decisions of the history that are applied together."""
_ERASED = writer_of("string")(ERASED)
"""How a decision on an erasure begins."""


@dataclass(slots=True)
class Shadow:
    """What a partition should have, and what was met on the way."""

    state: MemoryState = field(default_factory=MemoryState)
    suppression_rows: dict[bytes, bytes] = field(default_factory=dict)
    """The rows of suppressions, by key."""
    erased: set[bytes] = field(default_factory=set)
    """The keys that any event erases."""
    incomplete: set[bytes] = field(default_factory=set)
    """The keys of which not all decisions are known, for their rows were once restored."""
    events: int = 0
    """How many the lanes had of the selected keys."""


def fold(
    installation: Installation, plan: Plan, number: int, folder: Path, advance: Advance
) -> Shadow:
    """Fold the events of partition ``number`` up to what ``plan`` says, and those of the history in
    ``folder``; ``advance`` gets how many records were read, some at a time.

    Raises KafkaException, and OffsetGoneError where a lane begins later than the plan says.
    """
    settings, shadow = installation.kafka, Shadow()
    stage = OrderStage(
        topics=settings.topics,
        partitions=settings.partitions,
        codec=installation.codec,
        suppressions=installation.suppressions,
    )
    _fold_history(shadow, folder, number)
    for lane in (settings.topics.express.name, settings.topics.events.name):
        start, end = plan.topics[lane].starts[number], plan.topics[lane].ends[number]
        if start >= end:
            continue
        for messages in records_between(settings, lane, number, start, end):
            effects = stage.fold(number, list(map(_record, messages)), shadow.state)
            if effects.suppresses:
                _note_erasures(shadow, effects, installation)
            shadow.state.apply(effects.changes, 0)
            shadow.events += sum(plan.selection.takes_record(one.key() or b"") for one in messages)
            advance(len(messages))
    return shadow


def _record(message: Message) -> FetchedRecord:
    return FetchedRecord(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.timestamp()[1],
        message.key(),
        message.value(),
        cast("_Headers", headers_of(message)),
    )


def _note_erasures(shadow: Shadow, effects: Effects, installation: Installation) -> None:
    """Note which keys were erased, and the rows that suppress them."""
    topics = installation.kafka.topics
    for write in effects.writes:
        key, value = write.key or b"", write.value
        if value is None:
            continue
        if write.topic == topics.desired_consents.name and key.startswith(SUPPRESSED):
            shadow.suppression_rows[key] = value
        elif write.topic == topics.decisions.name and is_erasure(
            installation.codec.decode("Decision", value)
        ):
            shadow.erased.add(key)


def _fold_history(shadow: Shadow, folder: Path, number: int) -> None:
    """Decide again what only the history has; no effect of it depends on the order."""
    state, codec = shadow.state, history_codec()
    changes: dict[bytes, bytes] = {}
    for one in removed_decisions(folder, number):
        if not one.decision:
            shadow.incomplete.add(one.key)
            continue
        decision = codec.decode("Decision", one.decision)
        if is_erasure(decision):
            shadow.erased.add(one.key)
            continue
        packed = changes.get(one.key) or state.packed(one.key)
        current = None if packed is None else state.packing.unpack(one.key, packed)
        consent = decide(current, admitted_of(decision)).consent
        if consent is not current:
            changes[one.key] = state.packing.pack(consent)
        if len(changes) >= _AT_ONCE:
            state.apply(changes, 0)
            changes.clear()
    state.apply(changes, 0)


def settle_erased(
    shadow: Shadow, installation: Installation, plan: Plan, number: int, folder: Path
) -> None:
    """Correct the keys of ``shadow`` that were erased at some time.

    A key whose erasure is in no decision that can be read is ``incomplete``.
    """
    if not installation.suppressions:  # without a secret nothing can be erased
        return
    decided = decided_offsets(plan, installation.kafka, number)
    if any(plan.topics[lane].starts[number] for lane in decided):  # else each is in a lane
        shadow.erased |= _erased_keys(installation, number)
    if not shadow.erased:
        return
    decisions = _of_history(shadow.erased, folder, number)
    for key, value in _decisions(installation, number):
        if key in shadow.erased:
            decision = installation.codec.decode("Decision", value)
            if decision["offset"] < decided.get(decision["topic"], 0):
                decisions[key].append(decision)
    state, changes = shadow.state, dict[bytes, bytes | None]()
    for key in shadow.erased:
        found = decisions[key]
        if not any(map(is_erasure, found)):
            shadow.incomplete.add(key)
            continue
        consent = decided_again(found)
        changes[key] = None if consent is None else state.packing.pack(consent)
        last = max(filter(is_erasure, found), key=lambda one: one["effective_at"])
        suppressed = installation.suppressions.of(key)
        if suppressed not in shadow.suppression_rows:
            at, event_id = last["effective_at"], last["event"]["event_id"]
            changes[suppressed] = suppression((at - EPOCH) // MILLISECOND)
            row = suppression_row(installation.codec, at, event_id)
            shadow.suppression_rows[suppressed] = row
    state.apply(changes, 0)


def _of_history(
    keys: set[bytes], folder: Path, number: int
) -> defaultdict[bytes, list[AvroDecision]]:
    """Return the decisions of ``keys`` that the history has, in their order."""
    codec, found = history_codec(), defaultdict[bytes, list[AvroDecision]](list)
    rows = [one for one in removed_decisions(folder, number) if one.key in keys and one.decision]
    for one in sorted(rows, key=lambda row: (row.recorded, row.place)):
        found[one.key].append(codec.decode("Decision", one.decision))
    return found


def _erased_keys(installation: Installation, number: int) -> set[bytes]:
    """Return the keys that were erased, by the decisions that their topic has."""
    codec = installation.codec
    header = codec.header("Decision")
    beginning = header + _ERASED
    return {
        key
        for key, value in _decisions(installation, number)
        if value.startswith(beginning)
        or (not value.startswith(header) and is_erasure(codec.decode("Decision", value)))
    }


def _decisions(installation: Installation, number: int) -> Iterator[tuple[bytes, bytes]]:
    """Yield the decisions of a partition that their topic has, with their keys, in order."""
    settings, topic = installation.kafka, installation.kafka.topics.decisions.name
    start, end = kafka.watermarks(settings, topic)[number]
    for messages in records_between(settings, topic, number, start, end):
        for one in messages:
            value = one.value()
            if value is not None:
                yield one.key() or b"", value


def is_erasure(decision: AvroDecision) -> bool:
    """Whether it was made on an erasure of its key."""
    return bool(decision["kind"] == ERASED)


def admitted_of(decision: AvroDecision) -> AdmittedEvent:
    """Return the event that was decided, as it was admitted."""
    return AdmittedEvent(
        key=key_from_avro(decision["consent"]),
        status=Status(decision["event"]["status"]),
        effective_at=decision["effective_at"],
        event=event_from_avro(decision["event"]),
        violations=tuple(Violation(**one) for one in decision["violations"]),
    )


def decided_again(decisions: Iterable[AvroDecision]) -> Consent | None:
    """Return the consent of a key after ``decisions`` on all of its events, in their order; None
    where it is erased.

    A repetition changes nothing: each event counts where it was decided first.
    """
    current: Consent | None = None
    seen: set[tuple[str, int, int]] = set()
    for one in decisions:
        place = one["topic"], one["partition"], one["offset"]
        if place in seen:
            continue
        seen.add(place)
        if not is_erasure(one):
            current = decide(current, admitted_of(one)).consent
        elif current is not None and current.effective_at <= one["effective_at"]:
            current = None
    return current
