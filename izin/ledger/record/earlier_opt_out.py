"""The opt-out before an opt-in: due again where İYS never gets the opt-in.

A newer opt-in takes the row of an opt-out that İYS may not have yet. That is lawful only if the
opt-in reaches İYS: one that expires, is refused or parked permits nothing, and must not hide the
opt-out for which İYS still shows an older ONAY. So the row keeps what the latest opt-out said while
an opt-in is desired, and desires it again when the opt-in is closed. It is submitted as it was
given, with its own source and date; where İYS refuses that, it is rescued like any other. The
opt-in is named (``void_event_id``), so that its repetitions change nothing.

What is no longer known of the opt-out (its event was never seen here) leaves its rescue.

Pure: takes rows, returns columns and rows.
"""

from collections.abc import Mapping
from typing import Any

from izin.consent import CLOSED, ConsentEvent, Status
from izin.ledger.record.consent_row import ConsentRow

Columns = Mapping[str, Any]

_KEPT: Mapping[str, str] = {
    "ret_event_id": "desired_event_id",
    "ret_rank": "desired_rank",
    "ret_origin": "desired_origin",
    "ret_origin_ref": "desired_origin_ref",
    "ret_source": "desired_source",
    "ret_consent_date": "desired_consent_date",
    "ret_registrable": "registrable",
    "ret_withdrawn_at": "withdrawn_at",
}
"""The columns that keep an opt-out, and those that they had while it was desired."""
UNKNOWN: Columns = dict.fromkeys(_KEPT)
"""The columns where nobody knows what the latest opt-out said."""


def under(row: ConsentRow, status: str) -> Columns:
    """Return the columns that keep the opt-out of ``row``, which an event of this ``status`` takes
    over.
    """
    if status != Status.ONAY or row.desired_status != Status.RET:
        return {}
    if row.desired_at != row.latest_ret_at:
        return UNKNOWN
    return {name: row.__dict__[desired] for name, desired in _KEPT.items()}


def stated(event: ConsentEvent, *, registrable: bool) -> Columns:
    """Return the columns that keep ``event``, an opt-out that came behind a newer opt-in."""
    return {
        "ret_event_id": event.event_id,
        "ret_rank": int(event.origin_rank),
        "ret_origin": event.origin,
        "ret_origin_ref": event.origin_ref,
        "ret_source": event.source,
        "ret_consent_date": event.consent_date,
        "ret_registrable": registrable,
        "ret_withdrawn_at": None,
    }


def is_hidden(row: ConsentRow) -> bool:
    """Whether an opt-in is desired while İYS may hold an ONAY that the latest opt-out withdraws;
    never where a person has withdrawn the opt-out.
    """
    return (
        row.desired_status == Status.ONAY
        and row.ret_withdrawn_at is None
        and row.registered_state.may_be_older_onay(row.latest_ret_at)
    )


def is_due_again(row: ConsentRow) -> bool:
    """Whether the opt-in is closed and hides an opt-out that İYS may not have; while an opt-out is
    on its way, its answer comes first.
    """
    return row.state in CLOSED and not row.ret_open and is_hidden(row)


def columns_of_earlier(row: ConsentRow) -> Columns:
    """Return the columns that desire the opt-out that ``row`` keeps, and nothing of the opt-in."""
    kept = {desired: row.__dict__[name] for name, desired in _KEPT.items()}
    return {
        **kept,
        "desired_status": str(Status.RET),
        "desired_at": row.latest_ret_at,
        "received_at": None,
        "notice_version": None,
        "attested": False,
        "retailer_code": None,
        "retailer_access": None,
        "void_event_id": row.void_event_id or row.desired_event_id,
    }
