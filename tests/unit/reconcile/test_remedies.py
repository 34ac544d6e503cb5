"""What repairs a difference, and how repairs are kept: pure parts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.consent import RefusedEvent, admit
from izin.reconcile.judging import ComparedKey, Finding, judge
from izin.reconcile.remedies import DecidedEvent, KeyDecisions, Repair, remedy_of
from izin.reconcile.repairs import LINES, KeyRepairs, first_append
from tests.support.builders import CUSTOMER, NOON, an_admitted_event, an_event
from tests.support.reconcile.compared_keys import (
    EARLIER,
    KEY,
    LATER,
    a_compared_key,
    a_record,
    a_row,
    answered,
    at_iys,
)


def the_finding(compared: ComparedKey) -> Finding:
    """Return the one difference of a compared."""
    (found,) = judge(compared, pulled_until=LATER)
    return found


DECIDED = KeyDecisions(events=[DecidedEvent(an_event(), NOON)], is_known=True)
OTHER_DECIDED = KeyDecisions(events=[DecidedEvent(an_event(), EARLIER)], is_known=True)
REMEDIES = {
    "no row": ({"row": None}, DECIDED, Repair.RESTORE),
    "topic newer": ({"desired": a_record(effective_at=LATER)}, DECIDED, Repair.RESTORE),
    "topic older": ({"desired": a_record(effective_at=EARLIER)}, DECIDED, Repair.REPUBLISH),
    "no record": ({"desired": None}, DECIDED, Repair.REPUBLISH),
    "no record, no history": ({"desired": None}, KeyDecisions(), None),
    "no record, other history": ({"desired": None}, OTHER_DECIDED, None),
    "permission": ({"permission": None}, DECIDED, Repair.PERMISSION),
    "permission of nobody": (
        {"row": None, "desired": None, "seen": None},
        KeyDecisions(),
        Repair.REMOVE_PERMISSION,
    ),
    "permission of a lost key": ({"row": None, "desired": None, "seen": None}, DECIDED, None),
    "İYS alone": (
        {"row": None, "desired": None, "permission": None},
        KeyDecisions(),
        Repair.MOVEMENT,
    ),
    "İYS alone, no details": (
        {"row": None, "desired": None, "permission": None, "seen": answered("ONAY")},
        KeyDecisions(),
        None,
    ),
    "İYS": ({"asked": answered("NOT_ONAY")}, DECIDED, Repair.QUERY),
}


@pytest.mark.parametrize(("sides", "decided", "repair"), REMEDIES.values(), ids=REMEDIES)
def test_each_difference_has_its_repair_or_next_step(
    sides: dict[str, Any], decided: KeyDecisions, repair: Repair | None
) -> None:
    """What only the history can decide is left to a rebuild."""
    compared = a_compared_key(**sides)
    remedy = remedy_of(the_finding(compared), compared, decided, now=NOON)
    assert remedy.repair is repair
    assert repair or "izin " in remedy.next_step


def test_missing_consent_past_its_term_needs_a_new_one() -> None:
    """It is queried all the same, so that the gate shuts."""
    missing = at_iys("NONE", transaction_id=None)
    compared = a_compared_key(row=a_row(expires_at=EARLIER), asked=missing)
    remedy = remedy_of(the_finding(compared), compared, DECIDED, now=NOON)
    assert remedy.repair is Repair.QUERY
    assert "new consent" in remedy.next_step


def test_line_of_a_plan_is_read_as_it_was_written() -> None:
    """With bytes, instants and İYS's record."""
    written = KeyRepairs(
        key=KEY,
        customer_id=CUSTOMER,
        repairs=(Repair.RESTORE, Repair.MOVEMENT),
        updated_at=NOON,
        effective_at=LATER,
        value=b"\0\xff",
        movement=at_iys(),
    )
    assert LINES.validate_json(LINES.dump_json(written)) == written


@pytest.mark.parametrize("ahead", [timedelta(0), timedelta(minutes=2), timedelta(days=-2)])
def test_event_that_is_published_again_counts_as_it_did(ahead: timedelta) -> None:
    """Also where the clock of its sender was ahead of the broker, and years later."""
    admitted = an_admitted_event(consent_date=NOON + ahead, received_at=NOON + ahead)
    at = first_append(admitted.event, admitted.effective_at)
    again = admit(admitted.event, appended_at=at)
    assert not isinstance(again, RefusedEvent)
    assert again.effective_at == admitted.effective_at
    assert at < datetime.now(UTC)
