"""What stood at an instant, by the facts of an archive: the same as the ledger makes of them."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pytest

from izin.consent import OriginRank
from izin.evidence.rows import EvidenceRow, fact_of
from izin.evidence.verification import state_at
from tests.support.builders import NOON, an_iys_origin
from tests.support.evidence.archives import MINUTE, a_decision_row, a_history, a_row

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
