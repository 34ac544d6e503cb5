"""The client of the gate: what is asked, what comes back, and that no answer is a no.

What the subscriber library offers, and what it shows.

What the guard lets out, by the opt-outs that it knows; without Kafka.

Batches grow with a quick caller, and shrink with a slow one.

Where partitions start, although a leader is being elected.
"""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
from confluent_kafka import KafkaError, KafkaException, TopicPartition
from starlette.responses import JSONResponse, Response

from izin import subscribers
from izin.kafka import connections
from izin.kafka.access import KafkaAccess
from izin.kafka.follower import TopicFollower
from izin.local import free_port
from izin.runtime.plain_log import PlainLogger
from izin.schemas.codec import Codec
from izin.subscribers import (
    ApiKeyRefusedError,
    BlockingGate,
    Change,
    ChangeId,
    ChangeKind,
    Channel,
    Gate,
    GateClosedError,
    GateUnavailableError,
    GateVerdict,
    MessageClass,
    NotPermittedError,
    OptedOut,
    PermissionChanged,
    PermissionErased,
    PermissionReason,
    Position,
    Question,
    QuestionRefusedError,
    ReceiptKind,
    Registered,
    SettingError,
    Status,
    UnreadableRecord,
)
from izin.subscribers.changes import KeyFilter
from izin.subscribers.lane import BatchSize, Starts
from izin.subscribers.subscription import OptOutGuard
from tests.support.builders import API_KEY, BRAND, CUSTOMER, NOON, a_key
from tests.support.published import key_of
from tests.support.subscribers.small_gate import SaidOf, SmallGate, problem

ASKED: Question = {"brand_code": BRAND, "type": Channel.MESAJ}
SOON = timedelta(milliseconds=300)
PHONE, OTHER = "0555 000 00 01", "0555 000 00 02"


def gate_of(small: SmallGate, **options: Any) -> Gate:  # noqa: ANN401  # any option
    """Return a client of the small gate, which waits for as long as a busy machine may take."""
    return Gate(small.url, API_KEY, **{"timeout": timedelta(seconds=30), **options})


@pytest.fixture
async def gate(small: SmallGate) -> AsyncIterator[Gate]:
    """Open a client of the small gate."""
    async with gate_of(small) as one:
        yield one


async def verdicts(gate: Gate, recipients: list[str], **more: Any) -> list[GateVerdict]:  # noqa: ANN401  # any word
    """Return all verdicts on ``recipients``."""
    return [one async for one in gate.check(recipients, **ASKED, **more)]


async def test_verdict_has_what_the_gate_says(gate: Gate, small: SmallGate):
    """Everything, and the recipient as it was asked about."""
    small.said[OTHER] = SaidOf(reason="not-registered", violation="H121")
    yes = await gate.may_send(PHONE, **ASKED)
    no = await gate.may_send(recipient=OTHER, **ASKED, receipt=ReceiptKind.DECISION)
    assert (yes.recipient, yes.may_send, yes.reason) == (PHONE, True, PermissionReason.REGISTERED)
    assert (yes.violation, yes.receipt, yes.cause) == (None, None, None)
    assert (no.may_send, no.violation, no.as_of) == (False, "H121", small.token)
    assert no.receipt is not None


async def test_every_word_of_a_question_is_sent(gate: Gate, small: SmallGate):
    """Under the names of the API; what is None is left out."""
    await gate.may_send(
        PHONE,
        **ASKED,
        recipient_type="TACIR",
        message_class=MessageClass.INVOICE,
        basis="order 7",
        campaign="spring",
        retailer_code=5,
        receipt="list",
        at_least="token",
    )
    await gate.may_send(PHONE, **ASKED, campaign=None)
    assert small.requests[0] == {
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "TACIR",
        "message_class": "invoice",
        "basis": "order 7",
        "campaign": "spring",
        "retailer_code": 5,
        "receipt": "list",
        "at_least": "token",
        "recipients": [PHONE],
    }
    assert small.requests[1].keys() == {"brand_code", "type", "recipients"}


