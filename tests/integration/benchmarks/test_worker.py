"""The benchmarks of the order worker, of rebuilds and redriven letters, each in small."""

from collections.abc import Callable
from pathlib import Path

import pytest

from benchmarks.order.dataset import Dataset, DatasetShape
from benchmarks.replay.events import events, publish
from benchmarks.replay.rebuild import figures, measure
from benchmarks.worker.feeds import feeds
from benchmarks.worker.latency import latency
from benchmarks.worker.poison import POISONS, PoisonedDataset, poison
from benchmarks.worker.probe import LatencySummary
from benchmarks.worker.redrive import redrive
from benchmarks.worker.replay import replay
from benchmarks.worker.restart import restart
from izin.kafka import clients
from izin.runtime.settings import KafkaSettings, StateKind
from izin.schemas.codec import Codec, UndecodableError
from tests.support.order.harness import decide_all

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
