"""Whether Kafka answers: asked all the time, said once when it stops and once when it is back.

The clients of a process reconnect by themselves and log each attempt; a person, and whatever
restarts or routes around a process, needs one answer.
"""

import asyncio
import time
from collections.abc import Callable

from confluent_kafka import KafkaException

from izin.runtime import kafka
from izin.runtime.daemon_thread import in_daemon_thread
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings

_INTERVAL = 2.0
_TIMEOUT = 3.0
_AWAY_AFTER = 6.0
"""Seconds without an answer: two requests that were lost, and below the ten in which readiness must
turn."""

_log = get_logger(__name__)


class BrokerWatch:
    """Asks Kafka for its metadata every two seconds."""

    def __init__(
        self, settings: KafkaSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._servers = settings.bootstrap_servers
        self._admin = kafka.admin(settings)
        self._clock = clock
        self._answered_at = clock()
        self._is_away = False

    @property
    def is_reachable(self) -> bool:
        """Whether Kafka answered in the last six seconds."""
        return self._clock() - self._answered_at < _AWAY_AFTER

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(_INTERVAL)

    async def ask(self) -> None:
        """Ask once, and log a change."""
        try:
            await in_daemon_thread(self._request, name="broker-watch")
        except KafkaException as error:
            self._note_silence(error)
        else:
            self._note_answer()

    def _request(self) -> None:
        self._admin.list_topics(timeout=_TIMEOUT)

    def _note_silence(self, error: KafkaException) -> None:
        if not self._is_away and not self.is_reachable:
            self._is_away = True
            _log.error("kafka unreachable", servers=self._servers, error=error.args[0].str())

    def _note_answer(self) -> None:
        now = self._clock()
        if self._is_away:
            self._is_away = False
            _log.warning("kafka reachable again", seconds=round(now - self._answered_at))
        self._answered_at = now
