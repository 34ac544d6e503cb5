"""Every process refuses settings that cannot be used, before it reaches any server.

Long work lets other tasks of the event loop in.

Blocking work that nobody waits for at the end.

How many dead letters are too many.
Processes that wait for work end with the command that started them, also where it was killed.
"""

import asyncio
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from structlog.typing import EventDict
from typer.testing import CliRunner

from izin.cli.cli import COMMANDS, app
from izin.consent import OurError
from izin.kafka import clients
from izin.replay.processes import Advance, working
from izin.runtime.dead_letter_budget import DeadLetterBudget, LatestRecords
from izin.runtime.logs import EXIT, exiting_on_error
from izin.runtime.process import in_daemon_thread, with_pauses
from izin.runtime.settings import IysSettings
from tests.support.waiting import runs, until

ROOT = Path(__file__).parents[3]
SECRET = "obviously-fake-secret"
KAFKA = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "izin",
    "KAFKA_SASL_PASSWORD": SECRET,
}
SERVERS = {
    **KAFKA,
    "DATABASE_URL": f"postgresql://izin:{SECRET}@127.0.0.1:1/izin?sslmode=verify-full",
    "IZIN_OUTBOX_DATABASE_URL": f"postgresql://izin:{SECRET}@127.0.0.1:1/crm?sslmode=verify-full",
    "IYS_BASE_URL": "https://iys.example.com",
    "IYS_USERNAME": "acme",
    "IYS_PASSWORD": SECRET,
    "IZIN_PRODUCTION": "true",
}
WORKERS = {
    "order": "izin.streams",
    "sink": "izin.sinks",
    "intake": "izin.producers",
    "outbox": "izin.producers.outbox",
    "webhooks": "izin.webhooks",
    "api": "izin.api",
}
HANGS = """
import asyncio, threading
from izin.runtime.process import in_daemon_thread

async def main():
    asyncio.create_task(in_daemon_thread(threading.Event().wait, name="hangs"))
    await asyncio.sleep(0.1)

asyncio.run(main())
"""
BUDGET = DeadLetterBudget(share=0.2, window=1000, least=100)


def started(worker: str, given: dict[str, str]) -> tuple[int, str]:
    """Run a worker with ``given`` until it ends; return its exit code and all that it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", WORKERS[worker]],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def commanded(worker: str, given: dict[str, str], patch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Give the command of a worker ``given``, in this process; return the same."""
    for name, value in given.items():
        patch.setenv(name, value)
    patch.setattr(clients, "configure", lambda _: None)  # the logs of this process
    shown = CliRunner().invoke(app, [worker])
    return shown.exit_code, shown.output


