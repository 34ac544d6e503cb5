"""Each kind of bad record becomes a dead letter of its own; what is not its fault is raised.

Whatever a record is, it becomes a dead letter at worst: the path to one cannot raise.
Ten thousand hostile records at the order stage: no crash, and no neighbour harmed.

Instants beyond any calendar, or before the law, are missing: no opt-out is lost over one.
"""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import BytesIO
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import DEFAULT, Mock

import pytest
from fastavro import parse_schema, schemaless_writer
from hypothesis import given, strategies as st

from izin.consent import FIRST_DATE, OurError, Status
from izin.schemas import contracts
from izin.schemas.codec import Codec, SchemaIds
from izin.schemas.fast.record_format import header_bytes, headers_bytes
from izin.schemas.fast.writer import EPOCH, MILLISECOND, long_bytes
from izin.schemas.records import MAX_COPIED_BYTES, event_from_avro, event_to_avro
from izin.streams import guard
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord
from izin.streams.guard import (
    AdmittedRecord,
    DeadLetter,
    Guard,
    appended_at,
    dead_letter_message,
    dead_letter_of,
)
from izin.streams.outputs import MAX_BYTES
from izin.streams.state.state import MemoryState
from tests.support.builders import NOON, PHONE, an_event, an_iys_event
from tests.support.hostile.inputs import HostileInputs
from tests.support.order.harness import (
    APPENDED,
    CODEC,
    HOME,
    KEY,
    SPOILT_TEXTS,
    TOPICS,
    OrderHarness,
    a_record,
    a_spoilt_record,
    consent_of,
    fetched,
    records_of,
)

FIRST = (FIRST_DATE - EPOCH) // MILLISECOND
RET = CODEC.encode("ConsentEvent", event_to_avro(an_event(status="RET", consent_date=None)))
ONAY = CODEC.encode("ConsentEvent", event_to_avro(an_event(consent_date=None)))


def taken(record: FetchedRecord) -> AdmittedRecord | DeadLetter:
    return Guard(CODEC).admit(record)


def test_valid_record_is_admitted() -> None:
    """The guard reports whether admission changed the event."""
    found, other = taken(a_record()), taken(a_record(an_event(recipient=f"  {PHONE}")))
    assert (found.admitted.key.recipient, found.is_unchanged) == (PHONE, True)
    assert other.admitted == replace(found.admitted, event=other.admitted.event)
    assert not other.is_unchanged


VALUE = a_record().value or b""
VIOLATION = CODEC.encode("Violation", {"field": "a", "code": "b", "reason": "c", "reason_tr": "d"})


@pytest.mark.parametrize(
    "value",
    [
        *(None, b"", b"{}", b"\x00", b"\xc3\x01", b"\xc3\x01short"),
        *(VALUE[:-1], VALUE + b"\x00", VIOLATION),
    ],
)
def test_what_is_no_record_of_the_contract_is_undecodable(value: bytes | None) -> None:
    """No value, neither framing, an end that is early or late, and another contract's record."""
    assert taken(fetched(value=value)).reason == "undecodable"


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (a_record(an_event(status="RET", recipient="nobody")), "refused"),
        (a_record(an_event(status=" ret ", recipient="nobody")), "refused"),
        (a_spoilt_record("actor", status="RET", recipient="nobody"), "undecodable"),
    ],
)
def test_ret_whose_key_cannot_be_read_is_flagged(record: FetchedRecord, reason: str) -> None:
    """A person must act."""
    letter = taken(record)
    assert (letter.reason, letter.lost_ret) == (reason, True)


def test_unknown_registry_id_is_an_unknown_schema() -> None:
    """An id without a registry that knows it is an unknown schema, and the remedy is named; so is a
    fingerprint that no version has: the remedy differs from that of rubbish.
    """
    letter = taken(fetched(value=b"\x00" + struct.pack(">I", 4242) + b"rest"))
    assert letter.reason == "unknown-schema"
    assert "SCHEMA_REGISTRY_URL" in letter.violations[0].reason
    assert taken(fetched(value=b"\xc3\x01" + b"\x07" * 8)).reason == "unknown-schema"


def a_registry(answer: Callable[[int], object]) -> Codec:
    """Return a codec whose registry gives this response for a schema."""
    return Codec(cast("SchemaIds", SimpleNamespace(id_of=lambda _: 1, schema_of=answer)))


def test_registry_out_of_reach_raises() -> None:
    """It is not the record's fault that the registry is gone."""
    record = fetched(value=b"\x00" + struct.pack(">I", 7) + b"rest")
    with pytest.raises(OurError):
        Guard(a_registry(Mock(side_effect=OurError("nobody answers")))).admit(record)


