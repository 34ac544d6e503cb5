"""Every case of an obligation against an oracle: the design's decision table, read anew."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple

from izin.consent.model import OriginRank, Status
from izin.consent.obligation import Desired, Duty, Registered, RegisteredState, rule
from izin.consent.terms import BrandClock
from tests.support.builders import NOON

ACTIVE = BrandClock(activated_at=NOON - timedelta(days=365))
STATED = {"before": NOON - timedelta(hours=1), "same": NOON, "after": NOON + timedelta(hours=1)}


class Case(NamedTuple):
    """A combination of everything that a ruling hangs on."""

    wants: str
    rank: OriginRank
    registered: str
    by_citizen: bool
    stated: str
    registrable: bool
    attested: bool
    in_flight: bool
    expired: bool
    complete: bool
    said_no_between: bool


BETWEEN = NOON - timedelta(minutes=30)


def cases() -> Iterator[Case]:
    """Give every combination."""
    yes_or_no = (True, False)
    yield from map(
        Case._make,
        product(
            ("ONAY", "RET"),
            OriginRank,
            ("ONAY", "RET", "NONE", "NOT_ONAY", "UNKNOWN"),
            yes_or_no,
            ("never", *STATED),
            *[yes_or_no] * 6,
        ),
    )


def ruled(case: Case) -> Duty:
    """Return what the law rules."""
    stated: datetime | None = STATED.get(case.stated)
    return rule(
        Desired(
            status=Status(case.wants),
            effective_at=NOON,
            source="HS_WEB" if case.complete else None,
            consent_date=NOON if case.complete else None,
            origin_rank=case.rank,
            registrable=case.registrable,
            attested=case.attested,
            latest_ret_at=BETWEEN if case.said_no_between else None,
        ),
        RegisteredState(
            value=Registered(case.registered),
            creation_date=stated,
            consent_date=stated,
            from_iys=case.by_citizen,
        ),
        now=NOON + timedelta(days=30 if case.expired else 1),
        clock=ACTIVE,
        in_flight=case.in_flight,
    ).duty


def oracle(case: Case) -> Duty:
    """Return what the design says, line by line."""
    if case.wants == "RET":
        return _ret(case)
    older = case.said_no_between and case.stated in {"never", "before"}
    if case.registered == "ONAY" and not (older and case.rank is OriginRank.OURS):
        return Duty.NOTHING
    if case.rank is not OriginRank.OURS:
        return Duty.ASK  # never sent back
    over_ret = case.registered == "RET"
    return next(
        duty
        for duty, holds in (
            (Duty.ASK, over_ret and case.stated in {"same", "after"}),  # the "no" is the newer
            (Duty.PARK, not case.registrable),
            (Duty.WAIT, case.in_flight),
            (Duty.EXPIRE, case.expired),
            (Duty.PARK, over_ret and not case.complete),
            (Duty.PARK, over_ret and case.by_citizen and not case.attested),
            (Duty.ASK, not case.complete and case.registered in {"ONAY", "NOT_ONAY", "UNKNOWN"}),
            (Duty.SEND, True),
        )
        if holds
    )


def _ret(case: Case) -> Duty:
    if case.registered in {"RET", "NONE", "NOT_ONAY"}:
        return Duty.WAIT if case.in_flight else Duty.NOTHING
    citizens_news = (
        case.registered == "ONAY" and case.by_citizen and case.stated == "after"
    )  # the law will hear of it
    if case.rank is OriginRank.OURS:
        if citizens_news:
            return Duty.ASK
        if case.registrable:
            return Duty.SEND_FIRST
        return Duty.RESCUE if case.registered == "ONAY" else Duty.ASK
    reopened = case.registered == "ONAY" and not case.by_citizen and case.stated == "after"
    return Duty.RESCUE if reopened else Duty.ASK


def test_every_case_is_ruled_as_the_design_says():
    """Wanted, by whom, held, since when, registrable, attested, in flight, in term, complete."""
    judged = list(cases())
    assert len(judged) == 2 * 3 * 5 * 2 * 4 * 2**6
    assert [(case, ruled(case)) for case in judged if ruled(case) is not oracle(case)] == []


def test_a_no_is_never_lost_in_the_table():
    """No RET expires, waits for a person or goes behind bulk; no ONAY of ours undoes a citizen's
    "no" without attestation, and a RET waits only where İYS shows no ONAY.
    """
    for case in cases():
        duty = ruled(case)
        if case.wants == "RET":
            assert duty not in {Duty.EXPIRE, Duty.PARK, Duty.SEND}, case
            assert duty is not Duty.WAIT or case.registered in {"RET", "NONE", "NOT_ONAY"}, case
            assert duty is not Duty.NOTHING or not case.in_flight, case
        elif duty is Duty.SEND:
            assert case.rank is OriginRank.OURS, case
            assert not case.expired, case
            assert not case.in_flight, case
            hidden = case.registered == "RET" and case.by_citizen
            assert case.attested or not hidden, case


def test_every_duty_is_ruled_somewhere():
    """No word of the table is dead."""
    assert {ruled(case) for case in cases()} == set(Duty)
