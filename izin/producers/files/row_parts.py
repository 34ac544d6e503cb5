"""The consents of a row: one, or with a column a channel several."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

from izin.consent.enums import Channel, Status
from izin.producers.files.cells import cell_text, notation_text, whole_number
from izin.producers.files.choices import Words
from izin.producers.files.column_names import StatusName, status_in
from izin.producers.mapping.dates import is_date_like
from izin.producers.mapping.field_names import (
    CHANNEL_RECIPIENTS,
    RECIPIENTS,
    Field,
    KeptMeanings,
    channel_of,
    field_of,
    word_key,
)

# A recipient is none: a number with a fraction may have lost digits.
_NUMBERS = frozenset({Field.STATUS, Field.BRAND_CODE, Field.SEQUENCE, Field.RETAILER_CODE})
# A file has few values of these, each in many rows.
_REPEATED = _NUMBERS - {Field.SEQUENCE} | {Field.TYPE, Field.SOURCE, Field.RECIPIENT_TYPE}


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
            RowPart(one.channel, {**values, **own})
            for one in self.channels
            if (own := one.values(row))
        ]

    def opt_outs(self, row: Sequence[str]) -> tuple[bool, bool]:
        """Return whether ``row`` has an opt-out, and whether it says nothing else, in a fraction of
        the time of reading it all.
        """
        if self.channels:
            found = {one.values(row).get(Field.STATUS, "") for one in self.channels} - {""}
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
        own = next((one.places for one in self.channels if one.channel == part), {})
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
        return [one for one in held if one is not None] or RECIPIENTS
