"""The endpoint: what it answers beside verdicts, receipts, and how much at once.

API keys at the gate: who may ask about what.

Receipts are written, or nobody is answered; over a producer in memory.

The page of the gate is correct: its requests are sent, and what it names is there.
"""

import asyncio
import json
import re
import shlex
import threading
from collections import deque
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest
from confluent_kafka import KafkaError, KafkaException

from izin.consent import Channel
from izin.consent.may_send import PermissionReason
from izin.gate import receipts, server, verdicts
from izin.gate.question import FIELDS
from izin.gate.receipts import ReceiptRecord, ReceiptWriter
from izin.gate.server import MAX_BODY
from izin.ledger.history import entries_of, receipt_key
from izin.runtime.errors import BrokerError
from izin.runtime.http_server.problems import JSON_TYPE
from izin.runtime.http_server.shedding import HttpLimits, Shares
from izin.runtime.settings import GateSettings
from izin.schemas.api_keys import ApiKey, Scope
from izin.schemas.consistency_token import positions_of, token_of
from izin.schemas.may_send_api import LONGEST_TEXT, MOST_RECIPIENTS, PATH
from tests.support.builders import (
    API_KEY,
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    EMAIL,
    NOON,
    PHONE,
    a_second_key,
    an_api_key,
    check_refusal,
    known,
)
from tests.support.project_rules import ROOT
from tests.unit.feeds.test_endpoint import problem
from tests.unit.gate.conftest import (
    FOREIGN_BRAND,
    LATER,
    SENDER,
    TOPICS,
    Api,
    a_brand,
    a_question,
    key_facts_of,
    serving,
)

OTHER = "+905550000002"
OPEN = ("/health/live", "/health/ready")
Delivered = Callable[[KafkaError | None, Any], None]


async def test_answer_is_not_stored_by_caches(api: Api):
    """Recipients are personal data."""
    response = await api.ask()
    assert response.headers["cache-control"] == "no-store"
    assert response.headers["content-type"] == "application/json"
    assert set(response.json()) == {"as_of", "receipt", "verdicts"}
    assert response.json()["receipt"] is None
    assert api.metric("izin_gate_requests_total", status="200") == 1
    assert api.metric("izin_gate_verdicts_total", reason="not-registered") == 1
    assert api.metric("izin_gate_request_seconds_count") == 1
    assert api.metric("izin_gate_undecided_opt_outs") == 1


async def test_there_is_no_get(api: Api):
    """A recipient in a query would be in the logs of every proxy."""
    response = await api.client.get(PATH, params={"recipient": PHONE})
    assert response.status_code == 405
    assert PHONE not in response.text
    problem(await api.client.post("/v1/other"), 404, "No such endpoint")


@pytest.mark.parametrize("kind", ["list", "decision"])
async def test_receipt_says_what_was_answered(api: Api, kind: str):
    """With who asked and why; of each recipient, or of all."""
    api.state.put(key_facts_of())
    given = {"campaign": "spring", "basis": "form 7", "retailer_code": 12345678}
    found = await api.answer(recipients=["0555 000 00 01", "12"], receipt=kind, **given)
    assert UUID(found["receipt"]).version == 7
    shared = {
        "receipt_id": found["receipt"],
        "index": None,
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "recipient": None,
        "may_send": None,
        "reason": None,
        "recipients": 2,
        "reasons": {"retailer-not-covered": 1, "not-registered": 1},
        "message_class": "commercial",
        "asked_by": "campaigns",
        "asked_at": LATER,
        "as_of": found["as_of"],
        **given,
    }
    (digest,) = {one.pop("digest") for one in api.receipts.written}
    assert len(digest) == 64
    first = {"index": 0, "recipient": PHONE, "may_send": False, "reason": "retailer-not-covered"}
    second = {"index": 1, "may_send": False, "reason": "not-registered"}
    decisions = [shared | first, shared | second]
    assert api.receipts.written == ([shared] if kind == "list" else decisions)
    assert {one.key for one in api.receipts.records} == {found["receipt"].encode()}
    assert api.metric("izin_gate_receipts_total", kind=kind) == 1


