"""The intake on a broker that refuses it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from izin.local import free_port
from izin.runtime.logs import EXIT
from tests.support.secure.broker import PASSWORD, SecureKafka

pytestmark = [pytest.mark.broker, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
WRONG = "obviously-fake-and-wrong"


def test_intake_with_a_wrong_password_ends_and_names_it(secure_kafka: SecureKafka) -> None:
    """It has accepted nothing yet, so it ends at once."""
    ports = {name: str(free_port()) for name in ("IZIN_INTAKE_PORT", "IZIN_INTAKE_OPERATIONS_PORT")}
    ended = subprocess.run(
        [sys.executable, "-m", "izin.producers"],
        cwd=ROOT,
        env={
            **os.environ,
            **ports,
            **secure_kafka.environment(),
            "KAFKA_SASL_PASSWORD": WRONG,
        },
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert ended.returncode == EXIT
    assert "intake start failed" in ended.stderr
    assert "KAFKA_SASL_USERNAME and KAFKA_SASL_PASSWORD" in ended.stderr
    assert WRONG not in ended.stderr
    assert PASSWORD not in ended.stderr
