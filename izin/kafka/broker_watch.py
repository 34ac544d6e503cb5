"""Whether a server answers: asked all the time, said once when it stops and once when it is back.

The clients of a process reconnect by themselves and log each attempt; a person, and whatever
restarts or routes around a process, needs one answer. :class:`BrokerWatch` asks Kafka for its
metadata.
"""

import asyncio
import time
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Mapping

from confluent_kafka import KafkaError, KafkaException

from izin.kafka import clients
from izin.kafka.connections import cause_among
from izin.runtime.logs import get_logger
from izin.runtime.process import in_daemon_thread
from izin.runtime.settings import KafkaSettings

TIMEOUT = 3.0
"""Seconds that a server has to answer."""

_INTERVAL = 2.0
_AWAY_AFTER = 6.0
"""Seconds without an answer: two requests that were lost, and below the ten in which readiness must
turn."""

_log = get_logger(__name__)
_REMEMBERED = 16


class AnswerWatch(ABC):
    """Asks a server every two seconds."""

    def __init__(self, name: str, clock: Callable[[], float], *, address: str = "") -> None:
        self._name = name
        self._about = {"servers": address} if address else {}
        self._clock = clock
        self._answered_at = clock()
        self._is_away = False
        self._is_urgent = False
        """Whether a person must know that it is away."""
        self._was_urgent = False

    @property
    def is_reachable(self) -> bool:
        """Whether it answered in the last six seconds."""
        return self._clock() - self._answered_at < _AWAY_AFTER

    def faults(self) -> Mapping[str, str]:
        """Return what is wrong with it now, by its name; nothing if it answers."""
        return {} if self.is_reachable else {self._name: "does not answer"}

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            await self.ask()
            await asyncio.sleep(_INTERVAL)

    async def ask(self) -> None:
        """Ask once, and log a change."""
        error = await self._request()
        if error is None:
            self._note_answer()
        else:
            self._note_silence(error)

    @abstractmethod
    async def _request(self) -> str | None:
        """Ask the server; return the reason if it does not answer in time."""

    def _note_silence(self, error: str) -> None:
        is_known = self._is_away and self._was_urgent >= self._is_urgent
        if not is_known and not self.is_reachable:
            self._is_away, self._was_urgent = True, self._is_urgent
            log = _log.critical if self._is_urgent else _log.error
            log(f"{self._name} unreachable", error=error, **self._about)

    def _note_answer(self) -> None:
        now = self._clock()
        if self._is_away:
            self._is_away = False
            _log.warning(f"{self._name} reachable again", seconds=round(now - self._answered_at))
        self._answered_at = now


class BrokerWatch(AnswerWatch):
    """Asks Kafka for its metadata."""

    def __init__(
        self, settings: KafkaSettings, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__("kafka", clock, address=settings.bootstrap_servers)
        self._settings = settings
        self._errors = deque[KafkaError](maxlen=_REMEMBERED)
        """Since the last answer; librdkafka reports the same one only once in half a minute."""
        self._admin = clients.admin(settings, error_cb=self._errors.append)

    async def _request(self) -> str | None:
        try:
            await in_daemon_thread(self._list_topics, name="broker-watch")
        except KafkaException as error:
            cause = cause_among(list(self._errors))
            return clients.reason(self._settings, cause or error.args[0])
        self._errors.clear()
        return None

    def _list_topics(self) -> None:
        try:
            self._admin.list_topics(timeout=TIMEOUT)
        finally:
            self._admin.poll(0)  # hands over its log and its errors, which grow until then
