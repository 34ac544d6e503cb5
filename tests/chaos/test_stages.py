"""Each stage of ``make chaos`` starts: its campaign itself runs by that command alone."""

import re
import runpy
import sys
from pathlib import Path

import pytest

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
