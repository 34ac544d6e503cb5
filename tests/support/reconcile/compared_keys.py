"""A key of which every side says the same, and what a test changes of it."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

from izin.consent import State
from izin.ledger.record import ConsentRow
from izin.reconcile.judging import (
    ComparedKey,
    DesiredRecord,
    IysRecord,
    PermissionRecord,
)
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, a_key, usual

EARLIER, LATER = NOON - timedelta(hours=1), NOON + timedelta(hours=1)
KEY = str(a_key())


def a_row(**overrides: object) -> ConsentRow:
    """Return the row of an opt-in that İYS has; its permission follows from it, unless given."""
    row = ConsentRow(
        key=KEY,
        customer_id=CUSTOMER,
        brand_code=BRAND,
        channel="MESAJ",
        recipient_type="BIREYSEL",
        recipient=PHONE,
        desired_status="ONAY",
        desired_at=NOON,
        desired_rank=0,
        desired_event_id="event-1",
        registered="ONAY",
        registered_at=NOON,
        registered_consent_date=NOON,
        registered_source="HS_WEB",
        registered_transaction_id="t",
        verified_at=NOON,
        state=State.ACCEPTED,
        reason="settled",
        permission_since=NOON + timedelta(microseconds=1234),
        updated_at=NOON,
    )
    changed = row.replace(**overrides)
    law = changed.permission_by_law
    permitted = changed.replace(may_send=law.may_send, permission_reason=str(law.reason))
    return permitted.replace(**overrides)


def a_record(**overrides: object) -> DesiredRecord:
    """Return the record of the same opt-in in the topic."""
    return DesiredRecord(
        **usual(
            overrides,
            status="ONAY",
            effective_at=NOON,
            rank=0,
            event_id="event-1",
            partition=0,
            offset=0,
            value=b"",
        )
    )


def at_iys(value: str = "ONAY", **overrides: object) -> IysRecord:
    """Return the same opt-in at İYS, an hour later than the row knows."""
    return IysRecord(
        **usual(
            overrides,
            value=value,
            creation_date=LATER,
            consent_date=NOON,
            source="HS_WEB",
            transaction_id="t",
            is_ours=True,
        )
    )


PERMISSION = PermissionRecord(
    may_send=True, reason="registered", since=NOON + timedelta(microseconds=1000)
)


def a_compared_key(**overrides: Any) -> ComparedKey:  # noqa: ANN401  # a side each
    """Return a key of which every side says the same."""
    row = overrides.get("row", a_row())
    published = PERMISSION
    if row is not None:
        published = replace(PERMISSION, may_send=row.may_send, reason=str(row.permission_reason))
    return ComparedKey(
        **usual(
            overrides,
            key=KEY,
            customer_id=CUSTOMER,
            row=row,
            desired=a_record(),
            permission=published,
            seen=at_iys(),
            asked=None,
        )
    )


def answered(value: str) -> IysRecord:
    """Return an answer of İYS without details."""
    return at_iys(value, consent_date=None, source=None, transaction_id=None)


OPTED_OUT = {"desired_status": "RET", "latest_ret_at": NOON}
OUT = {"desired": a_record(status="RET")}
