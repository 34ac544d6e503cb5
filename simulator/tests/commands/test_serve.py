"""The simulator as a process: how it starts, drops connections and stops."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from simulator_harness.client import codes

START = [
    sys.executable,
    "-m",
    "iys_simulator",
    "serve",
    "--port",
    "0",
    "--requests-per-second",
    "0",
]
ACCOUNT = ["--account", "api@example.com:fake:660001"]
BRAND = ["--brand", "660101:660001:Örnek:2020-01-01 00:00:00"]


def started(*options: str, **environment: str) -> tuple[subprocess.Popen[str], str]:
    """Return a simulator that is ready, and its first line."""
    process = subprocess.Popen(
        [*START, *options],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUTF8": "1", **environment},
    )
    return process, process.stdout.readline()


def stopped(process: subprocess.Popen[str]) -> int:
    """Stop the process; return its exit code."""
    process.send_signal(signal.SIGTERM)
    try:
        return process.wait(timeout=10)
    finally:
        process.kill()
        process.stdout.close()


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    """Yield a client of a running simulator, with a token."""
    process, line = started(*ACCOUNT, *BRAND)
    address = line.split()[4]
    right = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
    try:
        with httpx.Client(base_url=address) as client:
            token = client.post("/oauth2/token", json=right).json()["access_token"]
            client.headers["Authorization"] = f"Bearer {token}"
            yield client
    finally:
        assert stopped(process) == 0


def test_serve_prints_when_it_is_ready():
    """One line, with the way to the first account if there is none; the environment is read."""
    process, line = started(IYS_SIMULATOR_RESULT_DELAY="7")
    try:
        assert line.startswith("İYS simulator ready on http://127.0.0.1:")
        assert "--account" in line
        settings = httpx.get(f"{line.split()[4]}/__simulator__/settings").json()
        assert settings["resultDelay"] == 7
    finally:
        assert stopped(process) == 0


def test_restart_keeps_what_the_options_do_not_name(tmp_path: Path):
    """A brand's rights and date, and a subscription, survive the options of the next start."""
    options = [*ACCOUNT, "--state", str(tmp_path / "state.db"), "--brand", "660101:660001:Örnek"]
    key = {"brandCode": 660101, "iysCode": 660001}
    account = {"username": "api@example.com", "password": "fake", "iysCode": 660001}
    facts = {"activatedAt": "2020-01-01 00:00:00", "rights": {"MESAJ": "read"}}
    process, line = started(*options)
    try:
        with httpx.Client(base_url=f"{line.split()[4]}/__simulator__") as admin:
            before = admin.post("/brands", json={**key, **facts}).json()
            admin.post("/accounts", json={**account, "subscription": "CLOSED"})
    finally:
        assert stopped(process) == 0
    process, line = started(*options)
    try:
        with httpx.Client(base_url=line.split()[4]) as http:
            assert http.post("/__simulator__/brands", json=key).json() == before
            token = http.post("/oauth2/token", json={**account, "grant_type": "password"}).json()
            header = {"Authorization": f"Bearer {token['access_token']}"}
            refused = http.get("/sps/660001/brands", headers=header)
            assert codes(refused) == ["H521"]
    finally:
        assert stopped(process) == 0


@pytest.mark.parametrize(("drop", "movements"), [("before", 0), ("after", 1)])
def test_dropped_connection_is_closed_without_a_response(
    http: httpx.Client, drop: str, movements: int
):
    """The client gets no response; after the effect the consent is saved."""
    http.post("/__simulator__/faults", json={"operation": "addV2", "drop": drop})
    consent = {
        "type": "EPOSTA",
        "source": "HS_WEB",
        "recipient": "alici@example.com",
        "status": "ONAY",
        "consentDate": http.get("/__simulator__/health").json()["nowTurkey"],
        "recipientType": "BIREYSEL",
    }
    path = "/v2/sps/660001/brands/660101/consents"
    with pytest.raises(httpx.TransportError):
        http.post(path, json=consent)
    rows = http.get("/__simulator__/movements").text.splitlines()
    assert len(rows) == movements
    again = http.post(path, json=consent)
    assert again.status_code == 200
    assert len(http.get("/__simulator__/movements").text.splitlines()) == 1


@pytest.mark.parametrize("option", [["--account", "api@example.com"], ["--brand", "x:1:Marka"]])
def test_invalid_option_is_explained(option: list[str]):
    """An invalid account or brand ends with a usage error."""
    found = subprocess.run([*START, *option], capture_output=True, text=True, check=False)
    assert found.returncode == 2
    assert option[0] in found.stderr
