"""A household: kept up with patience, killed by name, ended in reverse order."""

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from izin.local import Backoff, Command, StartError, Supervisor
from tests.support.waiting import until

FOREVER = "import threading; threading.Event().wait()"
QUICK = Backoff(first=timedelta(milliseconds=10), most_in_a_row=3)


@pytest.fixture
def events() -> list[str]:
    return []


@pytest.fixture
def household(events: list[str]) -> Iterator[Supervisor]:
    with Supervisor(backoff=QUICK, on_event=events.append) as supervisor:
        yield supervisor


def a_command(folder: Path, name: str = "worker", code: str = FOREVER) -> Command:
    return Command(name=name, argv=(sys.executable, "-c", code), log=folder / f"{name}.log")


def test_one_that_is_kept_up_comes_back(
    household: Supervisor, tmp_path: Path, events: list[str]
) -> None:
    """A kill -9 is followed by a new start under a new id."""
    child = household.start(a_command(tmp_path), keep_up=True)
    before = child.pid
    household.kill("worker")
    until(lambda: child.is_alive and child.pid != before)
    assert "worker ended with exit code -9; starting it again in 0.01 s" in events


def test_one_that_is_not_kept_up_stays_down(household: Supervisor, tmp_path: Path) -> None:
    """Whoever did not ask for it is not started again."""
    household.start(a_command(tmp_path, "kept"), keep_up=True)
    household.start(a_command(tmp_path, "single"))
    before = household.child("kept").pid
    household.kill("single")
    household.kill("kept")
    until(lambda: household.child("kept").is_alive and household.child("kept").pid != before)
    assert not household.child("single").is_alive


def test_several_start_together_and_those_that_fail_are_gone(
    household: Supervisor, tmp_path: Path
) -> None:
    """Each waits for the other here; where one ends, what was not ready yet ends with it."""
    pair = [
        Command(
            name=name,
            argv=(sys.executable, "-c", f"open({str(tmp_path / name)!r}, 'w'); {FOREVER}"),
            log=tmp_path / f"{name}.log",
            ready=(tmp_path / other).exists,
        )
        for name, other in (("one", "two"), ("two", "one"))
    ]
    household.start_together(*pair, keep_up=True)
    assert all(household.child(name).is_alive for name in ("one", "two"))
    ends = a_command(tmp_path, "ends", "raise SystemExit(3)")
    never = Command(name="ends", argv=ends.argv, log=ends.log, ready=lambda: False)
    with pytest.raises(StartError, match="ended with exit code 3"):
        household.start_together(never, a_command(tmp_path, "late"), keep_up=True)
    assert not household.child("late").is_alive
    assert household.child("one").is_alive


def test_one_that_dies_again_and_again_is_given_up(
    household: Supervisor, tmp_path: Path, events: list[str]
) -> None:
    """The row is bounded; the last event says that it stays down, and quotes its log."""
    mark = tmp_path / "first-run"
    code = (
        f"import pathlib, threading; p = pathlib.Path({str(mark)!r}); "
        "first = not p.exists(); p.touch(); threading.Event().wait() if first else None; "
        "print('no more'); raise SystemExit(4)"
    )
    household.start(a_command(tmp_path, code=code), keep_up=True)
    until(mark.exists)
    household.kill("worker")
    until(lambda: any("4 times in a row; it stays down" in event for event in events))
    assert events[-1].endswith("no more")
    household.tend(time.monotonic() + 3600)
    assert not household.child("worker").is_alive


def test_all_are_stopped_in_reverse_order(household: Supervisor, tmp_path: Path) -> None:
    """Who came last goes first, so nobody loses what it stands on."""
    order = tmp_path / "order"
    code = (
        "import pathlib, signal, sys, threading\n"
        "def end(*_):\n"
        f"    open({str(order)!r}, 'a').write(sys.argv[1] + ' ')\n"
        "    sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, end)\n"
        f"pathlib.Path({str(tmp_path)!r}, sys.argv[1]).touch()\n"
        "threading.Event().wait()\n"
    )
    for name in ("broker", "worker", "console"):
        argv = (sys.executable, "-c", code, name)
        log = tmp_path / f"{name}.log"
        household.start(Command(name=name, argv=argv, log=log, ready=(tmp_path / name).exists))
    household.stop()
    assert order.read_text().split() == ["console", "worker", "broker"]


def test_one_stopped_for_good_is_not_started_again(
    household: Supervisor, tmp_path: Path, events: list[str]
) -> None:
    """A stop by name ends the keeping up."""
    household.start(a_command(tmp_path), keep_up=True)
    household.stop("worker")
    household.tend(time.monotonic() + 3600)
    assert not household.child("worker").is_alive
    assert events == []


def test_a_name_is_borne_by_one_at_a_time(household: Supervisor, tmp_path: Path) -> None:
    """Two of a name could not be told apart; after the first has ended, the name is free."""
    household.start(a_command(tmp_path))
    with pytest.raises(ValueError, match="named worker runs already"):
        household.start(a_command(tmp_path))
    household.stop("worker")
    assert household.start(a_command(tmp_path)).is_alive


def test_one_that_fails_to_start_is_not_left_behind(household: Supervisor, tmp_path: Path) -> None:
    """The error comes through, the process is gone."""
    command = Command(
        name="worker",
        argv=(sys.executable, "-c", FOREVER),
        log=tmp_path / "worker.log",
        ready=lambda: False,
        ready_within=timedelta(milliseconds=50),
    )
    with pytest.raises(StartError):
        household.start(command, keep_up=True)
    assert not household.child("worker").is_alive


def test_the_pause_grows_and_is_bounded() -> None:
    """Doubled with each death in a row, up to the longest; then no more."""
    backoff = Backoff(first=timedelta(seconds=1), longest=timedelta(seconds=3), most_in_a_row=3)
    pauses = [backoff.pause(deaths) for deaths in (1, 2, 3, 4)]
    assert pauses == [timedelta(seconds=1), timedelta(seconds=2), timedelta(seconds=3), None]


def test_a_steady_run_ends_the_row(household: Supervisor, tmp_path: Path) -> None:
    """Deaths far apart never add up to giving up."""
    child = household.start(a_command(tmp_path), keep_up=True)
    for hour in range(1, 2 * QUICK.most_in_a_row):
        child.kill()
        household.tend(time.monotonic() + 3600 * hour)
        household.tend(time.monotonic() + 3600 * hour + 1)
        assert child.is_alive
