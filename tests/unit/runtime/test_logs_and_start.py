"""No log line contains a complete recipient, in any of its fields.

What a library repeats is log_lines once, and then with its count; our own events always.

However a recipient is spelt, and whatever stands around it, it is not shown.

Every process refuses settings that cannot be used, before it reaches any server.

Long work lets other tasks of the event loop in.

Blocking work that nobody waits for at the end.

How many dead letters are too many.
Processes that wait for work end with the command that started them, also where it was killed.
"""

import asyncio
import json
import logging
import multiprocessing
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from io import StringIO
from pathlib import Path
from typing import Any, NoReturn

import pytest
import structlog
from structlog.typing import EventDict
from typer.testing import CliRunner

from izin.cli.cli import COMMANDS, app
from izin.consent import OurError
from izin.replay.processes import Advance, working
from izin.runtime import logs
from izin.runtime.dead_letter_budget import DeadLetterBudget, LatestRecords
from izin.runtime.logs import EXIT, configure, exiting_on_error, get_logger
from izin.runtime.masking import mask, mask_text
from izin.runtime.process import in_daemon_thread, with_pauses
from izin.runtime.settings import IysSettings, LogSettings
from izin.schemas.fast import BUILD
from tests.support.builders import EMAIL, PHONE, a_key
from tests.support.waiting import ManualClock, runs, until

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
    configure(LogSettings(json_lines=True))
    first = json.loads(said.getvalue().splitlines()[0])
    assert (first["event"], first["hot_path"]) == ("process started", BUILD)
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


ROOT = Path(__file__).parents[3]
SECRET = "obviously-fake-secret"
KAFKA = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1",
    "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": "izin",
    "KAFKA_SASL_PASSWORD": SECRET,
}
SERVERS = {
    **KAFKA,
    "DATABASE_URL": f"postgresql://izin:{SECRET}@127.0.0.1:1/izin?sslmode=verify-full",
    "IYS_BASE_URL": "https://iys.example.com",
    "IYS_USERNAME": "acme",
    "IYS_PASSWORD": SECRET,
    "IZIN_PRODUCTION": "true",
}
WORKERS = {
    "order": "izin.streams",
    "sink": "izin.sinks",
    "intake": "izin.producers",
    "webhooks": "izin.webhooks",
}
HANGS = """
import asyncio, threading
from izin.runtime.process import in_daemon_thread

async def main():
    asyncio.create_task(in_daemon_thread(threading.Event().wait, name="hangs"))
    await asyncio.sleep(0.1)

asyncio.run(main())
"""
BUDGET = DeadLetterBudget(share=0.2, window=1000, least=100)


