"""``izin customers onboard``: the first loading of a customer's address book (rehber aktarımı)."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Annotated, Any

import typer

from izin.cli.imports.command import import_session, reading_options, reversal_options
from izin.cli.imports.result import warn_of_hidden
from izin.cli.terminal import (
    BrandsOption,
    CustomerArgument,
    ExecuteOption,
    ExitCode,
    OutputFormat,
    OutputOption,
    cells,
    exit_if,
    exit_on_signals,
    named,
    print_found,
    print_json,
    say,
    showing,
    showing_steps,
    takes,
    turkish,
    utc_now,
    warn,
)
from izin.cli.terminal.iys_session import WorkerSettings, calling_iys
from izin.cli.terminal.ledger_session import run_on_ledger
from izin.consent import Calendar
from izin.ledger import reads
from izin.ledger.brands import brands_of
from izin.ledger.db import Ledger
from izin.onboarding.address_book import AddressBook, IysQuery, note_ledger, requests_to_ask
from izin.onboarding.preview import (
    BookReview,
    FirstLoading,
    LawfulReview,
    Limits,
    LoadingPreview,
    check_brands,
    preview,
    review_of,
)
from izin.producers.files import FindOptOuts, Import, ImportReport, ReversalRules
from izin.sinks.inbound.sweep import PageQuery
from izin.sinks.outbound.context import RequestBudget
from izin.views.imports import Begin, ImportSession

_FILES = (
    "file",
    "rows",
    "published",
    "opt_outs",
    "refused",
    "refused_opt_outs",
    "refused_unclear",
    "reasons",
    "report",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingFiles:
    """Files with what reads and publishes them."""

    paths: Sequence[Path]
    how: Import
    session: ImportSession

    def note(
        self, book: AddressBook, *, now: datetime, calendar: Calendar
    ) -> tuple[ImportReport, ...]:
        """Note in ``book`` what would be published; publish nothing, and leave no report."""
        review = BookReview(book=book, directory=self.session.directory, now=now, calendar=calendar)
        with TemporaryDirectory() as folder:
            how = replace(self.how, review=review, dry_run=True)
            found = self._read(how, Path(folder), lambda _begin: None)
        book.finish()
        return found

    def read(
        self, how: Import, folder: Path | None, *, brands: Collection[int]
    ) -> tuple[ImportReport, ...]:
        """Import every file ``how``, with consents of ``brands`` alone; its report goes into
        ``folder``, None: beside the file. The opt-outs that stand are read once for all files.
        """

        def find_opt_outs(begin: Begin) -> FindOptOuts:
            found = cache(lambda: self.session.opt_outs(brands, begin))
            return lambda _brands: found()

        return self._read(how, folder, find_opt_outs)

    def _read(
        self, how: Import, folder: Path | None, find: Callable[[Begin], FindOptOuts | None]
    ) -> tuple[ImportReport, ...]:
        with showing_steps() as begin:
            opt_outs = find(begin)
            return tuple(
                self.session.run(path, reported, begin, opt_outs=opt_outs)
                for path in self.paths
                for reported in [
                    replace(how, report_path=folder and folder / how.report_of(path).name)
                ]
            )


def print_preview(
    found: LoadingPreview, loading: FirstLoading, unasked: int, output: OutputFormat
) -> None:
    """Print what the loading would do; in JSON it is part of what ``print_done`` prints."""
    if output is OutputFormat.JSON:
        return
    for columns in (
        {
            "brand_code": "brand",
            "channel": "channel",
            "consents": "opt-ins",
            "taken": "İYS takes",
            "lawful": "lawful",
            "void": "void",
        },
        {
            "brand_code": "brand",
            "channel": "channel",
            "rows": "rows",
            "duplicates": "twice",
            "opt_outs": "opt-outs",
            "held": "at İYS",
            "refused": "refused",
            "to_send": "to send",
        },
    ):
        print_found(output, columns, found.lanes)
    say(*_lines(found, loading, unasked))


def _lines(found: LoadingPreview, loading: FirstLoading, unasked: int) -> Iterator[str]:
    yield (
        "İYS takes: also older dates, until a brand is activated; lawful: within three business "
        "days, by a general transfer, or at İYS already; refused: their recipient opted out"
    )
    asked = sum(lane.asked for lane in found.lanes)
    known = sum(one.in_ledger for one in found.lanes)
    yield f"known of {known:,} keys: from the ledger" + (
        f"; İYS was asked about {asked:,}: of those that it does not hold as ONAY it does not say "
        "whether they opted out"
        if asked
        else ""
    )
    if unasked:
        takes = _rounded(loading.limits.asking(unasked))
        yield f"--ask asks İYS about opt-ins that are not known: {unasked:,} requests, {takes}"
    yield from _forecast(found)


def _forecast(found: LoadingPreview) -> Iterator[str]:
    time = found.time
    yield (
        f"at İYS's limit: {time.submissions:,} submissions, {time.queries:,} queries, "
        f"{time.results:,} results: {_rounded(time.takes)}, until "
        f"{turkish(found.now + time.takes)} if it began now"
    )
    if time.forecast.lost:
        yield (
            f"{time.forecast.lost:,} consents will be void before they can be sent, the first at "
            f"{turkish(time.forecast.first_lost_at)}"
        )
    for code, at in sorted(found.loading_ends.items()):
        if at is not None:
            holds = "does not hold" if code in found.missed else "holds"
            yield f"brand {code}: first loading until {turkish(at)}: {holds}"


def print_done(
    found: LoadingPreview, files: Sequence[ImportReport], output: OutputFormat, *, executed: bool
) -> None:
    """Print what was done, and where the rows are that were not published."""
    if output is OutputFormat.JSON:
        print_json({**_as_json(found, files), "executed": executed})
        return
    for file in files:
        warn_of_hidden(file.hidden_sheets)
        if file.lost_opt_outs:
            warn(
                f"{file.path.name}: {file.refused_opt_outs} opt-outs (RET) were refused, and "
                f"{file.refused_unclear} rows whose status cannot be read"
            )
        word = "published" if executed else "would be published"
        where = "" if file.report_path is None else f"; the others are in {file.report_path}"
        say(f"{file.path.name}: {file.rows:,} rows, {file.published:,} {word}{where}")
    if not executed:
        say("nothing was published; add --execute to do it")


def _as_json(found: LoadingPreview, files: Sequence[ImportReport]) -> Mapping[str, Any]:
    time = found.time
    return {
        "lanes": [{**asdict(lane), "duplicates": lane.duplicates} for lane in found.lanes],
        "void": found.void,
        "forecast": {
            "submissions": time.submissions,
            "queries": time.queries,
            "results": time.results,
            "seconds": round(time.takes.total_seconds(), 1),
            "done_at": found.now + time.takes,
            "will_be_lost": time.forecast.lost,
            "loading_ends": found.loading_ends,
            "missed": list(found.missed),
        },
        "files": named(
            _FILES, cells(_FILES, files, file=attrgetter("path"), report=attrgetter("report_path"))
        ),
    }


def _rounded(duration: timedelta) -> timedelta:
    return timedelta(seconds=round(duration.total_seconds()))


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadingOrder:
    """What is to be done with files."""

    how: Import
    brands: tuple[int, ...]
    asks: bool
    """Whether İYS is asked what it holds."""
    reports: Path | None
    executes: bool


@takes("how", reading_options)
@takes("reversals", reversal_options)
def loading_order(
    *,
    how: Import,
    reversals: ReversalRules,
    brands: BrandsOption = None,
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
    execute: ExecuteOption = False,
) -> LoadingOrder:
    """Return what is to be done, by these options."""
    return LoadingOrder(
        how=replace(how, resumable=True, reversals=reversals),
        brands=tuple(brands or ()),
        asks=ask,
        reports=reports,
        executes=execute,
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
    if order.reports is not None and len({file.name for file in files}) < len(files):
        raise typer.BadParameter("two of the files have one name", param_hint="--reports")
    with exit_on_signals():
        found, done = _onboard(customer_id, files, order, output)
    print_done(found, done, output, executed=order.executes)
    exit_if(any(report.lost_opt_outs for report in done), ExitCode.OPT_OUTS_REFUSED)
    exit_if(found.is_short or any(one.refused for one in done))


def _onboard(
    customer_id: str, files: Sequence[Path], order: LoadingOrder, output: OutputFormat
) -> tuple[LoadingPreview, Sequence[ImportReport]]:
    """Say what the loading would do, and do it where that is ordered."""
    settings, now = WorkerSettings(), datetime.now(UTC)
    brands = run_on_ledger(lambda ledger: brands_of(ledger, customer_id, order.brands), settings)
    limits = Limits(
        requests_per_second=settings.requests_per_second,
        batch_size=settings.batch_size,
        result_delay=settings.result_delay,
        sweep_share=settings.sweep_share,
    )
    loading = FirstLoading(brands=brands, limits=limits, now=now)
    with AddressBook() as book, import_session() as session:
        read = LoadingFiles(paths=files, how=order.how, session=session)
        read.note(book, now=now, calendar=settings.calendar)
        check_brands(book, customer_id, brands)
        review, found = run_on_ledger(
            lambda ledger: _judge(ledger, settings, book, loading, order), settings
        )
        print_preview(found, loading, 0 if order.asks else requests_to_ask(book), output)
        # Where it is not ordered, only the reports are written.
        return found, read.read(
            replace(order.how, review=review, dry_run=not order.executes),
            order.reports,
            brands=brands,
        )


async def _judge(
    ledger: Ledger,
    settings: WorkerSettings,
    book: AddressBook,
    loading: FirstLoading,
    order: LoadingOrder,
) -> tuple[LawfulReview, LoadingPreview]:
    """Return what the law and İYS make of the rows in the book."""
    await note_ledger(ledger, book)
    if order.asks:
        async with AsyncExitStack() as stack:
            rate = loading.limits.requests_per_second * loading.limits.sweep_share
            client, _ = await stack.enter_async_context(calling_iys(ledger, settings))
            pages = PageQuery(
                client=client, clock=utc_now, budget=RequestBudget(rate, clock=monotonic)
            )
            shown = stack.enter_context(showing("asking İYS, opt-ins"))
            refused = await IysQuery(query=pages, on_progress=shown)(book, loading.brands)
            if refused:
                say(f"İYS refuses to look up {refused:,} recipients: they are not known")
    review = review_of(book, loading.brands, now=loading.now, calendar=settings.calendar)
    return review, preview(book, loading, (await reads.backlog(ledger)).ready)
