"""Each kind of bad record becomes a dead letter of its own; what is not its fault is raised."""

import hashlib
import struct
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent.errors import OurError
from izin.schemas import contracts
from izin.schemas.codec import Codec, SchemaIds
from izin.schemas.records import MAX_COPIED_BYTES
from izin.streams import guard
from izin.streams.fetched_record import APPENDED_AT, FetchedRecord
from izin.streams.guard import AdmittedRecord, DeadLetter, Guard, appended_at, dead_letter_of
from tests.support.builders import PHONE, an_event
from tests.support.order.harness import (
    APPENDED,
    CODEC,
    SPOILT_TEXTS,
    a_record,
    a_spoilt_record,
    fetched,
)


def admitted(record: FetchedRecord) -> AdmittedRecord | DeadLetter:
    return Guard(CODEC).admit(record)


def a_letter(record: FetchedRecord) -> DeadLetter:
    letter = admitted(record)
    assert isinstance(letter, DeadLetter)
    return letter


def test_valid_record_is_admitted() -> None:
    """The guard reports whether admission changed the event."""
    found = admitted(a_record())
    assert isinstance(found, AdmittedRecord)
    assert found.admitted.key.recipient == PHONE
    assert found.is_unchanged
    other = admitted(a_record(an_event(recipient=f"  {PHONE}")))
    assert isinstance(other, AdmittedRecord)
    assert other.admitted == replace(found.admitted, event=other.admitted.event)
    assert not other.is_unchanged


def test_tombstone_is_undecodable() -> None:
    """A record without a value is no event."""
    assert a_letter(fetched(value=None)).reason == "undecodable"


@pytest.mark.parametrize("value", [b"", b"{}", b"\x00", b"\xc3\x01", b"\xc3\x01short"])
def test_bytes_in_no_framing_are_undecodable(value: bytes) -> None:
    """Bytes in neither framing are named as such."""
    assert a_letter(fetched(value=value)).reason == "undecodable"


def test_record_cut_short_or_too_long_is_undecodable() -> None:
    """A record that ends early, or goes on after its end, is none of the contract's."""
    value = a_record().value
    assert value is not None
    assert a_letter(fetched(value=value[:-1])).reason == "undecodable"
    assert a_letter(fetched(value=value + b"\x00")).reason == "undecodable"


def test_unknown_fingerprint_is_an_unknown_schema() -> None:
    """A fingerprint that no version has is distinguished from rubbish: the remedy differs."""
    assert a_letter(fetched(value=b"\xc3\x01" + b"\x07" * 8)).reason == "unknown-schema"


def test_unknown_registry_id_is_an_unknown_schema() -> None:
    """An id without a registry that knows it is an unknown schema, and the remedy is named."""
    letter = a_letter(fetched(value=b"\x00" + struct.pack(">I", 4242) + b"rest"))
    assert letter.reason == "unknown-schema"
    assert "SCHEMA_REGISTRY_URL" in letter.violations[0].reason


def test_record_of_another_contract_is_undecodable() -> None:
    """A Violation on the events topic is a record, but none of its contract."""
    value = CODEC.encode("Violation", {"field": "a", "code": "b", "reason": "c", "reason_tr": "d"})
    assert a_letter(fetched(value=value)).reason == "undecodable"


def a_registry(answer: Callable[[int], object]) -> Codec:
    """Return a codec whose registry gives this response for a schema."""
    return Codec(cast("SchemaIds", SimpleNamespace(id_of=lambda _: 1, schema_of=answer)))


def out_of_reach(schema_id: int) -> NoReturn:
    raise OurError(f"nobody answers about {schema_id}")


def test_registry_out_of_reach_raises() -> None:
    """It is not the record's fault that the registry is gone."""
    record = fetched(value=b"\x00" + struct.pack(">I", 7) + b"rest")
    with pytest.raises(OurError):
        Guard(a_registry(out_of_reach)).admit(record)


@pytest.mark.parametrize("schema", ["string", ["null", "int"], {"type": "record"}, 5])
def test_registered_schema_that_is_no_record_is_unknown(schema: object) -> None:
    """An unusable schema at the registry dead-letters the record and nothing else."""
    record = fetched(value=b"\x00" + struct.pack(">I", 7) + b"rest")
    letter = Guard(a_registry(lambda _: schema)).admit(record)
    assert isinstance(letter, DeadLetter)
    assert letter.reason in {"unknown-schema", "undecodable"}


