"""A publisher whose broker does not answer: bounded waits, typed errors, and what close says.

What other teams may import, exactly.

What a program hands over, in the terms of the contract: ids, types, and opt-outs above all.

The fake passes the suite; values outside the contract are refused.

The same event has the same id.

The suite that every publisher passes, the real one and the fake.
"""

import asyncio
import inspect
import pickle
import socket
import threading
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta, timezone
from types import SimpleNamespace
from typing import Any
from uuid import UUID, uuid5

import pytest
from hypothesis import given, strategies as st

import izin.producers
from izin.consent import ConsentEvent, IysOrigin, NaiveInstantError, violation
from izin.kafka.tables.brand_directory import BrandDirectory
from izin.producers import (
    BackpressureError,
    ConsentPublisher,
    EventRefusedError,
    IzinError,
    KafkaAccess,
    OversizeError,
    Published,
    PublisherClosedError,
    SettingError,
    UnacknowledgedError,
    UndeliveredError,
    consent_publisher as sessions,
)
from izin.producers.mapping.records import AcceptedRecord, RefusedRecord
from izin.producers.new_event import NewEvent, accept
from izin.producers.publishing import publisher
from izin.producers.publishing.event_ids import FileIds, message_event_id
from izin.producers.publishing.publisher import (
    KafkaPublisher,
    KafkaRecord,
    PublishResult,
    UnencodableError,
    kafka_record,
    lane,
)
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import positions_of
from izin.schemas.uuids import CHANCE_BYTES, uuid7
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE, a_key, an_event
from tests.unit.producers.conftest import FakePublisher

SHORT = timedelta(milliseconds=300)
SURFACE = [
    "BackpressureError",
    "BrokerError",
    "Channel",
    "ConsentPublisher",
    "EventRefusedError",
    "IzinError",
    "KafkaAccess",
    "NewEvent",
    "OurError",
    "OversizeError",
    "Published",
    "PublisherClosedError",
    "RecipientType",
    "RegistryError",
    "SettingError",
    "Source",
    "SourceError",
    "Status",
    "UnacknowledgedError",
    "UndeliveredError",
    "Violation",
]
METHODS = {"publish", "publish_async", "submit", "flush", "close", "close_async", "forked"}


@pytest.fixture
def away(directory: BrandDirectory, monkeypatch: pytest.MonkeyPatch) -> KafkaAccess:
    """Return the way to a broker that went away once the brands were read."""
    reader = SimpleNamespace(follow=lambda: nullcontext(directory))
    monkeypatch.setattr(sessions, "BrandReader", lambda *_: reader)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    return KafkaAccess(bootstrap_servers=address, options={"log_level": 0})


def test_event_that_is_not_acknowledged_in_time_is_undelivered(away: KafkaAccess):
    """With its id; the same event may be published again."""
    event = a_new_event(origin_ref="r", version=1)
    with ConsentPublisher("shop", away, delivery_timeout=SHORT) as one:
        with pytest.raises(UndeliveredError) as first:
            one.publish(event)
        with pytest.raises(UndeliveredError) as second:
            asyncio.run(one.publish_async(event))
        assert first.value.event_id == second.value.event_id


def test_full_queue_raises_after_a_bounded_wait(away: KafkaAccess, monkeypatch: pytest.MonkeyPatch):
    """Memory is bounded, and nobody waits for ever: neither a thread nor a loop."""
    monkeypatch.setattr(publisher, "_QUEUED_EVENTS", 10)
    one = ConsentPublisher("shop", away, max_wait=SHORT)

    def fill() -> None:
        for _ in range(100):
            one.submit(a_new_event())

    with pytest.raises(BackpressureError) as caught:
        fill()
    assert caught.value.retry_after > timedelta(0)
    with pytest.raises(BackpressureError):
        asyncio.run(one.publish_async(a_new_event()))
    with pytest.raises(UnacknowledgedError):
        one.close(timedelta(0))