def started(worker: str, given: dict[str, str]) -> tuple[int, str]:
    """Run a worker with ``given`` until it ends; return its exit code and all that it printed."""
    ended = subprocess.run(
        [sys.executable, "-m", WORKERS[worker]],
        cwd=ROOT,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def commanded(worker: str, given: dict[str, str], patch: pytest.MonkeyPatch) -> tuple[int, str]:
    """Give the command of a worker ``given``, in this process; return the same."""
    for name, value in given.items():
        patch.setenv(name, value)
    module = import_module(f"{WORKERS[worker]}.__main__")
    patch.setattr(module, "configure", lambda _: None)  # the logs of this process
    shown = CliRunner().invoke(app, [worker])
    return shown.exit_code, shown.output


@pytest.mark.parametrize("worker", WORKERS)
def test_worker_in_production_refuses_plain_kafka(worker: str) -> None:
    """Each at its start; its command runs the same function."""
    plain = {**SERVERS, "KAFKA_SECURITY_PROTOCOL": "SASL_PLAINTEXT"}
    refusal = "refuses KAFKA_SECURITY_PROTOCOL=SASL_PLAINTEXT"
    code, printed = started(worker, plain)
    assert (code, refusal in printed, SECRET in printed) == (EXIT, True, False)
    assert COMMANDS["Run the processes"][worker] == f"{WORKERS[worker]}.__main__:main"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", f"postgresql://izin:{SECRET}@127.0.0.1:1/izin"),
        ("IYS_BASE_URL", "http://iys.example.com"),
        ("IZIN_PUSH_URL", "http://izin.example.com/iys/push"),
        ("SCHEMA_REGISTRY_URL", "http://registry.example.com"),
    ],
)
def test_sink_worker_in_production_refuses_plain_servers(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is the one that reaches all of them."""
    code, printed = commanded("sink", {**SERVERS, name: value}, monkeypatch)
    assert code == EXIT
    assert f"refuses {name}" in printed
    assert SECRET not in printed


def test_missing_settings_are_logged_by_their_names(
    logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without values, and with the exit code that says who must act."""
    for name in ("IYS_USERNAME", "IYS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(SystemExit) as ended, exiting_on_error("start failed"):
        IysSettings()
    assert ended.value.code == EXIT
    (event,) = logged
    assert event["event"] == "start failed"
    assert "IYS_USERNAME (missing), IYS_PASSWORD (missing)" in event["error"]


def test_error_of_ours_is_logged_and_a_bug_is_not_caught(logged: list[EventDict]) -> None:
    """A traceback is for those who can change the code."""
    with pytest.raises(SystemExit), exiting_on_error("start failed"):
        raise OurError("no broker")
    assert [one["error"] for one in logged] == ["no broker"]
    with pytest.raises(ZeroDivisionError), exiting_on_error("start failed"):
        raise ZeroDivisionError


async def test_items_come_in_their_order():
    """Work that pauses is the same work."""
    assert [one async for one in with_pauses(range(120))] == list(range(120))


async def test_other_tasks_run_meanwhile():
    """A push never waits for a whole batch."""
    seen, done = list[int](), 0

    async def look() -> None:
        while True:
            seen.append(done)
            await asyncio.sleep(0)

    looking = asyncio.create_task(look())
    async for place in with_pauses(range(1000)):
        done = place
    looking.cancel()
    assert len(seen) > 10
    assert max(b - a for a, b in zip(seen, [*seen[1:], done], strict=True)) <= 100


async def test_result_and_error_are_the_works() -> None:
    """The caller gets what it would get without a thread."""
    assert await in_daemon_thread(lambda: threading.current_thread().name, name="mine") == "mine"
    with pytest.raises(ZeroDivisionError):
        await in_daemon_thread(lambda: 1 // 0, name="fails")


async def test_result_that_nobody_waits_for_is_dropped() -> None:
    """A caller that was cancelled meanwhile is left alone."""
    go_on, done = threading.Event(), threading.Event()

    def work() -> None:
        go_on.wait(10)
        done.set()

    task = asyncio.create_task(in_daemon_thread(work, name="late"))
    await asyncio.sleep(0)
    task.cancel()
    go_on.set()
    await asyncio.to_thread(done.wait, 10)
    await asyncio.sleep(0.01)
    assert task.cancelled()


def test_process_ends_though_the_work_hangs() -> None:
    """A broker that is away does not keep a worker from ending."""
    done = subprocess.run(
        [sys.executable, "-c", HANGS], check=False, timeout=30, capture_output=True
    )
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize(
    ("suspects", "records", "exceeded"),
    [
        (99, 99, False),  # too few to decide
        (100, 100, True),
        (100, 500, False),  # a fifth exactly
        (101, 500, True),
    ],
)
def test_budget_is_exceeded_above_share_and_least(
    suspects: int, records: int, exceeded: bool
) -> None:
    """A handful is never too many, a fifth is allowed."""
    assert BUDGET.is_exceeded(suspects, records) is exceeded


def test_budget_with_share_of_one_is_unbounded() -> None:
    """The operator confirms that the records are unusable."""
    assert not DeadLetterBudget(share=1).is_exceeded(5000, 5000)


def test_records_before_the_window_are_dropped() -> None:
    """Long good days do not hide a bad deploy, and old poison is forgiven."""
    latest = LatestRecords(BUDGET)
    for _ in range(100):
        latest.add({}, 500)
    assert latest.records == 1000
    assert latest.exceeded_by({"acme/web": 301}, 500) == "acme/web"
    latest.add({"acme/web": 150}, 500)
    latest.add({}, 500)
    latest.add({}, 500)
    assert (+latest.suspects, latest.records) == ({}, 1000)


def test_sources_are_counted_one_by_one() -> None:
    """Ten sources with a few poison records each are no bad deploy."""
    latest = LatestRecords(BUDGET)
    latest.add({"acme/web": 90, "acme/crm": 90}, 100)
    assert latest.exceeded_by({"acme/web": 9, "acme/crm": 9}, 20) is None
    assert latest.exceeded_by({"acme/web": 9, "acme/crm": 10}, 20) == "acme/crm"


def test_batch_wider_than_the_window_counts_whole() -> None:
    """The window is never empty."""
    latest = LatestRecords(BUDGET)
    latest.add({}, 10)
    latest.add({"acme/web": 7}, 5000)
    assert (latest.suspects["acme/web"], latest.records) == (7, 5000)


CHILDREN = 2


def work(_number: int, advance: Advance) -> None:
    """Do a piece of work, which is done at once."""
    advance(1)


def start() -> None:
    """Have processes work; print their ids once they wait for more, and wait to be killed."""
    with working(work, (), range(CHILDREN), CHILDREN) as running:
        running.finish(lambda _: None)
        pids = [one.pid for one in multiprocessing.active_children()]
        sys.stdout.write(f"{' '.join(map(str, pids))}\n")
        sys.stdout.flush()
        time.sleep(60)


def test_idle_processes_end_with_a_parent_that_is_killed() -> None:
    """Nobody else would end them: they wait for work that no one sends any more."""
    arguments = [sys.executable, "-m", __name__]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert pids
        assert all(map(runs, pids))
        os.kill(parent.pid, signal.SIGKILL)
    until(lambda: not any(map(runs, pids)))


if __name__ == "__main__":
    start()
