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
"""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from izin.consent import SourceError
from izin.producers.mapping.choices import ColumnChoices


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


M = TypeVar("M", bound=SavedMapping)


def mapping_at(path: Path, model: type[M]) -> M:
    """Return the mapping in the file at ``path``.

    Raises:
        MappingError: it has none; the text says where.
    """
    try:
        return model.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise MappingError(f"{path.name}: it cannot be opened: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise MappingError(f"{path.name}: no mapping: {where}: {first['msg']}") from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise MappingError(f"{path.name}: no mapping: {error}") from error


def read_mapping(path: Path) -> ColumnChoices:
    """Return the choices of the mapping at ``path``, of the columns of a file; raises
    MappingError.
    """
    return mapping_at(path, SavedMapping).choices
