"""A sink process is killed amid its work; the next ends it, and nothing is told twice."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime

import pytest

from izin.runtime.settings import IysSettings, KafkaSettings
from izin.sinks.ledger import reads
from izin.sinks.ledger.db.connection import Ledger
from tests.integration.sinks.sink_harness import (
    PASSWORD,
    USERNAME,
    House,
    Twin,
    a_phone,
    onay,
    ret,
    until,
)
from tests.integration.sinks.test_worker import put

pytestmark = [pytest.mark.database, pytest.mark.broker]

PEOPLE = [a_phone(number) for number in range(400)]


def a_process(kafka: KafkaSettings, iys: IysSettings, database_url: str) -> subprocess.Popen[bytes]:
    """Start a sink worker as a process of its own."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    ours = {
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": kafka.topic_prefix,
        "IZIN_PARTITIONS": str(kafka.partitions),
        "DATABASE_URL": database_url,
        "IYS_BASE_URL": iys.base_url,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "100",
        "IYS_RESULT_DELAY": "PT0.3S",
        "IZIN_SINK_PORT": str(port),
        "IZIN_SINK_INTERVAL": "PT0.2S",
        "IZIN_BATCH_SIZE": "20",
        "IZIN_LOG_LEVEL": "warning",
    }
    command = [sys.executable, "-m", "izin.sinks"]
    return subprocess.Popen(command, env={**os.environ, **ours}, stderr=subprocess.DEVNULL)


@pytest.mark.parametrize("kills", [4])
async def test_a_killed_worker_loses_nothing_and_tells_nothing_twice(  # noqa: PLR0917 - fixtures
    house: House,
    ledger: Ledger,
    database_url: str,
    kafka_settings: KafkaSettings,
    iys_settings: IysSettings,
    twin: Twin,
    kills: int,
):
    """Killed again and again, the sinks end with what İYS must hold: each movement once."""
    twin.order("settings", resultDelay=0.2)
    await ledger.fetch("DELETE FROM outbox RETURNING id")
    put(kafka_settings, *house.decided(*(onay(person) for person in PEOPLE)))
    withdrawn = PEOPLE[::4]

    async def told(count: int) -> bool:
        return len(twin.register()) >= count

    for kill in range(kills):
        process = a_process(kafka_settings, iys_settings, database_url)
        try:
            if kill == 1:
                put(kafka_settings, *house.decided(*(ret(one) for one in withdrawn)))
            goal = min(len(PEOPLE), (kill + 1) * 20)
            await until(lambda goal=goal: told(goal), within=40)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait(timeout=10)
    last = a_process(kafka_settings, iys_settings, database_url)
    try:

        async def settled() -> bool:
            lag = await reads.lag(ledger, now=datetime.now(UTC))
            return (
                lag.is_settled
                and all(twin.register().get(one) in (None, "RET") for one in withdrawn)
                and len(twin.register()) >= len(PEOPLE) - len(withdrawn)
            )

        await until(settled, within=60)
    finally:
        last.terminate()
        with suppress(subprocess.TimeoutExpired):
            last.wait(timeout=30)
        ended = last.poll()
        last.kill()
        last.wait(timeout=10)
        assert ended == 0
    held = twin.register()
    for person in PEOPLE:
        told_of = [one["status"] for one in twin.movements(person)]
        assert told_of in (["ONAY"], ["ONAY", "RET"], []), person
        if person not in withdrawn:
            assert held[person] == "ONAY"
        assert (await house.entry(person)).state in {"accepted", "not_needed"}
