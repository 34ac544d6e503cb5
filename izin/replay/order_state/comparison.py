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

from izin.consent.fold import outranks
from izin.consent.model import LAW_VERSION, Consent
from izin.consent.ordering import merge
from izin.replay.order_state.planning import Installation, records_between
from izin.replay.order_state.shadow import Shadow
from izin.replay.plan import Plan
from izin.replay.processes import Advance
from izin.replay.selection import Selection
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import SUPPRESSED
from izin.schemas.fast.cache import put
from izin.schemas.fast.writer import EPOCH, MILLISECOND, long_bytes, writer_of
from izin.schemas.records import consent_to_avro, fields_of_key
from izin.streams.errors import StateError
from izin.streams.fast_path.row_writer import RowWriter
from izin.streams.state.packing import Facts, facts_of
from izin.streams.state.state import erased_until

_SLASHES = 3
"""Of a canonical key, ``brand_code/type/recipient_type/recipient``."""
_text = writer_of("string")


class CanonicalRows:
    """Writes rows as ``codec`` frames."""

    def __init__(self, codec: Codec) -> None:
        self._codec = codec
        self._header = codec.header("Consent")
        self._writer = RowWriter(codec)
        self._prefixes: dict[bytes, bytes] = {}

    def of_facts(self, key: bytes, facts: Facts) -> bytes:
        """Return the row of ``facts`` about the canonical ``key``."""
        recipient = key.split(b"/", _SLASHES)[-1]
        prefix = key[: len(key) - len(recipient)]
        encoded = self._prefixes.get(prefix) or self._learn(prefix)
        return self._writer.write(encoded + long_bytes(len(recipient)) + recipient, *facts)

    def of_value(self, key: bytes, value: bytes) -> bytes:
        """Return the row that ``value`` is; one that is none differs from whatever should stand,
        and stays as it is.
        """
        if value.startswith(self._header):
            return value
        try:
            return self.of_facts(key, facts_of(self._codec.decode_consent(value)))
        except UndecodableError:
            return value

    def _learn(self, prefix: bytes) -> bytes:
        """Return the bytes of the fields of keys with ``prefix``, up to the recipient."""
        fields = fields_of_key(f"{prefix.decode()}-")
        encoded = b"".join(
            (
                long_bytes(fields["brand_code"]),
                _text(fields["type"]),
                _text(fields["recipient_type"]),
            )
        )
        return put(self._prefixes, prefix, encoded)


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
    found, canonical = StandingRows(), CanonicalRows(codec)
    topic = settings.topics.desired_consents.name
    for messages in records_between(settings, topic, number, 0, end):
        for one in messages:
            key, value = one.key() or b"", one.value()
            if value is None:
                found.rows.pop(key, None)
                found.suppressions.pop(key, None)
            elif not key.startswith(SUPPRESSED):
                found.rows[key] = canonical.of_value(key, value)
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


class ChangeKind(StrEnum):
    """How a row differs."""

    MISSING = "missing"
    DIFFERING = "differing"
    UNREADABLE = "unreadable"
    NEWER = "newer"
    SURPLUS = "surplus"
    UNJUDGED = "unjudged"

    @property
    def is_written(self) -> bool:
        """Whether the execution writes the row that should stand."""
        return self in {ChangeKind.MISSING, ChangeKind.DIFFERING}


class Change(NamedTuple):
    """A row that differs."""

    kind: ChangeKind
    key: bytes
    fields: Mapping[str, tuple[Any, Any]]
    """By name: what stands, and what should; empty where a whole row is missing or surplus."""
    row: bytes | None
    """What the execution writes."""


@dataclass(slots=True)
class Digests:
    """SHA-256 of the sorted keys and rows of a partition, as they should be and as they stand."""

    computed: str
    standing: str
    keys: int
    """How many should stand."""


