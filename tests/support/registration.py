"""Register a brand with its customer, as an operator does."""

from datetime import datetime

from izin.sinks.ledger import brands
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import customers
from izin.sinks.record.brand import Brand
from izin.sinks.record.messages import TopicMessages


async def register_brand(
    ledger: Ledger, topic_messages: TopicMessages, brand: Brand, *, by: str = "ada", now: datetime
) -> Brand:
    """Register or change ``brand``, after its customer; return it as stored."""
    await customers.add(ledger, brand.customer_id, brand.customer_id.title(), by=by, now=now)
    return await brands.upsert(ledger, topic_messages, brand, by=by, now=now)
