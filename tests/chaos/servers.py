"""Kafka, PostgreSQL and İYS of a campaign's own, which its faults restart."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from izin.local import Kafka, Postgres, free_port
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from tests.chaos.order.brokers import BrokerCluster
from tests.chaos.order.network import Network
from tests.support.simulator import SimulatorAdmin, running_simulator


@dataclass(frozen=True, slots=True, kw_only=True)
class CampaignServers:
    """How the servers are reached, and what restarts each under the same port."""

    settings: KafkaSettings
    database_url: str
    simulator: SimulatorAdmin
    folder: Path
    """Of data and logs."""
    restart_broker: Callable[[], None]
    restart_database: Callable[[], None]


@contextmanager
def running_servers(
    folder: Path,
    *,
    partitions: int,
    network: Network | None = None,
    **broker: Any,  # noqa: ANN401  # as Kafka takes them
) -> Iterator[CampaignServers]:
    """Run all three, with data in ``folder`` and every topic; ``broker`` is how Kafka's Java is
    run. Over a ``network`` the broker is reached by who can be cut off, and killed, not stopped.
    """
    with (
        _brokers(folder, network, broker) as (bootstrap_servers, restart_broker),
        Postgres(folder, port=free_port()) as postgres,
        running_simulator(folder) as simulator,
    ):
        settings = KafkaSettings(bootstrap_servers=bootstrap_servers, partitions=partitions)
        ensure_topics(settings)

        def restart_database() -> None:
            postgres.stop()
            postgres.start()

        yield CampaignServers(
            settings=settings,
            database_url=postgres.url,
            simulator=simulator,
            folder=folder,
            restart_broker=restart_broker,
            restart_database=restart_database,
        )


@contextmanager
def _brokers(
    folder: Path, network: Network | None, options: dict[str, Any]
) -> Iterator[tuple[str, Callable[[], None]]]:
    if network is None:
        with Kafka(folder, free_port(), **options) as kafka:

            def restart() -> None:
                kafka.stop()
                kafka.start()

            yield kafka.bootstrap_servers, restart
        return
    with BrokerCluster(folder, 1, network) as cluster:
        (broker,) = cluster.brokers.values()

        def kill() -> None:
            broker.kill()
            broker.start()

        yield cluster.bootstrap_servers, kill
