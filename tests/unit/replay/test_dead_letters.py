"""What a dead letter becomes, which letters are meant, and what may be taken from one."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from izin.consent import ConsentEvent, Violation, violation
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import EventOrigin, MappedRecord, read
from izin.replay.dead_letters.correction import Correction, SourceError
from izin.replay.dead_letters.outcomes import Obstacle, RedriveOrder, order_of
from izin.replay.dead_letters.reading import (
    UNREADABLE,
    DeadLetterSelection,
    Letter,
    content_of,
    letter_of,
)
from izin.schemas.topics import Topics
from izin.streams.fetched_record import APPENDED_AT
from izin.streams.guard import REDRIVEN
from izin.streams.outputs import BATCH_PART, REPARTITIONED
from tests.support.builders import NOON, an_event, an_iys_event, kafka_message
from tests.support.order.harness import HOME, KEY, PARTITIONS
from tests.support.replay.dead_letters import APPENDED, CODEC, a_letter_of

TOPICS = Topics()
COUNTS = {one.name: PARTITIONS if one.is_partitioned else 1 for one in TOPICS}
HOUR = timedelta(hours=1)
NOW = datetime(2026, 3, 9, 9, tzinfo=UTC)


def a_message(value: bytes) -> Any:  # noqa: ANN401  # a Kafka client's
    """Return a message of the topic of dead letters."""
    topic = TOPICS.dead_letters.name
    return kafka_message(topic=topic, offset=12, timestamp=(1, APPENDED), value=value)


def a_letter(event: ConsentEvent, *faults: Violation, **fields: object) -> Letter:
    """Return the letter 0/12 about an event in the bulk lane."""
    place: dict[str, Any] = {"topic": TOPICS.events.name, "partition": 3}
    value = CODEC.encode("DeadLetter", a_letter_of(event, "refused", faults, **place | fields))
    return letter_of(a_message(value), CODEC)


def an_order(event: ConsentEvent, **fields: object) -> RedriveOrder | Obstacle:
    """Return how the letter about an event is redriven."""
    letter = a_letter(event, **fields)
    return order_of(letter, content_of(letter, CODEC, TOPICS), TOPICS, COUNTS, 0)


def an_allowed_order(event: ConsentEvent, **fields: object) -> RedriveOrder:
    order = an_order(event, **fields)
    assert isinstance(order, RedriveOrder)
    return order


@pytest.mark.parametrize(
    ("event", "fields", "topic", "partition"),
    [
        (an_event(), {}, TOPICS.events.name, HOME),
        (an_event(status="RET"), {}, TOPICS.express.name, HOME),
        (an_event(status=" ret "), {}, TOPICS.express.name, HOME),
        (an_iys_event(status="ONAY"), {}, TOPICS.express.name, HOME),
        (an_event(), {"topic": TOPICS.express.name}, TOPICS.express.name, HOME),
        (an_event(), {"value": b"junk"}, TOPICS.events.name, 3),
        (an_event(recipient="5"), {}, TOPICS.events.name, 3),
        (an_event(), {"value": b"junk", "topic": TOPICS.decisions.name}, TOPICS.decisions.name, 3),
    ],
)
def test_letter_takes_the_lane_of_its_event(
    event: ConsentEvent, fields: dict[str, object], topic: str, partition: int
) -> None:
    """Opt-outs take the express lane; what cannot be read goes where it came from."""
    order = an_allowed_order(event, **fields)
    assert (order.record.topic, order.record.partition) == (topic, partition)


def test_letter_of_more_partitions_goes_to_one_that_exists() -> None:
    """Its topic had more partitions than it has now."""
    order = an_allowed_order(an_event(recipient="5"), partition=PARTITIONS + 1)
    assert order.record.partition < PARTITIONS


def test_redriven_record_names_its_letter_and_first_append() -> None:
    """Marks of earlier ways go, so that none adds up; the headers of the source stay."""
    before = str(APPENDED - 1000).encode()
    marks = [(REPARTITIONED, b"a/1/2"), (REDRIVEN, b"0/3"), (APPENDED_AT, before)]
    order = an_allowed_order(an_event(), headers=[("ce_id", b"1"), *marks])
    assert order.record.headers == [("ce_id", b"1"), (REDRIVEN, b"0/12"), (APPENDED_AT, before)]
    assert order.record.key == order.key == KEY


def test_record_that_is_no_dead_letter_is_an_obstacle() -> None:
    """It is listed, with its bytes, and cannot come back."""
    letter = letter_of(a_message(b"junk"), CODEC)
    assert (letter.reason, letter.value, letter.name) == (UNREADABLE, b"junk", "0/12")
    assert content_of(letter, CODEC, TOPICS) is None
    assert isinstance(order_of(letter, None, TOPICS, COUNTS, 0), Obstacle)


def test_part_of_a_batch_is_an_obstacle() -> None:
    """Whoever made the batch must not have it taken for an event, by bytes that look like one."""
    order = an_order(an_event(), headers=[(BATCH_PART, b"2/3")])
    assert isinstance(order, Obstacle)
    assert "publish it again" in order.remedy


@pytest.mark.parametrize(
    ("selection", "is_meant"),
    [
        (DeadLetterSelection(), True),
        (DeadLetterSelection(names=frozenset({"0/12"})), True),
        (DeadLetterSelection(names=frozenset({"0/1"})), False),
        (DeadLetterSelection(because=frozenset({"refused"})), True),
        (DeadLetterSelection(because=frozenset({"H113", "poison"})), True),
        (DeadLetterSelection(because=frozenset({"poison"})), False),
        (DeadLetterSelection(sources=frozenset({TOPICS.events.name})), True),
        (DeadLetterSelection(sources=frozenset({TOPICS.express.name})), False),
        (DeadLetterSelection(since=NOON + 3 * HOUR, until=NOON + 4 * HOUR), True),
        (DeadLetterSelection(since=NOON + 4 * HOUR), False),
        (DeadLetterSelection(until=NOON + 3 * HOUR), False),
        (DeadLetterSelection(origins=frozenset({"web"}), brands=frozenset({100001})), True),
        (DeadLetterSelection(origins=frozenset({"crm"})), False),
        (DeadLetterSelection(origins=frozenset({"web"}), brands=frozenset({100002})), False),
    ],
)
def test_filters_restrict_letters(selection: DeadLetterSelection, *, is_meant: bool) -> None:
    """By name, reason or code, topic, time, origin and brand."""
    letter = a_letter(an_event(), violation("source", "H113"))
    content = content_of(letter, CODEC, TOPICS)
    assert (selection.takes(letter) and selection.takes_content(content)) is is_meant
    assert selection.takes_content(None) is not selection.needs_content


def corrected(letter: Letter, **given: str) -> tuple[MappedRecord, EventOrigin]:
    """Return the correction of a letter with fields given: its date, and where it comes from."""
    correction = Correction(letter, content_of(letter, CODEC, TOPICS))
    fields = {Field(name): text for name, text in given.items()}
    return correction.dated(read(correction.fields(fields), DateRules()), NOW)


@pytest.mark.parametrize(
    ("letter", "given"),
    [
        (a_letter(an_event(consent_date=NOON + 9 * HOUR), violation("consent_date", "H162")), {}),
        (a_letter(an_event(consent_date=None), violation("consent_date", "H112")), {}),
        (a_letter(an_event(consent_date=None, recipient_type="TACIR")), {}),
        (a_letter(an_event(consent_date=NOON + 4 * HOUR)), {}),
        (a_letter(an_event(status="RET")), {"status": "ONAY"}),
        (a_letter(an_event(), value=b"junk"), {"status": "ONAY", "type": "MESAJ"}),
    ],
)
def test_correction_makes_no_date_of_a_consent_up(letter: Letter, given: dict[str, str]) -> None:
    """An ONAY's date is given, or that of an ONAY which was not refused for it."""
    with pytest.raises(SourceError, match="0/12"):
        corrected(letter, **given)
    parsed, origin = corrected(letter, **given, consent_date="2026-03-02 15:00:00")
    assert parsed.consent_date == NOON + 3 * HOUR
    assert (origin.received_at, origin.is_live) == (
        NOW,
        bool(given.get("status") and len(given) == 1),
    )


