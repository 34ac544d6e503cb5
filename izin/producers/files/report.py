"""The report of an import: every row that needs correction, with place, reason and outcome.

Written beside the file, in Turkish and English, in the format that Excel in Turkey opens: UTF-8
with a BOM and `;`. It quotes the imported file, so it is as confidential as that.
"""

import csv
from enum import StrEnum
from pathlib import Path
from typing import Self, TextIO

from izin.consent.errors import OurError
from izin.consent.violations import Violation

HEADER = (
    "satır/row",
    "sütun/column",
    "değer/value",
    "kod/code",
    "neden",
    "reason",
    "sonuç/outcome",
)

_FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class RowOutcome(StrEnum):
    """The outcome of a reported row."""

    NOT_IMPORTED = "alınmadı/not imported"
    PUBLISHED = "yayımlandı, bu haliyle İYS'ye kaydedilemez/published, not registrable as it stands"


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
        self._stream: TextIO | None = None
        self.rows = 0

    def add(
        self, row: int, column: str, value: str, violation: Violation, outcome: RowOutcome
    ) -> None:
        """Add one violation of one row."""
        if self._stream is None:
            self._stream = self._open()
        self.rows += 1
        csv.writer(self._stream, delimiter=";").writerow(
            (
                row,
                column,
                _escaped(value),
                violation.code,
                violation.reason_tr,
                violation.reason,
                outcome,
            )
        )

    def _open(self) -> TextIO:
        try:
            stream = self._part.open("w", encoding="utf-8-sig", newline="")
        except OSError as error:
            raise UnwritableReportError(self._path, error) from error
        csv.writer(stream, delimiter=";").writerow(HEADER)
        return stream

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._stream is None:
            self._path.unlink(missing_ok=True)
            return
        self._stream.close()
        self._part.replace(self._path)


def _escaped(value: str) -> str:
    """Return ``value`` so that no spreadsheet evaluates it as a formula."""
    return f"'{value}" if value.startswith(_FORMULA_STARTS) else value
