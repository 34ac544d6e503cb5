"""Kafka and PostgreSQL of a campaign's own, which its faults restart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from izin.local import Kafka, Postgres, free_port
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignServers:
    """How the servers are reached, and what restarts each under the same port."""

    settings: KafkaSettings
    database_url: str
    restart_broker: Callable[[], None]
    restart_database: Callable[[], None]


@contextmanager
def running_servers(
    folder: Path,
    *,
    partitions: int,
    **broker: Any,  # noqa: ANN401  # as Kafka takes them
) -> Iterator[CampaignServers]:
    """Run both, with data in ``folder`` and every topic; ``broker`` is how Kafka's Java is run."""
    with (
        Kafka(folder, free_port(), **broker) as kafka,
        Postgres(folder, port=free_port()) as postgres,
    ):
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=partitions)
        ensure_topics(settings)
        yield CampaignServers(
            settings=settings,
            database_url=postgres.url,
            restart_broker=restarting(kafka),
            restart_database=restarting(postgres),
        )


def restarting(server: Kafka | Postgres) -> Callable[[], None]:
    """Return what stops a server and starts it again."""

    def restart() -> None:
        server.stop()
        server.start()

    return restart
