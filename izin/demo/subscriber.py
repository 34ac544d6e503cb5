"""A subscriber of ``consent-opt-outs``, as an SMS platform would be: it notes when each arrives."""

import threading
import time
from collections.abc import Mapping
from typing import Self

from confluent_kafka import OFFSET_END, KafkaException, TopicPartition

from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings

_WAIT = 0.2


class Subscriber:
    """Consumes opt-outs from now on, in a thread of its own; a context manager."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._received: dict[str, int] = {}
        self._stopped = threading.Event()
        self._started = threading.Event()
        self._thread = threading.Thread(target=self._consume, name="subscriber", daemon=True)

    @property
    def received(self) -> Mapping[str, int]:
        """By canonical key: when its first opt-out arrived here, epoch milliseconds."""
        return dict(self._received)

    def __enter__(self) -> Self:
        self._thread.start()
        self._started.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()

    def _consume(self) -> None:
        topic = self._settings.topics.opt_outs.name
        client = kafka.consumer(self._settings, "izin-demo-subscriber", **{"fetch.wait.max.ms": 20})
        try:
            partitions = range(self._settings.partitions)
            client.assign([TopicPartition(topic, number, OFFSET_END) for number in partitions])
            for number in partitions:
                # The end is fetched before anything else happens, so no opt-out is missed.
                client.get_watermark_offsets(TopicPartition(topic, number), timeout=10)
            client.poll(1.0)
            self._started.set()
            while not self._stopped.is_set():
                message = client.poll(_WAIT)
                if message is None:
                    continue
                error = message.error()
                if error is None:
                    key = (message.key() or b"").decode()
                    self._received.setdefault(key, time.time_ns() // 1_000_000)
                elif not error.retriable():
                    raise KafkaException(error)
        finally:
            self._started.set()
            client.close()
