"""The benchmark ``crm-outbox``: the commits of a CRM with the relay running, and stopped.

Customers change their minds at a steady rate, each in a transaction of its own, and the trigger of
``izin outbox --sql example`` writes the outbox, with the notification, in both. The trials come in
pairs, and which of a pair is the first alternates. The relay and Kafka stand for other machines:
the CRM and PostgreSQL, with the relay's sessions in it, run at real-time priority where that is
allowed, so that what is measured is the database, and not our few cores.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from itertools import pairwise
from statistics import fmean, median, quantiles
from typing import Annotated

import psycopg
import typer
from rich.table import Table

from benchmarks.brands import register_brand
from benchmarks.order.timer import TrialError
from benchmarks.results import RunReport
from benchmarks.sink.cpu_priority import give_priority
from benchmarks.worker.installation import BrokerOption, PartitionsOption, measuring
from izin.local import Postgres, free_port
from izin.producers.outbox.relay import sql
from izin.runtime.settings import KafkaSettings
from tests.support.outbox_process import OutboxProcess

_CUSTOMERS = """
CREATE TABLE customers (
    id bigint PRIMARY KEY, phone text, sms_allowed boolean, sms_changed_at timestamptz
)
"""
_FILL = """
INSERT INTO customers SELECT n, '+90555' || lpad(n::text, 7, '0'), NULL, NULL
FROM generate_series(0, %s - 1) AS n
"""
_CHANGE = """
UPDATE customers SET sms_allowed = %s, sms_changed_at = now() WHERE id = %s
"""
_BRAND, _CUSTOMER = 100_001, "bench"
_PEOPLE = 50_000
_STRIDE = 7919
_OPT_OUTS = 5
"""One change in so many is an opt-out."""
_CONNECTIONS = 4
_WITHIN = 60.0
"""Seconds in which the relay empties the outbox."""
RUNNING, STOPPED = "relay running", "relay stopped"


@dataclass(frozen=True, slots=True, kw_only=True)
class CommitTimes:
    """Of the transactions of one trial, in milliseconds."""

    relay: str
    commits: int
    mean: float
    median: float
    p99: float


def crm_outbox(
    pairs: Annotated[int, typer.Option(min=1, help="Pairs of trials.")] = 5,
    seconds: Annotated[float, typer.Option(min=1, help="Of a trial.")] = 30,
    rate: Annotated[float, typer.Option(min=1, help="Commits a second.")] = 200,
    partitions: PartitionsOption = 4,
    bootstrap_servers: BrokerOption = None,
) -> RunReport:
    """Measure by how much a CRM's commits are slower while the relay of its outbox runs."""
    found: list[CommitTimes] = []
    with measuring(partitions, bootstrap_servers) as (settings, folder, show):
        register_brand(settings, _BRAND, _CUSTOMER)
        with Postgres(folder, port=free_port()) as postgres:
            _prepare(postgres.url)
            trial(postgres.url, STOPPED, seconds=min(seconds, 3), rate=rate)  # warms both up
            for number in range(pairs):
                for relay in (RUNNING, STOPPED) if number % 2 else (STOPPED, RUNNING):
                    show(f"pair {number + 1}: {relay}")
                    _empty(postgres.url)
                    if relay == STOPPED:
                        found.append(trial(postgres.url, relay, seconds=seconds, rate=rate))
                        continue
                    with running_relay(settings, postgres.url):
                        found.append(trial(postgres.url, relay, seconds=seconds, rate=rate))
                        _until_empty(postgres.url)
    slower = slowdowns(found)
    table = Table(title=f"A CRM's transactions at {rate:,.0f} a second, {seconds:.0f} s a trial")
    table.add_column("trial")
    for heading in ("commits", "mean ms", "median ms", "p99 ms"):
        table.add_column(heading, justify="right")
    for one in found:
        times = (f"{value:.2f}" for value in (one.mean, one.median, one.p99))
        table.add_row(one.relay, f"{one.commits:,}", *times)
    return RunReport(
        tables=[table, "slower by " + ", ".join(f"{one:.1f} %" for one in slower)],
        data={"trials": [asdict(one) for one in found], "slower": slower},
        figures={"crm-outbox": median(slower)},
    )


def slowdowns(trials: Sequence[CommitTimes]) -> list[float]:
    """Return by how many per cent the median commit of each pair is slower beside the relay."""
    found = []
    for first, second in list(pairwise(trials))[::2]:
        by_name = {one.relay: one.median for one in (first, second)}
        found.append(100 * (by_name[RUNNING] / by_name[STOPPED] - 1))
    return found


def trial(url: str, relay: str, *, seconds: float, rate: float) -> CommitTimes:
    """Commit at ``rate`` for so many ``seconds``, over several connections."""
    began = time.perf_counter() + 0.2
    with ThreadPoolExecutor(_CONNECTIONS) as pool:
        of_connections = pool.map(
            lambda number: _commits(url, number, began, seconds=seconds, rate=rate),
            range(_CONNECTIONS),
        )
        times = [1000 * one for found in of_connections for one in found]
    return CommitTimes(
        relay=relay,
        commits=len(times),
        mean=fmean(times),
        median=median(times),
        p99=quantiles(times, n=100)[-1],
    )


def _commits(url: str, first: int, began: float, *, seconds: float, rate: float) -> list[float]:
    """Return the seconds of each transaction of one connection, each begun when it is due."""
    times = []
    give_priority(0)  # to this thread
    with psycopg.connect(url) as connection:
        for number in range(first, round(seconds * rate), _CONNECTIONS):
            # Each is due at its instant; nothing else wakes this thread.
            time.sleep(max(began + number / rate - time.perf_counter(), 0))
            at = time.perf_counter()
            connection.execute(_CHANGE, [number % _OPT_OUTS > 0, number * _STRIDE % _PEOPLE])
            connection.commit()
            times.append(time.perf_counter() - at)
    return times


def _prepare(url: str) -> None:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT pg_read_file('postmaster.pid')").fetchone()
        assert found is not None  # noqa: S101  # a function has a value
        give_priority(int(found[0].split()[0]))  # and to its sessions, which begin from now on
        connection.execute(_CUSTOMERS)
        connection.execute(_FILL, [_PEOPLE])
        for name in ("table", "notify", "example"):
            connection.execute(sql(name))


def _empty(url: str) -> None:
    """Begin each trial with the same tables: nothing dead, nothing to be written back."""
    with psycopg.connect(url, autocommit=True) as connection:
        for statement in ("TRUNCATE izin_outbox", "VACUUM FULL customers", "CHECKPOINT"):
            connection.execute(statement)


def _until_empty(url: str) -> None:
    limit = time.monotonic() + _WITHIN
    with psycopg.connect(url, autocommit=True) as connection:
        while connection.execute("SELECT count(*) FROM izin_outbox").fetchone() != (0,):
            if time.monotonic() > limit:
                raise TrialError("the relay did not empty the outbox")
            time.sleep(0.1)  # the relay is another process, and wakes nobody here
        refused = connection.execute("SELECT count(*) FROM izin_outbox_refused").fetchone()
    if refused != (0,):
        raise TrialError("rows of the outbox were put aside")


@contextmanager
def running_relay(settings: KafkaSettings, url: str) -> Iterator[None]:
    """Run the relay until the context ends."""
    with OutboxProcess(settings, url, IZIN_LOG_LEVEL="error").running():
        yield
