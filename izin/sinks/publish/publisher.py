"""Publish from the event loop, and return when the broker has acknowledged the messages.

Messages do not linger, for a citizen's opt-out may be among them. A thread polls librdkafka without
a pause, so that acknowledgements are not delayed.
"""

import asyncio
import threading
from collections.abc import Iterable
from functools import partial
from types import TracebackType
from typing import Self

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import Message as Delivered

from izin.runtime.kafka import producer
from izin.runtime.settings import KafkaSettings
from izin.sinks.record.errors import StreamUnavailableError
from izin.sinks.record.messages import Message

_POLL = 0.1
_TIMEOUT_MS = 15_000
_FLUSH = 3.0


class Publisher:
    """An idempotent producer with awaitable acknowledgements. An async context manager."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._producer = producer(
            settings, **{"linger.ms": 0, "message.timeout.ms": _TIMEOUT_MS, "acks": "all"}
        )
        self._closed = threading.Event()
        self._poller = threading.Thread(target=self._poll, name="sink-publisher", daemon=True)

    async def __aenter__(self) -> Self:
        self._poller.start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self._producer.flush, _FLUSH)
        self._closed.set()
        await asyncio.to_thread(self._poller.join)

    async def publish(self, messages: Iterable[Message]) -> None:
        """Return once the broker has every one of ``messages``; raises StreamUnavailableError.

        Messages acknowledged before a failure stay published: publish all again, for duplicates
        have no effect.
        """
        loop = asyncio.get_running_loop()
        waiting = []
        for message in messages:
            done: asyncio.Future[None] = loop.create_future()
            waiting.append(done)
            try:
                self._producer.produce(
                    message.topic,
                    key=message.key.encode(),
                    value=message.value,
                    headers=dict(message.headers),
                    on_delivery=partial(_acknowledged, loop, done),
                )
            except (BufferError, KafkaException) as error:
                raise StreamUnavailableError(
                    f"Kafka takes no more ({type(error).__name__})"
                ) from error
        for problem in await asyncio.gather(*waiting, return_exceptions=True):
            if problem is not None:
                raise problem

    def _poll(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(_POLL)


def _acknowledged(
    loop: asyncio.AbstractEventLoop,
    done: asyncio.Future[None],
    error: KafkaError | None,
    _message: Delivered,
) -> None:
    """Resolve ``done`` of ``loop`` from librdkafka's thread."""
    loop.call_soon_threadsafe(_resolve, done, error)


def _resolve(done: asyncio.Future[None], error: KafkaError | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(None)
    else:
        done.set_exception(StreamUnavailableError(f"not acknowledged: {error.str()}"))
