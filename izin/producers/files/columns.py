"""Which column of a file holds what: each is known, mapped or ignored by name, or none is read.

A column nobody spoke for could be the one that says "no", so it is never skipped in silence.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING

from izin.consent.errors import SourceError
from izin.producers.mapping.names import Field, field_of, fold
from izin.runtime.observe import mask_text

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

_KNOWN_NAMES = (
    "ALICI/recipient, TELEFON/phone, E-POSTA/email, İZİN TÜRÜ/type, İZİN DURUMU/status, "
    "İZİN KAYNAĞI/source, İZİN TARİHİ/consentDate, ALICI TİPİ/recipientType, MARKA/brandCode, "
    "REFERANS/ref, BAYİ/retailerCode"
)
_RECIPIENTS = frozenset({Field.RECIPIENT, Field.PHONE, Field.EMAIL})


class ColumnsError(SourceError):
    """A file whose columns cannot all be given a meaning."""


class UnknownColumnError(ColumnsError):
    """Columns that no table knows."""

    def __init__(self, headers: Sequence[str]) -> None:
        # A file without a header line has a person's data where names should be.
        named = ", ".join(f'"{mask_text(one)}"' for one in headers)
        super().__init__(
            f"line 1: unknown column {named}; known names: {_KNOWN_NAMES}; "
            "say what it holds (--map COLUMN=field) or leave it out (--ignore COLUMN)"
        )
        self.headers = tuple(headers)


class NoSuchColumnError(ColumnsError):
    """A ``--map`` or ``--ignore`` that names no column of the file."""

    def __init__(self, named: str, headers: Sequence[str]) -> None:
        there = ", ".join(f'"{mask_text(one)}"' for one in headers)
        super().__init__(f'there is no column "{named}"; the file has: {there}')


class UnknownFieldError(ColumnsError):
    """A field name that is none of ours."""

    def __init__(self, name: str) -> None:
        super().__init__(f'there is no field "{name}"; fields: {", ".join(Field)}')


class ClashingColumnsError(ColumnsError):
    """Two columns, or a column and a given value, for one field."""

    def __init__(self, name: Field, headers: Sequence[str]) -> None:
        named = " and ".join(f'"{one}"' for one in headers)
        super().__init__(
            f"line 1: {named} both hold {name}; leave one out (--ignore COLUMN) "
            "or say what it holds (--map COLUMN=field)"
        )


class MissingColumnError(ColumnsError):
    """A field without which no row can be read."""

    def __init__(self, name: Field) -> None:
        super().__init__(
            f"line 1: no column holds {name}; known names: {_KNOWN_NAMES}; "
            f"say which column it is (--map COLUMN={name}) or give it for all rows (--set {name}=…)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChoices:
    """What the caller says of a file's columns."""

    mapped: Mapping[str, str] = field(default_factory=dict)
    """Header to field name."""
    ignored: Collection[str] = ()
    given: Mapping[str, str] = field(default_factory=dict)
    """Field name to the value that holds for every row, such as the brand code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The meaning of each column of a file."""

    headers: tuple[str, ...]
    places: tuple[tuple[Field, int], ...]
    given: Mapping[Field, str]

    def values(self, row: Sequence[str]) -> dict[Field, str]:
        """Return what ``row``, of as many fields as there are headers, holds."""
        return {**self.given, **{name: row[place] for name, place in self.places}}

    def column_of(self, name: str, row: Sequence[str]) -> tuple[str, int | None]:
        """Return header and place of the column that holds the field ``name`` in ``row``."""
        wanted = field_of(name)
        accepted = _RECIPIENTS if wanted in _RECIPIENTS else {wanted}
        places = [place for held, place in self.places if held in accepted and place < len(row)]
        if not places:
            return name, None
        place = next((one for one in places if row[one].strip()), places[0])
        return self.headers[place], place


def resolve(headers: Sequence[str], choices: ColumnChoices) -> Columns:
    """Return what each of ``headers`` holds; raises ColumnsError where that is not certain."""
    names = tuple(one.strip() for one in headers)
    mapped = {_named(one, names): _field(name) for one, name in choices.mapped.items()}
    ignored = {_named(one, names) for one in choices.ignored}
    given = {_field(name): value for name, value in choices.given.items()}
    meanings = {
        place: mapped[name] if name in mapped else field_of(name)
        for place, name in enumerate(names)
        if name not in ignored
    }
    if unknown := [names[place] for place, meaning in meanings.items() if meaning is None]:
        raise UnknownColumnError(unknown)
    places = tuple((held, place) for place, held in meanings.items() if held is not None)
    counts = Counter([held for held, _ in places] + list(given))
    for held, count in counts.items():
        if count > 1:
            of_file = [names[place] for other, place in places if other is held]
            raise ClashingColumnsError(held, [*of_file, *(["--set"] if held in given else [])])
    for needed in (Field.TYPE, Field.STATUS, Field.BRAND_CODE):
        if needed not in counts:
            raise MissingColumnError(needed)
    if not _RECIPIENTS & counts.keys():
        raise MissingColumnError(Field.RECIPIENT)
    return Columns(headers=names, places=places, given=MappingProxyType(given))


def known_columns(headers: Sequence[str], choices: ColumnChoices) -> int:
    """Return how many of ``headers`` have a meaning."""
    spoken = {fold(one) for one in (*choices.mapped, *choices.ignored)}
    return sum(field_of(one) is not None or fold(one) in spoken for one in headers)


def _named(wanted: str, headers: Sequence[str]) -> str:
    """Return the header that ``wanted`` names: exactly, or else folded."""
    if wanted.strip() in headers:
        return wanted.strip()
    found = [one for one in headers if fold(one) == fold(wanted)]
    if len(found) != 1:
        raise NoSuchColumnError(wanted, headers)
    return found[0]


def _field(name: str) -> Field:
    for one in Field:
        if fold(one) == fold(name):
            return one
    raise UnknownFieldError(name)
