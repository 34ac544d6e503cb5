"""Records of Kafka: the law's values as Avro records, and back, and their CloudEvents headers.

There is one ``to_avro`` and one ``from_avro`` a value. Avro carries instants as UTC milliseconds,
words of the law as strings and the key as separate fields, so that a subscriber needs none of our
code. Instants that are read back are aware.

A record's id, type, source and time are headers (CloudEvents 1.0, binary mode, Kafka binding), for
readers that do not decode it. Source and id together name one record: a reader that drops those it
has seen loses nothing. So a record that was made of another (a decision, a row) has an id of its
own, :func:`derived_id`; where it is written again after a crash, it is made of the same one and has
the same id.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from hashlib import sha256
from typing import Any, Final

from izin.consent import (
    CHANNELS,
    RECIPIENT_TYPES,
    STATUSES,
    Channel,
    Consent,
    ConsentEvent,
    ConsentKey,
    IysOrigin,
    OriginRank,
    RecipientType,
    UnreadableKeyError,
    Violation,
    maker,
)

AvroRecord = dict[str, Any]

MAX_COPIED_BYTES = 64 * 1024
"""How much of an original value, of its key and of its headers a dead letter has; digest and size
are those of the whole value."""

_HEADER_SIZE = 16
"""What a header takes beside its name and its content, in memory too: a record may have many."""

UNREADABLE = "unreadable"
"""Marks a record that is passed on by its key alone, for its value cannot be read; also the reason
why nothing may be sent to that key."""
_KEY_FIELDS = ("brand_code", "type", "recipient_type", "recipient")
_LONGEST_CODE = 18
"""The digits of a brand code that surely fit an Avro long."""

_ORIGIN_RANKS = {rank.value: rank for rank in OriginRank}
_consent = maker(Consent)
_key = maker(ConsentKey)
Headers = list[tuple[str, str | bytes | None]]
"""As a Kafka client takes them."""
ID: Final = "ce_id"
TYPE: Final = "ce_type"
SOURCE: Final = "ce_source"
TIME: Final = "ce_time"
VERSION: Final = ("ce_specversion", "1.0")
CONTENT_TYPE: Final = ("content-type", "application/avro")
"""The media type of the value, beside the attributes as the binding has it."""
_VERSION: Final = (VERSION[0], VERSION[1].encode())
_CONTENT_TYPE: Final = (CONTENT_TYPE[0], CONTENT_TYPE[1].encode())


def event_to_avro(event: ConsentEvent) -> AvroRecord:
    """Return ``event`` as an Avro ConsentEvent."""
    iys, access = event.iys, event.retailer_access
    return {
        "event_id": event.event_id,
        "customer_id": event.customer_id,
        "brand_code": event.brand_code,
        "type": event.type,
        "recipient_type": event.recipient_type,
        "recipient": event.recipient,
        "recipient_raw": event.recipient_raw,
        "status": event.status,
        "source": event.source,
        "consent_date": event.consent_date,
        "received_at": event.received_at,
        "date_basis": event.date_basis,
        "origin": event.origin,
        "origin_ref": event.origin_ref,
        "sequence": event.sequence,
        "actor": event.actor,
        "correlation_id": event.correlation_id,
        "cause": event.cause,
        "import_id": event.import_id,
        "row": event.row,
        "retailer_code": event.retailer_code,
        # A list, for fastavro takes a tuple of two for (type name, value).
        "retailer_access": None if access is None else list(access),
        "notice_version": event.notice_version,
        "evidence": event.evidence,
        "evidence_hash": event.evidence_hash,
        "iys": iys
        and {
            "stream": iys.stream,
            "path": iys.path,
            "creation_date": iys.creation_date,
            "transaction_id": iys.transaction_id,
            "observed_at": iys.observed_at,
        },
    }


def event_from_avro(record: Mapping[str, Any]) -> ConsentEvent:
    """Return the event that an Avro ConsentEvent describes."""
    fields = dict(record)
    access = fields["retailer_access"]
    fields["retailer_access"] = None if access is None else tuple(access)
    iys = fields["iys"]
    fields["iys"] = None if iys is None else IysOrigin(**iys)
    return ConsentEvent(**fields)


def consent_to_avro(consent: Consent) -> AvroRecord:
    """Return ``consent`` as an Avro Consent."""
    key = consent.key
    return {
        "customer_id": consent.customer_id,
        "brand_code": key.brand_code,
        "type": key.channel,
        "recipient_type": key.recipient_type,
        "recipient": key.recipient,
        "status": consent.status,
        "previous_status": consent.previous_status,
        "effective_at": consent.effective_at,
        "origin_rank": int(consent.origin_rank),
        "event_id": consent.event_id,
        "origin": consent.origin,
        "source": consent.source,
        "consent_date": consent.consent_date,
        "registrable": consent.registrable,
        "latest_onay_at": consent.latest_onay_at,
        "latest_ret_at": consent.latest_ret_at,
        "law_version": consent.law_version,
    }


def consent_from_avro(record: Mapping[str, Any]) -> Consent:
    """Return the consent that an Avro Consent describes; raises ValueError as ``consent_of``."""
    return consent_of(**record)


def consent_of(  # noqa: PLR0913  # the fields of the contract, by their names
    *,
    brand_code: int,
    type: str,  # noqa: A002  # the contract's name
    recipient_type: str,
    recipient: str,
    status: str,
    previous_status: str | None,  # noqa: ARG001  # follows from the others
    origin_rank: int,
    **others: Any,  # noqa: ANN401  # the fields whose names and values are ours
) -> Consent:
    """Return the consent that an Avro Consent with these fields describes.

    Raises ValueError for a word that the law does not know.
    """
    try:
        return _consent(
            key=_key(
                brand_code=brand_code,
                channel=CHANNELS[type],
                recipient_type=RECIPIENT_TYPES[recipient_type],
                recipient=recipient,
            ),
            status=STATUSES[status],
            origin_rank=_ORIGIN_RANKS[origin_rank],
            **others,
        )
    except KeyError as error:
        raise ValueError(f"no word of the law: {error.args[0]}") from error


def key_from_avro(record: Mapping[str, Any]) -> ConsentKey:
    """Return the key in the fields of any keyed record of ours."""
    return ConsentKey(
        brand_code=record["brand_code"],
        channel=Channel(record["type"]),
        recipient_type=RecipientType(record["recipient_type"]),
        recipient=record["recipient"],
    )


def key_text(record: Mapping[str, Any]) -> str:
    """Return the canonical key in the fields of any keyed record, whose words may be unknown."""
    return "/".join(str(record[name]) for name in _KEY_FIELDS)


def fields_of_key(key: str) -> AvroRecord:
    """Return the fields that the canonical ``key`` of a keyed record gives, where its value does
    not: ``brand_code`` (a number), ``type``, ``recipient_type`` and ``recipient``.

    Channel and recipient type may be words that only a later release knows.

    Raises:
        UnreadableKeyError: ``key`` is not brand_code/type/recipient_type/recipient.
    """
    code, *texts = key.split("/", 3)
    is_code = code.isascii() and code.isdecimal() and len(code) <= _LONGEST_CODE
    if not is_code or len(texts) + 1 < len(_KEY_FIELDS) or not all(texts):
        raise UnreadableKeyError(key)
    return dict(zip(_KEY_FIELDS, (int(code), *texts), strict=True))


def violation_to_avro(violation: Violation) -> AvroRecord:
    """Return ``violation`` as an Avro Violation."""
    return {
        "field": violation.field,
        "code": violation.code,
        "reason": violation.reason,
        "reason_tr": violation.reason_tr,
    }


def dead_letter_to_avro(  # noqa: PLR0913  # the fields of the contract, by their names
    *,
    reason: str,
    violations: Sequence[Violation],
    topic: str,
    partition: int,
    offset: int,
    timestamp: int | datetime,
    key: bytes | None,
    value: bytes | None,
    headers: Sequence[tuple[str, bytes | None]] = (),
) -> AvroRecord:
    """Return an Avro DeadLetter of a record with its coordinates and original bytes.

    ``timestamp`` is the record's own, as an instant or in milliseconds since 1970.
    """
    return {
        "reason": reason,
        "violations": [violation_to_avro(violation) for violation in violations],
        "topic": topic,
        "partition": partition,
        "offset": offset,
        "timestamp": timestamp,
        "key": None if key is None else key[:MAX_COPIED_BYTES],
        "value": None if value is None else value[:MAX_COPIED_BYTES],
        "value_size": 0 if value is None else len(value),
        "value_sha256": "" if value is None else sha256(value).hexdigest(),
        "headers": _copied_headers(headers),
    }


def _copied_headers(headers: Sequence[tuple[str, bytes | None]]) -> list[AvroRecord]:
    """Return those of ``headers`` that fit, in their order, chosen from the end: ours stand there,
    and one of them has the instant of the first append.
    """
    copied, left = [], MAX_COPIED_BYTES
    for name, content in reversed(headers):
        size = len(name.encode()) + len(content or b"") + _HEADER_SIZE
        if size <= left:
            left -= size
            copied.append({"name": name, "value": content})
    return copied[::-1]


def derived_id(event_id: str, topic: str, partition: int, offset: int, part: str = "") -> str:
    """Return the id of a record made of the record at these coordinates, about ``event_id``.

    Coordinates alone would recur in another cluster, and an event occurs at several of them.
    ``part`` tells records apart that are made of one.
    """
    return f"{event_id}/{topic}/{partition}/{offset}{part}"


def attributes(*, record: str, event_id: str, source: str, at: datetime) -> dict[str, str]:
    """Return the context attributes of a ``record`` with the id ``event_id``, and the type of its
    value, by the name of the header.

    ``source`` is a relative URI.
    """
    return {
        VERSION[0]: VERSION[1],
        ID: event_id,
        TYPE: f"izin.{record}",
        SOURCE: source,
        TIME: at.isoformat(),
        CONTENT_TYPE[0]: CONTENT_TYPE[1],
    }


@lru_cache(maxsize=16)
def _repeated(record: str, source: str, at: datetime, _offset: timedelta | None) -> Headers:
    """Return the headers in which many records of a file or a batch are alike.

    Two notations of one instant are equal, so the offset from UTC is part of what is looked up.
    """
    return [
        (TYPE, f"izin.{record}".encode()),
        (SOURCE, source.encode()),
        (TIME, at.isoformat().encode()),
    ]


def headers(*, record: str, event_id: str, source: str, at: datetime) -> Headers:
    """Return the same as Kafka headers."""
    return [
        _VERSION,
        (ID, event_id.encode()),
        *_repeated(record, source, at, at.utcoffset()),
        _CONTENT_TYPE,
    ]
