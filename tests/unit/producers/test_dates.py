"""A date is read or refused, never guessed."""

from datetime import UTC, datetime, time, timedelta

import pytest

from izin.consent import DateBasis
from izin.producers.mapping.dates import (
    DateRules,
    DayOrder,
    ExcelEpoch,
    UnreadableDateError,
    read_date,
    read_opt_out_date,
)

TURKISH = timedelta(hours=3)
PLAIN = DateRules()
FROM_1900 = DateRules(excel_epoch=ExcelEpoch.FROM_1900)
TEN = datetime(2026, 3, 2, 7, 0, 0, tzinfo=UTC)
"""Ten in the morning in Turkey."""
AS_TEN = (
    *("2026-03-02 10:00:00", " 2026-03-02 10:00:00 ", "2026-03-02 10:00", "2026-03-02T10:00:00"),
    *("02.03.2026 10:00:00", "02.03.2026 10:00", "2.3.2026 10:00", "2026/03/02 10:00"),
    *("02-03-2026 10:00:00", "2026-03-02T07:00:00Z", "2026-03-02T10:00:00+03:00"),
    *("2026-03-02T02:00:00-0500", "2026-03-02T09:00:00+02"),
    *("2026-03-02 10:00:00.999", "2026-03-02T07:00:00.5Z"),  # İYS's clock has whole seconds
    *("2 Mart 2026 10:00", "02 MART 2026 10:00:00", "2-Mar-2026 10:00", "2 March 2026 10:00"),
    *("02.Mar.2026 10:00", "2 Mar 2026 10:00 ÖÖ"),
)


@pytest.mark.parametrize(
    ("text", "rules", "at"),
    [
        *((one, PLAIN, TEN) for one in AS_TEN),
        # As the Turkish Excel's ``s:dd`` writes it.
        ("2.03.2026 9:05", PLAIN, TEN - timedelta(minutes=55)),
        # As the Turkish and the American Excel write half a day.
        *(
            (f"2.03.2026 {one}", PLAIN, datetime(2026, 3, 2, hour, 5, tzinfo=UTC) - TURKISH)
            for one, hour in (("9:05 ÖS", 21), ("9:05 ös", 21), ("12:05 PM", 12), ("9:05 AM", 9))
        ),
        ("2.03.2026 12:05 ÖÖ", PLAIN, datetime(2026, 3, 1, 21, 5, tzinfo=UTC)),
        # The dotless i, as programs without Turkish letters write it, too.
        *(
            (f"2 {name} 2026 10:00", PLAIN, datetime(2026, 11, 2, 7, tzinfo=UTC))
            for name in ("KASIM", "Kasım", "kasim")
        ),
        # UTC+3 also in the winters before 2016, as İYS reads it.
        ("2015-12-01 10:00:00", PLAIN, datetime(2015, 12, 1, 7, tzinfo=UTC)),
        ("02/03/2026 10:00:00", DateRules(day_order=DayOrder.DAY_FIRST), TEN),
        ("03/02/2026 10:00:00", DateRules(day_order=DayOrder.MONTH_FIRST), TEN),
        ("3/2/2026 10:00 AM", DateRules(day_order=DayOrder.MONTH_FIRST), TEN),
        # The two counts lie four years apart, which is why neither is assumed.
        ("45292,5", FROM_1900, datetime(2024, 1, 1, 9, tzinfo=UTC)),
        (
            "45292,5",
            DateRules(excel_epoch=ExcelEpoch.FROM_1904),
            datetime(2028, 1, 2, 9, tzinfo=UTC),
        ),
        *(
            (one, DateRules(excel_epoch=ExcelEpoch.FROM_1900, time_of_day=time(10)), TEN)
            for one in ("2026-03-02", "02.03.2026", "46083")
        ),
    ],
)
def test_supported_notations_are_read(text: str, rules: DateRules, at: datetime):
    """In Turkish time where no offset is given; slashes, serials and days by the caller's rules."""
    assert read_date(text, rules) == at


