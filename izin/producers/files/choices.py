"""What a caller says of a file: by options, or in a file of TOML what a person has found out once.

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

Words of the caller go before those that are known. A word counts in the field whose value it means;
with a field before it (``status:Pasif=RET``) in that one alone.
"""

import tomllib
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from pydantic import BaseModel, ConfigDict, ValidationError

from izin.consent.enums import CHANNELS, RECIPIENT_TYPES, SOURCES, STATUSES, Status
from izin.consent.errors import SourceError
from izin.producers.files.cells import cell_text
from izin.producers.mapping.field_names import Field, field_of, number_of
from izin.schemas.words import (
    channel_of,
    recipient_type_of,
    source_of,
    status_of,
    word_key,
)

Words = Mapping[Field, Mapping[str, str]]
"""For each field: the key of a word, and the value that it means."""

_KNOWN: Mapping[Field, tuple[Callable[[str], str | None], Mapping[str, str]]] = {
    Field.STATUS: (status_of, STATUSES),
    Field.TYPE: (channel_of, CHANNELS),
    Field.SOURCE: (source_of, SOURCES),
    Field.RECIPIENT_TYPE: (recipient_type_of, RECIPIENT_TYPES),
}
_NUMBERS = (Field.BRAND_CODE, Field.RETAILER_CODE)
_FIELDS = (*_KNOWN, *_NUMBERS)


class ColumnChoiceError(SourceError):
    """A ``--map``, ``--ignore`` or ``--set`` that names no column of the file, or no field."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChoices:
    """The caller's choices for the columns of a file."""

    mapped: Mapping[str, str] = field(default_factory=dict)
    """Header to field name."""
    ignored: Collection[str] = ()
    given: Mapping[str, str] = field(default_factory=dict)
    """Field name to the value for every row, such as the brand code."""
    values: Mapping[str, str] = field(default_factory=dict)
    """A word of the file to the value that it means, such as ``Mağaza`` to ``HS_FIZIKSEL_ORTAM``;
    with a field before it (``status:Pasif``) in that field alone.
    """
    confirmed: Collection[str] = ()
    """Columns that may have opt-outs and are left out on purpose, and words of an opt-out that mean
    a consent on purpose.
    """
    header_row: int | None = None
    """The line or row that names the columns, those above it being none of the table; None: the
    first that is not empty."""


class ValueChoiceError(SourceError):
    """A ``--value`` whose meaning is no value of a field, or of several."""


def words_of(values: Mapping[str, str], confirmed: Collection[str] = ()) -> Words:
    """Return the words of ``values``, each with its meaning, by field.

    Raises:
        ValueChoiceError: a meaning is no value, or could be of several fields, or a word has two;
            or one of an opt-out would mean a consent, and is not among the ``confirmed``.
    """
    accepted = set(map(word_key, confirmed))
    found: dict[Field, dict[str, str]] = {}
    for given, meaning in values.items():
        word, field = _field_of(given)
        held, value = _one_meaning(given, meaning, _FIELDS if field is None else (field,))
        words = found.setdefault(held, {})
        is_reversed = (
            held is Field.STATUS and value == Status.ONAY and status_of(word) == Status.RET
        )
        if is_reversed and word_key(word) not in accepted:
            raise ValueChoiceError(
                f'--value gives "{word}", a word of an opt-out (RET), the meaning of a consent: '
                f"correct it, or confirm it (--confirm '{word}')"
            )
        if words.setdefault(word_key(cell_text(word)), value) != value:
            raise ValueChoiceError(f'--value gives "{word}" two meanings; leave one out')
    return MappingProxyType({held: MappingProxyType(words) for held, words in found.items()})


def _field_of(given: str) -> tuple[str, Field | None]:
    """Return a word, and the field that stands before it."""
    name, colon, word = given.partition(":")
    field = field_of(name) if colon else None
    if field is not None and field not in _FIELDS:
        raise ValueChoiceError(
            f"--value {given}=…: {field} has no words; fields that have: {', '.join(_FIELDS)}"
        )
    return (given, None) if field is None else (word, field)


def _one_meaning(given: str, meaning: str, fields: tuple[Field, ...]) -> tuple[Field, str]:
    """Return the only one of ``fields`` that has the value ``meaning``, and the value."""
    exact = [(one, meaning) for one in fields if one in _KNOWN and meaning in _KNOWN[one][1]]
    found = exact or [(one, value) for one in fields if (value := _value(one, meaning))]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"{one}:{given}={meaning}" for one, _ in found)
        raise ValueChoiceError(
            f"--value {given}={meaning} could be of several fields; write {names}"
        )
    known = ", ".join(value for one in fields if one in _KNOWN for value in _KNOWN[one][1])
    raise ValueChoiceError(
        f"--value {given}={meaning}: there is no such value"
        + (f"; values: {known}" if known else "; only a number can be given for that field")
    )


def _value(field: Field, meaning: str) -> str | None:
    """Return the value of ``field`` that ``meaning`` is; None if it is none."""
    if field in _KNOWN:
        read, values = _KNOWN[field]
        value = read(meaning)
        return value if value in values else None
    if field in _NUMBERS and number_of(field, meaning, []) is not None:
        return meaning
    return None


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
    header_row: int | None = None


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
        header_row=found.header_row,
    )
