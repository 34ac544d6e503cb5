"""The files that people import in the console, each in a folder with all that belongs to it.

That is personal data: the folders are this process's alone, called by a random name, of one
customer, and deleted as a whole some days after somebody last worked on them. So the state of an
import is beside its file, and not in the ledger, which would keep it longer or without the file.
What outlives it is in the history: who imported which digest. Mappings have no personal data and
are to be found again after a loss: they are in the ledger (``izin.ledger.console.mappings``), as
the TOML that ``izin import --mapping`` reads.
"""

import asyncio
import hashlib
import os
import re
import secrets
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path

from pydantic import BaseModel, ValidationError

from izin.producers.files import Import, whole_file
from izin.producers.mapping.saved import FileMapping
from izin.views.imports import ReportSummary
from izin.views.sentences import Instruction, sentence
from izin.views.worklist import Need, WorkItem

_IMPORTS = Instruction("izin console", "Imports")
_ID = re.compile(r"[0-9a-f]{32}")
_PRIVATE_FOLDER, _PRIVATE_FILE = 0o700, 0o600
_SWEPT_EVERY = 3600.0


class ImportStage(StrEnum):
    """How far an import of the console is."""

    UPLOADED = "uploaded"
    CHECKING = "checking"
    CHECKED = "checked"
    """What importing it would do is known."""
    IMPORTING = "importing"
    IMPORTED = "imported"
    CORRECTING = "correcting"
    """Rows that were corrected are imported."""

    @property
    def is_work(self) -> bool:
        """Whether a task is at it, or was stopped."""
        return self in {ImportStage.CHECKING, ImportStage.IMPORTING, ImportStage.CORRECTING}

    @property
    def has_begun(self) -> bool:
        """Whether something may be published: the mapping is settled."""
        return self in {ImportStage.IMPORTING, ImportStage.IMPORTED, ImportStage.CORRECTING}


class _Stored(BaseModel, frozen=True):
    """What is kept beside a file."""


class ImportFault(_Stored):
    """Why a task ended before its end."""

    wording: str
    values: Mapping[str, str] = {}


class ImportCounts(_Stored):
    """What an import, or a check, has counted and reported."""

    counts: Mapping[str, int]
    report: ReportSummary
    hidden_sheets: tuple[str, ...] = ()


class ImportCorrection(_Stored):
    """Rows that were corrected, and imported."""

    at: datetime
    by: str
    rows: int
    published: int
    refused: int


class ImportEdits(_Stored):
    """What was corrected, and is not imported yet."""

    rows: Mapping[int, tuple[str, ...]] = {}
    """By line."""
    given_back: tuple[str, ...] = ()
    """The ids of opt-ins that may reverse an opt-out."""


class ImportState(_Stored):
    """An import of the console."""

    customer: str
    name: str
    """Of the file, as it was uploaded."""
    size: int
    digest: str
    by: str
    """Who uploaded it, or began the last task."""
    uploaded_at: datetime
    changed_at: datetime
    stage: ImportStage = ImportStage.UPLOADED
    mapping: FileMapping = FileMapping()
    fault: ImportFault | None = None
    found: ImportCounts | None = None
    """Of the check, or once it has ended of the import."""
    left: ReportSummary | None = None
    """What is refused still: once the import has ended."""
    edits: ImportEdits = ImportEdits()
    corrections: tuple[ImportCorrection, ...] = ()

    @property
    def how(self) -> Import:
        """How the file is read."""
        return Import(
            columns=self.mapping.choices, dates=self.mapping.dates, origin=self.mapping.origin
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredImport:
    """An import with its files."""

    id: str
    folder: Path
    state: ImportState = field(repr=False)

    @property
    def file(self) -> Path:
        """The file."""
        return self.folder / "file"

    @property
    def report(self) -> Path:
        """The report of its refused rows."""
        return self.folder / "report.csv"

    def save(self, **changes: object) -> "StoredImport":
        """Store ``changes`` of the state, whole or not at all, and return what is stored."""
        state = self.state.model_copy(update=changes)
        with whole_file(self.folder / "state.json") as stream:
            os.fchmod(stream.fileno(), _PRIVATE_FILE)
            stream.write(state.model_dump_json().encode())
        return StoredImport(id=self.id, folder=self.folder, state=state)


class ImportStore:
    """The imports in a folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def add(self, customer: str, name: str, content: bytes, *, by: str, now: datetime) -> str:
        """Store a file, and return the id of its import."""
        self._root.mkdir(mode=_PRIVATE_FOLDER, parents=True, exist_ok=True)
        folder = self._root / secrets.token_hex(16)
        folder.mkdir(mode=_PRIVATE_FOLDER)
        state = ImportState(
            customer=customer,
            name=name,
            size=len(content),
            digest=hashlib.sha256(content).hexdigest(),
            by=by,
            uploaded_at=now,
            changed_at=now,
        )
        stored = StoredImport(id=folder.name, folder=folder, state=state)
        with whole_file(stored.file) as stream:
            os.fchmod(stream.fileno(), _PRIVATE_FILE)
            stream.write(content)
        return stored.save().id

    def find(self, number: str) -> StoredImport | None:
        """Return the import of this id; None: there is none."""
        folder = self._root / number
        if _ID.fullmatch(number) is None:
            return None
        try:
            state = ImportState.model_validate_json((folder / "state.json").read_bytes())
        except (FileNotFoundError, ValidationError):
            return None
        return StoredImport(id=number, folder=folder, state=state)

    def every(self) -> Iterator[StoredImport]:
        """Yield all imports."""
        for folder in self._root.iterdir() if self._root.is_dir() else ():
            if found := self.find(folder.name):
                yield found

    def delete(self, stored: StoredImport) -> None:
        """Delete an import with its files."""
        shutil.rmtree(stored.folder)

    def sweep(self, before: datetime) -> None:
        """Delete the imports that nobody has worked on since ``before``."""
        for folder in list(self._root.iterdir()) if self._root.is_dir() else ():
            found = self.find(folder.name)
            changed_at = (
                datetime.fromtimestamp(folder.stat().st_mtime, UTC)
                if found is None
                else found.state.changed_at
            )
            if changed_at < before and _ID.fullmatch(folder.name):
                shutil.rmtree(folder)


def refused_rows(folder: Path | None) -> list[WorkItem]:
    """Return for the worklist the imports in a folder, where there is one, that have rows to be
    corrected.
    """
    imports = [] if folder is None else ImportStore(folder).every()
    return [
        WorkItem(
            kind=Need.UNREADABLE,
            id=one.id,
            brand_code=None,
            customer_id=one.state.customer,
            reason=one.state.name,
            why=sentence("refused rows of the file %(name)s", name=one.state.name),
            remedy=sentence("correct them in the console: %(imports)s", imports=_IMPORTS),
            since=one.state.changed_at,
            records=one.state.left.rows,
        )
        for one in imports
        if one.state.left is not None and one.state.left.rows
    ]


async def delete_old(folder: Path | None, kept: timedelta, clock: Callable[[], datetime]) -> None:
    """Delete, again and again, the imports in a folder that nobody has worked on for so long."""
    while True:
        if folder is not None:
            await asyncio.to_thread(ImportStore(folder).sweep, clock() - kept)
        await asyncio.sleep(_SWEPT_EVERY)