def test_close_names_what_was_not_acknowledged(away: KafkaAccess):
    """Each by its id, and its future has the error too; closed again, there is nothing."""
    one = ConsentPublisher("shop", away)
    pending = [one.submit(a_new_event(origin_ref="r", version=each)) for each in range(3)]
    assert one.flush(timedelta(0)) == 3
    with pytest.raises(UnacknowledgedError, match="3 events") as caught:
        one.close(timedelta(0))
    lost = [each.exception(0) for each in pending]
    assert all(isinstance(each, UndeliveredError) for each in lost)
    assert sorted(caught.value.event_ids) == sorted(each.event_id for each in lost)  # type: ignore[union-attr]  # as above
    one.close()
    with pytest.raises(PublisherClosedError):
        one.publish(a_new_event())


def test_leaving_the_block_reports_what_was_not_acknowledged(away: KafkaAccess):
    """But an error of the block itself is the one that is seen."""
    publisher = ConsentPublisher("shop", away, delivery_timeout=SHORT)
    with pytest.raises(UnacknowledgedError), publisher as one:
        one.submit(a_new_event())

    def fail() -> None:
        with ConsentPublisher("shop", away, delivery_timeout=SHORT) as one:
            one.submit(a_new_event())
            raise KeyError

    with pytest.raises(KeyError):
        fail()


def test_publisher_that_never_published_closes_at_once(away: KafkaAccess):
    """It has no client."""
    one = ConsentPublisher("shop", away)
    assert one.flush() == 0
    one.close()


def test_threads_wait_for_the_first_connection_within_bounds(
    away: KafkaAccess, monkeypatch: pytest.MonkeyPatch
):
    """One thread connects; another one that waits too long gets the error of a full queue."""
    connecting, proceed = threading.Event(), threading.Event()
    real = sessions.PublisherSession.__init__

    def slow(self: sessions.PublisherSession, *given: Any) -> None:  # noqa: ANN401  # the real ones
        connecting.set()
        assert proceed.wait(20)
        real(self, *given)

    monkeypatch.setattr(sessions.PublisherSession, "__init__", slow)
    one = ConsentPublisher("shop", away, max_wait=SHORT, delivery_timeout=SHORT)
    first = threading.Thread(target=lambda: one.submit(a_new_event()))
    first.start()
    assert connecting.wait(20)
    with pytest.raises(BackpressureError):
        one.submit(a_new_event())
    proceed.set()
    first.join(20)
    with pytest.raises(UnacknowledgedError):
        one.close()


@pytest.mark.parametrize("origin", ["", " "])
def test_origin_must_be_named(origin: str, away: KafkaAccess):
    """Ids and reports are distinguished by it."""
    with pytest.raises(SettingError, match="origin is empty"):
        ConsentPublisher(origin, away)


def test_surface_is_exactly_this():
    """A name that is added or removed is decided here."""
    assert izin.producers.__all__ == SURFACE
    assert {
        name for name, _ in inspect.getmembers(ConsentPublisher) if not name.startswith("_")
    } == METHODS


def test_token_names_where_the_event_is():
    """The gate takes it as ``at_least``."""
    published = Published(event_id="event-1", topic="consent-events", partition=3, offset=17)
    assert positions_of(published.token) == (("consent-events", 3, 17),)


@pytest.mark.parametrize(
    "error",
    [
        BackpressureError(timedelta(seconds=1)),
        EventRefusedError((violation("source", "H113"),)),
        OversizeError("event-1"),
        PublisherClosedError(),
        UnacknowledgedError(("event-1",)),
        UndeliveredError("event-1", "away"),
    ],
    ids=lambda one: type(one).__name__,
)
def test_error_is_the_same_in_another_process(error: IzinError):
    """Task queues and pools pickle what a task raises, and break where that fails."""
    other = pickle.loads(pickle.dumps(error))
    assert (type(other), str(other), vars(other)) == (type(error), str(error), vars(error))


def test_errors_are_one_tree():
    """Whoever catches its root catches all of them."""
    errors = [getattr(izin.producers, one) for one in SURFACE if one.endswith("Error")]
    assert all(issubclass(one, IzinError) for one in errors)


