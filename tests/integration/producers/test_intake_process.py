"""The intake as a process: started, posted to and stopped.

The intake as a process, whose Kafka goes away and comes back.

The intake under more than it can do at once: only the excess is refused, and it says so.

First receipts in real Kafka: one instant for all replicas, whichever of them is killed where.

The real publisher passes the suite.

The directory follows the compacted topic, at the start and later.
"""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import AsyncExitStack, ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import httpx
import pytest

from izin.consent import Consent, ConsentEvent, Status, decide
from izin.kafka.clients import access_of, ensure_topics
from izin.kafka.tables.brand_directory import BrandReader, UnknownBrandError
from izin.local import Kafka, free_port
from izin.producers.intake.first_receipts import ReceiptsFullError
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.new_event import utc_now
from izin.producers.publishing.delivery_errors import UndeliveredError
from izin.producers.publishing.publisher import KafkaPublisher, KafkaRecord, Published
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.records import event_to_avro
from izin.stack.actors import signups
from tests.integration.producers.conftest import IntakeProcess, publish_brand_and_key
from tests.support.builders import (
    API_KEY,
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    an_api_key,
    an_event,
    as_admitted,
)
from tests.support.published import produce, publish_brand, publish_key
from tests.support.servers.http import Reply, connected, request
from tests.support.waiting import until
from tests.unit.producers.test_publishers import PublisherSuite

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


MANY = 500
IDLE = 256


async def post(intake: IntakeProcess, number: int) -> Reply:
    """Post an opt-out of the person of that number."""
    record = {
        "recipient": f"+90555{number:07}",
        "type": "MESAJ",
        "status": "RET",
        "source": "HS_WEB",
        "date_basis": "received",
        "brand_code": BRAND,
    }
    return await request(
        intake.port,
        "POST",
        "/v1/consents",
        json.dumps(record).encode(),
        {**AUTHORIZATION, "Content-Type": "application/json"},
    )


async def is_live(intake: IntakeProcess) -> bool:
    return (await request(intake.port, "GET", "/health/live")).status == 200


@pytest.mark.usefixtures("process")
async def test_posts_at_once_are_accepted_or_refused_as_problems(
    intake: IntakeProcess, written: Callable[[], Sequence[KafkaRecord]]
):
    """What was accepted is in Kafka, what was not is counted and may be sent again."""
    replies, live = await asyncio.gather(
        asyncio.gather(*(post(intake, number) for number in range(MANY))), is_live(intake)
    )
    assert live
    counts = Counter(one.status for one in replies)
    assert set(counts) <= {202, 429, 503}
    assert counts[202] >= MANY // 2
    for one in replies:
        if one.status != 202:
            assert one.headers["content-type"] == "application/problem+json"
            assert int(one.headers["retry-after"]) > 0
    shed = re.findall(r'izin_http_refused_total{reason="(?:full|client)"} (\S+)', intake.metrics())
    assert sum(map(float, shed)) == MANY - counts[202]
    assert len(await asyncio.to_thread(written)) == counts[202]


@pytest.mark.usefixtures("process")
async def test_idle_and_slow_connections_shut_nobody_out(intake: IntakeProcess):
    """Connections that send nothing, half a head, or half a body of a post."""
    half_a_post = (
        f"POST /v1/consents HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {API_KEY}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1000\r\n\r\n["
    )
    async with AsyncExitStack() as stack:
        for sent in ("", "POST /v1/consents HT", half_a_post):
            for _ in range(IDLE):
                one = await stack.enter_async_context(connected(intake.port, source="127.0.0.2"))
                one.writer.write(sent.encode())
            assert await is_live(intake)
            assert (await post(intake, 1)).status == 202


T = TypeVar("T")
SOON = 20.0

Start = Callable[..., ReceiptLog]


@pytest.fixture
def start(settings: KafkaSettings, publisher: KafkaPublisher) -> Iterator[Start]:
    """Yield a function that starts another endpoint's log."""
    with ExitStack() as stack:

        def start(limit: int = 1000) -> ReceiptLog:
            log = ReceiptLog(settings, Codec(), publisher.append, limit=limit, clock=utc_now)
            return stack.enter_context(log.follow())

        yield start


