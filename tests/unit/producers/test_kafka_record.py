"""The fake passes the suite; values outside the contract are refused.

The same event has the same id.
"""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid5

import pytest
from hypothesis import given, strategies as st

from izin.consent import NaiveInstantError
from izin.producers.publishing.event_ids import (
    FileIds,
    message_event_id,
)
from izin.producers.publishing.publisher import KafkaRecord, UnencodableError, kafka_record, lane
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.uuids import CHANCE_BYTES, uuid7
from tests.support.builders import NOON, an_event
from tests.unit.producers.fakes import FakePublisher
from tests.unit.producers.publisher_suite import PublisherSuite


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
