"""Turkish and English: what screens and files for people say, and how they write numbers and
instants.

Texts are English in code and templates; the Turkish ones are in ``izin/web/locale/tr/*.po``, a file
for each screen, read as they are. Instants are Turkish time, which is where the law's terms are
counted.
"""

import io
from datetime import date, datetime, timedelta
from enum import StrEnum
from functools import cache, lru_cache, partial
from importlib import resources

from babel.dates import format_date, format_datetime
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po
from babel.numbers import format_compact_decimal, format_decimal
from babel.support import Translations

from izin.consent import TURKEY, Violation
from izin.views.sentences import Instruction, Sentence, turkish
from izin.views.words import Words

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0


class Language(StrEnum):
    """A language in which izin speaks to people."""

    TURKISH = "tr"
    ENGLISH = "en"


DEFAULT = Language.TURKISH


@cache
def translations(language: Language) -> Translations:
    """Return the texts of a language."""
    found = Translations()
    folder = resources.files("izin") / "web" / "locale" / language
    if folder.is_dir():
        for file in sorted(folder.iterdir(), key=lambda one: one.name):
            if file.name.endswith(".po"):
                catalog = read_po(io.BytesIO(file.read_bytes()), locale=str(language))
                packed = io.BytesIO()
                write_mo(packed, catalog)
                packed.seek(0)
                found.merge(Translations(packed))
    return found


def text(language: Language, message: str | Sentence, **values: object) -> str:
    """Return a text in a language; ``values`` stand for ``%(name)s`` in it, a sentence has its
    own.
    """
    if isinstance(message, Sentence):
        return message.filled(partial(text, language), partial(_written, language))
    # The empty text stands for the head of a catalog there.
    found: str = translations(language).ugettext(message) if message else ""
    return found % values if values else found


def spoken(language: Language) -> Words:
    """Return how commands say things in a language: instants as in all output, and what to type in
    place of what to do on a screen.
    """
    return Words(text=partial(_said, language), when=turkish)


def _said(language: Language, message: str | Sentence, **values: object) -> str:
    if not isinstance(message, Sentence):
        return text(language, message, **values)
    return message.filled(partial(text, language), partial(_typed, language))


def _typed(language: Language, value: object) -> object:
    match value:
        case datetime():
            return turkish(value)
        case Instruction():
            return value.line
        case _:
            return _written(language, value)


def _written(language: Language, value: object) -> object:
    match value:
        case datetime():
            return when(language, value)
        case Instruction():
            return text(language, value.here) if value.here else value.line
        case Violation():
            return value.reason_tr if language is Language.TURKISH else value.reason
        case _:
            return value


@lru_cache(maxsize=10_000)  # a page has hundreds, most of them small and as they were
def number(language: Language, value: float | None) -> str:
    """Return a number with the separators of the language; a dash for none."""
    return "–" if value is None else format_decimal(value, locale=str(language))


def short(language: Language, value: float) -> str:
    """Return a number in few letters, as ``25 B`` or ``1,5 Mn``."""
    return format_compact_decimal(value, locale=str(language), fraction_digits=1)


def when(language: Language, at: datetime | None) -> str:
    """Return an instant in Turkish time, as ``1 Ara 2026 17:45``; a dash for none."""
    if at is None:
        return "–"
    return format_datetime(at.astimezone(TURKEY), "d MMM y HH:mm", locale=str(language))


def month_name(language: Language, month: date) -> str:
    """Return a month, as ``Kasım 2026``."""
    return format_date(month, "LLLL y", locale=str(language))


def day(language: Language, on: date) -> str:
    """Return a day of this year, as ``1 Ara``."""
    return format_date(on, "d MMM", locale=str(language))


def duration(language: Language, length: float | timedelta | None) -> str:
    """Return a duration (seconds) for people, as ``240 ms``, ``3,2 sn`` or ``12 dk``; a dash for
    none.
    """
    if length is None:
        return "–"
    seconds = length.total_seconds() if isinstance(length, timedelta) else length
    size = abs(seconds)
    tr = language is Language.TURKISH
    for limit, unit, name in (
        (1.0, 0.001, "ms"),
        (_MINUTE, 1.0, "sn" if tr else "s"),
        (_HOUR, _MINUTE, "dk" if tr else "min"),
        (_DAY, _HOUR, "sa" if tr else "h"),
    ):
        if size < limit:
            return f"{number(language, round(seconds / unit, 1))} {name}"
    return f"{number(language, round(seconds / _DAY, 1))} {'gün' if tr else 'd'}"
