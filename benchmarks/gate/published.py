"""What a gate reads, published as the ledger and its workers write it."""

from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from benchmarks.events import BEGAN
from benchmarks.gate.questions import BRAND, recipient
from izin.consent import Channel, ConsentKey, RecipientType
from izin.kafka.clients import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import ApiKey, Scope, new_api_key
from izin.schemas.codec import Codec
from izin.schemas.topics import Topic

CUSTOMER = "acme"
_KEY_ID = "0a1b2c3d4e5f-1"
_WITHIN = 60.0

Records = Iterable[tuple[bytes, bytes]]


def publish(settings: KafkaSettings, topic: Topic, records: Records) -> None:
    """Publish keys and values; raises TimeoutError where the broker does not take them."""
    # The ledger writes pages of 2,000 records over all partitions.
    client = producer(settings, **{"batch.num.messages": max(2_000 // settings.partitions, 1)})
    for key, value in records:
        while True:
            try:
                client.produce(topic.name, value, key)
                break
            except BufferError:
                client.poll(0.1)
    if client.flush(_WITHIN):
        raise TimeoutError(f"the broker did not take the records within {_WITHIN:.0f} s")


def permissions(count: int) -> Records:
    """Yield permissions of so many keys, all of which may be sent to."""
    key = key_of(0)
    fields: dict[str, Any] = {
        "customer_id": CUSTOMER,
        "brand_code": key.brand_code,
        "type": str(key.channel),
        "recipient_type": str(key.recipient_type),
        "recipient": key.recipient,
        "may_send": True,
        "previous_may_send": None,
        "reason": "registered",
        "desired": "ONAY",
        "registered": "ONAY",
        "registered_at": BEGAN,
        "consent_date": BEGAN,
        "since": BEGAN,
        "retailers": None,
    }
    encode = Codec().template_encoder("Permission", fields, {"recipient"})
    for number in range(count):
        key = key_of(number)
        yield key.encode(), encode({"recipient": key.recipient})


def key_of(number: int) -> ConsentKey:
    """Return one of many keys, all made up."""
    return ConsentKey(
        brand_code=BRAND,
        channel=Channel.MESAJ,
        recipient_type=RecipientType.BIREYSEL,
        recipient=recipient(number),
    )


def publish_brand(settings: KafkaSettings) -> str:
    """Publish a brand of which İYS was just pulled, and an API key that may ask and publish; return
    the key.
    """
    codec, topics, now = Codec(), settings.topics, datetime.now(UTC)
    brand = {
        "brand_code": BRAND,
        "iys_code": BRAND,
        "customer_id": CUSTOMER,
        "name": "Acme",
        "activated_at": BEGAN,
        "loading_deadline": None,
        "status": "active",
        "suspension": None,
    }
    pulled = {
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "last_pulled_at": now,
        "pulled_until": now,
    }
    text, secret_hash = new_api_key(_KEY_ID, bytes)
    key = ApiKey(
        id=_KEY_ID,
        name="bench",
        secret_hash=secret_hash,
        scopes=frozenset({Scope.ASK.value, Scope.PUBLISH.value}),
        customers=frozenset({CUSTOMER}),
        created_at=now,
    )
    for topic, name, record in (
        (topics.brands, str(BRAND), brand),
        (topics.freshness, f"{BRAND}/MESAJ", pulled),
        (topics.api_keys, _KEY_ID, key.to_avro()),
    ):
        publish(settings, topic, [(name.encode(), codec.encode(topic.record, record))])
    return text
