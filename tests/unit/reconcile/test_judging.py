"""Each kind of difference, and what is none: by a table of compared_keys.

What repairs a difference, and how repairs are kept: pure parts.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.consent import Action, RefusedEvent, State, admit
from izin.reconcile.judging import Cause, ComparedKey, Finding, Kind, SaidBy, judge
from izin.reconcile.remedies import DecidedEvent, KeyDecisions, Repair, remedy_of
from izin.reconcile.repairs import LINES, KeyRepairs, first_append
from tests.support.builders import CUSTOMER, NOON, an_admitted_event, an_event
from tests.support.reconcile.compared_keys import (
    EARLIER,
    KEY,
    LATER,
    OPTED_OUT,
    OUT,
    PERMISSION,
    a_compared_key,
    a_record,
    a_row,
    answered,
    at_iys,
)

HIDING = {"latest_ret_at": LATER}
"""Of the row of an opt-in: İYS's ONAY is older than the latest opt-out."""
EQUAL = {
    "as it is": {},
    "known RET is absent in the multiple query": {
        **OUT,
        "row": a_row(**OPTED_OUT, registered="RET"),
        "asked": answered("NOT_ONAY"),
    },
    "RET without a record at İYS (H175)": {
        **OUT,
        "row": a_row(**OPTED_OUT, registered="NONE", code="H175"),
        "seen": answered("NONE"),
    },
    "due to İYS": {"row": a_row(registered="NONE", action=Action.SEND, state=State.PENDING)},
    "on its way": {"row": a_row(registered="UNKNOWN", onay_open=True)},
    "seen before the row": {"seen": at_iys("RET", creation_date=EARLIER)},
    "RET of the same second": {
        **OUT,
        "row": a_row(**OPTED_OUT, registered="RET"),
        "seen": at_iys(creation_date=NOON),
    },
    "pushed, and not pulled yet": {
        **OUT,
        "row": a_row(
            **OPTED_OUT,
            registered="RET",
            registered_at=LATER + timedelta(seconds=1),
            verified_at=None,
        ),
    },
    "opt-in set aside as void": {
        **OUT,
        "row": a_row(**OPTED_OUT, registered="RET", desired_event_id="no", void_event_id="event-1"),
        "desired": a_record(),
        "asked": answered("NOT_ONAY"),
    },
    "hidden opt-out that is queried": {"row": a_row(**HIDING, action=Action.QUERY)},
    "date that is not known": {"seen": at_iys(consent_date=None)},
}


@pytest.mark.parametrize("sides", EQUAL.values(), ids=EQUAL)
def test_sides_that_agree_have_no_difference(sides: dict[str, Any]) -> None:
    """Or settle by themselves."""
    assert judge(a_compared_key(**sides), pulled_until=LATER) == ()


ONES = {
    "İYS has none": (
        {"asked": at_iys("NONE", transaction_id=None)},
        Kind.MISSING_AT_IYS,
        SaidBy.IYS,
    ),
    "hidden opt-out": ({"row": a_row(**HIDING)}, Kind.HIDDEN_OPT_OUT, SaidBy.IYS),
    "not ONAY": ({"asked": answered("NOT_ONAY")}, Kind.STATUS, SaidBy.IYS),
    "citizen": ({"asked": at_iys("RET", source="IYS_WEB")}, Kind.STATUS, SaidBy.IYS),
    "citizen seen": ({"seen": at_iys("RET", source="IYS_WEB")}, Kind.STATUS, SaidBy.IYS),
    "portal": ({"asked": at_iys("RET", is_ours=False)}, Kind.OTHER_WRITER, SaidBy.IYS),
    "date": ({"seen": at_iys(consent_date=EARLIER)}, Kind.DATE, SaidBy.IYS),
    "portal's date": (
        {"seen": at_iys(consent_date=LATER, is_ours=False)},
        Kind.OTHER_WRITER,
        SaidBy.IYS,
    ),
    "claimed": ({"row": a_row(verified_at=None)}, Kind.UNVERIFIED, SaidBy.IYS),
    "unknown": ({"row": a_row(registered="UNKNOWN")}, Kind.UNVERIFIED, SaidBy.IYS),
    "unknown, asked": (
        {"row": a_row(registered="UNKNOWN"), "asked": at_iys()},
        Kind.UNVERIFIED,
        SaidBy.IYS,
    ),
    "nothing desired": (
        {"row": a_row(desired_status=None, desired_at=None), "desired": None},
        Kind.MISSING_HERE,
        SaidBy.IYS,
    ),
    "no row": ({"row": None}, Kind.MISSING_HERE, SaidBy.DESIRED),
    "no row, İYS alone": (
        {"row": None, "desired": None, "permission": None},
        Kind.MISSING_HERE,
        SaidBy.IYS,
    ),
    "no row, permission": (
        {"row": None, "desired": None, "seen": None},
        Kind.MISSING_HERE,
        SaidBy.PERMISSIONS,
    ),
    "no record": ({"desired": None}, Kind.MISSING_HERE, SaidBy.DESIRED),
    "other record": ({"desired": a_record(status="RET")}, Kind.STATUS, SaidBy.DESIRED),
    "other event": ({"desired": a_record(event_id="event-2")}, Kind.DATE, SaidBy.DESIRED),
    "no permission": ({"permission": None}, Kind.MISSING_HERE, SaidBy.PERMISSIONS),
    "other permission": (
        {"permission": replace(PERMISSION, may_send=False)},
        Kind.STATUS,
        SaidBy.PERMISSIONS,
    ),
    "row that says yes to an opt-out": (
        {
            **OUT,
            "seen": None,
            "row": a_row(**OPTED_OUT | {"may_send": True, "registered": "RET"}),
        },
        Kind.STATUS,
        SaidBy.PERMISSIONS,
    ),
    "since": (
        {"permission": replace(PERMISSION, since=EARLIER)},
        Kind.DATE,
        SaidBy.PERMISSIONS,
    ),
}


@pytest.mark.parametrize(("sides", "kind", "side"), ONES.values(), ids=ONES)
def test_each_difference_has_its_kind_and_side(
    sides: dict[str, Any], kind: Kind, side: SaidBy
) -> None:
    """No other side is blamed, and none of these is explained."""
    (found,) = judge(a_compared_key(**sides), pulled_until=LATER)
    assert (found.kind, found.side, found.cause) == (kind, side, None)


CAUSES = {
    Cause.EXPIRED: {"registered": "NONE", "state": State.EXPIRED},
    Cause.REFUSED: {"registered": "NONE", "state": State.REFUSED, "code": "H178"},
    Cause.PARKED: {"registered": "RET", "state": State.PARKED, "reason": "reconsent"},
    Cause.WITHDRAWN: {**OPTED_OUT, "withdrawn_at": NOON, "state": State.NOT_NEEDED},
}


@pytest.mark.parametrize(("cause", "columns"), CAUSES.items())
def test_what_a_person_must_do_is_explained(cause: Cause, columns: dict[str, Any]) -> None:
    """No repair is offered, but the next step, with its code or reason."""
    sides = OUT if cause is Cause.WITHDRAWN else {}
    compared = a_compared_key(row=a_row(**columns), seen=None, **sides)
    of_iys = next(one for one in judge(compared, pulled_until=LATER) if one.side is SaidBy.IYS)
    assert of_iys.cause is cause
    remedy = remedy_of(of_iys, compared, KeyDecisions(), now=NOON)
    assert remedy.repair is None
    assert str(columns.get("code") or "") in remedy.next_step


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
        entry=at_iys(),
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
