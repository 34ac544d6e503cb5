"""The real publisher passes the suite.

The directory follows the compacted topic, at the start and later.
"""

import pytest

from izin.kafka.clients import access_of
from izin.kafka.tables.brand_directory import BrandReader, UnknownBrandError
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from tests.support.builders import BRAND, CUSTOMER, NOON, an_event
from tests.support.published import produce, publish_brand
from tests.support.waiting import until
from tests.unit.producers.test_publishers import PublisherSuite

pytestmark = pytest.mark.broker


class TestPublisher(PublisherSuite):
    """Against a real Kafka."""


def test_loaded_directory_has_the_latest_of_each_brand(settings: KafkaSettings):
    """The latest record of each brand counts; one that cannot be read affects no other."""
    assert len(BrandReader(access_of(settings), Codec()).load()) == 0
    value = Codec().encode("ConsentEvent", event_to_avro(an_event()))
    produce(settings, settings.topics.brands.name, value, b"{}", key=b"1")
    for name in ("Old", "New"):
        publish_brand(settings, name=name, activated_at=NOON)
    publish_brand(settings, brand_code=100002)
    produce(settings, settings.topics.brands.name, None, key=b"100002")
    directory = BrandReader(access_of(settings), Codec()).load()
    assert [(one.name, one.activated_at) for one in directory] == [("New", NOON)]


def test_followed_directory_sees_added_and_removed_brands(settings: KafkaSettings):
    """Without a restart."""
    publish_brand(settings)
    with BrandReader(access_of(settings), Codec()).follow() as directory:
        assert directory.get(BRAND).customer_id == CUSTOMER
        publish_brand(settings, brand_code=100002)
        until(lambda: len(directory) == 2)
        produce(settings, settings.topics.brands.name, None, key=str(BRAND).encode())
        until(lambda: len(directory) == 1)
        with pytest.raises(UnknownBrandError):
            directory.get(BRAND)
