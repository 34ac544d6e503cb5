"""``izin customers pack``, ``checklist``, ``void-consents``: what a customer gives and gets."""

import shlex
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path
from typing import Annotated

import typer

from izin.cli.customers.onboard import LoadingFiles
from izin.cli.imports.command import import_session, reading_options
from izin.cli.terminal import (
    BrandsOption,
    ByOption,
    CustomerArgument,
    OutputFormat,
    OutputOption,
    cells,
    exit_if,
    named,
    print_rows,
    private_csv,
    say,
    takes,
    write_new,
)
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import SourceError
from izin.ledger.brands import brands_of
from izin.ledger.db import Ledger
from izin.ledger.registry import application_items
from izin.ledger.registry.application_items import (
    OF_BRANDS,
    ApplicationItem,
    ItemFormError,
    NewItem,
)
from izin.onboarding.address_book import AddressBook
from izin.onboarding.pack import (
    HEADER,
    RETURNED_HEADER,
    ApplicationPack,
    listed,
    page_of,
    returned_row_of,
    row_of,
    way_back,
)
from izin.producers.files import Import
from izin.runtime.settings import LedgerSettings
from izin.views.customers import application_pack
from izin.views.cut import Look

_COLUMNS = {
    "brand_code": "brand",
    "phones": "phones",
    "emails": "e-mails",
    "addresses": "addresses",
}
_PROVIDERS = ("iys_code", "addresses", "above_150000", "limit", "beyond_limit")
PAGE = "basvuru.html"
"""The file of a pack."""


