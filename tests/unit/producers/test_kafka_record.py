"""The fake passes the suite; values outside the contract are refused."""

from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from izin.producers.publishing.publisher import KafkaRecord, UnencodableError, kafka_record, lane
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
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
