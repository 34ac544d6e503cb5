"""An installation to measure: topics of its own, on a new broker or an existing one."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated
from uuid import uuid4

import typer

from benchmarks.order.broker import QUIET, delete_topics
from benchmarks.results import progress
from izin.kafka.clients import ensure_topics
from izin.local import Kafka
from izin.runtime.settings import KafkaSettings

RecipientsOption = Annotated[int, typer.Option(min=1, help="Recipients, by Zipf's law.")]
PartitionsOption = Annotated[int, typer.Option(min=1, help="Partitions of every topic.")]
BrokerOption = Annotated[
    str | None, typer.Option(help="A broker to use instead of one of our own.")
]


@contextmanager
def measuring(
    partitions: int, bootstrap_servers: str | None
) -> Iterator[tuple[KafkaSettings, Path, Callable[[str], None]]]:
    """Yield an installation, a folder of its own that is gone at the end, and what shows
    progress.
    """
    with (
        TemporaryDirectory(prefix="izin-bench-") as name,
        progress().status("starting") as status,
        installation(
            Path(name), partitions=partitions, bootstrap_servers=bootstrap_servers
        ) as settings,
    ):
        yield settings, Path(name), status.update


@contextmanager
def installation(
    folder: Path, *, partitions: int, bootstrap_servers: str | None = None
) -> Iterator[KafkaSettings]:
    """Yield the settings of an installation with its topics, under a unique prefix.

    They are deleted from an existing broker; a new broker is stopped.
    """
    if bootstrap_servers is None:
        with Kafka(folder, heap="1g", java_options=()) as broker:
            yield _created(broker.bootstrap_servers, partitions)
        return
    settings = _created(bootstrap_servers, partitions)
    try:
        yield settings
    finally:
        delete_topics(settings, {topic.name for topic in settings.topics})


def recreate_topics(settings: KafkaSettings) -> None:
    """Delete and create every topic but the lane that holds the events; raises KafkaException."""
    lane = settings.topics.events.name
    delete_topics(settings, {topic.name for topic in settings.topics} - {lane})
    ensure_topics(settings)


def recreate_positions(settings: KafkaSettings) -> None:
    """Delete and create the topic of positions, so that all events are decided again; raises
    KafkaException.
    """
    delete_topics(settings, {settings.topics.positions.name})
    ensure_topics(settings)


def _created(bootstrap_servers: str, partitions: int) -> KafkaSettings:
    settings = KafkaSettings(
        bootstrap_servers=bootstrap_servers,
        registry_url=None,
        topic_prefix=f"bench-{uuid4().hex[:8]}-",
        partitions=partitions,
        client_log_level=QUIET,
    )
    ensure_topics(settings)
    return settings
