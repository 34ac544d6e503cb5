"""``izin replay what-if``: history by another calendar, other terms, or other rules of the gate."""

from collections.abc import Sequence
from datetime import UTC, date, datetime
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from izin.consent.errors import SourceError
from izin.console.replay.selection_options import (
    BrandOption,
    CustomerOption,
    selection_of,
)
from izin.console.replay.what_if_output import COUNTS, count_rows, facts_of, next_steps, wrong_lines
from izin.console.replay.what_if_settings import BrandInstant, VariedSettings, brand_instant
from izin.console.sending.scrubbing import UnusableReceiptError, find_receipt, receipt_path
from izin.console.terminal.arguments import ByOption, RecipientOption, instant
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.ledger_session import Look, run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    out,
    print_json,
    print_rows,
    say,
)
from izin.console.terminal.progress import showing
from izin.replay.selection import Selection
from izin.replay.what_if import run
from izin.replay.what_if.lists import GivenList
from izin.replay.what_if.results import WRONG, ResultFolder, WhatIfResult
from izin.replay.what_if.run import WhatIf, WhatIfRequest
from izin.replay.what_if.settings import differing
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.record.brand import Brand

_MOST_CHANGES = 1000
"""Changes in the JSON; all of them are in the file."""
_MOST_LINES = 20


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise typer.BadParameter(f"{text} is no day; write it as 2026-05-18") from None


ClosedDayOption = Annotated[
    list[date] | None,
    typer.Option(parser=_day, metavar="DAY", help="This day is no business day; repeat it."),
]
OpenDayOption = Annotated[
    list[date] | None,
    typer.Option(
        parser=_day,
        metavar="DAY",
        help="This day of IZIN_EXTRA_CLOSED_DAYS is a business day; repeat it.",
    ),
]
ActivatedOption = Annotated[
    list[BrandInstant] | None,
    typer.Option(
        parser=brand_instant,
        metavar="BRAND=INSTANT",
        help="The brand is active at İYS since then, or not (none); repeat it.",
    ),
]
DeadlineOption = Annotated[
    list[BrandInstant] | None,
    typer.Option(
        parser=brand_instant,
        metavar="BRAND=INSTANT",
        help="The brand's first loading ends then, or has no end (none); repeat it.",
    ),
]
ApartOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CUSTOMER",
        help="An opt-out as BIREYSEL leaves the address open as TACIR; repeat it.",
    ),
]
JoinedOption = Annotated[
    list[str] | None,
    typer.Option(metavar="CUSTOMER", help="It closes the address as TACIR too; repeat it."),
]
FreeOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="CUSTOMER", help="May send to merchants that İYS does not have; repeat it."
    ),
]
BoundOption = Annotated[
    list[str] | None,
    typer.Option(metavar="CUSTOMER", help="May not send to them; repeat it."),
]
SinceOption = Annotated[
    datetime | None,
    typer.Option(
        parser=instant,
        metavar="INSTANT",
        help="What differs, or was asked, then or later: 2024-01-31T12:00, in Turkish time or "
        "with an offset.",
    ),
]
UntilOption = Annotated[
    datetime | None, typer.Option(parser=instant, metavar="INSTANT", help="The same, before.")
]
PlanOption = Annotated[
    Path,
    typer.Option(
        "--plan",
        metavar="FILE",
        dir_okay=False,
        help="Where the plan is written; a run that was stopped goes on with the same file.",
    ),
]
ListOption = Annotated[
    list[Path] | None,
    typer.Option(
        "--list",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="A file as izin scrub wrote it: who of those concerned was on it. Repeat it.",
    ),
]
ReceiptOption = Annotated[
    list[str] | None,
    typer.Option(
        metavar="ID",
        help="The gate's receipt of the list, or those of its parts in their order. "
        "Default: those that izin scrub noted beside the file.",
    ),
]
UnmaskedOption = Annotated[
    bool,
    typer.Option("--unmasked", help="Write whole recipients to the file: personal data."),
]