@pytest.mark.parametrize("schema", ["string", ["null", "int"], {"type": "record"}, 5])
def test_registered_schema_that_is_no_record_is_unknown(schema: object) -> None:
    """An unusable schema at the registry dead-letters the record and nothing else."""
    record = fetched(value=b"\x00" + struct.pack(">I", 7) + b"rest")
    letter = Guard(a_registry(lambda _: schema)).admit(record)
    assert letter.reason in {"unknown-schema", "undecodable"}


@pytest.mark.parametrize(("status", "lost"), [("ONAY", False), ("RET", True)])
def test_poison_is_dead_lettered_and_a_ret_flagged(
    monkeypatch: pytest.MonkeyPatch, status: str, lost: bool
) -> None:
    """A record for which our code raises is described by the type of the error alone."""
    monkeypatch.setattr(guard, "admit", Mock(side_effect=ZeroDivisionError(PHONE)))
    letter = taken(a_record(an_event(status=status)))
    assert (letter.reason, letter.lost_ret) == ("poison", lost)
    assert PHONE not in letter.violations[0].reason


def test_impossible_timestamp_is_poison() -> None:
    """A record dated outside the calendar does not stop the worker, nor does its dead letter."""
    record = a_record(timestamp=2**62)
    letter = taken(record)
    assert letter.reason == "poison"
    assert CODEC.encode("DeadLetter", dead_letter_of(letter, record))


def test_dead_letter_has_coordinates_and_original_bytes() -> None:
    """Coordinates, bytes, digest and headers are the record's own."""
    record = fetched(
        topic="consent-events", partition=3, offset=41, value=b"rubbish", headers=[("a", None)]
    )
    written = CODEC.decode(
        "DeadLetter",
        CODEC.encode("DeadLetter", dead_letter_of(taken(record), record)),
    )
    assert (written["topic"], written["partition"], written["offset"]) == ("consent-events", 3, 41)
    assert written["timestamp"] == datetime.fromtimestamp(APPENDED / 1000, UTC)
    assert (written["key"], written["value"], written["value_size"]) == (b"any", b"rubbish", 7)
    assert written["value_sha256"] == hashlib.sha256(b"rubbish").hexdigest()
    assert written["headers"] == [{"name": "a", "value": None}]


def test_dead_letter_of_a_huge_record_fits_into_a_record() -> None:
    """A huge value, key or header is truncated so that the dead letter can be written."""
    huge = b"x" * (1 << 20)
    record = fetched(value=huge, key=huge, headers=[("small", b"1"), ("big", huge)])
    written = dead_letter_of(taken(record), record)
    assert (len(written["value"]), written["value_size"]) == (MAX_COPIED_BYTES, 1 << 20)
    assert len(written["key"]) == MAX_COPIED_BYTES
    assert [one["name"] for one in written["headers"]] == ["small"]


def test_dead_letter_keeps_the_first_append_of_many_headers() -> None:
    """Those at the end are ours: the instant from which the event counts must not be lost."""
    many = [(f"h{number}", b"x" * 1000) for number in range(100)]
    record = fetched(value=b"rubbish", headers=[*many, (APPENDED_AT, b"1")])
    names = [one["name"] for one in dead_letter_of(taken(record), record)["headers"]]
    assert names[-2:] == ["h99", APPENDED_AT]
    assert 60 < len(names) < 67


def test_repartitioned_record_counts_from_its_first_append() -> None:
    """A second append changes no instant, and a header can only date back, never ahead."""
    first = str(APPENDED - 60_000).encode()
    later = str(APPENDED + 60_000).encode()
    now = appended_at(fetched())
    assert appended_at(fetched(headers=[(APPENDED_AT, first)])) == now - timedelta(minutes=1)
    assert appended_at(fetched(headers=[(APPENDED_AT, later)])) == now
    assert appended_at(fetched(headers=[(APPENDED_AT, b"rubbish")])) == now
    assert appended_at(fetched(headers=[(APPENDED_AT, first), ("other", None)])) == now


@pytest.mark.parametrize("name", SPOILT_TEXTS)
def test_ret_with_bytes_that_are_no_text_takes_effect(name: str) -> None:
    """Without them, and flagged; İYS gets none of these texts but the source."""
    found = taken(a_spoilt_record(name, status="RET"))
    assert not getattr(found.admitted.event, name)
    assert not found.is_unchanged
    assert (name, "IZIN-CHARACTER") in {(v.field, v.code) for v in found.admitted.violations}
    assert found.admitted.registrable == (name not in {"source", "event_id", "customer_id"})


