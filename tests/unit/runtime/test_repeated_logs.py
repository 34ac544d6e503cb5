"""What a library repeats is logged once, and then with its count; our own events always."""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
import structlog

from izin.runtime import logs
from izin.runtime.logs import configure, get_logger
from izin.runtime.settings import LogSettings

REFUSED = "[rdkafka#producer-%d]: 127.0.0.1:9092/1: Connection refused (after %dms)"


class Clock:
    """A clock that is moved."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Return the clock of the handler."""
    return Clock()


@pytest.fixture
def logged(
    monkeypatch: pytest.MonkeyPatch, clock: Clock
) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    """Yield the log on standard error, without the first line; the configuration is restored
    afterwards.
    """
    root, written = logging.getLogger(), StringIO()
    handlers, level = root.handlers[:], root.level
    monkeypatch.setattr(sys, "stderr", written)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)
    configure(LogSettings(level="info", json_lines=True))
    written.truncate(0)
    written.seek(0)
    root.handlers[0]._clock = clock  # type: ignore[attr-defined]  # time is moved
    yield lambda: [json.loads(line) for line in written.getvalue().splitlines()]
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def summary(line: dict[str, Any]) -> tuple[object, object]:
    """Return how many repetitions a line stands for, and within how long."""
    return line.get("repeated"), line.get("seconds")


def test_repetitions_are_dropped_and_counted(
    logged: Callable[[], list[dict[str, Any]]], clock: Clock
) -> None:
    """The first is logged at once, the others each minute, whichever client and however long."""
    for number in range(100):
        logging.getLogger("librdkafka").error(REFUSED, number % 3, number)
        clock.now += 1
    lines = logged()
    assert [summary(one) for one in lines] == [(None, None), (59, 60)]
    assert {(one["level"], one["logger"]) for one in lines} == {("error", "librdkafka")}
    assert all("Connection refused" in one["event"] for one in lines)
    logging.getLogger().handlers[0].close()
    assert summary(logged()[-1]) == (40, 40)


def test_count_comes_with_the_next_line_once_it_is_due(
    logged: Callable[[], list[dict[str, Any]]], clock: Clock
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
    assert [(one["event"], *summary(one)) for one in logged()] == [
        ("OffsetCommit failed for partition 0", None, None),
        ("OffsetCommit failed for partition 4", 4, 61),
        ("kafka reachable again", None, None),
        ("OffsetCommit failed for partition 5", None, None),
    ]


def test_different_messages_and_our_own_are_all_logged(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    """Another text, level, library or address is another message."""
    for address in ("127.0.0.1:9092", "127.0.0.1:9093"):
        logging.getLogger("librdkafka").error("%s is away", address)
    logging.getLogger("librdkafka").warning("127.0.0.1:9092 is away")
    logging.getLogger("other").error("127.0.0.1:9092 is away")
    for _ in range(3):
        get_logger("izin.test").info("batch submitted", items=1)
    assert len(logged()) == 7


def test_memory_of_messages_is_bounded(
    logged: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The oldest is forgotten, with its count logged."""
    monkeypatch.setattr(logs, "_MESSAGES", 2)
    for text in ("one", "one", "two", "three", "four", "one"):
        logging.getLogger("library").error(text)
    assert [(one["event"], one.get("repeated")) for one in logged()] == [
        ("one", None),
        ("two", None),
        ("three", None),
        ("one", 1),
        ("four", None),
        ("one", None),
    ]


def test_exception_of_a_thread_is_logged_as_json(
    logged: Callable[[], list[dict[str, Any]]],
) -> None:
    """Python would print it as it is."""

    def fail() -> None:
        raise ValueError("ada@example.com")

    thread = threading.Thread(target=fail, name="a-thread")
    thread.start()
    thread.join()
    (line,) = logged()
    assert (line["event"], line["level"], line["thread"]) == (
        "thread crashed",
        "critical",
        "a-thread",
    )
    assert "ada@example.com" not in json.dumps(line)
