"""Bring İYS's file of each day here: fetch it the next morning, compare it, agree if ordered.

İYS is asked first what it counts, then for the hash, then for the file. A day without movements has
no file. İYS makes the hash some time after midnight, so it is polled.

What pull and push bring is current; the file of a day shows whether they brought everything. Two
checks differ: the file is whole if its SHA-384 is the one that İYS states, and both sides agree if
our own file of the day, which is made from the history, has that hash too.

Lines that only İYS's file has enter as what a pull brings, two thousand at a time. How far they
have entered is noted in the transaction of their rows, so that after a kill the rest follows and
nothing is recorded twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import islice
from pathlib import Path

from cryptography.x509 import Certificate

from izin.consent import TURKEY, RecipientType, is_of_citizens
from izin.iys.errors import CallError, RefusedError, UnreadableError
from izin.iys.wire_format import (
    DayAgreement,
    DayCount,
    IysMovement,
    ProcessStatus,
    Stream,
    UnreadableItem,
    read_line,
)
from izin.ledger import brands
from izin.ledger.daily import files, lines
from izin.ledger.daily.files import DailyFile, FileState
from izin.ledger.offsets import until_released
from izin.ledger.record import Brand, LedgerFaultError
from izin.runtime.backoff import Backoff
from izin.runtime.errors import SettingError
from izin.runtime.logs import get_logger
from izin.schemas import timestamps
from izin.sinks.inbound.daily.content import Download, FileCheck, HeldBy, blocks_of
from izin.sinks.inbound.movements import ReportedMovements
from izin.sinks.outbound.context import OutboundContext, ask_for_rights
from izin.sinks.publish.publisher import Publisher

PATH = "daily"
"""The path of what only a daily file showed."""
_BACKOFF = Backoff(timedelta(minutes=5), timedelta(hours=4))
_CORRECTED_AFTER = timedelta(hours=12)
"""When a call is made again that a person must correct first: each that fails counts against us."""
_GONE = "H502"
_SETTINGS = "IZIN_DAILY_AGREE_BRANDS"

_log = get_logger(__name__)
POLLED_EVERY = timedelta(minutes=15)
FETCHED_AGAIN = timedelta(hours=1)
"""When a file is fetched again whose hash was not İYS's, or which İYS could not make."""
SHA_384 = "SHA-384"
_HEX_DIGITS = 96
AT_ONCE = 2000
"""So many lines enter in a transaction."""
Line = tuple[int, bytes]
"""The number of a line in İYS's file, from 1, and the line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DailyFiles:
    """Fetches, compares and agrees with the files of every brand."""

    context: OutboundContext
    publisher: Publisher
    available_from: time
    """Turkish time of the next morning from which a file is fetched."""
    empty_date: str
    agree_brands: frozenset[int] = frozenset()
    """Brands for which agreement is declared where both hashes are equal."""
    roots: tuple[Certificate, ...] = ()
    """Whom time stamps are verified by."""

    async def look(self) -> int:
        """Do what is due now; return for how many files something was."""
        await until_released(self.context.ledger)
        context, now = self.context, self.context.clock()
        lease_owner = context.lease_owner
        await files.note(context.ledger, self.days(now), lease_owner=lease_owner, now=now)
        known = {brand.brand_code: brand for brand in await brands.every(context.ledger)}
        due = await files.due(context.ledger, lease_owner=lease_owner, now=now)
        for file in due:
            await self._step(known, file)
        return len(due)

    def days(self, now: datetime) -> list[date]:
        """Return the days whose files are to be here by ``now``."""
        local = now.astimezone(TURKEY)
        latest = local.date() - timedelta(days=1 if local.time() >= self.available_from else 2)
        first = files.first_shown(now)
        return [first + timedelta(days=one) for one in range((latest - first).days + 1)]

    async def _step(self, known: Mapping[int, Brand], file: DailyFile) -> None:
        brand = known[file.brand_code]
        try:
            if file.state is FileState.WAITING:
                await self._fetch(brand, file)
                file = await self._again(file)
            if file.state is FileState.FETCHED:
                await self._compare(brand, file)
                file = await self._again(file)
            if file.agree_ordered_by is not None and file.agreed_at is None:
                await self._declare(brand, file)
        except CallError as error:
            await self._failed(file, error)
        except LedgerFaultError as error:
            await self._note(file, str(error), _BACKOFF.after(file.attempts + 1))

    async def _again(self, file: DailyFile) -> DailyFile:
        return await files.one(self.context.ledger, file.brand_code, file.day) or file

    async def _fetch(self, brand: Brand, file: DailyFile) -> None:
        """Bring a file from ``waiting`` to ``fetched``, ``empty`` or ``gone``, or note why not yet.

        Raises:
            CallError: İYS refused a call, or did not answer.
            ConcurrentChangeError: another process has fetched it.
        """
        context = self.context
        if file.day < files.first_shown(context.clock()):
            await self._gone(file)
            return
        reports, counts = context.client.reports, list[DayCount]()
        for recipient_type in RecipientType:
            counts += await reports.counts(brand.path, file.day, recipient_type)
        stored = [count.to_json() for count in counts]
        changes = sum(one.approvals + one.rejections for one in counts)
        agreement = None
        if any(one.total for one in counts) or await lines.has_own(
            context.ledger, file.brand_code, file.day
        ):
            agreement = await reports.agreement(brand.path, file.day)
        if agreement is None and changes == 0:
            await files.close(context.ledger, file, FileState.EMPTY, counts=stored)
            return
        problem, wait = _why_not_yet(agreement, changes)
        if agreement is not None and wait is None:
            await self._download(brand, file, agreement, stored)
            return
        await files.attempted(
            context.ledger,
            file,
            next_attempt_at=context.clock() + (wait or FETCHED_AGAIN),
            error=problem,
            counts=stored,
            process_status=None if agreement is None else agreement.process_status,
        )

    async def _gone(self, file: DailyFile) -> None:
        """Note that İYS shows a file no more; it was never fetched."""
        _log.critical(
            "daily file lost",
            brand=file.brand_code,
            day=str(file.day),
            effect="İYS shows seven days; its file and time stamp of this day are no evidence",
            remedy="pull and status queries have its movements all the same: izin iys daily list",
        )
        await files.close(self.context.ledger, file, FileState.GONE)

    async def _download(
        self,
        brand: Brand,
        file: DailyFile,
        agreement: DayAgreement,
        counts: files.Counts,
    ) -> None:
        context, hash_value = self.context, agreement.hash_value or ""
        with Download() as download:
            if not await context.client.reports.download(brand.path, file.day, download.write):
                await self._note(file, "İYS has a hash of the file, and no file", FETCHED_AGAIN)
                return
            download.finish()
            prefix = download.prefix_with(hash_value)
            if prefix is None:
                _log.critical(
                    "daily file altered",
                    brand=file.brand_code,
                    day=str(file.day),
                    lines=download.count,
                    effect="its SHA-384 is not İYS's: nothing of it is recorded",
                    remedy="it is fetched again in an hour; if that goes on, ask İYS's support",
                )
                await self._note(
                    file, "the SHA-384 of the file is not the one that İYS states", FETCHED_AGAIN
                )
                return
            now = context.clock()
            async with context.ledger.transaction() as connection:
                await files.fetched(
                    connection,
                    file,
                    counts=counts,
                    hash_value=hash_value,
                    hashed_prefix=prefix,
                    lines=download.count,
                    agreed_at=now if agreement.is_agreed else None,
                    now=now,
                )
                await lines.store(connection, file, blocks_of(download.lines))
        _log.info(
            "daily file fetched", brand=file.brand_code, day=str(file.day), lines=download.count
        )

    async def _compare(self, brand: Brand, file: DailyFile) -> None:
        """Enter what only İYS's file has, and note how both files compare."""
        context = self.context
        with FileCheck(context.ledger, file, empty_date=self.empty_date) as check:
            compared = await check.compare()
            entered = await enter(
                ReportedMovements(context=context, publisher=self.publisher, path=PATH),
                brand,
                file,
                (
                    (difference.number, difference.line)
                    for difference in check.differences()
                    if difference.side is HeldBy.IYS
                ),
                empty_date=self.empty_date,
            )
        reply = await self._timestamp(brand, file)
        timestamp = timestamps.verify(reply, file.hash_value or "", self.roots)
        if timestamp.state is timestamps.TimestampState.WRONG:
            _log.critical(
                "timestamp of daily file wrong",
                brand=file.brand_code,
                day=str(file.day),
                error=timestamp.error,
                effect="it is kept, and proves nothing",
                remedy="check IZIN_TIMESTAMP_ROOTS; if they are right, ask İYS's support",
            )
        now, is_equal = context.clock(), compared.own_hash == file.hash_value
        await files.compared(
            context.ledger, file, compared, timestamp, timestamp_reply=reply, now=now
        )
        log = _log.critical if compared.only_at_iys else _log.info
        log(
            "daily file compared",
            brand=file.brand_code,
            day=str(file.day),
            is_equal=is_equal,
            only_at_iys=compared.only_at_iys,
            only_here=compared.only_here,
            entered=entered,
            timestamp=str(timestamp.state),
        )
        if is_equal and file.brand_code in self.agree_brands:
            await files.order_agreement(
                context.ledger,
                await self._again(file),
                by=_SETTINGS,
                customer_id=brand.customer_id,
                now=now,
            )

    async def _timestamp(self, brand: Brand, file: DailyFile) -> bytes | None:
        """Return the time stamp of İYS's hash; None where İYS shows it no more."""
        if file.timestamp_reply is not None:
            return file.timestamp_reply
        try:
            return await self.context.client.reports.timestamp(brand.path, file.day)
        except RefusedError as error:
            if not _is_gone(error):
                raise
        return None

    async def _declare(self, brand: Brand, file: DailyFile) -> None:
        """Declare that we agree; where İYS did not answer, look first whether it has it."""
        reports = self.context.client.reports
        agreement = await reports.agreement(brand.path, file.day)
        is_same = agreement is not None and agreement.hash_value == file.hash_value
        if agreement is None or not is_same or not file.is_equal:
            await self._note(
                file,
                "İYS states another hash than that of the file which was compared",
                _BACKOFF.longest,
            )
            return
        if not agreement.is_agreed and not await reports.agree(brand.path, file.day):
            await self._note(file, "İYS has no movements to agree with", _BACKOFF.longest)
            return
        await files.agreed(self.context.ledger, file, now=self.context.clock())
        _log.info("daily file agreed with", brand=file.brand_code, day=str(file.day))

    async def _failed(self, file: DailyFile, error: CallError) -> None:
        """Note that İYS refused a call or did not answer; H502: it shows the day no more."""
        if _is_gone(error) and file.state is FileState.WAITING:
            await self._gone(file)
            return
        error.warn(_log, "daily file not fetched", brand=file.brand_code, day=str(file.day))
        await ask_for_rights(self.context, error)
        wait = error.pause(_BACKOFF.after(file.attempts + 1))
        is_for_time = error.is_transient or error.retry_after is not None
        await self._note(file, str(error), wait if is_for_time else _CORRECTED_AFTER)

    async def _note(self, file: DailyFile, error: str, wait: timedelta) -> None:
        await files.attempted(
            self.context.ledger, file, next_attempt_at=self.context.clock() + wait, error=error
        )


