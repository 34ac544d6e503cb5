"""A subscriber of ``consent-opt-outs``, as an SMS platform would be: it hears every "no" and
when.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Self

from confluent_kafka import OFFSET_END, KafkaException, TopicPartition

from izin.runtime import kafka

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from izin.runtime.settings import KafkaSettings

_WAIT = 0.2


class Subscriber:
    """Listens from now on, in a thread of its own; a context manager."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._heard: dict[str, int] = {}
        self._stopped = threading.Event()
        self._listening = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="subscriber", daemon=True)

    @property
    def heard(self) -> Mapping[str, int]:
        """By canonical key: when its first "no" arrived here, epoch milliseconds."""
        return dict(self._heard)

    def __enter__(self) -> Self:
        self._thread.start()
        self._listening.wait()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _listen(self) -> None:
        topic = self._settings.topics.opt_outs.name
        client = kafka.consumer(self._settings, "izin-demo-subscriber", **{"fetch.wait.max.ms": 20})
        try:
            partitions = range(self._settings.partitions)
            client.assign([TopicPartition(topic, number, OFFSET_END) for number in partitions])
            for number in partitions:
                # Asking for the end makes sure that listening has begun before anybody says no.
                client.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            client.poll(1.0)
            self._listening.set()
            while not self._stopped.is_set():
                message = client.poll(_WAIT)
                if message is None:
                    continue
                error = message.error()
                if error is not None:
                    if error.retriable():
                        continue
                    raise KafkaException(error)
                key = (message.key() or b"").decode()
                self._heard.setdefault(key, time.time_ns() // 1_000_000)
        finally:
            self._listening.set()
            client.close()
