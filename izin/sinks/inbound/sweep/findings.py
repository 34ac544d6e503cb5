"""What İYS's answer to a query of many shows about one key, beside what the ledger has. Pure.

The answer names what is ONAY. Presence is ONAY, without a date or a source. Absence is RET or no
record. So an ONAY that is believed and absent is a suspected opt-out, and an ONAY beside an opt-out
opens nothing: the query of that key alone decides about both.
"""

from datetime import datetime
from enum import StrEnum

from izin.consent.model import Status
from izin.consent.next_action import Action, Registered
from izin.sinks.ledger.sweep.cursor import SweptKey
from izin.sinks.record.consent_row import ConsentRow


class KeyFinding(StrEnum):
    """What a key's answer means."""

    SHUT = "shut"
    """ONAY was believed and İYS shows none: nothing may be sent, and the key is queried alone."""
    FOUND = "found"
    """İYS holds an ONAY that was not known, and there is no opt-out."""
    ASKED = "asked"
    """İYS shows ONAY beside an opt-out: the key is queried alone, and nothing opens before."""
    SKIPPED = "skipped"
    """It cannot be judged: the key changed, or something is due that reads İYS's answer itself."""


def is_as_known(key: SweptKey, *, is_approved: bool) -> bool:
    """Whether the answer changes nothing: ONAY as believed, or neither."""
    return is_approved == (key.registered == Registered.ONAY)


def finding(
    key: SweptKey, row: ConsentRow | None, *, is_approved: bool, queried_at: datetime
) -> KeyFinding:
    """Return what an answer means that is not as known; ``row`` is the key's, locked.

    What moved since İYS was asked is not judged: a consent that it took a moment ago was not there
    yet when it answered.
    """
    if row is None or row.is_open or _has_moved(key, row, queried_at):
        return KeyFinding.SKIPPED
    is_due = row.action is not Action.NOTHING
    if not is_approved:
        is_opting_out = row.desired_status == Status.RET and is_due
        return KeyFinding.SKIPPED if is_opting_out else KeyFinding.SHUT
    if is_due:
        return KeyFinding.SKIPPED
    is_opted_out = Status.RET in {row.desired_status, row.registered}
    return KeyFinding.ASKED if is_opted_out or row.latest_ret_at is not None else KeyFinding.FOUND


def may_be_asked(key: SweptKey, row: ConsentRow, *, queried_at: datetime) -> bool:
    """Whether a key that İYS refuses among many is queried alone: ONAY is believed, and nothing is
    due for it.
    """
    return (
        key.registered == Registered.ONAY
        and row.action is Action.NOTHING
        and not row.is_open
        and not _has_moved(key, row, queried_at)
    )


def _has_moved(key: SweptKey, row: ConsentRow, queried_at: datetime) -> bool:
    before = (key.registered, key.registered_at, key.last_exchange_at)
    return before != (row.registered, row.registered_at, row.last_exchange_at) or (
        row.registered_at is not None and row.registered_at >= queried_at
    )