@pytest.mark.parametrize("words", [{"type": "MESAJ"}, {**ASKED, "kind": "MESAJ"}])
async def test_question_with_wrong_words_is_a_type_error(
    gate: Gate, small: SmallGate, words: dict[str, Any]
):
    """As any call with wrong arguments; nothing is asked."""
    with pytest.raises(TypeError, match=r"brand_code|kind"):
        await gate.may_send(PHONE, **words)
    assert small.requests == []


async def test_one_text_is_no_list(gate: Gate, small: SmallGate):
    """Its characters would be recipients."""
    with pytest.raises(TypeError, match="one text"):
        await anext(gate.check(PHONE, **ASKED))
    assert small.requests == []


async def test_number_is_no_recipient(gate: Gate, small: SmallGate):
    """A database may have phones as numbers; the error quotes none."""
    number: Any = 5550000001
    for asking in (gate.may_send(number, **ASKED), verdicts(gate, [PHONE, number])):
        with pytest.raises(TypeError, match="of type int; give each as a text") as raised:
            await asking
        assert str(number) not in str(raised.value)
    assert small.requests == []


async def test_list_is_asked_about_in_batches_and_kept_in_order(small: SmallGate):
    """Of any length; a batch has a receipt of its own, and nothing is asked about nobody."""
    recipients = [f"recipient-{number}" for number in range(2503)]
    small.said[recipients[1001]] = SaidOf()
    async with gate_of(small, batch=1000) as gate:
        found = await verdicts(gate, recipients, receipt="list")
        assert await verdicts(gate, []) == []
    assert [one.recipient for one in found] == recipients
    assert [one.recipient for one in found if not one.may_send] == [recipients[1001]]
    assert sorted(len(one["recipients"]) for one in small.requests) == [503, 1000, 1000]
    assert len({one.receipt for one in found}) == 3


async def test_recipients_may_come_from_an_asynchronous_source(gate: Gate):
    """Such as the cursor of a database."""

    async def source() -> AsyncIterator[str]:
        for one in (PHONE, OTHER):
            await asyncio.sleep(0)
            yield one

    found = [one.recipient async for one in gate.check(source(), **ASKED)]
    assert found == [PHONE, OTHER]


async def test_batch_of_long_texts_is_smaller(small: SmallGate):
    """No request is larger than the gate takes, whatever is in the column."""
    async with gate_of(small, most_requests=1) as gate:
        await verdicts(gate, ["ş" * 1_100_000] * 3)
    assert [len(one["recipients"]) for one in small.requests] == [2, 1]


async def test_recipient_of_half_characters_spoils_no_list(gate: Gate, small: SmallGate):
    """JSON cannot carry it; the others are asked about as they are."""
    broken = "0555\udc9f"
    small.said["0555?"] = SaidOf(reason="not-registered", violation="H121")
    found = await verdicts(gate, [broken, "ş"])
    assert [(one.recipient, one.may_send) for one in found] == [(broken, False), ("ş", True)]


async def test_few_batches_of_an_endless_list_are_read_ahead(small: SmallGate):
    """So that memory is bounded, however slow the reader is; leaving early is no error."""
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield f"recipient-{read}"

    async with gate_of(small, batch=10, most_requests=3) as gate:
        async for answer in gate.check_lists(endless(), **ASKED):
            assert len(answer.verdicts) == 10
            break
    assert read == 30


def answering(**fields: object) -> JSONResponse:
    """Return an answer with one verdict, a yes but for ``fields``."""
    verdict = {"recipient": PHONE, "may_send": True, "reason": "registered"} | fields
    return JSONResponse({"as_of": "t", "receipt": None, "verdicts": [verdict]})


