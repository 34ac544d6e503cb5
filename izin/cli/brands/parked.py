"""``izin brands parked``, ``retailers`` and ``requeue``: records that a person must act on.

The dry run of ``requeue`` lists them and writes a plan; its execution acts on what it lists and on
nothing else, so that a remedy for one recipient attests nothing for another.
"""

from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from shlex import quote
from typing import Annotated

import typer

from izin.cli.remedies import remedy_of_parked
from izin.cli.terminal import (
    SLASHES,
    BrandArgument,
    ByOption,
    ExecuteOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    RecipientOption,
    exit_if,
    named_recipients,
    print_found,
    print_rows,
    say,
)
from izin.cli.terminal.ledger_session import Look, run_cut, run_on_ledger, topic_messages
from izin.consent import SourceError
from izin.ledger import brands, reads
from izin.ledger import retailers as retailer_access
from izin.runtime.plan import Plan, Selection

_PARKED = {
    "brand_code": "brand",
    "channel": "channel",
    "desired_status": "desired",
    "reason": "reason",
    "code": "code",
    "keys": "records",
    "remedy": "remedy",
}
_RETAILERS = {
    "key": "key",
    "registered_code": "retailer at İYS",
    "registered_access": "access at İYS",
    "desired_code": "desired retailer",
    "desired_access": "desired access",
    "since": "since",
}
ExactlyOption = Annotated[
    int | None,
    typer.Option(
        min=1, metavar="COUNT", help="All that the brand has for the reason: exactly so many."
    ),
]
PlanOption = Annotated[
    Path,
    typer.Option(
        metavar="FILE",
        dir_okay=False,
        help="Where the plan is written, or with --execute the plan that is executed. It names "
        "recipients: delete it afterwards.",
    ),
]
_KIND = "requeue"


def parked(
    *, customer: OneCustomerOption = None, output: OutputOption = OutputFormat.TABLE
) -> None:
    """List the records that a person must act on, by reason, with the remedy for each.

    Exit code 1 if there are any.
    """
    found = run_cut(customer, reads.parked, attrgetter("brand_code"))
    print_found(
        output,
        _PARKED,
        found,
        below=True,
        remedy=lambda one: remedy_of_parked(one.brand_code, one.reason, all_of=one.keys),
    )
    exit_if(found)


def retailers(
    brand_code: BrandArgument, *, by: ByOption, output: OutputOption = OutputFormat.TABLE
) -> None:
    """List the consents that İYS holds with other retailers than their latest event names.

    Exit code 1 if there are any. The output is personal data: who looked is written to the history.
    """
    found = run_on_ledger(
        lambda ledger: retailer_access.differences(ledger, brand_code),
        brand=brand_code,
        look=Look(command="brands retailers", by=by, brand=brand_code),
    )
    print_found(output, _RETAILERS, found)
    exit_if(found)


def requeue(
    brand_code: BrandArgument,
    *,
    because: Annotated[
        str | None, typer.Option(help="Only those with this reason (izin brands parked).")
    ] = None,
    recipient: RecipientOption = None,
    exactly: ExactlyOption = None,
    plan: PlanOption,
    execute: ExecuteOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Process parked records of a brand again, and send them where that is lawful.

    Without --execute they are listed, those of --recipient or --exactly, and written to the plan;
    the output is personal data. With it the records in the plan are requeued, but for those that
    have changed since. Requeueing the reason reconsent confirms that each of these recipients has
    given a new consent; retailer-access, that the retailers were changed at İYS; quota-spent with
    --exactly, that there is room again. Who ordered it is written to each record's history. Exit
    code 1 if records of the plan were left out, 3 if nothing, or another number, is parked for the
    reason.
    """
    if execute:
        if because or recipient or exactly:
            raise typer.BadParameter("with --execute the plan alone counts")
        _execute(brand_code, plan, by)
        return
    if because is None or (recipient is None) == (exactly is None):
        raise typer.BadParameter("name --because and either --recipient or --exactly")
    names = frozenset(named_recipients(recipient or ()))
    every = run_on_ledger(
        lambda ledger: reads.parked_keys(ledger, brand_code, because),
        brand=brand_code,
        look=Look(command="brands requeue", by=by, brand=brand_code),
    )
    found = [one for one in every if exactly or names & {one.key, one.key.split("/", SLASHES)[-1]}]
    if not found or exactly not in {None, len(found)}:
        raise SourceError(
            f"brand {brand_code} has {len(found)} such records parked for {because}; "
            "see: izin brands parked"
        )
    Plan(
        kind=_KIND,
        target=str(brand_code),
        selection=Selection(brands=frozenset({brand_code})),
        options={"reason": because, "whole": bool(exactly), "records": [*map(tuple, found)]},
        cluster_id="",
        topics={},
        made_at=datetime.now(UTC),
        by=by,
    ).write(plan)
    print_rows(output, reads.ParkedKey._fields, found)
    say(
        f"{len(found)} records would be requeued; to do it: izin brands requeue {brand_code} "
        f"--plan {quote(str(plan))} --execute"
    )


def _execute(brand_code: int, path: Path, by: str) -> None:
    plan = Plan.read(path, kind=_KIND, target=str(brand_code))
    shown = [
        reads.ParkedKey(key, event_id, datetime.fromisoformat(since))
        for key, event_id, since in plan.options["records"]
    ]
    messages, now = topic_messages(), datetime.now(UTC)
    count = run_on_ledger(
        lambda ledger: brands.requeue(
            ledger,
            messages,
            brand_code,
            shown,
            reason=plan.options["reason"],
            whole=plan.options["whole"],
            by=by,
            now=now,
        )
    )
    say(f"{count} records of brand {brand_code} were requeued")
    if left := len(shown) - count:
        say(f"{left} of them changed since they were listed, and were left alone: list them again")
    exit_if(left)
