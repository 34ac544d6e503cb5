"""``izin customers onboard``: the first loading of a customer's address book (rehber aktarımı)."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from time import monotonic
from typing import Annotated

import typer

from izin.consent.errors import SourceError
from izin.console.customers.onboard_output import Done, print_done, print_what_if
from izin.console.publish import utc_now
from izin.console.terminal.arguments import CustomerArgument, TimeOfDayOption
from izin.console.terminal.ledger_session import run_on_ledger
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    OutputOption,
    exit_if,
    exit_on_error,
    kafka_settings,
)
from izin.console.terminal.progress import StepProgress, showing, showing_steps
from izin.onboarding.address_book import AddressBook
from izin.onboarding.known_keys import IysQuery, note_ledger, requests_to_ask
from izin.onboarding.loading import OpenCount, await_ingested, await_settled
from izin.onboarding.loading_time import Limits
from izin.onboarding.review import BookReview, LawfulReview
from izin.onboarding.what_if import FirstLoading, LoadingWhatIf, check_brands, review_of, what_if
from izin.producers.files.columns import ColumnChoices, ColumnsError
from izin.producers.files.import_report import ImportReport
from izin.producers.files.importer import Import, Progress, import_file
from izin.producers.mapping.dates import DateRules, ExcelEpoch
from izin.producers.publishing.kafka_publisher import BULK_LINGER, KafkaPublisher
from izin.projections.brand_directory import BrandDirectory, BrandReader
from izin.reconcile.asking import iys_client
from izin.runtime.kafka import access_of, codec
from izin.runtime.settings import IysSettings, KafkaSettings, LedgerSettings, SinkSettings
from izin.sinks.inbound.sweep.budget import RequestBudget
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry.customer_brands import brands_of
from izin.sinks.record.brand import Brand


class LoadingSettings(IysSettings, SinkSettings, LedgerSettings):
    """What the forecast of a loading needs, as one group: all that is missing is named at once."""


def onboard(
    customer_id: CustomerArgument,
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE...", exists=True, dir_okay=False, readable=True, help="As izin import."
        ),
    ],
    *,
    brand: Annotated[
        list[int] | None,
        typer.Option(min=1, help="Only this brand may be in the files; may be repeated."),
    ] = None,
    mapped: Annotated[
        list[str] | None,
        typer.Option("--map", help="COLUMN=field: what a column holds; repeat it for each."),
    ] = None,
    ignored: Annotated[
        list[str] | None, typer.Option("--ignore", help="A column to skip; repeat it for each.")
    ] = None,
    given: Annotated[
        list[str] | None,
        typer.Option("--set", help="field=value for every row; repeat it for each."),
    ] = None,
    excel_epoch: Annotated[
        ExcelEpoch | None, typer.Option(help="First year of Excel's date numbers.")
    ] = None,
    time_of_day: TimeOfDayOption = None,
    origin: Annotated[str, typer.Option(help="Which of their systems wrote the files.")] = "file",
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
    output: OutputOption = OutputFormat.TABLE,
) -> None:
    """Say what a first loading of files would do, and do it with --execute.

    Two columns: what İYS would take, which takes older dates until a brand is activated, and what
    is lawful: a consent (ONAY) is registered within three business days, or by a general transfer.
    What is not lawful is listed in the report beside each file, and never published. Opt-outs (RET)
    always are. Then how long it takes at İYS's limit, and whether the deadlines hold.

    With --execute the same command may be repeated at any time: it goes on where it was. Exit code
    1 if rows were refused or are not lawful, or a deadline does not hold; 5 if opt-outs were
    refused; 3 if a file, or a brand in it, cannot be used.
    """
    with exit_on_error():
        how = Import(
            columns=ColumnChoices(
                mapped=_pairs("--map", mapped), ignored=ignored or (), given=_pairs("--set", given)
            ),
            dates=DateRules(excel_epoch=excel_epoch, time_of_day=time_of_day),
            origin=origin,
        )
        order = _Order(
            customer_id=customer_id,
            files=_distinct(files, reports),
            brands=tuple(brand or ()),
            how=how,
            addresses=addresses,
            asks=ask,
            reports=reports,
            executes=execute,
            waits=wait,
        )
        found, done = _Onboarding(order, output).run()
    if any(one.lost_opt_outs for one in done.files):
        raise typer.Exit(ExitCode.OPT_OUTS_REFUSED)
    late = found.time.forecast.lost or found.missed
    exit_if(late or found.void or any(one.refused for one in done.files))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What is to be loaded, and how."""

    customer_id: str
    files: tuple[Path, ...]
    brands: tuple[int, ...]
    how: Import
    addresses: int | None
    asks: bool
    reports: Path | None
    executes: bool
    waits: bool


