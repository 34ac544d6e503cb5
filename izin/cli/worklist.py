"""``izin worklist``: everything that needs a person, what can be done until the earliest first."""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.terminal import (
    ByOption,
    OneBrandOption,
    OneCustomerOption,
    OutputFormat,
    OutputOption,
    UnmaskedOption,
    exit_if,
    kafka_settings,
    print_found,
    say,
    write_new,
)
from izin.cli.terminal.language import LanguageOption
from izin.cli.terminal.ledger_session import named_brand, run_on_ledger
from izin.consent import OurError
from izin.kafka.clients import codec
from izin.ledger.db import Ledger
from izin.views.cut import Look, cut_to
from izin.views.i18n import Language, spoken
from izin.views.unreadable import Letters, read_letters, unreadable
from izin.views.words import Words
from izin.views.worklist import Filter, Need, WorkItem, every, file_of

_COLUMNS = {
    "kind": "kind",
    "brand_code": "brand",
    "channel": "channel",
    "recipient": "recipient",
    "status": "status",
    "records": "records",
    "why": "reason",
    "until": "until",
    "since": "since",
    "remedy": "remedy",
}


def worklist(
    *,
    customer: OneCustomerOption = None,
    needs: Annotated[
        Need | None, typer.Option(help="Only what needs a person for this, as parked.")
    ] = None,
    brand: OneBrandOption = None,
    because: Annotated[
        str | None,
        typer.Option(
            help="Only those with this reason, as reconsent; of what İYS refused its code."
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, help="At most so many, the first due.")] = 1000,
    unmasked: UnmaskedOption = False,
    out: Annotated[
        Path | None,
        typer.Option(
            dir_okay=False,
            help="The file (CSV) to write, a new one: in Turkish, as Excel in Turkey opens it.",
        ),
    ] = None,
    by: ByOption,
    language: LanguageOption = Language.ENGLISH,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """List everything that needs a person: why, what to do and until when; what is due first.

    That is: parked, refused by İYS, held back, suspended, sent too late in the last 30 days,
    complaints that are not closed, and unreadable (dead letters). Until: by then İYS must have it,
    or a complaint its answer. Recipients are masked, unless --unmasked; who looked is written to
    the history. Exit code 1 if there is anything.
    """
    wanted = Filter(kind=needs, brand_code=brand, reason=because)
    letters = _letters() if needs in {None, Need.UNREADABLE} else ()

    async def work(ledger: Ledger) -> list[WorkItem]:
        return await every(
            ledger,
            await cut_to(ledger, customer, named_brand(brand)),
            wanted,
            now=datetime.now(UTC),
            most=limit,
            letters=await unreadable(ledger, letters),
        )

    look = Look(command="worklist", by=by, brand=brand, customer=customer)
    found = run_on_ledger(work, look=look if unmasked else None)
    if out is None:
        _print(found, output, spoken(language), unmasked=unmasked)
    else:
        write_new(out, file_of(found, Language.TURKISH, is_shown=unmasked))
        say(f"{len(found)} are in {out}")
    exit_if(found)


def _print(
    found: Sequence[WorkItem], output: OutputFormat, words: Words, *, unmasked: bool
) -> None:
    print_found(
        output,
        _COLUMNS,
        found,
        below=True,
        recipient=lambda item: item.name(is_shown=unmasked),
        why=lambda item: words.text(item.why),
        remedy=lambda item: words.text(item.remedy),
    )


def _letters() -> Letters:
    kafka = kafka_settings()
    try:
        return read_letters(kafka, codec(kafka))
    except OurError as error:
        say(f"dead letters are left out: {error}")
        return ()
