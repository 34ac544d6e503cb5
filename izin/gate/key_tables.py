"""What topics say of each key: ``permissions``, ``consent-decisions`` and the input lanes.

An opt-out closes a key before the ledger knows of it, and a permission opens it again only by a
newer consent: see :mod:`izin.kafka.tables.packed_permissions`. A record that cannot be read closes
its key, for its answer may be a no.

Opt-outs are read in the decisions, not in ``consent-opt-outs``, where those are missing that were
decided after a newer opt-in, however short before: İYS may hold an older consent still.

Most records of an input lane are no opt-outs (RET), so it is first looked whether the word can be
in one at all. The rest is decoded and admitted by the law, as the order stage does. What it refuses
closes nothing, nor does what cannot be decoded: that becomes a dead letter there, and is counted
here.
"""

import time
from collections.abc import Callable, Sequence
from typing import Final

from confluent_kafka import Message

from izin.consent import ConsentEvent, ConsentKey, RecipientType, RefusedEvent, Status, admit
from izin.gate.undecided import UndecidedOptOuts
from izin.kafka.follower import take_each
from izin.kafka.tables.packed_permissions import (
    PackedPermissions,
    PermissionFacts,
    digest_of,
    whole_seconds,
)
from izin.kafka.tables.permission_reader import PermissionReader
from izin.runtime.logs import get_logger
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.erasure import NO_SUPPRESSIONS, SuppressionKeys
from izin.schemas.fast.cache import put
from izin.schemas.fast.reader import append_instant
from izin.schemas.generated.decision_offsets import consent_offsets, head_offsets
from izin.schemas.partitioning import partition_of
from izin.schemas.records import UNREADABLE

_BUCKETS = 1 << 16
"""For millions of keys."""
_DECISION: Final = "Decision"
_RET: Final = b"RET"
"""It is in every decision on an opt-out, as the law spells it."""
_RET_IN_LOWER_CASE: Final = b"ret"
_LOWER: Final = bytes(range(256)).lower()
_LEFT_OUT: Final = b"\0" + bytes(range(128, 256))
"""What the law cleans a status of: NUL, and bytes that are no text."""
_LATEST_RET: Final = 13
"""Of what is returned by ``consent_offsets``."""
_MILLISECONDS: Final = 1000
_log = get_logger(__name__)
Retailers = frozenset[int]
_NO_RETAILERS: Retailers = frozenset()
Unreadable = Callable[[str, Message, Exception], None]
"""Called with a topic, a record of it that cannot be read, and why."""


class ErasedMerchants:
    """The merchants (TACIR) who had opted out when they were erased: ``opted-out-merchants``.

    The order stage writes a keyed digest of each key (``schemas.erasure``), under the secrets of
    the installation. Where a merchant need not be registered, nobody else knows that the answer is
    no. Written by one thread, read by any.
    """

    def __init__(self, keys: SuppressionKeys) -> None:
        self._keys = keys
        self._digests: set[bytes] = set()
        self.foreign = 0
        """Those under a secret that is not among ``keys``: anybody may be one of them."""

    def take(self, records: Sequence[Message]) -> int:
        """Take all records: of each, the key says everything."""
        for record in records:
            key = record.key() or b""
            if key not in self._digests:
                self._digests.add(key)
                self.foreign += not key.startswith(self._keys.prefixes)
        return len(records)

    def covers(self, key: ConsentKey) -> bool:
        """Whether ``key``, of which nothing else is known, may be one of them."""
        if key.recipient_type is not RecipientType.TACIR or not self._digests:
            return False
        return self.foreign > 0 or not self._digests.isdisjoint(self._keys.every(key.encode()))


class KnownKeys(PackedPermissions):
    """What was said of each key. Written by two threads, read by any."""

    def __init__(self, suppressions: SuppressionKeys = NO_SUPPRESSIONS) -> None:
        super().__init__(_BUCKETS)
        self.unreadable = 0
        """How many records could not be read."""
        self.merchants = ErasedMerchants(suppressions)
        """Of keys of which nothing else is known."""
        self._retailers: dict[bytes, Retailers] = {}
        """By the digest of a key: who may use the consent that İYS holds; only where anybody."""
        self._lists: dict[str, Retailers] = {}

    def retailers(self, digest: bytes) -> Retailers:
        """Return the retailers that may use the consent of the key of ``digest``."""
        return self._retailers.get(digest, _NO_RETAILERS)

    def note_unreadable(self, topic: str, record: Message, error: Exception) -> None:
        """Count and log a record that cannot be read."""
        with self._lock:
            self.unreadable += 1
        _log.error(
            "record not readable",
            topic=topic,
            partition=record.partition(),
            offset=record.offset(),
            error=str(error) if isinstance(error, UndecodableError) else type(error).__name__,
        )

    def take(self, key: bytes, facts: PermissionFacts) -> None:
        """Take the ledger's answer; raises ValueError."""
        text = facts.retailers
        retailers = self._lists.get(text) if text is not None else _NO_RETAILERS
        if retailers is None and text is not None:
            retailers = put(self._lists, text, frozenset(map(int, text.split(","))))
        # The list first: a consent must not be open to the retailers of the one before.
        if retailers:
            self._retailers[digest_of(key)] = retailers
        elif self._retailers:
            self._retailers.pop(digest_of(key), None)
        self.put(key, facts)

    def erase(self, key: bytes) -> None:
        """Forget a key but for its latest opt-out."""
        if self._retailers:
            self._retailers.pop(digest_of(key), None)
        self.remove(key)


