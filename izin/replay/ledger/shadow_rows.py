"""What a row of the shadow makes of a row that is missing, and of one that differs.

Pure: takes rows, returns rows; what is due to İYS then is ruled in ``record.ruling``.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from izin.consent.fold import latest
from izin.consent.model import Status, order_of
from izin.consent.transitions import State
from izin.sinks.record import apply, ruling
from izin.sinks.record.consent_row import DECIDED, SHADOW, ConsentRow
from izin.sinks.record.state_change import begin

_STATES = {
    "intent": State.IN_FLIGHT,
    "awaiting_result": State.AWAITING_RESULT,
    "unknown": State.UNKNOWN,
}
"""Of a row, by the state of the call that has its event."""

Shadow = Mapping[str, Any]
"""A row of ``shadow_consents``."""
OpenItems = Mapping[str, Sequence[Mapping[str, Any]]]
"""What was submitted and is unanswered, by key."""


def lost_row(shadow: Shadow, items: OpenItems, now: datetime) -> ConsentRow:
    """Return the row of a key that is missing, before it is ruled.

    What was submitted and is unanswered stays so: nothing is submitted a second time because the
    row was lost.
    """
    row = begin(
        ConsentRow(
            **{name: shadow[name] for name in SHADOW if name != "retailer_access"},
            retailer_access=_access(shadow),
            state=State.NOT_NEEDED,
            updated_at=now,
        )
    )
    row = apply.unregistered(row)
    for item in items.get(row.key, ()):
        is_ret = item["status"] == Status.RET
        row = row.replace(ret_open=True) if is_ret else row.replace(onay_open=True)
        if row.is_of(item["event_id"], item["status"]):
            row = row.replace(state=_STATES[item["state"]])
    return _parked(row, shadow)


def mended_row(before: ConsentRow, shadow: Shadow) -> ConsentRow | None:
    """Return ``before`` with what was decided, before it is ruled; None: it has a later event, or
    nothing is to be changed.
    """
    columns = {name: shadow[name] for name in DECIDED} | {"retailer_access": _access(shadow)}
    for name in ("latest_onay_at", "latest_ret_at"):
        columns[name] = latest(getattr(before, name), shadow[name])
    if before.is_of(shadow["desired_event_id"], shadow["desired_status"]):
        return before.replace(**columns)
    desired = (shadow[f"desired_{name}"] for name in ("at", "status", "rank", "event_id"))
    order = order_of(*desired)
    if not apply.is_outranked(before, order):
        return None
    return _parked(apply.taken_over(before, **columns), shadow)


def _parked(row: ConsentRow, shadow: Shadow) -> ConsentRow:
    """Return ``row``, parked for a person where the history says so."""
    return row if shadow["parked"] is None else ruling.park(row, shadow["parked"], None)


def _access(shadow: Shadow) -> tuple[int, ...] | None:
    access = shadow["retailer_access"]
    return None if access is None else tuple(access)
