"""Look at both lanes as a whole: how much of them nobody decides, and what holds them back.

A worker knows its own partitions alone, and of one that it could not acquire not even the end. So
the ends of all partitions are compared with the positions in ``order-positions``, whoever owns
them: whoever decides nothing anywhere shows a lag all the same.

A lane is read up to the first transaction that has not ended. Another producer's, left open, holds
back every opt-out behind it; where it stands for some seconds, a person is told how to end it.
"""

import asyncio
import time
from collections.abc import Callable, Collection, Mapping
from contextlib import closing

from confluent_kafka import IsolationLevel, KafkaException
from confluent_kafka.admin import OffsetSpec

from izin.runtime import kafka
from izin.runtime.daemon_thread import in_daemon_thread
from izin.runtime.errors import BrokerError
from izin.runtime.observe import get_logger
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_identity import offsets
from izin.schemas.codec import Codec
from izin.streams.engine.gate import Lane
from izin.streams.ownership.positions import DecidedOffsets

HELD_AFTER = 5.0
"""For so many seconds a transaction may be open: those of common clients take less than one."""
_INTERVAL = 2.0

_log = get_logger(__name__)


class LaneWatch:
    """Compares ends, positions and last stable offsets of all partitions of ``lanes``.

    ``next_offset`` is what the worker itself has decided of a lane, which positions follow a moment
    later.
    """

    def __init__(
        self,
        settings: KafkaSettings,
        codec: Codec,
        *,
        next_offset: Callable[[str, int], int | None] = lambda _topic, _number: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.ends: Mapping[Lane, int] = {}
        """The end of each partition, behind transactions that have not ended."""
        self._settings = settings
        self._codec = codec
        self._next_offset = next_offset
        self._clock = clock
        self._lanes = [settings.topics.events.name, settings.topics.express.name]
        self._admin = kafka.admin(settings)
        self._decided: Mapping[Lane, int] = {}
        self._stable: dict[Lane, tuple[int, float]] = {}
        """Of each partition with an open transaction: its offset, and since when it stands."""
        self._reported: dict[Lane, int] = {}

    def lag(self, topic: str) -> int:
        """Return how many records of a lane are not decided, of all partitions."""
        return sum(
            max(0, end - max(self._decided.get(lane, 0), self._next_offset(*lane) or 0))
            for lane, end in self.ends.items()
            if lane[0] == topic
        )

    def held_for(self, topic: str) -> float:
        """Return for how many seconds the oldest open transaction of a lane stands."""
        now = self._clock()
        standing = [now - since for lane, (_, since) in self._stable.items() if lane[0] == topic]
        return max(standing, default=0.0)

    def faults(self, numbers: Collection[int]) -> Mapping[str, str]:
        """Return what is held back of the partitions of these ``numbers``, with the remedy."""
        return {
            f"{topic}[{number}]": f"an open transaction at offset {at} holds back what follows; "
            f"end it: {self._command(topic, number, at)}"
            for (topic, number), at in self._held().items()
            if number in numbers
        }

    async def run(self, assigned: Callable[[], Collection[int]]) -> None:
        """Look every two seconds until cancelled, and alert for the ``assigned`` partitions."""
        with closing(DecidedOffsets(self._settings, self._codec)) as decided:
            while True:
                try:
                    await in_daemon_thread(lambda: self.look(decided), name="lane-watch")
                except (KafkaException, BrokerError) as error:
                    _log.debug("lanes not read", error=str(error))
                self.report(assigned())
                await asyncio.sleep(_INTERVAL)

    def look(self, decided: DecidedOffsets) -> None:
        """Read ends and positions once; raises KafkaException, BrokerError."""
        at, numbers, latest = decided.read(), range(self._settings.partitions), OffsetSpec.latest()
        ends: dict[Lane, int] = {}
        firsts: dict[Lane, int] = {}
        for topic in self._lanes:
            stable = offsets(
                self._admin, topic, numbers, latest, isolation=IsolationLevel.READ_COMMITTED
            )
            starts = offsets(self._admin, topic, numbers, OffsetSpec.earliest())
            for number, end in offsets(self._admin, topic, numbers, latest).items():
                ends[topic, number], firsts[topic, number] = end, starts[number]
                self._note((topic, number), stable[number], end)
        self._decided = {lane: max(at.get(lane, 0), first) for lane, first in firsts.items()}
        self.ends = ends

    def report(self, numbers: Collection[int]) -> None:
        """Alert once for each transaction that holds back one of the partitions ``numbers``."""
        held = {lane: at for lane, at in self._held().items() if lane[1] in numbers}
        for (topic, number), at in held.items():
            if self._reported.get((topic, number)) != at:
                _log.critical(
                    "lane held back by an open transaction",
                    topic=topic,
                    partition=number,
                    offset=at,
                    effect="opt-outs behind it are not decided; the gate closes meanwhile",
                    remedy=self._command(topic, number, at),
                )
        self._reported = held

    def _note(self, lane: Lane, stable: int, end: int) -> None:
        known = self._stable.pop(lane, None)
        if stable < end:
            stands = known is not None and known[0] == stable
            self._stable[lane] = known if known and stands else (stable, self._clock())

    def _held(self) -> dict[Lane, int]:
        """Return where transactions stand that have been open for too long."""
        now = self._clock()
        standing = tuple(self._stable.items())
        return {lane: at for lane, (at, since) in standing if now - since >= HELD_AFTER}

    def _command(self, topic: str, number: int, at: int) -> str:
        servers = self._settings.bootstrap_servers
        return (
            f"kafka-transactions.sh --bootstrap-server {servers} abort --topic {topic} "
            f"--partition {number} --start-offset {at}"
        )