async def test_exempt_message_of_an_unknown_brand_is_kept_for_the_asker():
    """With its customer where it has one alone: the receipt is somebody's."""
    for customers, expected in (({CUSTOMER}, CUSTOMER), ({CUSTOMER, "gamma"}, "")):
        fields = SENDER.to_avro() | {"customers": sorted(customers)}
        async with serving(known(ApiKey.of(fields))) as api:
            await api.answer(brand_code=FOREIGN_BRAND, message_class="delivery")
            (one,) = api.receipts.written
            assert (one["customer_id"], one["may_send"]) == (expected, True)


async def test_nothing_is_answered_without_its_receipt(api: Api):
    """Exempt or not; whoever wants none is answered."""
    api.receipts.is_away = True
    problem(await api.ask(message_class="delivery"), 503, "Not kept")
    problem(await api.ask(receipt="list"), 503, "Not kept")
    assert (await api.ask()).status_code == 200
    assert api.metric("izin_gate_verdicts_total", reason="exempt") == 0


async def test_body_of_a_list_may_be_large_and_no_larger(api: Api):
    """And that of a small question is as small as it says."""
    response = await api.client.post(
        PATH, content=b" " * (MAX_BODY + 1), headers={"content-type": "application/json"}
    )
    problem(response, 413, "Too large")
    many = a_question(recipients=[f"+90555{number:07d}" for number in range(6000)])
    content = json.dumps(many).encode()
    assert len(content) > 64 * 1024
    response = await api.client.post(
        PATH, content=content, headers={"content-type": "application/json"}
    )
    assert len(response.json()["verdicts"]) == 6000


async def test_lists_of_one_key_leave_room_for_others():
    """A body of unknown length counts as a list; a small one as none."""
    text, other = a_second_key(scopes=SENDER.scopes)
    async with serving(known(SENDER, other)) as api:
        object.__setattr__(api.gate, "lists", Shares(2))
        slow = asyncio.Event()

        async def body(event: asyncio.Event | None) -> object:
            if event is not None:
                await event.wait()
            yield json.dumps(a_question()).encode()

        async def ask_list(event: asyncio.Event | None, key: str | None = None) -> httpx.Response:
            headers = {"content-type": "application/json"}
            if key is not None:
                headers["authorization"] = f"Bearer {key}"
            return await api.client.post(PATH, content=body(event), headers=headers)  # type: ignore[arg-type]

        first = asyncio.create_task(ask_list(slow))
        await asyncio.sleep(0.05)
        problem(await ask_list(None), 429, "Too many requests")
        assert (await api.ask()).status_code == 200
        second = asyncio.create_task(ask_list(slow, text))
        await asyncio.sleep(0.05)
        problem(await ask_list(None, text), 503, "Busy")
        slow.set()
        assert [(await one).status_code for one in (first, second)] == [200, 200]
        assert (await ask_list(None)).status_code == 200


async def test_single_question_is_answered_while_a_list_is_judged(api: Api):
    """A list lets others have their turn."""
    ended = []

    async def ask(name: str, recipients: list[str]) -> None:
        await api.answer(recipients=recipients)
        ended.append(name)

    many = [f"+90555{number:07d}" for number in range(5000)]
    async with asyncio.TaskGroup() as group:
        group.create_task(ask("list", many))
        group.create_task(ask("one", [PHONE]))
    assert ended == ["one", "list"]


async def test_key_that_is_revoked_meanwhile_gets_no_answer(api: Api):
    """A list takes its time, and so does a token."""
    given = api.gate.state.positions

    def revoking(partitions: object = None) -> object:
        api.gate.keys.put(SENDER.to_avro() | {"revoked_at": NOON})
        return given(partitions)  # type: ignore[arg-type]

    object.__setattr__(api.state, "positions", revoking)
    problem(await api.ask(recipients=[PHONE, OTHER]), 401, "Not authorised")