NO_ANSWER: dict[str, tuple[Callable[[], Response], str]] = {
    "no JSON": (lambda: Response("<html>"), "unreadable"),
    "no object": (lambda: JSONResponse([]), "unreadable"),
    "too few": (
        lambda: JSONResponse({"as_of": "t", "receipt": None, "verdicts": []}),
        "unreadable",
    ),
    "redirect": (
        lambda: Response(status_code=302, headers={"Location": "/elsewhere"}),
        "unreadable",
    ),
    "too long": (lambda: Response(b" " * 100_000), "too long"),
    "deep": (lambda: Response(b"[" * 16_000), "unreadable"),
    "of another": (lambda: answering(recipient=OTHER), "unreadable answer"),
    "a text for yes": (lambda: answering(may_send="true"), "unreadable answer"),
    "a number for yes": (lambda: answering(may_send=1), "unreadable answer"),
    "no reason": (lambda: answering(reason=None), "unreadable answer"),
    "busy for long": (
        lambda: problem(503, "not caught up", Retry_After="30"),
        "status 503: not caught up",
    ),
}
"""With the cause that is given."""


@pytest.mark.parametrize(("answer", "cause"), NO_ANSWER.values(), ids=NO_ANSWER)
async def test_what_is_no_answer_is_a_no(
    gate: Gate, small: SmallGate, answer: Callable[[], Response], cause: str
):
    """A verdict must be of whom was asked about, and a Boolean. It is not asked again, nor where
    the gate wants to be asked after the time is over.
    """
    small.instead.append(answer())
    found = await gate.may_send(PHONE, **ASKED)
    assert (found.may_send, found.reason) == (False, PermissionReason.STALE)
    assert cause in str(found.cause)
    assert len(small.requests) == 1


async def test_reason_of_a_later_release_is_kept_as_text(gate: Gate, small: SmallGate):
    """What may be sent is said by ``may_send`` alone."""
    small.said[PHONE] = SaidOf(may_send=True, reason="newer")
    found = await gate.may_send(PHONE, **ASKED)
    assert (found.may_send, found.reason) == (True, "newer")


async def test_silent_gate_is_a_no_in_time(small: SmallGate):
    """For one recipient and for a list."""
    small.instead.extend([30.0, 30.0])
    async with gate_of(small, timeout=SOON, list_timeout=SOON) as gate:
        one = await gate.may_send(PHONE, **ASKED)
        found = await verdicts(gate, [PHONE, OTHER])
    assert (one.may_send, one.reason, one.cause) == (False, PermissionReason.STALE, "timed out")
    assert [(each.may_send, each.cause) for each in found] == [(False, "timed out")] * 2


async def test_batch_without_an_answer_leaves_the_others(small: SmallGate):
    """They have theirs."""
    small.instead.append(Response("<html>"))
    async with gate_of(small, batch=1, most_requests=1) as gate:
        found = await verdicts(gate, [PHONE, OTHER])
    assert [(one.may_send, one.cause is None) for one in found] == [(False, False), (True, True)]


async def test_unreachable_gate_is_a_no_or_is_raised():
    """As the caller wants it."""
    url = f"http://127.0.0.1:{free_port()}"
    async with Gate(url, API_KEY, timeout=SOON) as gate:
        found = await gate.may_send(PHONE, **ASKED)
    assert (found.may_send, found.cause) == (False, "unreachable (ConnectError)")
    async with Gate(url, API_KEY, timeout=SOON, raise_unavailable=True) as gate:
        with pytest.raises(GateUnavailableError, match="send nothing"):
            await gate.may_send(PHONE, **ASKED)


@pytest.mark.parametrize("status", [408, 429, 500, 503])
async def test_busy_gate_is_asked_again(gate: Gate, small: SmallGate, status: int):
    """Until the time is over."""
    small.instead.extend([problem(status, "busy")] * 2)
    assert (await gate.may_send(PHONE, **ASKED)).may_send
    assert len(small.requests) == 3


@pytest.mark.parametrize(
    ("status", "error"),
    [
        (401, ApiKeyRefusedError),
        (403, NotPermittedError),
        (400, QuestionRefusedError),
        (404, QuestionRefusedError),
        (413, QuestionRefusedError),
        (422, QuestionRefusedError),
    ],
)
async def test_refusal_is_raised_with_what_the_gate_says(
    small: SmallGate, status: int, error: type[Exception]
):
    """Also where no answer would be a no: a person must act."""
    small.instead.append(problem(status, "what to do"))
    async with gate_of(small) as gate:
        with pytest.raises(error, match="what to do"):
            await gate.may_send(PHONE, **ASKED)
    small.instead.append(Response(status_code=status))
    async with gate_of(small) as gate:
        with pytest.raises(error):
            await verdicts(gate, [PHONE])


