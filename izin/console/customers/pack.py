"""``izin customers pack`` and ``provide``: the application pack, and what is given for it."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.customers.files import loading_files
from izin.console.imports.command import reading_options
from izin.console.terminal.arguments import ByOption, CustomerArgument
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.option_sets import takes
from izin.console.terminal.output import (
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    print_json,
    print_rows,
    say,
)
from izin.console.terminal.private_file import write_new
from izin.onboarding.address_book import AddressBook
from izin.onboarding.known_keys import note_ledger
from izin.onboarding.pack.application import ApplicationPack, providers_of
from izin.onboarding.pack.checklist import checklist
from izin.onboarding.pack.counts import BrandCounts, brand_counts, counts_in
from izin.onboarding.pack.packages import MessagePackage, with_given
from izin.onboarding.pack.page import page_of
from izin.onboarding.pack.sheet import workbook_of
from izin.onboarding.what_if import check_brands, review_of
from izin.producers.files.importer import Import
from izin.producers.files.importing.report import ImportReport
from izin.runtime.settings import LedgerSettings
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import application_items, customers
from izin.sinks.ledger.registry.application_items import (
    OF_BRANDS,
    ApplicationItem,
    ItemFormError,
    NewItem,
)
from izin.sinks.ledger.registry.customer_brands import brands_of

_COLUMNS = {
    "brand_code": "brand",
    "phones": "phones",
    "emails": "e-mails",
    "addresses": "addresses",
    "held": "ONAY at İYS",
    "waiting": "to register",
    "void": "void",
}
PAGE, SHEET = "basvuru.html", "basvuru.xlsx"
"""The files of a pack."""


def _package(text: str) -> MessagePackage:
    name, equals, size = text.partition("=")
    if not name or not equals or not size.isdecimal() or not size.isascii():
        raise typer.BadParameter(f"{text} is no package; write it as İleti-75=75000")
    return MessagePackage(name=name, up_to=int(size), source="elle verildi")


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
    package: Annotated[
        list[MessagePackage] | None,
        typer.Option(
            parser=_package,
            metavar="NAME=ADDRESSES",
            help="A message package and its limit, in place of the one of this name; repeat it.",
        ),
    ] = None,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Write the application pack of a customer: a page to print and a workbook.

    The distinct phones and e-mail addresses of each brand, the consents of each channel, the
    message package (İleti paketi) that they need, and the checklist of documents. Before the first
    loading it counts files. basvuru.html and basvuru.xlsx must not be in the folder yet. Exit code
    1 if something of the checklist is missing.
    """
    with exit_on_error(), AddressBook() as book:
        if taken := [one for one in (out / PAGE, out / SHEET) if one.exists()]:
            raise SourceError(f"{taken[0]} exists already: choose another folder, or remove it")
        now, calendar = datetime.now(UTC), LedgerSettings().calendar
        if files:
            with loading_files(files, how) as read:
                _say_refused(read.note(book, now=now, calendar=calendar))
        names = tuple(one.name for one in files or ())
        found = run_on_ledger(
            lambda ledger: _pack(ledger, customer_id, package or [], book if names else None)
        )
        found = replace(found, counted_in=names)
        _make(out)
        for name, content in ((PAGE, page_of(found)), (SHEET, workbook_of(found))):
            write_new(out / name, content)
    _print(found, output)
    say(f"written: {out / PAGE}, {out / SHEET}")
    exit_if(found.missing)


def _say_refused(files: Sequence[ImportReport]) -> None:
    for one in files:
        if one.refused:
            say(
                f"{one.path.name}: {one.refused:,} rows cannot be read, and are not counted: izin "
                f"import {shlex.quote(str(one.path))} --dry-run reports them"
            )


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


def provide(
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
    with exit_on_error():
        given = [_item(one) for one in items]
        now = datetime.now(UTC)
        changed = run_on_ledger(
            lambda ledger: application_items.put(ledger, customer_id, given, by=by, now=now)
        )
    say(f"{changed} items of customer {customer_id} changed")


async def _pack(
    ledger: Ledger, customer_id: str, packages: Sequence[MessagePackage], book: AddressBook | None
) -> ApplicationPack:
    """Return the pack, with the counts of ``book``, None: of the ledger."""
    now = datetime.now(UTC)
    brands = await brands_of(ledger, customer_id)
    (customer,) = [one for one in await customers.every(ledger) if one.customer_id == customer_id]
    others: dict[int, BrandCounts] = {}
    if book is None:
        counts = await brand_counts(ledger, customer_id)
    else:
        check_brands(book, customer_id, brands)
        await note_ledger(ledger, book)
        review_of(book, brands, now=now, calendar=ledger.calendar)
        counts = counts_in(book, book.lanes(now), brands)
        # A provider's package is for the addresses of all of its brands, also of those in no file.
        known = await brand_counts(ledger, customer_id)
        others = {
            code: known[code]
            for code, one in counts.items()
            if known[code].is_counted and not one.is_counted
        }
        counts |= others
    given = await application_items.of_customer(ledger, customer_id)
    return ApplicationPack(
        customer=customer,
        brands=brands,
        counts=counts,
        counted_in=(),
        counted_in_ledger=tuple(others),
        providers=providers_of(brands, counts, with_given(packages)),
        checklist=checklist(customer, brands.values(), given),
        made_at=now,
    )


def _print(found: ApplicationPack, output: OutputFormat) -> None:
    rows = [
        (
            code,
            one.addresses.phones,
            one.addresses.emails,
            one.addresses.total,
            *(
                sum(getattr(channel, name) for channel in one.channels.values())
                for name in ("held", "waiting", "void")
            ),
        )
        for code, one in found.counts.items()
    ]
    if output is OutputFormat.JSON:
        print_json(
            {
                "brands": [dict(zip(_COLUMNS, row, strict=True)) for row in rows],
                "providers": [
                    {
                        "iys_code": one.iys_code,
                        "addresses": one.addresses,
                        "above_150000": one.is_above_threshold,
                        "package": None if one.package is None else one.package.name,
                        "limit": one.limit,
                        "beyond_limit": one.beyond_limit,
                    }
                    for one in found.providers
                ],
                "missing": [one.name for one in found.missing],
            }
        )
        return
    print_rows(output, _COLUMNS, rows)
    for code in found.counted_in_ledger:
        say(f"brand {code} is in no file: it is counted as the ledger has it")
    for one in found.providers:
        needs = "no package is known" if one.package is None else one.package.name
        limit = f"; its subscription allows {one.limit:,}" if one.limit is not None else ""
        side = "above" if one.is_above_threshold else "not above"
        say(
            f"provider {one.iys_code}: {one.addresses:,} addresses, {side} 150,000; message "
            f"package: {needs}{limit}"
        )
    for line in found.missing:
        say(f"missing: {line.name}, {line.title}")