async def test_token_is_not_ahead_of_the_verdicts(api: Api):
    """What is read while a list is judged may be in the verdicts; it is not in the token."""
    original = api.state.of_key

    def of_key(key: object) -> object:
        api.state.read += 1
        return original(key)  # type: ignore[arg-type]

    object.__setattr__(api.state, "of_key", of_key)
    found = await api.answer(recipients=[PHONE, OTHER])
    assert {one.offset for one in positions_of(found["as_of"])} == {7}
    assert api.state.read == 9


@pytest.mark.parametrize("customer", [CUSTOMER, "beta"])
@pytest.mark.parametrize("endpoint", [PATH, *OPEN])
@pytest.mark.parametrize("scope", [*Scope, None])
async def test_key_may_ask_what_its_scope_and_customer_say(
    scope: Scope | None, endpoint: str, customer: str
):
    """Every scope, and no key, at every endpoint, for the key's own customer and for another."""
    key = an_api_key(scopes=frozenset({str(scope)}), customers=frozenset({customer}))
    async with serving(known(key)) as api:
        if scope is None:
            del api.client.headers["Authorization"]
        api.state.put(key_facts_of())
        if endpoint in OPEN:
            assert (await api.client.get(endpoint)).status_code == 200
            return
        response = await api.ask()
        if scope is not Scope.ASK:
            media_type = response.headers["content-type"]
            check_refusal(scope, Scope.ASK, (response.status_code, media_type, response.text))
            return
        (one,) = response.json()["verdicts"]
        expected = (True, "registered") if customer == CUSTOMER else (False, "unknown")
        assert (one["may_send"], one["reason"]) == expected


@pytest.mark.parametrize(
    ("cut", "is_known"),
    [
        ({}, True),
        ({"brands": frozenset({BRAND})}, True),
        ({"brands": frozenset({BRAND + 1})}, False),
        ({"channels": frozenset({"MESAJ"})}, True),
        ({"channels": frozenset({"EPOSTA"})}, False),
        ({"customers": frozenset({"beta", CUSTOMER})}, True),
    ],
)
async def test_key_asks_about_what_it_is_cut_to(cut: dict[str, object], is_known: bool):
    """Customers, brands and channels."""
    async with serving(known(an_api_key(scopes=SENDER.scopes, **cut))) as api:
        api.state.put(key_facts_of())
        assert (await api.said())[1] == ("registered" if is_known else "unknown")


async def test_key_in_the_query_or_the_body_is_no_key():
    """It would be in the logs of every proxy."""
    async with serving() as api:
        del api.client.headers["Authorization"]
        text = AUTHORIZATION["Authorization"]
        response = await api.client.post(PATH, json=a_question(), params={"api_key": text})
        assert response.status_code == 401
        assert (await api.ask(api_key=text)).status_code == 401


@pytest.mark.parametrize("brand_code", [FOREIGN_BRAND, 999_999])
async def test_receipt_of_a_brand_outside_the_key_is_the_askers_own(brand_code: int):
    """Nothing of it reaches the history of the brand's customer, nor names whom it was about."""
    async with serving(known(SENDER)) as api:
        await api.ask(brand_code=brand_code, receipt="decision", campaign="spring-sale")
        (written,) = api.receipts.written
        assert (written["customer_id"], written["recipient"]) == (CUSTOMER, None)
        assert (written["may_send"], written["reason"]) == (False, "unknown")
        (whole, own) = entries_of(written)
        assert {whole.key, own.key} == {receipt_key(written["receipt_id"])}
        assert {whole.customer_id, own.customer_id} == {CUSTOMER}


