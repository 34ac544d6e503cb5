"""The command `conformance`: its report, its exit codes and its messages."""

import json

import pytest
from typer.testing import CliRunner

from iys_simulator.commands.cli import app
from iys_simulator.conformance import Case, endpoints
from iys_simulator.conformance.builders import success


def run(*words: str):
    """Run the command."""
    return CliRunner().invoke(app, ["conformance", *words])


def test_command_reports_as_table_and_json():
    """Without a base URL it tests a new simulator; exit code 0 where all cases pass."""
    table = run("--only", "/info/city", "--seed", "1")
    assert table.exit_code == 0, table.output
    assert "GET /info/city/{code}" in table.stdout
    found = json.loads(run("--only", "H401", "--output", "json").stdout)
    assert found["summary"]["codes"] == ["H401"]
    assert [case["outcome"] for case in found["cases"]] == ["passed"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--base-url", "http://127.0.0.1:1"], 4),
        (["--only", "nothing"], 2),
        (["--iys-code", "1", "--username", "x"], 2),
    ],
)
def test_command_exits_by_the_reason(words: list[str], code: int):
    """Unreachable, no such case, an incomplete account."""
    assert run(*words).exit_code == code


@pytest.mark.parametrize(
    "elsewhere",
    [
        "https://api.iys.org.tr",
        "https://api.sandbox.iys.org.tr",
        "http://127.0.0.1.example.com:8085",
        "http://127.0.0.1@example.com",
        "//example.com",
        "example.com",
    ],
)
def test_command_refuses_what_is_not_on_this_machine(
    elsewhere: str, monkeypatch: pytest.MonkeyPatch
):
    """Before anything is sent, and whoever's account is given: its cases write consents."""

    def sent(*_: object, **__: object) -> None:
        raise AssertionError

    monkeypatch.setattr("iys_simulator.commands.conformance._run", sent)
    account = ("--username=x", "--password=x", "--iys-code=1", "--brand-code=1")
    for words in ((), account):
        result = run("--base-url", elsewhere, *words)
        assert result.exit_code == 2
        assert "is not on this machine" in " ".join(result.stderr.replace("│", " ").split())


@pytest.mark.parametrize("here", ["127.0.0.1", "localhost", "[::1]"])
def test_command_tests_whatever_is_on_this_machine(here: str):
    """Nothing responds there, which it says: it was tried."""
    assert run("--base-url", f"http://{here}:1").exit_code == 4


def test_command_names_a_failed_setup(monkeypatch: pytest.MonkeyPatch):
    """A refused setting ends the run with a message, not with a traceback."""
    monkeypatch.setattr(
        "iys_simulator.conformance.target._UNLIMITED", {"requestsPerSecond": "none"}
    )
    result = run("--only", "/info/city")
    assert result.exit_code == 1
    assert "cannot be set up: /__simulator__/settings: 400" in result.stderr


def test_command_prints_failures(monkeypatch: pytest.MonkeyPatch):
    """A wrong response is printed with its endpoint, and the exit code is 1."""
    wrong = Case(endpoint=endpoints.CITIES, title="impossible expectation", expected=success(201))
    monkeypatch.setattr("iys_simulator.commands.conformance.all_cases", lambda: (wrong,))
    result = run()
    assert result.exit_code == 1
    assert (
        "failed GET /info/city: impossible expectation: HTTP 201 expected, 200 received"
        in result.stdout
    )
