"""``python -m tests.chaos.onboarding``: a first loading; ``make chaos STAGE=onboarding``.

One brand is active since long, one in its first loading, one soon active. The file is judged,
imported without what is not lawful, ordered, and submitted by a sink at İYS's limit. Then the time
that it took stands beside the forecast, the counts of the pack beside İYS's, and the lawful column
beside what İYS takes once every brand is active.

It ends with the lines ``onboarding-forecast`` and ``onboarding-unexplained``, each ``ok`` or
``short``. Exit codes: 0 every bar is met, 1 one is missed, 2 wrong usage.
"""

import asyncio
import csv
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer
from iys_simulator.clock import wire_text
from iys_simulator.rules.consent_fields import ValidationContext
from iys_simulator.store.accounts import Brand as SimulatorBrand

from benchmarks.results import RunReport
from izin.consent import TURKEY, ConsentEvent, ConsentKey
from izin.iys.rate_limit import Pace
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.ledger import reads
from izin.ledger.db import Ledger
from izin.ledger.record import Brand
from izin.onboarding.address_book import AddressBook, AddressCount, note_ledger
from izin.onboarding.pack import address_counts
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
from izin.producers.files import Import, import_file
from izin.producers.publishing.publisher import Published, PublishResult
from izin.schemas.codec import Codec
from izin.schemas.records import event_from_avro, event_to_avro
from tests.chaos.command import explained_report, start
from tests.chaos.days.virtual_site import BEGINS_AT, RESULT_DELAY, VirtualCampaign, run_campaign
from tests.support.builders import BRAND, CUSTOMER

_LONG_ACTIVE = datetime(2020, 1, 1, tzinfo=UTC)
_BATCH = 20_000
_POLL_INTERVAL = timedelta(seconds=5)
"""Of the sinks and of the watch: a hundredth of what a million rows take, and cheap."""
_SHOWN = 5
_WITHHELD = {"IZIN-VOID", "IZIN-TRANSFER-ENDED"}
HEADER = "ALICI;İZİN TÜRÜ;İZİN DURUMU;İZİN KAYNAĞI;İZİN TARİHİ;MARKA"
WILD = (
    *("01.01.0001 00:00:00", "31.12.1899 23:59:59", "01.01.1970 00:00:00", "31.12.9999 23:59:59"),
    *("29.02.2104 12:00:00", "00.00.0000 00:00:00", "31.12.12026 10:00:00", "30.02.2026 10:00:00"),
    *("1772442000000", "1772442000000000", "-62135596800000", "46083,5", "0", "10:00:00", "-"),
)
"""Dates of other eras, units and calendars, and what is none."""
_TOO_SHORT = "0555 12"
_CHANNELS = (("MESAJ", 6), ("ARAMA", 2), ("EPOSTA", 4))
_RECORD = "ConsentEvent"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressFile:
    """How the file is made; the same for the same seed."""

    rows: int
    seed: int
    brands: Sequence[int]
    now: datetime

    def write(self, path: Path) -> None:
        """Write it to ``path``."""
        with path.open("w", encoding="utf-8", newline="") as file:
            file.write(HEADER + "\r\n")
            file.writelines(f"{line}\r\n" for line in self._lines())

    def _lines(self) -> Iterator[str]:
        chance = random.Random(self.seed)
        people = max(1, int(self.rows * 0.9))
        for _ in range(self.rows):
            person = chance.randrange(people)
            (channel,) = chance.choices(
                [name for name, _ in _CHANNELS], [weight for _, weight in _CHANNELS]
            )
            brand = chance.choice(self.brands)
            status = "RET" if chance.random() < 0.03 else "ONAY"  # a share
            given_at = f"{self._given_at(chance):%d.%m.%Y %H:%M:%S}"
            if chance.random() < 0.01:  # a share too
                given_at = chance.choice(WILD)
            recipient = _recipient(person, channel, is_bad=chance.random() < 0.005)  # the same
            yield f"{recipient};{channel};{status};HS_WEB;{given_at};{brand}"

    def _given_at(self, chance: random.Random) -> datetime:
        """Return when a consent was given: most within three days, some years ago."""
        share = chance.random()
        if share < 0.75:  # a share, as those that follow
            age = timedelta(seconds=chance.randrange(60, 2 * 24 * 3600))
        elif share < 0.8:
            age = timedelta(seconds=chance.randrange(2 * 24 * 3600, 10 * 24 * 3600))
        elif share < 0.95:
            age = timedelta(days=chance.randrange(10, 1900))
        else:
            age = timedelta(days=chance.randrange(2000, 4000))
        return (self.now - age).astimezone(TURKEY)


