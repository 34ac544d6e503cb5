"""No log line contains a complete recipient, in any of its fields."""

import json
import logging
import re
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from io import StringIO
from types import SimpleNamespace
from typing import Any, NoReturn, cast

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from izin.runtime.logs import configure, get_logger
from izin.runtime.masking import mask, mask_text
from izin.runtime.settings import LogSettings
from izin.schemas.fast import BUILD
from izin.streams.engine.lane_watch import WorkerMetrics
from tests.support.builders import EMAIL, PHONE, a_key

SPELLINGS = (
    PHONE,
    "905550000001",
    "05550000001",
    "+90 555 000 00 01",
    "+90 (555) 000-00-01",
    EMAIL,
    "Ada@Example.com",
    "ada%40example.com",
)


@pytest.fixture
def logged(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Yield the log on standard error, without the first line; the configuration is restored
    afterwards.
    """
    root, said = logging.getLogger(), StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    configure(LogSettings(level="debug", json_lines=True))
    said.truncate(0)
    said.seek(0)
    yield lambda: [json.loads(line) for line in said.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def fail_about(recipient: str) -> NoReturn:
    raise ValueError(f"no such recipient: {recipient}")


@pytest.mark.parametrize(
    ("recipient", "shown"),
    [
        (PHONE, "+90***01"),
        (EMAIL, "a***@example.com"),
        ("@x", "***@x"),
        ("123", "***"),
        ("", "***"),
    ],
)
def test_mask_shows_country_and_last_digits_only(recipient: str, shown: str) -> None:
    """Country and last digits, or first letter and domain."""
    assert mask(recipient) == shown


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("around", ["{}", "to {}, now", "'{}'", "<{}>", "k={}", "/a/{}/b", "({})"])
def test_recipients_in_text_are_masked(spelling: str, around: str) -> None:
    """In any notation and context."""
    masked = mask_text(around.format(spelling))
    assert "***" in masked
    assert spelling not in masked


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02 09:00:00",
        "2026-03-02T09:00:00.125000+00:00",
        "offset 1234567 of consent-events[3]",
        "H112: no date",
        "127.0.0.1:9092",
    ],
)
def test_other_text_is_not_masked(text: str) -> None:
    """Dates, offsets, codes and addresses of servers stay readable."""
    assert mask_text(text) == text


@given(st.from_regex(r"\+?90 ?5[0-9]{2} ?[0-9]{3} ?[0-9]{2} ?[0-9]{2}", fullmatch=True))
def test_every_turkish_mobile_is_masked(number: str) -> None:
    """With any digits and spaces."""
    assert number not in mask_text(f"recipient {number} refused")


def no_recipient_in(lines: list[dict[str, Any]]) -> bool:
    text = json.dumps(lines)
    return bool(lines) and not [one for one in SPELLINGS if one in text]


@pytest.mark.parametrize(
    "about",
    [
        {"recipient": PHONE},
        {"recipient": "ada"},
        {"key": str(a_key())},
        {"key": a_key().encode()},
        {"key": a_key()},
        {"anything": f"saw {EMAIL}"},
        {"recipients": [PHONE, EMAIL]},
        {"nested": {"deep": [{"recipient": 905550000001}, (EMAIL,)]}},
        {"nested": {EMAIL: 1}},
        {"value": b"+905550000001"},
        {"error": ValueError(PHONE)},
        {"key_value": a_key()},
    ],
)
def test_every_field_of_a_log_line_is_masked(
    logged: Callable[[], list[dict[str, Any]]], about: dict[str, object]
) -> None:
    """Unexpected fields are masked too, of any type."""
    get_logger("test").info("seen", **about)
    lines = logged()
    assert no_recipient_in(lines)
    assert lines[0].get("recipient") != "ada"


def test_masked_key_keeps_what_is_not_personal(logged: Callable[[], list[dict[str, Any]]]) -> None:
    """Brand, channel and type remain searchable; the recipient does not appear."""
    get_logger("test").info("seen", key=str(a_key()), offset=7, ready=True, share=0.5, none=None)
    (line,) = logged()
    assert line["key"] == "100001/MESAJ/BIREYSEL/+90***01"
    assert [line[name] for name in ("offset", "ready", "share", "none")] == [7, True, 0.5, None]
    assert (line["event"], line["level"], line["logger"]) == ("seen", "info", "test")
    assert line["timestamp"].endswith("Z")


def test_traceback_with_a_recipient_is_masked(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    """An exception's text and the source lines shown with it carry no recipient."""
    try:
        fail_about("+905550000001")
    except ValueError:
        get_logger("test").exception("failed")
    lines = logged()
    assert no_recipient_in(lines)
    assert "ValueError" in lines[0]["exception"]


def test_log_of_a_library_is_masked(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    """What passes through the standard library's logging is masked all the same."""
    try:
        fail_about(EMAIL)
    except ValueError:
        logging.getLogger("library").exception("GET /consents/%s", PHONE)
    lines = logged()
    assert no_recipient_in(lines)
    assert lines[0]["logger"] == "library"


def test_uncaught_exception_is_logged_and_masked(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    """Python's own hook would print the exception as it is."""
    error = ValueError(PHONE)
    sys.excepthook(ValueError, error, None)
    lines = logged()
    assert no_recipient_in(lines)
    assert (lines[0]["level"], lines[0]["event"]) == ("critical", "process crashed")


def test_keyboard_interrupt_is_left_to_python(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    """Control-C is not logged as a fault."""
    passed: list[object] = []
    monkeypatch.setattr(sys, "__excepthook__", lambda *about: passed.append(about[0]))
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert passed == [KeyboardInterrupt]
    assert logged() == []


def test_first_line_says_how_the_hot_path_runs(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    """Whoever wonders at half the speed need not look into the installation."""
    monkeypatch.setattr(sys, "stderr", said := StringIO())
    configure(LogSettings(json_lines=True))
    first = json.loads(said.getvalue().splitlines()[0])
    assert (first["event"], first["hot_path"]) == ("process started", BUILD)
    assert logged() == []


def test_log_level_is_respected(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], list[dict[str, Any]]]
) -> None:
    """Events below the level are not logged."""
    monkeypatch.setattr(sys, "stderr", said := StringIO())
    configure(LogSettings(level="warning", json_lines=True))
    logging.getLogger("library").info("quiet")
    logging.getLogger("library").warning("loud")
    assert [json.loads(line)["event"] for line in said.getvalue().splitlines()] == ["loud"]
    assert logged() == []


def test_metric_names_have_our_prefix() -> None:
    """One prefix, each name once."""
    idle = SimpleNamespace(
        counts=Counter(),
        ready=(),
        assigned=(),
        paused=(),
        keys=0,
        state_bytes=0,
        commit_seconds=0.0,
    )
    metrics = WorkerMetrics(cast("Any", idle), {}, cast("Any", None))
    names = [one.name for one in metrics.collect()]
    assert len(names) == len(set(names))
    assert all(re.fullmatch(r"izin_order(_[a-z]+)+", name) for name in names)
