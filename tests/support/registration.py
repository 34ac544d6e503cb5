"""Register a brand with its customer, as an operator does."""

from datetime import datetime

from izin.ledger import brands
from izin.ledger.db import Ledger
from izin.ledger.record import Brand, TopicMessages
from izin.ledger.registry import customers


async def register_brand(
    ledger: Ledger, topic_messages: TopicMessages, brand: Brand, *, by: str = "ada", now: datetime
) -> Brand:
    """Register or change ``brand``, after its customer; return it as stored."""
    await customers.add(ledger, brand.customer_id, brand.customer_id.title(), by=by, now=now)
    return await brands.upsert(ledger, topic_messages, brand, by=by, now=now)
