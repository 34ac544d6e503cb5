"""Register a brand with its customer, as an operator does; and publish one as the sinks do."""

from datetime import datetime

from izin.ledger import brands
from izin.ledger.db import Ledger
from izin.ledger.record import Brand, TopicMessages
from izin.ledger.registry import customers
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import BRAND, CUSTOMER
from tests.support.subscribers.topics import produce


async def register_brand(
    ledger: Ledger, topic_messages: TopicMessages, brand: Brand, *, by: str = "ada", now: datetime
) -> Brand:
    """Register or change ``brand``, after its customer; return it as stored."""
    await customers.add(ledger, brand.customer_id, brand.customer_id.title(), by=by, now=now)
    return await brands.upsert(ledger, topic_messages, brand, by=by, now=now)


def publish_brand(settings: KafkaSettings, **overrides: object) -> None:
    """Publish the record of the brand of the builders, so that producers and readers know it."""
    record = {
        "brand_code": BRAND,
        "iys_code": 200001,
        "customer_id": CUSTOMER,
        "name": "Example",
        "activated_at": None,
        "loading_deadline": None,
        "status": "active",
        **overrides,
    }
    key, value = str(record["brand_code"]).encode(), Codec().encode("Brand", record)
    produce(settings, settings.topics.brands.name, value, key=key)