def what_if(
    *,
    plan: PlanOption,
    closed_day: ClosedDayOption = None,
    open_day: OpenDayOption = None,
    activated_at: ActivatedOption = None,
    loading_deadline: DeadlineOption = None,
    merchants_apart: ApartOption = None,
    merchants_joined: JoinedOption = None,
    merchants_free: FreeOption = None,
    merchants_bound: BoundOption = None,
    since: SinceOption = None,
    until: UntilOption = None,
    recipient: RecipientOption = None,
    brand: BrandOption = None,
    customer: CustomerOption = None,
    list_: ListOption = None,
    receipt: ReceiptOption = None,
    unmasked: UnmaskedOption = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say what would differ by another calendar, other terms or other rules for merchants.

    The settings in force are those of the environment (IZIN_EXTRA_CLOSED_DAYS, IZIN_GATE_…) and of
    the brands; options vary them. The history says which terms, consents and answers differ, and
    who was sent to by a receipt though the right answer is no. How fresh İYS's data must be cannot
    be varied: the history does not say when it was pulled. Only the plan and the folder of its work
    are written.

    Exit code 1 if somebody was sent to by a wrong answer, 3 if the options or a list cannot be
    used, 130 if it was stopped: the same command goes on.
    """
    varied = VariedSettings.of(
        days=(closed_day, open_day),
        terms=(activated_at, loading_deadline),
        apart=(merchants_apart, merchants_joined),
        free=(merchants_free, merchants_bound),
    )
    with exit_on_signals(), exit_on_error():
        chosen = selection_of(
            since=since,
            until=until,
            recipients=recipient,
            brands=brand,
            customers=customer,
            origins=None,
            offsets=None,
        )
        lists = _lists(list_ or (), receipt or ())
        with showing("slices") as progress:
            found, work, words = run_on_ledger(
                lambda ledger: _run(ledger, varied, chosen, lists, plan, progress, by),
                look=Look(command="replay what-if", by=by) if unmasked else None,
            )
        table = work.write_table(unmasked=unmasked)
    _print(found, work, words, table, output)
    exit_if(found.sent)


async def _run(  # noqa: PLR0917  # what is asked, and where it is kept
    ledger: Ledger,
    varied: VariedSettings,
    chosen: Selection,
    lists: tuple[GivenList, ...],
    path: Path,
    progress: run.OnProgress,
    by: str,
) -> tuple[WhatIfResult, ResultFolder, list[str]]:
    known = await brands.every(ledger)
    before, after = varied.settings(known, ledger.calendar)
    customers = {one.brand_code: one.customer_id for one in known if _concerns(chosen, one)}
    if chosen.brands or chosen.customers:
        before, after = before.within(customers), after.within(customers)
        if not differing(before, after):
            raise SourceError("what is varied is not of what --brand and --customer select")
    request = WhatIfRequest(
        selection=chosen,
        before=before,
        after=after,
        customers=customers,
        lists=lists,
        by=by,
        now=datetime.now(UTC),
    )
    made = await run.plan(ledger, request, path)
    work = WhatIf(ledger=ledger, plan=made, path=path, lists=lists)
    return await work.run(progress), run.result_folder(made, path), differing(before, after)


def _concerns(chosen: Selection, brand: Brand) -> bool:
    """Whether a brand may be in the plan: of others it has nothing."""
    return (not chosen.brands or brand.brand_code in chosen.brands) and (
        not chosen.customers or brand.customer_id in chosen.customers
    )


def _lists(files: Sequence[Path], receipts: Sequence[str]) -> tuple[GivenList, ...]:
    """Return the lists with their receipts: those that are given, for one file, else those that
    izin scrub noted beside each.
    """
    if receipts and len(files) != 1:
        raise typer.BadParameter("it is of one --list", param_hint="--receipt")
    return tuple(_list(one, receipts) for one in files)


def _list(path: Path, receipts: Sequence[str]) -> GivenList:
    if receipts:
        return GivenList(path=path, receipts=tuple(receipts))
    beside = receipt_path(path)
    if not beside.is_file():
        raise UnusableReceiptError(
            f"{path.name} has no {beside.name} beside it: say which receipt it is of (--receipt ID)"
        )
    noted = find_receipt(str(beside), path)
    return GivenList(
        path=path,
        receipts=tuple(one.receipt for one in noted.batches),
        recipient=noted.columns.recipient,
        reason=noted.columns.reason,
    )


def _print(
    found: WhatIfResult,
    work: ResultFolder,
    words: Sequence[str],
    table: Path,
    output: OutputFormat,
) -> None:
    facts: dict[str, Any] = {"by_other_settings": words, **facts_of(found), "file": str(table)}
    rows = count_rows(found)
    match output:
        case OutputFormat.JSON:
            changes = list(islice(work.masked(), _MOST_CHANGES + 1))
            print_json(
                {
                    **facts,
                    "counts": [dict(zip(COUNTS, row, strict=True)) for row in rows],
                    "changes": changes[:_MOST_CHANGES],
                    "is_cut": len(changes) > _MOST_CHANGES,
                    "next_steps": next_steps(found),
                }
            )
        case OutputFormat.TABLE:
            print_rows(output, COUNTS, rows)
            for line in islice(wrong_lines(work.changes(WRONG)), _MOST_LINES):
                out.print(line, soft_wrap=True, highlight=False, markup=False)
            for name, value in facts.items():
                text = ", ".join(value) if isinstance(value, list) else value
                say(f"{name.replace('_', ' ')}: {text}")
            for step in next_steps(found):
                say(step)
