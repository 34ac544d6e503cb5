"""Which column of a file holds which field: every column must be known, mapped or ignored.

An unknown column could be the one with the opt-outs, so it is never skipped silently. A row is one
consent, or several where the file has a column a channel.
"""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import NamedTuple

from izin.consent.errors import SourceError
from izin.consent.fields import read_recipient
from izin.consent.model import Channel
from izin.producers.files.cells import notation_text
from izin.producers.files.channel_columns import ChannelField, channel_field_of
from izin.producers.files.refusal_columns import says_who_refused, without_flags
from izin.producers.files.row_parts import ChannelColumns, Columns
from izin.producers.files.value_words import words_of
from izin.producers.mapping.field_names import CHANNEL_RECIPIENTS, Field, field_of, fold
from izin.producers.mapping.field_values import RECIPIENTS
from izin.runtime.masking import mask_text

_KNOWN_NAMES = (
    "ALICI/recipient, TELEFON/phone, E-POSTA/email, İZİN TÜRÜ/type, İZİN DURUMU/status, "
    "İZİN KAYNAĞI/source, İZİN TARİHİ/consentDate, ALICI TİPİ/recipientType, MARKA/brandCode, "
    "REFERANS/ref, BAYİ/retailerCode, or with a column a channel SMS İZNİ, ARAMA İZNİ, E-POSTA İZNİ"
)
_REGISTERED = frozenset(map(fold, ("creationDate", "kayıt tarihi", "oluşturulma tarihi")))
_NO_HEADER = "one is a recipient: give the file a first row that names its columns"


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
    values: Mapping[str, str] = field(default_factory=dict)
    """A word of the file to the value that it means, such as ``Mağaza`` to ``HS_FIZIKSEL_ORTAM``;
    with a field before it (``status:Pasif``) in that field alone.
    """


class ColumnMeaning(NamedTuple):
    """What is known of a column before a row is read."""

    name: str
    held: Field | ChannelField | None
    """None: unknown, or left out."""
    is_left_out: bool
    """By the caller, or because nothing depends on it."""


def resolve(headers: Sequence[str], choices: ColumnChoices) -> Columns:
    """Return the field of each of ``headers``.

    Raises:
        ColumnsError: a column is unknown, two hold one field, or a required field is missing.
        ColumnChoiceError: a choice names no column, or no field.
        ValueChoiceError: the meaning of a word is no value.
    """
    given = {_field(name): value for name, value in choices.given.items()}
    columns = column_meanings(headers, choices)
    names = tuple(one.name for one in columns)
    if unknown := [one.name for one in columns if one.held is None and not one.is_left_out]:
        raise ColumnsError(
            f"header: unknown column {_quoted(unknown)}; known names: {_KNOWN_NAMES}; "
            + (
                _NO_HEADER
                if any(map(is_recipient, unknown))
                else "say what it holds (--map COLUMN=field) or leave it out (--ignore COLUMN)"
            )
        )
    words = words_of(choices.values)
    refusals = [one for one in columns if one.held is not None and says_who_refused(one.name)]
    if any(one.held is Field.STATUS for one in refusals):
        words = without_flags(words)
    _check_refusals(refusals)
    held = [(one.held, place) for place, one in enumerate(columns) if one.held is not None]
    channels = _by_channel([(one, place) for one, place in held if isinstance(one, ChannelField)])
    _check_unique(held, given, names, channels)
    places = tuple((one, place) for one, place in held if isinstance(one, Field))
    _check_complete({*given, *(one for one, _ in places)}, channels)
    return Columns(
        written=tuple(headers),
        headers=names,
        places=places,
        given=MappingProxyType(given),
        channels=channels,
        words=words,
    )


def column_meanings(headers: Sequence[str], choices: ColumnChoices) -> tuple[ColumnMeaning, ...]:
    """Return what each of ``headers`` holds, by its name or by the caller's choice.

    Raises:
        ColumnChoiceError: a choice names no column, or no field.
    """
    names = tuple(map(notation_text, headers))
    mapped = {_named(one, names): _meaning(name) for one, name in choices.mapped.items()}
    left_out = {_named(one, names) for one in choices.ignored}
    held = [mapped[name] if name in mapped else _known(name) for name in names]
    if Field.CONSENT_DATE in held:
        # When İYS registered it, which says nothing beside the date of the consent.
        left_out |= {name for name in names if fold(name) in _REGISTERED and name not in mapped}
    return tuple(
        ColumnMeaning(name, None if name in left_out else one, name in left_out)
        for name, one in zip(names, held, strict=True)
    )


