"""First receipts in real Kafka: one instant for all replicas, whichever of them is killed where."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx
import pytest

from izin.consent import Consent, ConsentEvent, RefusedEvent, Status, admit, decide
from izin.producers.intake.first_receipts import ReceiptsFullError
from izin.producers.intake.receipt_log import ReceiptLog
from izin.producers.intake.server import utc_now
from izin.producers.publishing.publisher import (
    KafkaPublisher,
    KafkaRecord,
    Published,
    UndeliveredError,
)
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.producers.intake_process import IntakeProcess, publish_brand_and_key
from tests.support.builders import BRAND, PHONE
from tests.support.published import produce

pytestmark = pytest.mark.broker

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
        found = {one: future.result(SOON) for one, future in log.recall([*ids, unknown]).items()}
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
    assert log.claim(known, at + timedelta(hours=1)).result(SOON) <= at
    with pytest.raises(ReceiptsFullError):
        log.claim(str(uuid4()), at).result(SOON)


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


def post(client: httpx.Client, status: str, key: str, **fields: str) -> httpx.Response:
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
        pytest.param("server", "Intake", "_measure", id="published-not-answered"),
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
            post(killed, "ONAY", "signup", **live)
        # Of the same second or later: a RET wins a tie.
        assert post(second, "RET", "leaving").status_code == 202
        assert post(second, "ONAY", "signup", **live).status_code == 202
        with replica(settings) as third:
            assert post(third, "ONAY", "signup", **live).status_code == 202
    events = [Codec().decode_event(one.value) for one in written()]
    assert len({one.received_at for one in events if one.status == "ONAY"}) == 1
    assert sum(one.status == "ONAY" for one in events) >= 2
    assert decided(events).status is Status.RET


def decided(events: Sequence[ConsentEvent]) -> Consent:
    state: Consent | None = None
    for one in events:
        admitted = admit(one, appended_at=datetime.now(UTC))
        assert not isinstance(admitted, RefusedEvent)
        state = decide(state, admitted).consent
    assert state is not None
    return state