@takes("how", reading_options)
def pack(
    customer_id: CustomerArgument,
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE]...",
            exists=True,
            dir_okay=False,
            readable=True,
            help="Files to count, as izin import reads them. Default: the ledger.",
        ),
    ] = None,
    *,
    how: Import,
    out: Annotated[
        Path,
        typer.Option(file_okay=False, help="The folder to write it to; it is made if need be."),
    ],
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Write the application pack of a customer: a page to print.

    The distinct phones and e-mail addresses of each brand and provider, by which its message
    package (İleti paketi) is chosen, and the checklist of documents.
    Before the first loading it counts files. basvuru.html must not be in the folder yet. Exit
    code 1 if something of the checklist is missing.
    """
    with AddressBook() as book:
        if (out / PAGE).exists():
            raise SourceError(f"{out / PAGE} exists already: choose another folder, or remove it")
        now, calendar = datetime.now(UTC), LedgerSettings().calendar
        if files:
            with import_session() as session:
                read = LoadingFiles(paths=files, how=how, session=session)
                say(
                    *(
                        f"{report.path.name}: {report.refused:,} rows cannot be read, and are not "
                        f"counted: izin import {shlex.quote(str(report.path))} --dry-run reports "
                        "them"
                        for report in read.note(book, now=now, calendar=calendar)
                        if report.refused
                    )
                )
        names = tuple(file.name for file in files or ())
        counted = book if names else None
        found = run_on_ledger(
            lambda ledger: application_pack(ledger, customer_id, counted, now=datetime.now(UTC))
        )
        found = replace(found, counted_in=names)
        _make(out)
        write_new(out / PAGE, page_of(found))
    _print(found, output)
    say(f"written: {out / PAGE}")
    exit_if(found.missing)


def _make(folder: Path) -> None:
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise SourceError(
            f"the folder {folder} cannot be made: {error.strerror}; name another one"
        ) from error


def _item(text: str) -> NewItem:
    name, equals, value = text.partition("=")
    item, colon, brand = name.partition(":")
    known = {str(one): one for one in ApplicationItem}
    if not equals or item not in known:
        raise typer.BadParameter(f"{text} is no item; write ITEM=VALUE, of: {', '.join(known)}")
    chosen = known[item]
    is_brand = brand.isdecimal() and brand.isascii()
    if (chosen in OF_BRANDS) is not bool(colon) or bool(colon) is not is_brand:
        raise typer.BadParameter(
            f"{name}: write {', '.join(OF_BRANDS)} with a brand, as trade-mark:100001, and any "
            "other item without"
        )
    try:
        return NewItem(item=chosen, brand_code=int(brand or 0), value=value.strip())
    except ItemFormError as error:
        raise typer.BadParameter(str(error)) from None


def checklist_items(
    customer_id: CustomerArgument,
    items: Annotated[
        list[str],
        typer.Argument(
            metavar="ITEM=VALUE...",
            help="An item of the checklist, as signature=jointly or trade-mark:100001=2019-12345; "
            "an empty value takes it away.",
        ),
    ],
    *,
    by: ByOption,
) -> None:
    """Note what a customer gives for its application to İYS.

    Items: trade-mark:BRAND, undertaking, signature (alone or jointly), signatory, second-signatory,
    authorisation, opt-out-number, opt-out-sms, opt-out-url. The MERSİS number is part of the
    customer: izin customers change. A value with the number of a natural person (T.C. kimlik
    numarası) is refused: it is never stored. Who noted it is written to the history.
    """
    given = [_item(item) for item in items]
    changed = run_on_ledger(
        lambda ledger: application_items.put(
            ledger, customer_id, given, by=by, now=datetime.now(UTC)
        )
    )
    say(f"{changed} items of customer {customer_id} changed")


def _print(found: ApplicationPack, output: OutputFormat) -> None:
    rows = [(code, one.phones, one.emails, one.total) for code, one in found.counts.items()]
    known = {
        "brands": named(_COLUMNS, rows),
        "providers": named(
            _PROVIDERS,
            cells(_PROVIDERS, found.providers, above_150000=attrgetter("is_above_threshold")),
        ),
        "missing": [one.name for one in found.missing],
    }
    print_rows(output, _COLUMNS, rows, as_json=known, notes=_notes(found))


def _notes(found: ApplicationPack) -> Iterator[str]:
    for code in found.counted_in_ledger:
        yield f"brand {code} is in no file: it is counted as the ledger has it"
    for provider in found.providers:
        limit = (
            f"; its subscription allows {provider.limit:,}" if provider.limit is not None else ""
        )
        side = "above" if provider.is_above_threshold else "not above"
        yield (
            f"provider {provider.iys_code}: {provider.addresses:,} addresses, {side} 150,000{limit}"
        )
    for line in found.missing:
        yield f"missing: {line.name}, {line.title}"


def void_consents_of(
    customer_id: CustomerArgument,
    *,
    brands: BrandsOption = None,
    out: Annotated[
        Path | None,
        typer.Option(dir_okay=False, help="The file (CSV) to write them to, a new one."),
    ] = None,
    returned: Annotated[
        bool,
        typer.Option("--returned", help="Those that have come back: İYS holds a later consent."),
    ] = False,
    by: ByOption,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Count the consents (ONAY) of a customer that are void: not registered at İYS in time, or
    refused; and how each may lawfully come back.

    With --out they are written to a file that only you can read: for the next visit, an order form,
    a call that the recipient makes, or İYS's ViA on such an occasion. It is no send list, and each
    row says so: a consent may not be asked for by a commercial message, and where an opt-out stands
    nobody asks at all. With --returned it is those that have come back, by which source. Who wrote
    them is in the history. Exit code 1 if there are any that are void, 3 if the file exists.
    """
    if out is not None and out.exists():
        raise SourceError(f"{out} exists already: name another file")
    found = run_on_ledger(
        lambda ledger: _count(ledger, customer_id, brands or [], out, returned=returned),
        look=None
        if out is None
        else Look(command="customers void-consents", by=by, customer=customer_id),
    )
    rows = [(*lane, number) for lane, number in sorted(found.items())]
    columns = ("source", "returned") if returned else ("comes back", "void")
    print_rows(output, ("brand", "channel", *columns), rows)
    if not returned:
        say(
            "a new consent is given as said; never ask for it by a commercial message"
            if found
            else "what a first loading calls void is in the reports beside its files"
        )
    if out is not None:
        say(f"{sum(found.values()):,} consents are in {out}; it is not a list to send to")
    exit_if(found and not returned)


async def _count(
    ledger: Ledger, customer_id: str, only: list[int], out: Path | None, *, returned: bool
) -> Counter[tuple[int, str, str]]:
    """Return how many consents are void by brand, channel and way back, or have come back by
    source, and write them to ``out``.
    """
    brands = await brands_of(ledger, customer_id, only)
    header, cells_of = (RETURNED_HEADER, returned_row_of) if returned else (HEADER, row_of)
    found: Counter[tuple[int, str, str]] = Counter()
    with nullcontext() if out is None else private_csv(out, header, for_excel=True) as rows:
        async for one in listed(ledger, brands, returned=returned):
            way = (one["registered_source"] or "") if returned else way_back(one)[1]
            found[one["brand_code"], one["channel"], way] += 1
            if rows is not None:
                rows.writerow(cells_of(one))
    return found
