"""A file of choices for the columns of a source, in TOML: what a person has found out once.

::

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

from pydantic import BaseModel, ConfigDict, ValidationError

from izin.consent.errors import SourceError
from izin.producers.files.columns import ColumnChoices


class SavedMappingError(SourceError):
    """A file that should have choices, and cannot be read as such."""

    def __init__(self, path: Path, what: str) -> None:
        super().__init__(f"{path.name} is no mapping: {what}")


class _SavedMapping(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    columns: Mapping[str, str] = {}
    ignore: tuple[str, ...] = ()
    constants: Mapping[str, str | int] = {}
    values: Mapping[str, str | Mapping[str, str]] = {}
    confirm: tuple[str, ...] = ()


def read_mapping(path: Path) -> ColumnChoices:
    """Return the choices that the file at ``path`` has.

    Raises:
        SavedMappingError: it is none.
    """
    try:
        found = _SavedMapping.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise SavedMappingError(path, f"it cannot be opened: {error.strerror}") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise SavedMappingError(path, f"{where}: {first['msg']}") from error
    except ValueError as error:  # no UTF-8, or no TOML
        raise SavedMappingError(path, str(error)) from error
    words = {word: one for word, one in found.values.items() if isinstance(one, str)}
    words |= {
        f"{field}:{word}": one
        for field, own in found.values.items()
        if not isinstance(own, str)
        for word, one in own.items()
    }
    return ColumnChoices(
        mapped=found.columns,
        ignored=found.ignore,
        given={field: str(value) for field, value in found.constants.items()},
        values=words,
        confirmed=found.confirm,
    )
