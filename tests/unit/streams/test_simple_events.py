"""Simple events are decided on their bytes as the law decides them."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent.model import ConsentEvent, DecisionKind, Reason
from izin.schemas.fast.header_writer import HeaderWriter
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
from izin.streams.state.state import MemoryState
from tests.support.builders import EMAIL, NOON, PHONE, a_key, an_event, an_iys_event
from tests.support.order.harness import (
    APPENDED,
    CODEC,
    HOME,
    KEY,
    OrderHarness,
    a_record,
    consent_of,
)

READER = SimpleEventReader(CODEC)

_SECONDS = st.integers(-3, 3).map(lambda n: NOON + timedelta(seconds=n))
_INSTANTS = _SECONDS | st.sampled_from([NOON + timedelta(milliseconds=250), NOON - MILLISECOND])
_EVENTS = st.builds(
    an_event,
    event_id=st.sampled_from(["1", "2", "0b5ba28e-1c9f-4dd8-9d6c-0d6f8d1b7e11", "", "9" * 70]),
    status=st.sampled_from(["ONAY", "RET", "ONAY", "RET", "ret", "HAYIR"]),
    source=st.sampled_from(["HS_WEB", "HS_WEB", "HS_KARAR", "HS_2015", "hs_web", "", None]),
    recipient=st.sampled_from([PHONE, PHONE, "0555 000 00 01", EMAIL, "+4915112345678"]),
    type=st.sampled_from(["MESAJ", "MESAJ", "EPOSTA", "mesaj"]),
    recipient_type=st.sampled_from(["BIREYSEL", "TACIR", ""]),
    consent_date=st.none() | _INSTANTS,
    received_at=st.none() | _INSTANTS | st.just(NOON + timedelta(hours=3, minutes=4)),
    date_basis=st.sampled_from(["stated", "stated", "received", "day", "minute"]),
    customer_id=st.sampled_from(["acme", "acme", ""]),
    brand_code=st.sampled_from([100001, 100001, 0]),
    retailer_code=st.sampled_from([None, None, 11111111, 5]),
    retailer_access=st.sampled_from([None, None, (11111111,), ()]),
    recipient_raw=st.sampled_from([None, "0555 000 00 01"]),
    sequence=st.none() | st.integers(0, 1 << 40),
    evidence=st.sampled_from([{}, {"sayfa": "/üye"}, {"a": "b" * 80}]),
)


@given(
    st.lists(
        st.tuples(
            _EVENTS | st.just(an_iys_event(event_id="iys-1")),
            st.sampled_from([KEY, KEY, KEY, a_key(recipient=EMAIL).encode(), b"any", None]),
        ),
        max_size=12,
    ),
    st.integers(1, 5),
)
def test_fast_path_and_general_path_fold_alike(
    several: list[tuple[ConsentEvent, bytes | None]], size: int
) -> None:
    """Of any events, valid or not: the same records are written, and the states are equal."""
    records = [
        a_record(event, partition=HOME, offset=offset, key=key)
        for offset, (event, key) in enumerate(several)
    ]
    fast, whole = MemoryState(), MemoryState()
    one, other = OrderHarness(), OrderHarness()
    for start in range(0, len(records), size):
        batch = records[start : start + size]
        found, expected = one.fold(batch, fast), other.fold_generally(batch, whole)
        assert found.writes == expected.writes
        assert (found.counts, found.repartitioned) == (expected.counts, expected.repartitioned)
        fast.apply(found.changes, start)
        whole.apply(expected.changes, start)
        for key in expected.changes:
            assert consent_of(fast, key) == consent_of(whole, key)


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


def test_event_of_our_publisher_is_simple() -> None:
    """As our own publisher writes them: the short way is the usual one."""
    assert read(an_event()) is not None
    assert read(an_event(status="RET")) is not None


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
