"""What stood at an instant, by the facts of an archive: the same as the ledger makes of them."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.consent.fold import Observation, restored_consent
from izin.consent.model import ConsentKey, OriginRank, Status
from izin.evidence.report import state_at
from izin.evidence.rows import EvidenceRow, fact_of
from izin.schemas.codec import Codec
from izin.sinks.record import apply
from izin.sinks.record.consent_row import ConsentRow
from izin.sinks.record.state_change import first_row
from tests.support.builders import NOON, an_iys_origin
from tests.support.evidence.archives import KEY, MINUTE, a_decision_row, a_history, a_row

LATER = NOON + 10 * MINUTE
TRANSACTION = "c" * 64


def stood(rows: Sequence[EvidenceRow], at: datetime | None = None) -> dict[str, Any]:
    """Return what stood."""
    facts = [fact_of(one) for one in rows]
    return state_at("BIREYSEL", facts, until=at)


@pytest.mark.parametrize(
    ("minutes", "registered", "may_send", "reason"),
    [
        (-1, "UNKNOWN", False, "not-registered"),
        (0.5, "UNKNOWN", False, "awaiting-iys"),
        (3, "ONAY", True, "registered"),
        (30, "ONAY", True, "registered"),
        (61, "RET", False, "opted-out"),
    ],
)
def test_state_is_that_of_its_instant(
    minutes: float, registered: str, may_send: bool, reason: str
) -> None:
    """Before the consent, until İYS has it, while it stands, and once the citizen left."""
    found = stood(a_history(), NOON + minutes * MINUTE)
    assert (found["registered"]["status"], found["may_send"], found["reason"]) == (
        registered,
        may_send,
        reason,
    )
    assert found["desired"] is None or datetime.fromisoformat(found["known_at"]) <= (
        NOON + minutes * MINUTE
    )


def test_restored_opt_in_is_under_the_opt_out_before_it() -> None:
    """İYS holds an opt-in of before; that the latest opt-out is newer, the restoration says."""
    said = {"origin": "web", "origin_rank": 0, "source": "HS_WEB", "registrable": True}
    said |= {"consent_date": NOON.isoformat(), "latest_onay_at": NOON.isoformat()}
    said |= {"latest_ret_at": (NOON - MINUTE).isoformat()}
    before = (NOON - 2 * MINUTE).isoformat()
    found = stood(
        [
            a_row(1, "bootstrap", said, event_id="event-5", status="ONAY"),
            observed(2, "ONAY", LATER, transaction_id=TRANSACTION, consent_date=before),
        ]
    )
    assert (found["may_send"], found["reason"]) == (False, "opted-out")


def test_opt_out_is_desired_again_behind_a_void_opt_in() -> None:
    """As the ledger desires it: İYS may hold an opt-in of before both."""
    opt_out = a_decision_row(1, at=NOON - MINUTE, event_id="event-0", status="RET")
    found = stood([opt_out, a_decision_row(2), an_outcome(3, "expired")])
    assert found["desired"]["status"] == "RET"


def test_opt_out_of_a_stream_that_nobody_knows_is_a_citizens() -> None:
    """As the law ranks it; a genuine archive with it is no forgery."""
    origin = an_iys_origin(creation_date=NOON, transaction_id=TRANSACTION, stream="OTHER")
    assert stood([an_opt_out(1, NOON, iys=origin)])["desired"]["origin_rank"] == OriginRank.IYS


def observed(place: int, status: str, at: datetime, **data: object) -> EvidenceRow:
    """Return what İYS showed in a query."""
    said = {
        "by": "status",
        "creation_date": at.isoformat(),
        "consent_date": None,
        "source": None,
        "transaction_id": None,
    }
    return a_row(place, "observation", said | data, at=at, status=status)


def an_opt_out(place: int, at: datetime, **event: object) -> EvidenceRow:
    """Return a citizen's opt-out at İYS."""
    origin = an_iys_origin(creation_date=at, transaction_id=TRANSACTION, observed_at=at)
    fields = {"event_id": "event-9", "status": "RET", "source": "IYS_WEB", "origin": "iys"}
    return a_decision_row(place, at=at, **fields | {"iys": origin} | event)


def an_outcome(place: int, outcome: str) -> EvidenceRow:
    """Return the outcome of the consent."""
    data = {"outcome": outcome, "code": "H467", "message": None, "attempt": 1}
    columns = {"event_id": "event-1", "status": "ONAY"}
    return a_row(place, "outcome", data, at=LATER, **columns)


