"""``python -m tests.chaos.hostile``: hostile records; ``make chaos STAGE=hostile``.

``CHAOS_ARGS="--records 9000 --quiet 15"`` shortens it; ``--seed`` and the number of a batch, which
each fault names, make that batch again: ``tests.chaos.hostile.records.hostile_batch``.

Opt-outs (RET) of others, 100 a second over all partitions, are measured from their publication
until a subscriber can read them, alone and beside 200 hostile records a second, three times. It
ends with the lines ``hostile-records``, ``hostile-delay``, ``hostile-lost`` and ``hostile-wrong``,
``ok`` or ``short``. Exit codes: 0 all hold; 1 one does not, or the order worker ended; 2 wrong
usage.
"""

import multiprocessing
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median
from typing import Annotated

import typer

from benchmarks.results import RunReport
from benchmarks.worker.probe import LatencySummary, Probe, latency_table
from izin.kafka.clients import ensure_topics
from izin.local import Kafka
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.chaos.command import Pair, counted, listed, run_stage, start
from tests.chaos.hostile.records import Account, WrittenBatch, account, write
from tests.support.order.verdict import Worker, all_held, backlog, committed_records, until

_EVERY = 0.01
"""Seconds between two opt-outs."""
_DRAINED_WITHIN = 120.0
_AS_SERVED = ("-Xms4g", "-XX:MaxGCPauseMillis=20", "-XX:G1HeapRegionSize=16m")
"""As brokers are run that serve others: what a huge record leaves behind costs no pause."""


class HostileBroker(Kafka):
    """A broker that soon notices transactions that nobody ends."""

    def _settings(self, port: int) -> Mapping[str, object]:
        interval = "transaction.abort.timed.out.transaction.cleanup.interval.ms"
        return {**super()._settings(port), interval: 500}


@dataclass(frozen=True, slots=True, kw_only=True)
class HostileVerdict:
    """What came of all records."""

    pairs: Sequence[Pair]
    opt_outs: int
    lost: int
    records: int
    account: Account
    ends: Sequence[int]
    """The exit statuses with which the order worker ended by itself."""

    @property
    def share(self) -> float | None:
        """The median of the pairs'; None where opt-outs never came."""
        return median(one.share for one in self.pairs) if self.pairs else None


