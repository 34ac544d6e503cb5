"""Events for a rebuild: a million keys and more, encoded with what is theirs alone.

Every key has an event in each round, in another order each time. In all rounds but the first, a
fifth of the records repeat an earlier one byte for byte, and a twentieth come up to an hour late.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any, NamedTuple

from izin.kafka import clients
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import Headers, headers

_BEGAN = datetime(2025, 3, 3, 9, tzinfo=UTC)
_TRAVEL = timedelta(seconds=1)
_BRAND = 600_001
_REPEATED = 0.20
_LATE = 0.05
_RETS = 0.2
_MOST_LATE = 3600
_REPEATABLE = 5_000
_STRIDE = 7_919
"""A prime, so that a round meets every key in another order than the one before."""
_OWN = ("event_id", "recipient", "status", "consent_date", "received_at", "sequence")
_QUEUED = 50_000


class ReplayEvent(NamedTuple):
    """A record of a lane."""

    key: bytes
    value: bytes
    headers: Headers
    is_ret: bool


def events(count: int, keys: int, *, seed: int = 19) -> Iterator[ReplayEvent]:
    """Yield ``count`` events over ``keys`` recipients."""
    random, encode = Random(seed), _encoder()
    recent: list[ReplayEvent] = []
    for number in range(count):
        if number >= keys and random.random() < _REPEATED:
            yield recent[random.randrange(len(recent))]
            continue
        place = (number * _STRIDE + number // keys) % keys
        late = random.randrange(_MOST_LATE) if random.random() < _LATE else 0
        stated = _BEGAN + timedelta(seconds=number // 4 - late)
        recipient, is_ret = f"+90500{place:07d}", random.random() < _RETS
        event_id = f"{number:08x}-0000-4000-8000-{random.getrandbits(48):012x}"
        one = ReplayEvent(
            f"{_BRAND}/MESAJ/BIREYSEL/{recipient}".encode(),
            encode(
                {
                    "event_id": event_id,
                    "recipient": recipient,
                    "status": "RET" if is_ret else "ONAY",
                    "consent_date": stated,
                    "received_at": stated + _TRAVEL,
                    "sequence": number,
                }
            ),
            headers(record="ConsentEvent", event_id=event_id, source="/bench/web", at=stated),
            is_ret,
        )
        if len(recent) < _REPEATABLE:
            recent.append(one)
        else:
            recent[number % _REPEATABLE] = one
        yield one


def publish(settings: KafkaSettings, found: Iterator[ReplayEvent]) -> int:
    """Append events to the lanes, opt-outs to the express one; return how many were refused."""
    producer = clients.producer(
        settings, **{"linger.ms": 20, "queue.buffering.max.kbytes": 262_144}
    )
    bulk, express = settings.topics.events.name, settings.topics.express.name
    failures: list[str] = []

    def deliver(error: object, _: object) -> None:
        if error is not None:
            failures.append(str(error))

    for one in found:
        while len(producer) > _QUEUED:
            producer.poll(0.01)
        lane = express if one.is_ret else bulk
        producer.produce(lane, one.value, one.key, on_delivery=deliver, headers=one.headers)
    return producer.flush(60) + len(failures)


def _encoder() -> Callable[[Mapping[str, Any]], bytes]:
    shared = {
        "customer_id": "bench",
        "brand_code": _BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient_raw": None,
        "source": "HS_WEB",
        "date_basis": "stated",
        "origin": "web",
        "origin_ref": "signup",
        "actor": "visitor",
        "correlation_id": "0123456789abcdef",
        "cause": None,
        "import_id": None,
        "row": None,
        "retailer_code": None,
        "retailer_access": None,
        "notice_version": "2025-01",
        "evidence": {"page": "/newsletter", "form": "footer"},
        "evidence_hash": "0" * 64,
        "iys": None,
    }
    return Codec().template_encoder("ConsentEvent", shared, _OWN)
