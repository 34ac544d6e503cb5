"""Read an opt-out (RET) out of a decision that cannot be taken as it is.

An opt-out closes its key whatever else is wrong with its record. What of it can be read, be it the
beginning of truncated bytes, becomes an opt-out of our own at the same instant: the law admits and
decides it like any other. It names the record that it stands for, which stays in the dead letters.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, NamedTuple
from uuid import UUID, uuid5

from izin.consent.admission import FIRST_DATE, RefusedEvent, admit
from izin.consent.model import ConsentEvent, Source, Status
from izin.consent.ordering import decide
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.fast.reader import instant_of, long_of
from izin.schemas.generated.decision_offsets import head_offsets
from izin.schemas.records import consent_to_avro, event_to_avro, violation_to_avro
from izin.sinks.record.unreadable import QuarantinedRecord

ORIGIN = "quarantine"
"""The origin of events that stand for an opt-out in the dead letters."""
_OPT_OUTS = UUID("b9a5a2b6-5c9e-5d0a-8f51-0d6f5f7e6a11")


class Gleaned(NamedTuple):
    """What could be read of a decision."""

    source: str
    """Customer and origin of its event."""
    status: str
    effective_at: datetime | None
    customer_id: str
    key: Mapping[str, Any]
    """The fields of the key, as the contracts name them."""


def glean(codec: Codec, value: bytes) -> Gleaned | None:
    """Return what can be read of a decision; None where not even its key and status can.

    An event that is an opt-out makes it one, though a newer opt-in may have won.
    """
    try:
        decision = codec.decode("Decision", value)
    except UndecodableError:
        return _beginning(value, codec.header("Decision"))
    consent, event = decision["consent"], decision["event"]
    return Gleaned(
        f"{event['customer_id']}/{event['origin']}",
        str(Status.RET if Status.RET in {event["status"], consent["status"]} else Status.ONAY),
        decision["effective_at"],
        consent["customer_id"],
        {name: consent[name] for name in ("brand_code", "type", "recipient_type", "recipient")},
    )


def opt_out(codec: Codec, gleaned: Gleaned, record: QuarantinedRecord) -> bytes | None:
    """Return the decision on the opt-out that stands for ``record``, encoded; None where the law
    can build no key of it.
    """
    appended_at, stated = record.appended_at, gleaned.effective_at
    is_instant = stated is not None and stated >= FIRST_DATE
    place = f"{record.topic}/{record.partition}/{record.offset}"
    event = ConsentEvent(
        event_id=str(uuid5(_OPT_OUTS, place)),
        customer_id=gleaned.customer_id,
        status=str(Status.RET),
        source=str(Source.HS_KARAR),
        consent_date=min(stated, appended_at) if stated is not None and is_instant else appended_at,
        received_at=appended_at,
        origin=ORIGIN,
        origin_ref=place,
        **gleaned.key,
    )
    admitted = admit(event, appended_at=appended_at)
    if isinstance(admitted, RefusedEvent):
        return None
    decision = decide(None, admitted)
    return codec.encode(
        "Decision",
        {
            "kind": decision.kind,
            "reason": decision.reason,
            "opted_out": decision.opted_out,
            "effective_at": admitted.effective_at,
            "violations": [violation_to_avro(one) for one in admitted.violations],
            "topic": record.topic,
            "partition": record.partition,
            "offset": record.offset,
            "consent": consent_to_avro(decision.consent),
            "event": event_to_avro(admitted.event),
        },
    )


def _beginning(data: bytes, header: bytes) -> Gleaned | None:
    """Return what the bytes of a Decision have up to its status."""
    if not data.startswith(header):
        return None
    try:
        *_, effective, at = head_offsets(data, len(header))
        # Of a customer only a part may be readable: the key does not need it.
        customer, at = _text(data, at, errors="replace")
        brand_code, at = long_of(data, at)
        channel, at = _text(data, at)
        recipient_type, at = _text(data, at)
        recipient, at = _text(data, at)
        status, at = _text(data, at)
    except (IndexError, ValueError, TypeError):
        return None
    key = {
        "brand_code": brand_code,
        "type": channel,
        "recipient_type": recipient_type,
        "recipient": recipient,
    }
    return Gleaned(customer, status, instant_of(effective), customer, key)


def _text(data: bytes, at: int, errors: str = "strict") -> tuple[str, int]:
    """Read a text; raises ValueError where it is cut off, for half a recipient is another's."""
    size, at = long_of(data, at)
    if size < 0 or at + size > len(data):
        raise ValueError("cut off")
    return data[at : at + size].decode(errors=errors), at + size
