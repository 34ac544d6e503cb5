"""Every process refuses settings that cannot be used, before it reaches any server."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.typing import EventDict

from izin.consent.errors import OurError
from izin.console.cli import COMMANDS
from izin.runtime.settings import IysSettings
from izin.runtime.start_errors import EXIT, exiting_on_error

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
    "webhooks": "izin.sinks.webhooks",
}


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
def test_sink_worker_in_production_refuses_plain_servers(name: str, value: str) -> None:
    """It is the one that reaches all of them."""
    code, printed = started("sink", {**SERVERS, name: value})
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
