"""Workers that come and go in good order.

What happens to one partition, or to the broker, stops no worker and no other partition.

A worker whose broker is slow holds a few batches, however many wait.
"""

import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from confluent_kafka import Producer

from izin.kafka import clients
from izin.local.kafka import Kafka
from izin.runtime.logs import EXIT
from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.streams.engine.app import EXIT_CONFIG
from tests.chaos.order.brokers import BrokerCluster
from tests.integration.streams.spoilt_worker import spoilt
from tests.support.order.harness import CODEC, Traffic
from tests.support.order.verdict import Worker, all_held, backlog, examine, until
from tests.support.published import transaction

PARTITIONS = 4
STUCK = 2
BATCH = 100
BATCHES = 200
"""That wait in the topic."""
BOUND = 5
"""Batches that may be held: the one in hand, the one that waits, and a few on their way; far from
all that wait."""


@pytest.mark.broker
def test_partitions_follow_workers_that_join_and_leave(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[..., Worker],
) -> None:
    """Both lanes move together, order is kept, and a worker that is stopped exits cleanly."""
    settings = make_settings(6)
    traffic = Traffic(settings, CODEC, seed=5, recipients=100)
    first = start_worker("first", settings)
    traffic.publish(500)
    until(lambda: all_held([first], 6), within=30, what="first owner")
    second = start_worker("second", settings)

    def shared() -> bool:
        traffic.publish(50)
        return all_held([first, second], 6) and len(second.health()["ready"]) == 3

    until(shared, within=30, what="fair share")
    assert "izin_order_partitions_ready 3.0" in second.metrics()
    assert first.end() == 0

    def taken_over() -> bool:
        traffic.publish(50)
        return all_held([second], 6)

    until(taken_over, within=30, what="successor")
    until(lambda: not backlog(settings), within=30, what="end of the backlog")
    assert second.end() == 0
    verdict = examine(settings, CODEC)
    assert verdict.faultless, str(verdict)
    assert verdict.counts["events"] >= 600


@pytest.mark.broker
def test_worker_restarted_at_another_address_keeps_partitions(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[..., Worker],
    tmp_path: Path,
) -> None:
    """Killed and restarted elsewhere at once it gets its partitions back, finds its state in the
    configured folder, and leaves nothing else behind.
    """
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    environment = {"IZIN_STATE": "rocksdb", "TMPDIR": str(elsewhere)}
    worker = start_worker("same", make_settings(2), environment=environment, folder=home)
    until(lambda: all_held([worker], 2), within=30, what="owner")
    worker.kill()
    worker.move()
    worker.start()
    until(lambda: all_held([worker], 2), within=30, what="owner of the same name")
    assert worker.end() == 0
    (state,) = home.glob(".izin/state/*/same")
    assert {one.name for one in state.iterdir()} == {"0", "1"}
    assert [one.name for one in home.iterdir()] == [".izin"]
    assert not list(elsewhere.iterdir())


@pytest.mark.broker
def test_worker_with_wrong_topics_exits(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[..., Worker],
) -> None:
    """Another partition count than the topics have would part keys from their history."""
    worker = start_worker("wrong", make_settings(2).model_copy(update={"partitions": 3}))
    assert worker.process.wait(30) == EXIT_CONFIG
    assert "has 2 partitions, not 3" in worker.log.read_text(encoding="utf-8")


