"""The intake as a process: started, posted to and stopped."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import httpx
import pytest

from izin.local import free_port
from izin.producers.publishing.publisher import KafkaRecord
from izin.runtime.settings import KafkaSettings
from izin.stack.actors import signups
from tests.integration.producers.intake_process import IntakeProcess, publish_brand_and_key
from tests.support.api_keys import an_api_key, publish_key
from tests.support.builders import BRAND
from tests.support.waiting import until

pytestmark = pytest.mark.broker


@pytest.fixture
def intake(settings: KafkaSettings) -> IntakeProcess:
    publish_brand_and_key(settings)
    return IntakeProcess(settings)


@pytest.fixture
def process(intake: IntakeProcess) -> Iterator[subprocess.Popen[bytes]]:
    with intake.running() as one:
        yield one


@pytest.fixture
def client(process: subprocess.Popen[bytes], intake: IntakeProcess) -> Iterator[httpx.Client]:
    with intake.client() as one:
        yield one


def test_accepted_signups_are_in_kafka(
    client: httpx.Client,
    process: subprocess.Popen[bytes],
    written: Callable[[], Sequence[KafkaRecord]],
):
    """Two hundred made-up signups, posted twice; and SIGTERM ends the process well."""
    made_up = signups(brand=BRAND, now=datetime.now(UTC), seed=7)
    assert len(made_up) == 200
    for signup in [*made_up, *made_up]:
        answer = client.post(
            "/v1/consents",
            content=signup.body,
            headers={
                "Content-Type": signup.content_type,
                "Idempotency-Key": signup.idempotency_key,
            },
        )
        assert answer.status_code == 202, answer.text
        assert answer.json()["events"][0]["status"] == signup.status
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    frames = written()
    assert len(frames) == 400
    ids = {dict(one.headers)["ce_id"] for one in frames}
    assert len(ids) == 200


def test_revoked_key_is_refused_within_two_seconds(client: httpx.Client, settings: KafkaSettings):
    """By an intake that runs, from the record of the revocation on."""
    (signup,) = signups(brand=BRAND, now=datetime.now(UTC), seed=7, count=1)

    def status() -> int:
        headers = {"Content-Type": signup.content_type}
        return client.post("/v1/consents", content=signup.body, headers=headers).status_code

    until(lambda: status() == 202)
    publish_key(settings, an_api_key(revoked_at=datetime.now(UTC)))
    until(lambda: status() == 401, within=2)


_IMPATIENT = """
import sys
from izin.producers import __main__
from izin.kafka.follower import follower

follower._TIMEOUT = 0.1
sys.exit(__main__.main())
"""
"""The intake, which otherwise gives Kafka a quarter of a minute."""


def test_intake_without_kafka_does_not_start():
    """It reports what is wrong and ends with 4."""
    environment = os.environ | {
        "KAFKA_BOOTSTRAP_SERVERS": f"127.0.0.1:{free_port()}",
        "IZIN_INTAKE_PORT": str(free_port()),
        "IZIN_INTAKE_OPERATIONS_PORT": str(free_port()),
    }
    done = subprocess.run(
        [sys.executable, "-c", _IMPATIENT],
        env=environment,
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 4
    assert b"KAFKA_BOOTSTRAP_SERVERS" in done.stderr


@pytest.mark.parametrize("command", [["izin", "intake"], ["izin.producers"]])
@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("IZIN_INTAKE_PORT", None, "the port is taken; set IZIN_INTAKE_PORT"),
        ("IZIN_INTAKE_HOST", "192.0.2.1", "IZIN_INTAKE_HOST"),
        (
            "IZIN_INTAKE_OPERATIONS_PORT",
            None,
            "the port is taken; set IZIN_INTAKE_OPERATIONS_PORT",
        ),
        ("IZIN_INTAKE_HOST", "nowhere.invalid", "IZIN_INTAKE_HOST"),
        ("IZIN_INTAKE_FIRST_RECEIPTS", "none", "should be a valid integer"),
    ],
)
def test_unusable_settings_are_named(
    settings: KafkaSettings, command: list[str], setting: str, value: str | None, expected: str
):
    """Before any part is reported as running, with the remedy and exit code 4."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        environment = os.environ | {
            "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
            "IZIN_TOPIC_PREFIX": settings.topic_prefix,
            "IZIN_INTAKE_PORT": str(free_port()),
            "IZIN_INTAKE_OPERATIONS_PORT": str(free_port()),
            setting: value or str(taken.getsockname()[1]),
        }
        words = ["izin.cli", *command[1:]] if command[0] == "izin" else command
        done = subprocess.run(
            [sys.executable, "-m", *words],
            env=environment,
            capture_output=True,
            check=False,
            timeout=60,
        )
    printed = (done.stdout + done.stderr).decode().replace("\\", "")
    assert done.returncode == 4, printed
    assert expected in printed
    assert setting in printed
    assert "listening" not in printed
    assert "Traceback" not in printed