@dataclass(slots=True, kw_only=True)
class HostileCampaign:
    """An order worker, the opt-outs and the hostile records that come to it."""

    folder: Path
    seed: int = 1
    records: int = 100_000
    """Hostile ones, over all pairs."""
    pairs: int = 3
    rate: float = 200.0
    """Hostile records a second."""
    warm_up: int = 20_000
    """Hostile records before the first pair: a broker compiles what it runs often."""
    quiet: float = 60.0
    """Seconds of opt-outs without them, in each pair."""
    partitions: int = 12
    on_progress: Callable[[str], None] = lambda _: None
    _ends: list[int] = field(default_factory=list)
    _written: list[WrittenBatch] = field(default_factory=list)

    def run(self) -> HostileVerdict:
        """Run all pairs, then account for everything."""
        with HostileBroker(self.folder, heap="4g", java_options=_AS_SERVED) as broker:
            settings = KafkaSettings(
                bootstrap_servers=broker.bootstrap_servers, partitions=self.partitions
            )
            ensure_topics(settings)
            context = multiprocessing.get_context("spawn")
            with Worker("order", settings, self.folder / "order.log") as worker:
                until(lambda: all_held([worker], self.partitions), within=60, what="worker")
                with (
                    Probe(
                        settings, Codec(), outputs=[settings.topics.opt_outs.name], within=60
                    ) as probe,
                    ProcessPoolExecutor(1, mp_context=context) as processes,
                ):
                    found = self._pairs(settings, worker, probe, processes)
                    sent = set(probe.sent)
                self._drain(settings, worker)
            opted_out = {
                one.key() for one in committed_records(settings, settings.topics.opt_outs.name)
            }
            return HostileVerdict(
                pairs=found,
                opt_outs=len(sent),
                lost=len(sent - opted_out),
                records=sum(one.count for one in self._written),
                account=account(settings, self._written),
                ends=self._ends,
            )

    def _pairs(
        self,
        settings: KafkaSettings,
        worker: Worker,
        probe: Probe,
        processes: ProcessPoolExecutor,
    ) -> list[Pair]:
        """Return the pairs, fewer where opt-outs do not come."""
        found: list[Pair] = []
        self._beside("warm-up", settings, worker, probe, processes, self.warm_up)
        self._drain(settings, worker)
        for number in range(self.pairs):
            self.on_progress(f"pair {number + 1} of {self.pairs}: opt-outs alone")
            quiet_until = time.monotonic() + self.quiet
            without = self._measure(
                "alone", settings, worker, probe, lambda _, end=quiet_until: time.monotonic() < end
            )
            self.on_progress(f"pair {number + 1} of {self.pairs}: beside hostile records")
            count = -(-self.records // self.pairs)
            beside = self._beside("beside", settings, worker, probe, processes, count)
            if without is None or beside is None:
                break
            found.append(Pair(without=without, beside=beside))
            self.on_progress(f"p99 {without.p99:.1f} ms alone, {beside.p99:.1f} ms beside")
            self._drain(settings, worker)
        return found

    def _beside(  # noqa: PLR0917  # what runs, and how many come
        self,
        name: str,
        settings: KafkaSettings,
        worker: Worker,
        probe: Probe,
        processes: ProcessPoolExecutor,
        records: int,
    ) -> LatencySummary | None:
        """Publish opt-outs while so many hostile records are written; None where some do not come
        back.
        """
        future = processes.submit(
            write,
            settings.bootstrap_servers,
            partitions=self.partitions,
            seed=self.seed,
            first=self._written[-1].number + 1 if self._written else 0,
            records=records,
            rate=self.rate,
        )
        summary = self._measure(name, settings, worker, probe, lambda _: not future.done())
        self._written += future.result()
        return summary

    def _measure(
        self,
        name: str,
        settings: KafkaSettings,
        worker: Worker,
        probe: Probe,
        should_continue: Callable[[int], bool],
    ) -> LatencySummary | None:
        """Publish opt-outs for as long; None where some do not come back."""

        def goes_on(sent: int) -> bool:
            self._supervise(worker)
            return should_continue(sent)

        try:
            taken = probe.run(
                settings.topics.express.name,
                every=_EVERY,
                random=Random(self.seed),
                should_continue=goes_on,
            )
        except TimeoutError as error:
            self.on_progress(str(error))
            return None
        return LatencySummary.of(name, taken[settings.topics.opt_outs.name])

    def _supervise(self, worker: Worker) -> None:
        """Start the worker again where it has ended."""
        status = worker.process.poll()
        if status is not None:
            self._ends.append(status)
            worker.start()

    def _drain(self, settings: KafkaSettings, worker: Worker) -> None:
        """Wait until all is decided, but not for ever."""
        limit = time.monotonic() + _DRAINED_WITHIN
        while (left := backlog(settings)) and time.monotonic() < limit:
            self._supervise(worker)
            time.sleep(0.2)
        if left:
            self.on_progress(f"not decided: {left}")


def main(
    records: Annotated[int, typer.Option(min=1, help="Hostile records in all.")] = 100_000,
    quiet: Annotated[float, typer.Option(min=1, help="Seconds without them, each pair.")] = 60.0,
    pairs: Annotated[
        int, typer.Option(min=1, help="Measurements, the median of which counts.")
    ] = 3,
    seed: Annotated[int, typer.Option(help="The same records for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data and log, and the result.")] = Path(
        ".izin/chaos-hostile"
    ),
) -> None:
    """Write hostile records beside opt-outs, then account for every one of both."""
    raise run_stage(
        "hostile",
        folder,
        lambda show: HostileCampaign(
            folder=folder,
            seed=seed,
            records=records,
            pairs=pairs,
            quiet=quiet,
            on_progress=show,
        ).run(),
        lambda verdict, seconds: report(verdict, seed=seed, seconds=seconds),
    )


def report(verdict: HostileVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    summaries = [one for pair in verdict.pairs for one in (pair.without, pair.beside)]
    fates = verdict.account.fates
    return RunReport(
        tables=[
            latency_table(summaries, "Opt-outs, published until readable", "opt-outs", "count"),
            f"seed {seed}: {verdict.records} hostile, {verdict.opt_outs} opt-outs, {seconds:.0f} s",
            *(f"  {kind}: {counted(fates[kind])}" for kind in sorted(fates)),
            *listed(verdict.account.wrong),
        ],
        data={
            "seed": seed,
            "seconds": round(seconds),
            "opt_outs": verdict.opt_outs,
            "p99": [[pair.without.p99, pair.beside.p99] for pair in verdict.pairs],
            "fates": fates,
            "wrong": [*verdict.account.wrong],
        },
        figures={
            "hostile-records": verdict.records,
            "hostile-delay": verdict.share,
            "hostile-lost": verdict.lost,
            "hostile-wrong": len(verdict.account.wrong),
        },
        failures=[f"the order worker ended with {one}" for one in verdict.ends],
    )


if __name__ == "__main__":
    start("hostile", main)