class FakeProducer:
    """Acknowledges in ``poll``, as librdkafka does; ``room`` is that of its queue."""

    def __init__(self, room: int = 1000) -> None:
        self.room = room
        self.fault: KafkaError | None = None
        self.refusal: KafkaError | None = None
        self.is_silent = False
        self.written: list[bytes] = []
        self._waiting: deque[Delivered] = deque()
        self._wake = threading.Event()

    def produce(self, _topic: str, *, value: bytes, on_delivery: Delivered, **_: object) -> None:
        """Enqueue."""
        if self.refusal is not None:
            raise KafkaException(self.refusal)
        if len(self._waiting) >= self.room:
            raise BufferError
        self.written.append(value)
        self._waiting.append(on_delivery)
        self._wake.set()

    def poll(self, timeout: float) -> int:
        """Acknowledge."""
        if not self._wake.wait(timeout) or self.is_silent:
            return 0
        self._wake.clear()
        while self._waiting:
            self._waiting.popleft()(self.fault, None)
        return 1

    def flush(self, _timeout: float) -> int:
        """Be empty."""
        return 0


def some(count: int) -> list[ReceiptRecord]:
    """Return so many receipts."""
    return [ReceiptRecord(b"id", b"%d" % number, []) for number in range(count)]


def writer(*producers: FakeProducer) -> ReceiptWriter:
    """Return a writer that takes these producers one after the other."""
    left = iter(producers)
    return ReceiptWriter(TOPICS.gate_receipts, lambda: next(left))  # type: ignore[arg-type,return-value]


async def test_all_are_acknowledged_though_the_queue_is_small():
    """Whoever writes waits for room."""
    producer = FakeProducer(room=3)
    with writer(producer).open() as one:
        await one.write(some(1200))
        await one.write([])
    assert producer.written == [value for _, value, _ in some(1200)]


async def test_one_that_is_not_acknowledged_fails_all():
    """With Kafka's own words."""
    producer = FakeProducer()
    producer.fault = KafkaError(KafkaError._MSG_TIMED_OUT)
    with writer(producer).open() as one:
        with pytest.raises(BrokerError, match=r"gate-receipts: .*timed out"):
            await one.write(some(2))
        producer.fault = None
        await one.write(some(2))


async def test_kafka_that_says_nothing_is_not_waited_for_long(monkeypatch: pytest.MonkeyPatch):
    """And what it says later is nobody's."""
    monkeypatch.setattr(receipts, "DELIVERED_WITHIN", 0.05)
    producer = FakeProducer()
    producer.is_silent = True
    with writer(producer).open() as one:
        with pytest.raises(BrokerError, match="in time"):
            await one.write(some(1))
        producer.is_silent = False
        producer._wake.set()
        await one.write(some(1))
        await asyncio.sleep(0)


async def test_producer_that_failed_for_good_is_replaced():
    """An idempotent one does, where it lost its place; the next question has its receipt."""
    first, second = FakeProducer(), FakeProducer()
    first.refusal = KafkaError(KafkaError._FATAL, "lost", fatal=True)
    with writer(first, second).open() as one:
        with pytest.raises(BrokerError, match="lost"):
            await one.write(some(1))
        await one.write(some(1))
    assert len(second.written) == 1


async def test_key_of_one_of_forty_customers_learns_of_no_other_brand():
    """Of a hundred brands of forty customers it has verdicts on its own; a brand of another looks
    like one that does not exist.
    """
    key = an_api_key(scopes=frozenset({Scope.ASK.value}))
    async with serving(known(key)) as api:
        api.state.put(key_facts_of())
        for number in range(98):
            customer = f"foreign-{number % 39}"
            brand = a_brand(customer)
            api.state.known_brands[900_000 + number] = brand
            api.state.put(key_facts_of(), brand_code=900_000 + number)
        assert await api.said() == (True, "registered")
        nobody = (await api.ask(brand_code=999_999)).text.replace("999999", "")
        for number in range(98):
            response = await api.ask(brand_code=900_000 + number)
            (one,) = response.json()["verdicts"]
            assert (one["may_send"], one["reason"]) == (False, "unknown")
            assert "foreign" not in response.text
            assert len(response.text.replace(str(900_000 + number), "")) == len(nobody)