@pytest.mark.parametrize(
    ("url", "key", "options"),
    [
        ("gate.example.com", API_KEY, {}),
        ("http://user:secret@gate.example.com", API_KEY, {}),
        ("http://gate.example.com:port", API_KEY, {}),
        ("https://", API_KEY, {}),
        ("https://gate.example.com", " ", {}),
        ("https://gate.example.com", "anahtar-ı", {}),
        ("https://gate.example.com", API_KEY, {"batch": 100_001}),
        ("https://gate.example.com", API_KEY, {"most_requests": 0}),
        ("https://gate.example.com", API_KEY, {"timeout": timedelta()}),
        ("https://gate.example.com/v1/may-send", API_KEY, {}),
    ],
)
def test_gate_with_wrong_options_cannot_be_made(url: str, key: str, options: dict[str, Any]):
    """The error quotes no secret."""
    with pytest.raises(SettingError) as raised:
        Gate(url, key, **options)
    assert "secret" not in str(raised.value)
    assert key.strip() not in str(raised.value) or not key.strip()


@pytest.mark.parametrize("name", ["timeout", "list_timeout"])
def test_time_in_seconds_is_a_type_error(name: str):
    """It names the argument, and what to give."""
    options: dict[str, Any] = {name: 0.5}
    with pytest.raises(TypeError, match=rf"^{name} is of type float; give a timedelta"):
        Gate("https://gate.example.com", API_KEY, **options)


async def test_authorities_that_cannot_be_read_are_refused(tmp_path: Path):
    """With the name of the argument."""
    with pytest.raises(SettingError, match="ca_file"):
        await Gate("https://gate.example.com", API_KEY, ca_file=tmp_path / "none").__aenter__()


async def test_gate_that_is_not_open_is_an_error(small: SmallGate):
    """Before it was entered, and after it was left."""
    gate = gate_of(small)
    with pytest.raises(GateClosedError):
        await gate.may_send(PHONE, **ASKED)
    async with gate:
        pass
    with pytest.raises(GateClosedError):
        await gate.may_send(PHONE, **ASKED)


async def test_nothing_shows_a_recipient_or_the_key(gate: Gate, caplog: pytest.LogCaptureFixture):
    """No representation, no error, no log of ours."""
    caplog.set_level(logging.DEBUG, logger="izin")
    verdict = await gate.may_send(PHONE, **ASKED)
    (answer,) = [one async for one in gate.check_lists([PHONE], **ASKED)]
    for shown in (repr(verdict), repr(answer), repr(gate), caplog.text):
        assert PHONE not in shown
        assert API_KEY not in shown


def test_blocking_gate_answers_as_the_other_does(small: SmallGate):
    """One recipient, lists, and a list that is left early."""
    small.said[OTHER] = SaidOf()
    with BlockingGate(gate_of(small, batch=1)) as gate:
        assert gate.may_send(PHONE, **ASKED).may_send
        found = [one.may_send for one in gate.check([PHONE, OTHER, PHONE], **ASKED)]
        assert found == [True, False, True]
        answers = list(gate.check_lists([PHONE, OTHER], **ASKED, receipt=ReceiptKind.LIST))
        assert [one.verdicts[0].may_send for one in answers] == [True, False]
        assert None not in {one.receipt for one in answers}
        early = gate.check(iter([PHONE] * 100), **ASKED)
        assert next(early).may_send
    with pytest.raises(GateClosedError):
        gate.may_send(PHONE, **ASKED)
    early.close()


def test_blocking_gate_raises_where_it_is_entered(tmp_path: Path):
    """And leaves no thread behind."""
    gate = BlockingGate(Gate("https://gate.example.com", API_KEY, ca_file=tmp_path / "none"))
    with pytest.raises(SettingError), gate:
        pass
    with pytest.raises(GateClosedError):
        list(gate.check([PHONE], **ASKED))