class PermissionRecords:
    """Takes the records of ``permissions``. The ledger writes them, so their keys are canonical."""

    def __init__(self, known: KnownKeys, codec: Codec, topic: str) -> None:
        self._known = known
        self._reader = PermissionReader(codec)
        self._topic = topic

    def take(self, records: Sequence[Message]) -> int:
        """Take records until the schema of one cannot be fetched."""
        return take_each(records, self._take)

    def _take(self, record: Message) -> None:
        key, value = record.key() or b"", record.value()
        try:
            if value is None:
                self._known.erase(key)
            else:
                self._known.take(key, self._reader.read(value))
        except (UndecodableError, ValueError, TypeError, KeyError) as error:
            self._known.deny(key, UNREADABLE)
            self._known.note_unreadable(self._topic, record, error)


class DecisionRecords:
    """Takes the records of ``consent-decisions``: of a key that has opted out, when it last did.

    The order stage writes them, so their keys are canonical.
    """

    def __init__(self, known: KnownKeys, codec: Codec, topic: str) -> None:
        self._known = known
        self._codec = codec
        self._framed = codec.header(_DECISION)
        self._topic = topic

    def take(self, records: Sequence[Message]) -> int:
        """Take records until the schema of one cannot be fetched."""
        return take_each(records, self._take)

    def _take(self, record: Message) -> None:
        value = record.value()
        if value is not None and _RET not in value:
            return
        key = record.key() or b""
        try:
            at = self._opted_out_at(value)
        except (UndecodableError, ValueError, TypeError, KeyError) as error:
            # The instant of an opt-out may be lost: a consent must be given after now.
            at = int(time.time())
            self._known.note_unreadable(self._topic, record, error)
        if at is not None:
            self._known.opt_out(key, at)

    def _opted_out_at(self, value: bytes | None) -> int | None:
        """Return the latest opt-out of the key, in seconds since 1970; None: there is none."""
        if value is None:
            raise UndecodableError("a tombstone is no decision")
        if value.startswith(self._framed):
            try:
                consent = head_offsets(value, len(self._framed))[-1]
                milliseconds = consent_offsets(value, consent)[_LATEST_RET]
            except (IndexError, ValueError, TypeError):
                return self._decoded(value)  # it decides whether that is wrong, or only unusual
            return None if milliseconds is None else milliseconds // _MILLISECONDS
        return self._decoded(value)

    def _decoded(self, value: bytes) -> int | None:
        latest = self._codec.decode(_DECISION, value)["consent"]["latest_ret_at"]
        return None if latest is None else whole_seconds(latest)


def may_be_opt_out(value: bytes) -> bool:
    """Whether the status RET may be in an encoded event, however it is spelt; rarely wrong."""
    return _RET_IN_LOWER_CASE in value.translate(_LOWER, _LEFT_OUT)


class LaneTable:
    """Takes the records of an input topic of so many ``partitions``, and marks opt-outs."""

    def __init__(
        self,
        *,
        topic: str,
        partitions: int,
        codec: Codec,
        undecided: UndecidedOptOuts,
        unreadable: Unreadable,
    ) -> None:
        self._topic = topic
        self._partitions = partitions
        self._codec = codec
        self._undecided = undecided
        self._unreadable = unreadable

    def take(self, records: Sequence[Message]) -> int:
        """Take records until the schema of one cannot be fetched."""
        return take_each(records, self._take)

    def _take(self, record: Message) -> None:
        value = record.value()
        if value is not None and may_be_opt_out(value):
            key = self._opt_out(record, value)
            if key is not None:
                self._mark(record, key.encode())

    def _opt_out(self, record: Message, value: bytes) -> ConsentKey | None:
        """Return the key that an opt-out closes; None: it is none. Raises OurError where its schema
        cannot be fetched now.
        """
        try:
            event = self._event(value)
        except UndecodableError as error:
            self._unreadable(self._topic, record, error)
            return None
        try:
            admitted = admit(event, appended_at=append_instant(record.timestamp()[1]))
        except Exception as error:  # noqa: BLE001  # one record must not keep the others waiting
            self._unreadable(self._topic, record, error)
            return None
        if isinstance(admitted, RefusedEvent) or admitted.status is not Status.RET:
            return None
        return admitted.key

    def _event(self, value: bytes) -> ConsentEvent:
        """Decode an event, without bytes that are no text where it has such."""
        try:
            return self._codec.decode_event(value)
        except UndecodableError:
            return self._codec.decode_damaged_event(value)[0]

    def _mark(self, record: Message, key: bytes) -> None:
        lane = self._topic, record.partition() or 0
        home = partition_of(key, self._partitions)
        self._undecided.add(lane, record.offset() or 0, digest_of(key), home)
