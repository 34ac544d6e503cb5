"""Opt-outs found in the bytes of a lane: every one that the order stage would find.

When a key has last opted out, read of a decision by the offsets of its fields.
"""

from datetime import timedelta
from itertools import product
from typing import Any

import pytest
from hypothesis import given, strategies as st

from izin.consent import Consent, ConsentEvent, Status, decide
from izin.gate.key_tables import DecisionRecords, KnownKeys, LaneTable, may_be_opt_out
from izin.gate.undecided import UndecidedOptOuts
from izin.kafka.tables.packed_permissions import digest_of, whole_seconds
from izin.runtime.errors import RegistryError
from izin.schemas.codec import Codec, UndecodableError
from izin.schemas.partitioning import partition_of
from izin.schemas.records import event_to_avro
from izin.streams.guard import AdmittedRecord, Guard
from tests.support.builders import (
    NOON,
    a_decision_record,
    a_key,
    a_ret,
    an_admitted_event,
    an_event,
    kafka_message,
)
from tests.support.order.harness import fetched
from tests.unit.gate.conftest import PARTITIONS, TOPICS

CODEC = Codec()
BEFORE = NOON - timedelta(days=1)
APPENDED = 2, int(NOON.timestamp() * 1000) + 60_000


class Lane:
    """A table, what it has marked, and what it could not read."""

    def __init__(self, codec: Codec = CODEC) -> None:
        self.undecided = UndecidedOptOuts()
        self.unreadable: list[int] = []
        self._table = LaneTable(
            topic="lane",
            partitions=PARTITIONS,
            codec=codec,
            undecided=self.undecided,
            unreadable=lambda _topic, record, _error: self.unreadable.append(record.offset() or 0),
        )

    def take(self, *values: bytes | None) -> int:
        """Take records of these values."""
        return self._table.take(
            [
                kafka_message(value=one, offset=offset, timestamp=APPENDED)
                for offset, one in enumerate(values)
            ]
        )

    def closes(self, event: ConsentEvent | None = None) -> bool:
        """Whether the key of an event is closed."""
        recipient = (event or an_event()).recipient
        return digest_of(a_key(recipient=recipient).encode()) in self.undecided.digests


@pytest.fixture
def lane() -> Lane:
    """Return a lane of nothing."""
    return Lane()


def encoded(event: ConsentEvent) -> bytes:
    return CODEC.encode("ConsentEvent", event_to_avro(event))


def spelt(word: str) -> list[str]:
    """Return a word in every mixture of small and capital letters."""
    return ["".join(letters) for letters in product(*((one, one.upper()) for one in word))]


@pytest.mark.parametrize("status", [*spelt("ret"), " RET ", "R\0ET", "\0ret", "RET\u2003"])
def test_every_spelling_is_an_opt_out(lane: Lane, status: str):
    """What the law reads as RET."""
    assert lane.take(encoded(an_event(status=status))) == 1
    assert lane.closes()


DAMAGE = st.sampled_from([b"", b"", b"", b"\xff", b"\x80\x80", b"\0", b"\xc3", b" ", b"R"])
DAMAGES = st.tuples(
    DAMAGE, st.sampled_from(b"Rr"), DAMAGE, st.sampled_from(b"Ee"), DAMAGE, st.just(84), DAMAGE
).map(lambda parts: b"".join(bytes([one]) if isinstance(one, int) else one for one in parts))


@given(DAMAGES)
def test_whatever_the_order_stage_admits_closes(status: bytes):
    """Also from bytes that are no text, and nothing else."""
    value = encoded(an_event(status="?" * len(status))).replace(b"?" * len(status), status)
    found = Guard(CODEC).admit(fetched(value=value))
    lane = Lane()
    lane.take(value)
    is_ret = isinstance(found, AdmittedRecord) and found.admitted.status == "RET"
    assert lane.closes() is is_ret
    assert may_be_opt_out(value) or not is_ret


@pytest.mark.parametrize("name", ["consent_date", "received_at"])
@pytest.mark.parametrize("milliseconds", [1 << 62, -(1 << 62), 0, 1_772_452_800_000_000])
def test_opt_out_with_a_wild_instant_closes(name: str, milliseconds: int):
    """Microseconds for milliseconds, or the year 0: it is an opt-out all the same."""
    event = event_to_avro(an_event(status="RET")) | {name: milliseconds}
    harness = Lane()
    harness.take(CODEC.encode("ConsentEvent", event))
    assert len(harness.undecided) == 1
    assert harness.unreadable == []


def test_others_close_nothing(lane: Lane):
    """An opt-in in which the letters are, an opt-out without a key, an erasure, a tombstone."""
    events = (
        an_event(origin="ret"),
        an_event(status="RET", type="FAX"),
        an_event(status="ERASURE", origin="ret"),
    )
    assert lane.take(None, *map(encoded, events)) == 4
    assert (len(lane.undecided), lane.unreadable) == (0, [])


def test_what_cannot_be_decoded_is_counted(lane: Lane):
    """And its neighbours are read."""
    value = encoded(an_event(status="RET"))
    assert lane.take(b"ret", value[:-1], value) == 3
    assert lane.unreadable == [0, 1]
    assert lane.closes()


def test_admission_that_fails_is_counted(monkeypatch: pytest.MonkeyPatch):
    """A fault of ours over one record keeps no others waiting."""
    lane, other = Lane(), an_event(status="RET", recipient="+905550000002")
    monkeypatch.setattr(CODEC, "decode_event", failing_on_first(CODEC.decode_event))
    assert lane.take(encoded(an_event(status="RET")), encoded(other)) == 2
    assert lane.unreadable == [0]
    assert lane.closes(other)


def failing_on_first(decode: Any) -> Any:  # noqa: ANN401  # a method of the codec
    """Return a decoder whose first event is none."""
    left: list[object] = [object()]
    return lambda value: left.pop() if left else decode(value)


def test_schema_that_is_out_of_reach_waits():
    """What is before it was taken; it comes again."""
    codec = Codec()
    decode, value = codec.decode_event, encoded(an_event(status="RET"))

    def failing(data: bytes) -> ConsentEvent:
        if data != value:
            raise RegistryError("the registry is away")
        return decode(data)

    codec.decode_event = failing  # type: ignore[method-assign]
    lane = Lane(codec)
    assert lane.take(value, value + b"ret", value) == 1
    assert lane.closes()


def test_mark_knows_the_partition_of_the_key(lane: Lane):
    """Its record may be on another one."""
    numbers = [f"+9055500000{number:02}" for number in range(20)]
    lane.take(*(encoded(an_event(status="RET", recipient=one)) for one in numbers))
    own = sum(partition_of(a_key(recipient=one).encode(), PARTITIONS) == 0 for one in numbers)
    lane.undecided.release(("lane", 0), 100)
    assert 0 < own < len(numbers)
    assert len(lane.undecided) == len(numbers) - own


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


BULK, EXPRESS = TOPICS.events.name, TOPICS.express.name
