"""``python -m tests.chaos.hostile``: hostile records; ``make chaos STAGE=hostile``.

``CHAOS_ARGS="--records 9000 --quiet 15"`` shortens it; ``--seed`` and the number of a batch, which
each fault names, make that batch again: ``tests.chaos.hostile.records.hostile_batch``.

Opt-outs (RET) of others, 100 a second over all partitions, are measured from their publication
until a subscriber can read them, alone and beside 200 hostile records a second, three times. It
ends with the lines ``hostile-records``, ``hostile-delay``, ``hostile-lost`` and ``hostile-wrong``,
``ok`` or ``short``. Exit codes: 0 all hold; 1 one does not, or the order worker ended; 2 wrong
usage.
"""

import time
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from benchmarks.worker.probe import latency_table
from tests.chaos.command import conclude, counted, empty, listed, showing
from tests.chaos.hostile.campaign import HostileCampaign, HostileVerdict

app = typer.Typer(add_completion=False, help="Hostile records beside the opt-outs of others.")


@app.command()
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
    empty(folder)
    began = time.monotonic()
    with showing(f"seed {seed}") as show:
        verdict = HostileCampaign(
            folder=folder,
            seed=seed,
            records=records,
            pairs=pairs,
            quiet=quiet,
            on_progress=show,
        ).run()
    raise conclude("hostile", folder, report(verdict, seed=seed, seconds=time.monotonic() - began))


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
    app(prog_name="python -m tests.chaos.hostile")
