"""The intake as a process, whose Kafka goes away and comes back."""

import json
from collections import Counter
from pathlib import Path

import httpx
import pytest

from izin.local import Kafka, free_port
from izin.runtime.settings import KafkaSettings
from izin.runtime.topic_admin import ensure_topics
from tests.integration.producers.intake_process import IntakeProcess, publish_brand_and_key
from tests.support.waiting import until

pytestmark = pytest.mark.broker


def test_intake_logs_each_outage_of_kafka_once(tmp_path: Path):
    """Once when it is away and once when it is back, in lines of JSON, and readiness follows."""
    log = tmp_path / "intake.log"
    with Kafka(tmp_path / "kafka", free_port()) as kafka:
        settings = KafkaSettings(bootstrap_servers=kafka.bootstrap_servers, partitions=1)
        ensure_topics(settings)
        publish_brand_and_key(settings)
        intake = IntakeProcess(settings)
        with log.open("wb") as stream, intake.running(log=stream) as process:
            kafka.kill()
            until(lambda: "kafka unreachable" in log.read_text("utf-8"))
            assert not intake.is_ready()
            url = f"http://127.0.0.1:{intake.operations_port}/health/ready"
            assert httpx.get(url, trust_env=False).json() == {
                "status": "unavailable",
                "kafka": "does not answer",
            }
            kafka.start()
            until(lambda: "kafka reachable again" in log.read_text("utf-8"))
            until(intake.is_ready)
            process.terminate()
            assert process.wait(20) == 0
    lines = [json.loads(line) for line in log.read_text("utf-8").splitlines()]
    events = Counter(one["event"] for one in lines)
    assert events["kafka unreachable"] == events["kafka reachable again"] == 1
    assert len(lines) <= 30
