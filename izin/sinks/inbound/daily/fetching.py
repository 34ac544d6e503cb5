"""Fetch İYS's file of a day: what İYS counts first, then the hash, then the file itself.

A day without movements has no file. İYS makes the hash some time after midnight, so it is polled.
A file whose hash is not İYS's is not stored, and nothing of it enters: it is fetched again.

Whether İYS's hash covers a byte order mark and the column names is not documented (reference 2.12),
so the hash is made in each way, and İYS's own shows which one is right.
"""

import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, BinaryIO

from izin.consent.model import RecipientType
from izin.iys.wire_format.consents import DayAgreement, DayCount, ProcessStatus
from izin.iys.wire_format.daily_file import known_prefixes, prefix_of
from izin.runtime.logs import get_logger
from izin.sinks.ledger.daily import files, lines
from izin.sinks.ledger.daily.files import DailyFile, FetchedFile, FileState
from izin.sinks.outbound.context import OutboundContext
from izin.sinks.record.brand import Brand

_BLOCK = 1024 * 1024
_LONGEST_START = 4096
"""Bytes within which the first line ends."""
POLLED_EVERY = timedelta(minutes=15)
FETCHED_AGAIN = timedelta(hours=1)
"""When a file is fetched again whose hash was not İYS's, or which İYS could not make."""
SHA_384 = "SHA-384"
_HEX_DIGITS = 96
_log = get_logger(__name__)


def unnamed_file() -> BinaryIO:
    """Return a file for recipients: it has no name, so nothing of it is left when its process ends,
    however that ends.
    """
    return tempfile.TemporaryFile("w+b")


def blocks_of(lines: BinaryIO) -> Iterator[bytes]:
    """Yield the content of a file from its beginning, in blocks."""
    lines.seek(0)
    while block := lines.read(_BLOCK):
        yield block


class Download(ExitStack):
    """A daily file, written in chunks. Use it as a context manager: its lines end with it."""

    def __init__(self) -> None:
        super().__init__()
        self.lines = self.enter_context(unnamed_file())
        """The lines, without what stands before them."""
        self.count = 0
        """How many lines there are; the last one may lack its end."""
        self._start: bytes | None = b""
        self._hashes: dict[bytes, hashlib._Hash] = {}
        self._last = b""

    def write(self, chunk: bytes) -> None:
        """Add a chunk.

        Raises:
            UnreadableError: the file has other columns than İYS's.
        """
        if self._start is not None:
            self._start += chunk
            if b"\n" not in self._start and len(self._start) < _LONGEST_START:
                return
            chunk, self._start = self._begin(self._start), None
        self._add(chunk)

    def finish(self) -> None:
        """Note that the file is complete.

        Raises:
            UnreadableError: the file has other columns than İYS's.
        """
        if self._start is not None:
            rest, self._start = self._begin(self._start), None
            self._add(rest)
        self.count += self._last not in {b"", b"\n"}
        self.lines.flush()

    def hashes(self) -> Mapping[bytes, str]:
        """Return the SHA-384 in hex by what is taken to stand before the lines."""
        return {prefix: one.hexdigest() for prefix, one in self._hashes.items()}

    def prefix_with(self, hash_value: str) -> bytes | None:
        """Return with what before the lines the hash is ``hash_value``; None: with nothing known,
        so the file is not the one that İYS has hashed.
        """
        return next((one for one, its in self.hashes().items() if its == hash_value), None)

    def _begin(self, start: bytes) -> bytes:
        prefix = prefix_of(start)
        self._hashes = {one: hashlib.sha384(one) for one in known_prefixes(prefix)}
        return start.removeprefix(prefix)

    def _add(self, chunk: bytes) -> None:
        for one in self._hashes.values():
            one.update(chunk)
        self.lines.write(chunk)
        self.count += chunk.count(b"\n")
        self._last = chunk[-1:] or self._last


@dataclass(frozen=True, slots=True, kw_only=True)
class Fetcher:
    """Fetches the files of days."""

    context: OutboundContext

    async def fetch(self, brand: Brand, file: DailyFile) -> None:
        """Bring a file from ``waiting`` to ``fetched``, ``empty`` or ``gone``, or note why not yet.

        Raises:
            CallError: İYS refused a call, or did not answer.
            ConcurrentChangeError: another process has fetched it.
        """
        context = self.context
        if file.day < files.first_shown(context.clock()):
            await self.gone(file)
            return
        counts = await self._counts(brand, file)
        stored = [one.to_json() for one in counts]
        total = sum(one.total for one in counts)
        if total == 0 and not await lines.has_own(context.ledger, file.brand_code, file.day):
            await files.close(context.ledger, file, FileState.EMPTY, counts=stored)
            return
        agreement = await context.client.reports.agreement(brand.path, file.day)
        changes = sum(one.approvals + one.rejections for one in counts)
        if agreement is None and changes == 0:
            await files.close(context.ledger, file, FileState.EMPTY, counts=stored)
            return
        problem, again = _why_not_yet(agreement, changes)
        if agreement is None or problem is not None or again is not None:
            await files.attempted(
                context.ledger,
                file,
                next_attempt_at=context.clock() + (again or FETCHED_AGAIN),
                error=problem,
                counts=stored,
                process_status=None if agreement is None else agreement.process_status,
            )
            return
        await self._download(brand, file, agreement, stored)

    async def gone(self, file: DailyFile) -> None:
        """Note that İYS shows a file no more; it was never fetched."""
        _log.critical(
            "daily file lost",
            brand=file.brand_code,
            day=str(file.day),
            effect="İYS shows seven days; its file and time stamp of this day are no evidence",
            remedy="pull and status queries have its movements all the same: izin iys daily list",
        )
        await files.close(self.context.ledger, file, FileState.GONE)

    async def _counts(self, brand: Brand, file: DailyFile) -> list[DayCount]:
        counts: list[DayCount] = []
        for recipient_type in RecipientType:
            counts += await self.context.client.reports.counts(brand.path, file.day, recipient_type)
        return counts

    async def _download(
        self,
        brand: Brand,
        file: DailyFile,
        agreement: DayAgreement,
        counts: Sequence[Mapping[str, Any]],
    ) -> None:
        context, hash_value = self.context, agreement.hash_value or ""
        with Download() as download:
            if not await context.client.reports.download(brand.path, file.day, download.write):
                await self._again(file, "İYS has a hash of the file, and no file")
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
                await self._again(file, "the SHA-384 of the file is not the one that İYS states")
                return
            now = context.clock()
            found = FetchedFile(
                counts=counts,
                hash_value=hash_value,
                hashed_prefix=prefix,
                lines=download.count,
                is_agreed=agreement.is_agreed,
            )
            async with context.ledger.transaction() as connection:
                await files.fetched(connection, file, found, now=now)
                await lines.store(connection, file, blocks_of(download.lines))
        _log.info("daily file fetched", brand=file.brand_code, day=str(file.day), lines=found.lines)

    async def _again(self, file: DailyFile, error: str) -> None:
        at: datetime = self.context.clock() + FETCHED_AGAIN
        await files.attempted(self.context.ledger, file, next_attempt_at=at, error=error)


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