def test_ret_with_a_damaged_recipient_is_not_registrable() -> None:
    """They may hide more; the opt-out takes effect for the recipient that is left."""
    found = taken(a_spoilt_record("recipient", recipient=f"+9055500@@@@{PHONE[-5:]}", status="RET"))
    assert found.admitted.key.recipient == f"+9055500{PHONE[-5:]}"
    assert not found.admitted.registrable


@pytest.mark.parametrize("name", SPOILT_TEXTS)
def test_onay_with_bytes_that_are_no_text_is_undecodable(name: str) -> None:
    """Its source must repair it."""
    assert taken(a_spoilt_record(name)).reason == "undecodable"


def letters(*records: FetchedRecord) -> list[dict[str, Any]]:
    """Return the dead letters of records, decoded."""
    writes = OrderHarness().fold(records).writes
    found = [one for one in writes if one.topic == TOPICS.dead_letters.name]
    sizes = [len(one.key or b"") + len(one.value or b"") + len(one.headers) for one in found]
    assert all(size <= MAX_BYTES for size in sizes)
    return [CODEC.decode("DeadLetter", one.value or b"") for one in found]


@pytest.mark.parametrize(
    "first",
    [b"9" * 5000, b"1" * 16, b"0", b"%d" % (FIRST - 1), b"-5", b"", b"\xff", "١٢".encode(), None],
)
def test_first_append_that_is_none_is_left_out(first: bytes | None) -> None:
    """More digits than an instant has, none, or one before the law: the append itself counts."""
    headers = headers_bytes([(APPENDED_AT, first)])
    event = an_event(status="RET", consent_date=None, received_at=None)
    found = taken(a_record(event, headers=headers))
    assert found.admitted.effective_at == EPOCH + APPENDED * MILLISECOND
    (letter,) = letters(fetched(value=ONAY, headers=headers, partition=HOME))
    assert (letter["reason"], letter["headers"]) == (
        "refused",
        [{"name": APPENDED_AT, "value": first}],
    )


def test_first_append_from_the_first_day_of_the_law_counts() -> None:
    """It is the earliest one that can be."""
    event = an_event(status="RET", consent_date=None, received_at=None)
    for first in (FIRST, APPENDED - 60_000):
        headers = headers_bytes([(APPENDED_AT, b"%d" % first)])
        found = taken(a_record(event, headers=headers))
        assert found.admitted.effective_at == EPOCH + first * MILLISECOND


BROKEN = [
    b"\x80",
    b"",
    long_bytes(3) + header_bytes("a", "b"),
    long_bytes(1) + long_bytes(-5),
    long_bytes(1) + header_bytes(APPENDED_AT, "1")[:-1] + b"\xff",
]


@pytest.mark.parametrize("headers", BROKEN)
def test_ret_with_headers_that_cannot_be_read_takes_effect(headers: bytes) -> None:
    """They are missing; what is said of the consent is not."""
    effects = OrderHarness().fold([fetched(value=RET, key=KEY, partition=HOME, headers=headers)])
    assert effects.counts["opt-outs"] == 1


def test_headers_in_great_numbers_do_not_enlarge_a_letter() -> None:
    """A record of 1 MB holds 300,000 headers of nothing; their copies would not fit."""
    (letter,) = letters(fetched(value=b"?", headers=headers_bytes([("", b"")] * 300_000)))
    assert 0 < len(letter["headers"]) < MAX_COPIED_BYTES


@given(
    st.lists(
        st.tuples(
            st.none() | st.binary(max_size=40) | st.just(KEY) | st.just(b"k" * 70_000),
            st.none()
            | st.binary(max_size=40)
            | st.binary(max_size=300).map(lambda rest: RET[:10] + rest)  # behind a valid header
            | st.sampled_from([RET, ONAY, RET[:-1], RET + b"\0", b"v" * 200_000])
            | st.tuples(st.integers(10, len(RET) - 1), st.integers(0, 255)).map(
                lambda change: RET[: change[0]] + bytes([change[1]]) + RET[change[0] + 1 :]
            ),
            st.binary(max_size=60)
            | st.sampled_from(BROKEN)
            | st.lists(
                st.tuples(
                    st.sampled_from([APPENDED_AT, "izin-repartitioned", "izin-redriven", "ü", ""]),
                    st.none() | st.binary(max_size=20) | st.just(b"7" * 5000) | st.just(b"0"),
                ),
                max_size=4,
            ).map(lambda pairs: headers_bytes([*pairs])),
            st.sampled_from([APPENDED, APPENDED, -1, 0, (1 << 63) - 1, -(1 << 63)]),
        ),
        max_size=5,
    )
)
def test_any_record_is_folded_without_an_error(several: list[tuple[Any, ...]]) -> None:
    """Any key, value, headers and timestamp: a decision, a repartitioned record or a dead letter
    that has the record's coordinates, and never an error.
    """
    records = [
        fetched(key=key, value=value, headers=headers, timestamp=at, offset=offset, partition=HOME)
        for offset, (key, value, headers, at) in enumerate(several)
    ]
    found = letters(*records)
    assert [one["offset"] for one in found] == sorted({one["offset"] for one in found})


