"""What happens to one partition, or to the broker, stops no worker and no other partition."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import Producer

from izin.local.kafka import Kafka
from izin.runtime import kafka
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from tests.chaos.order.brokers import BrokerCluster
from tests.support.order.harness import CODEC
from tests.support.order.traffic import Traffic
from tests.support.order.verdict import backlog, examine
from tests.support.order.workers import Worker, all_held, until

pytestmark = pytest.mark.broker
PARTITIONS = 4
STUCK = 2


class PatientKafka(Kafka):
    """A broker whose transactions may be open for as long as Kafka's own limit lets them."""

    def _settings(self, port: int) -> Mapping[str, object]:
        return {**super()._settings(port), "transaction.max.timeout.ms": 900_000}


@pytest.fixture
def hanging(tmp_path: Path) -> Iterator[tuple[KafkaSettings, Producer]]:
    """Yield topics, and a transaction in a partition of ``desired-consents`` that hangs."""
    with PatientKafka(tmp_path) as server:
        settings = KafkaSettings(
            bootstrap_servers=server.bootstrap_servers,
            topic_prefix="hanging-",
            partitions=PARTITIONS,
        )
        ensure_topics(settings)
        yield from _hanging(settings)


def _hanging(settings: KafkaSettings) -> Iterator[tuple[KafkaSettings, Producer]]:
    producer = kafka.producer(
        settings,
        **{
            "transactional.id": f"{settings.topic_prefix}hanging",
            "transaction.timeout.ms": 300_000,
        },
    )
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(settings.topics.desired_consents.name, key=b"x", partition=STUCK)
    assert producer.flush(20) == 0
    yield settings, producer
    producer.abort_transaction(20)


@pytest.mark.timeout(120)
def test_hanging_transaction_holds_back_its_partition_alone(
    hanging: tuple[KafkaSettings, Producer],
    start_worker: Callable[[str, KafkaSettings], Worker],
) -> None:
    """The others are decided, the worker lives, and the partition comes back by itself."""
    settings, producer = hanging
    traffic = Traffic(settings, CODEC, seed=7, recipients=100)
    traffic.publish(300)
    worker = start_worker("one", settings)
    others = set(range(PARTITIONS)) - {STUCK}
    until(lambda: set(worker.health()["ready"]) == others, within=30, what="other partitions")

    def only_the_stuck_one_waits() -> bool:
        return {name[name.index("[") :] for name in backlog(settings)} == {f"[{STUCK}]"}

    until(only_the_stuck_one_waits, within=30, what="decisions of the others")
    traffic.publish(300)
    until(
        lambda: "partition held back" in worker.log.read_text(encoding="utf-8"),
        within=80,
        what="alert",
    )
    until(only_the_stuck_one_waits, within=30, what="further decisions of the others")
    assert worker.process.poll() is None
    producer.abort_transaction(20)
    producer.begin_transaction()
    until(lambda: all_held([worker], PARTITIONS), within=60, what="owner of the stuck partition")
    until(lambda: not backlog(settings), within=30, what="end of the backlog")
    assert worker.end() == 0


@pytest.mark.timeout(200)
def test_broker_that_is_away_is_waited_for_and_worked_with_again(tmp_path: Path) -> None:
    """Away when a worker checks its topics, or when it joins its group, later killed and started
    again: no worker ends, and every event is decided once.
    """
    with BrokerCluster(tmp_path, 1) as cluster, ExitStack() as ended:
        installations = {
            module: KafkaSettings(
                bootstrap_servers=cluster.bootstrap_servers,
                topic_prefix=f"{name}-",
                partitions=2,
                replication_factor=1,
            )
            for name, module in (
                ("check", "izin.streams"),
                ("join", "tests.integration.streams.unchecked_worker"),
            )
        }
        for settings in installations.values():
            ensure_topics(settings)
        checked = installations["izin.streams"]
        traffic = Traffic(checked, CODEC, seed=11, recipients=50)
        traffic.publish(200)
        (broker,) = cluster.brokers.values()
        broker.stop()
        workers = []
        for module, settings in installations.items():
            log = tmp_path / f"{settings.topic_prefix}worker.log"
            workers.append(Worker("one", settings, log, module=module))
            ended.callback(workers[-1].kill)

        def are_refused() -> bool:
            assert {one.process.poll() for one in workers} == {None}
            return all("Kafka not reached" in one.log.read_text("utf-8") for one in workers)

        until(are_refused, within=60, what="attempt of each")
        broker.start()
        worker, other = workers
        until(lambda: all_held([other], 2), within=60, what="owner")
        assert other.end() == 0
        until(lambda: not backlog(checked), within=60, what="decisions after the start")
        broker.kill()
        broker.start()
        traffic.publish(100)
        until(lambda: not backlog(checked), within=30, what="decisions after the restart")
        assert worker.process.poll() is None
        assert worker.end() == 0
        verdict = examine(checked, CODEC)
    assert verdict.faultless, str(verdict)
