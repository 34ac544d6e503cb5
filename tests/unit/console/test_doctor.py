"""The doctor finds what is not there, says what to do, and never breaks over it."""

import json
from collections.abc import Mapping

import pytest
from typer.testing import CliRunner

from izin.console import doctor
from izin.console.cli import app
from izin.console.doctor import State
from izin.local import free_port
from izin.runtime import kafka

RUNNER = CliRunner()


@pytest.fixture(autouse=True)
def nothing_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have every address lead nowhere, and no check wait long."""
    port = free_port()
    monkeypatch.setattr(kafka, "_TIMEOUT", 0.2)
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", f"127.0.0.1:{port}")
    monkeypatch.setenv("DATABASE_URL", f"postgresql://izin:not-a-secret@127.0.0.1:{port}/izin")
    monkeypatch.setenv("IYS_BASE_URL", f"http://127.0.0.1:{port}")
    monkeypatch.setenv("IYS_USERNAME", "ada")
    monkeypatch.setenv("IYS_PASSWORD", "not-a-secret")
    monkeypatch.delenv("SCHEMA_REGISTRY_URL", raising=False)


def found(*options: str) -> tuple[int, Mapping[str, Mapping[str, str]], str]:
    """Return the exit code, the findings by check, and all that was printed."""
    shown = RUNNER.invoke(app, ["doctor", "--output", "json", *options])
    return shown.exit_code, {one["check"]: one for one in json.loads(shown.stdout)}, shown.output


@pytest.mark.parametrize("options", [(), ("--fix",)])
def test_what_cannot_be_reached_is_named_with_its_setting(options: tuple[str, ...]) -> None:
    """Each part that is away is one finding with its cure, and no secret is told."""
    code, findings, printed = found(*options)
    assert code == 1
    for check, setting in (
        ("topics", "KAFKA_BOOTSTRAP_SERVERS"),
        ("database", "DATABASE_URL"),
        ("iys", "IYS_BASE_URL"),
    ):
        assert findings[check]["state"] == "wrong"
        assert setting in findings[check]["what"]
    assert findings["registry"]["state"] == "skipped"
    assert "not-a-secret" not in printed


def test_what_is_not_set_is_skipped_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """A part nobody configured is no fault."""
    monkeypatch.delenv("DATABASE_URL")
    monkeypatch.delenv("IYS_USERNAME")
    _, findings, _ = found()
    assert findings["database"]["state"] == findings["iys"]["state"] == "skipped"
    assert "DATABASE_URL" in findings["database"]["what"]
    assert "IYS_USERNAME" in findings["iys"]["what"]


@pytest.mark.parametrize(
    ("name", "value", "check"),
    [
        ("DATABASE_URL", "nonsense", "database"),
        ("IZIN_PARTITIONS", "0", "topics"),
        ("IYS_TIMEOUT", "soon", "iys"),
    ],
)
def test_a_setting_that_cannot_be_is_wrong(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str, check: str
) -> None:
    """A value that makes no sense is a finding of the check that needs it."""
    monkeypatch.setenv(name, value)
    code, findings, _ = found()
    assert code == 1
    assert findings[check]["state"] == "wrong"
    assert name in findings[check]["what"]


@pytest.mark.parametrize(
    ("status", "state"),
    [(401, State.OK), (403, State.WRONG), (404, State.WRONG), (200, State.WRONG)],
)
def test_only_iys_asks_for_a_token(status: int, state: State) -> None:
    """Without a token İYS says 401; any other answer is told with what may be wrong."""
    one = doctor._of_iys("https://iys.example.com", status)
    assert one.state is state
    assert (str(status) in one.what) is (state is State.WRONG)
