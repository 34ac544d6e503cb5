"""``izin report acts``: who did what, and who looked at whom."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.cli.terminal import (
    ONE_DAY,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    SinceOption,
    filled_if_given,
    print_rows,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.ledger.db import Ledger
from izin.views.acts import ActKind, ActSelection, RecordedAct, in_words, since

_COLUMNS = ("when", "who", "act", "on what", "customer", "changes")


def acts(
    *,
    begin: SinceOption = None,
    customer: OneCustomerOption = None,
    actor: Annotated[
        str | None, typer.Option(callback=filled_if_given, help="Only of who did it, as --by said.")
    ] = None,
    which: Annotated[ActKind, typer.Option(help="Changes, looks at people, or both.")] = (
        ActKind.EVERY
    ),
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List who did what and who looked at whom, the newest first.

    Of the last day, unless --since. Recipients are masked; a person who was looked at is shown by
    the end of a keyed digest, and izin explain lists who looked at one. Times are Turkish; JSON has
    UTC.
    """
    selected = ActSelection(customer=customer, by=actor, kind=which)
    first = begin or datetime.now(UTC) - ONE_DAY

    async def read(ledger: Ledger) -> list[RecordedAct]:
        return [one async for one in since(ledger, selected, begin=first)]

    found = run_on_ledger(read, customer=customer)
    as_json = [
        {
            "recorded_at": one.position.recorded_at,
            "customer": one.customer_id,
            "key": one.key,
            **one.data,
        }
        for one in found
    ]
    print_rows(output, _COLUMNS, in_words(found), as_json=as_json)