CASES = {
    "history": a_history(),
    "nothing": [],
    "a restored opt-out": [
        a_row(
            1,
            "bootstrap",
            {"origin": "iys", "source": "IYS_WEB", "consent_date": NOON.isoformat()},
            event_id="event-5",
            status="RET",
        )
    ],
    "a void consent": [a_decision_row(1), an_outcome(2, "expired")],
    "an older opt-out, late": [a_decision_row(1), an_opt_out(2, NOON - MINUTE)],
    "an opt-out in the same second": [a_decision_row(1), an_opt_out(2, NOON)],
    "a query without a record": [a_decision_row(1), observed(2, "NONE", LATER)],
    "absent from many": [*a_history()[:3], observed(9, "NOT_ONAY", LATER, by="statuses")],
    "absent after an opt-out": [
        an_opt_out(1, NOON),
        observed(2, "NOT_ONAY", LATER, by="statuses"),
    ],
    "an opt-in ahead of its time": [
        observed(1, "ONAY", NOON, creation_date=(NOON + timedelta(days=9)).isoformat()),
        observed(2, "RET", LATER, transaction_id=TRANSACTION),
    ],
    "details filled in": [
        observed(1, "ONAY", LATER, by="statuses"),
        observed(2, "ONAY", NOON, transaction_id=TRANSACTION, consent_date=NOON.isoformat()),
    ],
    "an older movement": [
        observed(1, "RET", LATER, transaction_id=TRANSACTION),
        observed(2, "ONAY", NOON, transaction_id="d" * 64),
    ],
    "a tie at İYS": [
        observed(1, "RET", NOON, transaction_id=TRANSACTION),
        observed(2, "ONAY", NOON, transaction_id="d" * 64),
    ],
    "an answer of an earlier save": [
        a_history()[0],
        a_history()[1],
        a_row(
            5,
            "answer",
            {
                "submission": 7,
                "how": "add",
                "verdict": "success",
                "transaction_id": TRANSACTION,
                "creation_date": (NOON - MINUTE).isoformat(),
            },
            event_id="event-1",
            status="ONAY",
        ),
    ],
    "a refusal": [
        *a_history()[:2],
        a_row(5, "answer", {"submission": 7, "how": "add", "verdict": "data", "code": "H120"}),
        an_outcome(6, "refused"),
    ],
}


@pytest.mark.parametrize("rows", CASES.values(), ids=CASES)
def test_state_is_the_one_that_the_ledger_makes_of_it(rows: Sequence[EvidenceRow]) -> None:
    """The verifier needs nothing of the ledger, whose rows say the same."""
    found, row = stood(rows), by_ledger(rows)
    shown = found["registered"]
    if row is None:
        assert (found["desired"], shown["status"]) == (None, "UNKNOWN")
        return
    assert (found["desired"] and found["desired"]["status"]) == row.desired_status
    assert _at(found["desired"] and found["desired"]["effective_at"]) == row.desired_at
    assert shown["status"] == row.registered
    assert _at(shown["creation_date"]) == row.registered_at
    assert _at(shown["consent_date"]) == row.registered_consent_date
    assert (shown["source"], _at(shown["seen_at"])) == (row.registered_source, row.verified_at)


def by_ledger(rows: Sequence[EvidenceRow]) -> ConsentRow | None:
    """Return the row that the ledger's code makes of decisions, restorations and observations, and
    of the answer that saved something.
    """
    key, row = ConsentKey.parse(KEY), None
    for fact in map(fact_of, (one for one in rows if one.columns.key == KEY)):
        at, data = datetime.fromisoformat(fact["recorded_at"]), fact["data"]
        known = row or first_row(key, "acme", at)
        match fact["kind"]:
            case "decision":
                (stored,) = (one.decision for one in rows if one.columns.place == fact["place"])
                row = apply.decided(row, Codec().decode("Decision", stored or b""), at)
            case "bootstrap":
                consent = restored_consent(
                    key,
                    customer_id=fact["customer_id"],
                    event_id=fact["event_id"],
                    status=Status(fact["status"]),
                    effective_at=datetime.fromisoformat(fact["occurred_at"]),
                    data=data,
                )
                row = apply.restored(row, consent, at)
            case "observation":
                seen_at = datetime.fromisoformat(fact["occurred_at"])
                seen = Observation.recorded(fact["status"], data, seen_at=seen_at)
                row = apply.observed(known, seen)
            case "answer" if data["verdict"] == "success" and _at(data["creation_date"]) > NOON:
                saved = Observation.answered(
                    fact["status"],
                    consent_date=NOON,
                    source="HS_WEB",
                    creation_date=datetime.fromisoformat(data["creation_date"]),
                    transaction_id=data["transaction_id"],
                    how=data["how"],
                    at=at,
                )
                row = apply.observed(known, saved)
            case _:
                pass
    return row


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text).astimezone(UTC)
