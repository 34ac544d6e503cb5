"""The journal of an import: how far it is, beside its report, so that a repetition goes on there.

It is written each time all events up to a row are acknowledged, and is on the disk before the next
row is published. It has the counts up to that row and the instant of receipt, so that whoever goes
on publishes what the first would have published. It names the file by its digest and the options by
theirs, and holds nothing of any row.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from izin.consent.errors import SourceError
from izin.producers.files.importing.report import Tally, UnwritableReportError
from izin.producers.files.tables import UnwritableTableError, whole_file

CHECKPOINT_ROWS: Final = 10_000
"""After so many rows the import waits until all are acknowledged, and notes it: so many are
published again, with the ids that they have, where the process was killed."""
_FORMAT: Final = 1


class UnusableJournalError(SourceError):
    """A file that should be a journal and is none."""

    def __init__(self, path: Path) -> None:
        super().__init__(f"{path} is no journal of an import; remove it, then import again")


class Start(StrEnum):
    """From where an import goes."""

    NEW = "new"
    RESUMED = "resumed"
    """On from where one of this file, with these options, stopped."""
    FILE_CHANGED = "file-changed"
    """From the beginning, for the file is not the one whose import stopped."""
    OPTIONS_CHANGED = "options-changed"
    """From the beginning, for the options are not those of the import that stopped or ended."""
    REPORT_LOST = "report-lost"
    """From the beginning, for the report's rows up to where the import stopped are gone."""


class JournalState(BaseModel):
    """How far an import is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = _FORMAT
    digest: str
    """SHA-256 of the file."""
    options: str
    """SHA-256 of the options."""
    received_at: AwareDatetime
    """When the import began: the receipt of all its events."""
    opt_out_line: int = 0
    """The last line or row up to which the opt-outs are acknowledged, which go before all else."""
    line: int = 0
    """The last line or row up to which all is acknowledged, and reported."""
    accepts_reversals: bool = False
    """Whether there were exactly as many reversals as were accepted."""
    report_size: int = 0
    """The bytes of the report's rows up to there."""
    tally: Tally = Field(default_factory=Tally)
    finished_at: AwareDatetime | None = None


@dataclass(kw_only=True)
class Journal:
    """The journal at ``path``; without one the import cannot be resumed."""

    path: Path | None
    state: JournalState
    start: Start = Start.NEW

    def note(self, **changes: object) -> None:
        """Note what has changed of the state: once all up to there is acknowledged. It is on the
        disk when this returns.
        """
        self.state = self.state.model_copy(update=changes)
        if self.path is None:
            return
        try:
            with whole_file(self.path) as stream:
                stream.write(self.state.model_dump_json(indent=2).encode() + b"\n")
                stream.flush()
                os.fsync(stream.fileno())
            _sync_folder(self.path.parent)
        except UnwritableTableError as error:
            raise UnwritableReportError(self.path, error.error) from error


def begin(  # noqa: PLR0913  # by keyword: what an import is known by, and what is left of one
    path: Path | None,
    *,
    digest: str,
    options: Mapping[str, object],
    now: datetime,
    again: bool,
    kept: int,
) -> Journal:
    """Return the journal of an import of the file of ``digest`` that begins ``now``, or goes on;
    nothing is written yet. ``kept`` are the bytes that are left of the report's rows.

    With ``again`` a complete import of the same file is no reason to publish nothing.

    Raises:
        UnusableJournalError: what is at ``path`` is no journal.
        UnwritableReportError: it cannot be read.
    """
    new = JournalState(digest=digest, options=digest_of(options), received_at=now)
    before = None if path is None else _read(path)
    start = Start.NEW
    if before is not None and before.digest == digest:
        if before.options != new.options:
            start = Start.OPTIONS_CHANGED
        elif before.finished_at is None and before.report_size > kept:
            start = Start.REPORT_LOST
        elif before.finished_at is None or not again:
            return Journal(path=path, state=before, start=Start.RESUMED)
    elif before is not None and before.finished_at is None:
        start = Start.FILE_CHANGED
    return Journal(path=path, state=new, start=start)


def digest_of(options: Mapping[str, object]) -> str:
    """Return a digest of ``options``: values of JSON, and others by their texts."""
    text = json.dumps(options, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _read(path: Path) -> JournalState | None:
    try:
        return JournalState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except OSError as error:
        raise UnwritableReportError(path, error) from error
    except ValidationError as error:
        raise UnusableJournalError(path) from error


def _sync_folder(folder: Path) -> None:
    number = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