KEY = key_of(1)
ENVELOPE = {"id": ChangeId("test", "1"), "occurred_at": NOON, "position": Position("topic", 0, 0)}
YES = PermissionChanged(
    **ENVELOPE,
    key=KEY,
    customer_id=CUSTOMER,
    may_send=True,
    reason="registered",
    desired=Status.ONAY,
    registered=Registered.ONAY,
    registered_at=NOON,
    consent_date=NOON,
    since=NOON,
)
OUT = OptedOut(
    **ENVELOPE,
    key=KEY,
    customer_id=CUSTOMER,
    opted_out_at=NOON,
    origin="iys",
    source=None,
    event_id="event-1",
)
PLACE = TopicPartition("permissions", 0)


def test_exported_names_are_these():
    """A change of them is a change for other teams: name it in the changelog."""
    assert set(subscribers.__all__) == {
        *("ApiKeyRefusedError", "BlockingGate", "Gate", "GateAnswer", "GateClosedError"),
        *("GateUnavailableError", "MessageClass", "NotPermittedError", "Question"),
        *("QuestionRefusedError", "ReceiptKind", "GateVerdict"),
        *("Answer", "BrokerError", "Change", "ChangeId", "ChangeKind", "Channel"),
        *("CheckpointLostError", "CheckpointStore", "ConfirmationOrderError", "ConsentKey"),
        *("KafkaAccess", "OptedOut", "OutcomeKind", "OutcomeReached", "PermissionChanged"),
        *("PermissionErased", "PermissionList", "PermissionReason", "Position", "RecipientType"),
        *("Registered", "RegistryError", "SettingError", "Status", "UnconfirmedChangesError"),
        *("UnreadableRecord", "subscribe"),
    }
    assert all(hasattr(subscribers, one) for one in subscribers.__all__)


async def test_change_made_by_hand_can_be_confirmed():
    """So that a caller's own tests need no Kafka."""
    await Change(id=ChangeId("/izin", "1"), occurred_at=NOON, position=Position("t", 0, 7)).done()


def test_no_representation_shows_a_recipient():
    """Changes end up in logs and in tracebacks."""
    change = UnreadableRecord(
        id=ChangeId("/izin", "1"),
        occurred_at=NOON,
        position=Position("permissions", 0, 7),
        kind=subscribers.ChangeKind.PERMISSIONS,
        key=a_key(),
        reason="not a Permission",
        value=a_key().encode(),
    )
    assert a_key().recipient not in repr(change)


@pytest.mark.parametrize("level", ["info", "warning", "error"])
def test_log_event_has_its_fields_behind_it(level: str, caplog: pytest.LogCaptureFixture):
    """As text, for nobody set up this library's logging."""
    caplog.set_level(logging.INFO)
    getattr(PlainLogger("izin.test"), level)("topic not read", topic="permissions", offset=7)
    (record,) = caplog.records
    assert record.levelname == level.upper()
    assert record.getMessage() == "topic not read topic=permissions offset=7"


def test_disabled_level_costs_no_text(caplog: pytest.LogCaptureFixture):
    """Nothing is written, and nothing is formatted."""
    caplog.set_level(logging.ERROR)
    PlainLogger("izin.test").info("topic read")
    assert caplog.records == []


@pytest.fixture
def ages(monkeypatch: pytest.MonkeyPatch) -> list[float | None]:
    """Return a list whose last value is for how long the opt-outs were not seen complete."""
    found: list[float | None] = [0.0]
    monkeypatch.setattr(TopicFollower, "age", lambda _: found[-1])
    return found


@pytest.fixture
def guard() -> OptOutGuard:
    """Return a guard that never reads anything."""
    return OptOutGuard(KafkaAccess(bootstrap_servers="127.0.0.1:1"), Codec(), KeyFilter())