def _recipient(person: int, channel: str, *, is_bad: bool) -> str:
    """Return an obviously fake address, or one that is none."""
    if is_bad:
        return "-" if channel == "EPOSTA" else _TOO_SHORT
    return f"p{person}@example.com" if channel == "EPOSTA" else f"+90555{person:07d}"


def is_fit(recipient: str) -> bool:
    """Return whether a recipient of the file is one."""
    return recipient not in {"-", _TOO_SHORT}


class EventLog(AbstractContextManager["EventLog"]):
    """A publisher that writes to a file; a context manager."""

    def __init__(self, path: Path, codec: Codec) -> None:
        self._path = path
        self._codec = codec
        self._file = path.open("wb")
        self.rows: set[int] = set()
        """The rows of the imported file whose event was published."""
        self.written = 0

    def send(
        self,
        event: ConsentEvent,
        key: ConsentKey | None,  # noqa: ARG002  # one partition has all
        on_result: Callable[[PublishResult], None],
        *,
        wait: timedelta = timedelta(0),  # noqa: ARG002  # nothing is ever full here
    ) -> None:
        """Write an event, and acknowledge it."""
        value = self._codec.encode(_RECORD, event_to_avro(event))
        self._file.write(len(value).to_bytes(4, "big") + value)
        self.rows.add(event.row or 0)
        result = Published(
            event_id=event.event_id, topic="consent-events", partition=0, offset=self.written
        )
        self.written += 1
        on_result(result)

    def publish(
        self, event: ConsentEvent, key: ConsentKey | None = None, *, wait: timedelta = timedelta(0)
    ) -> Future[Published]:
        """Write an event; the future is done."""
        done: Future[Published] = Future()
        self.send(event, key, done.set_result, wait=wait)  # type: ignore[arg-type]
        return done

    def flush(self, timeout: timedelta) -> int:  # noqa: ARG002  # all is acknowledged already
        """Write what is buffered."""
        self._file.flush()
        return 0

    def bulk(self) -> AbstractContextManager[None]:
        """Return a context without effect."""
        return nullcontext()

    def batches(self, size: int) -> Iterator[list[ConsentEvent]]:
        """Yield the events, so many at a time."""
        with self._path.open("rb") as file:
            batch: list[ConsentEvent] = []
            while head := file.read(4):
                value = file.read(int.from_bytes(head, "big"))
                batch.append(event_from_avro(self._codec.decode(_RECORD, value)))
                if len(batch) == size:
                    yield batch
                    batch = []
            if batch:
                yield batch

    def __exit__(self, *_: object) -> None:
        self._file.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class OnboardingVerdict:
    """The result of a first loading."""

    rows: int
    published: int
    void: int
    """Rows that were not lawful, and were reported."""
    forecast_seconds: float
    took_seconds: float
    requests: int
    unexplained: tuple[str, ...]

    @property
    def forecast_off(self) -> float:
        """By how much of the time that it took the forecast was wrong, in percent."""
        return abs(self.forecast_seconds - self.took_seconds) / self.took_seconds * 100


