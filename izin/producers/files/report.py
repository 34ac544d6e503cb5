"""The report of an import: every row that needs a person, with place, reason and what became of it.

Written beside the file for the people who correct it, so in Turkish and English, as Excel in Turkey
opens it: UTF-8 with a mark and `;`. It quotes the customer's own file, so it is as confidential as
that.
"""

from __future__ import annotations

import csv
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TextIO

from izin.consent.errors import OurError

if TYPE_CHECKING:
    from pathlib import Path

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

_FORMULA_MARKS = ("=", "+", "-", "@", "\t", "\r")


class RowOutcome(StrEnum):
    """What became of a reported row."""

    NOT_IMPORTED = "alınmadı/not imported"
    PUBLISHED = "yayımlandı, bu haliyle İYS'ye kaydedilemez/published, not registrable as it stands"


class UnwritableReportError(OurError):
    """The report cannot be written where it should stand."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"the report {path} cannot be written: {error.strerror}; choose --report PATH"
        )
        self.path = path


class ReportFile:
    """Writes the report, which replaces an earlier one once complete, and is none if empty."""

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
                _harmless(value),
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


def _harmless(value: str) -> str:
    """Return ``value`` so that a spreadsheet does not take it for a formula."""
    return f"'{value}" if value.startswith(_FORMULA_MARKS) else value
