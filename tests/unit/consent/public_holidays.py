"""Turkey's public holidays, written down apart from the code that is tested against them.

The fixed days are those of Law 2429 on national days and general holidays, as amended by Law 5892
(1 May) and Law 6752 of October 2016 (15 July, so from 2017 on). The bayrams are those of Diyanet's
calendar of religious days: the first day of each, a year a line. Those of later years follow from
its rule, that a month begins on the day after the new moon can be seen anywhere on earth; from 2017
to 2035 each of these months begins 11 to 32 hours after the new moon, the past ones and the coming.
"""

from datetime import date, timedelta

FIXED = ((1, 1), (4, 23), (5, 1), (5, 19), (8, 30), (10, 29))
DEMOCRACY_DAY = (7, 15)
DEMOCRACY_DAY_SINCE = 2017
REPUBLIC_EVE = (10, 28)
RAMAZAN_DAYS = 3
KURBAN_DAYS = 4

RAMAZAN = (
    date(2015, 7, 17),
    date(2016, 7, 5),
    date(2017, 6, 25),
    date(2018, 6, 15),
    date(2019, 6, 4),
    date(2020, 5, 24),
    date(2021, 5, 13),
    date(2022, 5, 2),
    date(2023, 4, 21),
    date(2024, 4, 10),
    date(2025, 3, 30),
    date(2026, 3, 20),
    date(2027, 3, 9),
    date(2028, 2, 26),
    date(2029, 2, 14),
    date(2030, 2, 4),
    date(2031, 1, 24),
    date(2032, 1, 14),
    date(2033, 1, 2),
    date(2033, 12, 23),
    date(2034, 12, 12),
    date(2035, 12, 1),
)
KURBAN = (
    date(2015, 9, 24),
    date(2016, 9, 12),
    date(2017, 9, 1),
    date(2018, 8, 21),
    date(2019, 8, 11),
    date(2020, 7, 31),
    date(2021, 7, 20),
    date(2022, 7, 9),
    date(2023, 6, 28),
    date(2024, 6, 16),
    date(2025, 6, 6),
    date(2026, 5, 27),
    date(2027, 5, 16),
    date(2028, 5, 5),
    date(2029, 4, 24),
    date(2030, 4, 13),
    date(2031, 4, 2),
    date(2032, 3, 22),
    date(2033, 3, 11),
    date(2034, 3, 1),
    date(2035, 2, 18),
)


def whole_days(year: int) -> frozenset[date]:
    """Return the days of ``year`` on which Turkey rests from morning."""
    fixed = [date(year, month, day) for month, day in FIXED]
    if year >= DEMOCRACY_DAY_SINCE:
        fixed.append(date(year, *DEMOCRACY_DAY))
    bayrams = [
        first + timedelta(days=n)
        for firsts, length in ((RAMAZAN, RAMAZAN_DAYS), (KURBAN, KURBAN_DAYS))
        for first in firsts
        for n in range(length)
    ]
    return frozenset(fixed) | {day for day in bayrams if day.year == year}


def half_days(year: int) -> frozenset[date]:
    """Return the days of ``year`` that end at 13:00: 28 October and the eves of the bayrams."""
    eves = {first - timedelta(days=1) for first in (*RAMAZAN, *KURBAN)} | {
        date(year, *REPUBLIC_EVE)
    }
    return frozenset(day for day in eves if day.year == year) - whole_days(year)


TERMS = (
    # A term over nothing, over Children's Day, over a weekend at each end.
    (date(2026, 9, 14), date(2026, 9, 17)),
    (date(2026, 4, 17), date(2026, 4, 22)),
    (date(2026, 9, 13), date(2026, 9, 16)),
    # Ramazan Bayramı: before its eve, and on it.
    (date(2026, 3, 18), date(2026, 3, 24)),
    (date(2026, 3, 19), date(2026, 3, 25)),
    # Kurban Bayramı: ten days lie between a Friday and the end of its term.
    (date(2026, 5, 22), date(2026, 6, 1)),
    (date(2026, 5, 26), date(2026, 6, 3)),
    # 15 July, Republic Day with its eve, New Year.
    (date(2026, 7, 10), date(2026, 7, 16)),
    (date(2026, 10, 27), date(2026, 11, 2)),
    (date(2026, 12, 30), date(2027, 1, 5)),
)
"""The reference's examples: the day on which something is said, and its third business day."""
