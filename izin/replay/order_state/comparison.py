"""The state of a partition as it should stand, and what of the rows that stand differs from it.

The order stage itself folds both lanes, one after the other, for the law knows no order of arrival.
What the stage would write is dropped: repartitioned records are in the lanes of their partitions
already, and nobody is notified. Events that the lanes no longer have are decided from the history.
Only an erasure depends on what was decided before it: an opt-out (RET) decided earlier is erased
with its key, and one decided later stands. That order is the one of the decisions, in their topic
and in the history; the two lanes alone do not have it. So the decisions on such keys are read, and
the law decides their events once more, one key at a time.

    missing     should stand and does not: to be written
    differing   stands otherwise than it should, and is no newer: to be written
    unreadable  a row that is none: stays, for it stops the workers until the topic is made again
    newer       a newer row stands than any event explains: stays, for a person to look at
    surplus     stands and no event explains it: stays, for a person to look at
    unjudged    the events that would explain it are gone, or it was erased: stays

A row is never replaced by an older one, in the law's order, and none is deleted. Rows are compared
in one form, so that those with the same content are the same bytes: one that is framed as this
installation frames stays as it is, any other one (an older schema, another registry) is decoded and
written again.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from pathlib import Path
from typing import Any, NamedTuple, cast

from confluent_kafka import Message

from izin.consent import (
    LAW_VERSION,
    Consent,
    decide,
    merge,
    outranks,
)
from izin.kafka.connections import headers_of
from izin.ledger.history import history_codec
from izin.replay.order_state.decisions import (
    admitted_of,
    decided_again,
    decoded,
    erased_keys,
    identity_of,
    is_erasure,
    of_history,
    of_topic,
)
from izin.replay.order_state.planning import (
    Installation,
    decided_offsets,
    records_between,
    removed_decisions,
)
from izin.replay.processes import Advance
from izin.runtime.plan import Plan, Selection
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import consent_to_avro
from izin.streams.errors import StateError
from izin.streams.fetched_record import FetchedRecord
from izin.streams.order import OrderStage
from izin.streams.outputs import suppression_row
from izin.streams.ownership import Effects
from izin.streams.state.state import MemoryState, erased_until, suppression

_Headers = Sequence[tuple[str, bytes | None]]


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
            shadow.events += sum(
                plan.selection.takes_record(message.key() or b"") for message in messages
            )
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
    for removed_decision in removed_decisions(folder, number):
        decision = decoded(codec, removed_decision)
        if decision is None:
            shadow.incomplete.add(removed_decision.key)
        elif is_erasure(decision):
            shadow.erased.add(removed_decision.key)
        else:
            packed = state.packed(removed_decision.key)
            current = None if packed is None else state.packing.unpack(removed_decision.key, packed)
            consent = decide(current, admitted_of(decision)).consent
            state.apply({removed_decision.key: state.packing.pack(consent)}, 0)


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
        shadow.erased |= erased_keys(installation, number)
    if not shadow.erased:
        return
    decisions = of_topic(shadow.erased, installation, decided, number)
    for key, removed in of_history(shadow.erased, folder, number).items():
        # What the topic has too is in its order there.
        known = {identity_of(one) for one in decisions[key]}
        decisions[key][:0] = [one for one in removed if identity_of(one) not in known]
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
            shadow.suppression_rows[suppressed] = suppression_row(installation.codec, at, event_id)
    state.apply(changes, 0)


def row_of(codec: Codec, consent: Consent) -> bytes:
    """Return the row of ``consent``, as ``codec`` frames."""
    return codec.encode("Consent", consent_to_avro(consent))


def in_one_form(codec: Codec, value: bytes) -> bytes:
    """Return the row that ``value`` is, as ``codec`` frames; one that is none differs from whatever
    should stand, and stays as it is.
    """
    if value.startswith(codec.header("Consent")):
        return value
    try:
        return row_of(codec, codec.decode_consent(value))
    except UndecodableError:
        return value


@dataclass(slots=True)
class CurrentRows:
    """What a partition has: the latest row of each key."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    """By canonical key, in one form; as it is where it is no row."""
    suppressions: dict[bytes, int] = field(default_factory=dict)
    """By key: until which instant (milliseconds since 1970) opt-ins are suppressed."""


def read_current(
    installation: Installation, number: int, end: int, advance: Advance
) -> CurrentRows:
    """Return what partition ``number`` has below ``end``; ``advance`` gets how many records were
    read, some at a time.

    Raises KafkaException, and StateError for a suppression under an unknown secret.
    """
    settings, codec = installation.kafka, installation.codec
    found = CurrentRows()
    topic = settings.topics.desired_consents.name
    for messages in records_between(settings, topic, number, 0, end):
        for message in messages:
            key, value = message.key() or b"", message.value()
            if value is None:
                found.rows.pop(key, None)
                found.suppressions.pop(key, None)
            elif not key.startswith(SUPPRESSED):
                found.rows[key] = in_one_form(codec, value)
            elif key.startswith(installation.suppressions.prefixes):
                at = codec.decode("Consent", value)["effective_at"]
                found.suppressions[key] = (at - EPOCH) // MILLISECOND
            else:
                raise StateError(
                    "desired-consents says that a key was erased, under a secret that "
                    "IZIN_SUPPRESSION_SECRETS does not have; set it as the order workers have it"
                )
        advance(len(messages))
    return found


class StateDifferenceKind(StrEnum):
    """How a row differs."""

    MISSING = "missing"
    DIFFERING = "differing"
    UNREADABLE = "unreadable"
    NEWER = "newer"
    SURPLUS = "surplus"
    UNJUDGED = "unjudged"


WRITTEN = frozenset({StateDifferenceKind.MISSING, StateDifferenceKind.DIFFERING})
"""Where the execution writes the row that should stand."""


class StateDifference(NamedTuple):
    """A row that differs."""

    kind: StateDifferenceKind
    key: bytes
    fields: Mapping[str, tuple[Any, Any]]
    """By name: what stands, and what should; empty where a whole row is missing or surplus."""
    row: bytes | None
    """What the execution writes."""


@dataclass(slots=True, kw_only=True)
class StateComparison:
    """Compares a partition; the differences are yielded, then the digests are known: SHA-256 of
    the sorted keys and rows, as they should be and as they stand.
    """

    installation: Installation
    plan: Plan
    shadow: Shadow
    current: CurrentRows
    reaches: bool
    """Whether every event that was decided is in the shadow."""
    computed_digest: str = ""
    current_digest: str = ""
    keys: int = 0
    """How many should stand."""

    def changes(self) -> Iterator[StateDifference]:
        """Yield what differs, by key."""
        computed, current, self.keys = sha256(), sha256(), 0
        state, packing = self.shadow.state, self.shadow.state.packing
        keys = {key for key in state if not key.startswith(SUPPRESSED)}
        for key in sorted(keys | self.current.rows.keys()):
            if not self.plan.selection.takes_record(key):
                continue
            packed, theirs = state.packed(key), self.current.rows.get(key)
            wanted = None if packed is None else packing.unpack(key, packed)
            ours = None if wanted is None else row_of(self.installation.codec, wanted)
            change = None if ours == theirs else self._change(key, wanted, ours, theirs)
            if ours is not None:
                self.keys += 1
                computed.update(_framed(key, ours))
            if theirs is not None:
                # The same content may be encoded in other bytes.
                current.update(_framed(key, theirs if ours is None or change else ours))
            if change is not None:
                yield change
        if self.plan.selection == Selection():
            yield from self._suppression_changes(computed, current)
        self.computed_digest, self.current_digest = computed.hexdigest(), current.hexdigest()

    def _change(
        self, key: bytes, wanted: Consent | None, ours: bytes | None, theirs: bytes | None
    ) -> StateDifference | None:
        """Return how a row differs; None where it has the same content."""
        incomplete = not self.reaches or key in self.shadow.incomplete
        if wanted is None:
            kind = StateDifferenceKind.UNJUDGED if incomplete else StateDifferenceKind.SURPLUS
            return StateDifference(kind, key, {}, None)
        if theirs is None:
            is_erased = key not in self.shadow.erased and self._was_erased(key, wanted)
            kind = StateDifferenceKind.UNJUDGED if is_erased else StateDifferenceKind.MISSING
            return StateDifference(kind, key, {}, None if is_erased else ours)
        return self._difference(key, wanted, theirs, incomplete=incomplete)

    def _difference(
        self, key: bytes, wanted: Consent, theirs: bytes, *, incomplete: bool
    ) -> StateDifference | None:
        try:
            found = self.installation.codec.decode_consent(theirs)
            fields = _fields(self.installation.codec.decode("Consent", theirs), wanted)
        except UndecodableError:
            return StateDifference(StateDifferenceKind.UNREADABLE, key, {}, None)
        if found.law_version > LAW_VERSION:
            raise StateError(
                f"desired-consents has a row of law version {found.law_version}, and this release "
                f"knows {LAW_VERSION}; use the newer release"
            )
        if not fields:
            return None
        if outranks(found.order, wanted.order):
            kind = StateDifferenceKind.UNJUDGED if incomplete else StateDifferenceKind.NEWER
            return StateDifference(kind, key, fields, None)
        row = row_of(self.installation.codec, merge(wanted, found) if incomplete else wanted)
        if row == theirs:
            return StateDifference(StateDifferenceKind.UNJUDGED, key, {}, None)
        return StateDifference(StateDifferenceKind.DIFFERING, key, fields, row)

    def _was_erased(self, key: bytes, wanted: Consent) -> bool:
        """Whether a suppression stands that is no older: its erasure can be read no more."""
        until = max(
            (
                self.current.suppressions.get(one, -1)
                for one in self.installation.suppressions.every(key)
            ),
            default=-1,
        )
        return int(wanted.effective_at.timestamp() * 1000) <= until

    def _suppression_changes(self, computed: Any, current: Any) -> Iterator[StateDifference]:  # noqa: ANN401  # hashes
        ours, rows = self._wanted_suppressions()
        for key in sorted(ours.keys() | self.current.suppressions.keys()):
            wanted, found = ours.get(key), self.current.suppressions.get(key)
            if wanted is not None:
                computed.update(_framed(key, b"%d" % wanted))
            if found is not None:
                current.update(_framed(key, b"%d" % found))
            if wanted == found:
                continue
            fields = {"erased_until": (found, wanted)}
            if wanted is None or (found is not None and found > wanted):
                kind = StateDifferenceKind.SURPLUS if self.reaches else StateDifferenceKind.UNJUDGED
                yield StateDifference(kind, key, fields, None)
            else:
                kind = (
                    StateDifferenceKind.MISSING if found is None else StateDifferenceKind.DIFFERING
                )
                yield StateDifference(kind, key, fields, rows[key])

    def _wanted_suppressions(self) -> tuple[dict[bytes, int], dict[bytes, bytes]]:
        """Return until when opt-ins should be suppressed, and the rows that say so, by key.

        One that stands under an older secret is as good as one under the newest.
        """
        shadow, until, rows = self.shadow, dict[bytes, int](), dict[bytes, bytes]()
        names = dict[bytes, list[bytes]]()
        for erased in shadow.erased:
            every = self.installation.suppressions.every(erased)
            current = [one for one in every if one in self.current.suppressions]
            names |= dict.fromkeys(every, current)
        for key, row in shadow.suppression_rows.items():
            wanted = erased_until(shadow.state.packed(key) or b"")
            found = [one for one in names.get(key, ()) if self.current.suppressions[one] >= wanted]
            name = found[0] if found else key
            until[name], rows[name] = wanted, row
        return until, rows


def _framed(key: bytes, row: bytes) -> bytes:
    return b"%d %b%d %b" % (len(key), key, len(row), row)


def _fields(before: Mapping[str, Any], wanted: Consent) -> Mapping[str, tuple[Any, Any]]:
    """Return the fields of an Avro Consent that differ."""
    after = consent_to_avro(wanted)
    return {name: (before[name], after[name]) for name in after if before[name] != after[name]}
