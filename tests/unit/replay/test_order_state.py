"""What a rebuild compares: rows in one form, decisions decided again, and what differs.

What a dead letter becomes, which letters are meant, and what may be taken from one.
"""

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from pydantic import SecretStr

from izin.consent import (
    LAW_VERSION,
    Consent,
    ConsentEvent,
    OurError,
    SourceError,
    Violation,
    decide,
    violation,
)
from izin.producers.mapping.dates import DateRules
from izin.producers.mapping.field_names import Field
from izin.producers.mapping.records import EventOrigin, MappedRecord, read
from izin.replay.dead_letters.correction import Correction
from izin.replay.dead_letters.outcomes import Obstacle, RedriveOrder, order_of
from izin.replay.dead_letters.reading import (
    UNREADABLE,
    DeadLetterSelection,
    Letter,
    content_of,
    letter_of,
)
from izin.replay.order_state.comparison import (
    CurrentRows,
    Shadow,
    StateComparison,
    StateDifference,
    StateDifferenceKind,
    in_one_form,
)
from izin.replay.order_state.decisions import decided_again
from izin.replay.order_state.planning import Installation
from izin.replay.processes import Advance, working
from izin.runtime.plan import Plan, PlanMovedError, Selection
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.records import consent_to_avro
from izin.schemas.topics import Topics
from izin.streams.errors import StateError
from izin.streams.fetched_record import APPENDED_AT
from izin.streams.guard import REDRIVEN
from izin.streams.outputs import BATCH_PART, REPARTITIONED
from tests.support.builders import (
    NOON,
    a_decision_record,
    an_admitted_event,
    an_event,
    an_iys_event,
    kafka_message,
)
from tests.support.order.harness import HOME, KEY, ONAY, PARTITIONS, RET, SUPPRESSIONS, row_of
from tests.support.registry import MemoryRegistry
from tests.support.replay.dead_letters import APPENDED, CODEC, a_letter_of

INSTALLATION = Installation(
    kafka=KafkaSettings(),
    streams=StreamSettings(
        suppression_secrets=(SecretStr("a fake secret of thirty-two characters"),)
    ),
    codec=CODEC,
)


def a_plan(selection: Selection | None = None) -> Plan:
    """Return a plan that reads nothing."""
    return Plan(
        kind="rebuild",
        target="desired-consents",
        selection=selection or Selection(),
        options={"lost": [], "uncovered": []},
        cluster_id="one",
        topics={},
        made_at=NOON,
        by="ada",
    )


def compare(
    wanted: Consent | None,
    current: bytes | None,
    *,
    reaches: bool = True,
    suppressed_until: datetime | None = None,
    erased: bool = False,
) -> list[StateDifference]:
    """Return what differs of one key."""
    shadow, found = Shadow(), CurrentRows()
    if wanted is not None:
        shadow.state.apply({KEY: shadow.state.packing.pack(wanted)}, 0)
    if erased:
        shadow.erased.add(KEY)
    if current is not None:
        found.rows[KEY] = current
    if suppressed_until is not None:
        until = int(suppressed_until.timestamp() * 1000)
        found.suppressions[SUPPRESSIONS.of(KEY)] = until
    comparison = StateComparison(
        installation=INSTALLATION, plan=a_plan(), shadow=shadow, current=found, reaches=reaches
    )
    changes = list(comparison.changes())
    return [one for one in changes if one.key == KEY]


def test_row_in_another_framing_is_the_same() -> None:
    """And what is no row stays as it is."""
    registered = Codec(MemoryRegistry())
    framed = registered.encode("Consent", consent_to_avro(ONAY))
    assert framed != row_of(ONAY)
    for value in (framed, row_of(ONAY)):
        assert in_one_form(registered, value) == framed
    assert in_one_form(CODEC, row_of(ONAY)) == row_of(ONAY)
    assert in_one_form(CODEC, b"no row") == b"no row"


@pytest.mark.parametrize(
    ("reaches", "expected"),
    [(True, StateDifferenceKind.NEWER), (False, StateDifferenceKind.UNJUDGED)],
)
def test_newer_row_is_never_replaced(*, reaches: bool, expected: StateDifferenceKind) -> None:
    """It stays, whether or not the events behind it can still be read."""
    (change,) = compare(ONAY, row_of(RET), reaches=reaches)
    assert (change.kind, change.row) == (expected, None)


def test_older_row_is_replaced_and_loses_nothing() -> None:
    """Where events are gone, the latest opt-out that only the old row knows is kept."""
    (change,) = compare(RET, row_of(ONAY))
    assert (change.kind, change.row) == (StateDifferenceKind.DIFFERING, row_of(RET))
    earlier = NOON - timedelta(days=1)
    older = replace(ONAY, latest_ret_at=earlier)
    later = replace(ONAY, effective_at=NOON + timedelta(hours=1), event_id="later")
    (change,) = compare(later, row_of(older), reaches=False)
    assert CODEC.decode_consent(change.row).latest_ret_at == earlier


