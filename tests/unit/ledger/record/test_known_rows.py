"""What becomes of rows in many cases is as it was read and agreed to.

``python -m tests.unit.ledger.record.test_known_rows`` writes the file.

Each case has the columns that change, with their values, and what is published besides. A change of
the file is to be read: it is a change of what is due to İYS.
"""

import json
from collections.abc import Iterator
from dataclasses import asdict, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

from izin.consent import (
    BOOTSTRAP,
    TURKEY_CALENDAR,
    Action,
    IllegalTransitionError,
    IysOrigin,
    Observation,
    OriginRank,
    Registered,
    State,
    decide,
)
from izin.iys.errors import Verdict, classify
from izin.iys.wire_format import Receipt
from izin.ledger.record import (
    ConsentRow,
    ItemResult,
    RuledRow,
    apply,
    consent_row,
    item_result,
    outcome,
    ruling,
    state_change,
)
from izin.schemas.records import event_to_avro
from tests.support.builders import NOON, a_decision_record, an_admitted_event
from tests.support.iys import CORE_CODES
from tests.unit.ledger.record.test_item_result import an_item
from tests.unit.ledger.record.test_ruling import ACTIVE, MESSAGES, NOW

FILE = Path(__file__).with_name("known_rows.json")
LATE = NOON + timedelta(days=30)
Case = tuple[str, Any]


def a_row(status: str, **columns: object) -> ConsentRow:
    """Return a row with something in every column that a case may change."""
    fields: dict[str, Any] = {"event_id": status.lower(), "status": status, "origin_ref": "ref"}
    decision = decide(None, an_admitted_event(**fields, notice_version="1"))
    row = apply.decided(None, a_decision_record(decision), NOW)
    return row.replace(
        **{
            "attempts": 2,
            "next_attempt_at": NOON,
            "code": "H000",
            "reason": "before",
            "lease_owner": "worker",
            "lease_until": NOON,
            "last_exchange_at": NOON,
            **columns,
        }
    )


def in_flight(status: str, **columns: object) -> ConsentRow:
    """Return a row that is submitted."""
    own = {"ret_open": status == "RET", "onay_open": status == "ONAY"}
    state = {"state": State.IN_FLIGHT, "action": Action.NOTHING}
    return a_row(status, **{**own, **state, **columns})


def changed(before: ConsentRow | None, after: ConsentRow) -> dict[str, Any]:
    """Return the columns of ``after`` that are others than before."""
    old = {} if before is None else before.__dict__
    return {name: value for name, value in after.__dict__.items() if value != old.get(name)}


def ruled(before: ConsentRow | None, found: RuledRow) -> dict[str, Any]:
    """Return what a ruling changes and publishes."""
    shown = changed(before, found.row)
    if found.rescue is not None:
        shown["rescue"] = {name: one for name, one in event_to_avro(found.rescue).items() if one}
    if found.closed is not None:
        shown["closed"] = changed(before, found.closed)
    outcomes = MESSAGES.outcomes(before, found.closed or found.row, NOW)
    if names := [f"{one.event_id} {one.outcome}" for one in outcomes]:
        shown["outcomes"] = names
    return shown


def results() -> Iterator[Case]:
    """Yield what İYS's results of items make of their rows."""
    receipt = Receipt(transaction_id="1" * 64, creation_date=NOW)
    answers = [ItemResult(verdict=classify(code), code=code) for code in CORE_CODES]
    answers += [
        ItemResult(verdict=Verdict.SUCCESS, receipt=receipt),
        ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, how="batch"),
        ItemResult(verdict=Verdict.SUCCESS, receipt=receipt, is_original=True),
        ItemResult(verdict=Verdict.SUCCESS),
        ItemResult(verdict=Verdict.THROTTLE, retry_after=timedelta(hours=1)),
    ]
    variants: dict[str, dict[str, Any]] = {
        "": {},
        " HS_KARAR": {"desired_source": "HS_KARAR"},
        " rescue": {"desired_origin": ruling.RESCUE},
        " beside another": {"onay_open": True, "ret_open": True},
        " newer at İYS": {"registered": "RET", "registered_at": LATE, "verified_at": NOW},
    }
    seen: set[str] = set()
    for answer, status, (name, columns) in product(answers, ("ONAY", "RET"), variants.items()):
        row = in_flight(status, **columns)
        case = f"{answer.verdict} {answer.code} {answer.how} {answer.is_original} {status}{name}"
        if answer.code not in {None, "H175", "H486", "H162", "H180", "H467"}:
            # One code of each verdict shows what the others do.
            case = f"{answer.verdict} {status}{name}"
        if case in seen:
            continue
        seen.add(case)
        for event_id in (row.desired_event_id, "other"):
            item = an_item(row, event_id=event_id)
            found = item_result.apply_result(
                row, item, answer, ACTIVE, NOW, calendar=TURKEY_CALENDAR
            )
            shown = ruled(row, found.ruled) | {"item": found.item_state}
            if found.outcome is not None:
                shown["outcome"] = asdict(found.outcome)
            if found.suspension is not None:
                shown["suspension"] = asdict(found.suspension)
            yield f"result {case} of {event_id}", shown


