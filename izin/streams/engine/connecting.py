"""How Faust's driver connects when it starts: a broker that is away then ends no worker.

The driver gives up at its first attempt, and Faust with it. A worker that starts while its broker
restarts would end, though it would only have had to wait. Under static membership it is looked at
from then on whether another worker has the same name (``static_member``).

Nor does it wait for its group when it ends: a worker has to be gone in time, and its session shows
that it has left.
"""

import asyncio
from contextlib import suppress

from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as driver

from izin.runtime.observe import get_logger
from izin.streams.engine import static_member
from izin.streams.engine.static_member import StaticMember

RELIES_ON = (
    *static_member.RELIES_ON,
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_start",
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_thread_stop",
    "faust.transport.drivers.aiokafka:Producer.on_start",
)
"""Overridden here; a test checks each."""

_PAUSE = 1.0
_STOPPED_WITHIN = 1.0
"""Seconds: a consumer that is just about to join its group again waits for all of it first."""

_log = get_logger(__name__)


class PatientConsumerThread(driver.AIOKafkaConsumerThread):
    """The driver's consumer, which waits for a broker."""

    member: StaticMember | None = None

    async def on_start(self) -> None:
        """Connect as soon as a broker answers, or the worker ends."""
        is_reported = False
        while not self.should_stop:
            try:
                await super().on_start()
            except KafkaConnectionError as error:
                await self._consumer.stop()
                if not is_reported:
                    _log.critical("Kafka not reached", error=str(error), effect="it is waited for")
                    is_reported = True
                await self.sleep(_PAUSE)
            else:
                coordinator = self._consumer._coordinator  # noqa: SLF001  # made by its start
                if (name := coordinator._group_instance_id) is not None:  # noqa: SLF001  # the same
                    self.member = StaticMember(name)
                    self.member.watch(coordinator)
                return

    async def on_thread_stop(self) -> None:
        """Stop the consumer, in time."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_STOPPED_WITHIN):
                await super().on_thread_stop()


class NoProducer(driver.Producer):
    """Faust's producer, with which nothing is sent."""

    async def on_start(self) -> None:
        """Connect to nothing."""