Validate = Callable[[NewEvent], AcceptedRecord | RefusedRecord]

TURKEY = timezone(timedelta(hours=3))


def a_new_event(**overrides: object) -> NewEvent:
    """Return an ONAY for text messages, given on a web page and received two seconds later."""
    return NewEvent(
        **{
            "brand_code": BRAND,
            "type": "MESAJ",
            "recipient": "0555 000 00 01",
            "status": "ONAY",
            "source": "HS_WEB",
            "consent_date": NOON,
            "received_at": NOON + timedelta(seconds=2),
        }
        | overrides
    )


@pytest.fixture
def validated(directory: BrandDirectory) -> Validate:
    """Return a function that validates an event as the publisher does."""

    def validated(event: NewEvent) -> AcceptedRecord | RefusedRecord:
        return accept(event, "shop", directory)

    return validated


def accepted(result: AcceptedRecord | RefusedRecord) -> AcceptedRecord:
    assert isinstance(result, AcceptedRecord), result.violations
    return result


def codes(result: AcceptedRecord | RefusedRecord) -> set[tuple[str, str]]:
    return {(one.field, one.code) for one in result.violations}


def test_every_field_arrives_in_the_event(validated: Validate):
    """Under its own name; the customer is the brand's, and the recipient is normalised."""
    fields = {
        "origin_ref": "customer-17",
        "sequence": 7,
        "actor": "agent-3",
        "correlation_id": "act-1",
        "retailer_code": 10_000_001,
        "retailer_access": (10_000_001, 10_000_002),
        "notice_version": "2026-01",
        "evidence": {"ip": "192.0.2.1"},
        "evidence_hash": "0" * 64,
    }
    result = accepted(validated(a_new_event(**fields)))
    event = result.event
    assert (result.key, result.violations) == (a_key(), ())
    assert {name: getattr(event, name) for name in fields} == fields
    assert event == ConsentEvent(
        **fields,  # type: ignore[arg-type]  # by name
        event_id=event.event_id,
        customer_id=CUSTOMER,
        brand_code=BRAND,
        type="MESAJ",
        recipient_type="BIREYSEL",
        recipient=PHONE,
        recipient_raw="0555 000 00 01",
        status="ONAY",
        source="HS_WEB",
        consent_date=NOON,
        received_at=NOON + timedelta(seconds=2),
        origin="shop",
    )


@pytest.mark.parametrize(
    ("fields", "version"),
    [
        (
            {"origin_ref": "r"},
            f"{BRAND}\x1fMESAJ\x1fBIREYSEL\x1f0555 000 00 01\x1fONAY\x1f{NOON.isoformat()}",
        ),
        ({"origin_ref": "r", "version": 3}, "3"),
        ({"origin_ref": "r", "version": "b", "consent_date": None, "status": "RET"}, "b"),
    ],
)
def test_reference_makes_the_id(validated: Validate, fields: dict[str, Any], version: str):
    """Of origin, reference and version; without a version, of key, status and date."""
    event = accepted(validated(a_new_event(**fields))).event
    assert event.event_id == message_event_id("shop", "r", version)


def test_date_in_another_zone_is_the_same_event(validated: Validate):
    """An instant is an instant, wherever its clock hangs."""
    first, second = (
        accepted(validated(a_new_event(origin_ref="r", consent_date=one))).event
        for one in (NOON, NOON.astimezone(TURKEY))
    )
    assert first == second


