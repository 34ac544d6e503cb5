"""Register brands for benchmarks, as the ledger publishes them."""

from benchmarks.order.timer import TrialError
from izin.kafka.clients import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec

_WITHIN = 60.0


def register_brand(settings: KafkaSettings, code: int, customer_id: str) -> None:
    """Publish an active brand; raises TrialError where that is not acknowledged."""
    brand = {
        "brand_code": code,
        "iys_code": code,
        "customer_id": customer_id,
        "name": "Bench",
        "activated_at": None,
        "loading_deadline": None,
        "status": "active",
    }
    client = producer(settings)
    value = Codec().encode("Brand", brand)
    client.produce(settings.topics.brands.name, key=str(code).encode(), value=value)
    if client.flush(_WITHIN):
        raise TrialError("the brand was not acknowledged")