def _is_gone(error: CallError) -> bool:
    """Whether İYS refused a call because it does not show the day any more."""
    return any(refusal.code == _GONE for refusal in error.refusals)


def _why_not_yet(
    agreement: DayAgreement | None, changes: int
) -> tuple[str | None, timedelta | None]:
    """Return what is wrong with a hash, and when to ask again; neither where it is complete."""
    if agreement is None:
        return f"İYS counts {changes} changes, and has no file", FETCHED_AGAIN
    match agreement.process_status:
        case ProcessStatus.COMPLETED:
            method = agreement.hash_method or SHA_384
            if method.upper() != SHA_384 or len(agreement.hash_value or "") != _HEX_DIGITS:
                return f"İYS states a hash that is no SHA-384 ({method})", FETCHED_AGAIN
            return None, None
        case ProcessStatus.QUEUED | ProcessStatus.IN_PROGRESS:
            return None, POLLED_EVERY
        case ProcessStatus.ERROR:
            return "İYS could not make the file (processStatus error)", FETCHED_AGAIN
        case _:
            return f"İYS states processStatus {agreement.process_status}", FETCHED_AGAIN


async def enter(
    reported: ReportedMovements,
    brand: Brand,
    file: DailyFile,
    lines: Iterable[Line],
    *,
    empty_date: str,
) -> int:
    """Publish and record the movements in ``lines``, in ascending order, that were not before;
    return how many lines.

    Raises:
        ConcurrentChangeError: another process has recorded them.
        StreamUnavailableError: the broker did not acknowledge them; enter them again.
    """
    context, before, count = reported.context, file.entered_lines, 0
    waiting = (line for line in lines if line[0] > file.entered_lines)
    while page := tuple(islice(waiting, AT_ONCE)):
        movements, unreadable = _read(page, empty_date)
        # A pull shows them in two streams.
        theirs = [movement for movement in movements if is_of_citizens(movement.source)]
        seen = await reported.publish(
            brand,
            Stream.HS,
            [one for one in movements if not is_of_citizens(one.source)],
            unreadable,
        )
        seen += await reported.publish(brand, Stream.IYS, theirs)
        now, last = context.clock(), page[-1][0]
        async with context.ledger.transaction() as connection:
            await files.entered(connection, file, before=before, line=last, count=len(page))
            await reported.record(connection, brand, seen, now=now)
        before, count = last, count + len(page)
    return count


def _read(lines: Iterable[Line], empty_date: str) -> tuple[list[IysMovement], list[UnreadableItem]]:
    movements, unreadable = [], []
    for _, line in lines:
        try:
            movements.append(read_line(line, empty_date=empty_date))
        except UnreadableError as error:
            unreadable.append(UnreadableItem(line, str(error)))
    return movements, unreadable


def trusted_roots(file: Path | None) -> tuple[Certificate, ...]:
    """Return the certificates in a file (PEM) of ``IZIN_TIMESTAMP_ROOTS``; none without a file.

    Raises:
        SettingError: it cannot be read, or has no certificate.
    """
    if file is None:
        return ()
    try:
        return timestamps.roots_in(file)
    except (OSError, ValueError) as error:
        raise SettingError(
            f"IZIN_TIMESTAMP_ROOTS names {file}, which has no certificates ({error}); name a file "
            "with the roots of the time-stamp authority in PEM"
        ) from error
