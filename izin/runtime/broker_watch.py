"""Whether Kafka answers requests for its metadata."""

import time
from collections import deque
from collections.abc import Callable

from confluent_kafka import KafkaError, KafkaException

from izin.runtime import kafka
from izin.runtime.answer_watch import TIMEOUT, AnswerWatch
from izin.runtime.broker_faults import cause_among
from izin.runtime.daemon_thread import in_daemon_thread
from izin.runtime.settings import KafkaSettings

_REMEMBERED = 16


class BrokerWatch(AnswerWatch):
    """Asks Kafka for its metadata."""

    def __init__(
        self, settings: KafkaSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__("kafka", clock, address=settings.bootstrap_servers)
        self._settings = settings
        self._errors = deque[KafkaError](maxlen=_REMEMBERED)
        """Since the last answer; librdkafka reports the same one only once in half a minute."""
        self._admin = kafka.admin(settings, error_cb=self._errors.append)

    async def _request(self) -> str | None:
        try:
            await in_daemon_thread(self._list_topics, name="broker-watch")
        except KafkaException as error:
            cause = cause_among(list(self._errors))
            return kafka.reason(self._settings, cause or error.args[0])
        self._errors.clear()
        return None

    def _list_topics(self) -> None:
        try:
            self._admin.list_topics(timeout=TIMEOUT)
        finally:
            self._admin.poll(0)  # hands over its log and its errors, which grow until then
