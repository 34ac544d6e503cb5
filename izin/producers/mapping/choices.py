"""What the names of columns say, and what a caller says of them, by options or in a mapping
(:mod:`izin.producers.mapping.saved`).

Words of the caller go before those that are known. A word counts in the field whose value it means;
with a field before it (``status:Pasif=RET``) in that one alone.

Where a file has a row for each customer and a column for each channel, ``SMS izni`` holds the
status of text messages, or the date of the consent; ``SMS izin tarihi`` its date, ``SMS izin
kaynağı`` its source. ``--map`` takes such names, and ``MESAJ.status``, ``MESAJ.consent_date``,
``MESAJ.source``.

A column whose name is known as that of a consent takes every known word. One that is a status of
anything, such as ``durum``, takes ``ONAY`` itself and every word of an opt-out. One that a caller
has mapped to the status, whatever it is called, takes what the caller says, and the words of an
opt-out that answer no question: a yes among refusals, such as ``Kara Liste``, is none.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import product
from types import MappingProxyType
from typing import Final, NamedTuple

from izin.consent import Channel, SourceError, Status, clean
from izin.producers.mapping.cells import cell_text
from izin.producers.mapping.field_names import GENERIC_STATUSES, NAME, Field, field_of, number_of
from izin.schemas.words import (
    CHANNEL_WORDS,
    MEANINGS,
    NO_MEANING,
    WORDS,
    NameTable,
    fold,
    status_of,
    word_key,
)

Words = Mapping[Field, Mapping[str, str]]
"""For each field: the key of a word, and the value that it means."""

_NUMBERS = (Field.BRAND_CODE, Field.RETAILER_CODE)
_WITH_WORDS = (*map(Field, MEANINGS), *_NUMBERS)
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
_ANSWERS: Final = frozenset(
    map(word_key, ("0", "h", "hayır", "yanlış", "yok", "olumsuz", "no", "n", "false"))
)
"""Words of an opt-out that answer what the column asks: under another name they deny that."""


class ColumnChoiceError(SourceError):
    """A ``--map``, ``--ignore`` or ``--set`` that names no column of the file, or no field; or a
    ``--value`` whose meaning is no value of a field, or of several.
    """


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


def words_of(values: Mapping[str, str], confirmed: Collection[str] = ()) -> Words:
    """Return the words of ``values``, each with its meaning, by field.

    Raises:
        ColumnChoiceError: a meaning is no value, or could be of several fields, or a word has two;
            or one of an opt-out would mean a consent, and is not among the ``confirmed``.
    """
    accepted = set(map(word_key, confirmed))
    found: dict[Field, dict[str, str]] = {}
    for given, meaning in values.items():
        word, field = _field_of(given)
        held, value = _one_meaning(given, meaning, _WITH_WORDS if field is None else (field,))
        words = found.setdefault(held, {})
        is_reversed = (
            held is Field.STATUS and value == Status.ONAY and status_of(word) == Status.RET
        )
        if is_reversed and word_key(word) not in accepted:
            raise ColumnChoiceError(
                f'--value gives "{word}", a word of an opt-out (RET), the meaning of a consent: '
                f"correct it, or confirm it (--confirm '{word}')"
            )
        if words.setdefault(word_key(cell_text(word)), value) != value:
            raise ColumnChoiceError(f'--value gives "{word}" two meanings; leave one out')
    return MappingProxyType({held: MappingProxyType(words) for held, words in found.items()})


def _field_of(given: str) -> tuple[str, Field | None]:
    """Return a word, and the field that stands before it."""
    name, colon, word = given.partition(":")
    field = field_of(name) if colon else None
    if field is not None and field not in _WITH_WORDS:
        raise ColumnChoiceError(
            f"--value {given}=…: {field} has no words; fields that have: {', '.join(_WITH_WORDS)}"
        )
    return (given, None) if field is None else (word, field)


def _one_meaning(given: str, meaning: str, fields: tuple[Field, ...]) -> tuple[Field, str]:
    """Return the only one of ``fields`` that has the value ``meaning``, and the value."""
    exact = [(one, meaning) for one in fields if meaning in WORDS.get(one, ())]
    found = exact or [(one, value) for one in fields if (value := _value(one, meaning))]
    if len(found) == 1:
        return found[0]
    if found:
        names = " or ".join(f"{one}:{given}={meaning}" for one, _ in found)
        raise ColumnChoiceError(
            f"--value {given}={meaning} could be of several fields; write {names}"
        )
    known = ", ".join(value for one in fields for value in WORDS.get(one, ()))
    raise ColumnChoiceError(
        f"--value {given}={meaning}: there is no such value"
        + (f"; values: {known}" if known else "; only a number can be given for that field")
    )


def _value(field: Field, meaning: str) -> str:
    """Return the value of ``field`` that ``meaning`` is; "" if it is none."""
    if field in MEANINGS:
        return MEANINGS[field][meaning]
    return "" if number_of(field, meaning, []) is None else meaning


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
    [
        *((Field.STATUS, generic_status) for generic_status in GENERIC_STATUSES),
        *_combined(GENERIC_NAMES),
    ],
    NAME,
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
    if any(refusal in folded for refusal in _REFUSALS):
        return True
    is_maybe = any(one in folded for one in _MAYBE)
    return is_maybe and not any(consent in folded for consent in _CONSENTS)
