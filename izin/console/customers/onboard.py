"""``izin customers onboard``: the first loading of a customer's address book (rehber aktarımı)."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import monotonic
from typing import Annotated

import typer

from izin.console.customers.files import LoadingFiles, loading_files
from izin.console.customers.onboard_output import Done, print_done, print_what_if
from izin.console.imports.command import reading_options, reversal_options
from izin.console.publish import utc_now
from izin.console.terminal.arguments import CustomerArgument
from izin.console.terminal.interrupts import exit_on_signals
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.option_sets import takes
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
    say,
)
from izin.console.terminal.progress import showing, showing_steps
from izin.onboarding.address_book import AddressBook
from izin.onboarding.known_keys import IysQuery, note_ledger, requests_to_ask
from izin.onboarding.loading import OpenCount, await_ingested, await_settled
from izin.onboarding.loading_time import Limits
from izin.onboarding.review import LawfulReview
from izin.onboarding.what_if import FirstLoading, LoadingWhatIf, check_brands, review_of, what_if
from izin.producers.files.importer import Import
from izin.producers.files.importing.judgement import ReversalRules
from izin.reconcile.asking import iys_client
from izin.runtime.kafka import codec
from izin.runtime.settings import IysSettings, LedgerSettings, SinkSettings
from izin.sinks.ledger import reads, suspensions
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry.customer_brands import brands_of
from izin.sinks.outbound.request_budget import RequestBudget
from izin.sinks.record.brand import Brand


class LoadingSettings(IysSettings, SinkSettings, LedgerSettings):
    """What the forecast of a loading needs, as one group: all that is missing is named at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingOrder:
    """What is to be done with files."""

    how: Import
    brands: tuple[int, ...]
    addresses: int | None
    asks: bool
    """Whether İYS is asked what it holds."""
    reports: Path | None
    executes: bool
    waits: bool


@takes("how", reading_options)
@takes("reversals", reversal_options)
def loading_order(
    *,
    how: Import,
    reversals: ReversalRules,
    brand: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Only this brand may be in the files; may be repeated."),
    ] = None,
    addresses: Annotated[
        int | None,
        typer.Option(
            min=0,
            help="How many addresses the provider had when the general transfers ended. Default: "
            "as many as the files have.",
        ),
    ] = None,
    ask: Annotated[
        bool,
        typer.Option(
            "--ask", help="Ask İYS which opt-ins it holds, a thousand a request, at its share."
        ),
    ] = False,
    reports: Annotated[
        Path | None,
        typer.Option(
            exists=True, file_okay=False, help="Folder of the reports. Default: beside the files."
        ),
    ] = None,
    execute: Annotated[
        bool, typer.Option("--execute", help="Do it. Without it nothing is published.")
    ] = False,
    wait: Annotated[
        bool, typer.Option(help="Follow what was published until İYS has answered all of it.")
    ] = True,
) -> LoadingOrder:
    """Return what is to be done, by these options."""
    return LoadingOrder(
        how=replace(how, resumable=True, reversals=reversals),
        brands=tuple(brand or ()),
        addresses=addresses,
        asks=ask,
        reports=reports,
        executes=execute,
        waits=wait,
    )


