"""The benchmarks, each in small: order workers, replays, letters, lists, installs and İYS's load.

How good a figure is, is for the bar to judge.
"""

import json
import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import OFFSET_BEGINNING, TopicPartition
from confluent_kafka.admin import AdminClient
from typer.testing import CliRunner

from benchmarks.__main__ import app
from benchmarks.brands import register_brand
from benchmarks.gate.scrub import gate_scrub
from benchmarks.light_install import import_seconds, install
from benchmarks.order.command import order
from benchmarks.order.dataset import Dataset, DatasetShape
from benchmarks.order.timer import TrialError
from benchmarks.publisher import BARE, BRAND, CUSTOMER, LIBRARY, bare, library, speeds
from benchmarks.replay.events import events, publish
from benchmarks.replay.rebuild import figures, measure
from benchmarks.simulator.command import simulator
from benchmarks.simulator.load import batch_bodies
from benchmarks.subscribers.permission_list import permission_list
from benchmarks.worker.feeds import feeds
from benchmarks.worker.latency import latency
from benchmarks.worker.poison import POISONS, PoisonedDataset, poison
from benchmarks.worker.probe import LatencySummary
from benchmarks.worker.redrive import redrive
from benchmarks.worker.replay import replay
from benchmarks.worker.restart import restart
from izin.kafka import clients
from izin.kafka.clients import committed_ends, consumer
from izin.runtime.settings import KafkaSettings, StateKind
from izin.schemas.codec import Codec, UndecodableError
from tests.support.order.harness import decide_all
from tests.support.order.verdict import until

BROKER = pytest.mark.broker
SMALL = {"partitions": 1, "recipients": 300, "events": 1000}


@BROKER
def test_latencies_are_measured_idle_and_under_a_backlog(kafka: str):
    """Every probe comes back on both outputs, and is counted."""
    found = latency(probes=20, **SMALL, bootstrap_servers=kafka)
    assert [one["name"] for one in found.data["latencies"]] == [
        f"{output}, {how}"
        for how in ("idle, bulk lane", "idle, express lane", "under the backlog, express lane")
        for output in ("desired-consents", "consent-opt-outs")
    ]
    for one in found.data["latencies"]:
        assert one["probes"] >= 20
        assert 0 < one["p50"] <= one["p99"] <= one["most"]
    assert all(found.figures.values())


@BROKER
def test_opt_outs_are_timed_at_each_client(kafka: str):
    """Every probe comes to every client, and is counted there."""
    found = feeds(probes=20, clients=2, partitions=1, bootstrap_servers=kafka)
    (one,) = found.data["latencies"]
    assert one["probes"] == 40
    assert found.figures == {"feeds": one["p99"]}
    assert 0 < one["p50"] <= one["p99"] <= one["most"]


@BROKER
def test_three_passes_of_a_replay_end_with_the_same_state(kafka: str):
    """One digest; the pass over existing state writes no row more."""
    found = replay(**SMALL, bootstrap_servers=kafka)
    first, again, over = found.data["passes"]
    assert found.data["same"]
    assert found.figures["replay-states"] == 1
    assert first["output"] == again["output"] == over["output"]
    assert first["output"]["rows"] > 300


@BROKER
def test_poisoned_records_become_dead_letters_on_their_lane_alone(kafka: str):
    """Every poisoned record is a dead letter, on the one lane and not on the other."""
    found = poison(**SMALL, share=0.02, trials=1, bootstrap_servers=kafka)
    assert found.data["dead_letters"] == found.data["poisoned"] > 5
    assert [one["name"] for one in found.data["contenders"]] == ["clean", "poisoned"]


@BROKER
def test_a_cold_start_is_timed_until_both_partitions_are_owned(kafka: str):
    """Without a warm start there is no figure of one."""
    found = restart(keys=2000, state=[StateKind.MEMORY], bootstrap_servers=kafka)
    (start,) = found.data["starts"]
    assert start["name"] == "memory, from the topic"
    assert start["seconds"] > 0 < start["cpu"]
    assert found.figures == {"restart-warm": None, "restart-cold": start["seconds"]}


