"""How Faust's driver connects when it starts: a broker that is away then ends no worker.

The driver gives up at its first attempt, and Faust with it. A worker that starts while its broker
restarts would end, though it would only have had to wait.
"""

from aiokafka.errors import KafkaConnectionError
from faust.transport.drivers import aiokafka as driver

from izin.runtime.observe import get_logger

RELIES_ON = (
    "faust.transport.drivers.aiokafka:AIOKafkaConsumerThread.on_start",
    "faust.transport.drivers.aiokafka:Producer.on_start",
)
"""Overridden here; a test checks each."""

_PAUSE = 1.0

_log = get_logger(__name__)


class PatientConsumerThread(driver.AIOKafkaConsumerThread):
    """The driver's consumer, which waits for a broker."""

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
                return


class NoProducer(driver.Producer):
    """Faust's producer, with which nothing is sent."""

    async def on_start(self) -> None:
        """Connect to nothing."""