class _Onboarding:
    """One run of the command."""

    def __init__(self, order: _Order, output: OutputFormat) -> None:
        self._order = order
        self._output = output
        self._settings = LoadingSettings()
        self._kafka: KafkaSettings = kafka_settings()
        self._codec = codec(self._kafka)

    def run(self) -> tuple[LoadingWhatIf, Done]:
        """Look, and load where that is ordered."""
        order = self._order
        now = datetime.now(UTC)
        brands = run_on_ledger(
            lambda ledger: brands_of(ledger, order.customer_id, order.brands), self._settings
        )
        loading = self._loading(brands, now)
        access = access_of(self._kafka)
        directory = BrandReader(access, self._codec).load()
        with (
            AddressBook() as book,
            KafkaPublisher(access, self._codec, clock=utc_now, linger=BULK_LINGER) as publisher,
        ):
            noting = BookReview(book=book, directory=directory, now=now, calendar=loading.calendar)
            with TemporaryDirectory() as folder:
                look = replace(order.how, review=noting, dry_run=True)
                self._read(look, publisher, directory, Path(folder), "reading")
            book.finish()
            check_brands(book, loading)
            review, found, unasked = self._judge(book, loading)
            if order.executes:
                print_what_if(found, loading, unasked, self._output)
            began = monotonic()
            what = "importing" if order.executes else "reporting"
            how = replace(order.how, review=review, dry_run=not order.executes)
            files = self._read(how, publisher, directory, order.reports, what)
        left = self._follow(found, brands) if order.executes and order.waits else None
        took = None if left is None else timedelta(seconds=round(monotonic() - began))
        if not order.executes:
            print_what_if(found, loading, unasked, self._output)
        done = Done(files=files, took=took, left=left, executed=order.executes)
        print_done(found, done, self._output)
        return found, done

    def _loading(self, brands: dict[int, Brand], now: datetime) -> FirstLoading:
        needed = self._settings
        return FirstLoading(
            customer_id=self._order.customer_id,
            brands=brands,
            limits=Limits(
                requests_per_second=needed.requests_per_second,
                batch_size=needed.batch_size,
                result_delay=needed.result_delay,
                sweep_share=needed.sweep_share,
            ),
            now=now,
            calendar=needed.calendar,
            addresses=self._order.addresses,
        )

    def _read(
        self,
        how: Import,
        publisher: KafkaPublisher,
        directory: BrandDirectory,
        folder: Path | None,
        what: str,
    ) -> tuple[ImportReport, ...]:
        """Import every file ``how``; its report goes into ``folder``, None: beside the file."""
        found = []
        with showing_steps() as begin:
            for path in self._order.files:
                step = begin(f"{what} {path.name}, bytes")
                report = None if folder is None else folder / f"{path.name}.report.csv"
                try:
                    found.append(
                        import_file(
                            path,
                            publisher,
                            directory,
                            clock=utc_now,
                            how=replace(how, report_path=report),
                            progress=_shown(step),
                        )
                    )
                except ColumnsError as error:
                    raise SourceError(f"{path.name}, {error}") from error
        return tuple(found)

    def _judge(
        self, book: AddressBook, loading: FirstLoading
    ) -> tuple[LawfulReview, LoadingWhatIf, int]:
        """Return what decides about rows, what comes of it, and how many requests would ask İYS
        about what is not known.
        """

        async def judge(ledger: Ledger) -> tuple[LawfulReview, LoadingWhatIf, int]:
            await note_ledger(ledger, book)
            if self._order.asks:
                await self._ask(ledger, book, loading)
            review = review_of(book, loading)
            waiting = (await reads.backlog(ledger)).ready
            unasked = 0 if self._order.asks else requests_to_ask(book)
            return review, what_if(book, loading, review, waiting), unasked

        return run_on_ledger(judge, self._settings)

    async def _ask(self, ledger: Ledger, book: AddressBook, loading: FirstLoading) -> None:
        async with AsyncExitStack() as stack:
            client = await stack.enter_async_context(iys_client(ledger, self._settings))
            shown = stack.enter_context(showing("asking İYS, opt-ins"))
            limits = loading.limits
            query = IysQuery(
                client=client,
                budget=RequestBudget(
                    limits.requests_per_second * limits.sweep_share, clock=monotonic
                ),
                on_progress=shown,
            )
            await query(book, loading.brands)

    def _follow(self, found: LoadingWhatIf, brands: dict[int, Brand]) -> OpenCount:
        """Wait until İYS has answered all; return what is left for a person."""
        total = sum(one.to_send + one.opt_outs for one in found.lanes)

        async def follow(ledger: Ledger) -> OpenCount:
            with showing_steps() as begin:
                ordered = begin("on the way into the ledger, records")
                await await_ingested(
                    ledger,
                    self._kafka,
                    self._codec,
                    on_behind=lambda behind: ordered(max(0, total - behind), total),
                )
                settled = begin("answered by İYS, keys")
                return await await_settled(
                    ledger,
                    brands,
                    on_open=lambda left: settled(max(0, total - left.open), total),
                )

        return run_on_ledger(follow, self._settings)


def _shown(step: StepProgress) -> Callable[[Progress], None]:
    return lambda done: step(done.position, done.size)


def _distinct(files: Sequence[Path], reports: Path | None) -> tuple[Path, ...]:
    """Return ``files``; in one folder their reports need names of their own."""
    if reports is not None and len({one.name for one in files}) < len(files):
        raise typer.BadParameter("two files have one name", param_hint="--reports")
    return tuple(files)


def _pairs(option: str, texts: list[str] | None) -> dict[str, str]:
    found = {}
    for text in texts or ():
        name, equals, value = text.partition("=")
        if not equals:
            example = "COLUMN=field" if option == "--map" else "field=value"
            raise typer.BadParameter(f"{text} has no =; write {example}", param_hint=option)
        found[name] = value
    return found
