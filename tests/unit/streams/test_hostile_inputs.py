"""Ten thousand hostile records at the order stage: no crash, and no neighbour harmed.

Instants beyond any calendar, or before the law, are missing: no opt-out is lost over one.
"""

from datetime import UTC, datetime, timedelta
from io import BytesIO
from typing import Any

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given
from hypothesis import strategies as st

from izin.consent import FIRST_DATE, Status
from izin.schemas import contracts
from izin.schemas.codec import Codec
from izin.schemas.fast.writer import EPOCH, MILLISECOND
from izin.schemas.records import event_from_avro, event_to_avro
from izin.streams.fetched_record import FetchedRecord
from izin.streams.guard import AdmittedRecord, DeadLetter, Guard
from izin.streams.outputs import MAX_BYTES
from izin.streams.state.state import MemoryState
from tests.support.builders import NOON, an_event, an_iys_event
from tests.support.hostile.inputs import HostileInputs
from tests.support.order.harness import (
    APPENDED,
    CODEC,
    HOME,
    KEY,
    TOPICS,
    OrderHarness,
    consent_of,
    fetched,
    records_of,
)

HARNESS = OrderHarness()
BATCHES, RECORDS = 200, 10
RECEIVED = APPENDED - 60_000
FIRST = (FIRST_DATE - EPOCH) // MILLISECOND
GO_ZERO = (datetime.min.replace(tzinfo=UTC) - EPOCH) // MILLISECOND
WILD = [
    GO_ZERO,
    GO_ZERO - 1,
    -(1 << 63),
    (1 << 63) - 1,
    APPENDED * 1000,  # microseconds
    APPENDED * 1_000_000,  # nanoseconds
    253_402_300_799_999,  # the last millisecond of the year 9999
    253_402_300_800_000,
]
EARLY = [0, -1, APPENDED // 1000, FIRST - 1]
"""Of a receipt: 1970, seconds for milliseconds, the day before the law."""
NEAR = [RECEIVED, APPENDED - 3_600_000]
_ANY = st.sampled_from(WILD) | st.integers(-(1 << 63), (1 << 63) - 1)
_OF_AN_EVENT = st.none() | _ANY | st.sampled_from(EARLY + NEAR)


@pytest.mark.parametrize("seed", range(5))
def test_hostile_records_harm_no_ret(seed: int) -> None:
    """Each gives a decision, a dead letter or a repartitioned record that can be written and read;
    a valid RET between them takes effect.
    """
    made, state = HostileInputs(seed), MemoryState()
    for number in range(BATCHES):
        at = NOON + timedelta(hours=number)
        ret = an_event(event_id=f"{number}", status="RET", consent_date=at, received_at=at)
        (valid,) = records_of(ret, timestamp=int(at.timestamp() * 1000))
        hostile = [
            fetched(value=made.framed(CODEC), key=KEY, partition=HOME, offset=offset)
            for offset in range(RECORDS)
        ]
        effects = HARNESS.fold([*hostile[:5], valid, *hostile[5:]], state)
        state.apply(effects.changes, number)
        # It wins, unless a RET does that İYS dates later.
        assert consent_of(state, KEY).status is Status.RET
        for topic in (TOPICS.decisions, TOPICS.desired_consents, TOPICS.dead_letters):
            HARNESS.written(effects, topic.name, topic.record)
        for one in (*effects.writes, *effects.repartitioned):
            assert len(one.key or b"") + len(one.value) + len(one.headers) <= MAX_BYTES


def wild_record(status: str, *, iys: bool = False, **instants: int | None) -> FetchedRecord:
    """Return a record of an event with these instants, in milliseconds since 1970."""
    event = event_to_avro(an_iys_event(status=status) if iys else an_event(status=status))
    for name in event["iys"] or ():
        event["iys"][name] = instants.pop(name, event["iys"][name])
    value = CODEC.encode("ConsentEvent", event | {"received_at": RECEIVED} | instants)
    return fetched(value=value, key=KEY, partition=HOME)


def admitted(record: FetchedRecord) -> AdmittedRecord:
    found = Guard(CODEC).admit(record)
    assert isinstance(found, AdmittedRecord)
    return found


def an_instant(milliseconds: int) -> datetime:
    return EPOCH + milliseconds * MILLISECOND


@pytest.mark.parametrize("date", WILD)
def test_ret_with_a_wild_date_counts_from_its_receipt(date: int) -> None:
    """Microseconds for milliseconds, year 0, beyond 9999: the date is missing."""
    found = admitted(wild_record("RET", consent_date=date))
    assert found.admitted.effective_at == an_instant(RECEIVED).replace(microsecond=0)
    assert found.admitted.event.consent_date is None
    assert not found.is_unchanged


@pytest.mark.parametrize("receipt", WILD + EARLY)
def test_ret_with_a_wild_receipt_counts_from_its_append(receipt: int) -> None:
    """So does one received before the law, such as Go's zero time or 1970."""
    found = admitted(wild_record("RET", consent_date=None, received_at=receipt))
    assert found.admitted.effective_at == an_instant(APPENDED)
    assert found.admitted.event.received_at == an_instant(APPENDED)
    dated = admitted(wild_record("RET", consent_date=RECEIVED, received_at=receipt))
    assert dated.admitted.effective_at == an_instant(RECEIVED).replace(microsecond=0)


@pytest.mark.parametrize("created", WILD + EARLY)
def test_ret_of_iys_with_a_wild_date_counts_from_its_receipt(created: int) -> None:
    """İYS's own instant is as good as missing; what is claimed of İYS closes at the receipt."""
    found = admitted(wild_record("RET", iys=True, creation_date=created)).admitted
    assert found.event.iys is not None
    assert found.effective_at == found.event.iys.creation_date == an_instant(RECEIVED)
    again = admitted(
        fetched(value=CODEC.encode("ConsentEvent", event_to_avro(found.event)), key=KEY)
    )
    assert again.admitted == found


@pytest.mark.parametrize("date", WILD)
def test_onay_with_a_wild_date_is_refused(date: int) -> None:
    """As one without a date; an opt-in of İYS that has no instant of its own, too."""
    for record in (
        wild_record("ONAY", consent_date=date),
        wild_record("ONAY", iys=True, creation_date=date),
    ):
        found = Guard(CODEC).admit(record)
        assert isinstance(found, DeadLetter)
        assert (found.reason, found.violations[0].code) == ("refused", "H112")


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["ONAY", "RET"]),
            st.booleans(),
            _OF_AN_EVENT,
            _OF_AN_EVENT,
            _ANY | st.sampled_from(EARLY + NEAR),
            _OF_AN_EVENT,
        ),
        max_size=6,
    )
)
def test_wild_instants_are_folded_alike_and_lose_no_ret(several: list[tuple[Any, ...]]) -> None:
    """The fast path and the general one agree, no RET is dead-lettered, and what is decided holds
    an event that everybody reads.
    """
    records = [
        wild_record(
            *(status,),
            iys=iys,
            consent_date=date,
            received_at=receipt,
            creation_date=created,
            observed_at=observed,
        )
        for status, iys, date, receipt, created, observed in several
    ]
    one, other, fast, whole = OrderHarness(), OrderHarness(), MemoryState(), MemoryState()
    found, expected = one.fold(records, fast), other.fold_generally(records, whole)
    assert (found.writes, found.counts) == (expected.writes, expected.counts)
    letters = [each for each in found.writes if each.topic == TOPICS.dead_letters.name]
    assert len(letters) <= sum(status == "ONAY" for status, *_ in several)
    for each in found.writes:
        if each.topic == TOPICS.decisions.name:
            event = event_from_avro(CODEC.decode("Decision", each.value)["event"])
            assert event.received_at is not None
            assert FIRST_DATE <= event.received_at <= an_instant(APPENDED) + timedelta(minutes=5)
    fast.apply(found.changes, 1)
    consent = consent_of(fast, KEY)
    if any(status == "RET" for status, *_ in several):
        assert consent is not None
        assert consent.latest_ret_at is not None


@pytest.mark.parametrize("unit", ["millis", "micros"])
def test_wild_instant_of_a_foreign_schema_is_missing(unit: str) -> None:
    """Of a version from a registry, whatever unit its instants have."""
    schema: Any = replace_units(contracts.current()["ConsentEvent"].schema, unit)
    body = BytesIO()
    values = event_to_avro(an_event(status="RET")) | {"consent_date": 1 << 62, "received_at": None}
    schemaless_writer(body, parse_schema(schema, named_schemas={}), values)
    foreign = contracts.contract("ConsentEvent", schema)
    codec = Codec(others={b"\x07" * 8: foreign})
    found = codec.decode_event(b"\xc3\x01" + b"\x07" * 8 + body.getvalue())
    assert (found.status, found.consent_date) == ("RET", None)


def replace_units(schema: object, unit: str) -> object:
    """Return the schema with instants of this unit."""
    match schema:
        case dict():
            return {
                name: f"timestamp-{unit}" if name == "logicalType" else replace_units(one, unit)
                for name, one in schema.items()
            }
        case list():
            return [replace_units(one, unit) for one in schema]
        case _:
            return schema
