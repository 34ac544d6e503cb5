"""What repairs a difference, which paths saw it, and how repairs are kept: pure parts."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.consent.admission import RefusedEvent, admit
from izin.reconcile.executing import first_append
from izin.reconcile.judging import Finding, Standing, judge
from izin.reconcile.plan import LINES, KeyRepairs
from izin.reconcile.remedies import Repair, remedy_of
from izin.reconcile.trails import DecidedEvent, IysPath, Sighting, Trail, Ways, words_of
from tests.support.builders import CUSTOMER, NOON, an_admitted_event, an_event
from tests.support.reconcile.standings import (
    EARLIER,
    KEY,
    LATER,
    a_record,
    a_row,
    a_standing,
    answered,
    at_iys,
)


def the_finding(standing: Standing) -> Finding:
    """Return the one difference of a standing."""
    (found,) = judge(standing, pulled_until=LATER)
    return found


TRAIL = Trail(events=[DecidedEvent(an_event(), NOON)], is_known=True)
OTHER_TRAIL = Trail(events=[DecidedEvent(an_event(), EARLIER)], is_known=True)
REMEDIES = {
    "no row": ({"row": None}, TRAIL, Repair.RESTORE),
    "topic newer": ({"desired": a_record(effective_at=LATER)}, TRAIL, Repair.RESTORE),
    "topic older": ({"desired": a_record(effective_at=EARLIER)}, TRAIL, Repair.REPUBLISH),
    "no record": ({"desired": None}, TRAIL, Repair.REPUBLISH),
    "no record, no history": ({"desired": None}, Trail(), None),
    "no record, other history": ({"desired": None}, OTHER_TRAIL, None),
    "permission": ({"permission": None}, TRAIL, Repair.PERMISSION),
    "permission of nobody": (
        {"row": None, "desired": None, "seen": None},
        Trail(),
        Repair.REMOVE_PERMISSION,
    ),
    "permission of a lost key": ({"row": None, "desired": None, "seen": None}, TRAIL, None),
    "İYS alone": ({"row": None, "desired": None, "permission": None}, Trail(), Repair.MOVEMENT),
    "İYS alone, no details": (
        {"row": None, "desired": None, "permission": None, "seen": answered("ONAY")},
        Trail(),
        None,
    ),
    "İYS": ({"asked": answered("NOT_ONAY")}, TRAIL, Repair.QUERY),
}


@pytest.mark.parametrize(("sides", "trail", "repair"), REMEDIES.values(), ids=REMEDIES)
def test_each_difference_has_its_repair_or_next_step(
    sides: dict[str, Any], trail: Trail, repair: Repair | None
) -> None:
    """What only the history can decide is left to a rebuild."""
    standing = a_standing(**sides)
    remedy = remedy_of(the_finding(standing), standing, trail, now=NOON)
    assert remedy.repair is repair
    assert repair or "izin " in remedy.next_step


def test_missing_consent_past_its_term_needs_a_new_one() -> None:
    """It is queried all the same, so that the gate shuts."""
    missing = at_iys("NONE", transaction_id=None)
    standing = a_standing(row=a_row(expires_at=EARLIER), asked=missing)
    remedy = remedy_of(the_finding(standing), standing, TRAIL, now=NOON)
    assert remedy.repair is Repair.QUERY
    assert "new consent" in remedy.next_step


def test_paths_that_saw_or_missed_a_movement_are_named() -> None:
    """By what each had shown up to when; a path that is not in use misses nothing."""
    record = at_iys("RET", source="IYS_WEB", creation_date=NOON)
    ways = Ways(push=True, pulled_at=NOON + timedelta(hours=2), filed_until=LATER)
    trail = Trail(sightings=[Sighting(IysPath.PUSH, "RET", NOON, LATER)])
    assert trail.saw(record) == (IysPath.PUSH,)
    assert ways.missed(record, trail) == (IysPath.PULL, IysPath.DAILY)
    assert words_of(ways.missed(record, trail)) == "pull, daily"
    trail.sightings.append(Sighting(IysPath.SWEEP, "ONAY", LATER, LATER))
    assert IysPath.SWEEP in ways.missed(record, trail)
    fresh = Ways(push=True, pulled_at=LATER - timedelta(minutes=1), filed_until=None)
    assert fresh.missed(record, Trail()) == (IysPath.PUSH,)
    assert fresh.missed(at_iys(creation_date=NOON), Trail()) == ()
    assert fresh.missed(answered("ONAY"), Trail()) == ()


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
