"""The gate as a process, on a real broker: started, asked, revoked and stopped.

Senders and the gate: the client, and a file of which a recipient opts out meanwhile.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from izin.gate import server
from izin.gate.state import GateState
from izin.kafka.clients import ensure_topics
from izin.local import free_port
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.server import HttpListeners
from izin.runtime.settings import GateSettings, KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.may_send_api import PATH
from izin.schemas.records import ID
from izin.subscribers import Channel, Gate, Question
from tests.support.builders import API_KEY, AUTHORIZATION, BRAND
from tests.support.order.verdict import committed_records
from tests.support.published import PARTITIONS, GateTopics, a_recipient, key_of, publish_key
from tests.support.waiting import until
from tests.unit.gate.conftest import SENDER, a_question

pytestmark = [pytest.mark.broker, pytest.mark.timeout(90)]


@pytest.fixture
def topics(kafka: str) -> GateTopics:
    """Return topics in which two recipients may be sent to, and an API key."""
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=f"gate-{uuid4().hex[:8]}-", partitions=PARTITIONS
    )
    ensure_topics(settings)
    made = GateTopics(settings)
    made.brand()
    made.pulled(key_of(), datetime.now(UTC))
    made.permit(key_of(1), key_of(2))
    publish_key(settings, SENDER)
    return made


@asynccontextmanager
async def serving(
    settings: KafkaSettings, path: str = "/health/ready"
) -> AsyncIterator[tuple[httpx.AsyncClient, str]]:
    """Serve a gate, from when ``path`` says yes; yield a client, and the URL of the operations
    listener.
    """
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
                await shown(lambda: says_yes(client, path))
                yield client, operations
            finally:
                stopping.set()
                await running


async def shown(effect: Callable[[], Awaitable[bool]], *, within: float = 20) -> None:
    """Return once the effect is there; raises TimeoutError."""
    async with asyncio.timeout(within):
        while not await effect():  # noqa: ASYNC110  # of a server
            await asyncio.sleep(0.02)


async def says_yes(client: httpx.AsyncClient, path: str = "/health/ready") -> bool:
    """Whether the gate says so."""
    try:
        return (await client.get(path)).status_code == 200
    except httpx.TransportError:
        return False


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


async def test_gate_that_still_reads_answers_503(
    topics: GateTopics, monkeypatch: pytest.MonkeyPatch
):
    """It is alive, and says what it waits for; one that cannot read ends with the reason."""

    @contextmanager
    def slow(state: GateState) -> Iterator[None]:
        until(state._stopped.is_set, within=30)
        raise BrokerError("the topic cannot be read")
        yield

    monkeypatch.setattr(GateState, "following", slow)
    running = serving(topics.settings, "/health/live")
    client, operations = await running.__aenter__()
    response = await client.post(PATH, json=a_question())
    assert (response.status_code, response.json()["title"]) == (503, "Starting")
    assert not await says_yes(client)
    assert (await client.get(f"{operations}/health/ready")).json()["gate state"] == "being read"
    with pytest.raises(BrokerError, match="cannot be read"):
        await running.__aexit__(None, None, None)


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


ASKED: Question = {"brand_code": BRAND, "type": Channel.MESAJ}


async def izin(url: object, *words: object) -> tuple[int, str]:
    """Run a command that asks the gate; return its exit code and what it printed."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "izin.cli", *map(str, words)),
        env={**os.environ, "IZIN_GATE_URL": str(url), "IZIN_API_KEY": API_KEY},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode is not None
    return process.returncode, printed.decode()


def receipt_id(path: Path) -> str:
    """Return the id in the receipt beside a file."""
    return str(json.loads(Path(f"{path}.receipt.json").read_bytes())["id"])


async def test_opt_out_after_a_scrub_is_in_the_second_answer(topics: GateTopics, tmp_path: Path):
    """By the client, by both commands, and by the receipts in the topic."""
    path, scrubbed = tmp_path / "list.csv", tmp_path / "list.scrubbed.csv"
    path.write_text(f"telefon\n{a_recipient(1)}\n{a_recipient(2)}\n12\n", "utf-8")
    async with serving(topics.settings) as (http, _), Gate(str(http.base_url), API_KEY) as gate:
        words = ("scrub", path, f"--brand={BRAND}", "--type=MESAJ", "--campaign=spring")
        code, printed = await izin(http.base_url, *words)
        assert code == 0, printed
        assert scrubbed.read_text("utf-8").splitlines()[1:] == [
            f"{a_recipient(1)};yes;registered",
            f"{a_recipient(2)};yes;registered",
            "12;no;invalid-recipient",
        ]
        written = LogPosition(*topics.event(key_of(1)))
        found = [
            (one.may_send, one.reason, one.violation)
            async for one in gate.check(
                [a_recipient(1), a_recipient(2), "12"], **ASKED, at_least=token_of([written])
            )
        ]
        assert found == [
            (False, "opted-out", None),
            (True, "registered", None),
            (False, "not-registered", "H121"),
        ]
        code, printed = await izin(
            http.base_url, "scrub", scrubbed, "--recheck", f"{scrubbed}.receipt.json"
        )
        assert code == 1, printed
        code, printed = await izin(
            *(http.base_url, "may-send", a_recipient(1)),
            *(f"--brand={BRAND}", "--type=MESAJ", "--class=delivery", "--output=json"),
        )
        exempt = json.loads(printed)
    assert (code, exempt["verdicts"][0]["reason"]) == (0, "exempt")
    stopped = tmp_path / "list.scrubbed.stopped.csv"
    assert stopped.read_text("utf-8").splitlines()[1:] == [f"{a_recipient(1)};no;opted-out"]
    named = [receipt_id(scrubbed), receipt_id(stopped)]
    kept = {record["receipt_id"]: record for _, record in receipts(topics)}
    assert kept.keys() == {*named, exempt["receipt"]}
    assert kept[named[0]]["campaign"] == kept[named[1]]["campaign"] == "spring"
    assert (kept[named[0]]["recipients"], kept[named[1]]["recipients"]) == (3, 2)