@pytest.mark.parametrize("worker", WORKERS)
def test_worker_in_production_refuses_plain_kafka(worker: str) -> None:
    """Each at its start; its command runs the same function."""
    plain = {**SERVERS, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
    refusal = "refuses KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT"
    code, printed = started(worker, plain)
    assert (code, refusal in printed, SECRET in printed) == (EXIT, True, False)
    assert COMMANDS["Run the processes"][worker] == f"{WORKERS[worker]}.__main__:main"


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        (f"izin {SECRET}", "IZIN_OUTBOX_DATABASE_URL is no PostgreSQL URL"),
        (f"postgresql://izin:{SECRET}@127.0.0.1:1/crm", "refuses IZIN_OUTBOX_DATABASE_URL without"),
    ],
)
def test_outbox_in_production_refuses_a_database_that_it_must_not_use(
    url: str, refusal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is another one than the ledger, by a variable of its own."""
    code, printed = commanded("outbox", {**SERVERS, "IZIN_OUTBOX_DATABASE_URL": url}, monkeypatch)
    assert (code, refusal in printed, SECRET in printed) == (EXIT, True, False)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"postgresql://izin:{SECRET}@127.0.0.1:1/izin"),
        ("IYS_BASE_URL", "http://iys.example.com"),
        ("IZIN_PUSH_URL", "http://izin.example.com/iys/push"),
        ("SCHEMA_REGISTRY_URL", "http://registry.example.com"),
    ],
)
def test_sink_worker_in_production_refuses_plain_servers(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the one that reaches all of them."""
    code, printed = commanded("sink", {**SERVERS, name: value}, monkeypatch)
    assert code == EXIT
    assert f"refuses {name}" in printed
    assert SECRET not in printed


def test_missing_settings_are_logged_by_their_names(
    logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without values, and with the exit code that says who must act."""
    for name in ("IYS_USERNAME", "IYS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended, exiting_on_error("start failed"):
        IysSettings()
    assert ended.value.code == EXIT
    (event,) = logged
    assert event["event"] == "start failed"
    assert "IYS_USERNAME (missing), IYS_PASSWORD (missing)" in event["error"]


def test_error_of_ours_is_logged_and_a_bug_is_not_caught(logged: list[EventDict]) -> None:
    """A traceback is for those who can change the code."""
    with pytest.raises(SystemExit), exiting_on_error("start failed"):
        raise OurError("no broker")
    assert [one["error"] for one in logged] == ["no broker"]
    with pytest.raises(ZeroDivisionError), exiting_on_error("start failed"):
        raise ZeroDivisionError


async def test_items_come_in_their_order():
    """Work that pauses is the same work."""
    assert [one async for one in with_pauses(range(120))] == list(range(120))


async def test_other_tasks_run_meanwhile():
    """A push never waits for a whole batch."""
    seen, done = list[int](), 0

    async def look() -> None:
        while True:
            seen.append(done)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    async for place in with_pauses(range(1000)):
        done = place
    looking.cancel()
    assert len(seen) > 10
    assert max(b - a for a, b in zip(seen, [*seen[1:], done], strict=True)) <= 100


async def test_result_and_error_are_the_works() -> None:
    """The caller gets what it would get without a thread."""
    assert await in_daemon_thread(lambda: threading.current_thread().name, name="mine") == "mine"
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0, name="fails")


async def test_result_that_nobody_waits_for_is_dropped() -> None:
    """A caller that was cancelled meanwhile is left alone."""
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        done.set()

    task = asyncio.create_task(in_daemon_thread(work, name="late"))
    await asyncio.sleep(0)
    task.cancel()
    go_on.set()
    await asyncio.to_thread(done.wait, 10)
    await asyncio.sleep(0.01)
    assert task.cancelled()


def test_process_ends_though_the_work_hangs() -> None:
    """A broker that is away does not keep a worker from ending."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS], check=False, timeout=30, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("suspects", "records", "exceeded"),
    [
        (99, 99, False),  # too few to decide
        (100, 100, True),
        (100, 500, False),  # a fifth exactly
        (101, 500, True),
    ],
)
def test_budget_is_exceeded_above_share_and_least(
    suspects: int, records: int, exceeded: bool
) -> None:
    """A handful is never too many, a fifth is allowed."""
    assert BUDGET.is_exceeded(suspects, records) is exceeded


def test_budget_with_share_of_one_is_unbounded() -> None:
    """The operator confirms that the records are unusable."""
    assert not DeadLetterBudget(share=1).is_exceeded(5000, 5000)


def test_records_before_the_window_are_dropped() -> None:
    """Long good days do not hide a bad deploy, and old poison is forgiven."""
    latest = LatestRecords(BUDGET)
    for _ in range(100):
        latest.add({}, 500)
    assert latest.records == 1000
    assert latest.exceeded_by({"acme/web": 301}, 500) == "acme/web"
    latest.add({"acme/web": 150}, 500)
    latest.add({}, 500)
    latest.add({}, 500)
    assert (+latest.suspects, latest.records) == ({}, 1000)


def test_sources_are_counted_one_by_one() -> None:
    """Ten sources with a few poison records each are no bad deploy."""
    latest = LatestRecords(BUDGET)
    latest.add({"acme/web": 90, "acme/crm": 90}, 100)
    assert latest.exceeded_by({"acme/web": 9, "acme/crm": 9}, 20) is None
    assert latest.exceeded_by({"acme/web": 9, "acme/crm": 10}, 20) == "acme/crm"


def test_batch_wider_than_the_window_counts_whole() -> None:
    """The window is never empty."""
    latest = LatestRecords(BUDGET)
    latest.add({}, 10)
    latest.add({"acme/web": 7}, 5000)
    assert (latest.suspects["acme/web"], latest.records) == (7, 5000)


CHILDREN = 2


def work(_number: int, advance: Advance) -> None:
    """Do a piece of work, which is done at once."""
    advance(1)


def start() -> None:
    """Have processes work; print their ids once they wait for more, and wait to be killed."""
    with working(work, (), range(CHILDREN), CHILDREN) as running:
        running.finish(lambda _: None)
        pids = [one.pid for one in multiprocessing.active_children()]
        sys.stdout.write(f"{' '.join(map(str, pids))}\n")
        sys.stdout.flush()
        time.sleep(60)


def test_idle_processes_end_with_a_parent_that_is_killed() -> None:
    """Nobody else would end them: they wait for work that no one sends any more."""
    arguments = [sys.executable, "-m", __name__]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        assert all(map(runs, pids))
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not any(map(runs, pids)))


if __name__ == "__main__":
    start()
