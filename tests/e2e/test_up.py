"""``izin up``: the local stack starts, works, and leaves no process behind."""

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.processes import izin, left_behind
from tests.support.waiting import until

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(240)]

PORTS = (
    "kafka",
    "postgres",
    "intake",
    "intake-operations",
    "sink",
    "sink-operations",
    "order",
    "simulator",
)
ANY_PORTS = [word for name in PORTS for word in (f"--{name}-port", "0")]
ENDED_WITHIN = 90


@contextmanager
def a_stack(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Run ``izin up`` until the block ends, also after a failure."""
    process = izin("up", "--state-dir", str(folder), *ANY_PORTS)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if "izin explain" in line:
                break
        else:
            pytest.fail(f"izin up ended: {process.communicate()[1]}")
        yield process
    finally:
        process.kill()
        process.communicate(timeout=ENDED_WITHIN)


def asked(folder: Path, *words: str) -> tuple[int, str]:
    """Run a command with the stack's settings; return exit code and output."""
    lines = (folder / "environment").read_text("utf-8").splitlines()
    settings = dict(line.split("=", 1) for line in lines)
    with izin(*words, **{name: value.strip("'") for name, value in settings.items()}) as process:
        printed, _ = process.communicate(timeout=ENDED_WITHIN)
    return process.returncode, printed


def is_registered(folder: Path) -> bool:
    """Return whether İYS has the consent that was published."""
    code, printed = asked(folder, "explain", "0 (555) 000 00 01", "--output", "json")
    return code == 0 and json.loads(printed)["keys"][0]["state"] == "accepted"


def test_up_works_and_leaves_no_process(tmp_path: Path) -> None:
    """The doctor finds nothing, a consent reaches İYS, Ctrl-C leaves no process behind."""
    folder = tmp_path / "state"
    with a_stack(folder) as process:
        code, findings = asked(folder, "doctor", "--output", "json")
        assert code == 0, findings
        assert {one["state"] for one in json.loads(findings)} == {"ok", "skipped"}
        words = ("--brand=100001", "--type=MESAJ", "--status=ONAY", "--source=HS_WEB")
        code, _ = asked(folder, "publish", *words, "--recipient=0555 000 00 01")
        assert code == 0
        until(lambda: is_registered(folder), within=60)
        process.send_signal(signal.SIGINT)
        assert process.wait(ENDED_WITHIN) == 0
    assert list(left_behind(tmp_path)) == []


def test_up_killed_leaves_no_process_and_restarts(tmp_path: Path) -> None:
    """After kill -9 every process ends by itself; a second run on the folder is refused."""
    folder = tmp_path / "state"
    with a_stack(folder) as process:
        with izin("up", "--state-dir", str(folder), *ANY_PORTS) as second:
            _, messages = second.communicate(timeout=ENDED_WITHIN)
        assert second.returncode == 4
        assert "--state-dir" in messages
        assert asked(folder, "brands", "list")[0] == 0
        process.kill()
        process.wait(ENDED_WITHIN)
        until(lambda: not list(left_behind(tmp_path)), within=60)
    with a_stack(folder) as process:
        assert asked(folder, "doctor")[0] == 0
        os.kill(process.pid, signal.SIGTERM)
        assert process.wait(ENDED_WITHIN) == 0
    assert list(left_behind(tmp_path)) == []