def test_correction_is_the_same_event_when_repeated() -> None:
    """A letter has one correction, whatever is given; its cause is the letter's event."""
    letter = a_letter(an_event(event_id="wrong"))
    first = corrected(letter)[1]
    again = corrected(letter, consent_date="2026-03-02 15:00:00")[1]
    other = corrected(a_letter(an_event(event_id="other")))[1]
    assert first.event_id == again.event_id != other.event_id
    assert first.cause == again.cause == "wrong"
    nameless = corrected(a_letter(an_event(event_id="")))[1]
    unreadable = corrected(a_letter(an_event(), value=b"junk"), status="RET")[1]
    assert len({nameless.cause, unreadable.cause, "wrong"}) == 3


def test_opt_out_corrected_counts_from_its_receipt() -> None:
    """Not from now, unless it was no opt-out before."""
    for letter in (
        a_letter(an_event(status="RET", consent_date=None)),
        a_letter(an_event(), value=b"?"),
    ):
        parsed, origin = corrected(letter, status="RET")
        assert (parsed.consent_date, origin.received_at) == (None, NOON + 3 * HOUR)
        assert not origin.is_live
    parsed, origin = corrected(a_letter(an_event()), status="RET")
    assert (parsed.consent_date, origin.received_at, origin.is_live) == (None, NOW, True)
