"""No log line contains a complete recipient, in any of its fields.

What a library repeats is logged once, and then with its count; our own events always.

However a recipient is spelt, and whatever stands around it, it is not shown.
"""

import json
import logging
import random
import re
import sys
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any, NoReturn

import pytest
import structlog

from izin.runtime import logs
from izin.runtime.logs import configure, get_logger
from izin.runtime.masking import mask, mask_text
from izin.runtime.settings import LogSettings
from izin.schemas.fast import TO_COMPILE
from tests.support.builders import EMAIL, PHONE, a_key
from tests.support.waiting import ManualClock

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
Logged = Callable[[], list[dict[str, Any]]]
"""Returns the lines of the log."""
REFUSED = "[rdkafka#producer-%d]: 127.0.0.1:9092/1: Connection refused (after %dms)"
SEPARATORS = (
    *(" ", ".", "-", "/", "(", ")", "_", "\N{NO-BREAK SPACE}", "\N{NARROW NO-BREAK SPACE}", "\t"),
    *("\N{EN DASH}", "\N{NON-BREAKING HYPHEN}", "\N{ZERO WIDTH SPACE}", "\N{MIDDLE DOT}"),
    *("\N{SOFT HYPHEN}", "\N{ZERO WIDTH NO-BREAK SPACE}", "\N{MINUS SIGN}"),
)
GROUPS = ((3, 3, 2, 2), (3, 3, 4), (3, 7), (10,), (2, 2, 2, 2, 2), (5, 5), (1,) * 10, (4, 6))
BEGINNINGS = ("", "0", "90", "+90", "0090", "+90 (0)", "(0)", "+(90)")
AROUND = ("{}", "to {}, now", "'{}'", "<{}>", "k={}", "/a/{}/b", "({})", "tel:{}", "tel{}x", "{}.")
DOMAINS = ("example.com", "mail.example.org", "örnek.example")


@pytest.fixture
def clock() -> ManualClock:
    """Return the clock of the handler."""
    return ManualClock()


