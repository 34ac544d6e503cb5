"""Write a daily file with its time stamp for others: a court, or tools that verify both.

``openssl ts -verify -data DAY.csv -in DAY.tsr -CAfile ROOTS`` needs nothing of this project.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from izin.consent.errors import SourceError
from izin.console.daily.views import fields_of
from izin.console.terminal.output import json_text
from izin.sinks.ledger.daily import lines
from izin.sinks.ledger.daily.files import DailyFile
from izin.sinks.ledger.db.connection import Ledger


async def write_files(ledger: Ledger, file: DailyFile, folder: Path) -> list[Path]:
    """Write İYS's file as it was hashed, its time stamp, and what is known of both; return where.

    Raises:
        SourceError: its lines are not in the ledger, or a file of that name exists.
        OSError: the folder cannot be written.
    """
    if file.lines is None:
        raise SourceError(f"the file of {file.day} is not here: it is {file.state}")
    name = f"{file.brand_code}-{file.day}"
    csv = folder / f"{name}.csv"
    with _new(csv) as out:
        out.write(file.hashed_prefix or b"")
        async for block in lines.read(ledger, file):
            out.write(block)
    written = [csv]
    if file.timestamp_reply is not None:
        written.append(_write(folder / f"{name}.tsr", [file.timestamp_reply]))
    known = json_text(dict(fields_of(file))).encode()
    written.append(_write(folder / f"{name}.json", [known]))
    return written


def _write(path: Path, content: Iterable[bytes]) -> Path:
    with _new(path) as out:
        out.writelines(content)
    return path


def _new(path: Path) -> BinaryIO:
    """Open a file that only its owner reads; SourceError where one of this name exists."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb")
    except FileExistsError:
        raise SourceError(f"{path} exists; name another folder") from None
