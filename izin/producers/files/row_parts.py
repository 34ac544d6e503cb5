"""The consents of a row: one, or with a column a channel several."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from izin.consent.enums import Channel, Status
from izin.producers.files.cells import cell_text, whole_number
from izin.producers.mapping.dates import is_date_like
from izin.producers.mapping.field_names import CHANNEL_RECIPIENTS, Field, field_of
from izin.producers.mapping.field_values import RECIPIENTS

# A recipient is none: a number with a fraction may have lost digits.
_NUMBERS = frozenset({Field.STATUS, Field.BRAND_CODE, Field.SEQUENCE, Field.RETAILER_CODE})


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
        return bool(self.name) and not any(
            self.values.get(one) for one in (Field.RECIPIENT, CHANNEL_RECIPIENTS[self.name])
        )


class ChannelColumns(NamedTuple):
    """The columns of one channel, in a file with a column a channel."""

    channel: Channel
    places: Mapping[Field, int]
    """Of its status, its date and its source, as far as there are such columns."""

    def values(self, row: Sequence[str]) -> dict[Field, str]:
        """Return what ``row`` says of the channel; nothing where it has neither status nor date.

        A date alone, also in place of the status, is that of a consent.
        """
        own = {held: text for held, place in self.places.items() if (text := cell_text(row[place]))}
        status = own.get(Field.STATUS)
        if status is None:
            if Field.CONSENT_DATE not in own:
                return {}
            if Field.STATUS not in self.places:
                own[Field.STATUS] = Status.ONAY
        elif is_date_like(status) and Field.CONSENT_DATE not in own:
            own |= {Field.STATUS: Status.ONAY, Field.CONSENT_DATE: status}
        else:
            own[Field.STATUS] = whole_number(status)
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
    given: Mapping[Field, str]
    channels: tuple[ChannelColumns, ...] = ()
    """Empty where each row is one consent."""

    def parts(self, row: Sequence[str]) -> Sequence[RowPart]:
        """Return the consents of ``row``, which has as many values as there are headers.

        It is one; with a column a channel, one for each channel of which the row says something.
        """
        values = {name: cell_text(row[place]) for name, place in self.places}
        for name in _NUMBERS & values.keys():
            values[name] = whole_number(values[name])
        common = {**self.given, **values}
        if not self.channels:
            return (RowPart("", common),)
        return [
            RowPart(one.channel, {**common, **own})
            for one in self.channels
            if (own := one.values(row))
        ]

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
            accepted = {Field.RECIPIENT, CHANNEL_RECIPIENTS[part]} if part else RECIPIENTS
        own = next((one.places for one in self.channels if one.channel == part), {})
        ranked = (*own.items(), *self.places)
        places = [place for held, place in ranked if held in accepted and place < len(row)]
        if not places:
            return name, None
        place = next((one for one in places if row[one].strip()), places[0])
        return self.headers[place], place
