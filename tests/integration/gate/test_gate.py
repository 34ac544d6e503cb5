"""What the gate knows, from a real broker: whatever was acknowledged, decided or not.

The gate as a process, on a real broker: started, asked, revoked and stopped.

Senders and the gate: the client, and a file of which a recipient opts out meanwhile.
"""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from izin.consent import Channel, ConsentKey, RecipientType, Status
from izin.consent.may_send import PermissionReason
from izin.gate import server
from izin.gate.state import ForeignTokenError, GateState, KeyFacts
from izin.kafka.clients import ensure_topics
from izin.local import free_port
from izin.local.processes import answers
from izin.runtime.errors import BrokerError
from izin.runtime.settings import GateSettings, KafkaSettings
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.may_send_api import PATH
from izin.schemas.partitioning import partition_of
from izin.schemas.records import ID
from izin.subscribers import Gate, Question
from tests.support.builders import API_KEY, BRAND, CUSTOMER, NOON, a_phone
from tests.support.order.verdict import committed_records
from tests.support.published import (
    PARTITIONS,
    GateTopics,
    a_permission,
    following,
    key_of,
    publish_key,
    says_yes,
    shown,
)
from tests.support.servers.http import served
from tests.support.waiting import until
from tests.unit.gate.conftest import SENDER, a_question

pytestmark = pytest.mark.broker

LATER = NOON + timedelta(hours=1)
NUMBERS = count(1000, 10)


@pytest.fixture(scope="module")
def topics(kafka: str) -> GateTopics:
    """Return a writer of the topics of the gate that the tests of this module share."""
    settings = KafkaSettings(
        bootstrap_servers=kafka, topic_prefix=f"gate-{uuid4().hex[:8]}-", partitions=PARTITIONS
    )
    ensure_topics(settings)
    return GateTopics(settings)


@pytest.fixture(scope="module")
def state(topics: GateTopics) -> Iterator[GateState]:
    """Yield a state that follows, before which something was written."""
    topics.brand()
    topics.pulled(key_of(1), NOON)
    topics.permit(key_of(1), key_of(2), key_of(3), at=NOON)
    topics.deny(key_of(2), reason="void")
    topics.opt_out(key_of(3), at=LATER)
    topics.erase(key_of(4))
    with following(topics.settings) as one:
        yield one


@pytest.fixture
def key(topics: GateTopics, state: GateState) -> ConsentKey:
    """Return a key of its own that may be sent to."""
    one = key_of(next(NUMBERS))
    topics.permit(one, at=NOON)
    shown(lambda: says_yes(state.of_key(one)))
    return one


def is_closed(state: GateState, key: ConsentKey) -> bool:
    """Whether an opt-out closes the key."""
    return state.of_key(key).opted_out


def home(key: ConsentKey) -> int:
    """Return the partition of a key."""
    return partition_of(key.encode(), PARTITIONS)


def test_what_was_there_before_is_known(state: GateState):
    """The ledger's answers, opt-outs, brands and İYS's data; and everything is current."""
    yes, void, opted_out, erased = (state.of_key(key_of(one)) for one in range(1, 5))
    assert yes == KeyFacts(
        reason=PermissionReason.REGISTERED, opted_out=False, retailers=frozenset()
    )
    assert void.reason is PermissionReason.VOID
    assert opted_out.opted_out
    assert erased.reason is PermissionReason.NOT_REGISTERED
    brand = state.brand(BRAND)
    assert brand is not None
    assert (brand.customer_id, brand.status, brand.suspension) == (CUSTOMER, "active", None)
    assert (state.brand(1), list(state.brands())) == (None, [BRAND])
    assert state.iys_pulled_at(BRAND, Channel.MESAJ) == NOON
    assert state.iys_pulled_at(BRAND, Channel.ARAMA) is None
    assert state.faults() == {}
    assert all(state.is_current(one) for one in range(PARTITIONS))


def test_suspension_of_a_brand_is_followed(state: GateState, topics: GateTopics):
    """With the operator's reason, until it ends."""
    topics.brand(suspension="complaint 17")
    shown(lambda: getattr(state.brand(BRAND), "suspension", None) == "complaint 17")
    topics.brand()
    shown(lambda: getattr(state.brand(BRAND), "suspension", "") is None)


