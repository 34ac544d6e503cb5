"""``izin customers void``: which consents became void, and how a new one is lawfully given."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.terminal.arguments import ByOption, CustomerArgument
from izin.console.terminal.ledger_session import Look, run_on_ledger
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_rows,
    say,
)
from izin.console.terminal.private_csv import private_csv
from izin.onboarding.loading import HEADER, WAYS, row_of, void_consents
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry.customer_brands import brands_of


def void(
    customer_id: CustomerArgument,
    *,
    brand: Annotated[
        list[int] | None, typer.Option(min=1, help="Only this brand; may be repeated.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="A CSV file to write them to; it must not exist yet."),
    ] = None,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Count the consents (ONAY) of a customer that became void: not registered at İYS in time.

    With --out they are written to a file that only you can read: for the next visit, an order form,
    a call that the recipient makes, or İYS's ViA. It is no send list, and each row says so: a
    consent may not be asked for by a commercial message. Who wrote them is in the history. Exit
    code 1 if there are any, 3 if the file exists.
    """
    with exit_on_error():
        if out is not None and out.exists():
            raise SourceError(f"{out} exists already: name another file")
        found = run_on_ledger(
            lambda ledger: _count(ledger, customer_id, brand or [], out),
            look=None
            if out is None
            else Look(command="customers void", by=by, customer=customer_id),
        )
    rows = [(*lane, count) for lane, count in sorted(found.items())]
    print_rows(output, ("brand", "channel", "void"), rows)
    if found:
        ways = ", ".join(english for _, english in WAYS)
        say(f"a new consent is given at the {ways}; never ask for it by a commercial message")
    if out is not None:
        say(f"{sum(found.values()):,} consents are in {out}: no send list")
    exit_if(found)


async def _count(
    ledger: Ledger, customer_id: str, only: list[int], out: Path | None
) -> Counter[tuple[int, str]]:
    """Return how many are void by brand and channel, and write them to ``out``."""
    brands = await brands_of(ledger, customer_id, only)
    found: Counter[tuple[int, str]] = Counter()
    if out is None:
        async for one in void_consents(ledger, brands):
            found[one.brand_code, one.channel] += 1
        return found
    with private_csv(out, HEADER, for_excel=True) as rows:
        async for one in void_consents(ledger, brands):
            found[one.brand_code, one.channel] += 1
            rows.writerow(row_of(one))
    return found