def now() -> datetime:
    """Return the current instant as precisely as the contract has it."""
    at = datetime.now(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def in_turn(ask: Callable[[], T]) -> T:
    """Return what ``ask`` does, asked in one turn of an event loop."""

    async def turn() -> T:
        asked = ask()
        await asyncio.sleep(0)
        return asked

    return asyncio.run(turn())


def test_first_claim_counts_at_every_endpoint(start: Start):
    """At one that starts later too; an id that nobody claimed is unknown."""
    logs, at = [start(), start()], now() - timedelta(minutes=1)
    ids = [str(uuid4()) for _ in range(20)]
    for place, one in enumerate(ids):
        assert logs[place % 2].claim(one, at).result(SOON) == at
    logs.append(start())
    claims = [log.claim(one, at + timedelta(seconds=1)) for one in ids for log in reversed(logs)]
    assert {one.result(SOON) for one in claims} == {at}
    unknown = str(uuid4())
    for log in logs:
        recalled = in_turn(partial(log.recall, [*ids, unknown]))
        found = {one: future.result(SOON) for one, future in recalled.items()}
        assert found == dict.fromkeys(ids, at) | {unknown: None}


def test_concurrent_claims_of_one_id_agree(start: Start):
    """Whoever was first in the partition."""
    logs, at = [start() for _ in range(3)], now() - timedelta(minutes=1)
    for _ in range(20):
        one = str(uuid4())
        claims = [log.claim(one, at + timedelta(seconds=place)) for place, log in enumerate(logs)]
        assert len({claim.result(SOON) for claim in claims}) == 1


def test_receipt_ahead_of_the_broker_counts_from_its_append(start: Start):
    """An endpoint's clock cannot put it ahead."""
    before = now()
    claimed = start().claim(str(uuid4()), before + timedelta(hours=1)).result(SOON)
    assert before <= claimed <= now()


def test_endpoint_at_its_limit_answers_what_it_knows(start: Start):
    """And claims nothing new."""
    log, known, at = start(limit=1), str(uuid4()), now()
    assert log.claim(known, at).result(SOON) <= at
    assert in_turn(partial(log.claim, known, at + timedelta(hours=1))).result(SOON) <= at
    claimed = in_turn(partial(log.claim, str(uuid4()), at))
    with pytest.raises(ReceiptsFullError):
        claimed.result(SOON)


def test_unreadable_record_is_skipped(settings: KafkaSettings, start: Start):
    """It harms no other id."""
    topic = settings.topics.first_receipts.name
    for partition in range(settings.partitions):
        produce(settings, topic, b"rubbish", None, key=b"k", partition=partition)
    at = now() - timedelta(minutes=1)
    assert start().claim(str(uuid4()), at).result(SOON) == at


def test_unacknowledged_record_leaves_the_receipt_unknown(settings: KafkaSettings):
    """The endpoint does not guess."""
    error = UndeliveredError("event-1", "timed out")

    def refuse(_event_id: str, _record: KafkaRecord) -> Future[Published]:
        future: Future[Published] = Future()
        future.set_exception(error)
        return future

    log = ReceiptLog(settings, Codec(), refuse, limit=1, clock=utc_now)
    with log.follow():
        assert log.claim(str(uuid4()), now()).exception(SOON) is error


_KILLED = """
import os, signal, sys
from izin.producers import __main__
from izin.producers.intake.{module} import {name}

def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)

{name}.{step} = die
sys.exit(__main__.main())
"""
"""The intake, which is killed as it comes to a step."""


@contextmanager
def replica(settings: KafkaSettings, script: str | None = None) -> Iterator[httpx.Client]:
    intake = IntakeProcess(settings)
    with intake.running(script=script), intake.client() as client:
        yield client


def post_by_key(client: httpx.Client, status: str, key: str, **fields: str) -> httpx.Response:
    body: dict[str, Any] = {
        "recipient": PHONE,
        "type": "MESAJ",
        "status": status,
        "source": "HS_WEB",
        "brand_code": BRAND,
        **fields,
    }
    return client.post("/v1/consents", json=body, headers={"Idempotency-Key": key})


@pytest.mark.parametrize(
    ("module", "name", "step"),
    [
        pytest.param("first_receipts", "FirstReceipts", "after", id="written-not-read"),
        pytest.param("validation", "RecordValidator", "_settled", id="read-not-published"),
        pytest.param("server", "ClockSkew", "observe", id="published-not-answered"),
    ],
)
def test_ret_stands_whichever_step_a_replica_is_killed_at(  # cases
    settings: KafkaSettings,
    written: Callable[[], Sequence[KafkaRecord]],
    module: str,
    name: str,
    step: str,
):
    """The ONAY is retried through two others, one of which started after it all."""
    publish_brand_and_key(settings)
    live = {"date_basis": "received"}
    script = _KILLED.format(module=module, name=name, step=step)
    with replica(settings, script) as killed, replica(settings) as second:
        with pytest.raises(httpx.TransportError):
            post_by_key(killed, "ONAY", "signup", **live)
        # Of the same second or later: a RET wins a tie.
        assert post_by_key(second, "RET", "leaving").status_code == 202
        assert post_by_key(second, "ONAY", "signup", **live).status_code == 202
        with replica(settings) as third:
            assert post_by_key(third, "ONAY", "signup", **live).status_code == 202
    events = [Codec().decode_event(one.value) for one in written()]
    assert len({one.received_at for one in events if one.status == "ONAY"}) == 1
    assert sum(one.status == "ONAY" for one in events) >= 2
    assert decided(events).status is Status.RET


def decided(events: Sequence[ConsentEvent]) -> Consent:
    state: Consent | None = None
    for one in events:
        state = decide(state, as_admitted(one, datetime.now(UTC))).consent
    assert state is not None
    return state


class TestPublisher(PublisherSuite):
    """Against a real Kafka."""


def test_loaded_directory_has_the_latest_of_each_brand(settings: KafkaSettings):
    """The latest record of each brand counts; one that cannot be read affects no other."""
    assert len(BrandReader(access_of(settings), Codec()).load()) == 0
    value = Codec().encode("ConsentEvent", event_to_avro(an_event()))
    produce(settings, settings.topics.brands.name, value, b"{}", key=b"1")
    for name in ("Old", "New"):
        publish_brand(settings, name=name, activated_at=NOON)
    publish_brand(settings, brand_code=100002)
    produce(settings, settings.topics.brands.name, None, key=b"100002")
    directory = BrandReader(access_of(settings), Codec()).load()
    assert [(one.name, one.activated_at) for one in directory] == [("New", NOON)]


def test_followed_directory_sees_added_and_removed_brands(settings: KafkaSettings):
    """Without a restart."""
    publish_brand(settings)
    with BrandReader(access_of(settings), Codec()).follow() as directory:
        assert directory.get(BRAND).customer_id == CUSTOMER
        publish_brand(settings, brand_code=100002)
        until(lambda: len(directory) == 2)
        produce(settings, settings.topics.brands.name, None, key=str(BRAND).encode())
        until(lambda: len(directory) == 1)
        with pytest.raises(UnknownBrandError):
            directory.get(BRAND)
