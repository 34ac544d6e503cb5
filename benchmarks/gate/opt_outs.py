"""How soon the gate says no to a recipient who has just opted out."""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta

import httpx

from benchmarks.gate.published import CUSTOMER, key_of
from benchmarks.gate.questions import BRAND, HOST
from izin.consent import ConsentEvent
from izin.consent.may_send import PermissionReason
from izin.kafka.clients import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.may_send_api import PATH
from izin.schemas.records import event_to_avro, headers

_WITHIN = 30.0
_READ_WITHIN = 300.0
_STALE = PermissionReason.STALE
_PAUSE = 0.002
_OLD = timedelta(minutes=1)


class OptOutTimer:
    """Has recipients of ``numbers`` opt out, one after another, and asks the gate about each."""

    def __init__(
        self, settings: KafkaSettings, port: int, api_key: str, numbers: Iterator[int]
    ) -> None:
        self._lane = settings.topics.express.name
        self._numbers = numbers
        self._codec = Codec()
        self._producer = producer(settings, **{"linger.ms": 0})
        self._http = httpx.Client(
            base_url=f"http://{HOST}:{port}",
            headers={"Authorization": f"Bearer {api_key}"},
            timeout=_WITHIN,
            trust_env=False,
        )

    def seconds(self) -> float:
        """Return how long it took from the publication of an opt-out until the gate said no.

        Raises:
            ValueError: it said no before.
            TimeoutError: it never did.
        """
        key = key_of(next(self._numbers))
        if not self._may_send(key.recipient):
            raise ValueError("the gate says no to somebody who has not opted out")
        began = time.perf_counter()
        self._publish(key.recipient, key.encode())
        while self._may_send(key.recipient):
            if time.perf_counter() - began > _WITHIN:
                raise TimeoutError(f"{_WITHIN:.0f} s after an opt-out the gate still says yes")
            time.sleep(_PAUSE)  # to ask without a pause would use the CPU of what is measured
        return time.perf_counter() - began

    def await_read(self, positions: Iterable[LogPosition]) -> None:
        """Return once the gate has read the input topics so far; raises TimeoutError."""
        token, until = token_of(positions), time.monotonic() + _READ_WITHIN
        while self._reason(token) == _STALE:
            if time.monotonic() > until:
                raise TimeoutError(f"the gate has not read the backlog in {_READ_WITHIN:.0f} s")

    def close(self) -> None:
        """Close the client."""
        self._http.close()

    def _may_send(self, recipient: str) -> bool:
        return bool(self._verdict(recipient)["may_send"])

    def _reason(self, token: str) -> str:
        """Return the reason of a verdict by a state that reflects ``token``."""
        return str(self._verdict(key_of(0).recipient, at_least=token)["reason"])

    def _verdict(self, recipient: str, **more: str) -> Mapping[str, object]:
        question = {"brand_code": BRAND, "type": "MESAJ", "recipients": [recipient], **more}
        response = self._http.post(PATH, json=question)
        (verdict,) = response.raise_for_status().json()["verdicts"]
        return dict(verdict)

    def _publish(self, recipient: str, key: bytes) -> None:
        at = datetime.now(UTC) - _OLD
        event = ConsentEvent(
            event_id=f"bench-{recipient}",
            customer_id=CUSTOMER,
            brand_code=BRAND,
            type="MESAJ",
            recipient=recipient,
            status="RET",
            source="HS_WEB",
            consent_date=at,
            received_at=at,
            origin="web",
        )
        self._producer.produce(
            self._lane,
            key=key,
            value=self._codec.encode("ConsentEvent", event_to_avro(event)),
            headers=headers(
                record="ConsentEvent", event_id=event.event_id, source="/bench/web", at=at
            ),
        )
        self._producer.poll(0)
