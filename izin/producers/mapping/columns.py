"""Which column of a file holds which field, and the consents of its rows.

Every column must be known, mapped or ignored: an unknown one could be the one with the opt-outs, so
it is never skipped silently. A row is one consent, or several where the file has a column a
channel.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import NamedTuple

from izin.consent import Channel, SourceError, Status
from izin.producers.mapping.cells import cell_text, is_recipient, notation_text, whole_number
from izin.producers.mapping.choices import (
    ChannelField,
    ColumnChoiceError,
    ColumnChoices,
    StatusName,
    Words,
    channel_field_of,
    names_consent,
    names_consent_date,
    names_status,
    says_who_refused,
    status_in,
    words_of,
)
from izin.producers.mapping.dates import is_date_like
from izin.producers.mapping.field_names import CHANNEL_RECIPIENTS, RECIPIENTS, Field, field_of
from izin.runtime.masking import mask_text
from izin.schemas.words import KeptMeanings, channel_of, fold, word_key

# A recipient is none: a number with a fraction may have lost digits.
_NUMBERS = frozenset({Field.STATUS, Field.BRAND_CODE, Field.SEQUENCE, Field.RETAILER_CODE})
# A file has few values of these, each in many rows.
_REPEATED = _NUMBERS - {Field.SEQUENCE} | {Field.TYPE, Field.SOURCE, Field.RECIPIENT_TYPE}
_KNOWN_NAMES = (
    "ALICI/recipient, TELEFON/phone, E-POSTA/email, İZİN TÜRÜ/type, İZİN DURUMU/status, "
    "İZİN KAYNAĞI/source, İZİN TARİHİ/consent_date, ALICI TİPİ/recipient_type, MARKA/brand_code, "
    "REFERANS/origin_ref, BAYİ/retailer_code, or with a column a channel SMS İZNİ, ARAMA İZNİ, "
    "E-POSTA İZNİ"
)
_REGISTERED = frozenset(map(fold, ("creationDate", "kayıt tarihi", "oluşturulma tarihi")))
_NO_HEADER = "one is a recipient: give the file a first row that names its columns"
_RECIPIENT_AS_NAME = (
    "header: unknown column %(names)s; known names: %(known)s; one is a recipient: give the file a "
    "first row that names its columns"
)
_UNKNOWN = (
    "header: unknown column %(names)s; known names: %(known)s; say what it holds (--map "
    "COLUMN=field, and of a status what its words mean, --value WORD=ONAY) or leave it out "
    "(--ignore COLUMN), or which line names the columns where that is not the first (--header-row "
    "N); a file keeps such choices (--mapping FILE)"
)


class CellReader:
    """Reads the cells of a file, by the words of the caller; of a status its meaning."""

    def __init__(self, words: Words, status: StatusName = StatusName.CONSENT) -> None:
        self._words = words
        self.status = status
        """What the name of the column of statuses says."""
        self._kept = {name: KeptMeanings(partial(self._text, name)) for name in _REPEATED}
        self.statuses: Mapping[str, str] = self._kept[Field.STATUS]
        """The status that each cell says."""

    def read(self, places: Iterable[tuple[Field, int]], row: Sequence[str]) -> dict[Field, str]:
        """Return what the cells of ``row`` at these places show."""
        found, kept = dict[Field, str](), self._kept
        for name, place in places:
            cells = kept.get(name)
            found[name] = self._text(name, row[place]) if cells is None else cells[row[place]]
        return found

    def given(self, name: Field, text: str) -> str:
        """Return what the caller's ``text`` for every row means."""
        return self._meant(name, text, StatusName.CONSENT)

    def _text(self, name: Field, cell: str) -> str:
        text = cell_text(cell)
        if name in _NUMBERS:
            text = whole_number(text)
        if name not in _REPEATED:
            return text
        if name is Field.STATUS and not text and (shown := notation_text(cell)).startswith("#"):
            text = shown  # a value that a spreadsheet could not compute is not missing
        return self._meant(name, text, self.status)

    def _meant(self, name: Field, text: str, status: StatusName) -> str:
        words = self._words.get(name)
        own = None if words is None else words.get(word_key(text))
        if own is not None:
            return own
        return status_in(text, status) if name is Field.STATUS else text


