"""``python -m tests.chaos.forgery``: forgeries and what is genuine; ``make chaos STAGE=forgery``.

It ends with the lines ``forgery-found``, ``forgery-missed``, ``forgery-archives``,
``forgery-ledgers`` and ``forgery-faults``, each ``ok`` or ``short``. Exit codes: 0 every forgery
was found by each verifier that can see it, and nothing genuine has a fault; 1 else; 2 wrong usage.
"""

import asyncio
import time
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.results import RunReport
from izin.ledger.db.migrate import migrate
from izin.local import Postgres, create_database
from tests.chaos.command import conclude, counted, empty, listed, showing
from tests.chaos.forgery.campaign import ForgeryCampaign, ForgeryVerdict

app = typer.Typer(add_completion=False, help="Forged archives and ledgers, and genuine ones.")
_TEMPLATE = "template_ledger"


@app.command()
def main(
    archives: Annotated[int, typer.Option(min=1, help="Genuine archives.")] = 10_000,
    ledgers: Annotated[int, typer.Option(min=1, help="Genuine ledgers.")] = 100,
    forgeries: Annotated[
        int, typer.Option(min=2, help="Forgeries, of archives and of ledgers half of them each.")
    ] = 2000,
    seed: Annotated[int, typer.Option(help="The same choices for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data and the result.")] = Path(
        ".izin/chaos-forgery"
    ),
) -> None:
    """Forge archives and ledgers behind an anchor that the verifier holds."""
    empty(folder)
    began = time.monotonic()
    with showing("starting") as show, Postgres(folder) as postgres:
        asyncio.run(migrate(create_database(postgres.url, _TEMPLATE)))
        campaign = ForgeryCampaign(
            postgres=postgres.url,
            template=_TEMPLATE,
            seed=seed,
            archives=archives,
            ledgers=ledgers,
            forgeries=forgeries,
            on_progress=show,
        )
        verdict = asyncio.run(campaign.run())
    raise conclude("forgery", folder, report(verdict, seed=seed, seconds=time.monotonic() - began))


def report(verdict: ForgeryVerdict, *, seed: int, seconds: float) -> RunReport:
    """Return the report of a campaign."""
    summary = (
        f"{verdict.found} of {verdict.forgeries} forgeries found; {verdict.archives} genuine "
        f"archives and {verdict.ledgers} ledgers have {len(verdict.faults)} faults; {seconds:.0f} s"
    )
    return RunReport(
        tables=[summary, counted(verdict.kinds), *listed([*verdict.missed, *verdict.faults])],
        data={
            "seed": seed,
            "seconds": round(seconds),
            **asdict(verdict),
            "kinds": verdict.kinds,  # asdict spoils a Counter
        },
        figures={
            "forgery-found": verdict.found,
            "forgery-missed": len(verdict.missed),
            "forgery-archives": verdict.archives,
            "forgery-ledgers": verdict.ledgers,
            "forgery-faults": len(verdict.faults),
        },
    )


if __name__ == "__main__":
    app(prog_name="python -m tests.chaos.forgery")
