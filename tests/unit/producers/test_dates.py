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

PLAIN = DateRules()
TEN = datetime(2026, 3, 2, 7, 0, 0, tzinfo=UTC)
"""Ten in the morning in Turkey."""


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02 10:00:00",
        " 2026-03-02 10:00:00 ",
        "2026-03-02 10:00",
        "2026-03-02T10:00:00",
        "02.03.2026 10:00:00",
        "02.03.2026 10:00",
        "2.3.2026 10:00",
        "2026/03/02 10:00",
        "02-03-2026 10:00:00",
        "2026-03-02T07:00:00Z",
        "2026-03-02T10:00:00+03:00",
        "2026-03-02T02:00:00-0500",
        "2026-03-02T09:00:00+02",
    ],
)
def test_supported_notations_are_read(text: str):
    """Turkish time where no offset is given."""
    assert read_date(text, PLAIN) == TEN


def test_hour_of_one_digit_is_read():
    """As the Turkish Excel's ``s:dd`` writes it."""
    assert read_date("2.03.2026 9:05", PLAIN) == TEN - timedelta(minutes=55)


@pytest.mark.parametrize("text", ["2026-03-02 10:00:00.999", "2026-03-02T07:00:00.5Z"])
def test_fractions_of_a_second_are_dropped(text: str):
    """İYS's clock has whole seconds."""
    assert read_date(text, PLAIN) == TEN


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("2026-03-02", "H158"),  # which hour?
        ("02.03.2026", "H158"),
        ("03/04/2026 10:00:00", "H158"),  # March or April?
        ("02.03.26 10:00", "H158"),
        ("2026/03-02 10:00", "H158"),
        ("13/03/2026 10:00:00", "H158"),  # a source has one order for all its dates
        ("05/05/2026 10:00:00", "H158"),
        ("2 Mrt 2026 10:00", "H158"),
        ("2.03.2026 13:05 ÖS", "H157"),
        ("2.03.2026 0:05 ÖÖ", "H157"),
        ("45292,5", "H158"),  # since 1900 or 1904?
        ("45292", "H158"),
        ("geçen hafta", "H158"),
        ("2026-03-0210:00:00", "H158"),
        ("1772434800", "H158"),
        ("２０２６-03-02 10:00:00", "H158"),
        ("2026-15-01 10:00:00", "H157"),
        ("30.02.2026 10:00", "H157"),
        ("2026-03-02 24:00:00", "H157"),
        ("2026-03-02 10:60:00", "H157"),
        ("0000-03-02 10:00:00", "H157"),
        ("0001-01-01 00:00:00", "H157"),
        ("2026-03-02T10:00:00+99:00", "H157"),
        ("2026-03-02T10:00:00+15:00", "H157"),
        ("9999-12-31T23:59:59-14:00", "H157"),
    ],
)
def test_ambiguous_date_is_refused(text: str, code: str):
    """Each is a violation in both languages, with İYS's code."""
    with pytest.raises(UnreadableDateError) as caught:
        read_date(text, PLAIN)
    assert caught.value.violation.code == code
    assert caught.value.violation.reason_tr


@pytest.mark.parametrize(
    ("order", "text"),
    [
        (DayOrder.DAY_FIRST, "02/03/2026 10:00:00"),
        (DayOrder.MONTH_FIRST, "03/02/2026 10:00:00"),
        (DayOrder.MONTH_FIRST, "3/2/2026 10:00 AM"),
    ],
)
def test_slashes_are_read_in_the_order_given(order: DayOrder, text: str):
    """Only where the caller gave one."""
    assert read_date(text, DateRules(day_order=order)) == TEN


def test_slashes_against_the_order_given_are_refused():
    """There is no thirteenth month; the order may be wrong for the whole file."""
    with pytest.raises(UnreadableDateError, match="no such date"):
        read_date("03/13/2026 10:00:00", DateRules(day_order=DayOrder.DAY_FIRST))


@pytest.mark.parametrize(
    "text",
    [
        *("2 Mart 2026 10:00", "02 MART 2026 10:00:00", "2-Mar-2026 10:00", "2 March 2026 10:00"),
        *("02.Mar.2026 10:00", "2 Mar 2026 10:00 ÖÖ"),
    ],
)
def test_months_by_name_are_read(text: str):
    """They say which they are."""
    assert read_date(text, PLAIN) == TEN


@pytest.mark.parametrize("name", ["KASIM", "Kasım", "kasim"])
def test_dotless_i_of_a_month_is_read(name: str):
    """As programs without Turkish letters write it, too."""
    assert read_date(f"2 {name} 2026 10:00", PLAIN) == datetime(2026, 11, 2, 7, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "hour"),
    [("9:05 ÖS", 21), ("9:05 ös", 21), ("12:05 PM", 12), ("12:05 ÖÖ", 0), ("9:05 AM", 9)],
)
def test_hours_of_a_half_day_are_read(text: str, hour: int):
    """As the Turkish and the American Excel write them."""
    found = read_date(f"2.03.2026 {text}", PLAIN)
    assert found == datetime(2026, 3, 2, 0, 5, tzinfo=UTC) + timedelta(hours=hour - 3)


@pytest.mark.parametrize(
    ("epoch", "year"), [(ExcelEpoch.FROM_1900, 2024), (ExcelEpoch.FROM_1904, 2028)]
)
def test_excel_serial_is_read_with_a_given_epoch(epoch: ExcelEpoch, year: int):
    """The two counts lie four years apart, which is why neither is assumed."""
    found = read_date("45292,5", DateRules(excel_epoch=epoch))
    assert (found.year, found.hour) == (year, 9)


def test_serial_without_a_fraction_has_no_time():
    """The same rule as for any date."""
    rules = DateRules(excel_epoch=ExcelEpoch.FROM_1900)
    with pytest.raises(UnreadableDateError):
        read_date("45292", rules)


@pytest.mark.parametrize("text", ["2026-03-02", "02.03.2026", "46083"])
def test_date_without_a_time_takes_the_given_one(text: str):
    """Only where the caller gave one."""
    rules = DateRules(excel_epoch=ExcelEpoch.FROM_1900, time_of_day=time(10))
    assert read_date(text, rules) == TEN


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
    ],
)
def test_date_of_an_opt_out_is_as_exact_as_its_text(text: str, at: datetime, basis: DateBasis):
    """Midnight is what programs write for a date without a time of day."""
    assert read_opt_out_date(text, PLAIN) == (at, basis)


def test_serial_of_an_opt_out_is_as_exact_as_its_text():
    """A whole number is a day."""
    rules = DateRules(excel_epoch=ExcelEpoch.FROM_1900)
    assert read_opt_out_date("46083", rules) == (MIDNIGHT, DateBasis.DAY)
    assert read_opt_out_date("46083,0", rules) == (MIDNIGHT, DateBasis.DAY)
    half = MIDNIGHT + timedelta(hours=12)
    assert read_opt_out_date("46083,5", rules) == (half, DateBasis.STATED)


@pytest.mark.parametrize("text", ["02/03/2026", "0001-01-01", "9999-12-32", "gestern", ""])
def test_date_of_an_opt_out_that_cannot_be_read_is_refused(text: str):
    """A day that is ambiguous, or none, is no day."""
    with pytest.raises(UnreadableDateError):
        read_opt_out_date(text, PLAIN)


def test_turkish_time_is_iys_time_in_every_year():
    """UTC+3 also in the winters before 2016, as İYS reads it."""
    assert read_date("2015-12-01 10:00:00", PLAIN) == datetime(2015, 12, 1, 7, tzinfo=UTC)
