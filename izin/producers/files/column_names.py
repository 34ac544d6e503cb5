"""What the names of columns say: of one channel, of a status, of who refused.

Where a file has a row for each customer and a column for each channel, ``SMS izni`` holds the
status of text messages, or the date of the consent; ``SMS izin tarihi`` its date, ``SMS izin
kaynağı`` its source. ``--map`` takes such names, and ``MESAJ.status``, ``MESAJ.consent_date``,
``MESAJ.source``.

A column whose name is known as that of a consent takes every known word. One that is a status of
anything, such as ``durum``, takes ``ONAY`` itself and every word of an opt-out. One that a caller
has mapped to the status, whatever it is called, takes what the caller says, and the words of an
opt-out that answer no question: a yes among refusals, such as ``Kara Liste``, is none.
"""

from collections.abc import Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import product
from types import MappingProxyType
from typing import Final, NamedTuple

from izin.consent.enums import Channel, Status
from izin.consent.texts import clean
from izin.producers.mapping.field_names import GENERIC_STATUSES, NAME, Field, field_of
from izin.schemas.words import (
    CHANNEL_WORDS,
    NO_MEANING,
    NameTable,
    fold,
    status_of,
    word_key,
)

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
_REFUSALS: Final = (
    *("iptal", "istem", "engel", "karaliste", "izinsiz", "onaysiz", "vazgec", "cikis"),
    *("blacklist", "optout", "unsubscr", "suppress", "donot"),
)
_MAYBE: Final = ("ret", "red")
"""Beside a word for consent they are one of two statuses, as in ``onay/ret``."""
_CONSENTS: Final = ("onay", "izin", "izni", "consent", "permission")
ANSWERS: Final = frozenset(("0", "h", "hayır", "yanlış", "yok", "olumsuz", "no", "n", "false"))
"""Words of an opt-out that answer what the column asks: under another name they deny that."""
_ANSWERS: Final = frozenset(map(word_key, ANSWERS))


class ChannelField(NamedTuple):
    """What a column holds for one channel."""

    channel: Channel
    held: Field
    """``STATUS``, ``CONSENT_DATE`` or ``SOURCE``."""

    def __str__(self) -> str:
        return f"{self.channel}.{self.held}"


def _combined(suffixes: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield each channel with each of its names before each of ``suffixes``."""
    for channel, names in CHANNEL_WORDS.items():
        for name, suffix in product(names.split(", "), suffixes):
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


class StatusName(StrEnum):
    """What the name of a column of statuses says."""

    CONSENT = "consent"
    ANY = "any"
    """Of something: an account, a call, a consent."""
    MAPPED = "mapped"
    """Nothing that is known."""


def status_in(text: str, name: StatusName) -> str:
    """Return the status that ``text`` means in a column of that name; one without a meaning where
    it has none there.
    """
    found, key = status_of(text), word_key(text)
    if status_of(clean(text).strip()) == Status.RET:
        found = Status.RET  # whatever stands in it that no text may contain
    if name is StatusName.CONSENT or found not in (Status.ONAY, Status.RET):
        return found
    if name is StatusName.ANY:
        is_known = found == Status.RET or key == "onay"
    else:
        is_known = found == Status.RET and key not in _ANSWERS
    return found if is_known else text + NO_MEANING


def says_who_refused(name: str) -> bool:
    """Whether a column called ``name`` says who refused, and not who consented."""
    folded = fold(name)
    if any(one in folded for one in _REFUSALS):
        return True
    is_maybe = any(one in folded for one in _MAYBE)
    return is_maybe and not any(one in folded for one in _CONSENTS)
