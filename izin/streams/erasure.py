"""Erase the state of a key, and suppress the opt-ins that would bring it back.

In one transaction the key's row in ``desired-consents`` becomes a tombstone, and a suppression is
written beside it: a row of the same partition whose key is the keyed digest of the erased key. So
whoever reads the state back has both, and a suppression is never older than the state it is for.

A merchant whom nobody knows may be sent to where the registration is not needed (6563 m.6/2). So
the opt-out of one who is erased is suppressed for the gate too, in ``opted-out-merchants``.
"""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from izin.consent.model import (
    LAW_VERSION,
    AdmittedEvent,
    Consent,
    OriginRank,
    RecipientType,
    Status,
)
from izin.schemas.codec import Codec
from izin.schemas.erasure import ERASED, ERASURE, KNOWN_AGAIN, ORIGIN, SuppressionKeys
from izin.schemas.fast.record_format import headers_bytes
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import derived_id, event_to_avro, headers
from izin.schemas.topics import Topics
from izin.streams.fetched_record import FetchedRecord
from izin.streams.ownership.effects import Effects, OutputRecord
from izin.streams.state.state import PartitionState, erased_until, suppression

_MICROSECOND = 1000
_NOBODY: Mapping[str, Any] = {
    "customer_id": "",
    "brand_code": 0,
    "type": "",
    "recipient_type": "",
    "recipient": "",
}
"""Customer and key of a row that names nobody."""


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
            if found is not None and effective <= erased_until(found) * _MICROSECOND:
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
            identity = _headers("Consent", kept.decode(), record, at)
            writes.append(OutputRecord(rows, partition, kept, value, identity))
            if (
                admitted.key.recipient_type is RecipientType.TACIR
                and current is not None
                and current.status is Status.RET
            ):
                topic = self._topics.opted_out_merchants.name
                identity = _headers("Consent", f"{kept.decode()}/merchant", record, at)
                writes.append(OutputRecord(topic, 0, kept, value, identity))
        if not is_known_again:
            changes[key] = b""
            identity = _headers("Consent", event_id, record, at)
            writes.append(OutputRecord(rows, partition, key, None, identity))
        reason = KNOWN_AGAIN if is_known_again else ERASED
        decision = self._codec.encode("Decision", _decision(admitted, record, reason))
        identity = _headers("Decision", event_id, record, at)
        topic = self._topics.decisions.name
        writes.append(OutputRecord(topic, partition, key, decision, identity))
        # All at once: whatever failed above has added nothing.
        effects.suppresses = True
        effects.counts[ERASED] += 1
        effects.changes.update(changes)
        effects.writes.extend(writes)


def suppression_row(codec: Codec, at: datetime, event_id: str) -> bytes:
    """Return the row that suppresses what was given until ``at``, by the erasure ``event_id``."""
    return codec.encode("Consent", _consent(at, _NOBODY, event_id))


def _headers(name: str, event_id: str, record: FetchedRecord, at: datetime) -> bytes:
    """Return the headers of a record of the contract ``name`` that an erasure gives."""
    identity = derived_id(f"{event_id}/{name}", record.topic, record.partition, record.offset)
    return headers_bytes(headers(record=name, event_id=identity, source="/izin/streams", at=at))


def _consent(at: datetime, address: Mapping[str, Any], event_id: str) -> Mapping[str, Any]:
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


def _decision(admitted: AdmittedEvent, record: FetchedRecord, reason: str) -> Mapping[str, Any]:
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
        "consent": _consent(admitted.effective_at, address, ""),
        "event": event,
    }
