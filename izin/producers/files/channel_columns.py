"""The columns of a file with a row for each customer and a column for each channel.

``SMS izni`` holds the status of text messages, or the date of the consent; ``SMS izin tarihi`` its
date, ``SMS izin kaynağı`` its source. ``--map`` takes such names, and ``MESAJ.status``,
``MESAJ.consent_date``, ``MESAJ.source``.
"""

from collections.abc import Iterator, Mapping
from itertools import product
from types import MappingProxyType
from typing import NamedTuple

from izin.consent.enums import Channel
from izin.producers.mapping.field_names import CHANNEL_WORDS, Field, fold


class ChannelField(NamedTuple):
    """What a column holds for one channel."""

    channel: Channel
    held: Field
    """``STATUS``, ``CONSENT_DATE`` or ``SOURCE``."""

    def __str__(self) -> str:
        return f"{self.channel}.{self.held}"


_STATUSES = (
    *("izni", "izin", "onayı", "onay", "izin durumu", "izni durumu", "onay durumu", "durumu"),
    *("iletişim izni", "ileti izni", "gönderim izni", "izni var mı", "izin verdi mi"),
    *("permission", "consent", "status", "opt-in"),
)
_DATES = (
    *("izin tarihi", "izni tarihi", "onay tarihi", "onayı tarihi", "tarihi"),
    *("consent date", "permission date", "date"),
)
_SOURCES = ("izin kaynağı", "izni kaynağı", "onay kaynağı", "kaynağı", "consent source", "source")
_SUFFIXES = {
    Field.STATUS: _STATUSES,
    Field.CONSENT_DATE: _DATES,
    Field.SOURCE: _SOURCES,
}
_ALONE = {"sms": Channel.MESAJ, "arama": Channel.ARAMA}
"""Columns named as their channel: e-mail and telephone are columns of recipients."""


def _names() -> Iterator[tuple[str, ChannelField]]:
    for (channel, names), (held, suffixes) in product(CHANNEL_WORDS.items(), _SUFFIXES.items()):
        found = ChannelField(Channel(channel), held)
        for name, suffix in product(names, suffixes):
            yield fold(f"{name} {suffix}"), found
    for name, channel in _ALONE.items():
        yield fold(name), ChannelField(channel, Field.STATUS)


_FIELDS: Mapping[str, ChannelField] = MappingProxyType(dict(_names()))


def channel_field_of(header: str) -> ChannelField | None:
    """Return what ``header`` says that its column holds for one channel; None if nothing."""
    return _FIELDS.get(fold(header))