PAGE = (ROOT / "docs" / "gate.md").read_text("utf-8")
CURLS = re.findall(r"^curl (.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
(EXAMPLE,) = re.findall(r"200:\n+```json\n(.*?)```", PAGE, re.DOTALL)


def part(title: str) -> str:
    """Return a chapter of the page."""
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


async def test_each_request_is_answered(api: Api):
    """Copied, with a key and a token where they stand; the first as the page shows."""
    api.state.put(key_facts_of())
    api.state.put(key_facts_of(opted_out=True), channel=Channel.EPOSTA, recipient=EMAIL)
    answers = []
    for words in CURLS:
        url, *options = shlex.split(
            words.replace("\\\n", "")
            .replace("$IZIN_API_KEY", API_KEY)
            .replace("$TOKEN", token_of([]))
        )
        given = dict(zip(options[::2], options[1::2], strict=True))
        assert options[1:4:2] == [
            f"Authorization: {AUTHORIZATION['Authorization']}",
            f"Content-Type: {JSON_TYPE}",
        ]
        assert url == f"http://127.0.0.1:{GateSettings().port}{PATH}"
        response = await api.client.post(
            PATH, content=given["-d"], headers={"content-type": JSON_TYPE}
        )
        assert response.status_code == 200, response.text
        answers.append(response.json())
    first, exempt, by_token = answers
    assert first | {"as_of": "…"} == json.loads(EXAMPLE)
    assert exempt["verdicts"][0]["reason"] == "exempt"
    assert exempt["receipt"] == api.receipts.written[0]["receipt_id"]
    assert by_token["verdicts"][0]["reason"] == "registered"


def test_every_reason_is_on_the_page_in_its_order():
    """The order in which they apply, and which are a yes."""
    rows = re.findall(r"^\| `([\w-]+)` \| (yes|no) \|", part("Reasons"), re.MULTILINE)
    assert [name for name, _ in rows] == list(map(str, PermissionReason))
    assert {name for name, said in rows if said == "yes"} == {"exempt", "registered"}


def test_every_field_is_on_the_page():
    """And no other."""
    named = re.findall(r"^\| `(\w+)` \|", part("Fields of a question"), re.MULTILINE)
    assert sorted(named) == sorted(one.name for one in FIELDS)


def test_every_status_is_on_the_page():
    """As the OpenAPI document has them."""
    document = json.loads((ROOT / "docs" / "openapi" / "gate.json").read_text("utf-8"))
    assert set(re.findall(r"^\| (\d{3})", part("Responses"), re.MULTILINE)) == set(
        document["paths"][PATH]["post"]["responses"]
    )


def test_limits_are_those_of_the_code():
    """Numbers that a sender plans with."""
    settings, limits = GateSettings(), HttpLimits()
    said = (
        f"{limits.requests} requests at once",
        f"so {limits.requests // 2} if",
        f"over {server._SMALL_BODY // 1024} KiB",
        f"{server._LISTS} lists at once, {server._LISTS // 2} of one key",
        f"parts of {verdicts._AT_ONCE}",
        f"more than {MOST_RECIPIENTS} recipients",
        f"over {server.MAX_BODY // 2**20} MiB",
        f"up to {LONGEST_TEXT} characters",
        f"up to {int(server.REACHED_WITHIN * 1000)} ms",
        f"{settings.stale_after.total_seconds():.0f} seconds (`IZIN_GATE_STALE_AFTER`)",
        f"127.0.0.1:{settings.port}`",
        f"127.0.0.1:{settings.operations_port}`",
    )
    assert [one for one in said if one not in PAGE] == []
    assert (2 * receipts.DELIVERED_WITHIN, "within ten seconds" in PAGE) == (10, True)
    assert (
        settings.iys_closes_after.total_seconds(),
        settings.iys_warns_after.total_seconds(),
    ) == (
        24 * 3600,
        3600,
    )