@pytest.mark.usefixtures("ages")
def test_delivered_opt_out_denies_at_once(guard: OptOutGuard):
    """Before the topic was read a second time; a newer consent opens the key."""
    assert guard.review(YES) is YES
    assert guard.review(OUT) is OUT
    assert guard.review(YES) == replace(YES, may_send=False, reason="opted-out")
    later = NOON + timedelta(seconds=1)
    newer = replace(YES, registered_at=later, consent_date=later)
    assert guard.review(newer) is newer
    half = replace(newer, consent_date=NOON)
    undated = replace(YES, registered_at=None, consent_date=None)
    for one in (half, undated):
        assert guard.review(one) == replace(one, may_send=False, reason="opted-out")


@pytest.mark.usefixtures("ages")
def test_delivered_unreadable_opt_out_denies(guard: OptOutGuard):
    """Its instant is lost, so it is taken for now. An unreadable permission closes nothing."""
    unreadable = UnreadableRecord(
        **ENVELOPE, kind=ChangeKind.PERMISSIONS, key=KEY, reason="x", value=b""
    )
    assert guard.review(unreadable) is unreadable
    assert guard.review(YES) is YES
    opt_out = replace(unreadable, kind=ChangeKind.OPT_OUTS)
    assert guard.review(opt_out) is opt_out
    assert guard.review(YES) == replace(YES, may_send=False, reason="opted-out")


@pytest.mark.parametrize("age", [None, 60.0])
def test_permission_alone_waits_for_the_opt_outs(
    guard: OptOutGuard, ages: list[float | None], age: float | None
):
    """They were never, or long not, seen complete: what stops comes all the same."""
    ages.append(age)
    assert guard.review(YES) is None
    for one in (OUT, replace(YES, may_send=False), PermissionErased(**ENVELOPE, key=KEY)):
        assert guard.review(one) is one


def test_quick_caller_gets_greater_batches_up_to_a_limit():
    """Doubled while batches are full."""
    pace, now, sizes = BatchSize(), 100.0, []
    for _ in range(9):
        sizes.append(pace.size(now))
        pace.read(sizes[-1], now)
        now += 0.01
    assert sizes == [1, 2, 4, 8, 16, 32, 50, 50, 50]


def test_slow_caller_gets_single_records_soon():
    """A rebalance waits for one batch at most."""
    pace, now = BatchSize(), 100.0
    for _ in range(8):
        pace.read(pace.size(now), now)
    sizes = []
    for _ in range(4):
        now += 1.0
        sizes.append(pace.size(now))
        pace.read(sizes[-1], now)
    assert sizes == [12, 3, 1, 1]


def test_batches_do_not_grow_while_nothing_comes():
    """What comes then may be slow to handle."""
    pace = BatchSize()
    pace.read(0, 100.0)
    assert [pace.size(100.0 + step / 100) for step in range(5)] == [1] * 5


def moving(code: int, times: int) -> Mock:
    """Return a consumer whose broker answers so many questions with an error first; it has no
    checkpoint, and no record so late.
    """
    refused = KafkaException(KafkaError(code))
    return Mock(
        committed=lambda places, **_: [
            TopicPartition(one.topic, one.partition, -1001) for one in places
        ],
        get_watermark_offsets=Mock(side_effect=[*[refused] * times, (0, 7)]),
        offsets_for_times=lambda places, **_: [
            TopicPartition(one.topic, one.partition, -1) for one in places
        ],
    )


def test_start_is_asked_again_while_a_leader_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    """A new topic's broker answers so: the subscriber begins at the end, and does not stop."""
    monkeypatch.setattr(connections, "_POLL", 0)
    client = moving(KafkaError.NOT_LEADER_FOR_PARTITION, 2)
    (start,), new = Starts(datetime.now(UTC)).of(client, [PLACE])
    assert (start.offset, new) == (7, [start])


def test_other_error_of_a_start_is_raised() -> None:
    """What no patience can repair is not asked again."""
    client = moving(KafkaError.TOPIC_AUTHORIZATION_FAILED, 1)
    with pytest.raises(KafkaException):
        Starts(datetime.now(UTC)).of(client, [PLACE])
    assert client.get_watermark_offsets.call_count == 1
