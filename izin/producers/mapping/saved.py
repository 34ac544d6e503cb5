"""A mapping: what a person has found out once about the columns of a file, or the payloads of a
system, kept in a file of TOML.

::

    header_row = 3                  # the line that names the columns
    ignore = ["Şehir"]              # columns that are left out
    confirm = ["İptal Tarihi"]      # what else would stop the import, on purpose

    [columns]                       # a column, and the field that it holds
    "Müşteri No" = "ref"

    [constants]                     # a field, and its value in every record
    marka = 100001

    [values]                        # a word, and the value that it means
    "Mağaza" = "HS_FIZIKSEL_ORTAM"

    [values.status]                 # in one field alone
    Pasif = "RET"

That of a file may also say how its dates are read (``day_order``, ``excel_epoch``, ``time_of_day``)
and which system wrote it (``origin``).
"""

import json
import tomllib
from collections.abc import Iterator, Mapping
from datetime import time
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from izin.consent import SourceError
from izin.producers.mapping.choices import ColumnChoices
from izin.producers.mapping.dates import DateRules, DayOrder, ExcelEpoch


class MappingError(SourceError):
    """A file that is no mapping."""


class SavedMapping(BaseModel):
    """A mapping as its file has it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Mapping[str, str] = {}
    ignore: tuple[str, ...] = ()
    constants: Mapping[str, str | int] = {}
    values: Mapping[str, str | Mapping[str, str | int]] = {}
    confirm: tuple[str, ...] = ()
    header_row: int | None = None

    @property
    def choices(self) -> ColumnChoices:
        """What it says of columns."""
        words = {word: one for word, one in self.values.items() if isinstance(one, str)}
        words |= {
            f"{field}:{word}": str(one)
            for field, own in self.values.items()
            if not isinstance(own, str)
            for word, one in own.items()
        }
        return ColumnChoices(
            mapped=self.columns,
            ignored=self.ignore,
            given={field: str(value) for field, value in self.constants.items()},
            values=words,
            confirmed=self.confirm,
            header_row=self.header_row,
        )


class FileMapping(SavedMapping):
    """The mapping of a file."""

    day_order: DayOrder | None = None
    excel_epoch: ExcelEpoch | None = None
    time_of_day: time | None = None
    origin: str = "file"

    @property
    def dates(self) -> DateRules:
        """How it has dates read."""
        return DateRules(
            day_order=self.day_order, excel_epoch=self.excel_epoch, time_of_day=self.time_of_day
        )

    def dates_or(self, given: DateRules) -> DateRules:
        """Return how dates are read: as ``given``, and else as it says."""
        return DateRules(
            day_order=given.day_order or self.day_order,
            excel_epoch=given.excel_epoch or self.excel_epoch,
            time_of_day=self.time_of_day if given.time_of_day is None else given.time_of_day,
        )

    @property
    def text(self) -> str:
        """The mapping as a file has it."""
        return "\n".join(_lines(self.model_dump(mode="json", exclude_defaults=True))) + "\n"


M = TypeVar("M", bound=SavedMapping)


def mapping_at(path: Path, model: type[M]) -> M:
    """Return the mapping in the file at ``path``.

    Raises:
        MappingError: it has none; the text says where.
    """
    try:
        text = path.read_text("utf-8")
    except OSError as error:
        raise MappingError(f"{path.name}: it cannot be opened: {error.strerror}") from error
    except ValueError as error:  # no UTF-8
        raise MappingError(f"{path.name}: no mapping: {error}") from error
    return mapping_in(text, model, path.name)


def mapping_in(text: str, model: type[M], name: str) -> M:
    """Return the mapping that ``text`` is, which is called ``name``.

    Raises:
        MappingError: it is none; the text says where.
    """
    try:
        return model.model_validate(tomllib.loads(text))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MappingError(f"{name}: no mapping: {where}: {first['msg']}") from error
    except ValueError as error:  # no TOML
        raise MappingError(f"{name}: no mapping: {error}") from error


def _lines(values: Mapping[str, object], table: str = "") -> Iterator[str]:
    """Yield the lines of TOML that have ``values``, in a ``table`` of that name."""
    tables = {name: one for name, one in values.items() if isinstance(one, Mapping)}
    for name, one in values.items():
        if name not in tables:
            yield f"{_quoted(name) if table else name} = {_quoted(one)}"
    for name, one in tables.items():
        inner = f"{table}.{_quoted(name)}" if table else name
        yield f"[{inner}]"
        yield from _lines(one, inner)


def _quoted(value: object) -> str:
    """Return a text, a number or a list of texts: JSON is TOML there, but for one control."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def read_mapping(path: Path) -> FileMapping:
    """Return the mapping at ``path``, of a file; raises MappingError."""
    return mapping_at(path, FileMapping)
