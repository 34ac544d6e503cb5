from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone

import orjson
import pytest

from izin.iys.errors import UnreadableError
from izin.iys.wire_format import JsonReader, from_turkish, parse_json, readers
from izin.iys.wire_format.json_reader import to_turkish


def test_turkish_time_converts_both_ways():
    """İYS's clock is three hours ahead of UTC, summer and winter. The fraction is cut and never
    rounded up, for a date ahead is refused.
    """
    instant = datetime(2026, 1, 31, 21, 30, 5, tzinfo=UTC)
    assert to_turkish(instant) == "2026-02-01 00:30:05"
    assert from_turkish("2026-02-01 00:30:05") == instant
    elsewhere = datetime(2026, 7, 1, 8, 0, 0, 999_999, tzinfo=timezone(timedelta(hours=2)))
    assert to_turkish(elsewhere) == "2026-07-01 09:00:00"


@pytest.mark.parametrize(
    "text", ["", "2026-15-01 00:00:00", "01.02.2026", "2026-02-01", "0001-01-01 00:00:00"]
)
def test_text_that_is_no_date_is_unreadable(text: str):
    """A wrong date from İYS is an error."""
    with pytest.raises(UnreadableError):
        from_turkish(text)


@pytest.mark.parametrize("name", ["subRequestId", "subrequestId", "SUBREQUESTID"])
def test_key_is_found_in_any_case(name: str):
    """İYS spells one field in two ways in one answer."""
    assert JsonReader({name: "a-1"}).text("subRequestId") == "a-1"


@pytest.mark.parametrize(
    ("written", "code"),
    [
        *((one, "H351") for one in ("H351", "h351", " H351 ", "351", 351)),
        (15, "H015"),
        ("1" * 5000, "H" + "1" * 5000),
    ],
    ids=str,
)
def test_code_is_the_same_in_any_form(written: object, code: str):
    """Texts and numbers, with or without the letter, are the same code; of any length, though
    Python refuses to read such a number.
    """
    assert JsonReader({"code:": written}).code() == code


def test_empty_text_counts_as_absent():
    """A closed line has an empty consent date."""
    reader = JsonReader({"consentDate": "", "source": None})

    assert reader.instant_or_none("consentDate") is None
    assert reader.text_or_none("source") is None
    assert reader.code() is None


@pytest.mark.parametrize(("value", "truth"), [(True, True), ("true", True), ("false", False)])
def test_boolean_may_be_a_text(value: object, *, truth: bool):
    """İYS writes both ``true`` and ``"true"``."""
    assert JsonReader({"master": value}).boolean_or_none("master") is truth


def test_email_is_lower_cased_and_a_number_unchanged():
    """Recipients compare as İYS stores them."""
    assert JsonReader({"recipient": "Ada@Example.COM"}).recipient() == "ada@example.com"
    assert JsonReader({"recipient": "+905550000001"}).recipient() == "+905550000001"


@pytest.mark.parametrize(
    ("name", "value", "read"),
    [
        ("text", {"a": 1}, JsonReader.text),
        ("text", None, JsonReader.text),
        ("text", "many", JsonReader.integer),
        ("text", None, JsonReader.integer),
        ("text", "word", JsonReader.texts),
        ("text", ["not", "an", "object"], JsonReader.object_or_none),
    ],
)
def test_value_of_another_type_is_unreadable(name: str, value: object, read: object):
    """What is not as expected never comes in as something else."""
    with pytest.raises(UnreadableError):
        read(JsonReader({name: value}), name)  # type: ignore[operator]


def test_empty_response_is_none():
    """A missing value differs from a wrong one."""
    assert parse_json(b" \n") is None


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"list": ["a\\ud800b", "c"]}', "a\ufffdb"),
        (b'{"list": ["a\xffb", "c"]}', "a\ufffdb"),
        (b'{"list": ["a\x01b", "c"]}', "a\x01b"),
        (b'{"list": ["\xff", "c"], "n": ' + b"1" * 5000 + b"}", "\ufffd"),
        (b'{"list": ["\\ud83d\\ude00\\udc00", "c"]}', "\U0001f600\ufffd"),
    ],
)
def test_character_that_is_none_costs_no_other_text(body: bytes, text: str):
    """One recipient's text must not make a whole page unreadable."""
    found = parse_json(body)
    assert isinstance(found, dict)
    assert found["list"] == [text, "c"]
    assert orjson.dumps(found)


@pytest.mark.parametrize(
    "read",
    [
        *(
            lambda body=body: parse_json(body)
            for body in (b"<html>", b"[" * 100_000, b'{"a": ', b"\xff\xfe", b'{"list": [1,]}')
        ),
        lambda: readers({"list": []}),
        lambda: JsonReader([]),
    ],
)
def test_body_that_is_no_json_is_unreadable(read: Callable[[], object]):
    """A page of a firewall, cut, nested without end, in another encoding, or no object."""
    with pytest.raises(UnreadableError):
        read()
