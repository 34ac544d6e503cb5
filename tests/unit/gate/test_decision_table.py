"""When a key has last opted out, read of a decision by the offsets of its fields."""

from datetime import timedelta

import pytest

from izin.consent import Consent, Status, decide
from izin.gate.key_tables import DecisionRecords, KnownKeys
from izin.kafka.tables.packed_permissions import whole_seconds
from izin.schemas.codec import Codec, UndecodableError
from tests.support.builders import NOON, a_decision_record, a_ret, an_admitted_event

CODEC = Codec()
BEFORE = NOON - timedelta(days=1)


@pytest.fixture
def table() -> DecisionRecords:
    """Return a table of no key."""
    return DecisionRecords(KnownKeys(), CODEC, "consent-decisions")


def an_opt_in() -> Consent:
    """Return the consent of an opt-in at noon."""
    return decide(None, an_admitted_event()).consent


@pytest.mark.parametrize(
    ("current", "status", "at", "latest"),
    [
        (None, Status.ONAY, NOON, None),
        (None, Status.RET, NOON, NOON),
        (an_opt_in(), Status.RET, NOON, NOON),
        (an_opt_in(), Status.RET, BEFORE, BEFORE),
        (decide(None, a_ret(consent_date=BEFORE)).consent, Status.ONAY, NOON, BEFORE),
    ],
    ids=["first-opt-in", "first-opt-out", "applied", "stale", "opted-in-again"],
)
def test_both_ways_to_read_agree(
    table: DecisionRecords, current: Consent | None, status: Status, at: object, latest: object
):
    """Whether the opt-out applied, was stale, or is an earlier one of the key."""
    decision = decide(current, an_admitted_event(status=status, consent_date=at))
    value = CODEC.encode("Decision", a_decision_record(decision))
    expected = None if latest is None else whole_seconds(latest)
    assert table._opted_out_at(value) == table._decoded(value) == expected


def test_what_is_no_decision_is_unreadable(table: DecisionRecords):
    """Cut short, or a tombstone."""
    value = CODEC.encode("Decision", a_decision_record(decide(None, a_ret())))
    for wrong in (value[:20], b"RET", None):
        with pytest.raises(UndecodableError):
            table._opted_out_at(wrong)