def test_refused_record_lists_typed_violations() -> None:
    """A refused event names every violation, with its code."""
    letter = a_letter(a_record(an_event(source=None, consent_date=None)))
    assert letter.reason == "refused"
    assert {one.code for one in letter.violations} >= {"H112", "H113"}
    assert not letter.lost_ret


@pytest.mark.parametrize("status", ["RET", " ret "])
def test_refused_ret_is_flagged(status: str) -> None:
    """A person must act on an opt-out whose key cannot be read."""
    letter = a_letter(a_record(an_event(status=status, recipient="nobody")))
    assert (letter.reason, letter.lost_ret) == ("refused", True)


@pytest.mark.parametrize(("status", "lost"), [("ONAY", False), ("RET", True)])
def test_poison_is_dead_lettered_and_a_ret_flagged(
    monkeypatch: pytest.MonkeyPatch, status: str, lost: bool
) -> None:
    """A record for which our code raises is described by the type of the error alone."""

    def stumble(*_: object, **__: object) -> NoReturn:
        raise ZeroDivisionError(PHONE)

    monkeypatch.setattr(guard, "admit", stumble)
    letter = a_letter(a_record(an_event(status=status)))
    assert (letter.reason, letter.lost_ret) == ("poison", lost)
    assert PHONE not in letter.violations[0].reason


def test_impossible_timestamp_is_poison() -> None:
    """A record dated outside the calendar does not stop the worker, nor does its dead letter."""
    record = a_record(timestamp=2**62)
    letter = a_letter(record)
    assert letter.reason == "poison"
    assert CODEC.encode("DeadLetter", dead_letter_of(letter, record))


@given(st.binary(max_size=300))
def test_guard_given_any_bytes_does_not_raise(rest: bytes) -> None:
    """The guard checks the bytes after a valid header."""
    header = b"\xc3\x01" + contracts.current()["ConsentEvent"].fingerprint
    assert admitted(fetched(value=header + rest))


def test_dead_letter_has_coordinates_and_original_bytes() -> None:
    """Coordinates, bytes, digest and headers are the record's own."""
    record = fetched(
        topic="consent-events", partition=3, offset=41, value=b"rubbish", headers=[("a", None)]
    )
    written = CODEC.decode(
        "DeadLetter",
        CODEC.encode("DeadLetter", dead_letter_of(a_letter(record), record)),
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
    written = dead_letter_of(a_letter(record), record)
    assert (len(written["value"]), written["value_size"]) == (MAX_COPIED_BYTES, 1 << 20)
    assert len(written["key"]) == MAX_COPIED_BYTES
    assert [one["name"] for one in written["headers"]] == ["small"]


def test_dead_letter_keeps_the_first_append_of_many_headers() -> None:
    """Those at the end are ours: the instant from which the event counts must not be lost."""
    many = [(f"h{number}", b"x" * 1000) for number in range(100)]
    record = fetched(value=b"rubbish", headers=[*many, (APPENDED_AT, b"1")])
    names = [one["name"] for one in dead_letter_of(a_letter(record), record)["headers"]]
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
    found = admitted(a_spoilt_record(name, status="RET"))
    assert isinstance(found, AdmittedRecord)
    assert not getattr(found.admitted.event, name)
    assert not found.is_unchanged
    assert (name, "IZIN-CHARACTER") in {(v.field, v.code) for v in found.admitted.violations}
    assert found.admitted.registrable == (name not in {"source", "event_id", "customer_id"})


def test_ret_with_a_damaged_recipient_is_not_registrable() -> None:
    """They may hide more; the opt-out takes effect for the recipient that is left."""
    recipient = f"+9055500@@@@{PHONE[-5:]}"
    found = admitted(a_spoilt_record("recipient", recipient=recipient, status="RET"))
    assert isinstance(found, AdmittedRecord)
    assert found.admitted.key.recipient == f"+9055500{PHONE[-5:]}"
    assert not found.admitted.registrable


@pytest.mark.parametrize("name", SPOILT_TEXTS)
def test_onay_with_bytes_that_are_no_text_is_undecodable(name: str) -> None:
    """Its source must mend it."""
    assert a_letter(a_spoilt_record(name)).reason == "undecodable"


def test_unreadable_ret_with_bytes_that_are_no_text_is_flagged() -> None:
    """A person must act."""
    letter = a_letter(a_spoilt_record("actor", status="RET", recipient="nobody"))
    assert (letter.reason, letter.lost_ret) == ("undecodable", True)
