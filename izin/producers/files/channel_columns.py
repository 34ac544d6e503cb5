"""The columns of a file with a row for each customer and a column for each channel.

``SMS izni`` holds the status of text messages, or the date of the consent; ``SMS izin tarihi`` its
date, ``SMS izin kaynağı`` its source. ``--map`` takes such names, and ``MESAJ.status``,
``MESAJ.consent_date``, ``MESAJ.source``.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

from izin.consent.enums import Channel
from izin.producers.mapping.field_names import (
    CHANNEL_WORDS,
    GENERIC_STATUSES,
    NAME,
    Field,
    NameTable,
    field_of,
)


class ChannelField(NamedTuple):
    """What a column holds for one channel."""

    channel: Channel
    held: Field
    """``STATUS``, ``CONSENT_DATE`` or ``SOURCE``."""

    def __str__(self) -> str:
        return f"{self.channel}.{self.held}"


STATUS_NAMES = (
    *("izni", "izin", "onayı", "onay", "izin durumu", "izni durumu", "onay durumu"),
    *("iletişim izni", "ileti izni", "gönderim izni", "izni var mı", "izin verdi mi"),
    *("permission", "consent", "opt-in"),
)
"""What a column of a channel is called behind the channel, where it says who consented."""
GENERIC_NAMES = ("durumu", "status")
"""Where it does not: ``Arama durumu`` is the result of a call, too. Only ``ONAY`` is a consent
there, and so it is in a column that has the name of its channel alone."""
DATE_NAMES = (
    *("izin tarihi", "izni tarihi", "onay tarihi", "onayı tarihi"),
    *("consent date", "permission date"),
)
"""A date alone is a consent, so that no other name will do: ``Arama tarihi`` is that of a call."""
_SOURCES = ("izin kaynağı", "izni kaynağı", "onay kaynağı", "kaynağı", "consent source", "source")
_SUFFIXES = (
    (Field.STATUS, (*STATUS_NAMES, *GENERIC_NAMES)),
    (Field.CONSENT_DATE, DATE_NAMES),
    (Field.SOURCE, _SOURCES),
)
_ALONE = NameTable([(Channel.MESAJ, "sms"), (Channel.ARAMA, "arama")], NAME)
"""Columns named as their channel: e-mail and telephone are columns of recipients."""


def _combined(suffixes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each channel with each of its names before each of ``suffixes``."""
    for channel, names in CHANNEL_WORDS.items():
        for name, suffix in product(names, suffixes):
            yield channel, f"{name} {suffix}"


_FIELDS: Mapping[Field, NameTable] = MappingProxyType(
    {held: NameTable(_combined(suffixes), NAME) for held, suffixes in _SUFFIXES}
)
_GENERIC = NameTable(
    [*((Field.STATUS, one) for one in GENERIC_STATUSES), *_combined(GENERIC_NAMES)], NAME
)


def channel_field_of(header: str) -> ChannelField | None:
    """Return what ``header`` says that its column holds for one channel; None if nothing."""
    if alone := _ALONE[header]:
        return ChannelField(Channel(alone), Field.STATUS)
    found = ((held, table[header]) for held, table in _FIELDS.items())
    return next((ChannelField(Channel(one), held) for held, one in found if one), None)


def names_status(header: str) -> bool:
    """Whether ``header`` is a known name of a status, that of a consent or any."""
    known = field_of(header) or channel_field_of(header)
    return (known.held if isinstance(known, ChannelField) else known) is Field.STATUS


def names_consent(header: str) -> bool:
    """Whether ``header`` is a known name of the status of a consent, and of nothing else."""
    return names_status(header) and not (_GENERIC[header] or _ALONE[header])


def names_consent_date(header: str) -> bool:
    """Whether ``header`` is a known name of the date of one channel's consents."""
    return bool(_FIELDS[Field.CONSENT_DATE][header])
