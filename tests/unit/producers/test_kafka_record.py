"""The fake passes the suite; values outside the contract are refused.

The same event has the same id.

The suite that every publisher passes, the real one and the fake.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import given, strategies as st

from izin.consent import IysOrigin, NaiveInstantError
from izin.producers.publishing.event_ids import FileIds, message_event_id
from izin.producers.publishing.publisher import (
    KafkaPublisher,
    KafkaRecord,
    OversizeError,
    Published,
    PublishResult,
    UnencodableError,
    kafka_record,
    lane,
)
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.uuids import CHANCE_BYTES, uuid7
from tests.support.builders import NOON, a_key, an_event
from tests.unit.producers.conftest import FakePublisher

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
    assert str(one) == "017f22e2-79b0-7fff-bfff-ffffffffffff"
    assert one.version == 7


def test_uuid7_with_wrong_randomness_is_refused():
    """Too little chance, or an instant without a zone."""
    with pytest.raises(ValueError, match="10 bytes"):
        uuid7(NOON, b"")
    with pytest.raises(NaiveInstantError):
        uuid7(NOON.replace(tzinfo=None), bytes(CHANCE_BYTES))