@dataclass(kw_only=True)
class VirtualOnboarding(VirtualCampaign):
    """One first loading of so many rows."""

    rows: int

    def __post_init__(self) -> None:
        self._site = self.site(poll_interval=_POLL_INTERVAL)
        self._time, self._simulator = self._site.time, self._site.simulator
        soon = BEGINS_AT + timedelta(days=10)
        self._brands = {
            one.brand_code: one
            for one in (
                _brand(BRAND, activated_at=_LONG_ACTIVE),
                _brand(BRAND + 1, loading_deadline=BEGINS_AT + timedelta(days=30)),
                _brand(BRAND + 2, activated_at=soon),
            )
        }

    async def run(self) -> OnboardingVerdict:
        """Load the file, and compare."""
        path = self.folder / "address-book.csv"
        AddressFile(
            rows=self.rows, seed=self.seed, brands=list(self._brands), now=self._time.now()
        ).write(path)
        async with self._site.open() as ledger:
            await self._register(ledger)
            self._site.sinks.start_all()
            try:
                return await self._load(ledger, path)
            finally:
                await self._site.sinks.end()

    async def _register(self, ledger: Ledger) -> None:
        for one in self._brands.values():
            await self._site.register(ledger, one)
            at = one.activated_at
            self._simulator.directory.add_brand(
                SimulatorBrand(
                    code=one.brand_code,
                    iys_code=BRAND,
                    name="Örnek",
                    activated_at=None if at is None else wire_text(int(at.timestamp())),
                )
            )

    async def _load(self, ledger: Ledger, path: Path) -> OnboardingVerdict:
        with AddressBook() as book, EventLog(self.folder / "events", Codec()) as log:
            self.on_progress("judging")
            review, found = await self._judge(ledger, book, path, log)
            self.on_progress("importing")
            how = Import(review=review)
            done = import_file(path, log, self._directory(), clock=self._time.now, how=how)
            log.flush(timedelta(0))
            calls, began = self._site.transport.calls, self.loop.time()
            self.on_progress("loading")
            await self._order(ledger, log)
            await self._settled(ledger)
            return OnboardingVerdict(
                rows=done.rows,
                published=done.published,
                void=sum(done.reasons.get(code, 0) for code in _WITHHELD),
                forecast_seconds=found.time.takes.total_seconds(),
                took_seconds=self.loop.time() - began,
                requests=self._site.transport.calls - calls,
                unexplained=(
                    *self._site.sinks.unforeseen,
                    *self._columns(found, path, done.report_path, log.rows),
                    *_undated(path, log.rows),
                    *self._counts(await address_counts(ledger, CUSTOMER), await _held(ledger)),
                ),
            )

    async def _judge(
        self, ledger: Ledger, book: AddressBook, path: Path, log: EventLog
    ) -> tuple[LawfulReview, LoadingPreview]:
        """Return what the loading would do, as the command finds it."""
        loading = FirstLoading(
            brands=self._brands,
            limits=Limits(
                requests_per_second=Pace().rate,
                batch_size=1000,
                result_delay=RESULT_DELAY,
                sweep_share=0.2,
            ),
            now=self._time.now(),
        )
        noting = Import(
            review=BookReview(book=book, directory=self._directory(), now=loading.now),
            report_path=self.folder / "first-look.csv",
            dry_run=True,
        )
        import_file(path, log, self._directory(), clock=self._time.now, how=noting)
        book.finish()
        check_brands(book, CUSTOMER, self._brands)
        await note_ledger(ledger, book)
        review = review_of(book, self._brands, now=loading.now, calendar=ledger.calendar)
        return review, preview(book, loading, (await reads.backlog(ledger)).ready)

    async def _order(self, ledger: Ledger, log: EventLog) -> None:
        """Decide about the events, as the order stage does, and ingest that."""
        for events in log.batches(_BATCH):
            await self._site.decide(ledger, events)

    async def _settled(self, ledger: Ledger) -> None:
        """Return once nothing is on its way to İYS."""
        while True:
            (row,) = await ledger.fetch(
                "SELECT count(*) AS open FROM consents AS c WHERE is_unsettled(c)"
            )
            self.on_progress(f"{row['open']} on their way")
            if not row["open"]:
                return
            self._site.sinks.check()
            await asyncio.sleep(_POLL_INTERVAL.total_seconds())

    def _columns(
        self, found: LoadingPreview, path: Path, report: Path | None, published: set[int]
    ) -> Iterator[str]:
        """Yield where the lawful column, the report or what was published is not as İYS takes rows
        of an active brand.
        """
        withheld = _withheld(report)
        if both := withheld.keys() & published:
            yield f"published although reported: rows {sorted(both)[:_SHOWN]}"
        second = int(found.now.timestamp())
        context = ValidationContext.at(second, wire_text(second), self._simulator.settings)
        wrong = 0
        for number, status, given_at in _dates(path):
            if status != "ONAY" or not (number in published or number in withheld):
                continue
            if withheld.get(number) == "IZIN-TRANSFER-ENDED":
                continue  # İYS's rule is another one than that of the general transfer
            wrong += context.is_too_late(given_at, status) is not (number in withheld)
        if wrong:
            yield f"{wrong} rows that İYS judges otherwise once their brand is active"
        yield from self._site.codes_among("H467", "H084", "H124")

    def _counts(
        self, counted: Mapping[int, AddressCount], held: Mapping[int, int]
    ) -> Iterator[str]:
        """Yield where the pack or the ledger counts a brand otherwise than İYS."""
        for code, ours in counted.items():
            register, consents = self._simulator.register_of(code), held.get(code, 0)
            if (ours.total, consents) != (register.used_limit, register.approvals):
                yield (
                    f"brand {code}: {ours.total} addresses and {consents} consents here, "
                    f"{register.used_limit} and {register.approvals} at İYS"
                )

    def _directory(self) -> BrandDirectory:
        return BrandDirectory(
            RegisteredBrand(
                brand_code=one.brand_code,
                iys_code=one.iys_code,
                customer_id=one.customer_id,
                name=one.name,
                activated_at=one.activated_at,
                loading_deadline=one.loading_deadline,
            )
            for one in self._brands.values()
        )


