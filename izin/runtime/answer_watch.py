"""Whether a server answers: asked all the time, said once when it stops and once when it is back.

The clients of a process reconnect by themselves and log each attempt; a person, and whatever
restarts or routes around a process, needs one answer.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping

from izin.runtime.observe import get_logger

TIMEOUT = 3.0
"""Seconds that a server has to answer."""

_INTERVAL = 2.0
_AWAY_AFTER = 6.0
"""Seconds without an answer: two requests that were lost, and below the ten in which readiness must
turn."""

_log = get_logger(__name__)


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
            seconds = round(now - self._answered_at)
            _log.warning(f"{self._name} reachable again", seconds=seconds)
        self._answered_at = now
