"""Only an opt-out of ours that was submitted after it was due is a breach."""

from datetime import timedelta

import pytest

from izin.consent.next_action import Action
from izin.consent.transitions import State
from izin.sinks.ledger.unit_of_work import is_breach
from tests.unit.sinks.record.test_ruling import NOW, in_flight_row

LATE = NOW - timedelta(seconds=1)


@pytest.mark.parametrize(
    ("status", "state", "columns", "breached"),
    [
        ("RET", "accepted", {"due_at": LATE}, True),
        ("RET", "accepted", {"due_at": NOW}, False),
        ("RET", "accepted", {"due_at": None}, False),
        ("RET", "accepted", {"due_at": LATE, "desired_rank": 2}, False),
        ("RET", "refused", {"due_at": LATE, "action": Action.RESCUE}, True),
        ("RET", "refused", {"due_at": NOW, "action": Action.RESCUE}, False),
        ("RET", "retryable", {"due_at": LATE}, False),
        ("RET", "not_needed", {"due_at": LATE}, False),
        ("ONAY", "accepted", {"due_at": LATE}, False),
    ],
)
def test_breach_is_a_late_opt_out_that_was_submitted(
    status: str, state: str, columns: dict[str, object], *, breached: bool
):
    """A late consent is refused by İYS, and what İYS never held was not to be submitted."""
    before = in_flight_row(status=status)
    assert is_breach(before, before.replace(state=State(state), **columns), NOW) is breached


def test_breach_is_recorded_once():
    """An accepted opt-out is not a breach again."""
    accepted = in_flight_row(status="RET").replace(state=State.ACCEPTED, due_at=LATE)
    assert not is_breach(accepted, accepted.replace(verified_by="pull"), NOW)
