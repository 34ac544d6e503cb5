"""Consent dates: a text has exactly one meaning, or it is a violation.

A time without an offset is Turkish time, UTC+3 as at İYS (reference section 4). Accepted are
``yyyy-MM-dd``, ``yyyy/MM/dd`` and ISO 8601, ``dd.MM.yyyy`` and ``dd-MM-yyyy``, and months by name
(``2 Mart 2026``), each with ``HH:mm[:ss]`` or ``H:mm[:ss]``, of twelve hours with ÖÖ, ÖS, AM or PM.
Accepted only with :class:`DateRules`:

* slashes (``03/02/2026``), for some programs write the month first: whether they do is a matter of
  the whole source, so a single date that has one reading alone is refused like the others;
* a date without a time of day, for the order of an opt-in and an opt-out of one day depends on it:
  an opt-out (RET) has it, for :func:`read_opt_out_date` says how exact it is;
* an Excel serial such as ``45292,5``, for Excel counts from 1900 or, in workbooks created on a Mac,
  from 1904.

Never accepted: two-digit years.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from functools import lru_cache
from types import MappingProxyType
from typing import Final, assert_never

from izin.consent import DateBasis, SourceError, Violation
from izin.schemas.words import fold

_FIELD = "consent_date"
_AHEAD_OF_UTC: Final = timedelta(hours=3)
"""Turkish time, in every year."""
_CLOCK = (
    r"(?:[ T](?P<hour>\d{1,2}):(?P<minute>\d{2})(?::(?P<second>\d{2})(?:[.,]\d{1,9})?)?"
    r"(?: ?(?P<half>[Öö][ÖöSs]|[AaPp][Mm]))?)?"
)
_YEAR_FIRST = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/])(?P<month>\d{2})(?P=mark)(?P<day>\d{2})"
    + _CLOCK
    + r"(?P<offset>Z|[+-]\d{2}(?::?\d{2})?)?",
    re.ASCII,
)
_DAY_FIRST = re.compile(
    r"(?P<day>\d{1,2})(?P<mark>[.-])(?P<month>\d{1,2})(?P=mark)(?P<year>\d{4})" + _CLOCK, re.ASCII
)
_SLASHES = re.compile(r"(?P<one>\d{1,2})/(?P<two>\d{1,2})/(?P<year>\d{4})" + _CLOCK, re.ASCII)
_NAMED = re.compile(
    r"(?P<day>[0-9]{1,2})[ .-]{1,2}(?P<name>[^\W\d_]{3,9})[ .,-]{1,2}(?P<year>[0-9]{4})"
    rf"(?a:{_CLOCK})"
)
_MONTHS: Mapping[str, str] = MappingProxyType(
    {
        fold(short): str(number)
        for number, names in enumerate(
            (
                "ocak oca january jan", "şubat şub february feb", "mart mar march",
                "nisan nis april apr", "mayıs may", "haziran haz june jun", "temmuz tem july jul",
                "ağustos ağu august aug", "eylül eyl september sep", "ekim eki october oct",
                "kasım kas november nov", "aralık ara december dec",
            ),
            1,
        )
        for short in names.split()
    }
)  # fmt: skip
_SERIAL = re.compile(r"(?P<days>\d{5})(?:[.,](?P<part>\d{1,12}))?", re.ASCII)
_MIDNIGHT = re.compile(r"[ T]00?:00(?::00)?(?![:\d])", re.ASCII)
_MIDNIGHT_IN_UTC = time(21)
_WITHOUT_SECONDS = re.compile(r"[ T]\d{1,2}:\d{2}(?!:)", re.ASCII)
_COMMON_LENGTH = 19
_DAY_FIRST_MARKS = frozenset({"..", "--"})
_HALF_DAY = 12
_AFTERNOON = frozenset({"ÖS", "PM"})
_MAX_OFFSET = timedelta(hours=14)


class DayOrder(StrEnum):
    """Which stands first in the dates of a source that are written with slashes."""

    DAY_FIRST = "dmy"
    MONTH_FIRST = "mdy"


class ExcelEpoch(StrEnum):
    """The two epochs of Excel's date serials."""

    FROM_1900 = "1900"
    FROM_1904 = "1904"


