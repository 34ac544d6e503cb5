"""Missing numbers of an origin's sequence, whatever order the others arrived in."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from confluent_kafka import TIMESTAMP_LOG_APPEND_TIME
from hypothesis import given
from hypothesis import strategies as st

from izin.ledger.record import Gap, Numbers, Run, runs, with_runs
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from izin.sinks.ingest.ingested_topics import _arrived
from tests.support.builders import NOON, an_event

LATER = NOON + timedelta(minutes=1)
NUMBERS = st.lists(st.sets(st.integers(-5, 30), min_size=1), min_size=1, max_size=5)


def after(*batches: dict[int, datetime]) -> Numbers:
    """Return what is known after `batches` of numbers with their instants."""
    first, *others = map(runs, batches)
    found = with_runs(Numbers(first=first[0].first, last=first[0].last), first)
    for one in others:
        found = with_runs(found, one)
    return found


def at(*numbers: int, instant: datetime = NOON) -> dict[int, datetime]:
    return dict.fromkeys(numbers, instant)


@given(NUMBERS)
def test_gaps_are_the_numbers_that_did_not_arrive(batches: list[set[int]]):
    """In any order and batch, and repeated too."""
    found = after(*(at(*one) for one in [*batches, batches[0]]))
    came = set().union(*batches)
    missing = [number for gap in found.gaps for number in range(gap.first, gap.last + 1)]
    assert (found.first, found.last) == (min(came), max(came))
    assert missing == sorted(set(range(min(came), max(came) + 1)) - came)
    assert all(one.last + 1 < other.first for one, other in pairwise(found.gaps))


def test_consecutive_numbers_are_one_run():
    """A run has the instant of its earliest record."""
    assert runs({3: LATER, 4: NOON, 7: LATER}) == [Run(3, 4, NOON), Run(7, 7, LATER)]


def test_gap_has_the_instant_of_the_number_after_it():
    """What is left of a gap stays as old."""
    opened = after(at(1), at(9, instant=LATER))
    assert opened.gaps == (Gap(2, 8, LATER),)
    split = after(at(1), at(9, instant=LATER), at(5, instant=LATER + timedelta(hours=1)))
    assert split.gaps == (Gap(2, 4, LATER), Gap(6, 8, LATER))
    assert sum(gap.size for gap in split.gaps) == 6


def test_late_number_closes_its_gap():
    """It is missing no more."""
    assert after(at(1, 2), at(4), at(3)) == Numbers(first=1, last=4)


def test_lower_number_extends_the_sequence_downwards():
    """A lane that is read later may have what an origin began with."""
    assert after(at(10, 11), at(7)).gaps == (Gap(8, 9, NOON),)


def test_gaps_are_bounded_and_given_up_numbers_counted():
    """Numbers that are not consecutive cost no more than a bound."""
    numbers = Numbers(first=0, last=0)
    for step in range(1, 6):
        run = Run(10 * step, 10 * step, NOON + timedelta(seconds=step))
        numbers = numbers.with_run(run, most=2)
    assert [gap.first for gap in numbers.gaps] == [31, 41]
    assert numbers.given_up == 27
    assert numbers.with_run(Run(5, 5, LATER), most=2) == numbers


class Message:
    """A message as librdkafka gives it."""

    def __init__(self, value: bytes | None, instant: datetime = NOON) -> None:
        self._value = value
        self._at = int(instant.timestamp() * 1000)

    def value(self) -> bytes | None:
        return self._value

    def timestamp(self) -> tuple[int, int]:
        return TIMESTAMP_LOG_APPEND_TIME, self._at


def test_record_without_a_number_is_skipped():
    """Malformed values, tombstones and events without a number are not counted."""
    codec = Codec()

    def message_of(**fields: object) -> Message:
        return Message(codec.encode("ConsentEvent", event_to_avro(an_event(**fields))))

    messages = [
        message_of(sequence=2, origin="crm"),
        Message(b"rubbish"),
        Message(None),
        message_of(sequence=None),
        message_of(sequence=3, origin="crm", status="perhaps"),
        message_of(sequence=1, origin="web\0"),
        message_of(sequence=1, customer_id="other"),
    ]
    assert _arrived(messages, codec) == {
        ("acme", "crm"): [Run(2, 3, NOON)],
        ("other", "web"): [Run(1, 1, NOON)],
    }
    assert NOON.tzinfo is UTC