def observations() -> Iterator[Case]:
    """Yield what an observation changes of a row."""
    known: dict[str, dict[str, Any]] = {
        "nothing": {},
        "queried ONAY": {"registered": "ONAY", "registered_at": NOON, "verified_by": "statuses"},
        "ONAY": {"registered": "ONAY", "registered_at": NOON, "registered_transaction_id": "1"},
        "RET": {"registered": "RET", "registered_at": NOON, "registered_transaction_id": "1"},
        "queried NOT_ONAY": {"registered": "NOT_ONAY", "registered_at": NOON},
    }
    for (name, columns), value, minutes, by, (transaction_id, at), answers in product(
        known.items(),
        (Registered.ONAY, Registered.RET, Registered.NOT_ONAY),
        (-5, 0, 600),
        ("pull", "status"),
        (("1", NOW), (None, NOW), ("1", None)),
        (False, True),
    ):
        if answers and (by == "status" or at is None):
            continue
        row = a_row("ONAY", verified_at=NOON, **columns)
        seen = Observation(
            value=value,
            creation_date=NOON + timedelta(minutes=minutes),
            consent_date=NOON,
            source="HS_WEB",
            transaction_id=transaction_id,
            verified_at=at,
            verified_by="add" if answers else by,
        )
        how = f"by {by} {transaction_id} {at is not None} {answers}"
        case = f"observed {value} {minutes} {how} over {name}"
        yield case, changed(row, apply.observed(row, seen))


def rulings() -> Iterator[Case]:
    """Yield what is ruled on rows in every state."""
    registered: dict[str, dict[str, Any]] = {
        "UNKNOWN": {},
        "lost": {"verified_by": BOOTSTRAP},
        "ONAY": {"registered": "ONAY", "registered_at": NOON - timedelta(days=2)},
        "RET": {
            "registered": "RET",
            "registered_at": NOON - timedelta(days=2),
            "registered_source": "IYS_WEB",
            "verified_at": NOW,
        },
    }
    before = {"latest_ret_at": NOON - timedelta(days=1)}
    kept = {
        "ret_event_id": "earlier",
        "ret_rank": 0,
        "ret_origin": "web",
        "ret_origin_ref": "form",
        "ret_source": "HS_WEB",
        "ret_consent_date": NOON - timedelta(days=1),
        "ret_registrable": True,
    }
    desired: dict[str, tuple[str, dict[str, Any]]] = {
        "ONAY": ("ONAY", {}),
        "ONAY after a RET": ("ONAY", before),
        "ONAY over a RET": ("ONAY", before | kept),
        "RET": ("RET", {}),
        "RET that cannot be registered": ("RET", {"registrable": False}),
        "RET of İYS": ("RET", {"desired_rank": OriginRank.IYS}),
        "RET to be read back": ("RET", {"action": Action.QUERY, "reason": consent_row.READ_BACK}),
        "withdrawn RET": ("RET", {"withdrawn_at": NOON}),
    }
    kept_alone = {"RET of İYS", "RET to be read back", "ONAY after a RET"}
    for (what, (status, columns)), (held, shown), state in product(
        desired.items(), registered.items(), State
    ):
        row = a_row(status, **{**shown, "state": state, "action": Action.SEND, **columns})
        kinds = [("", ACTIVE, NOW, {})]
        if status == "ONAY":
            kinds.append((" late", ACTIVE, LATE, {}))
        if held == "ONAY" and what in desired.keys() - kept_alone:
            kinds.append((" without brand", None, NOW, {}))
        if state in {State.PENDING, State.IN_FLIGHT, State.UNKNOWN} and held != "lost":
            kinds.append((" answered", ACTIVE, NOW, {"answered": True, "submitted": True}))
            kinds.append((" observing", ACTIVE, NOW, {"observing": True}))
        for name, brand, now, flags in kinds:
            case = f"ruled {what}, {held}, {state}{name}"
            try:
                found = ruling.rule_row(row, brand, now, calendar=TURKEY_CALENDAR, **flags)
            except IllegalTransitionError:
                yield case, "illegal"
                continue
            yield case, ruled(row, found)


