"""What faults do to a process, and what is noted of it."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.pipeline import Victim
from tests.support.waiting import until


class Running:
    """A process that does nothing for a minute, or ends at once."""

    def __init__(self) -> None:
        self.argv = ["sleep", "60"]
        self.starts = 0
        self.start()

    def start(self) -> None:
        self.starts += 1
        self.process = subprocess.Popen(self.argv)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(10)


@pytest.fixture
def running() -> Iterator[Running]:
    """Yield a process, which is killed afterwards."""
    found = Running()
    yield found
    found.kill()


@pytest.fixture
def victim(running: Running) -> Victim:
    """Return it as a victim that is up."""
    found = Victim(
        name="one",
        part="gate",
        process=lambda: running.process,
        start=running.start,
        kill=running.kill,
        answers=lambda: True,
    )
    found.supervise()
    assert found.is_up
    return found


def state(running: Running) -> str:
    """Return the kernel's letter for the state of the process."""
    stat = Path(f"/proc/{running.process.pid}/stat").read_text(encoding="utf-8")
    return stat.rpartition(")")[2].split()[0]


def test_killed_process_is_started_again(victim: Victim, running: Running):
    """Its end was asked for, so it is not noted; also where it was frozen before."""
    victim.be_frozen(60)
    victim.be_killed()
    assert not victim.is_up
    victim.supervise()
    assert (running.starts, victim.is_up, victim.ends) == (2, False, [])
    victim.supervise()
    assert victim.is_up


def test_process_that_ends_by_itself_is_noted(victim: Victim, running: Running):
    """A gate must not end because Kafka is away."""
    running.kill()
    victim.supervise()
    assert (victim.ends, running.starts) == ([-9], 2)


def test_frozen_process_is_let_go_in_time(victim: Victim, running: Running):
    """Not before, and at once when the campaign is over."""
    victim.be_frozen(60)
    victim.supervise()
    until(lambda: state(running) == "T")
    assert not victim.is_up
    victim.release()
    until(lambda: state(running) != "T")
    victim.be_frozen(0)
    victim.supervise()
    assert victim.is_up
    until(lambda: state(running) != "T")