def test_each_kind_of_poison_is_undecodable():
    """A record that the codec could read would be no poison; the last of a partition never is."""
    codec = Codec()
    shape = DatasetShape(events=200, partitions=2, truncated=0)
    dataset = PoisonedDataset(shape, codec, share=0.1)
    made = list(dataset.records())
    undecodable = []
    for record in made:
        try:
            codec.decode_event(record.value)
        except UndecodableError:
            undecodable.append(record)
    assert len(made) == 200
    assert len(undecodable) == dataset.poisoned > len(POISONS)
    assert [one.key for one in made] == [one.key for one in Dataset(shape, codec).records()]


def test_a_percentile_of_few_probes_is_one_of_them():
    """The nearest rank; and no probe gives no figure."""
    found = LatencySummary.of("x", [number / 1000 for number in range(1, 101)])
    assert (found.probes, found.p50, found.p99, found.most) == (100, 50, 99, 100)
    assert LatencySummary.of("x", [0.007]).p99 == pytest.approx(7)
    with pytest.raises(ValueError, match="no probe of x"):
        LatencySummary.of("x", [])


@BROKER
def test_rebuild_of_the_benchmark_is_identical(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path
):
    """Every key is there, nothing is written, and a row that somebody changes is noticed."""
    settings = make_settings(2)
    assert publish(settings, events(600, 100)) == 0
    decide_all(settings)
    found = measure(settings, tmp_path, workers=1)
    assert (found.events, found.keys, found.different, found.written) == (600, 100, 0, 0)
    assert figures(found)["replay"] == found.per_worker > 0
    topic = settings.topics.desired_consents.name
    producer = clients.producer(settings)
    producer.produce(topic, b"no row", b"600001/MESAJ/BIREYSEL/+905000000001", 0)
    assert producer.flush(10) == 0
    (tmp_path / "plan.json").unlink()
    for one in (tmp_path / "plan.json.work").iterdir():
        one.unlink()
    assert measure(settings, tmp_path, workers=1).different == 1


@BROKER
@pytest.mark.database
def test_every_letter_comes_back_once(kafka: str, empty_database: str) -> None:
    """The preview is the result, and what is newer stands."""
    found = redrive(letters=70, partitions=1, bootstrap_servers=kafka, database_url=empty_database)
    assert not found.failures
    assert found.data["result"] == {"applied": 56, "stale": 14}
    assert found.figures["redrive"]


@BROKER
def test_scrub_is_measured_from_start_to_end():
    """Each figure is there; how good it is, is for the bar to judge."""
    report = gate_scrub(recipients=1_000)
    assert report.failures == []
    assert (report.data["recipients"], report.data["may_send"]) == (1_000, 900)
    assert report.figures.keys() == {"gate-scrub-seconds", "gate-scrub-memory"}
    assert all(report.figures.values())


@BROKER
def test_list_is_measured_from_start_to_opt_outs():
    """Each figure is there; how good it is, is for the bar to judge."""
    report = permission_list(keys=2_000, opt_outs=5)
    assert report.data["keys"] == 2_000
    assert len(report.data["closed_ms"]) == 5
    assert report.figures.keys() == {
        f"permission-list-{one}" for one in ("load", "memory", "answer", "opt-out")
    }
    assert all(report.figures.values())


@BROKER
def test_a_short_comparison_runs_and_leaves_no_topics(kafka: str):
    """Contenders start, finish, and are gone; their figures are reported."""
    found = order(
        contender=["pass-through", "izin-latest-wins", "izin"],
        events=2000,
        recipients=400,
        trials=1,
        limit=60,
        bootstrap_servers=kafka,
    )
    assert [one["name"] for one in found.data["contenders"]] == [
        "librdkafka pass-through",
        "izin, the same work",
        "izin, everything on",
    ]
    assert all(one["events_per_second"]["median"] > 0 for one in found.data["contenders"])
    assert all(one["readable_ms"]["p50"] > 0 for one in found.data["contenders"])
    assert found.data["absent"] == found.data["failed"] == {}
    assert found.figures["order-events"] > 0 < found.figures["order-cpu"]
    admin = AdminClient({"bootstrap.servers": kafka, "log_level": 0})
    # Other benchmarks may have topics on the broker too; these names are of a comparison alone.
    ours = re.compile("bench-[0-9a-f]+-(full|short|live)-")
    until(
        lambda: not [name for name in admin.list_topics(timeout=10).topics if ours.match(name)],
        within=20,
        what="broker without the topics of the comparison",
    )


