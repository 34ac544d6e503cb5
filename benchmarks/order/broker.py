"""Create and delete topics, publish the dataset, and watch an output on the broker."""

import time
from collections.abc import Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec
from tenacity import retry, retry_if_result, stop_after_delay, wait_fixed

from benchmarks.order.dataset import Dataset, ExpectedOutput
from benchmarks.order.timer import TrialError
from izin.runtime import kafka, topic_admin
from izin.runtime.settings import KafkaSettings

QUIET = 2
"""The syslog level for librdkafka: a process that is ended breaks its connections."""

_INTERVAL = 0.05
_TIMEOUT = 15.0
_TAIL = 4
"""The last record of a partition is in its last few offsets, before a transaction marker."""
_READ_WITHIN = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDataset:
    """A dataset in a topic."""

    settings: KafkaSettings
    events: int
    expected: ExpectedOutput


def publish(dataset: Dataset, settings: KafkaSettings) -> PublishedDataset:
    """Write the dataset to the bulk lane of an installation; raises TrialError."""
    topic_admin.ensure_topics(settings)
    producer = kafka.producer(
        settings, **{"linger.ms": 20, "queue.buffering.max.messages": 200_000}
    )
    failures: list[str] = []
    for record in dataset.records():
        while len(producer) > 100_000:  # noqa: PLR2004 - half of the queue
            producer.poll(0.01)
        producer.produce(
            settings.topics.events.name,
            partition=record.partition,
            key=record.key,
            value=record.value,
            headers=record.headers,
            on_delivery=lambda error, _: failures.append(error.str()) if error else None,
        )
    if producer.flush(_TIMEOUT) or failures:
        raise TrialError(f"the dataset cannot be published: {failures[:1]}")
    return PublishedDataset(
        settings=settings, events=dataset.shape.events, expected=dataset.expected
    )


def delete_dataset(dataset: PublishedDataset) -> None:
    """Delete every topic of the dataset's installation."""
    delete_topics(dataset.settings, {topic.name for topic in dataset.settings.topics})


def delete_output(settings: KafkaSettings, app: str, output: str) -> None:
    """Delete the topic ``output`` of earlier trials, and the topics that ``app`` created."""
    # By name where it is known: a listing may lack new topics.
    ours = {topic.name for topic in settings.topics} - {settings.topics.events.name}
    listed = kafka.admin(settings).list_topics(timeout=_TIMEOUT).topics
    delete_topics(settings, ours | {output} | {name for name in listed if app in name})


def delete_topics(settings: KafkaSettings, topics: set[str]) -> None:
    """Delete those of ``topics`` that exist; raises KafkaException.

    Returns once the broker no longer lists them: until then none could be created again.
    """
    admin = kafka.admin(settings)
    for future in admin.delete_topics(list(topics), operation_timeout=_TIMEOUT).values():
        try:
            future.result(_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    _await_deleted(admin, topics)


@retry(
    retry=retry_if_result(bool),
    stop=stop_after_delay(_TIMEOUT),
    wait=wait_fixed(_INTERVAL),
    retry_error_callback=lambda _: None,
)
def _await_deleted(admin: AdminClient, topics: set[str]) -> set[str]:
    return topics & set(admin.list_topics(timeout=_TIMEOUT).topics)


def create_output(settings: KafkaSettings, output: str) -> None:
    """Create the installation's topics and ``output``; raises BrokerError, KafkaException."""
    topic_admin.ensure_topics(settings)
    if output in {topic.name for topic in settings.topics}:
        return
    admin = kafka.admin(settings)
    wanted = NewTopic(output, num_partitions=settings.partitions, replication_factor=1)
    for future in admin.create_topics([wanted], operation_timeout=_TIMEOUT).values():
        future.result(_TIMEOUT)


class OutputWatcher:
    """Watches the committed end of an output topic until everything expected is there."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        expected: Mapping[int, int],
        last: Mapping[int, bytes],
    ) -> None:
        self._topic = topic
        self._expected = expected
        self._last = last
        self._admin = kafka.admin(settings)
        self._reader: Consumer = kafka.consumer(
            settings, "bench-watcher", **{"enable.partition.eof": True}
        )
        self.ends: dict[int, int] = {}
        """The committed end of each partition, as last polled."""
        self._complete: set[int] = set()

    def poll(self) -> tuple[bool, float]:
        """Return whether all of the output can be read, and the share of it that is written."""
        places = {
            TopicPartition(self._topic, number): OffsetSpec.latest() for number in self._expected
        }
        asked = self._admin.list_offsets(
            places, isolation_level=IsolationLevel.READ_COMMITTED, request_timeout=_TIMEOUT
        )
        for place, future in asked.items():
            try:
                self.ends[place.partition] = future.result().offset
            except KafkaException:
                # A new topic has no leader for a moment; the trial's limit bounds other faults.
                continue
        for number, end in self.ends.items():
            # Nothing is read before enough records exist, so polling costs nothing.
            is_enough = number not in self._complete and end >= self._expected[number]
            if is_enough and self._has_last(number):
                self._complete.add(number)
        share = sum(self.ends.values()) / sum(self._expected.values())
        return len(self._complete) == len(self._expected), share

    def _has_last(self, number: int) -> bool:
        start = max(0, self.ends[number] - _TAIL)
        self._reader.assign([TopicPartition(self._topic, number, start)])
        until = time.monotonic() + _READ_WITHIN
        while time.monotonic() < until:
            message = self._reader.poll(_INTERVAL)
            if message is None:
                continue
            if message.error() is not None:
                return False
            if message.key() == self._last[number]:
                return True
        return False

    def close(self) -> None:
        """Close the client."""
        self._reader.close()