def test_recipient_types_are_keys_of_their_own(state: GateState, topics: GateTopics):
    """Whoever asks puts them together: of nothing known, the reason differs."""
    merchant = key_of(1, recipient_type=RecipientType.TACIR)
    assert state.of_key(merchant).reason is PermissionReason.REGISTER_FIRST
    topics.event(merchant)
    shown(lambda: is_closed(state, merchant))
    assert says_yes(state.of_key(key_of(1)))


@pytest.mark.parametrize("status", ["RET", " ret", "R\0et"])
def test_undecided_opt_out_closes(
    status: str, state: GateState, topics: GateTopics, key: ConsentKey
):
    """On either lane, however it is spelt, while the order stage does not run."""
    topics.event(key, status, lane=topics.topics.events)
    shown(lambda: is_closed(state, key), within=2)
    assert state.counts().undecided >= 1


def test_applied_opt_out_stays_when_released(state: GateState, topics: GateTopics, key: ConsentKey):
    """Until a consent that is newer: the ledger that is behind it opens nothing."""
    topics.event(key)
    shown(lambda: is_closed(state, key))
    before = state.counts().undecided
    topics.opt_out(key, at=LATER)
    topics.decide(home(key))
    shown(lambda: state.counts().undecided < before)
    assert is_closed(state, key)
    for reason in ("register-first", "not-registered", "opted-out"):
        topics.deny(key, reason=reason)
        shown(lambda reason=reason: state.of_key(key).reason == reason)  # type: ignore[misc]
        assert is_closed(state, key)
    topics.permit(key, at=NOON)
    topics.permit(last := key_of(next(NUMBERS)))
    shown(lambda: says_yes(state.of_key(last)) and not says_yes(state.of_key(key)))
    topics.permit(key, at=LATER + timedelta(seconds=1))
    shown(lambda: says_yes(state.of_key(key)))


def test_stale_opt_out_is_released(state: GateState, topics: GateTopics, key: ConsentKey):
    """It is older than the consent that İYS holds: the key is as it was."""
    topics.event(key)
    shown(lambda: is_closed(state, key))
    topics.decision(key, at=NOON - timedelta(hours=1), after=NOON)
    topics.decide(home(key))
    shown(lambda: says_yes(state.of_key(key)))


def test_opt_out_behind_a_newer_opt_in_closes(
    state: GateState, topics: GateTopics, key: ConsentKey
):
    """The order stage found it stale, for an opt-in overtook it; but İYS holds an older consent."""
    topics.event(key, consent_date=LATER, received_at=LATER)
    shown(lambda: is_closed(state, key))
    newest = LATER + timedelta(hours=1)
    topics.decision(key, Status.ONAY, at=newest, after=NOON)
    topics.decision(key, at=LATER, after=newest)
    before = state.counts().undecided
    topics.decide(home(key))
    shown(lambda: state.counts().undecided < before)
    assert is_closed(state, key)
    topics.permit(key, at=newest)
    shown(lambda: says_yes(state.of_key(key)))


def test_repartitioned_opt_out_never_opens(state: GateState, topics: GateTopics, key: ConsentKey):
    """A producer keyed it its own way: the record is written again before its place is passed, and
    closes the key until it is decided there.
    """
    stray = (home(key) + 1) % PARTITIONS
    topics.event(key, partition=stray)
    shown(lambda: is_closed(state, key))
    topics.decide(home(key))
    time_passes(state, home(key))
    assert is_closed(state, key), "it is decided on the partition where it is"
    topics.event(key)
    topics.decide(stray)
    time_passes(state, stray)
    assert is_closed(state, key)
    topics.decide(home(key))
    shown(lambda: not is_closed(state, key))


def time_passes(state: GateState, partition: int) -> None:
    """Return once the followed topics were seen read to ends asked for after now."""
    now = time.monotonic()
    keyed = state._keyed
    shown(lambda: all(one.complete_at(partition) > now for one in keyed))
    shown(lambda: state._positions is not None and state._positions.fault is None)