def test_letter_that_cannot_be_written_is_a_minimal_one() -> None:
    """Coordinates, the reason and the beginning of the bytes are left of it."""
    record = fetched(
        key=b"k" * 70_000, value=b"v" * 70_000, offset=7, timestamp=1 << 70, headers=[("a", b"")]
    )
    letter = taken(record)
    codec = Mock(wraps=CODEC)
    codec.encode.side_effect = [OSError, DEFAULT]  # one with headers cannot be encoded
    key, value, headers = dead_letter_message(letter, record, codec)
    written = CODEC.decode("DeadLetter", value)
    assert (key, written["reason"], written["offset"]) == (None, "undecodable", 7)
    assert (written["value_size"], len(written["value"])) == (70_000, MAX_COPIED_BYTES)
    assert (written["headers"], written["violations"]) == ([], [])
    assert written["timestamp"] == EPOCH
    assert dict(headers)["ce_time"] == EPOCH.isoformat().encode()


HARNESS = OrderHarness()
BATCHES, RECORDS = 200, 10
RECEIVED = APPENDED - 60_000
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


def an_instant(milliseconds: int) -> datetime:
    return EPOCH + milliseconds * MILLISECOND


@pytest.mark.parametrize("date", WILD)
def test_ret_with_a_wild_date_counts_from_its_receipt(date: int) -> None:
    """Microseconds for milliseconds, year 0, beyond 9999: the date is missing."""
    found = taken(wild_record("RET", consent_date=date))
    assert found.admitted.effective_at == an_instant(RECEIVED).replace(microsecond=0)
    assert found.admitted.event.consent_date is None
    assert not found.is_unchanged


@pytest.mark.parametrize("receipt", WILD + EARLY)
def test_ret_with_a_wild_receipt_counts_from_its_append(receipt: int) -> None:
    """So does one received before the law, such as Go's zero time or 1970."""
    found = taken(wild_record("RET", consent_date=None, received_at=receipt))
    assert found.admitted.effective_at == an_instant(APPENDED)
    assert found.admitted.event.received_at == an_instant(APPENDED)
    dated = taken(wild_record("RET", consent_date=RECEIVED, received_at=receipt))
    assert dated.admitted.effective_at == an_instant(RECEIVED).replace(microsecond=0)


@pytest.mark.parametrize("created", WILD + EARLY)
def test_ret_of_iys_with_a_wild_date_counts_from_its_receipt(created: int) -> None:
    """İYS's own instant is as good as missing; what is claimed of İYS closes at the receipt."""
    found = taken(wild_record("RET", iys=True, creation_date=created)).admitted
    assert found.effective_at == found.event.iys.creation_date == an_instant(RECEIVED)
    again = taken(fetched(value=CODEC.encode("ConsentEvent", event_to_avro(found.event)), key=KEY))
    assert again.admitted == found


@pytest.mark.parametrize("date", WILD)
def test_onay_with_a_wild_date_is_refused(date: int) -> None:
    """As one without a date; an opt-in of İYS that has no instant of its own, too."""
    for record in (
        wild_record("ONAY", consent_date=date),
        wild_record("ONAY", iys=True, creation_date=date),
    ):
        found = Guard(CODEC).admit(record)
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
            assert FIRST_DATE <= event.received_at <= an_instant(APPENDED) + timedelta(minutes=5)
    fast.apply(found.changes, 1)
    consent = consent_of(fast, KEY)
    if any(status == "RET" for status, *_ in several):
        assert consent.latest_ret_at is not None


@pytest.mark.parametrize("unit", ["millis", "micros"])
def test_wild_instant_of_a_foreign_schema_is_missing(unit: str) -> None:
    """Of a version from a registry, whatever unit its instants have."""
    schema: Any = replace_units(contracts.current()["ConsentEvent"].schema, unit)
    body = BytesIO()
    values = event_to_avro(an_event(status="RET")) | {"consent_date": 1 << 62, "received_at": None}
    schemaless_writer(body, parse_schema(schema, named_schemas={}), values)
    codec = Codec(others={b"\x07" * 8: contracts.contract("ConsentEvent", schema)})
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