def _by_channel(held: Sequence[tuple[ChannelField, int]]) -> tuple[ChannelColumns, ...]:
    found = {one.channel: dict[Field, int]() for one, _ in held}
    for one, place in held:
        found[one.channel][one.held] = place
    return tuple(ChannelColumns(one, found[one]) for one in Channel if one in found)


def _check_refusals(columns: Sequence[ColumnMeaning]) -> None:
    """Raise ColumnsError where one of ``columns``, which say who refused, is of one channel: there
    a yes, and a date, are a consent.
    """
    for one in columns:
        if isinstance(one.held, ChannelField):
            name = _quoted_one(one.name)
            raise ColumnsError(
                f"header: {name} says who refused, and cannot hold {one.held}; import it apart, as "
                f"--map {name}=status --set type={one.held.channel} --value status:Evet=RET, and "
                "leave it out here (--ignore COLUMN)"
            )


def _check_unique(
    held: Sequence[tuple[Field | ChannelField, int]],
    given: Mapping[Field, str],
    names: Sequence[str],
    channels: Sequence[ChannelColumns],
) -> None:
    """Raise ColumnsError where two columns hold the same."""
    counts = Counter([one for one, _ in held] + list(given))
    for twice, count in counts.items():
        if count > 1:
            of_file = [names[place] for other, place in held if other == twice]
            both = [*of_file, *(["--set"] if twice in given else [])]
            raise ColumnsError(
                f"header: {' and '.join(map(_quoted_one, both))} both hold {twice}; "
                "leave one out (--ignore COLUMN) or say what it holds (--map COLUMN=field)"
            )
    for one in (Field.TYPE, Field.STATUS) if channels else ():
        if one in counts:
            whose = next((_quoted_one(names[place]) for other, place in held if other == one), None)
            wide = ", ".join(
                _quoted_one(names[place])
                for other, place in held
                if isinstance(other, ChannelField)
            )
            raise ColumnsError(
                f"header: {whose or '--set'} holds {one} for the whole row, and {wide} hold it for "
                "one channel each; leave out what does not say it (--ignore COLUMN)"
            )


def _check_complete(held: Collection[Field], channels: Sequence[ChannelColumns]) -> None:
    """Raise ColumnsError where a field that every row needs is in no column."""
    required = [Field.BRAND_CODE] if channels else [Field.TYPE, Field.STATUS, Field.BRAND_CODE]
    if channels:
        wanted = {CHANNEL_RECIPIENTS[one.channel]: None for one in channels}
        required += [one for one in wanted if not {Field.RECIPIENT, one} & set(held)]
    elif not RECIPIENTS & set(held):
        required.append(Field.RECIPIENT)
    for one in required:
        if one not in held:
            raise ColumnsError(
                f"header: no column holds {one}; known names: {_KNOWN_NAMES}; say which column "
                f"it is (--map COLUMN={one}) or give it for all rows (--set {one}=…)"
            )


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
        raise ColumnsError(
            f"header: {what} the recipients of {channel}; the file has: {_quoted(names)}; "
            + (
                _NO_HEADER
                if any(map(is_recipient, names))
                else "say which column it is (--column COLUMN)"
            )
        )
    return places[0]


def known_columns(headers: Sequence[str], choices: ColumnChoices) -> int:
    """Return how many of ``headers`` are known, mapped or ignored."""
    chosen = {fold(one) for one in (*choices.mapped, *choices.ignored)}
    return sum(_known(one) is not None or fold(one) in chosen for one in headers)


def is_recipient(header: str) -> bool:
    """Whether ``header`` is no name but an address."""
    return any(isinstance(read_recipient(header, one), str) for one in Channel)


def _known(header: str) -> Field | ChannelField | None:
    return field_of(header) or channel_field_of(header)


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
    found = field_of(name)
    if found is None:
        raise ColumnChoiceError(f'there is no field "{name}"; fields: {", ".join(Field)}')
    return found


def _meaning(name: str) -> Field | ChannelField:
    return channel_field_of(name) or _field(name)
