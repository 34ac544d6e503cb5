"""Receipts of the gate, as it writes them."""

from collections.abc import Collection
from typing import Any

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE


def a_receipt(number: int = 1, **overrides: object) -> dict[str, Any]:
    """Return the record of a whole list, of two recipients."""
    return {
        "receipt_id": f"019d1f5e-0000-7000-8000-{number:012}",
        "index": None,
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": None,
        "may_send": None,
        "reason": None,
        "recipients": 2,
        "reasons": {"registered": 1, "opted-out": 1},
        "digest": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "message_class": "commercial",
        "basis": None,
        "campaign": "spring",
        "retailer_code": None,
        "asked_by": "campaigns",
        "asked_at": NOON,
        "as_of": "not-a-real-token",
        **overrides,
    }


def a_decision_receipt(number: int = 1, **overrides: object) -> dict[str, Any]:
    """Return the record of one recipient, who was asked about alone."""
    fields: dict[str, object] = {
        "index": 0,
        "recipient": PHONE,
        "may_send": True,
        "reason": "exempt",
        "recipients": 1,
        "reasons": {"exempt": 1},
        "message_class": "delivery",
        "basis": "order 17",
    }
    return a_receipt(number, **fields | overrides)


def publish_receipts(
    settings: KafkaSettings,
    receipts: Collection[dict[str, Any] | bytes],
    *,
    partition: int | None = None,
) -> None:
    """Publish receipts, or bytes in place of one, to their topic."""
    producer, codec = kafka.producer(settings), Codec()
    for one in receipts:
        value = one if isinstance(one, bytes) else codec.encode("GateReceipt", one)
        key = b"junk" if isinstance(one, bytes) else one["receipt_id"].encode()
        where = {} if partition is None else {"partition": partition}
        producer.produce(settings.topics.gate_receipts.name, value, key=key, **where)
    assert producer.flush(20) == 0
