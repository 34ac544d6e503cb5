"""The gate as a process, on a real broker: started, asked, revoked and stopped."""

import asyncio
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import Any

import httpx
import pytest

from izin.gate import server
from izin.gate.state import GateState
from izin.local import free_port
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.settings import GateSettings, KafkaSettings
from izin.schemas.api_keys import ApiKey
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.may_send_api import PATH
from izin.schemas.records import ID
from tests.contract.schemas.topic_settings import set_of_topic
from tests.support.api_keys import AUTHORIZATION, a_second_key, publish_key
from tests.support.builders import BRAND
from tests.support.gate.topics import GateTopics
from tests.support.order.verdict import committed_records
from tests.support.subscribers.published import a_recipient, key_of
from tests.support.waiting import until
from tests.unit.gate.conftest import SENDER, a_question

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]


@asynccontextmanager
async def serving(settings: KafkaSettings) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """Serve a gate that is ready; yield a client, and the URL of the operations listener."""
    given = {"IZIN_GATE_PORT": free_port(), "IZIN_GATE_OPERATIONS_PORT": free_port()}
    gate, stopping = GateSettings.model_validate(given), asyncio.Event()
    with closing(HttpListeners(gate, server="the gate", variables="IZIN_GATE")) as listeners:
        running = asyncio.create_task(server.run(settings, gate, Codec(), listeners, stopping))
        operations = f"http://127.0.0.1:{gate.operations_port}"
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{gate.port}",
            headers=AUTHORIZATION,
            timeout=30,
            trust_env=False,
        ) as client:
            try:
                await shown(lambda: is_ready(client))
                yield client, operations
            finally:
                stopping.set()
                await running


async def shown(effect: Callable[[], Awaitable[bool]], *, within: float = 20) -> None:
    """Return once the effect is there; raises TimeoutError."""
    async with asyncio.timeout(within):
        while not await effect():  # noqa: ASYNC110  # of a server
            await asyncio.sleep(0.02)


async def is_ready(client: httpx.AsyncClient, path: str = "/health/ready") -> bool:
    """Whether the gate says so."""
    try:
        return (await client.get(path)).status_code == 200
    except httpx.TransportError:
        return False


async def is_alive(client: httpx.AsyncClient) -> bool:
    """Whether the gate listens."""
    return await is_ready(client, "/health/live")


async def verdict(client: httpx.AsyncClient, number: int, **more: object) -> str:
    """Return the reason of the verdict on a recipient."""
    response = await client.post(PATH, json=a_question(recipients=[a_recipient(number)], **more))
    assert response.status_code == 200, response.text
    (one,) = response.json()["verdicts"]
    return str(one["reason"])


def receipts(topics: GateTopics) -> list[tuple[str, dict[str, Any]]]:
    """Return the receipts in the topic: the id of the CloudEvent, and the record."""
    found = []
    for message in committed_records(topics.settings, topics.topics.gate_receipts.name):
        record = dict(Codec().decode("GateReceipt", message.value() or b""))
        assert message.key() == record["receipt_id"].encode()
        found.append((str(dict(message.headers() or [])[ID], "ascii"), record))  # type: ignore[arg-type]
    return found


async def test_gate_answers_by_what_is_in_kafka(topics: GateTopics):
    """Also at once what was written to an input topic; with its receipt, and warnings."""
    async with serving(topics.settings) as (client, operations):
        assert await verdict(client, 1) == "registered"
        assert await verdict(client, 9) == "not-registered"
        written = LogPosition(*topics.event(key_of(1)))
        assert await verdict(client, 1, at_least=token_of([written])) == "opted-out"
        unread = token_of([written._replace(offset=written.offset + 5)])
        assert await verdict(client, 2, at_least=unread) == "stale"
        assert await verdict(client, 1, message_class="delivery") == "exempt"
        response = await client.post(
            PATH,
            json=a_question(recipients=[a_recipient(2), "12"], receipt="decision", campaign="a"),
        )
        receipt_id = response.json()["receipt"]
        found = receipts(topics)
        mine = sorted(one for one, record in found if record["receipt_id"] == receipt_id)
        assert mine == [f"{receipt_id}/0", f"{receipt_id}/1"]
        assert {record["reason"] for _, record in found} == {
            "exempt",
            "registered",
            "not-registered",
        }
        health = (await client.get(f"{operations}/health/ready")).json()
        assert health["status"] == "ok"
        assert set(health["warnings"]) == {f"iys {BRAND}/ARAMA", f"iys {BRAND}/EPOSTA"}
        metrics = (await client.get(f"{operations}/metrics")).text
        assert 'izin_gate_verdicts_total{reason="opted-out"} 1.0' in metrics
        assert "izin_gate_keys 2.0" in metrics
        assert "izin_gate_iys_closed_channels 2.0" in metrics