@pytest.mark.parametrize(
    "fields", [{}, {"origin_ref": "customer-17", "consent_date": None, "status": "RET"}]
)
def test_event_without_identity_has_an_id_of_its_value(validated: Validate, fields: dict[str, Any]):
    """Published again, pickled or not, it is the same; another value is another event."""
    one = a_new_event(**fields)
    again = pickle.loads(pickle.dumps(one))
    ids = [accepted(validated(each)).event.event_id for each in (one, again, a_new_event(**fields))]
    assert ids[0] == ids[1] != ids[2]
    assert ids[0][14] == "7"


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        ({"recipient": "12", "source": "NOWHERE"}, {("recipient", "H121"), ("source", "H119")}),
        ({"consent_date": None}, {("consent_date", "H112")}),
        ({"consent_date": NOON.replace(tzinfo=None)}, {("consent_date", "IZIN-INSTANT")}),
        ({"consent_date": "2026-03-02"}, {("consent_date", "IZIN-INSTANT")}),
        (
            {"consent_date": datetime.max.replace(tzinfo=timezone(-timedelta(hours=1)))},
            {("consent_date", "IZIN-INSTANT")},
        ),
        ({"consent_date": datetime.min.replace(tzinfo=UTC)}, {("consent_date", "IZIN-INSTANT")}),
        ({"consent_date": datetime.max.replace(tzinfo=UTC)}, {("consent_date", "IZIN-INSTANT")}),
        ({"received_at": NOON.replace(tzinfo=None)}, {("received_at", "IZIN-INSTANT")}),
        ({"sequence": "x"}, {("sequence", "IZIN-NOT-A-NUMBER")}),
        ({"sequence": True}, {("sequence", "IZIN-NOT-A-NUMBER")}),
        ({"sequence": 1.5}, {("sequence", "IZIN-TYPE")}),
        ({"sequence": 2**63}, {("sequence", "IZIN-NOT-A-NUMBER")}),
        ({"retailer_access": [None]}, {("retailer_access", "IZIN-TYPE")}),
        ({"actor": {}}, {("actor", "IZIN-TYPE")}),
        ({"actor": "x" * 1001}, {("actor", "IZIN-TEXT-SIZE")}),
        ({"evidence": {"page": "x" * 4097}}, {("evidence", "IZIN-EVIDENCE")}),
        ({"evidence": {"page": 1.5}}, {("evidence", "IZIN-EVIDENCE")}),
        ({"evidence": ["page"]}, {("evidence", "IZIN-EVIDENCE")}),
    ],
)
def test_wrong_values_refuse_an_opt_in_and_never_an_opt_out(
    validated: Validate, fields: dict[str, Any], found: set[tuple[str, str]]
):
    """Every violation is named; an opt-out whose key can be read is published all the same."""
    refused = validated(a_new_event(**fields))
    assert isinstance(refused, RefusedRecord)
    assert codes(refused) == found
    opt_out = validated(a_new_event(status="RET", **fields))
    if "recipient" in fields:
        assert isinstance(opt_out, RefusedRecord)
    else:
        assert accepted(opt_out).key == a_key()
        assert codes(opt_out) == found - {("consent_date", "H112")}


def test_missing_date_is_named_without_words_of_the_intake(validated: Validate):
    """The library has no date_basis, so the reason must not say to set it."""
    (one,) = validated(a_new_event(consent_date=None)).violations
    assert one.code == "H112"
    assert "the recipient consented" in one.reason
    assert "date_basis" not in one.reason


@pytest.mark.parametrize("brand", [None, "x", -1, 2**31, 1.0])
def test_event_without_a_readable_brand_is_refused(validated: Validate, brand: object):
    """No key can be made of it, whatever its status."""
    for status in ("ONAY", "RET"):
        refused = validated(a_new_event(brand_code=brand, status=status))
        assert isinstance(refused, RefusedRecord)
        assert {one.field for one in refused.violations} == {"brand_code"}


@pytest.mark.parametrize("field", ["recipient", "status", "type"])
def test_value_of_the_key_that_is_no_text_is_refused(validated: Validate, field: str):
    """With the violation that says so."""
    assert (field, "IZIN-TYPE") in codes(validated(a_new_event(**{field: 5.0})))


def test_brand_in_digits_and_words_of_other_sources_are_read(validated: Validate):
    """As of a form or a file."""
    event = a_new_event(brand_code=str(BRAND), type="SMS", status="opt-out", source="web")
    assert accepted(validated(event)).key == a_key()
    assert accepted(validated(event)).event.status == "RET"


