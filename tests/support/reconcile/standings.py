"""A key of which every side says the same, and what a test changes of it."""

from datetime import timedelta
from typing import Any

from izin.consent.may_send import Permission, PermissionReason
from izin.reconcile.sides import (
    DesiredRecord,
    IysRecord,
    LedgerRow,
    PermissionRecord,
    Standing,
)
from tests.support.builders import CUSTOMER, NOON, a_key

EARLIER, LATER = NOON - timedelta(hours=1), NOON + timedelta(hours=1)
KEY = str(a_key())


def a_row(**overrides: object) -> LedgerRow:
    """Return the row of an opt-in that İYS has."""
    fields: dict[str, Any] = {
        "desired_status": "ONAY",
        "desired_at": NOON,
        "desired_rank": 0,
        "desired_event_id": "event-1",
        "registered": "ONAY",
        "registered_at": NOON,
        "registered_consent_date": NOON,
        "registered_source": "HS_WEB",
        "registered_transaction_id": "t",
        "verified_at": NOON,
        "state": "accepted",
        "action": "nothing",
        "reason": "settled",
        "code": None,
        "expires_at": None,
        "is_open": False,
        "withdrawn_at": None,
        "may_send": True,
        "permission_reason": "registered",
        "permission_since": NOON + timedelta(microseconds=1234),
        "updated_at": NOON,
    }
    fields |= overrides
    said = Permission(
        may_send=fields["may_send"], reason=PermissionReason(fields["permission_reason"])
    )
    own = {"by_law": said, "hides_opt_out": False, "void_event_id": None}
    return LedgerRow(**{**own, **fields})


def a_record(**overrides: object) -> DesiredRecord:
    """Return the record of the same opt-in in the topic."""
    fields: dict[str, Any] = {
        "status": "ONAY",
        "effective_at": NOON,
        "rank": 0,
        "event_id": "event-1",
        "partition": 0,
        "offset": 0,
        "value": b"",
    }
    return DesiredRecord(**fields | overrides)


def at_iys(value: str = "ONAY", **overrides: object) -> IysRecord:
    """Return the same opt-in at İYS, an hour later than the row knows."""
    fields: dict[str, Any] = {
        "value": value,
        "creation_date": LATER,
        "consent_date": NOON,
        "source": "HS_WEB",
        "transaction_id": "t",
        "is_ours": True,
    }
    return IysRecord(**fields | overrides)


PERMISSION = PermissionRecord(
    may_send=True, reason="registered", since=NOON + timedelta(microseconds=1000)
)


def a_standing(**overrides: object) -> Standing:
    """Return a key of which every side says the same."""
    fields: dict[str, Any] = {
        "key": KEY,
        "customer_id": CUSTOMER,
        "row": a_row(),
        "desired": a_record(),
        "permission": PERMISSION,
        "seen": at_iys(),
        "asked": None,
    }
    return Standing(**fields | overrides)


def answered(value: str) -> IysRecord:
    """Return an answer of İYS without details."""
    none = {"consent_date": None, "source": None, "transaction_id": None}
    return at_iys(value, **none)


OPTED_OUT = {"desired_status": "RET", "permission_reason": "opted-out", "may_send": False}
DENIED = Permission(may_send=False, reason=PermissionReason.OPTED_OUT)
OUT = {
    "desired": a_record(status="RET"),
    "permission": PermissionRecord(may_send=False, reason="opted-out", since=PERMISSION.since),
}
