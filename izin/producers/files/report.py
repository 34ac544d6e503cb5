"""The report of an import: every row that needs correction, with place, reason and outcome.

Refused opt-outs come first, then refused rows that may be opt-outs, then the others.
Written beside the file, in Turkish and English, in the format that Excel in Turkey opens: UTF-8
with a BOM and `;`. It quotes the imported file, so it is as confidential as that.
"""

import csv
import re
import shutil
from collections.abc import Sequence
from contextlib import ExitStack
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryFile
from typing import Self, TextIO

from izin.consent.errors import OurError
from izin.consent.model import Status
from izin.consent.violations import Violation
from izin.producers.files.cells import cell_text
from izin.producers.mapping.field_names import status_of

HEADER = (
    "satır/row",
    "sütun/column",
    "değer/value",
    "kod/code",
    "neden",
    "reason",
    "sonuç/outcome",
)

_LONGEST_VALUE = 32_000
"""A cell of Excel holds 32,767 characters."""
_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class RowOutcome(StrEnum):
    """The outcome of a reported row, in the order of the report."""

    OPT_OUT_NOT_IMPORTED = "RET, alınmadı/opt-out, not imported"
    UNCLEAR_NOT_IMPORTED = "alınmadı, RET olabilir/not imported, may be an opt-out"
    NOT_IMPORTED = "alınmadı/not imported"
    PUBLISHED = "yayımlandı, bu haliyle İYS'ye kaydedilemez/published, not registrable as it stands"


_DELIMITERS = re.compile(r"[;,\t\n]")


def refusal(status: str) -> RowOutcome:
    """Return the outcome of a refused row with ``status``."""
    match status:
        case Status.RET:
            return RowOutcome.OPT_OUT_NOT_IMPORTED
        case Status.ONAY:
            return RowOutcome.NOT_IMPORTED
        case _:
            return RowOutcome.UNCLEAR_NOT_IMPORTED


def inseparable(fields: Sequence[str]) -> RowOutcome:
    """Return the outcome of a row whose fields cannot be assigned to columns.

    One word for RET in it makes it an opt-out; a flag (``0``, ``H``) could mean anything there.
    """
    parts = (cell_text(part) for one in fields for part in _DELIMITERS.split(one))
    said = any(len(part) > 1 and status_of(part) == Status.RET for part in parts)
    return refusal(Status.RET if said else "")


class UnwritableReportError(OurError):
    """The report cannot be written."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"the report {path} cannot be written: {error.strerror}; choose --report PATH"
        )
        self.path = path


class ReportFile:
    """Writes a report. It replaces an earlier one when complete; an empty one is no file."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(f".{path.name}.part")
        self._files = ExitStack()
        self._sections: dict[RowOutcome, TextIO] = {}
        self.rows = 0

    def add(
        self, row: int, column: str, value: str, violation: Violation, outcome: RowOutcome
    ) -> None:
        """Add one violation of one row."""
        if not self._sections:
            self._open()
        self.rows += 1
        csv.writer(self._sections[outcome], delimiter=";").writerow(
            (
                row,
                _escaped(column),
                _escaped(value[:_LONGEST_VALUE]),
                violation.code,
                violation.reason_tr,
                violation.reason,
                outcome,
            )
        )

    def _open(self) -> None:
        """Open a file without a name for the rows of each outcome."""
        try:
            for one in RowOutcome:
                self._sections[one] = self._files.enter_context(
                    TemporaryFile("w+", encoding="utf-8", newline="", dir=self._path.parent)  # noqa: SIM115  # closed with the report
                )
        except OSError as error:
            raise UnwritableReportError(self._path, error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.rows:
            self._files.close()
            self._path.unlink(missing_ok=True)
            return
        with self._files, self._part.open("w", encoding="utf-8-sig", newline="") as report:
            csv.writer(report, delimiter=";").writerow(HEADER)
            for one in self._sections.values():
                one.seek(0)
                shutil.copyfileobj(one, report)
        self._part.replace(self._path)


def _escaped(value: str) -> str:
    """Return ``value`` so that no spreadsheet evaluates it as a formula."""
    return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