def test_unregistered_brand_is_refused_with_all_else(validated: Validate):
    """Nobody would be its customer."""
    refused = validated(a_new_event(brand_code=999, recipient="12"))
    assert codes(refused) == {("brand_code", "IZIN-BRAND-UNKNOWN"), ("recipient", "H121")}


def test_damaged_text_is_noted_on_an_opt_out(validated: Validate):
    """It is cleaned, and published; an opt-in is cleaned too."""
    opt_out = accepted(validated(a_new_event(status="RET", actor="a\ud800\0")))
    assert codes(opt_out) == {("actor", "IZIN-CHARACTER")}
    assert opt_out.event.actor == "a"
    assert accepted(validated(a_new_event(actor="a\ud800\0"))).violations == ()


@pytest.mark.parametrize("year", [1970, 2015])
def test_receipt_before_the_law_is_that_of_the_publication(validated: Validate, year: int):
    """As the order stage reads it: no opt-out counts from 1970."""
    early = datetime(year, 1, 1, tzinfo=UTC)
    before = datetime.now(UTC)
    for status in ("RET", "ONAY"):
        found = accepted(validated(a_new_event(status=status, received_at=early)))
        assert {one.code for one in found.violations} <= {"IZIN-TERM-ENDED"}
        assert found.event.consent_date == NOON
        assert found.event.received_at >= before


def test_value_made_now_was_received_now():
    """The receipt is when the value is made, in UTC."""
    before = datetime.now(UTC)
    event = NewEvent(brand_code=BRAND, type="MESAJ", recipient=PHONE, status="RET")
    assert before <= event.received_at <= datetime.now(UTC)
    assert "chance" not in repr(event)


SOON = 20.0

Written = Callable[[], Sequence[KafkaRecord]]


class PublisherSuite:
    """Needs the fixtures `publisher`, and `written`, which reads what the topics hold."""

    def test_onay_takes_the_bulk_lane(self, publisher: KafkaPublisher, written: Written):
        """An ONAY goes to consent-events, under the canonical key."""
        publisher.publish(an_event(recipient="0555 000 00 01")).result(SOON)
        (one,) = written()
        assert one.topic.endswith("consent-events")
        assert one.key == a_key().encode()

    def test_ret_takes_the_express_lane(self, publisher: KafkaPublisher, written: Written):
        """An opt-out overtakes."""
        done = publisher.publish(an_event(status="RET"), a_key()).result(SOON)
        (one,) = written()
        assert one.topic == done.topic
        assert one.topic.endswith("consent-events-express")

    def test_event_from_iys_takes_the_express_lane(
        self, publisher: KafkaPublisher, written: Written
    ):
        """Whatever its status."""
        statement = IysOrigin(stream="IYS", path="push", creation_date=NOON)
        publisher.publish(an_event(iys=statement, origin="iys")).result(SOON)
        assert written()[0].topic.endswith("consent-events-express")

    def test_received_at_is_set_once(self, publisher: KafkaPublisher, written: Written):
        """Set where it is missing, unchanged where it is given."""
        publisher.publish(an_event(received_at=None), a_key()).result(SOON)
        publisher.publish(an_event(received_at=NOON), a_key()).result(SOON)
        received = [Codec().decode("ConsentEvent", one.value)["received_at"] for one in written()]
        assert received == [NOON + timedelta(hours=1), NOON]

    def test_result_has_the_append_time(self, publisher: KafkaPublisher):
        """The broker's, by which an endpoint measures the skew of its clock."""
        done = publisher.publish(an_event(), a_key()).result(SOON)
        assert done.appended_at.tzinfo is not None

    def test_unreadable_recipient_gets_a_stable_opaque_key(
        self, publisher: KafkaPublisher, written: Written
    ):
        """The same raw recipient always has the same key."""
        for _ in range(2):
            publisher.publish(an_event(recipient="not-a-phone")).result(SOON)
        first, second = written()
        assert first.key == second.key
        assert b"not-a-phone" not in first.key

    def test_record_has_cloud_events_headers(self, publisher: KafkaPublisher, written: Written):
        """CloudEvents 1.0 in binary mode."""
        publisher.publish(an_event(event_id="event-7")).result(SOON)
        found = dict(written()[0].headers)
        assert found["ce_specversion"] == b"1.0"
        assert found["ce_id"] == b"event-7"
        assert found["ce_type"] == b"izin.ConsentEvent"
        assert found["ce_source"] == b"/web"
        assert found["ce_time"]

    def test_oversize_event_is_a_source_error(self, publisher: KafkaPublisher):
        """Too much evidence is refused before it is sent."""
        with pytest.raises(OversizeError, match="evidence_hash"):
            publisher.publish(an_event(evidence={"page": "x" * 2_000_000})).result(SOON)

    def test_flush_in_bulk_answers_every_event(self, publisher: KafkaPublisher, written: Written):
        """A flush leaves nothing pending, and futures work again afterwards."""
        answers: list[PublishResult] = []
        with publisher.bulk():
            for number in range(100):
                publisher.send(an_event(event_id=str(number)), a_key(), answers.append)
            assert publisher.flush(timedelta(seconds=SOON)) == 0
        assert {one.event_id for one in answers if isinstance(one, Published)} == {
            str(number) for number in range(100)
        }
        publisher.publish(an_event(), a_key()).result(SOON)
        assert len(written()) == 101


