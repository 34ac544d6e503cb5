"""``izin brands retailers``: have the retailers (bayi) that the latest events name, and no others,
use a brand's consents at İYS.
"""

import time
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from shlex import quote
from typing import Annotated

import orjson
import typer

from izin.cli.terminal import (
    BrandArgument,
    ByOption,
    ExecuteOption,
    OutputFormat,
    OutputOption,
    exit_if,
    print_found,
    say,
    showing,
)
from izin.cli.terminal.iys_session import WorkerSettings, run_at_iys
from izin.cli.terminal.ledger_session import run_on_ledger, topic_messages
from izin.iys.client import IysClient
from izin.ledger import brands, retailers as registry
from izin.ledger.db import Ledger
from izin.ledger.retailers import RetailerDifference
from izin.reconcile.retailer_access import AccessWork, changes_for, forecast
from izin.runtime.plan import Plan, Selection, work_folder
from izin.sinks.outbound.context import RequestBudget
from izin.views.cut import Look

_KIND = "retailers"
_ASKED = "asked.jsonl"
"""In the folder of a plan: the consents of which İYS has accepted the change."""
_COLUMNS = {
    "key": "key",
    "registered_code": "retailer at İYS",
    "registered_access": "access at İYS",
    "desired_code": "desired retailer",
    "desired_access": "desired access",
    "since": "since",
}


def retailers(  # options
    brand_code: BrandArgument,
    *,
    plan: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Where the plan of the changes at İYS is written, or with --execute the plan that "
            "is executed. It names recipients: delete it afterwards.",
        ),
    ] = None,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List the consents that İYS holds with other retailers than their latest event names.

    With --plan the calls that change them at İYS are counted, with how long they take, and written
    to the plan; with --execute they are made, a few a second, each list is read back, and who
    ordered it is written to the history of each that is as wanted. What was stopped is started
    again by the same command. Exit code 1 if any differ, or are left. The output is personal data:
    who looked is written to the history.
    """
    if execute:
        if plan is None:
            raise typer.BadParameter("--execute needs a --plan")
        _execute(brand_code, plan, by)
        return
    found = run_on_ledger(
        lambda ledger: registry.differences(ledger, brand_code),
        brand=brand_code,
        look=Look(command="brands retailers", by=by, brand=brand_code),
    )
    print_found(output, _COLUMNS, found)
    if plan is not None and found:
        _write(brand_code, plan, found, by)
    exit_if(found)


def _write(brand_code: int, path: Path, found: Sequence[RetailerDifference], by: str) -> None:
    Plan(
        kind=_KIND,
        target=str(brand_code),
        selection=Selection(brands=frozenset({brand_code})),
        options={"records": [(one.key, one.since.isoformat()) for one in found]},
        cluster_id="",
        topics={},
        made_at=datetime.now(UTC),
        by=by,
    ).write(path)
    changes = changes_for(found)
    counts = Counter(str(one.kind) for one in changes)
    minutes = forecast(changes, len(found), rate=_rate()).total_seconds() / 60
    say(
        f"{len(found)} lists would be changed at İYS by {len(changes)} calls "
        f"({', '.join(f'{count} {kind}' for kind, count in counts.items()) or 'none'}), and read "
        f"back: about {minutes:,.0f} min",
        f"to do it: izin brands retailers {brand_code} --plan {quote(str(path))} --execute",
    )


def _rate() -> float:
    """Return how many calls a second are made: as sweeps, which leave İYS to what is urgent."""
    settings = WorkerSettings()
    return settings.sweep_share * settings.requests_per_second


def _execute(brand_code: int, path: Path, by: str) -> None:
    records = Plan.read(path, kind=_KIND, target=str(brand_code)).options["records"]
    planned = {(key, datetime.fromisoformat(at)) for key, at in records}
    journal = work_folder(path) / _ASKED
    journal.touch(mode=0o600)
    lines = journal.read_bytes().splitlines(keepends=True)
    # The last line of a run that was killed may be cut: its consents are asked about again.
    noted = [orjson.loads(one) for one in lines if one.endswith(b"\n")]

    def note(some: Sequence[RetailerDifference]) -> None:
        with journal.open("ab") as file:
            file.writelines(
                orjson.dumps([one.key, one.since], option=orjson.OPT_APPEND_NEWLINE) for one in some
            )

    async def work(ledger: Ledger, client: IysClient) -> tuple[int, dict[str, str], int]:
        every = await registry.differences(ledger, brand_code)
        found = [one for one in every if (one.key, one.since) in planned]
        work = AccessWork(
            ledger=ledger,
            calls=client.retailers,
            topic_messages=topic_messages(),
            brand=await brands.registered_brand(ledger, brand_code),
            by=by,
            turn=RequestBudget(_rate(), clock=time.monotonic).turn,
            asked={(key, datetime.fromisoformat(at)) for key, at in noted},
            on_asked=note,
        )
        with showing("calls to İYS") as progress:
            return *await work.carry_out(found, progress), len(found)

    settled, left, count = run_at_iys(work)
    say(f"{settled} of {count} lists are at İYS as wanted")
    for why, number in Counter(left.values()).items():
        say(f"{number} are left: {why}")
    if changed := count - settled - len(left):
        say(f"{changed} changed meanwhile, and were left alone: plan again")
    if left:
        say(f"to go on: izin brands retailers {brand_code} --plan {quote(str(path))} --execute")
    exit_if(count - settled)
