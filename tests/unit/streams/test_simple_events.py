"""Simple events are decided on their bytes as the law decides them."""

from dataclasses import replace
from datetime import timedelta

import pytest

from izin.consent import ConsentEvent, DecisionKind
from izin.consent.model import Reason
from izin.schemas.fast.decision_writer import HeaderWriter
from izin.schemas.fast.record_format import headers_of
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import headers
from izin.streams.fast_path.simple_events import (
    SimpleDecision,
    SimpleEvent,
    SimpleEventReader,
    decide_simple,
)
from izin.streams.fetched_record import APPENDED_AT
from izin.streams.guard import REDRIVEN
from izin.streams.state.packing import Packing
from tests.support.builders import NOON, a_key, an_event, an_iys_event
from tests.support.order.harness import (
    APPENDED,
    CODEC,
    KEY,
    a_record,
)

READER = SimpleEventReader(CODEC)


def read(event: ConsentEvent, **fields: object) -> SimpleEvent | None:
    return READER.read(a_record(event, **{"key": KEY} | fields))


def decided(state: list[ConsentEvent], event: ConsentEvent) -> SimpleDecision | None:
    """Return the simple decision of ``event`` over those before it."""
    packing, packed = Packing(), None
    for one in [*state, event]:
        event_read = read(one)
        assert event_read is not None
        found = decide_simple(event_read, packed, packing)
        if found is not None:
            packed = found.pack(packing)
    return found


@pytest.mark.parametrize(
    "event",
    [
        an_event(source="HS_KARAR", status="RET"),
        an_event(source="HS_2015"),
        an_event(source=None),
        an_event(recipient="0555 000 00 01"),
        an_event(status="onay"),
        an_event(date_basis="received"),
        an_event(date_basis="day"),
        an_event(date_basis="minute", status="RET"),
        an_event(consent_date=None),
        an_event(received_at=None),
        an_event(consent_date=NOON + timedelta(minutes=1), received_at=NOON),
        an_event(received_at=NOON + timedelta(hours=4)),
        an_event(retailer_code=11111111),
        an_event(customer_id=""),
        an_event(event_id=""),
        an_iys_event(),
        an_event(evidence={"much": "e" * 70_000}),
    ],
)
def test_event_that_needs_judgement_is_not_simple(event: ConsentEvent) -> None:
    """Each guard of the fast path fires."""
    assert read(event) is None


@pytest.mark.parametrize("key", [None, b"any", b"100001/MESAJ/BIREYSEL/", b"\xff/x"])
def test_event_with_another_key_is_not_simple(key: bytes | None) -> None:
    """Where the record's key is not the canonical one, the law makes it."""
    assert read(an_event(), key=key) is None


def test_repartitioned_event_is_not_simple() -> None:
    """Its first append counts, which is in a header; so it is with a redriven one."""
    assert read(an_event(), headers=[(APPENDED_AT, b"1")]) is None
    assert read(an_event(), headers=[(REDRIVEN, b"0/5"), (APPENDED_AT, b"1")]) is None


def test_unreadable_event_is_not_simple() -> None:
    """No value, another schema, or a record cut short."""
    whole = a_record(key=KEY)
    for value in (None, b"\xc3\x01" + b"\x07" * 40, (whole.value or b"")[:-2]):
        assert READER.read(a_record(key=KEY, value=value)) is None


def test_event_of_the_same_second_is_not_decided() -> None:
    """Within one second more than the instant counts."""
    assert decided([an_event(event_id="1")], an_event(event_id="2", status="RET")) is None


def test_same_event_is_a_duplicate() -> None:
    """Published again it changes nothing; with any difference the law decides."""
    event = an_event(event_id="1")
    found = decided([event], event)
    assert found is not None
    assert (found.kind, found.reason) == (DecisionKind.DUPLICATE, Reason.SAME_EVENT)
    assert decided([event], replace(event, origin="crm")) is None
    assert decided([event], replace(event, consent_date=NOON + MILLISECOND)) is None


def test_older_event_that_moves_the_state_is_not_decided() -> None:
    """An earlier RET under a later ONAY moves the latest RET, and so the state."""
    earlier = an_event(event_id="2", status="RET", consent_date=NOON - timedelta(days=1))
    assert decided([an_event(event_id="1")], earlier) is None


def test_caches_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sources and brands in any number do not fill the memory, and are still read."""
    monkeypatch.setattr("izin.schemas.fast.cache.MAX_ENTRIES", 2)
    reader, marking = SimpleEventReader(CODEC), HeaderWriter("Decision")
    for number in range(1, 8):
        event = an_event(customer_id=f"c{number}", brand_code=number)
        key = a_key(brand_code=number).encode()
        assert reader.read(a_record(event, key=key)) is not None
        assert reader.read(a_record(event, key=f"{number}/nonsense".encode())) is None
        at = NOON + timedelta(days=number, seconds=number)
        expected = headers(record="Decision", event_id="1", source=f"/{number}", at=at)
        seconds = (at - EPOCH) // timedelta(seconds=1)
        made = marking.headers(b"1", marking.shared(f"/{number}", seconds))
        assert headers_of(made) == expected
    assert len(reader._contents) <= 2
    assert len(reader._prefixes) <= 2


def test_event_received_after_its_append_is_not_simple() -> None:
    """Beyond the permitted skew the append counts, as the law defines."""
    latest = EPOCH + (APPENDED + 5 * 60 * 1000) * MILLISECOND
    assert read(an_event(received_at=latest)) is not None
    assert read(an_event(received_at=latest + MILLISECOND)) is None
