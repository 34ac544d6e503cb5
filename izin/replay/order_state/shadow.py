"""The state of a partition as it should stand: folded again from its events, with no effects.

The order stage itself folds both lanes, one after the other, for the law knows no order of arrival.
What the stage would write is dropped: repartitioned records are in the lanes of their partitions
already, and nobody is notified. Events that the lanes no longer have are decided from the history.

Only an erasure depends on what was decided before it; ``erased_keys`` decides such keys again.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from confluent_kafka import Message

from izin.consent.errors import UnreadableKeyError
from izin.consent.model import AdmittedEvent, ConsentKey
from izin.consent.ordering import decide
from izin.kafka.bounded_reader import BoundedReader
from izin.replay.order_state.decisions import AvroDecision, admitted_of, is_erasure
from izin.replay.order_state.planning import Installation
from izin.replay.order_state.removed_input import removed_decisions
from izin.runtime.kafka_clients import headers_of
from izin.runtime.plan import Facts, Plan, Selection
from izin.schemas.erasure import ERASED, SUPPRESSED
from izin.sinks.ledger.history.formats import history_codec
from izin.streams.fetched_record import FetchedRecord
from izin.streams.guard import DeadLetter, Guard
from izin.streams.order import OrderStage
from izin.streams.ownership.effects import Effects
from izin.streams.state.state import MemoryState

_Headers = Sequence[tuple[str, bytes | None]]
_AT_ONCE = 2000
"""Decisions of the history that are applied together."""


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
    chosen: set[bytes] = field(default_factory=set)
    """The keys with a selected event, where the selection names more than keys."""
    events: int = 0
    """Of those in the lanes, how many are selected."""


class ShadowFolder:
    """Folds the events of partition ``number`` up to what ``plan`` says.

    ``advance`` gets how many records were read, some at a time.
    """

    def __init__(
        self,
        installation: Installation,
        plan: Plan,
        number: int,
        folder: Path,
        advance: Callable[[int], None],
    ) -> None:
        self.shadow = Shadow()
        self._installation = installation
        self._plan = plan
        self._number = number
        self._folder = folder
        self._advance = advance
        self._topics = installation.kafka.topics
        self._guard = Guard(installation.codec)
        self._stage = OrderStage(
            topics=self._topics,
            partitions=installation.kafka.partitions,
            codec=installation.codec,
            suppressions=installation.suppressions,
        )

    def fold(self) -> Shadow:
        """Return the shadow; raises KafkaException, and OffsetGoneError where a lane begins later
        than the plan says.
        """
        self._fold_history()
        for lane in (self._topics.express.name, self._topics.events.name):
            bounds = self._plan.topics[lane]
            start, end = bounds.starts[self._number], bounds.ends[self._number]
            if start < end:
                self._fold_lane(lane, start, end)
        return self.shadow

    def _fold_lane(self, lane: str, start: int, end: int) -> None:
        number, shadow = self._number, self.shadow
        reader = BoundedReader(self._installation.kafka, "izin-replay", lane)
        try:
            for messages in reader.read({number: start}, {number: end}):
                records = _records(messages, lane, number, end)
                shadow.events += self._choose(records)
                effects = self._stage.fold(number, records, shadow.state)
                if effects.suppresses:
                    self._note_erasures(effects)
                shadow.state.apply(effects.changes, 0)
                self._advance(len(records))
        finally:
            reader.close()

    def _note_erasures(self, effects: Effects) -> None:
        """Note which keys were erased, and the rows that suppress them."""
        rows, decisions = self._topics.desired_consents.name, self._topics.decisions.name
        for write in effects.writes:
            key, value = write.key or b"", write.value
            if value is None:
                continue
            if write.topic == rows and key.startswith(SUPPRESSED):
                self.shadow.suppression_rows[key] = value
            elif write.topic == decisions:
                decision = self._installation.codec.decode("Decision", value)
                if decision["kind"] == ERASED:
                    self.shadow.erased.add(key)

    def _choose(self, records: Sequence[FetchedRecord]) -> int:
        """Return how many of ``records`` are selected; note their keys, where the selection names
        more than keys.
        """
        selection = self._plan.selection
        if selection == Selection():
            return len(records)
        if selection.names_keys:
            return sum(_is_named(selection, record.key or b"") for record in records)
        count = 0
        for record in records:
            checked = self._guard.admit(record)
            if not isinstance(checked, DeadLetter):
                facts = _facts(checked.admitted, record)
                if selection.takes(facts):
                    count += 1
                    self.shadow.chosen.add(facts.key.encode())
        return count

    def _fold_history(self) -> None:
        """Decide again what only the history has; no effect of it depends on the order."""
        shadow, state, codec = self.shadow, self.shadow.state, history_codec()
        changes: dict[bytes, bytes] = {}
        for one in removed_decisions(self._folder, self._number):
            if not one.decision:
                shadow.incomplete.add(one.key)
                continue
            decision = codec.decode("Decision", one.decision)
            self._choose_decided(decision)
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

    def _choose_decided(self, decision: AvroDecision) -> None:
        """Note the key of a decision whose event is selected; when it was appended is not known,
        so that it counts from when it was received.
        """
        selection: Selection = self._plan.selection
        if selection.names_keys:
            return
        admitted = admitted_of(decision)
        event = admitted.event
        facts = Facts(
            str(admitted.key),
            admitted.key.brand_code,
            event.customer_id,
            event.origin,
            event.received_at or admitted.effective_at,
            decision["topic"],
            decision["partition"],
            decision["offset"],
        )
        if selection.takes(facts):
            self.shadow.chosen.add(facts.key.encode())


def _records(messages: Sequence[Message], lane: str, number: int, end: int) -> list[FetchedRecord]:
    """Return the records of ``messages`` below the offset ``end``."""
    return [
        FetchedRecord(
            lane,
            number,
            one.offset() or 0,
            one.timestamp()[1],
            one.key(),
            one.value(),
            cast("_Headers", headers_of(one)),
        )
        for one in messages
        if (one.offset() or 0) < end
    ]


def _is_named(selection: Selection, key: bytes) -> bool:
    try:
        return selection.takes_key(str(ConsentKey.parse(key.decode())))
    except (UnicodeDecodeError, UnreadableKeyError):
        return False


def _facts(admitted: AdmittedEvent, record: FetchedRecord) -> Facts:
    return Facts(
        str(admitted.key),
        admitted.key.brand_code,
        admitted.event.customer_id,
        admitted.event.origin,
        datetime.fromtimestamp(record.timestamp / 1000, UTC),
        record.topic,
        record.partition,
        record.offset,
    )