def test_row_of_an_erased_key_does_not_come_back() -> None:
    """An opt-out that is still in a lane, though its erasure is no more: the suppression shows it;
    unless the decisions show that the opt-out came later.
    """
    until = RET.effective_at + timedelta(hours=1)
    (change,) = compare(RET, None, suppressed_until=until)
    assert (change.kind, change.row) == (StateDifferenceKind.UNJUDGED, None)
    (change,) = compare(RET, None, suppressed_until=RET.effective_at - timedelta(hours=1))
    assert change.kind is StateDifferenceKind.MISSING
    (change,) = compare(RET, None, suppressed_until=until, erased=True)
    assert change.kind is StateDifferenceKind.MISSING


def test_decisions_decided_again_give_the_same_state() -> None:
    """In any order, with repetitions of the same coordinates ignored; violations stay."""
    events = [
        an_admitted_event(
            event_id=f"event-{number}",
            status="RET" if number % 3 == 0 else "ONAY",
            consent_date=NOON - timedelta(minutes=number * 7 % 5),
        )
        for number in range(9)
    ]
    current: Consent | None = None
    records = []
    for offset, event in enumerate(events):
        decision = decide(current, event)
        current = decision.consent
        records.append(CODEC.encode("Decision", a_decision_record(decision, offset=offset)))
    decisions = [CODEC.decode("Decision", one) for one in records]
    assert decided_again(decisions) == current
    assert decided_again([*decisions, decisions[0]]) == current
    assert decided_again(Random(19).sample(decisions, len(decisions))) == current


def test_row_of_a_newer_law_is_not_judged() -> None:
    """It was decided by a release that knows more."""
    with pytest.raises(StateError, match="newer release"):
        compare(RET, row_of(replace(ONAY, law_version=LAW_VERSION + 1)))


def test_derived_field_that_is_wrong_is_found() -> None:
    """No state has the previous status, but readers of the topic do; other bytes of the same
    content are no difference.
    """
    wrong = CODEC.encode("Consent", {**consent_to_avro(ONAY), "previous_status": "RET"})
    (change,) = compare(ONAY, wrong)
    assert change.kind is StateDifferenceKind.DIFFERING
    assert change.fields == {"previous_status": ("RET", None)}
    assert compare(ONAY, row_of(ONAY)) == []
    longer = row_of(ONAY)[:-1] + bytes((row_of(ONAY)[-1] | 0x80, 0))
    assert CODEC.decode_consent(longer) == ONAY
    assert compare(ONAY, longer) == []


def die(*_: object) -> None:
    """End the process at once, as the system does for want of memory."""
    os._exit(9)


def test_process_that_dies_ends_the_command() -> None:
    """It would wait for its work for ever."""
    with working(die, (), [0], 1) as running, pytest.raises(OurError, match="--processes"):
        running.finish(lambda _: None)


class LoadlessError(Exception):
    """Cannot come back from another process."""

    def __init__(self, one: str, other: str) -> None:
        super().__init__(one + other)


def add(most: int, number: int, advance: Advance) -> int:
    """Advance by a number, and return its double."""
    if number == most + 1:
        raise PlanMovedError(["too much"])
    if number > most:
        raise LoadlessError("by ", "far")
    advance(number)
    return 2 * number


def test_work_of_processes_is_counted_and_its_errors_are_raised() -> None:
    """Whatever process a piece is done by."""
    with working(add, (3,), [1, 2, 3], 2) as running:
        assert running.finish(lambda _: None) == [2, 4, 6]
        assert running.progress == 6
    with working(add, (1,), [1, 2], 1) as running, pytest.raises(PlanMovedError, match="too much"):
        running.finish(lambda _: None)
    with working(add, (1,), [3], 1) as running, pytest.raises(OurError, match="Error: by far"):
        running.finish(lambda _: None)


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
    order = an_order(event, **fields)
    assert (order.record.topic, order.record.partition) == (topic, partition)


def test_letter_of_more_partitions_goes_to_one_that_exists() -> None:
    """Its topic had more partitions than it has now."""
    order = an_order(an_event(recipient="5"), partition=PARTITIONS + 1)
    assert order.record.partition < PARTITIONS


def test_redriven_record_names_its_letter_and_first_append() -> None:
    """Marks of earlier ways go, so that none adds up; the headers of the source stay."""
    before = str(APPENDED - 1000).encode()
    marks = [(REPARTITIONED, b"a/1/2"), (REDRIVEN, b"0/3"), (APPENDED_AT, before)]
    order = an_order(an_event(), headers=[("ce_id", b"1"), *marks])
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
