"""The messages of the sinks: permissions when they change, outcomes when they are reached.

A permission is published when its answer, its reason or its retailers change, or the instant from
when a consent counts that permits: readers compare it with opt-outs. Never otherwise. An
outcome belongs to the event that was due to İYS; its id is derived from its content, so that
duplicates are recognised.
"""

import hashlib
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Any

from izin.consent import (
    CLOSED,
    SETTLED,
    WAITING,
    ConsentEvent,
    ConsentKey,
    State,
    Status,
    Violation,
    maker,
)
from izin.iys.wire_format import UnreadableItem
from izin.ledger.record.anchor import Anchor
from izin.ledger.record.brand import Brand
from izin.ledger.record.consent_row import ConsentRow
from izin.ledger.record.outcome import Outcome, outcome_of
from izin.schemas.api_keys import ApiKey
from izin.schemas.codec import Codec
from izin.schemas.records import AvroRecord, attributes, dead_letter_to_avro, event_to_avro
from izin.schemas.topics import Topic, Topics

REASONS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "IZIN-UNREADABLE-MOVEMENT": (
            "İYS shows a movement that cannot be read",
            "İYS'nin gösterdiği hareket okunamadı; kişiyi İYS'nin sayfalarından kontrol edin.",
        ),
        "IZIN-UNREADABLE-DECISION": (
            "the bytes are no decision",
            "Karar kaydı okunamadı; işletmeciye bildirin.",
        ),
        "IZIN-REFUSED-DECISION": (
            "the ledger cannot take the decision",
            "Karar deftere yazılamadı; işletmeciye bildirin.",
        ),
        "IZIN-UNREADABLE-RECEIPT": (
            "the bytes are no receipt of the gate",
            "Gönderim sorgusu makbuzu okunamadı; işletmeciye bildirin.",
        ),
        "IZIN-REFUSED-RECEIPT": (
            "the ledger cannot take the receipt of the gate",
            "Gönderim sorgusu makbuzu deftere yazılamadı; işletmeciye bildirin.",
        ),
    }
)
"""Each code of the sinks with its English and its Turkish reason."""
_CODES: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "decision": ("IZIN-UNREADABLE-DECISION", "IZIN-REFUSED-DECISION"),
        "receipt": ("IZIN-UNREADABLE-RECEIPT", "IZIN-REFUSED-RECEIPT"),
    }
)
"""The codes of what nobody can read, and of what the ledger refuses, by what the topic has."""
NO_OFFSET = -1
"""In place of partition and offset, for it was no record of a topic."""

POISON = "poison"
"""The reason of a dead letter that is readable, and still cannot be processed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuarantinedRecord:
    """A record of a topic that the ledger cannot take, as it is."""

    topic: str
    partition: int
    offset: int
    appended_at: datetime
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes | None]]

    reason: str
    """``undecodable``, ``unknown-schema`` or ``poison``."""
    error: str
    """The type of the error; a message may contain the recipient."""
    source: str
    """Customer and origin of its event, as far as they can be read."""
    is_ret: bool
    """Whether it is an opt-out (RET), as far as it can be read."""
    of: str = "decision"
    """What the topic has: a decision, or a receipt of the gate."""


def quarantined(record: QuarantinedRecord) -> AvroRecord:
    """Return ``record`` as an Avro DeadLetter."""
    unreadable, refused = _CODES[record.of]
    code = refused if record.reason == POISON else unreadable
    return dead_letter_to_avro(
        reason=record.reason,
        violations=[_violation(code, record.error)],
        topic=record.topic,
        partition=record.partition,
        offset=record.offset,
        timestamp=record.appended_at,
        key=record.key,
        value=record.value,
        headers=record.headers,
    )


def dead_letter(item: UnreadableItem, source: str, now: datetime) -> AvroRecord:
    """Return ``item``, which İYS showed at ``source`` (path, stream and brand), as an Avro
    DeadLetter.
    """
    return dead_letter_to_avro(
        reason="undecodable",
        violations=[_violation("IZIN-UNREADABLE-MOVEMENT", item.error)],
        topic=source,
        partition=NO_OFFSET,
        offset=NO_OFFSET,
        timestamp=now,
        key=None,
        value=item.raw,
    )


def _violation(code: str, detail: str) -> Violation:
    reason, reason_tr = REASONS[code]
    return Violation(field="value", code=code, reason=f"{reason}: {detail}", reason_tr=reason_tr)


_FINAL = frozenset({*SETTLED, *CLOSED})
_SUPERSEDABLE = frozenset({*WAITING, State.PARKED})


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A record to be produced to a topic."""

    customer_id: str
    topic: str
    key: str
    value: bytes | None
    """None: a tombstone."""
    headers: Mapping[str, str]