@BROKER
def test_a_contender_that_ends_fails_the_comparison(
    kafka: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A contender that dies is no contender with a good time."""
    monkeypatch.setattr("benchmarks.order.contenders.registry.sys.executable", "/bin/false")
    file = tmp_path / "order.json"
    words = ["order", "--contender", "pass-through", "--events", "1000", "--trials", "1"]
    ran = CliRunner().invoke(app, [*words, "--bootstrap-servers", kafka, "--results", str(file)])
    assert ran.exit_code == 1, ran.output
    assert "it ended with 1" in json.loads(file.read_text())["failed"]["librdkafka pass-through"]


Record = tuple[str, int, bytes | None, bytes | None, tuple[tuple[str, bytes | None], ...]]


def written(settings: KafkaSettings) -> list[Record]:
    """Return what both lanes hold: topic, partition, key, value and headers of each record."""
    found: list[Record] = []
    for topic in (settings.topics.events.name, settings.topics.express.name):
        ends = committed_ends(settings, topic)
        client = consumer(settings, "test")
        client.assign([TopicPartition(topic, one, OFFSET_BEGINNING) for one in ends])
        for _ in range(sum(ends.values())):
            one = client.poll(20)
            assert one is not None
            headers = tuple(one.headers() or ())
            found.append((topic, one.partition() or 0, one.key(), one.value(), headers))
        client.close()
    return found


@BROKER
def test_contenders_write_the_same_records(make_settings: Callable[[int], KafkaSettings]):
    """Byte by byte: each is on its partition twice, or the ratio would compare different work."""
    settings = make_settings(3)
    register_brand(settings, BRAND, CUSTOMER)
    assert library(settings, 50) > 0
    assert bare(settings, 50) > 0
    counts = Counter(written(settings))
    # The library publishes the first event once more, before its time begins.
    assert sorted(counts.values()) == [2] * 49 + [3]


@BROKER
def test_speeds_are_measured_for_both(make_settings: Callable[[int], KafkaSettings]):
    """How they compare is for the bar to judge."""
    found = {one.name: one for one in speeds(make_settings(1), events=200, trials=1)}
    assert found.keys() == {LIBRARY, BARE}
    assert min(one.least for one in found.values()) > 0


def test_installed_packages_are_counted(tmp_path: Path):
    """One without dependencies is one package, in an environment that is fresh each time."""
    for _ in range(2):
        found = install("six", ("six",), tmp_path / "environment")
        assert found.packages == 1
        assert found.megabytes > 0
        assert found.seconds > 0


def test_import_is_timed_in_an_interpreter_of_its_own():
    """Whatever was imported here before."""
    assert import_seconds(sys.executable, "izin.consent.texts") > 0


def test_requirement_that_pip_refuses_is_an_error(tmp_path: Path):
    """With what pip says."""
    with pytest.raises(TrialError, match=r"absent\.whl"):
        install("absent", (str(tmp_path / "absent.whl"),), tmp_path / "environment")


def test_a_short_load_has_no_error_and_is_reported():
    """A filled file is loaded twice, paced and as fast as it answers."""
    found = simulator(seconds=1, batches=1, records=1000)
    loads = found.data["loads"]
    assert [(one["consents"], one["errors"]) for one in loads] == [(10_000, 0), (1_000, 0)]
    assert all(one["cpu"] > 0 and one["consents_per_second"] > 0 for one in loads)
    assert found.data["file_bytes"] > 0
    assert (found.figures["simulator-errors"], found.failures) == (0, [])


def test_recipients_of_a_load_come_once():
    """A consent sent twice would be refused, and the load counted wrong."""
    first, second = batch_bodies(0, 2), batch_bodies(2000, 1)
    items = [item for body in (*first, *second) for item in json.loads(body)]
    assert len({item["recipient"] for item in items}) == len(items) == 3000


def test_a_state_in_memory_cannot_be_filled():
    """What is filled beforehand is a file."""
    assert CliRunner().invoke(app, ["simulator", "--in-memory", "--records", "1"]).exit_code == 2
