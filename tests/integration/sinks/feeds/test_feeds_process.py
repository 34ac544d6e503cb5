"""The feeds as a process: started, read and stopped, or refused with the setting at fault."""

import os
import signal
import socket
import subprocess
import sys

import httpx
import pytest

from izin.local import free_port
from izin.runtime.settings import KafkaSettings
from tests.support.api_keys import AUTHORIZATION
from tests.support.waiting import until

pytestmark = pytest.mark.broker


def environment(settings: KafkaSettings, **others: str) -> dict[str, str]:
    """Return the settings of a process on ports of its own."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_FEEDS_PORT": str(free_port()),
        "IZIN_FEEDS_OPERATIONS_PORT": str(free_port()),
        **others,
    }


def test_feeds_are_served_until_they_are_stopped(settings: KafkaSettings):
    """By the command, with health and metrics for operators; SIGTERM ends it well."""
    given = environment(settings)
    url, operations = (
        f"http://127.0.0.1:{given[name]}"
        for name in ("IZIN_FEEDS_PORT", "IZIN_FEEDS_OPERATIONS_PORT")
    )

    def is_ready() -> bool:
        try:
            return httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    with subprocess.Popen([sys.executable, "-m", "izin.console", "feeds"], env=given) as process:
        try:
            until(is_ready, within=30)
            page = httpx.get(f"{url}/v1/outcomes", headers=AUTHORIZATION, trust_env=False)
            assert (page.status_code, page.json()["items"]) == (200, [])
            metrics = httpx.get(f"{operations}/metrics", trust_env=False).text
            assert 'izin_feeds_requests_total{feed="outcomes",status="200"} 1.0' in metrics
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        finally:
            process.kill()


@pytest.mark.parametrize("command", [["izin.console", "feeds"], ["izin.sinks.feeds"]])
def test_unusable_port_is_named(settings: KafkaSettings, command: list[str]):
    """Before anything is reported as running, with the remedy and exit code 4."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = environment(settings, IZIN_FEEDS_PORT=str(taken.getsockname()[1]))
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env=given,
            capture_output=True,
            check=False,
            timeout=60,
        )
    printed = (done.stdout + done.stderr).decode().replace("\\", "")
    assert done.returncode == 4, printed
    assert "the port is taken; set IZIN_FEEDS_PORT" in printed
