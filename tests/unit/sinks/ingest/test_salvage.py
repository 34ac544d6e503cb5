"""What can be read of a decision that cannot be taken."""

from datetime import UTC, datetime

import pytest

from izin.consent.ordering import decide
from izin.schemas.codec import Codec
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ingest.isolation import Gleaned, glean, opt_out
from izin.sinks.record.unreadable import QuarantinedRecord
from tests.support.builders import CUSTOMER, NOON, PHONE, a_decision_record, a_key, a_ret

CODEC = Codec()
VALUE = CODEC.encode("Decision", a_decision_record(decide(None, a_ret())))
STATUS_ENDS = VALUE.index(PHONE.encode()) + len(PHONE) + len(b"\6RET")
APPENDED = datetime(2026, 3, 3, tzinfo=UTC)
RECORD = QuarantinedRecord(
    topic="consent-decisions",
    partition=3,
    offset=7,
    appended_at=APPENDED,
    key=None,
    value=b"",
    headers=(),
    reason="poison",
    error="ValueError",
    source="acme/web",
    is_ret=True,
)


def gleaned(value: bytes = VALUE) -> Gleaned:
    """Return what is read of ``value``."""
    found = glean(CODEC, value)
    assert found is not None
    return found


@pytest.mark.parametrize("end", range(STATUS_ENDS, len(VALUE)))
def test_glean_of_truncated_bytes_with_their_status_finds_the_opt_out(end: int) -> None:
    """Wherever the bytes end behind it."""
    found = gleaned(VALUE[:end])
    assert (found.status, found.key, found.effective_at) == ("RET", gleaned().key, NOON)


@pytest.mark.parametrize("end", range(STATUS_ENDS))
def test_glean_of_bytes_without_their_status_finds_nothing(end: int) -> None:
    """Half a recipient is another one, and must not be closed."""
    assert glean(CODEC, VALUE[:end]) is None


def test_opt_out_stands_at_the_instant_of_its_record() -> None:
    """It has the key and the instant, and names the place of what it stands for."""
    value = opt_out(CODEC, gleaned(), RECORD)
    assert value is not None
    found = CODEC.decode("Decision", value)
    assert DecisionReader(CODEC).read(value).key == str(a_key())
    assert (found["effective_at"], found["consent"]["status"]) == (NOON, "RET")
    assert (found["event"]["origin"], found["event"]["origin_ref"]) == (
        "quarantine",
        "consent-decisions/3/7",
    )
    assert found["consent"]["customer_id"] == CUSTOMER


@pytest.mark.parametrize(
    "stated", [None, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]
)
def test_opt_out_without_a_usable_instant_counts_from_its_append(stated: datetime | None) -> None:
    """It is never later than its append, nor in a year before there were consents."""
    value = opt_out(CODEC, gleaned()._replace(effective_at=stated), RECORD)
    assert value is not None
    assert CODEC.decode("Decision", value)["effective_at"] == APPENDED


def test_opt_out_of_no_key_is_none() -> None:
    """The law builds no key of such a recipient."""
    key = {**gleaned().key, "recipient": "5" * 4000}
    assert opt_out(CODEC, gleaned()._replace(key=key), RECORD) is None