class Comparison:
    """Compares a partition; the differences are yielded, then ``digests`` are known."""

    def __init__(
        self,
        installation: Installation,
        plan: Plan,
        shadow: Shadow,
        standing: StandingRows,
        *,
        reaches: bool,
    ) -> None:
        self.digests = Digests("", "", 0)
        self._shadow = shadow
        self._standing = standing
        self._selection = plan.selection
        self._codec = installation.codec
        self._suppressions = installation.suppressions
        self._reaches = reaches
        """Whether every event that was decided is in the shadow."""
        self._rows = CanonicalRows(installation.codec)
        self._until = standing.suppressions

    def changes(self) -> Iterator[Change]:
        """Yield what differs, by key."""
        computed, standing, count = sha256(), sha256(), 0
        state, packing = self._shadow.state, self._shadow.state.packing
        keys = {key for key in state if not key.startswith(SUPPRESSED)}
        for key in sorted(keys | self._standing.rows.keys()):
            if not self._takes(key):
                continue
            packed = state.packed(key)
            ours = (
                None if packed is None else self._rows.of_facts(key, packing.unpack_facts(packed))
            )
            theirs = self._standing.rows.get(key)
            change = None if ours == theirs else self._change(key, ours, theirs)
            if ours is not None:
                count += 1
                computed.update(_framed(key, ours))
            if theirs is not None:
                # The same content may be encoded in other bytes.
                standing.update(_framed(key, theirs if ours is None or change else ours))
            if change is not None:
                yield change
        if self._selection == Selection():
            yield from self._suppression_changes(computed, standing)
        self.digests = Digests(computed.hexdigest(), standing.hexdigest(), count)

    def _takes(self, key: bytes) -> bool:
        try:
            return self._selection.takes_key(key.decode())
        except ValueError:  # no canonical key: somebody else wrote it
            return self._selection == Selection()

    def _change(self, key: bytes, ours: bytes | None, theirs: bytes | None) -> Change | None:
        """Return how a row differs; None where it has the same content."""
        incomplete = not self._reaches or key in self._shadow.incomplete
        if ours is None:
            kind = ChangeKind.UNJUDGED if incomplete else ChangeKind.SURPLUS
            return Change(kind, key, {}, None)
        wanted = self._codec.decode_consent(ours)
        if theirs is None:
            is_erased = key not in self._shadow.erased and self._was_erased(key, wanted)
            kind = ChangeKind.UNJUDGED if is_erased else ChangeKind.MISSING
            return Change(kind, key, {}, None if is_erased else ours)
        return self._difference(key, ours, wanted, theirs, incomplete=incomplete)

    def _difference(
        self, key: bytes, ours: bytes, wanted: Consent, theirs: bytes, *, incomplete: bool
    ) -> Change | None:
        try:
            found = self._codec.decode_consent(theirs)
            fields = _fields(self._codec.decode("Consent", theirs), wanted)
        except UndecodableError:
            return Change(ChangeKind.UNREADABLE, key, {}, None)
        if found.law_version > LAW_VERSION:
            raise StateError(
                f"desired-consents has a row of law version {found.law_version}, and this release "
                f"knows {LAW_VERSION}; use the newer release"
            )
        if not fields:
            return None
        if outranks(found.order, wanted.order):
            kind = ChangeKind.UNJUDGED if incomplete else ChangeKind.NEWER
            return Change(kind, key, fields, None)
        if incomplete:
            wanted = merge(wanted, found)
            ours = self._rows.of_facts(key, facts_of(wanted))
            if ours == theirs:
                return Change(ChangeKind.UNJUDGED, key, {}, None)
        return Change(ChangeKind.DIFFERING, key, fields, ours)

    def _was_erased(self, key: bytes, wanted: Consent) -> bool:
        """Whether a suppression stands that is no older: its erasure can be read no more."""
        until = max((self._until.get(one, -1) for one in self._suppressions.every(key)), default=-1)
        return int(wanted.effective_at.timestamp() * 1000) <= until

    def _suppression_changes(self, computed: Any, standing: Any) -> Iterator[Change]:  # noqa: ANN401  # hashes
        ours, rows = self._wanted_suppressions()
        for key in sorted(ours.keys() | self._until.keys()):
            wanted, found = ours.get(key), self._until.get(key)
            if wanted is not None:
                computed.update(_framed(key, b"%d" % wanted))
            if found is not None:
                standing.update(_framed(key, b"%d" % found))
            if wanted == found:
                continue
            fields = {"erased_until": (found, wanted)}
            if wanted is None or (found is not None and found > wanted):
                kind = ChangeKind.SURPLUS if self._reaches else ChangeKind.UNJUDGED
                yield Change(kind, key, fields, None)
            else:
                kind = ChangeKind.MISSING if found is None else ChangeKind.DIFFERING
                yield Change(kind, key, fields, rows[key])

    def _wanted_suppressions(self) -> tuple[dict[bytes, int], dict[bytes, bytes]]:
        """Return until when opt-ins should be suppressed, and the rows that say so, by key.

        One that stands under an older secret is as good as one under the newest.
        """
        shadow, until, rows = self._shadow, dict[bytes, int](), dict[bytes, bytes]()
        names = dict[bytes, list[bytes]]()
        for erased in shadow.erased:
            every = self._suppressions.every(erased)
            standing = [one for one in every if one in self._until]
            names |= dict.fromkeys(every, standing)
        for key, row in shadow.suppression_rows.items():
            wanted = erased_until(shadow.state.packed(key) or b"")
            found = [one for one in names.get(key, ()) if self._until[one] >= wanted]
            name = found[0] if found else key
            until[name], rows[name] = wanted, row
        return until, rows


def _framed(key: bytes, row: bytes) -> bytes:
    return b"%d %b%d %b" % (len(key), key, len(row), row)


def _fields(before: Mapping[str, Any], wanted: Consent) -> Mapping[str, tuple[Any, Any]]:
    """Return the fields of an Avro Consent that differ, as JSON has them."""
    after = consent_to_avro(wanted)
    return {
        name: (_jsonable(before[name]), _jsonable(after[name]))
        for name in after
        if before[name] != after[name]
    }


def _jsonable(value: Any) -> Any:  # noqa: ANN401  # whatever a row has
    return value.isoformat() if hasattr(value, "isoformat") else value