async def test_revoked_key_is_refused_within_two_seconds(topics: GateTopics):
    """Of a gate that has answered it."""
    text, key = a_second_key(scopes=SENDER.scopes)
    publish_key(topics.settings, key)
    async with serving(topics.settings) as (client, _):
        client.headers["Authorization"] = f"Bearer {text}"
        assert await verdict(client, 2) == "registered"
        revoked = ApiKey.of(key.to_avro() | {"revoked_at": datetime.now(UTC)})
        publish_key(topics.settings, revoked)

        async def is_refused() -> bool:
            return (await client.post(PATH, json=a_question())).status_code == 401

        await shown(is_refused, within=2)


@contextmanager
def unwritable(topics: GateTopics) -> Iterator[None]:
    """Have Kafka refuse every receipt as too large."""
    set_largest = partial(
        set_of_topic, topics.settings, topics.topics.gate_receipts.name, "max.message.bytes"
    )
    set_largest("1")
    try:
        yield
    finally:
        set_largest(str(1024 * 1024))


async def test_nothing_is_answered_without_its_receipt(topics: GateTopics):
    """Where Kafka does not take it; without one, questions are answered."""
    async with serving(topics.settings) as (client, _):

        async def is_kept() -> bool:
            response = await client.post(PATH, json=a_question(message_class="delivery"))
            assert response.status_code == 200 or response.json()["title"] == "Not kept"
            return response.status_code == 200

        async def is_refused() -> bool:
            return not await is_kept()

        with unwritable(topics):
            await shown(is_refused)  # the broker takes the setting a little later
            assert await verdict(client, 2) == "registered"
        await shown(is_kept)


async def test_gate_that_still_reads_answers_503(
    topics: GateTopics, monkeypatch: pytest.MonkeyPatch
):
    """It is alive, and says what it waits for; one that cannot read ends with the reason."""

    @contextmanager
    def slow(state: GateState) -> Iterator[None]:
        until(state._sources._stopped.is_set, within=30)
        raise BrokerError("the topic cannot be read")
        yield

    monkeypatch.setattr(GateState, "following", slow)
    given = {"IZIN_GATE_PORT": free_port(), "IZIN_GATE_OPERATIONS_PORT": free_port()}
    gate, stopping = GateSettings.model_validate(given), asyncio.Event()
    with closing(HttpListeners(gate, server="the gate", variables="IZIN_GATE")) as listeners:
        running = asyncio.create_task(
            server.run(topics.settings, gate, Codec(), listeners, stopping)
        )
        async with httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{gate.port}", headers=AUTHORIZATION, trust_env=False
        ) as client:
            await shown(lambda: is_alive(client))
            response = await client.post(PATH, json=a_question())
            assert (response.status_code, response.json()["title"]) == (503, "Starting")
            assert not await is_ready(client)
            operations = f"http://127.0.0.1:{gate.operations_port}/health/ready"
            assert (await client.get(operations)).json()["gate state"] == "being read"
        stopping.set()
        with pytest.raises(BrokerError, match="cannot be read"):
            await running


def environment(settings: KafkaSettings, **others: str) -> dict[str, str]:
    """Return the settings of a process on ports of its own."""
    return {
        **os.environ,
        "KAFKA_BOOTSTRAP_SERVERS": settings.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": settings.topic_prefix,
        "IZIN_PARTITIONS": str(settings.partitions),
        "IZIN_GATE_PORT": str(free_port()),
        "IZIN_GATE_OPERATIONS_PORT": str(free_port()),
        **others,
    }


def test_gate_is_served_until_it_is_stopped(topics: GateTopics):
    """By the command; SIGTERM ends it well. Its log has the number of keys."""
    given = environment(topics.settings)
    url = f"http://127.0.0.1:{given['IZIN_GATE_PORT']}/health/ready"

    def is_up() -> bool:
        try:
            return httpx.get(url, trust_env=False).status_code == 200
        except httpx.TransportError:
            return False

    command = [sys.executable, "-m", "izin.cli", "gate"]
    with subprocess.Popen(command, env=given, stderr=subprocess.PIPE) as process:
        try:
            until(is_up, within=30)
            process.send_signal(signal.SIGTERM)
            logged = process.communicate(timeout=20)[1].decode()
        finally:
            process.kill()
    assert process.returncode == 0
    (line,) = (one for one in logged.splitlines() if "gate state read" in one)
    assert re.search(r"known\W+\d", line)


@pytest.mark.parametrize("command", [["izin.cli", "gate"], ["izin.gate"]])
def test_unusable_port_is_named(topics: GateTopics, command: list[str]):
    """Before anything is reported as running, with the remedy and exit code 4."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        given = environment(topics.settings, IZIN_GATE_PORT=str(taken.getsockname()[1]))
        done = subprocess.run(
            [sys.executable, "-m", *command],
            env=given,
            capture_output=True,
            check=False,
            timeout=60,
        )
    printed = (done.stdout + done.stderr).decode().replace("\\", "")
    assert done.returncode == 4, printed
    assert "the port is taken; set IZIN_GATE_PORT" in printed
