"""The broker's side of the order race: the course published, one lap run and timed.

The clock of a lap starts when a tenth of the foreseen output can be read (so start-up, joining the
group and a JIT's first steps are nobody's time) and stops when the row of the last record of every
partition can be read with ``read_committed``. Speed and CPU are those of the nine tenths between.
CPU is that of the runner's processes alone, user and system, as ``/proc`` counts it; the broker and
this process are not in it. A runner is ended by its ids, whatever happened.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import NewTopic, OffsetSpec
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from benchmarks.order.contenders.registry import ROOT
from benchmarks.order.contenders.task import Task
from benchmarks.order.timer import LapError, timed
from benchmarks.order.verify_output import outcome, read_back
from izin.local.child import Child, Command
from izin.runtime import kafka

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from confluent_kafka.admin import AdminClient

    from benchmarks.order.contenders.registry import Runner
    from benchmarks.order.dataset import Course, Foreseen
    from benchmarks.order.timer import Run
    from izin.runtime.settings import KafkaSettings

_EVERY = 0.05
_TIMEOUT = 15.0
_AT_THE_END = 4
"""The last record of a partition stands in its last few offsets, before a transaction marker."""
_LOOK_WITHIN = 2.0
_STOP_WITHIN = timedelta(seconds=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """A course that lies in a topic."""

    settings: KafkaSettings
    events: int
    foreseen: Foreseen


def publish(course: Course, settings: KafkaSettings) -> Published:
    """Write the course to ``consent-events`` of an installation of its own."""
    kafka.ensure_topics(settings)
    producer = kafka.producer(
        settings, **{"linger.ms": 20, "queue.buffering.max.messages": 200_000}
    )
    failures: list[str] = []
    for item in course.records():
        while len(producer) > 100_000:  # noqa: PLR2004 - half of the queue
            producer.poll(0.01)
        producer.produce(
            settings.topics.events.name,
            partition=item.partition,
            key=item.key,
            value=item.value,
            headers=item.headers,
            on_delivery=lambda error, _: failures.append(error.str()) if error else None,
        )
    if producer.flush(_TIMEOUT) or failures:
        raise LapError(f"the course cannot be published: {failures[:1]}")
    return Published(settings=settings, events=course.shape.events, foreseen=course.foreseen)


def run_lap(  # noqa: PLR0913 - what a lap is made of
    runner: Runner,
    command: Sequence[str],
    course: Published,
    *,
    lap: str,
    folder: Path,
    limit: timedelta,
    check: bool,
) -> Run:
    """Run ``runner`` over ``course`` on fresh topics and time it; raises LapError.

    With ``check`` its output is read back once the clock has stopped.
    """
    settings = course.settings
    app = f"{settings.topic_prefix}{lap}"
    output = runner.output(settings, app)
    _clear(settings, app, output)
    _make(settings, output)
    task = Task(
        bootstrap_servers=settings.bootstrap_servers,
        prefix=settings.topic_prefix,
        events=settings.topics.events.name,
        output=output,
        app=app,
        folder=str(folder / lap),
        partitions=str(settings.partitions),
    )
    Path(task.folder).mkdir(parents=True, exist_ok=True)
    children = [
        Child(
            Command(
                name=runner.name,
                argv=(*command, *task),
                folder=ROOT,
                log=folder / f"{lap}-{number}.log",
                stop_within=_STOP_WITHIN,
            )
        )
        for number in range(runner.processes)
    ]
    line = FinishingLine(
        settings, output, foreseen=runner.foreseen(course.foreseen), last=course.foreseen.last
    )
    try:
        for child in children:
            child.start()
        run = timed(
            children,
            lambda: (line.look(), line.share),
            events=course.events,
            limit=limit,
            what="output",
        )
        if check:
            _stop(children)
            run = replace(run, outcome=outcome(read_back(settings, output, line.ends)))
        return run
    finally:
        _stop(children)
        line.close()
        _clear(settings, app, output)


def _stop(children: Sequence[Child]) -> None:
    for child in children:
        child.stop()


class FinishingLine:
    """Watches the committed end of an output topic."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        foreseen: Mapping[int, int],
        last: Mapping[int, bytes],
    ) -> None:
        self._topic = topic
        self._foreseen = foreseen
        self._last = last
        self._admin = kafka.admin(settings)
        self._reader: Consumer = kafka.consumer(
            settings, "bench-line", **{"enable.partition.eof": True}
        )
        self.ends: dict[int, int] = {}
        """The committed end of each partition, as it was last seen."""
        self._over: set[int] = set()

    @property
    def share(self) -> float:
        """How much of what must come has come."""
        return sum(self.ends.values()) / sum(self._foreseen.values())

    def look(self) -> bool:
        """Ask where the output ends, and tell whether all of it is there."""
        places = {
            TopicPartition(self._topic, number): OffsetSpec.latest() for number in self._foreseen
        }
        asked = self._admin.list_offsets(
            places, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT
        )
        for place, future in asked.items():
            try:
                self.ends[place.partition] = future.result().offset
            except KafkaException:
                # A new topic has no leader for a moment; the lap's limit bounds every other fault.
                continue
        for number, end in self.ends.items():
            # Nothing is read before as much as must come is there, so looking costs nothing.
            if number not in self._over and end >= self._foreseen[number] and self._is_last(number):
                self._over.add(number)
        return len(self._over) == len(self._foreseen)

    def _is_last(self, number: int) -> bool:
        start = max(0, self.ends[number] - _AT_THE_END)
        self._reader.assign([TopicPartition(self._topic, number, start)])
        until = time.monotonic() + _LOOK_WITHIN
        while time.monotonic() < until:
            message = self._reader.poll(_EVERY)
            if message is None:
                continue
            if message.error() is not None:
                return False
            if message.key() == self._last[number]:
                return True
        return False

    def close(self) -> None:
        """Let go of the client."""
        self._reader.close()


def withdraw(course: Published) -> None:
    """Delete the topics of the course."""
    delete(course.settings, {topic.name for topic in course.settings.topics})


def _clear(settings: KafkaSettings, app: str, output: str) -> None:
    """Delete what earlier laps wrote, ``output``, and whatever ``app`` made for itself."""
    # By name where the name is known: a listing may not have heard yet of what is new.
    ours = {topic.name for topic in settings.topics} - {settings.topics.events.name}
    listed = kafka.admin(settings).list_topics(timeout=_TIMEOUT).topics
    delete(settings, ours | {output} | {name for name in listed if app in name})


def delete(settings: KafkaSettings, topics: set[str]) -> None:
    """Delete those of ``topics`` that are there, and wait until the broker names them no more: who
    makes them anew would be told that they are there; raises KafkaException.
    """
    admin = kafka.admin(settings)
    for future in admin.delete_topics(list(topics), operation_timeout=_TIMEOUT).values():
        try:
            future.result(_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    _await_gone(admin, topics)


@retry(
    retry=retry_if_result(bool),
    stop=stop_after_delay(_TIMEOUT),
    wait=wait_fixed(_EVERY),
    retry_error_callback=lambda _: None,
)
def _await_gone(admin: AdminClient, topics: set[str]) -> set[str]:
    return topics & set(admin.list_topics(timeout=_TIMEOUT).topics)


def _make(settings: KafkaSettings, output: str) -> None:
    kafka.ensure_topics(settings)
    if output in {topic.name for topic in settings.topics}:
        return
    admin = kafka.admin(settings)
    wanted = NewTopic(output, num_partitions=settings.partitions, replication_factor=1)
    for future in admin.create_topics([wanted], operation_timeout=_TIMEOUT).values():
        future.result(_TIMEOUT)
