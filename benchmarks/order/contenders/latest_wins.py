"""The work that every contender does: the latest event of a key wins.

An event counts from ``min(consent_date, received_at)`` in whole seconds; of two in the same second
RET wins. A repeated or late event changes nothing; a change is written as a ``Consent`` row. This
is the law's order without admission, decisions, origins and evidence: the program for a consumer
that only needs the latest state of each recipient.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from izin.consent import LAW_VERSION
from izin.schemas.codec import Codec, UndecodableError

Record = dict[str, Any]


def newer(event: Mapping[str, Any], current: Mapping[str, Any] | None) -> Record | None:
    """Return the row after ``event``, or None where it does not change ``current``.

    ``event`` is a decoded ConsentEvent, a row an Avro Consent.
    """
    at = effective_at(event)
    status = event["status"]
    if current is not None and not wins(at, status, current["effective_at"], current["status"]):
        return None
    return row(event, at, current)


def effective_at(event: Mapping[str, Any]) -> datetime:
    """Return the whole second from which ``event`` counts."""
    at: datetime = min(event["consent_date"], event["received_at"])
    return at.replace(microsecond=0)


def wins(at: datetime, status: str, current_at: datetime, current_status: str) -> bool:
    """Return whether an event at ``at`` replaces the current one."""
    if at != current_at:
        return at > current_at
    return status == "RET" and current_status == "ONAY"


def row(event: Mapping[str, Any], at: datetime, current: Mapping[str, Any] | None) -> Record:
    """Return the Avro Consent in which ``event`` has replaced ``current``."""
    status = event["status"]
    onay_at = None if current is None else current["latest_onay_at"]
    ret_at = None if current is None else current["latest_ret_at"]
    if status == "RET":
        previous, ret_at = None if onay_at is None else "ONAY", at
    else:
        previous, onay_at = None if ret_at is None else "RET", at
    return {
        "customer_id": event["customer_id"],
        "brand_code": event["brand_code"],
        "type": event["type"],
        "recipient_type": event["recipient_type"],
        "recipient": event["recipient"],
        "status": status,
        "previous_status": previous,
        "effective_at": at,
        "origin_rank": 0,
        "event_id": event["event_id"],
        "origin": event["origin"],
        "source": event["source"],
        "consent_date": event["consent_date"],
        "registrable": True,
        "latest_onay_at": onay_at,
        "latest_ret_at": ret_at,
        "law_version": LAW_VERSION,
    }


def step(codec: Codec, event: bytes | None, current: bytes | None) -> bytes | None:
    """Return the framed row after a framed event, or None where ``current`` stays.

    An undecodable event is dropped.
    """
    try:
        content = codec.decode("ConsentEvent", event or b"")
    except UndecodableError:
        return None
    made = newer(content, None if current is None else codec.decode("Consent", current))
    return None if made is None else codec.encode("Consent", made)
