"""The directory follows the compacted topic, at the start and later."""

from collections.abc import Callable
from typing import Any

import pytest

from izin.kafka.tables.brand_directory import BrandReader, UnknownBrandError
from izin.runtime.errors import BrokerError
from izin.runtime.kafka import access_of, producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from tests.integration.producers.waiting import until
from tests.support.builders import BRAND, CUSTOMER, NOON, an_event

pytestmark = pytest.mark.broker

Tell = Callable[..., None]


@pytest.fixture
def tell(settings: KafkaSettings) -> Tell:
    """Write a brand as the ledger does; None takes it out."""

    def tell(brand_code: int, **fields: object) -> None:
        record: dict[str, Any] | None = None
        if fields:
            record = {
                "brand_code": brand_code,
                "iys_code": 200001,
                "customer_id": CUSTOMER,
                "name": "Example",
                "activated_at": NOON,
                "loading_deadline": None,
                "status": "active",
            } | fields
        value = None if record is None else Codec().encode("Brand", record)
        client = producer(settings)
        client.produce(settings.topics.brands.name, key=str(brand_code).encode(), value=value)
        assert client.flush(20) == 0

    return tell


def test_loaded_directory_has_the_latest_of_each_brand(settings: KafkaSettings, tell: Tell):
    """The latest record of each brand counts."""
    tell(BRAND, name="Old")
    tell(BRAND, name="New")
    tell(100002, name="Gone")
    tell(100002)
    directory = BrandReader(access_of(settings), Codec()).load()
    assert len(directory) == 1
    assert directory.get(BRAND).name == "New"
    assert directory.get(BRAND).activated_at == NOON


def test_empty_topic_is_an_empty_directory(settings: KafkaSettings):
    """No brand yet is no fault."""
    assert len(BrandReader(access_of(settings), Codec()).load()) == 0


def test_followed_directory_sees_added_and_removed_brands(settings: KafkaSettings, tell: Tell):
    """Without a restart."""
    tell(BRAND, name="Example")
    with BrandReader(access_of(settings), Codec()).follow() as directory:
        assert directory.get(BRAND).customer_id == CUSTOMER
        tell(100002, name="Second")
        until(lambda: len(directory) == 2)
        tell(BRAND)
        until(lambda: len(directory) == 1)
        with pytest.raises(UnknownBrandError):
            directory.get(BRAND)


def test_unreadable_brand_record_is_skipped(settings: KafkaSettings, tell: Tell):
    """One unreadable record does not affect the other brands."""
    client = producer(settings)
    value = Codec().encode("ConsentEvent", event_to_avro(an_event()))
    client.produce(settings.topics.brands.name, key=b"1", value=value)
    client.produce(settings.topics.brands.name, key=b"1", value=b"{}")
    assert client.flush(20) == 0
    tell(BRAND, name="Example")
    assert len(BrandReader(access_of(settings), Codec()).load()) == 1


def test_missing_topic_names_the_remedy(kafka: str, topic_prefix: str):
    """Nothing is created behind the operator's back."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix)
    with pytest.raises(BrokerError, match="izin doctor --fix"):
        BrandReader(access_of(settings), Codec()).load()