class RowPart(NamedTuple):
    """One consent of a row."""

    name: str
    """Which of several: its channel; "" where a row is one consent. With the line it identifies
    the event.
    """
    values: dict[Field, str]

    @property
    def lacks_recipient(self) -> bool:
        """Whether the row has no address for the channel of this part: it concerns nobody."""
        if not self.name or self.values.get(CHANNEL_RECIPIENTS[self.name]):
            return False
        shared = self.values.get(Field.RECIPIENT, "")
        return not shared or ("@" in shared) is not (self.name == Channel.EPOSTA)


class ChannelColumns(NamedTuple):
    """The columns of one channel, in a file with a column a channel."""

    channel: Channel
    places: Mapping[Field, int]
    """Of its status, its date and its source, as far as there are such columns."""
    reader: CellReader

    def values(self, row: Sequence[str]) -> dict[Field, str]:
        """Return what ``row`` says of the channel; nothing where it has neither status nor date.

        A date alone, also in place of the status, is that of a consent where the name says so.
        """
        cells = self.reader.read(self.places.items(), row)
        own = {held: text for held, text in cells.items() if text}
        status = own.get(Field.STATUS)
        if status is None:
            if Field.CONSENT_DATE not in own:
                return {}
            if Field.STATUS not in self.places:
                own[Field.STATUS] = Status.ONAY
        elif (
            self.reader.status is StatusName.CONSENT
            and Field.CONSENT_DATE not in own
            and is_date_like(status)
        ):
            own |= {Field.STATUS: Status.ONAY, Field.CONSENT_DATE: status}
        own[Field.TYPE] = self.channel
        return own


@dataclass(frozen=True, slots=True, kw_only=True)
class Columns:
    """The field of each column of a file."""

    written: tuple[str, ...]
    """The header as it stands in the file."""
    headers: tuple[str, ...]
    """The names of the columns that it shows."""
    places: tuple[tuple[Field, int], ...]
    status_place: int | None
    """Of the column with the status of a row, if there is one."""
    given: Mapping[Field, str]
    """As records have it: the status has its meaning."""
    channels: tuple[ChannelColumns, ...]
    """Empty where each row is one consent."""
    reader: CellReader

    def parts(self, row: Sequence[str]) -> Sequence[RowPart]:
        """Return the consents of ``row``, which has as many values as there are headers.

        It is one; with a column a channel, one for each channel of which the row says something.
        """
        values = {**self.given, **self.reader.read(self.places, row)}
        if not self.channels:
            return (RowPart("", values),)
        return [
            RowPart(channel.channel, {**values, **own})
            for channel in self.channels
            if (own := channel.values(row))
        ]

    def opt_outs(self, row: Sequence[str]) -> tuple[bool, bool]:
        """Return whether ``row`` has an opt-out, and whether it says nothing else, in a fraction of
        the time of reading it all.
        """
        if self.channels:
            found = {channel.values(row).get(Field.STATUS, "") for channel in self.channels} - {""}
            return Status.RET in found, found == {Status.RET}
        place = self.status_place
        text = self.given[Field.STATUS] if place is None else self.reader.statuses[row[place]]
        return (text == Status.RET,) * 2

    def is_header(self, row: Sequence[str]) -> bool:
        """Whether ``row`` is the header once more, as where files were put one behind another."""
        return row == self.written

    def column_of(self, name: str, row: Sequence[str], part: str = "") -> tuple[str, int | None]:
        """Return header and index of the column that holds the field ``name`` in ``row``, for the
        ``part`` of that name.
        """
        wanted = field_of(name)
        accepted: Collection[Field | None] = {wanted}
        if wanted in RECIPIENTS:
            accepted = self._recipient_fields(row, part)
        own = next((channel.places for channel in self.channels if channel.channel == part), {})
        ranked = (*own.items(), *self.places)
        places = [place for held, place in ranked if held in accepted and place < len(row)]
        if not places:
            return name, None
        place = next((one for one in places if cell_text(row[one])), places[0])
        return self.headers[place], place

    def _recipient_fields(self, row: Sequence[str], part: str) -> Collection[Field]:
        """Return the fields in which the recipient of ``part`` may be, as far as there are such."""
        type_at = next((place for held, place in self.places if held is Field.TYPE), len(row))
        text = cell_text(row[type_at]) if type_at < len(row) else self.given.get(Field.TYPE, "")
        own = CHANNEL_RECIPIENTS.get(part or channel_of(text))
        held = {Field.RECIPIENT, own} & {one for one, _ in self.places}
        return [field for field in held if field is not None] or RECIPIENTS


