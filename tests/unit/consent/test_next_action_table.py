"""Every case of an obligation against an oracle: the decision table of the design."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from itertools import product
from typing import NamedTuple

from izin.consent import (
    Action,
    BrandTerms,
    Desired,
    OriginRank,
    Registered,
    RegisteredState,
    Status,
    rule,
)
from tests.support.builders import NOON

ACTIVE = BrandTerms(activated_at=NOON - timedelta(days=365))
STATED = {"before": NOON - timedelta(hours=1), "same": NOON, "after": NOON + timedelta(hours=1)}


class Case(NamedTuple):
    """A combination of everything that a ruling depends on."""

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
    """Yield every combination."""
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


def ruled(case: Case) -> Action:
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
        terms=ACTIVE,
        in_flight=case.in_flight,
    ).action


def oracle(case: Case) -> Action:
    """Return the action of the design, line by line."""
    if case.wants == "RET":
        return _ret(case)
    older = case.said_no_between and case.stated in {"never", "before"}
    if case.registered == "ONAY" and not older:
        return Action.NOTHING
    if case.rank is not OriginRank.OURS:
        return Action.QUERY  # never sent back
    over_ret = case.registered == "RET"
    return next(
        duty
        for duty, holds in (
            (Action.QUERY, over_ret and case.stated in {"same", "after"}),  # the RET is newer
            (Action.PARK, not case.registrable),
            (Action.WAIT, case.in_flight),
            (Action.EXPIRE, case.expired),
            (Action.PARK, over_ret and not case.complete),
            (Action.PARK, over_ret and case.by_citizen and not case.attested),
            (
                Action.QUERY,
                not case.complete and case.registered in {"ONAY", "NOT_ONAY", "UNKNOWN"},
            ),
            (Action.SEND, True),
        )
        if holds
    )


def _ret(case: Case) -> Action:
    if case.registered in {"RET", "NONE", "NOT_ONAY"}:
        return Action.WAIT if case.in_flight else Action.NOTHING
    citizens_news = (
        case.registered == "ONAY" and case.by_citizen and case.stated == "after"
    )  # the law will hear of it
    if case.rank is OriginRank.OURS:
        if citizens_news:
            return Action.QUERY
        if case.registrable:
            return Action.SEND_FIRST
        return Action.RESCUE if case.registered == "ONAY" else Action.QUERY
    reopened = case.registered == "ONAY" and not case.by_citizen and case.stated == "after"
    return Action.RESCUE if reopened else Action.QUERY


def test_every_case_is_ruled_as_the_design_says():
    """Desired, origin, registered, since, registrable, attested, in flight, in term, complete."""
    all_cases = list(cases())
    assert len(all_cases) == 2 * 3 * 5 * 2 * 4 * 2**6
    assert [(case, ruled(case)) for case in all_cases if ruled(case) is not oracle(case)] == []


def test_ret_is_never_lost_in_the_table():
    """No RET expires, is parked or follows bulk; no ONAY of ours overwrites a citizen's
    RET without attestation, and a RET waits only where İYS shows no ONAY.
    """
    for case in cases():
        duty = ruled(case)
        if case.wants == "RET":
            assert duty not in {Action.EXPIRE, Action.PARK, Action.SEND}, case
            assert duty is not Action.WAIT or case.registered in {"RET", "NONE", "NOT_ONAY"}, case
            assert duty is not Action.NOTHING or not case.in_flight, case
        elif duty is Action.SEND:
            assert case.rank is OriginRank.OURS, case
            assert not case.expired, case
            assert not case.in_flight, case
            hidden = case.registered == "RET" and case.by_citizen
            assert case.attested or not hidden, case


def test_every_action_is_ruled_somewhere():
    """No action of the table is dead."""
    assert {ruled(case) for case in cases()} == set(Action)
