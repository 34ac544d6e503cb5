"""Which column of a file holds which field: every column must be known, mapped or ignored.

An unknown column could be the one with the opt-outs, so it is never skipped silently.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

from izin.consent.errors import SourceError
from izin.consent.fields import read_recipient
from izin.consent.model import Channel
from izin.consent.violations import Violation
from izin.producers.files.cells import cell_text, notation_text, whole_number
from izin.producers.mapping.field_names import Field, field_of, fold
from izin.runtime.observe import mask_text

_KNOWN_NAMES = (
    "ALICI/recipient, TELEFON/phone, E-POSTA/email, İZİN TÜRÜ/type, İZİN DURUMU/status, "
    "İZİN KAYNAĞI/source, İZİN TARİHİ/consentDate, ALICI TİPİ/recipientType, MARKA/brandCode, "
    "REFERANS/ref, BAYİ/retailerCode"
)
_RECIPIENTS = frozenset({Field.RECIPIENT, Field.PHONE, Field.EMAIL})
# A recipient is none: a number with a fraction may have lost digits.
_NUMBERS = frozenset({Field.STATUS, Field.BRAND_CODE, Field.SEQUENCE, Field.RETAILER_CODE})


class ColumnsError(SourceError):
    """A file whose columns cannot all be assigned to fields."""


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The field of each column of a file."""

    headers: tuple[str, ...]
    places: tuple[tuple[Field, int], ...]
    given: Mapping[Field, str]

    def values(self, row: Sequence[str]) -> dict[Field, str]:
        """Return the fields of ``row``, which has as many values as there are headers."""
        values = {name: cell_text(row[place]) for name, place in self.places}
        for name in _NUMBERS & values.keys():
            values[name] = whole_number(values[name])
        return {**self.given, **values}

    def column_of(self, name: str, row: Sequence[str]) -> tuple[str, int | None]:
        """Return header and index of the column that holds the field ``name`` in ``row``."""
        wanted = field_of(name)
        accepted = _RECIPIENTS if wanted in _RECIPIENTS else {wanted}
        places = [place for held, place in self.places if held in accepted and place < len(row)]
        if not places:
            return name, None
        place = next((one for one in places if row[one].strip()), places[0])
        return self.headers[place], place


def resolve(headers: Sequence[str], choices: ColumnChoices) -> Columns:
    """Return the field of each of ``headers``.

    Raises:
        ColumnsError: a column is unknown, two hold one field, or a required field is missing.
        ColumnChoiceError: a choice names no column, or no field.
    """
    names = tuple(map(notation_text, headers))
    mapped = {_named(one, names): _field(name) for one, name in choices.mapped.items()}
    ignored = {_named(one, names) for one in choices.ignored}
    given = {_field(name): value for name, value in choices.given.items()}
    meanings = {
        place: mapped[name] if name in mapped else field_of(name)
        for place, name in enumerate(names)
        if name not in ignored
    }
    if unknown := [names[place] for place, meaning in meanings.items() if meaning is None]:
        raise ColumnsError(
            f"header: unknown column {_quoted(unknown)}; known names: {_KNOWN_NAMES}; "
            "say what it holds (--map COLUMN=field) or leave it out (--ignore COLUMN)"
        )
    places = tuple((held, place) for place, held in meanings.items() if held is not None)
    counts = Counter([held for held, _ in places] + list(given))
    for held, count in counts.items():
        if count > 1:
            of_file = [names[place] for other, place in places if other is held]
            both = [*of_file, *(["--set"] if held in given else [])]
            raise ColumnsError(
                f"header: {' and '.join(map(_quoted_one, both))} both hold {held}; "
                "leave one out (--ignore COLUMN) or say what it holds (--map COLUMN=field)"
            )
    required = [Field.TYPE, Field.STATUS, Field.BRAND_CODE]
    if not _RECIPIENTS & counts.keys():
        required.append(Field.RECIPIENT)
    for held in required:
        if held not in counts:
            raise ColumnsError(
                f"header: no column holds {held}; known names: {_KNOWN_NAMES}; say which column "
                f"it is (--map COLUMN={held}) or give it for all rows (--set {held}=…)"
            )
    return Columns(headers=names, places=places, given=MappingProxyType(given))


def recipient_place(headers: Sequence[str], channel: Channel, chosen: str | None = None) -> int:
    """Return the index of the column with the recipients of ``channel``: the ``chosen`` one, else
    the only one whose name says so.

    Raises:
        ColumnsError: none does, or several do.
        ColumnChoiceError: there is no column ``chosen``.
    """
    names = tuple(map(notation_text, headers))
    if chosen is not None:
        return names.index(_named(chosen, names))
    held = Field.EMAIL if channel is Channel.EPOSTA else Field.PHONE
    places = [
        place for place, name in enumerate(names) if field_of(name) in {held, Field.RECIPIENT}
    ]
    if len(places) != 1:
        what = "several columns hold" if places else "no column holds"
        is_data = any(not isinstance(read_recipient(one, channel), Violation) for one in names)
        raise ColumnsError(
            f"header: {what} the recipients of {channel}; the file has: {_quoted(names)}; "
            + (
                "one is a recipient: give the file a first row that names its columns"
                if is_data
                else "say which column it is (--column COLUMN)"
            )
        )
    return places[0]


def known_columns(headers: Sequence[str], choices: ColumnChoices) -> int:
    """Return how many of ``headers`` are known, mapped or ignored."""
    chosen = {fold(one) for one in (*choices.mapped, *choices.ignored)}
    return sum(field_of(one) is not None or fold(one) in chosen for one in headers)


def _quoted(headers: Sequence[str]) -> str:
    # A file without a header line has personal data where the names should be.
    return ", ".join(_quoted_one(mask_text(one)) for one in headers)


def _quoted_one(header: str) -> str:
    return f'"{header}"'


def _named(wanted: str, headers: Sequence[str]) -> str:
    """Return the header that ``wanted`` names, exactly or folded."""
    if wanted.strip() in headers:
        return wanted.strip()
    found = [one for one in headers if fold(one) == fold(wanted)]
    if len(found) != 1:
        raise ColumnChoiceError(f'there is no column "{wanted}"; the file has: {_quoted(headers)}')
    return found[0]


def _field(name: str) -> Field:
    for one in Field:
        if fold(one) == fold(name):
            return one
    raise ColumnChoiceError(f'there is no field "{name}"; fields: {", ".join(Field)}')
