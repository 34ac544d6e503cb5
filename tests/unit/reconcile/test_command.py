"""Words that contradict one another, and files that cannot be used, reach no server."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.runtime.plan import Plan, Selection
from tests.support.builders import NOON


def run(words: str) -> tuple[int, str]:
    """Return the exit code of a command, and what it prints."""
    result = CliRunner().invoke(app, words.split())
    return result.exit_code, result.output


@pytest.mark.parametrize(
    "words",
    ["reconcile", "reconcile --execute", "reconcile --execute --plan x.json --ask"],
)
def test_words_that_contradict_are_wrong_usage(words: str) -> None:
    """A comparison needs a brand, an execution its plan alone."""
    assert run(words)[0] == 2


def test_plan_of_a_replay_is_not_executed(tmp_path: Path) -> None:
    """The error names what it is the plan of."""
    path = tmp_path / "plan.json"
    Plan(
        kind="rebuild",
        target="ledger",
        selection=Selection(),
        cluster_id="cluster",
        topics={},
        made_at=NOON,
        by="ada",
    ).write(path)
    code, printed = run(f"reconcile --execute --plan {path}")
    assert (code, "the plan of rebuild ledger" in printed) == (3, True)


def test_file_that_cannot_be_written_ends_the_comparison(tmp_path: Path) -> None:
    """Before anything is compared, and nothing is left."""
    listed = tmp_path / "list.csv"
    listed.write_text("Telefon\n05550000001\n", "utf-8")
    target = tmp_path / "no folder" / "add.csv"
    words = ["subscribers", "compare", str(listed), "--brand", "1", "--type", "MESAJ"]
    result = CliRunner().invoke(app, [*words, "--for-tool", str(target)])
    assert (result.exit_code, "cannot be written" in result.output) == (4, True)
    assert list(tmp_path.iterdir()) == [listed]