def test_erased_key_is_unknown_but_for_its_opt_out(
    state: GateState, topics: GateTopics, key: ConsentKey
):
    """A tombstone removes what the ledger said, and never an opt-out."""
    other = key_of(next(NUMBERS))
    topics.opt_out(other, at=NOON)
    shown(lambda: is_closed(state, other))
    topics.deny(other, reason="awaiting-iys")
    shown(lambda: state.of_key(other).reason == "awaiting-iys")
    for one in (key, other):
        topics.erase(one)
    shown(lambda: state.of_key(key).reason == "not-registered")
    shown(lambda: is_closed(state, other))


def test_retailers_come_with_the_permission(state: GateState, topics: GateTopics, key: ConsentKey):
    """And go with it."""
    topics.write(
        topics.topics.permissions, [(key, a_permission(key, retailers="66438915,66438916"))]
    )
    shown(lambda: state.of_key(key).retailers == {66438915, 66438916})
    topics.permit(key)
    shown(lambda: state.of_key(key).retailers == frozenset())


def test_unreadable_permission_closes_its_key(
    state: GateState, topics: GateTopics, key: ConsentKey
):
    """It may be a no; and so may a reason of a later release."""
    topics.raw(topics.topics.permissions, key.encode(), b"{}")
    shown(lambda: state.of_key(key).reason is PermissionReason.STALE)
    topics.deny(key, reason="later-reason")
    topics.permit(key)
    shown(lambda: says_yes(state.of_key(key)))
    topics.raw(topics.topics.decisions, key.encode(), b"{}")
    topics.raw(topics.topics.decisions, (last := key_of(next(NUMBERS))).encode(), b"RET")
    shown(lambda: is_closed(state, last))
    assert says_yes(state.of_key(key)), "no opt-out is without the word"
    topics.raw(topics.topics.decisions, key.encode(), b"{RET}")
    shown(lambda: is_closed(state, key))


async def test_token_is_reached_once_the_lanes_are_read(
    state: GateState, topics: GateTopics, key: ConsentKey
):
    """What it names is known by then; of more it is not said, and a foreign one is refused."""
    topic, partition, offset = topics.event(key)
    token = [LogPosition(topic, partition, offset)]
    assert await state.reached(token, 10)
    assert is_closed(state, key)
    assert token[0] in state.positions([partition])
    assert not await state.reached([LogPosition(topic, partition, offset + 1)], 0.05)
    for foreign in (("other", 0, 1), (topic, PARTITIONS, 1)):
        with pytest.raises(ForeignTokenError):
            await state.reached([LogPosition(*foreign)], 1)


@pytest.fixture
def gate_topics(make_settings: Callable[[int], KafkaSettings]) -> GateTopics:
    """Return topics in which two recipients may be sent to, and an API key."""
    made = GateTopics(make_settings(PARTITIONS))
    made.brand()
    made.pulled(key_of(), datetime.now(UTC))
    made.permit(key_of(1), key_of(2))
    publish_key(made.settings, SENDER)
    return made


def serving(
    settings: KafkaSettings, ready: str = "/health/ready"
) -> AbstractAsyncContextManager[tuple[httpx.AsyncClient, str]]:
    """Serve a gate, from when ``ready`` says yes, to a client; with the URL for operators."""
    gate = GateSettings(port=free_port(), operations_port=free_port())
    return served(gate, partial(server.run, settings, gate, Codec()), ready=ready)


async def verdict(client: httpx.AsyncClient, number: int, **more: object) -> str:
    """Return the reason of the verdict on a recipient."""
    response = await client.post(PATH, json=a_question(recipients=[a_phone(number)], **more))
    assert response.status_code == 200, response.text
    (one,) = response.json()["verdicts"]
    return str(one["reason"])


def receipts(gate_topics: GateTopics) -> list[tuple[str, dict[str, Any]]]:
    """Return the receipts in the topic: the id of the CloudEvent, and the record."""
    found = []
    for message in committed_records(gate_topics.settings, gate_topics.topics.gate_receipts.name):
        record = dict(Codec().decode("GateReceipt", message.value() or b""))
        assert message.key() == record["receipt_id"].encode()
        found.append((str(dict(message.headers() or [])[ID], "ascii"), record))  # type: ignore[arg-type]
    return found