def acts() -> Iterator[Case]:
    """Yield what persons and loops do to a row."""
    loading = replace(ACTIVE, activated_at=None, loading_deadline=LATE)
    for status, state in product(("ONAY", "RET"), State):
        held = {
            "registered": "RET",
            "registered_at": NOON,
            "registered_consent_date": NOON,
            "registered_source": "HS_WEB",
            "registered_transaction_id": "1",
            "verified_at": NOON,
        }
        row = a_row(status, state=state, brake_id=1, expires_at=NOON, attested=False, **held)
        parked = row.replace(reason="reconsent")
        ended = row.replace(reason="term-ended")
        for name, act in {
            "requeue": lambda one=parked: ruling.requeue(one),
            "requeue other": lambda one=row: ruling.requeue(one),
            "extend": lambda one=ended: ruling.extend(one, ACTIVE, NOW, calendar=TURKEY_CALENDAR),
            "extend late": lambda one=ended: ruling.extend(
                one, ACTIVE, LATE, calendar=TURKEY_CALENDAR
            ),
            "extend loading": lambda one=ended: ruling.extend(
                one, loading, NOW, calendar=TURKEY_CALENDAR
            ),
            "extend other": lambda one=row: ruling.extend(
                one, ACTIVE, NOW, calendar=TURKEY_CALENDAR
            ),
            "refuse": lambda one=row: ruling.refuse(one, "why", "H1"),
            "park": lambda one=row: ruling.park(one, "why", "H1"),
            "expire": lambda one=row: ruling.expire(one, "why", "H1"),
            "withdraw": lambda one=row: ruling.withdraw(one.replace(action=Action.SEND), NOW),
            "wait": lambda one=row: ruling.wait(one, "why", "H1"),
            "query": lambda one=row: ruling.query(one, "why", "H1"),
            "query again": lambda one=row: ruling.query_again(one, "why", NOW),
            "query open again": lambda one=row: ruling.query_again(
                one.replace(ret_open=True), "why", NOW
            ),
            "query due again": lambda one=row: ruling.query_again(
                one.replace(action=Action.SEND), "why", NOW
            ),
            "sweep": lambda one=row: consent_row.to_sweep_query(one, NOW),
            "retry": lambda one=row: state_change.retry(one, NOW, "why", "H1").replace(
                next_attempt_at=None
            ),
            "retry far": lambda one=row: state_change.retry(
                one, NOW, "why", "H1", timedelta(days=1)
            ),
            "unregistered": lambda one=row: apply.unregistered(one),
            "answered": lambda one=row, status=status: apply.answered_row(
                one.replace(ret_open=True, onay_open=True), status, NOW
            ),
            "uncalled": lambda one=row, status=status: apply.uncalled_row(
                one.replace(ret_open=True, onay_open=True), status
            ),
        }.items():
            try:
                after = act()
            except IllegalTransitionError:
                yield f"{name} {status} {state}", "illegal"
                continue
            shown = changed(row, after)
            if name == "retry far":
                shown["next_attempt_at"] = after.next_attempt_at >= NOW + timedelta(days=1)
            views = (consent_row.is_swept(after), consent_row.is_read_back(after))
            yield f"{name} {status} {state}", shown | {"views": views}
        yield f"outcome {status} {state}", asdict(outcome.outcome_of(row, "accepted", NOW))
        yield f"other outcome {status} {state}", asdict(outcome.outcome_of(row, "refused", NOW))


def events() -> Iterator[Case]:
    """Yield what events make of rows, decided or restored."""
    times = {"older": -60, "same": 0, "newer": 5}
    iys = IysOrigin(stream="IYS", path="push", creation_date=NOON, transaction_id="9")
    for (when, minutes), status, before, (origin, more) in product(
        times.items(),
        ("ONAY", "RET"),
        ("ONAY", "RET", None),
        (("ours", {}), ("İYS's", {"iys": iys, "source": "IYS_WEB"})),
    ):
        row = None if before is None else a_row(before, brake_id=1, retailer_code=5)
        fields: dict[str, Any] = {
            "event_id": "event",
            "status": status,
            "consent_date": NOON + timedelta(minutes=minutes),
            "received_at": NOON + timedelta(minutes=minutes),
            "origin": "form",
            "origin_ref": "sheet",
            "source": "HS_EPOSTA",
            "notice_version": "7",
            "retailer_code": 66438915,
            "retailer_access": (66438916,),
        }
        decision = decide(None, an_admitted_event(**fields | more))
        case = f"{when} {status} {origin} over {before}"
        after = apply.decided(row, a_decision_record(decision), NOW)
        yield f"decided {case}", changed(row, after)
        yield f"restored {case}", changed(row, apply.restored(row, decision.consent, NOW))
        yield f"restored after {case}", changed(after, apply.restored(after, decision.consent, NOW))
        later = replace(
            decision.consent,
            effective_at=LATE,
            consent_date=LATE,
            latest_ret_at=NOON + timedelta(minutes=9),
        )
        known_row = after.replace(registered="ONAY", registered_at=NOON, ret_event_id="earlier")
        yield f"restored later {case}", changed(known_row, apply.restored(known_row, later, NOW))
        if row is not None:
            aside = row.replace(void_event_id="void", latest_onay_at=NOON, ret_event_id="earlier")
            yield (
                f"decided aside {case}",
                changed(aside, apply.decided(aside, a_decision_record(decision), NOW)),
            )


def known() -> dict[str, Any]:
    """Return every case with what it becomes, as JSON has it."""
    found: dict[str, Any] = {}
    for cases in (results, observations, rulings, acts, events):
        for name, shown in cases():
            assert name not in found, name
            found[name] = shown
    return json.loads(json.dumps(found, default=str))


def test_rows_become_what_they_became():
    """Each differs only where it is meant to, and is then written again."""
    expected, found = json.loads(FILE.read_text(encoding="utf-8")), known()
    assert found.keys() == expected.keys()
    assert [name for name, one in found.items() if one != expected[name]] == []


def main() -> None:
    """Write the file."""
    lines = [f"{json.dumps(name)}: {json.dumps(one)}" for name, one in known().items()]
    FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
