"""What the commands of all stages share.

Which faults come in which order, and what is done between them.
What faults do to a process, and what is noted of it.
The reports of the campaigns on virtual time: each fault is in the last lines and the code.
Each stage of ``make chaos`` starts: its campaign itself runs by that command alone.
"""

import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from random import Random
from typing import Any

import pytest

from benchmarks.bars import bars_of
from benchmarks.results import RunReport
from tests.chaos import command
from tests.chaos.days import __main__ as days
from tests.chaos.onboarding import __main__ as onboarding
from tests.chaos.outage import __main__ as outage
from tests.chaos.pipeline import Injection, Victim
from tests.support.waiting import until


def test_progress_without_a_terminal_is_a_line_now_and_then(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    """The first text at once, and then one in ten seconds; standard output is for the report."""
    seconds = count(0, 4)
    monkeypatch.setattr(command.time, "monotonic", lambda: next(seconds))
    with command.showing("starting") as show:
        for number in range(8):
            show(f"{number} files")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert next(line for line in shown.err.splitlines() if "files" in line) == "0 files"
    assert 1 < shown.err.count("files") < 8


async def test_each_kind_comes_before_any_comes_again() -> None:
    """Then by weight; there is time for what is done meanwhile."""
    injection = Injection(weights={"kill": 5, "freeze": 1}, pause=(2, 3), random=Random(1))
    hits: list[str] = []
    pauses: list[float] = []

    async def hit(fault: str) -> str:
        hits.append(fault)
        return "one"

    async def meanwhile(seconds: float) -> None:
        pauses.append(seconds)

    await injection.run(40, hit, meanwhile=meanwhile)
    assert hits[:2] == ["kill", "freeze"]
    assert injection.injected == {"kill": hits.count("kill"), "freeze": hits.count("freeze")}
    assert injection.injected["kill"] > injection.injected["freeze"] > 0
    assert len(pauses) == len(hits) == 40
    assert all(2 <= one <= 3 for one in pauses)


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


UNSEEN: dict[str, Any] = dict.fromkeys(days.DaysVerdict.__dataclass_fields__, 0)
FINE: Mapping[str, Any] = {
    "days": days.DaysVerdict(
        **UNSEEN | {"unexplained": (), "most_tokens_an_hour": 10, "codes": {}}
    ),
    "outage": outage.OutageVerdict(
        keys=1000,
        rejections=2,
        days=10,
        shut_minutes=15,
        confirmed_hours=3,
        swept=1,
        queried=2,
        unexplained=(),
    ),
    "onboarding": onboarding.OnboardingVerdict(
        rows=1000,
        published=700,
        void=200,
        forecast_seconds=400,
        took_seconds=410,
        requests=2000,
        unexplained=(),
    ),
}
REPORTS: Mapping[str, Callable[[Any], RunReport]] = {
    "days": lambda verdict: days.report(verdict, seed=1, sinks=8, seconds=1),
    "outage": lambda verdict: outage.report(verdict, seconds=1),
    "onboarding": lambda verdict: onboarding.report(verdict, seconds=1),
}


def short_figures(
    stage: str, report: RunReport, folder: Path, capsys: pytest.CaptureFixture[str]
) -> set[str]:
    """Return which figures are short in the last lines of a report, as its exit code says."""
    ended = command.conclude(stage, folder, report)
    last = capsys.readouterr().out.splitlines()[-len(bars_of(f"chaos-{stage}")) :]
    short = {line.partition(":")[0] for line in last if line.endswith("short")}
    assert ended.exit_code == bool(short)
    return short


@pytest.mark.parametrize(
    ("stage", "changes", "short"),
    [
        ("days", {}, set()),
        ("days", {"unexplained": ("a key",)}, {"days-unexplained"}),
        ("days", {"most_tokens_an_hour": 11}, {"days-token-calls"}),
        ("outage", {}, set()),
        ("outage", {"shut_minutes": 15.1}, {"outage-shut"}),
        ("outage", {"shut_minutes": None}, {"outage-shut"}),
        ("outage", {"confirmed_hours": None}, {"outage-confirmed"}),
        ("outage", {"unexplained": ("a key",)}, {"outage-unexplained"}),
        ("onboarding", {}, set()),
        ("onboarding", {"forecast_seconds": 360}, {"onboarding-forecast"}),
        ("onboarding", {"unexplained": ("a count",)}, {"onboarding-unexplained"}),
    ],
)
def test_campaign_is_short_for_each_fault_and_ends_with_1(
    stage: str,
    changes: Mapping[str, object],
    short: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each figure is in the last lines."""
    found = REPORTS[stage](replace(FINE[stage], **changes))
    assert short_figures(stage, found, tmp_path, capsys) == short


_MAKEFILE = Path(__file__).parents[2] / "Makefile"
STAGES = sorted(one.parent.name for one in Path(__file__).parent.glob("*/__main__.py"))
OPTIONS = {
    "order": ("--minutes", "0.5", "--rounds", "3"),
    "sink": ("--faults", "30", "--minutes", "1", "--restarts"),
    "gate": ("--faults", "20"),
    "inbound": ("--faults", "20"),
    "webhooks": ("--faults", "20"),
    "days": ("--days", "2"),
}
"""What ``make chaos`` passes on, and what is documented."""


@pytest.mark.parametrize("stage", STAGES)
def test_stage_starts_and_knows_its_options(
    stage: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """As a process does: everything is imported, and an option that it has not is refused."""
    # Where another test has imported it, runpy warns that it may be run twice.
    monkeypatch.delitem(sys.modules, f"tests.chaos.{stage}.__main__", raising=False)

    def exit_code(*options: str) -> object:
        monkeypatch.setattr(sys, "argv", [stage, *options, "--help"])
        with pytest.raises(SystemExit) as ended:
            runpy.run_module(f"tests.chaos.{stage}", run_name="__main__", alter_sys=True)
        return ended.value.code

    assert exit_code(*OPTIONS.get(stage, ()), "--seed", "3", "--folder", "unused") == 0
    assert f"python -m tests.chaos.{stage}" in capsys.readouterr().out
    assert exit_code("--unknown") == 2


def test_make_names_every_stage() -> None:
    """One that is not in the help is run by nobody."""
    (help_,) = re.findall(r"^chaos:.*## (.*)$", _MAKEFILE.read_text("utf-8"), re.MULTILINE)
    named = set(re.findall(r"STAGE=(\w+)", help_)) | set(re.findall(r"the (\w+) stage", help_))
    assert named == set(STAGES)
