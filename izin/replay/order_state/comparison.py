"""What differs between the rows of a partition that stand and those that should.

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

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from hashlib import sha256
from typing import Any, NamedTuple

from izin.consent import LAW_VERSION, Consent, merge, outranks
from izin.replay.order_state.planning import Installation, records_between
from izin.replay.order_state.shadow import Shadow
from izin.replay.processes import Advance
from izin.runtime.plan import Plan, Selection
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import consent_to_avro
from izin.streams.errors import StateError
from izin.streams.state.state import erased_until


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
class StandingRows:
    """What a partition has: the latest row of each key."""

    rows: dict[bytes, bytes] = field(default_factory=dict)
    """By canonical key, in one form; as it is where it is no row."""
    suppressions: dict[bytes, int] = field(default_factory=dict)
    """By key: until which instant (milliseconds since 1970) opt-ins are suppressed."""


def read_standing(
    installation: Installation, number: int, end: int, advance: Advance
) -> StandingRows:
    """Return what partition ``number`` has below ``end``; ``advance`` gets how many records were
    read, some at a time.

    Raises KafkaException, and StateError for a suppression under an unknown secret.
    """
    settings, codec = installation.kafka, installation.codec
    found = StandingRows()
    topic = settings.topics.desired_consents.name
    for messages in records_between(settings, topic, number, 0, end):
        for one in messages:
            key, value = one.key() or b"", one.value()
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
    standing: StandingRows
    reaches: bool
    """Whether every event that was decided is in the shadow."""
    computed_digest: str = ""
    standing_digest: str = ""
    keys: int = 0
    """How many should stand."""

    def changes(self) -> Iterator[StateDifference]:
        """Yield what differs, by key; the same if it is called again."""
        computed, standing, self.keys = sha256(), sha256(), 0
        state, packing = self.shadow.state, self.shadow.state.packing
        keys = {key for key in state if not key.startswith(SUPPRESSED)}
        for key in sorted(keys | self.standing.rows.keys()):
            if not self.plan.selection.takes_record(key):
                continue
            packed, theirs = state.packed(key), self.standing.rows.get(key)
            wanted = None if packed is None else packing.unpack(key, packed)
            ours = None if wanted is None else row_of(self.installation.codec, wanted)
            change = None if ours == theirs else self._change(key, wanted, ours, theirs)
            if ours is not None:
                self.keys += 1
                computed.update(_framed(key, ours))
            if theirs is not None:
                # The same content may be encoded in other bytes.
                standing.update(_framed(key, theirs if ours is None or change else ours))
            if change is not None:
                yield change
        if self.plan.selection == Selection():
            yield from self._suppression_changes(computed, standing)
        self.computed_digest, self.standing_digest = computed.hexdigest(), standing.hexdigest()

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
                self.standing.suppressions.get(one, -1)
                for one in self.installation.suppressions.every(key)
            ),
            default=-1,
        )
        return int(wanted.effective_at.timestamp() * 1000) <= until

    def _suppression_changes(self, computed: Any, standing: Any) -> Iterator[StateDifference]:  # noqa: ANN401  # hashes
        ours, rows = self._wanted_suppressions()
        for key in sorted(ours.keys() | self.standing.suppressions.keys()):
            wanted, found = ours.get(key), self.standing.suppressions.get(key)
            if wanted is not None:
                computed.update(_framed(key, b"%d" % wanted))
            if found is not None:
                standing.update(_framed(key, b"%d" % found))
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
            standing = [one for one in every if one in self.standing.suppressions]
            names |= dict.fromkeys(every, standing)
        for key, row in shadow.suppression_rows.items():
            wanted = erased_until(shadow.state.packed(key) or b"")
            found = [one for one in names.get(key, ()) if self.standing.suppressions[one] >= wanted]
            name = found[0] if found else key
            until[name], rows[name] = wanted, row
        return until, rows


def _framed(key: bytes, row: bytes) -> bytes:
    return b"%d %b%d %b" % (len(key), key, len(row), row)


def _fields(before: Mapping[str, Any], wanted: Consent) -> Mapping[str, tuple[Any, Any]]:
    """Return the fields of an Avro Consent that differ."""
    after = consent_to_avro(wanted)
    return {name: (before[name], after[name]) for name in after if before[name] != after[name]}