@pytest.mark.broker
def test_importing_the_worker_starts_nothing() -> None:
    """The module is only a door: the app is made when it is run."""
    done = subprocess.run(
        [sys.executable, "-c", "import izin.streams.__main__, izin.streams.engine.app"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.broker
def test_second_worker_of_an_instance_id_ends_and_the_first_goes_on(
    make_settings: Callable[[int], KafkaSettings], start_worker: Callable[..., Worker]
) -> None:
    """It is told which name and what to do; the doctor learns of it from the group."""
    settings = make_settings(3)
    traffic = Traffic(settings, CODEC, seed=35, recipients=50)
    group = StreamSettings().group(settings)
    first = start_worker("same", settings, log="first", **spoilt("settled"))
    until(lambda: all_held([first], 3), within=30, what="first owner")
    second = start_worker("same", settings, log="second")
    assert second.process.wait(60) == EXIT
    assert "instance id in use already" in second.log.read_text(encoding="utf-8")
    assert "instance id in use twice" in first.log.read_text(encoding="utf-8")
    traffic.publish(200)
    until(lambda: all_held([first], 3), within=30, what="first owner again")
    until(lambda: not backlog(settings), within=30, what="end of the backlog")
    until(lambda: clients.is_contested(settings, group), within=30, what="note in the group")
    first.kill()
    first.start()
    until(lambda: all_held([first], 3), within=30, what="owner after a restart")
    assert first.process.poll() is None
    assert "in use already" not in first.log.read_text(encoding="utf-8")
    assert "\x1b" not in first.log.read_text(encoding="utf-8"), "the controls of a terminal"


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
        clients.ensure_topics(settings)
        producer = transaction(settings, "hanging", **{"transaction.timeout.ms": 300_000})
        producer.produce(settings.topics.desired_consents.name, key=b"x", partition=STUCK)
        assert producer.flush(20) == 0
        yield settings, producer
        producer.abort_transaction(20)


@pytest.mark.broker
def test_hanging_transaction_holds_back_its_partition_alone(
    hanging: tuple[KafkaSettings, Producer],
    start_worker: Callable[..., Worker],
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


@pytest.mark.broker
def test_broker_that_is_away_is_waited_for_and_worked_with_again(
    tmp_path: Path, start_worker: Callable[..., Worker]
) -> None:
    """Away when a worker checks its topics, or when it joins its group, later killed and started
    again: no worker ends, and every event is decided once.
    """
    with BrokerCluster(tmp_path, 1) as cluster:
        checked, unchecked = (
            KafkaSettings(
                bootstrap_servers=cluster.bootstrap_servers,
                topic_prefix=f"{name}-",
                partitions=2,
                replication_factor=1,
            )
            for name in ("check", "join")
        )
        for settings in (checked, unchecked):
            clients.ensure_topics(settings)
        traffic = Traffic(checked, CODEC, seed=11, recipients=50)
        traffic.publish(200)
        (broker,) = cluster.brokers.values()
        broker.stop()
        worker = start_worker("one", checked)
        other = start_worker("one", unchecked, log="other", **spoilt("unchecked"))

        def are_refused() -> bool:
            assert (worker.process.poll(), other.process.poll()) == (None, None)
            return all("Kafka not reached" in one.log.read_text("utf-8") for one in (worker, other))

        until(are_refused, within=60, what="attempt of each")
        broker.start()
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


@pytest.fixture
def stuck(
    make_settings: Callable[[int], KafkaSettings], start_worker: Callable[..., Worker]
) -> Worker:
    settings = make_settings(1)
    producer = clients.producer(settings)
    for number in range(BATCH * BATCHES):
        producer.produce(settings.topics.events.name, value=f"{number}", partition=0)
    assert producer.flush(20) == 0
    return start_worker("stuck", settings, **spoilt("stuck", IZIN_MAX_POLL_RECORDS=str(BATCH)))


def brought(worker: Worker) -> int:
    log = worker.log.read_text(encoding="utf-8", errors="replace")
    return sum(map(int, re.findall(r"brought (\d+)$", log, re.MULTILINE)))


@pytest.mark.broker
def test_records_fetched_ahead_are_bounded(stuck: Worker) -> None:
    """The rest stays at the broker, and the worker still answers, and ends on a signal."""
    until(lambda: brought(stuck) >= 2 * BATCH, within=60, what="batch that waits")
    looks: list[int] = []

    def at_rest() -> bool:
        looks.append(brought(stuck))
        return len(looks) > 40 and len(set(looks[-40:])) == 1

    until(at_rest, within=60, what="end of the fetching")
    assert brought(stuck) <= BOUND * BATCH
    assert stuck.health()["assigned"] == [0]
    stuck.send(signal.SIGTERM)
    stuck.process.wait(30)
