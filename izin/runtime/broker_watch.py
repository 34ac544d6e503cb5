"""Whether Kafka answers requests for its metadata."""

import time
from collections.abc import Callable

from confluent_kafka import KafkaException

from izin.runtime import kafka
from izin.runtime.answer_watch import TIMEOUT, AnswerWatch
from izin.runtime.daemon_thread import in_daemon_thread
from izin.runtime.settings import KafkaSettings


class BrokerWatch(AnswerWatch):
    """Asks Kafka for its metadata."""

    def __init__(
        self, settings: KafkaSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__("kafka", clock, address=settings.bootstrap_servers)
        self._admin = kafka.admin(settings)

    async def _request(self) -> str | None:
        try:
            await in_daemon_thread(self._list_topics, name="broker-watch")
        except KafkaException as error:
            reason: str = error.args[0].str()
            return reason
        return None

    def _list_topics(self) -> None:
        try:
            self._admin.list_topics(timeout=TIMEOUT)
        finally:
            self._admin.poll(0)  # hands over its log, which grows until then