@pytest.mark.parametrize(
    ("text", "code", "rules"),
    [
        ("2026-03-02", "H158", PLAIN),  # which hour?
        ("02.03.2026", "H158", PLAIN),
        ("03/04/2026 10:00:00", "H158", PLAIN),  # March or April?
        ("02.03.26 10:00", "H158", PLAIN),
        ("2026/03-02 10:00", "H158", PLAIN),
        ("13/03/2026 10:00:00", "H158", PLAIN),  # a source has one order for all its dates
        ("05/05/2026 10:00:00", "H158", PLAIN),
        ("2 Mrt 2026 10:00", "H158", PLAIN),
        ("2.03.2026 13:05 ÖS", "H157", PLAIN),
        ("2.03.2026 0:05 ÖÖ", "H157", PLAIN),
        ("45292,5", "H158", PLAIN),  # since 1900 or 1904?
        ("45292", "H158", PLAIN),
        ("geçen hafta", "H158", PLAIN),
        ("2026-03-0210:00:00", "H158", PLAIN),
        ("1772434800", "H158", PLAIN),
        ("２０２６-03-02 10:00:00", "H158", PLAIN),
        ("2026-15-01 10:00:00", "H157", PLAIN),
        ("30.02.2026 10:00", "H157", PLAIN),
        ("2026-03-02 24:00:00", "H157", PLAIN),
        ("2026-03-02 10:60:00", "H157", PLAIN),
        ("0000-03-02 10:00:00", "H157", PLAIN),
        ("0001-01-01 00:00:00", "H157", PLAIN),
        ("2026-03-02T10:00:00+99:00", "H157", PLAIN),
        ("2026-03-02T10:00:00+15:00", "H157", PLAIN),
        ("9999-12-31T23:59:59-14:00", "H157", PLAIN),
        # There is no thirteenth month: the order may be wrong for the whole file.
        ("03/13/2026 10:00:00", "H157", DateRules(day_order=DayOrder.DAY_FIRST)),
        ("45292", "H158", FROM_1900),
    ],
)
def test_ambiguous_date_is_refused(text: str, code: str, rules: DateRules):
    """Each is a violation in both languages, with İYS's code."""
    with pytest.raises(UnreadableDateError) as caught:
        read_date(text, rules)
    assert caught.value.violation.code == code
    assert caught.value.violation.reason_tr


MIDNIGHT = datetime(2026, 3, 1, 21, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "at", "basis"),
    [
        ("2026-03-02", MIDNIGHT, DateBasis.DAY),
        (" 02.03.2026 ", MIDNIGHT, DateBasis.DAY),
        ("2 Mart 2026", MIDNIGHT, DateBasis.DAY),
        ("2026-03-02 00:00:00", MIDNIGHT, DateBasis.DAY),
        ("02.03.2026 00:00", MIDNIGHT, DateBasis.DAY),
        ("02.03.2026 12:00 ÖÖ", MIDNIGHT, DateBasis.DAY),
        ("2026-03-01T21:00:00Z", MIDNIGHT, DateBasis.DAY),
        ("2026-03-02T00:00:00.000Z", MIDNIGHT + timedelta(hours=3), DateBasis.DAY),
        ("2026-03-02T00:00:00+03:00", MIDNIGHT, DateBasis.DAY),
        ("2026-03-02 10:00", TEN, DateBasis.MINUTE),
        ("2.3.2026 10:00", TEN, DateBasis.MINUTE),
        ("2026-03-02T10:00+03:00", TEN, DateBasis.MINUTE),
        ("2026-03-02T07:00Z", TEN, DateBasis.MINUTE),
        ("2026-03-02 10:00 ÖÖ", TEN, DateBasis.MINUTE),
        ("2026-03-02 10:00:00", TEN, DateBasis.STATED),
        ("2026-03-02T07:00:00Z", TEN, DateBasis.STATED),
        ("2026-03-02T10:00:00+03:00", TEN, DateBasis.STATED),
        ("2026-03-02 10:00:00 ÖÖ", TEN, DateBasis.STATED),
        ("2026-03-02 00:00:01", MIDNIGHT + timedelta(seconds=1), DateBasis.STATED),
        ("2026-03-02 00:01:00", MIDNIGHT + timedelta(minutes=1), DateBasis.STATED),
        ("2026-03-02 03:00:00", MIDNIGHT + timedelta(hours=3), DateBasis.STATED),
        ("2026-03-02 10:00:00.5", TEN, DateBasis.STATED),
        ("46083", MIDNIGHT, DateBasis.DAY),  # a whole number is a day
        ("46083,0", MIDNIGHT, DateBasis.DAY),
        ("46083,5", MIDNIGHT + timedelta(hours=12), DateBasis.STATED),
    ],
)
def test_date_of_an_opt_out_is_as_exact_as_its_text(text: str, at: datetime, basis: DateBasis):
    """Midnight is what programs write for a date without a time of day."""
    assert read_opt_out_date(text, FROM_1900) == (at, basis)


@pytest.mark.parametrize("text", ["02/03/2026", "0001-01-01", "9999-12-32", "gestern", ""])
def test_date_of_an_opt_out_that_cannot_be_read_is_refused(text: str):
    """A day that is ambiguous, or none, is no day."""
    with pytest.raises(UnreadableDateError):
        read_opt_out_date(text, PLAIN)