class ColumnsError(SourceError):
    """A file whose columns cannot all be assigned to fields."""


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
        ColumnChoiceError: a choice names no column, no field or no value.
    """
    given = {_field(name): value for name, value in choices.given.items()}
    columns = column_meanings(headers, choices)
    names = tuple(column.name for column in columns)
    if unknown := [one.name for one in columns if one.held is None and not one.is_left_out]:
        raise ColumnsError(
            _RECIPIENT_AS_NAME if any(map(is_recipient, unknown)) else _UNKNOWN,
            names=_quoted(unknown),
            known=_KNOWN_NAMES,
        )
    words = words_of(choices.values, choices.confirmed)
    _check_left_out(columns, choices.confirmed)
    held = [(one.held, place) for place, one in enumerate(columns) if one.held is not None]
    channels = _by_channel([(one, place) for one, place in held if isinstance(one, ChannelField)])
    _check_unique(held, given, names, channels)
    places = tuple((one, place) for one, place in held if isinstance(one, Field))
    _check_complete({*given, *(one for one, _ in places)}, channels)
    status = next((place for one, place in places if one is Field.STATUS), None)
    reader = CellReader(words, _status_name(None if status is None else names[status], words))
    return Columns(
        written=tuple(headers),
        headers=names,
        places=places,
        status_place=status,
        given=MappingProxyType({one: reader.given(one, value) for one, value in given.items()}),
        channels=tuple(
            ChannelColumns(channel, places, CellReader(words, _channel_name(names, places, words)))
            for channel, places in channels.items()
        ),
        reader=reader,
    )


def column_meanings(headers: Sequence[str], choices: ColumnChoices) -> tuple[ColumnMeaning, ...]:
    """Return what each of ``headers`` holds, by its name or by the caller's choice.

    Raises:
        ColumnChoiceError: a choice names no column, or no field.
    """
    names = tuple(map(notation_text, headers))
    mapped = {
        _named(one, names): channel_field_of(name) or _field(name)
        for one, name in choices.mapped.items()
    }
    left_out = {_named(one, names) for one in choices.ignored}
    held = [mapped[name] if name in mapped else _known(name) for name in names]
    if Field.CONSENT_DATE in held:
        # When İYS registered it, which says nothing beside the date of the consent.
        left_out |= {name for name in names if fold(name) in _REGISTERED and name not in mapped}
    return tuple(
        ColumnMeaning(name, None if name in left_out else one, name in left_out)
        for name, one in zip(names, held, strict=True)
    )


def _by_channel(held: Sequence[tuple[ChannelField, int]]) -> Mapping[Channel, Mapping[Field, int]]:
    found = {one.channel: dict[Field, int]() for one, _ in held}
    for one, place in held:
        found[one.channel][one.held] = place
    return {channel: found[channel] for channel in Channel if channel in found}


def _status_name(header: str | None, words: Words) -> StatusName:
    """Return what the name of a column of statuses says; None: there is no such column.

    Raises:
        ColumnsError: it says nothing that is known, and the caller has given no meaning to a word.
    """
    if header is None or names_consent(header):
        return StatusName.CONSENT
    if names_status(header):
        return StatusName.ANY
    if Field.STATUS not in words:
        raise ColumnsError(
            'header: "%(name)s" is no known name of a consent, so that a yes in it may be that of '
            "anything; say what its words mean (--value status:WORD=ONAY, --value status:WORD=RET)",
            name=header,
        )
    return StatusName.MAPPED


def _channel_name(headers: Sequence[str], places: Mapping[Field, int], words: Words) -> StatusName:
    """Return what the names of the columns of one channel say of its consents.

    Raises:
        ColumnsError: there is none but a date, and it is not known to be that of a consent; or as
            of :func:`_status_name`.
    """
    if Field.STATUS in places:
        return _status_name(headers[places[Field.STATUS]], words)
    name = headers[places[Field.CONSENT_DATE]] if Field.CONSENT_DATE in places else None
    if name is not None and not names_consent_date(name):
        raise ColumnsError(
            'header: "%(name)s" is no known name of the date of a consent, and a date alone would '
            "be one; say which column has the status (--map COLUMN=MESAJ.status), or leave it out "
            "(--ignore COLUMN)",
            name=name,
        )
    return StatusName.CONSENT


def _check_left_out(columns: Sequence[ColumnMeaning], confirmed: Collection[str]) -> None:
    """Raise ColumnsError where the caller leaves out what may have the opt-outs, unconfirmed."""
    accepted = set(map(fold, confirmed))
    for column in columns:
        may_refuse = says_who_refused(column.name) or names_status(column.name)
        if column.is_left_out and may_refuse and fold(column.name) not in accepted:
            raise ColumnsError(
                'header: "%(name)s" is left out, and may say who refused: such opt-outs would be '
                "lost; import it, or confirm that it has none (--confirm '%(name)s')",
                name=column.name,
            )


def _check_unique(
    held: Sequence[tuple[Field | ChannelField, int]],
    given: Mapping[Field, str],
    names: Sequence[str],
    channels: Collection[Channel],
) -> None:
    """Raise ColumnsError where two columns hold the same."""
    counts = Counter([one for one, _ in held] + list(given))
    for twice, count in counts.items():
        if count > 1:
            of_file = [names[place] for other, place in held if other == twice]
            both = [*of_file, *(["--set"] if twice in given else [])]
            raise ColumnsError(
                "header: %(names)s both hold %(field)s; leave one out (--ignore COLUMN) or say "
                "what it holds (--map COLUMN=field)",
                names=" and ".join(map(_quoted_one, both)),
                field=twice,
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
                "header: %(name)s holds %(field)s for the whole row, and %(names)s hold it for "
                "one channel each; leave out what does not say it (--ignore COLUMN)",
                name=whose or "--set",
                field=one,
                names=wide,
            )


def _check_complete(held: Collection[Field], channels: Collection[Channel]) -> None:
    """Raise ColumnsError where a field that every row needs is in no column."""
    required = [Field.BRAND_CODE] if channels else [Field.TYPE, Field.STATUS, Field.BRAND_CODE]
    if channels:
        wanted = {CHANNEL_RECIPIENTS[channel]: None for channel in channels}
        required += [field for field in wanted if not {Field.RECIPIENT, field} & set(held)]
    elif not RECIPIENTS & set(held):
        required.append(Field.RECIPIENT)
    for one in required:
        if one not in held:
            raise ColumnsError(
                "header: no column holds %(field)s; known names: %(known)s; say which column "
                "it is (--map COLUMN=%(field)s) or give it for all rows (--set %(field)s=…)",
                field=one,
                known=_KNOWN_NAMES,
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
    return sum(_known(header) is not None or fold(header) in chosen for header in headers)


def _known(header: str) -> Field | ChannelField | None:
    return field_of(header) or channel_field_of(header)


def _quoted(headers: Sequence[str]) -> str:
    # A file without a header line has personal data where the names should be.
    return ", ".join(_quoted_one(mask_text(header)) for header in headers)


def _quoted_one(header: str) -> str:
    return f'"{header}"'


def _named(wanted: str, headers: Sequence[str]) -> str:
    """Return the header that ``wanted`` names, exactly or folded."""
    if wanted.strip() in headers:
        return wanted.strip()
    found = [header for header in headers if fold(header) == fold(wanted)]
    if len(found) != 1:
        raise ColumnChoiceError(
            'there is no column "%(name)s"; the file has: %(names)s; correct it, or say which line '
            "names the columns where that is not the first (--header-row N)",
            name=wanted,
            names=_quoted(headers),
        )
    return found[0]


def _field(name: str) -> Field:
    found = field_of(name)
    if found is None:
        raise ColumnChoiceError(f'there is no field "{name}"; fields: {", ".join(Field)}')
    return found