@takes("order", loading_order)
def onboard(
    customer_id: CustomerArgument,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", exists=True, dir_okay=False, readable=True, help="As izin import."
        ),
    ],
    *,
    order: LoadingOrder,
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say what a first loading of files would do, and do it with --execute.

    Two columns: what İYS would take, which takes older dates until a brand is activated, and what
    is lawful: a consent (ONAY) is registered within three business days, or by a general transfer.
    What is not lawful is listed in the report beside each file, and never published. Opt-outs (RET)
    always are. Then how long it takes at İYS's limit, and whether the deadlines hold.

    The same command may be repeated at any time: events keep their ids. Exit code 1 if rows were
    refused or are not lawful, or a deadline does not hold; 5 if opt-outs were refused; 3 if a file,
    or a brand in it, cannot be used.
    """
    if order.reports is not None and len({one.name for one in files}) < len(files):
        raise typer.BadParameter("two of the files have one name", param_hint="--reports")
    with exit_on_signals(), exit_on_error():
        found, done = _onboard(customer_id, files, order, output)
    print_done(found, done, output)
    if any(one.lost_opt_outs for one in done.files):
        raise typer.Exit(ExitCode.OPT_OUTS_REFUSED)
    exit_if(found.is_short or any(one.refused for one in done.files))


def _onboard(
    customer_id: str, files: Sequence[Path], order: LoadingOrder, output: OutputFormat
) -> tuple[LoadingWhatIf, Done]:
    """Say what the loading would do, and do it where that is ordered."""
    settings, now = LoadingSettings(), datetime.now(UTC)
    brands = run_on_ledger(lambda ledger: brands_of(ledger, customer_id, order.brands), settings)
    loading = FirstLoading(brands=brands, limits=_limits(settings), now=now)
    with AddressBook() as book, loading_files(files, order.how) as read:
        read.note(book, now=now, calendar=settings.calendar)
        check_brands(book, customer_id, brands)
        found = run_on_ledger(
            lambda ledger: _judge(ledger, settings, book, loading, order), settings
        )
        print_what_if(found.what_if, loading, found.unasked, output)
        done = _load(read, found.review, order, brands)
    if order.executes and order.waits:
        done = _followed(settings, found.what_if, brands, done)
    return found.what_if, done


@dataclass(frozen=True, slots=True, kw_only=True)
class _JudgedFiles:
    """What a first look at files finds."""

    review: LawfulReview
    what_if: LoadingWhatIf
    unasked: int
    """Requests that would ask İYS about what is not known."""


def _limits(settings: LoadingSettings) -> Limits:
    return Limits(
        requests_per_second=settings.requests_per_second,
        batch_size=settings.batch_size,
        result_delay=settings.result_delay,
        sweep_share=settings.sweep_share,
    )


async def _judge(
    ledger: Ledger,
    settings: LoadingSettings,
    book: AddressBook,
    loading: FirstLoading,
    order: LoadingOrder,
) -> _JudgedFiles:
    """Return what the law and İYS make of the rows in the book."""
    await note_ledger(ledger, book)
    if order.asks:
        async with AsyncExitStack() as stack:
            rate = loading.limits.requests_per_second * loading.limits.sweep_share
            query = IysQuery(
                client=await stack.enter_async_context(iys_client(ledger, settings)),
                clock=utc_now,
                budget=RequestBudget(rate, clock=monotonic),
                on_progress=stack.enter_context(showing("asking İYS, opt-ins")),
            )
            refused = await query(book, loading.brands)
            if refused:
                say(f"İYS refuses to look up {refused:,} recipients: they are not known")
    review = review_of(
        book,
        loading.brands,
        now=loading.now,
        calendar=settings.calendar,
        addresses=order.addresses,
    )
    waiting = (await reads.backlog(ledger)).ready
    return _JudgedFiles(
        review=review,
        what_if=what_if(book, loading, waiting, await suspensions.every(ledger)),
        unasked=0 if order.asks else requests_to_ask(book),
    )


def _load(
    read: LoadingFiles, review: LawfulReview, order: LoadingOrder, brands: Collection[int]
) -> Done:
    """Import the files; where that is not ordered, only write their reports."""
    began = monotonic()
    how = replace(read.how, review=review, dry_run=not order.executes)
    files = read.read(how, order.reports, brands=brands)
    return Done(files=files, executed=order.executes, began=began)


def _followed(
    settings: LoadingSettings, found: LoadingWhatIf, brands: Mapping[int, Brand], done: Done
) -> Done:
    """Wait until İYS has answered all; return ``done`` with how long it took."""
    kafka = kafka_settings()
    total = sum(one.to_send + one.opt_outs for one in found.lanes)

    async def follow(ledger: Ledger) -> OpenCount:
        with showing_steps() as begin:
            ordered = begin("on the way into the ledger, records")
            await await_ingested(
                ledger,
                kafka,
                codec(kafka),
                on_behind=lambda behind: ordered(max(0, total - behind), total),
            )
            settled = begin("answered by İYS, keys")
            return await await_settled(
                ledger, brands, on_open=lambda left: settled(max(0, total - left.open), total)
            )

    left = run_on_ledger(follow, settings)
    return replace(done, took=timedelta(seconds=round(monotonic() - done.began)), left=left)