async def _held(ledger: Ledger) -> dict[int, int]:
    """Return of how many keys of each brand İYS holds ONAY, as the ledger has it."""
    rows = await ledger.fetch(
        "SELECT brand_code, count(*) AS held FROM consents WHERE registered = 'ONAY' GROUP BY 1"
    )
    return {row["brand_code"]: row["held"] for row in rows}


def _brand(code: int, **terms: datetime) -> Brand:
    plain = Brand(brand_code=code, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek")
    return replace(plain, **terms)  # type: ignore[arg-type]


def _withheld(report: Path | None) -> dict[int, str]:
    """Return the rows that were reported as not lawful, with the code of each."""
    if report is None:
        return {}
    with report.open(encoding="utf-8-sig", newline="") as file:
        return {
            int(row["izin: satır/row"]): row["izin: kod/code"]
            for row in csv.DictReader(file, delimiter=";")
            if row["izin: kod/code"] in _WITHHELD
        }


def _undated(path: Path, published: set[int]) -> Iterator[str]:
    """Yield where a row with a wild date is a consent, or is an opt-out that is lost."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file, delimiter=";"), start=2):
            is_published, is_opt_out = number in published, row["İZİN DURUMU"] == "RET"
            if row["İZİN TARİHİ"] in WILD and is_fit(row["ALICI"]) and is_published != is_opt_out:
                yield f"row {number}, {row}: {'published' if is_published else 'not published'}"


def _dates(path: Path) -> Iterator[tuple[int, str, str]]:
    """Yield number, status and date, as İYS writes it, of each row of the file that has a date."""
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file, delimiter=";"), start=2):
            if row["İZİN TARİHİ"] in WILD:
                continue
            at = datetime.strptime(row["İZİN TARİHİ"], "%d.%m.%Y %H:%M:%S")  # noqa: DTZ007  # a wire text
            yield number, row["İZİN DURUMU"], f"{at:%Y-%m-%d %H:%M:%S}"


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Rows of the file.")] = 1_000_000,
    seed: Annotated[int, typer.Option(help="The same file for the same seed.")] = 1,
    folder: Annotated[Path, typer.Option(help="Data of the last run, and its result.")] = Path(
        ".izin/chaos-onboarding"
    ),
) -> None:
    """Judge, import and load a file, and compare forecast, counts and columns with İYS's."""
    raise run_campaign(
        "onboarding",
        folder,
        VirtualOnboarding,
        report,
        rows=rows,
        seed=seed,
    )


def report(verdict: OnboardingVerdict, seconds: float) -> RunReport:
    """Return the report of a first loading."""
    summary = (
        f"{verdict.rows:,} rows, {verdict.published:,} published, {verdict.void:,} not lawful, in "
        f"{seconds:.0f} s: {verdict.took_seconds:.0f} s at İYS with {verdict.requests:,} requests, "
        f"{verdict.forecast_seconds:.0f} s by the forecast"
    )
    figures = {"onboarding-forecast": verdict.forecast_off}
    return explained_report("onboarding", verdict, summary, seconds=seconds, figures=figures)


if __name__ == "__main__":
    start("onboarding", main)