@dataclass(frozen=True, slots=True, kw_only=True)
class DateRules:
    """What the caller knows about the dates of a source beyond their texts."""

    day_order: DayOrder | None = None
    """Of dates with slashes; None: such a date is a violation."""
    excel_epoch: ExcelEpoch | None = None
    """The epoch of Excel serials; None: a serial is a violation."""
    time_of_day: time | None = None
    """The time of an ONAY whose date has none; None: a violation. Never used for a RET."""


class UnreadableDateError(SourceError):
    """A date that cannot be read, or is ambiguous."""

    def __init__(self, code: str, reason: str, reason_tr: str) -> None:
        super().__init__(reason)
        self.violation = Violation(field=_FIELD, code=code, reason=reason, reason_tr=reason_tr)


class NoTimeOfDayError(UnreadableDateError):
    """A date without a time of day."""

    def __init__(self, day: date) -> None:
        super().__init__(
            "H158",
            "the date has no time of day; write yyyy-MM-dd HH:mm:ss, or say for a whole file which "
            "it is (--time-of-day 12:00)",
            "Tarihte saat yok; yyyy-AA-gg SS:dd:ss biçiminde yazın ya da bütün dosya için saati "
            "belirtin (--time-of-day 12:00).",
        )
        self.day = day


_EXCEL_DAY_ZERO = {
    ExcelEpoch.FROM_1900: date(1899, 12, 30),
    ExcelEpoch.FROM_1904: date(1904, 1, 1),
}


def read_date(text: str, rules: DateRules) -> datetime:
    """Return the instant that ``text`` means, in UTC.

    Raises:
        UnreadableDateError: it means none, or could mean several.
    """
    text = text.strip()
    return _common(text) or _uncommon(text, rules)


def read_opt_out_date(text: str, rules: DateRules) -> tuple[datetime, DateBasis]:
    """Return the instant that the date of an opt-out (RET) means, in UTC, and how exact it is.

    Midnight, in Turkey or as the text has it, is how programs write a date without a time of day.

    Raises:
        UnreadableDateError: it means none, or could mean several.
    """
    try:
        at = read_date(text, rules)
    except NoTimeOfDayError as error:
        return _turkish(error.day, time()), DateBasis.DAY
    if at.time() == _MIDNIGHT_IN_UTC or _MIDNIGHT.search(text):
        return at, DateBasis.DAY
    return at, DateBasis.MINUTE if _WITHOUT_SECONDS.search(text) else DateBasis.STATED


@lru_cache(maxsize=4096)
def _uncommon(text: str, rules: DateRules) -> datetime:
    if found := _YEAR_FIRST.fullmatch(text):
        return _instant(found, found["month"], found["day"], rules, found["offset"])
    if found := _DAY_FIRST.fullmatch(text):
        return _instant(found, found["month"], found["day"], rules)
    if found := _SLASHES.fullmatch(text):
        day, month = _by_slashes(found["one"], found["two"], rules)
        return _instant(found, month, day, rules)
    if (found := _NAMED.fullmatch(text)) and (name := _MONTHS.get(fold(found["name"]))):
        return _instant(found, name, found["day"], rules)
    if found := _SERIAL.fullmatch(text):
        return _by_serial(found, rules)
    raise UnreadableDateError(
        "H158",
        "unknown date format; write yyyy-MM-dd HH:mm:ss, dd.MM.yyyy HH:mm:ss or ISO 8601",
        "Tarih biçimi okunamadı; gg.AA.yyyy SS:dd:ss, yyyy-AA-gg SS:dd:ss ya da ISO 8601 biçiminde "
        "yazın.",
    )


