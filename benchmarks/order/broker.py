"""Create and delete topics, publish the dataset, and watch an output on the broker."""

import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from confluent_kafka import Consumer, IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic, OffsetSpec

from benchmarks.order.dataset import Dataset, ExpectedOutput
from benchmarks.order.timer import TrialError
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings

QUIET = 2
"""The syslog level for librdkafka: a process that is ended breaks its connections."""

_INTERVAL = 0.05
_TIMEOUT = 15.0
_TAIL = 20_000
"""The last rows of a partition are within so many of its end: threads of a contender that share it
write it out of the input's order.
"""
_READ_AT_ONCE = 5000


@dataclass(frozen=True, slots=True, kw_only=True)
class PublishedDataset:
    """A dataset in a topic."""

    settings: KafkaSettings
    events: int
    expected: ExpectedOutput


def publish(dataset: Dataset, settings: KafkaSettings) -> PublishedDataset:
    """Write the dataset to the bulk lane of an installation; raises TrialError."""
    clients.ensure_topics(settings)
    producer = clients.producer(
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
    listed = clients.admin(settings).list_topics(timeout=_TIMEOUT).topics
    delete_topics(settings, ours | {output} | {name for name in listed if app in name})


def delete_topics(settings: KafkaSettings, topics: set[str]) -> None:
    """Delete those of ``topics`` that exist; raises KafkaException.

    Returns once the broker no longer lists them: until then none could be created again.
    """
    admin = clients.admin(settings)
    for future in admin.delete_topics(list(topics), operation_timeout=_TIMEOUT).values():
        try:
            future.result(_TIMEOUT)
        except KafkaException as error:
            if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                raise
    _await_deleted(admin, topics)


def _await_deleted(admin: AdminClient, topics: set[str]) -> None:
    limit = time.monotonic() + _TIMEOUT
    while topics & set(admin.list_topics(timeout=_TIMEOUT).topics) and time.monotonic() < limit:
        time.sleep(_INTERVAL)  # the broker deletes with a delay, and wakes nobody


def create_output(settings: KafkaSettings, output: str) -> None:
    """Create the installation's topics and ``output``; raises BrokerError, KafkaException."""
    clients.ensure_topics(settings)
    if output in {topic.name for topic in settings.topics}:
        return
    admin = clients.admin(settings)
    wanted = NewTopic(output, num_partitions=settings.partitions, replication_factor=1)
    for future in admin.create_topics([wanted], operation_timeout=_TIMEOUT).values():
        future.result(_TIMEOUT)


class OutputWatcher:
    """Watches the committed end of an output topic until everything expected can be read."""

    def __init__(
        self,
        settings: KafkaSettings,
        topic: str,
        *,
        expected: Mapping[int, int],
        last: Mapping[int, Collection[bytes]],
    ) -> None:
        self._topic = topic
        self._expected = expected
        self._missing = {number: set(keys) for number, keys in last.items()}
        self._admin = clients.admin(settings)
        self._reader: Consumer = clients.consumer(settings, "bench-watcher")
        self.ends: dict[int, int] = {}
        """The committed end of each partition, as last polled."""
        self._tails: set[int] = set()
        """The partitions whose last rows are being read."""

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
        self._read_tails()
        share = sum(self.ends.values()) / sum(self._expected.values())
        is_enough = all(self.ends.get(number, 0) >= rows for number, rows in self._expected.items())
        return is_enough and not any(self._missing.values()), min(share, 1.0)

    def _read_tails(self) -> None:
        """Look for the last rows; nothing is read before their place, so polling costs nothing."""
        for number, rows in self._expected.items():
            start = max(0, rows - _TAIL)
            if number not in self._tails and self.ends.get(number, 0) >= start:
                self._tails.add(number)
                self._reader.incremental_assign([TopicPartition(self._topic, number, start)])
        while self._tails and (messages := self._reader.consume(_READ_AT_ONCE, 0)):
            for message in messages:
                if message.error() is None:
                    self._missing[message.partition() or 0].discard(message.key() or b"")

    def close(self) -> None:
        """Close the client."""
        self._reader.close()
