"""``python -m tests.chaos.alerts``: how soon a fault is alerted; ``make chaos STAGE=alerts``.

On the local stack, read by Prometheus with the rules and the intervals of ``deploy/prometheus``,
parts are frozen, or killed as soon as they are back, or İYS answers 500. Of each fault the time is
measured until the first alert fires that did not before, and which one that is. Every fault has a
Prometheus of its own, so that none is alerted by what is left of the one before.

It ends with the lines ``alerts-first`` (the slowest of the faults) and ``alerts-false`` (alerts
that fired while all was well), each ``ok`` or ``short``. Exit codes: 0 all is within its bar, 1 it
is not, 2 wrong usage.
"""

import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Event, Thread
from typing import Annotated

import httpx
import typer
import yaml
from rich.table import Table

from benchmarks import ROOT
from benchmarks.local_stack import running_local_stack
from benchmarks.process_usage import processes_with
from benchmarks.results import RunReport
from izin.stack.stack import WORKERS, LocalStack
from tests.chaos.command import Seed, Show, run_stage, start
from tests.support.servers.prometheus import Prometheus, prometheus
from tests.support.simulator import SimulatorAdmin
from tests.support.waiting import until

_SHIPPED = ROOT / "deploy" / "prometheus"
_LOOK_EVERY = 1.0
_WELL_FOR = 75.0
"""Seconds for which all is well before a fault: rates of a minute have values."""
_GIVEN_UP_AFTER = 240.0
_AGAIN_WITHIN = 180.0


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertedFault:
    """A fault, and the first alert about it."""

    fault: str
    alert: str
    """Empty: none fired."""
    seconds: float
    false: tuple[str, ...]
    """What fired before the fault."""


@contextmanager
def frozen(mark: str) -> Iterator[None]:
    """Have the processes with ``mark`` do nothing while the block runs."""
    pids = processes_with(mark)
    assert pids, mark
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


@contextmanager
def gone(mark: str) -> Iterator[None]:
    """Kill the process with ``mark`` as often as it is started again while the block runs."""
    is_over = Event()

    def kill() -> None:
        while not is_over.wait(0.2):
            for pid in processes_with(mark):
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)

    killer = Thread(target=kill, daemon=True)
    killer.start()
    try:
        yield
    finally:
        is_over.set()
        killer.join()


@contextmanager
def failing_iys(stack: LocalStack) -> Iterator[None]:
    """Have İYS answer every call with 500 while the block runs."""
    address = stack.url("simulator")
    with httpx.Client(base_url=f"{address}/__simulator__", trust_env=False) as client:
        admin = SimulatorAdmin(address, client)
        admin.inject_fault("*", status=500, code="H103", share=1, times=None)
        try:
            yield
        finally:
            admin.clear_faults()


FAULTS = {
    "order worker frozen": lambda _: frozen("izin.streams"),
    "Kafka gone": lambda _: frozen("kafka.Kafka"),
    "sink frozen": lambda _: frozen("izin.sinks"),
    "İYS answers 500": failing_iys,
    # The last: what dies again and again is not started for ever.
    "webhooks gone": lambda _: gone("izin.webhooks"),
}


def jobs(stack: LocalStack) -> Mapping[str, int]:
    """Return the ports that Prometheus reads, by job: those of the shipped configuration."""
    shipped = yaml.safe_load((_SHIPPED / "prometheus.yml").read_text("utf-8"))
    found = {f"izin-{part}": stack.operations_port(part) for _, _, part in WORKERS}
    assert {one["job_name"] for one in shipped["scrape_configs"]} == found.keys()
    return found


def alerted(
    stack: LocalStack, server: Prometheus, name: str, show: Callable[[str], None]
) -> AlertedFault:
    """Bring about a fault, and return the first alert about it."""
    show(f"{name}: all is well")
    time.sleep(_WELL_FOR)
    before = server.alerts()
    with FAULTS[name](stack):
        began = time.monotonic()
        fired: set[str] = set()
        while not fired and time.monotonic() - began < _GIVEN_UP_AFTER:
            time.sleep(_LOOK_EVERY)
            fired = server.alerts() - before
            show(f"{name}: for {time.monotonic() - began:.0f} s")
        seconds = time.monotonic() - began
    return AlertedFault(
        fault=name,
        alert=", ".join(sorted(fired)),
        seconds=seconds,
        false=tuple(sorted(before)),
    )


def main(
    seed: Seed = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-alerts"
    ),
) -> None:
    """Bring about faults on the local stack, and measure how soon each is alerted."""

    def campaign(show: Show) -> list[AlertedFault]:
        every = yaml.safe_load((_SHIPPED / "prometheus.yml").read_text("utf-8"))["global"]
        found = []
        with running_local_stack() as stack:
            for number, name in enumerate(FAULTS):
                show(f"{name}: until all is well")
                until(lambda: stack.is_up, within=_AGAIN_WITHIN)
                with prometheus(
                    folder / f"prometheus-{number}",
                    jobs(stack),
                    rules=_SHIPPED / "alerts.yml",
                    scraped_every=every["scrape_interval"],
                    scraped_within=every["scrape_timeout"],
                ) as server:
                    found.append(alerted(stack, server, name, show))
        return found

    raise run_stage("alerts", folder, campaign, lambda found, took: report(found, seed, took))


def report(found: list[AlertedFault], seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    table = Table("fault", "first alert", "after")
    for one in found:
        table.add_row(one.fault, one.alert or "none", f"{one.seconds:.0f} s")
    false = sorted({name for one in found for name in one.false})
    return RunReport(
        tables=[table, *(f"  false: {name}" for name in false)],
        data={"seed": seed, "seconds": round(seconds), "faults": [asdict(one) for one in found]},
        figures={
            "alerts-first": max(one.seconds for one in found),
            "alerts-false": len(false),
        },
    )


if __name__ == "__main__":
    start("alerts", main)
