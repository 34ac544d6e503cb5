"""The archive that a customer is handed over: history, permissions, daily files, and their proof.

It is made in a folder beside the file, which another run completes after a crash, and then packed.
The history has the customer's rows; of others' rows the places on the chains alone are there, so
that every link can be computed again without the ledger.
"""

import asyncio
import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable
from dataclasses import asdict, fields
from datetime import date, datetime
from pathlib import Path
from typing import Final

from izin.console.daily.evidence_files import write_files
from izin.console.terminal.private_csv import private_csv
from izin.evidence.collection import anchor_heads
from izin.sinks.ledger import reads
from izin.sinks.ledger.archive.folder import write_private
from izin.sinks.ledger.archive.writer import ArchiveWriter
from izin.sinks.ledger.daily import files
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.history import verify
from izin.sinks.ledger.reads import RegisterRow
from izin.sinks.ledger.registry.offboarding import Belongings, Ending

ANCHORS: Final = "anchors.txt"
HISTORY: Final = "history"
DAILY: Final = "daily-files"
PERMISSIONS: Final = "permissions.csv"
_ABOUT: Final = """\
What izin kept for the customer {customer}, made at {at} (UTC).

history/          every movement, in files of PostgreSQL's binary COPY, with the list archive.json
                  and a copy of the registry. Rows of others, and erased ones, are there as
                  hashes alone.
permissions.csv   every record: what was desired, what IYS holds, and whether a message may be sent
daily-files/      IYS's files of days, with IYS's time stamps (RFC 3161)
anchors.txt       heads of the chains, as they were published meanwhile

To verify it without the ledger, unpack it and run:
  izin ledger verify --archive history --anchors anchors.txt --no-topic
Anchors that were handed out before prove more than those in here. The archive proves what it
shows, not that it shows all. It names recipients: it is personal data.
"""
_EARLIEST: Final = date(2015, 5, 1)


async def hand_over(
    ending: Ending,
    belongings: Belongings,
    file: Path,
    *,
    now: datetime,
    report: Callable[[int, int], None],
) -> str:
    """Write the archive of a customer beside ``file``; return its SHA-256. It has the name once
    :func:`complete` gives it, for which the digest must be noted first: a crash in between leaves
    an archive that is known.

    Raises:
        BrokenHistoryError: a row of the history does not continue its chain.
        UnwritableCsvError: the folder beside ``file`` cannot be written.
    """
    ledger, customer_id = ending.ledger, ending.customer_id
    folder = _folder_of(file)
    await anchor_heads(ledger, ending.messages, now)
    # Before the rows: an anchor of a row that is not in the archive would be a fault.
    anchors = "".join(one.to_line() for one in await verify.anchors_after(ledger, 0))
    writer = ArchiveWriter(ledger, folder / HISTORY, report=report, customer_id=customer_id)
    await writer.run(by=ending.by, now=now)
    write_private(folder / ANCHORS, anchors.encode())
    await _permissions(ledger, belongings, folder / PERMISSIONS)
    await _daily_files(ledger, belongings, folder / DAILY)
    about = _ABOUT.format(customer=customer_id, at=f"{now:%Y-%m-%d %H:%M}")
    write_private(folder / "README.txt", about.encode())
    return _pack(folder, _part_of(file))


def complete(file: Path, sha256: str) -> bool:
    """Give the archive of this digest its name, unless it has it; return whether it is there."""
    part = _part_of(file)
    if not file.exists() and part.exists() and digest_of(part) == sha256:
        part.replace(file)
        shutil.rmtree(_folder_of(file), ignore_errors=True)
    return file.exists() and digest_of(file) == sha256


async def _permissions(ledger: Ledger, belongings: Belongings, path: Path) -> None:
    with private_csv(path, [one.name for one in fields(RegisterRow)]) as rows:
        for brand in belongings.brands:
            async for row in reads.register(ledger, brand_code=brand.brand_code):
                rows.writerow(list(asdict(row).values()))


async def _daily_files(ledger: Ledger, belongings: Belongings, folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    await asyncio.to_thread(folder.mkdir, mode=0o700)
    for brand in belongings.brands:
        for file in await files.since(ledger, _EARLIEST, brand_code=brand.brand_code):
            if file.lines is not None:
                await write_files(ledger, file, folder)


def _folder_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.parts")


def _part_of(file: Path) -> Path:
    return file.with_name(f"{file.name}.part")


def _pack(folder: Path, part: Path) -> str:
    """Pack ``folder`` into a file; return its digest."""
    number = os.open(part, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(number, "w+b") as target:
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            for path in sorted(one for one in folder.rglob("*") if one.is_file()):
                packed.write(path, path.relative_to(folder))
        target.flush()
        os.fsync(target.fileno())
    return digest_of(part)


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