async def test_gate_answers_by_what_is_in_kafka(gate_topics: GateTopics):
    """Also at once what was written to an input topic; with its receipt, and warnings."""
    async with serving(gate_topics.settings) as (client, operations):
        assert await verdict(client, 1) == "registered"
        assert await verdict(client, 9) == "not-registered"
        written = LogPosition(*gate_topics.event(key_of(1)))
        assert await verdict(client, 1, at_least=token_of([written])) == "opted-out"
        unread = token_of([written._replace(offset=written.offset + 5)])
        assert await verdict(client, 2, at_least=unread) == "stale"
        assert await verdict(client, 1, message_class="delivery") == "exempt"
        response = await client.post(
            PATH,
            json=a_question(recipients=[a_phone(2), "12"], receipt="decision", campaign="a"),
        )
        receipt_id = response.json()["receipt"]
        found = receipts(gate_topics)
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
    gate_topics: GateTopics, monkeypatch: pytest.MonkeyPatch
):
    """It is alive, and says what it waits for; one that cannot read ends with the reason."""

    @contextmanager
    def slow(state: GateState) -> Iterator[None]:
        until(state._stopped.is_set, within=30)
        raise BrokerError("the topic cannot be read")
        yield

    monkeypatch.setattr(GateState, "following", slow)
    running = serving(gate_topics.settings, "/health/live")
    client, operations = await running.__aenter__()
    response = await client.post(PATH, json=a_question())
    assert (response.status_code, response.json()["title"]) == (503, "Starting")
    assert (await client.get("/health/ready")).status_code == 503
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


def test_gate_is_served_until_it_is_stopped(gate_topics: GateTopics):
    """By the command; SIGTERM ends it well. Its log has the number of keys."""
    given = environment(gate_topics.settings)
    url = f"http://127.0.0.1:{given['IZIN_GATE_PORT']}/health/ready"

    command = [sys.executable, "-m", "izin.cli", "gate"]
    with subprocess.Popen(command, env=given, stderr=subprocess.PIPE) as process:
        try:
            until(lambda: answers(url), within=30)
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


async def test_opt_out_after_a_scrub_is_in_the_second_answer(
    gate_topics: GateTopics, tmp_path: Path
):
    """By the client, by both commands, and by the receipts in the topic."""
    path, scrubbed = tmp_path / "list.csv", tmp_path / "list.scrubbed.csv"
    path.write_text(f"telefon\n{a_phone(1)}\n{a_phone(2)}\n12\n", "utf-8")
    async with (
        serving(gate_topics.settings) as (http, _),
        Gate(str(http.base_url), API_KEY) as gate,
    ):
        words = ("scrub", path, f"--brand={BRAND}", "--type=MESAJ", "--campaign=spring")
        code, printed = await izin(http.base_url, *words)
        assert code == 0, printed
        assert scrubbed.read_text("utf-8").splitlines()[1:] == [
            f"{a_phone(1)};yes;registered",
            f"{a_phone(2)};yes;registered",
            "12;no;invalid-recipient",
        ]
        written = LogPosition(*gate_topics.event(key_of(1)))
        found = [
            (one.may_send, one.reason, one.violation)
            async for one in gate.check(
                [a_phone(1), a_phone(2), "12"], **ASKED, at_least=token_of([written])
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
            *(http.base_url, "may-send", a_phone(1)),
            *(f"--brand={BRAND}", "--type=MESAJ", "--class=delivery", "--output=json"),
        )
        exempt = json.loads(printed)
    assert (code, exempt["verdicts"][0]["reason"]) == (0, "exempt")
    stopped = tmp_path / "list.scrubbed.stopped.csv"
    assert stopped.read_text("utf-8").splitlines()[1:] == [f"{a_phone(1)};no;opted-out"]
    named = [receipt_id(scrubbed), receipt_id(stopped)]
    kept = {record["receipt_id"]: record for _, record in receipts(gate_topics)}
    assert kept.keys() == {*named, exempt["receipt"]}
    assert kept[named[0]]["campaign"] == kept[named[1]]["campaign"] == "spring"
    assert (kept[named[0]]["recipients"], kept[named[1]]["recipients"]) == (3, 2)
