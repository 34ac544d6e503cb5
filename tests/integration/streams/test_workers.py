"""Workers that come and go in good order."""

import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from izin.runtime.settings import KafkaSettings, StreamSettings
from izin.runtime.start_errors import EXIT
from izin.runtime.topic_admin import is_contested
from izin.streams.engine.app import EXIT_CONFIG
from tests.support.order.harness import CODEC
from tests.support.order.traffic import Traffic
from tests.support.order.verdict import backlog, examine
from tests.support.order.workers import Worker, all_held, until

pytestmark = pytest.mark.broker


def test_partitions_follow_workers_that_join_and_leave(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[[str, KafkaSettings], Worker],
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


def test_worker_restarted_at_another_address_keeps_partitions(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path
) -> None:
    """Killed and restarted elsewhere at once it gets its partitions back, finds its state in the
    configured folder, and leaves nothing else behind.
    """
    home, elsewhere = tmp_path / "home", tmp_path / "elsewhere"
    home.mkdir()
    elsewhere.mkdir()
    environment = {"IZIN_STATE": "rocksdb", "TMPDIR": str(elsewhere)}
    worker = Worker(
        "same",
        make_settings(2),
        tmp_path / "same.log",
        environment=environment,
        folder=home,
    )
    try:
        until(lambda: all_held([worker], 2), within=30, what="owner")
        worker.kill()
        worker.move()
        worker.start()
        until(lambda: all_held([worker], 2), within=30, what="owner of the same name")
        assert worker.end() == 0
    finally:
        worker.kill()
    (state,) = home.glob(".izin/state/*/same")
    assert {one.name for one in state.iterdir()} == {"0", "1"}
    assert [one.name for one in home.iterdir()] == [".izin"]
    assert not list(elsewhere.iterdir())


def test_worker_with_wrong_topics_exits(
    make_settings: Callable[[int], KafkaSettings],
    start_worker: Callable[[str, KafkaSettings], Worker],
) -> None:
    """Another partition count than the topics have would part keys from their history."""
    settings = make_settings(2)
    worker = start_worker("wrong", settings.model_copy(update={"partitions": 3}))
    assert worker.process.wait(30) == EXIT_CONFIG
    assert "has 2 partitions, not 3" in worker.log.read_text(encoding="utf-8")


def test_importing_the_worker_starts_nothing() -> None:
    """The module is only a door: the app is made when it is run."""
    done = subprocess.run(
        [sys.executable, "-c", "import izin.streams.__main__, izin.streams.engine.app"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, b"")


def test_second_worker_of_an_instance_id_ends_and_the_first_goes_on(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path
) -> None:
    """It is told which name and what to do; the doctor learns of it from the group."""
    settings = make_settings(3)
    traffic = Traffic(settings, CODEC, seed=35, recipients=50)
    group = StreamSettings().group(settings)
    with ExitStack() as stack:
        module = "tests.integration.streams.settled_worker"
        first = Worker("same", settings, tmp_path / "first.log", module=module)
        stack.callback(first.kill)
        until(lambda: all_held([first], 3), within=30, what="first owner")
        second = Worker("same", settings, tmp_path / "second.log")
        stack.callback(second.kill)
        assert second.process.wait(60) == EXIT
        assert "instance id in use already" in second.log.read_text(encoding="utf-8")
        assert "instance id in use twice" in first.log.read_text(encoding="utf-8")
        traffic.publish(200)
        until(lambda: all_held([first], 3), within=30, what="first owner again")
        until(lambda: not backlog(settings), within=30, what="end of the backlog")
        until(lambda: is_contested(settings, group), within=30, what="note in the group")
        first.kill()
        first.start()
        until(lambda: all_held([first], 3), within=30, what="owner after a restart")
        assert first.process.poll() is None
        assert "in use already" not in first.log.read_text(encoding="utf-8")
