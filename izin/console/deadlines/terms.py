"""``izin deadlines rule-again``: count the terms of what is not settled anew."""

from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.terminal.arguments import ByOption, ExecuteOption
from izin.console.terminal.ledger_session import run_on_ledger, topic_messages
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_on_error,
    print_json,
    print_rows,
    say,
)
from izin.sinks.ledger import brands
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry.rule_again import CountedTerms, TermsAgain
from izin.sinks.record.brand import Brand

_COLUMNS = {
    "brand_code": "brand",
    "records": "not settled",
    "sooner": "due sooner",
    "later": "due later",
    "extended": "due again",
    "expired": "expire",
}


def rule_again(
    *,
    brand: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Code of a brand; may be repeated. Default: every brand."),
    ] = None,
    by: ByOption,
    execute: ExecuteOption = False,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Count the terms of what is not settled again, after the calendar or a brand was corrected.

    Run it with the IZIN_EXTRA_CLOSED_DAYS that is right, once every sink worker was restarted with
    it. Consents that expired by the wrong calendar and have not by the right one are due again.
    What İYS has taken stays as it is: izin replay what-if lists what of it is void, and to whom
    messages were sent. Without --execute nothing is changed. Exit code 3 if a brand is not
    registered.
    """
    with exit_on_error():
        counted, closed = run_on_ledger(lambda ledger: _run(ledger, brand, by=by, execute=execute))
    rows = [tuple(asdict(one).values()) for one in counted]
    match output:
        case OutputFormat.JSON:
            print_json(
                {
                    "is_dry_run": not execute,
                    "extra_closed_days": closed,
                    "brands": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
                }
            )
        case OutputFormat.TABLE:
            print_rows(output, _COLUMNS, rows)
            days = ", ".join(closed) or "none"
            say(f"days closed besides the public holidays (IZIN_EXTRA_CLOSED_DAYS): {days}")
            say(
                "terms are counted again"
                if execute
                else "nothing is changed: add --execute to do it"
            )


async def _run(
    ledger: Ledger, codes: Sequence[int] | None, *, by: str, execute: bool
) -> tuple[tuple[CountedTerms, ...], list[str]]:
    order = TermsAgain(
        ledger=ledger,
        topic_messages=topic_messages(),
        by=by,
        now=datetime.now(UTC),
        is_dry_run=not execute,
    )
    counted = await order.run(_chosen(await brands.every(ledger), codes))
    return counted, sorted(map(str, ledger.calendar.extra_closed_days))


def _chosen(known: Sequence[Brand], codes: Sequence[int] | None) -> Sequence[Brand]:
    if codes is None:
        return known
    unknown = sorted(set(codes) - {one.brand_code for one in known})
    if unknown:
        raise SourceError(f"brand {unknown[0]} is not registered; see: izin brands list")
    return [one for one in known if one.brand_code in codes]