@pytest.fixture
def log_lines(monkeypatch: pytest.MonkeyPatch, clock: ManualClock) -> Iterator[Logged]:
    """Yield the log on standard error, without the first line; the configuration is restored
    afterwards.
    """
    root, said = logging.getLogger(), StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", said)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    configure(LogSettings(level="debug", json_lines=True))
    said.truncate(0)
    said.seek(0)
    root.handlers[0]._clock = clock  # type: ignore[attr-defined]  # time is moved
    yield lambda: [json.loads(line) for line in said.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def raised_in_a_thread(error: Exception) -> None:
    """Let a thread end with an error."""

    def fail() -> None:
        raise error

    thread = threading.Thread(target=fail, name="a-thread")
    thread.start()
    thread.join()


@pytest.mark.parametrize(
    ("log", "shown"),
    [
        (lambda error: get_logger("test").error("failed", exc_info=error), {"event": "failed"}),
        (
            lambda error: logging.getLogger("library").error("GET %s", PHONE, exc_info=error),
            {"logger": "library"},
        ),
        (
            lambda error: sys.excepthook(ValueError, error, None),
            {"level": "critical", "event": "process crashed"},
        ),
        (
            raised_in_a_thread,
            {"level": "critical", "event": "thread crashed", "thread": "a-thread"},
        ),
    ],
    ids=["ours", "library", "process", "thread"],
)
def test_exception_is_logged_and_masked(
    log_lines: Logged, log: Callable[[Exception], object], shown: dict[str, str]
) -> None:
    """Its text and the source lines shown with it carry no recipient; Python's own hooks would
    print it as it is.
    """
    try:
        fail_about("+905550000001")
    except ValueError as error:
        log(error)
    (line,) = log_lines()
    assert no_recipient_in([line])
    assert shown.items() <= line.items()
    assert "ValueError" in line["exception"]


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
def test_every_field_of_a_log_line_is_masked(log_lines: Logged, about: dict[str, object]) -> None:
    """Unexpected fields are masked too, of any type."""
    get_logger("test").info("seen", **about)
    lines = log_lines()
    assert no_recipient_in(lines)
    assert lines[0].get("recipient") != "ada"


def test_masked_key_keeps_what_is_not_personal(log_lines: Logged) -> None:
    """Brand, channel and type remain searchable; the recipient does not appear."""
    get_logger("test").info("seen", key=str(a_key()), offset=7, ready=True, share=0.5, none=None)
    (line,) = log_lines()
    assert line["key"] == "100001/MESAJ/BIREYSEL/+90***01"
    assert [line[name] for name in ("offset", "ready", "share", "none")] == [7, True, 0.5, None]
    assert (line["event"], line["level"], line["logger"]) == ("seen", "info", "test")
    assert line["timestamp"].endswith("Z")


def test_keyboard_interrupt_is_left_to_python(
    monkeypatch: pytest.MonkeyPatch, log_lines: Logged
) -> None:
    """Control-C is not log_lines as a fault."""
    passed: list[object] = []
    monkeypatch.setattr(sys, "__excepthook__", lambda *about: passed.append(about[0]))
    sys.excepthook(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert passed == [KeyboardInterrupt]
    assert log_lines() == []


def test_first_line_says_how_the_hot_path_runs(
    monkeypatch: pytest.MonkeyPatch, log_lines: Logged
) -> None:
    """Whoever wonders at half the speed need not look into the installation."""
    monkeypatch.setattr(sys, "stderr", said := StringIO())
    for build in ("interpreted", "compiled"):
        monkeypatch.setattr(logs, "BUILD", build)
        configure(LogSettings(json_lines=True))
    first, second = map(json.loads, said.getvalue().splitlines())
    assert (first["event"], first["hot_path"]) == ("process started", "interpreted")
    assert (second["hot_path"], first["to_compile"]) == ("compiled", TO_COMPILE)
    assert "to_compile" not in second
    assert log_lines() == []


def test_log_level_is_respected(monkeypatch: pytest.MonkeyPatch, log_lines: Logged) -> None:
    """Events below the level are not log_lines."""
    monkeypatch.setattr(sys, "stderr", said := StringIO())
    configure(LogSettings(level="warning", json_lines=True))
    logging.getLogger("library").info("quiet")
    logging.getLogger("library").warning("loud")
    assert [json.loads(line)["event"] for line in said.getvalue().splitlines()] == ["loud"]
    assert log_lines() == []


def summary(line: dict[str, Any]) -> tuple[object, object]:
    """Return how many repetitions a line stands for, and within how long."""
    return line.get("repeated"), line.get("seconds")


def test_repetitions_are_dropped_and_counted(log_lines: Logged, clock: ManualClock) -> None:
    """The first is log_lines at once, the others each minute, whichever client and however long."""
    for number in range(100):
        logging.getLogger("librdkafka").error(REFUSED, number % 3, number)
        clock.now += 1
    lines = log_lines()
    assert [summary(one) for one in lines] == [(None, None), (59, 60)]
    assert {(one["level"], one["logger"]) for one in lines} == {("error", "librdkafka")}
    assert all("Connection refused" in one["event"] for one in lines)
    logging.getLogger().handlers[0].close()
    assert summary(log_lines()[-1]) == (40, 40)


def test_count_comes_with_the_next_line_once_it_is_due(
    log_lines: Logged, clock: ManualClock
) -> None:
    """When it has ended; and a later one is new again."""
    for partition in range(5):
        logging.getLogger("aiokafka.consumer").error(
            "OffsetCommit failed for partition %d", partition
        )
    clock.now += 61
    get_logger("izin.test").info("kafka reachable again")
    clock.now += 61
    logging.getLogger("aiokafka.consumer").error("OffsetCommit failed for partition %d", 5)
    assert [(one["event"], *summary(one)) for one in log_lines()] == [
        ("OffsetCommit failed for partition 0", None, None),
        ("OffsetCommit failed for partition 4", 4, 61),
        ("kafka reachable again", None, None),
        ("OffsetCommit failed for partition 5", None, None),
    ]


def test_different_messages_and_our_own_are_all_logged(
    log_lines: Logged,
) -> None:
    """Another text, level, library or address is another message."""
    for address in ("127.0.0.1:9092", "127.0.0.1:9093"):
        logging.getLogger("librdkafka").error("%s is away", address)
    logging.getLogger("librdkafka").warning("127.0.0.1:9092 is away")
    logging.getLogger("other").error("127.0.0.1:9092 is away")
    for _ in range(3):
        get_logger("izin.test").info("batch submitted", items=1)
    assert len(log_lines()) == 7


def test_memory_of_messages_is_bounded(log_lines: Logged, monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest is forgotten, with its count log_lines."""
    monkeypatch.setattr(logs, "_MESSAGES", 2)
    for text in ("one", "one", "two", "three", "four", "one"):
        logging.getLogger("library").error(text)
    assert [(one["event"], one.get("repeated")) for one in log_lines()] == [
        ("one", None),
        ("two", None),
        ("three", None),
        ("one", 1),
        ("four", None),
        ("one", None),
    ]


def _phone(chance: random.Random) -> tuple[str, str]:
    """Return a number and one of its spellings."""
    digits = f"5{chance.randrange(10**9):09}"
    groups, at = [], 0
    for size in chance.choice(GROUPS):
        groups.append(digits[at : at + size])
        at += size
    between = [
        "".join(chance.choices(SEPARATORS, k=chance.randrange(4))) for _ in range(len(groups))
    ]
    parts = (part for pair in zip(between, groups, strict=True) for part in pair)
    return digits, chance.choice(BEGINNINGS) + "".join(parts)


def _email(chance: random.Random) -> tuple[str, str]:
    """Return what must not be shown of an address, and one of its spellings."""
    letters = "abcdefghijklmnopqrstuvwxyzçğıöşü0123456789._+-"
    local = "x" + "".join(chance.choices(letters, k=chance.randrange(8, 70))) + "z"
    at = chance.choice(("@", "%40", "\N{FULLWIDTH COMMERCIAL AT}"))
    return local, f"{local}{at}{chance.choice(DOMAINS)}"


def test_ten_thousand_spellings_show_nothing() -> None:
    """Numbers by their digits, addresses by what stands before the at sign."""
    chance = random.Random(37)
    for _ in range(10_000):
        digits, phone = _phone(chance)
        local, email = _email(chance)
        text = f"{chance.choice(AROUND).format(phone)} {chance.choice(AROUND).format(email)}"
        shown = mask_text(text)
        assert digits[1:9] not in re.sub(r"\D", "", shown), ascii(text)
        assert local not in shown, ascii(text)
        assert phone not in shown


@pytest.mark.parametrize(
    "spelling",
    [
        "0555.123.45.67",
        "+90/555/123/45/67",
        "0555\N{NO-BREAK SPACE}123\N{NO-BREAK SPACE}45\N{NO-BREAK SPACE}67",
        "0555-12-34567",
        "2026-03-02 0555 123 45 67",
        "02.03.2026 0555 123 45 67",
        "05.05.2000 1234567",
        "1.2.3.4 5551234567",
    ],
)
def test_number_is_masked_beside_what_looks_like_a_date(spelling: str) -> None:
    """What was reported, and what a date or an address before it might hide."""
    assert "1234567" not in re.sub(r"\D", "", mask_text(spelling))


@pytest.mark.parametrize(
    "text",
    [
        "2026-03-02 09:00:00",
        "at 02.03.2026 09:00:00 and 2026-03-02",
        "2026-03-02T09:00:00.125000+00:00",
        "127.0.0.1:9092, 192.168.100.200:8081 and 10.0.0.1",
        "offset 1234567 of consent-events[3]",
        "H112: no date, 12345678 rows",
    ],
)
def test_dates_addresses_and_short_numbers_are_shown(text: str) -> None:
    """Whoever reads a log needs them."""
    assert mask_text(text) == text


def test_two_addresses_in_one_word_show_neither() -> None:
    """What stands between two at signs is a domain, and the next address too."""
    assert mask_text("ada@example.com,veli@example.org") == "a***@***@example.org"
    assert mask("ada@example.com;veli@example.org") == "a***@***@example.org"


@pytest.mark.parametrize(
    "part", ["a", "5 ", "5", "a@", "1-", "5.a", "2026-03-02 ", "@", " ", "1.2."]
)
def test_long_texts_are_read_once(part: str) -> None:
    """A text of a megabyte that is read again from each of its characters takes hours."""
    assert mask_text(part * (1_000_000 // len(part)))