class TestFakePublisher(PublisherSuite):
    """No broker."""

    @pytest.fixture
    def publisher(self) -> FakePublisher:
        return FakePublisher(lambda: NOON + timedelta(hours=1))

    @pytest.fixture
    def written(self, publisher: FakePublisher) -> Callable[[], Sequence[KafkaRecord]]:
        return lambda: publisher.frames


def test_value_outside_the_contract_is_refused():
    """Text where Avro wants a number."""
    with pytest.raises(UnencodableError, match="event-1"):
        kafka_record(an_event(sequence="x"), None, NOON, KafkaSettings().topics, Codec())


@pytest.mark.parametrize("word", ["RET", "ret", " RET "])
def test_ret_in_any_spelling_is_express(word: str):
    """A library user may write the status in any case."""
    topics = KafkaSettings().topics
    assert lane(an_event(status=word), topics) == topics.express


@given(st.text("0123456789abcdef", min_size=64, max_size=64), st.integers(1, 2**31 - 1))
def test_file_ids_are_uuid5s(digest: str, row: int):
    """The shortcut through the hash gives what the standard library gives."""
    namespace = UUID("5f6f7b0e-6f4a-5d0c-9a53-6b8f6f0d1c01")
    assert FileIds(digest).of(row) == str(uuid5(namespace, f"{digest}\x1f{row}"))


@given(st.text(), st.text(), st.text())
def test_message_ids_are_uuid5s(origin: str, reference: str, version: str):
    """Whoever publishes without the library makes the same with any library for UUIDs."""
    namespace = UUID("5f6f7b0e-6f4a-5d0c-9a53-6b8f6f0d1c02")
    name = f"{origin}\x1f{reference}\x1f{version}"
    assert message_event_id(origin, reference, version) == str(uuid5(namespace, name))


def test_uuid7_is_a_version_7_uuid():
    """Version, variant, and milliseconds in front (RFC 9562)."""
    one = uuid7(datetime(2022, 2, 22, 19, 22, 22, tzinfo=UTC), b"\xff" * CHANCE_BYTES)
    assert one == "017f22e2-79b0-7fff-bfff-ffffffffffff"
    assert UUID(one).version == 7


def test_uuid7_with_wrong_randomness_is_refused():
    """Too little chance, or an instant without a zone."""
    with pytest.raises(ValueError, match="10 bytes"):
        uuid7(NOON, b"")
    with pytest.raises(NaiveInstantError):
        uuid7(NOON.replace(tzinfo=None), bytes(CHANCE_BYTES))


def test_uuid7_of_an_instant_before_1970_is_refused():
    """Its milliseconds have no sign: a text with one would be no UUID."""
    with pytest.raises(OverflowError):
        uuid7(datetime(1969, 12, 31, tzinfo=UTC), bytes(CHANCE_BYTES))