def _common(text: str) -> datetime | None:
    """Return the instant of ``yyyy-MM-dd HH:mm:ss`` or ``dd.MM.yyyy HH:mm:ss``, which nearly all
    are, in a fifth of the time; None for anything else, and for what does not exist.
    """
    if len(text) != _COMMON_LENGTH or text[13::3] != "::" or text[10] not in " T":
        return None
    if text[2:6:3] in _DAY_FIRST_MARKS:
        text = f"{text[6:10]}-{text[3:5]}-{text[:2]}{text[10:]}"
    elif text[4:8:3] != "--":
        return None
    if text[11:13] == "24":  # the next day, to later releases of Python
        return None
    try:
        return datetime.fromisoformat(f"{text}Z") - _AHEAD_OF_UTC
    except (ValueError, OverflowError):
        return None


def is_date_like(text: str) -> bool:
    """Whether ``text`` has the form of a date, readable or not."""
    return any(one.fullmatch(text) for one in (_YEAR_FIRST, _DAY_FIRST, _SLASHES, _NAMED, _SERIAL))


def _instant(
    found: re.Match[str], month: str, day: str, rules: DateRules, offset: str | None = None
) -> datetime:
    try:
        on = date(int(found["year"]), int(month), int(day))
        if found["hour"] is None:
            if offset is not None or rules.time_of_day is None:
                raise NoTimeOfDayError(on)
            return _turkish(on, rules.time_of_day)
        at = _time(found)
    except ValueError:
        raise _impossible() from None
    if offset is None:
        return _turkish(on, at)
    try:
        zoned = datetime.fromisoformat(f"{on}T{at}{offset}")
        shift = zoned.utcoffset()
        if shift is None or abs(shift) > _MAX_OFFSET:
            raise _impossible()
        return zoned.astimezone(UTC)
    except (ValueError, OverflowError):
        raise _impossible() from None


def _time(found: re.Match[str]) -> time:
    """Return the time of day; raises ValueError where there is none such."""
    hour = int(found["hour"])
    if half := found["half"]:
        if not 1 <= hour <= _HALF_DAY:
            raise ValueError(hour)
        hour = hour % _HALF_DAY + (_HALF_DAY if half.upper() in _AFTERNOON else 0)
    return time(hour, int(found["minute"]), int(found["second"] or 0))


def _turkish(on: date, at: time) -> datetime:
    try:
        # In a tenth of the time of ``astimezone``.
        return datetime.combine(on, at, UTC) - _AHEAD_OF_UTC
    except OverflowError:
        raise _impossible() from None


def _by_slashes(one: str, two: str, rules: DateRules) -> tuple[str, str]:
    """Return (day, month)."""
    match rules.day_order:
        case DayOrder.DAY_FIRST:
            return one, two
        case DayOrder.MONTH_FIRST:
            return two, one
        case None:
            raise UnreadableDateError(
                "H158",
                "day and month could be swapped; write yyyy-MM-dd HH:mm:ss or dd.MM.yyyy HH:mm:ss, "
                "or say for the whole file which is first (--day-order dmy)",
                "Gün ile ay ayırt edilemiyor; gg.AA.yyyy SS:dd:ss biçiminde yazın ya da dosya için "
                "sırayı belirtin (--day-order dmy).",
            )
        case never:
            assert_never(never)


def _by_serial(found: re.Match[str], rules: DateRules) -> datetime:
    if rules.excel_epoch is None:
        raise UnreadableDateError(
            "H158",
            "an Excel serial counts from 1900 or from 1904; format the column as "
            "yyyy-MM-dd HH:mm:ss and export again, or say which (--excel-epoch 1900)",
            "Excel tarih sayısı; sütunu yyyy-AA-gg SS:dd:ss biçiminde yeniden dışa aktarın.",
        )
    on = _EXCEL_DAY_ZERO[rules.excel_epoch] + timedelta(days=int(found["days"]))
    if found["part"] is None:
        if rules.time_of_day is None:
            raise NoTimeOfDayError(on)
        return _turkish(on, rules.time_of_day)
    seconds = round(int(found["part"]) * 86_400 / 10 ** len(found["part"]))
    return _turkish(on, time()) + timedelta(seconds=seconds)


def _impossible() -> UnreadableDateError:
    return UnreadableDateError(
        "H157",
        "no such date or time exists; write the right one",
        "Böyle bir tarih ya da saat yok; doğrusunu yazın.",
    )