_message = maker(Message)


class TopicMessages:
    """Encodes what the ledger publishes as messages of the topics."""

    def __init__(self, codec: Codec, topics: Topics) -> None:
        self._codec = codec
        self.topics = topics

    def permission(
        self, before: ConsentRow | None, after: ConsentRow, now: datetime
    ) -> tuple[ConsentRow, Message] | None:
        """Return ``after`` with a new permission and its message, without retailers; None if
        nothing of it changed.
        """
        permitted = permitted_row(before, after, now)
        if permitted is None:
            return None
        return permitted, self.permission_of(permitted, now, previous=may_send_before(before))

    def permission_of(
        self,
        row: ConsentRow,
        now: datetime,
        *,
        previous: bool | None,
        retailers: Collection[int] = (),
    ) -> Message:
        """Return the message of the permission of ``row``, which ``retailers`` may use too;
        ``previous`` is the answer that was published before.
        """
        value = {
            "customer_id": row.customer_id,
            "brand_code": row.brand_code,
            "type": row.channel,
            "recipient_type": row.recipient_type,
            "recipient": row.recipient,
            "may_send": row.may_send,
            "reason": row.permission_reason,
            "desired": row.desired_status,
            "registered": row.registered,
            "registered_at": row.registered_at,
            "consent_date": row.registered_consent_date,
            "since": row.permission_since,
            "previous_may_send": previous,
            "retailers": ",".join(map(str, sorted(retailers))) or None,
        }
        return self.message(
            self.topics.permissions, row.key, row.customer_id, value, str(now.timestamp()), now
        )

    def outcomes(
        self, before: ConsentRow | None, after: ConsentRow, now: datetime
    ) -> Iterator[Outcome]:
        """Yield the outcomes that the change from ``before`` to ``after`` means for events due to
        İYS.
        """
        replaced = before is not None and not after.is_of(
            before.desired_event_id, before.desired_status
        )
        if before is not None and replaced and before.is_ours and before.state in _SUPERSEDABLE:
            yield outcome_of(before, "superseded", now)
        reached = replaced or before is None or before.state != after.state
        if reached and after.is_ours and after.state in _FINAL:
            yield outcome_of(after, after.state, now)

    def outcome(self, outcome: Outcome) -> Message:
        """Return the message of ``outcome``."""
        value = {
            "customer_id": outcome.customer_id,
            **_key_fields(outcome.key),
            "outcome_id": outcome.outcome_id,
            "event_id": outcome.event_id,
            "outcome": outcome.outcome,
            "status": outcome.status,
            "code": outcome.code,
            "message": outcome.message,
            "request_id": outcome.request_id,
            "transaction_id": outcome.transaction_id,
            "creation_date": outcome.creation_date,
            "attempt": outcome.attempt,
            "origin": outcome.origin,
            "origin_ref": outcome.origin_ref,
            "occurred_at": outcome.occurred_at,
        }
        return self.message(
            self.topics.outcomes,
            str(outcome.key),
            outcome.customer_id,
            value,
            outcome.outcome_id,
            outcome.occurred_at,
        )

    def template(
        self, message: Message, own: Collection[str]
    ) -> Callable[[Mapping[str, Any]], bytes]:
        """Return an encoder of the values of messages that differ from ``message`` only in the
        fields ``own``.
        """
        record, shared = self._record_of(message)
        return self._codec.template_encoder(record, shared, own)

    def runs(self, message: Message, own: Collection[str]) -> list[bytes]:
        """Return what the values of messages that differ from ``message`` only in the fields
        ``own`` have before, between and behind these.
        """
        record, shared = self._record_of(message)
        return self._codec.shared_runs(record, shared, own)

    def _record_of(self, message: Message) -> tuple[str, Mapping[str, Any]]:
        record = next(topic.record for topic in self.topics if topic.name == message.topic)
        return record, self._codec.decode(record, message.value or b"")

    def brand(self, brand: Brand, now: datetime) -> Message:
        """Return the message of a brand."""
        value = {
            "brand_code": brand.brand_code,
            "iys_code": brand.iys_code,
            "customer_id": brand.customer_id,
            "name": brand.name,
            "activated_at": brand.activated_at,
            "loading_deadline": brand.loading_deadline,
            "status": brand.status,
            "suspension": brand.suspension,
        }
        code = str(brand.brand_code)
        return self.message(self.topics.brands, code, brand.customer_id, value, code, now)

    def api_key(self, key: ApiKey, now: datetime) -> Message:
        """Return the message of an API key."""
        return self.message(
            self.topics.api_keys, key.id, key.customer_id, key.to_avro(), key.id, now
        )

    def anchor(self, anchor: Anchor) -> Message:
        """Return the message of a chain's head."""
        value = {
            "anchor_id": anchor.id,
            "shard": anchor.shard,
            "place": anchor.place,
            "link": anchor.link.hex(),
            "anchored_at": anchor.anchored_at,
        }
        return self.message(
            self.topics.anchors, str(anchor.shard), "", value, str(anchor.id), anchor.anchored_at
        )

    def event(self, event: ConsentEvent, key: ConsentKey | None, now: datetime) -> Message:
        """Return the message of an event of the sinks: a movement at İYS, or a rescue. Of one
        without a readable ``key`` the order stage reports the violations.
        """
        is_of_ours = event.iys is not None and event.iys.stream == "HS"
        is_urgent = key is None or not is_of_ours or event.status == Status.RET
        return self.message(
            self.topics.express if is_urgent else self.topics.events,
            hashlib.sha256(event.recipient.encode()).hexdigest() if key is None else str(key),
            event.customer_id,
            event_to_avro(event),
            event.event_id,
            now,
        )

    def no_permission(self, key: str, customer_id: str, now: datetime) -> Message:
        """Return the tombstone of a permission."""
        topic = self.topics.permissions
        return _message(
            customer_id=customer_id,
            topic=topic.name,
            key=key,
            value=None,
            headers=attributes(
                record=topic.record, event_id=str(uuid.uuid4()), source="/izin/sinks", at=now
            ),
        )

    def unreadable(self, item: UnreadableItem, source: str, now: datetime) -> Message:
        """Return the dead letter of an ``item`` that İYS showed at ``source``."""
        return self._dead_letter(dead_letter(item, source, now), now)

    def quarantined(self, record: QuarantinedRecord, now: datetime) -> Message:
        """Return the dead letter of a ``record`` that the ledger cannot take."""
        return self._dead_letter(quarantined(record), now)

    def _dead_letter(self, value: Mapping[str, object], now: datetime) -> Message:
        digest = str(value["value_sha256"])
        place = f"{value['topic']}/{value['partition']}/{value['offset']}"
        return self.message(self.topics.dead_letters, digest, "", value, f"{digest}/{place}", now)

    def message(  # noqa: PLR0913, PLR0917 - a record, its place, and the headers that differ
        self,
        topic: Topic,
        key: str,
        customer_id: str,
        value: Mapping[str, object],
        identity: str,
        at: datetime,
    ) -> Message:
        """Return the message of a record, the id of which begins with ``identity``."""
        return _message(
            customer_id=customer_id,
            topic=topic.name,
            key=key,
            value=self._codec.encode(topic.record, value),
            headers=attributes(record=topic.record, event_id=identity, source="/izin/sinks", at=at),
        )


def permitted_row(before: ConsentRow | None, after: ConsentRow, now: datetime) -> ConsentRow | None:
    """Return ``after`` with a new permission; None if nothing of it changed."""
    answer = after.permission_by_law
    is_same = after.may_send == answer.may_send
    if (
        before is not None
        and is_same
        and after.permission_reason == answer.reason
        and (not answer.may_send or _counts_from(before) == _counts_from(after))
    ):
        return None
    return after.replace(
        may_send=answer.may_send,
        permission_reason=str(answer.reason),
        permission_since=(after.permission_since if is_same else None) or now,
    )


def _counts_from(row: ConsentRow) -> datetime | None:
    """Return from when what İYS holds counts, as readers of a permission compute it."""
    return min(
        (one for one in (row.registered_at, row.registered_consent_date) if one is not None),
        default=None,
    )


def may_send_before(row: ConsentRow | None) -> bool | None:
    """Return the answer that was published last; None: there was none."""
    return None if row is None or row.permission_reason is None else row.may_send


def _key_fields(key: ConsentKey) -> dict[str, object]:
    return {
        "brand_code": key.brand_code,
        "type": str(key.channel),
        "recipient_type": str(key.recipient_type),
        "recipient": key.recipient,
    }
