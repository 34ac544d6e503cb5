"""The client of the gate: what is asked, what comes back, and that no answer is a no."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from starlette.responses import JSONResponse, Response

from izin.local import free_port
from izin.subscribers import (
    ApiKeyRefusedError,
    BlockingGate,
    Channel,
    Gate,
    GateClosedError,
    GateUnavailableError,
    GateVerdict,
    MessageClass,
    NotPermittedError,
    PermissionReason,
    Question,
    QuestionRefusedError,
    ReceiptKind,
    SettingError,
)
from tests.support.builders import API_KEY, BRAND
from tests.support.subscribers.small_gate import SaidOf, SmallGate, problem

ASKED: Question = {"brand_code": BRAND, "type": Channel.MESAJ}
SOON = timedelta(milliseconds=300)
PHONE, OTHER = "0555 000 00 01", "0555 000 00 02"


def gate_of(small: SmallGate, **options: Any) -> Gate:  # noqa: ANN401  # any option
    """Return a client of the small gate, which waits for as long as a busy machine may take."""
    return Gate(small.url, API_KEY, **{"timeout": timedelta(seconds=30), **options})


async def verdicts(gate: Gate, recipients: list[str], **more: Any) -> list[GateVerdict]:  # noqa: ANN401  # any word
    """Return all verdicts on ``recipients``."""
    return [one async for one in gate.check(recipients, **ASKED, **more)]


async def test_verdict_has_what_the_gate_says(small: SmallGate):
    """Everything, and the recipient as it was asked about."""
    small.said[OTHER] = SaidOf(reason="not-registered", violation="H121")
    async with gate_of(small) as gate:
        yes = await gate.may_send(PHONE, **ASKED)
        no = await gate.may_send(recipient=OTHER, **ASKED, receipt=ReceiptKind.DECISION)
    assert (yes.recipient, yes.may_send, yes.reason) == (PHONE, True, PermissionReason.REGISTERED)
    assert (yes.violation, yes.receipt, yes.cause) == (None, None, None)
    assert (no.may_send, no.violation, no.as_of) == (False, "H121", small.token)
    assert no.receipt is not None


async def test_every_word_of_a_question_is_sent(small: SmallGate):
    """Under the names of the API; what is None is left out."""
    async with gate_of(small) as gate:
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
async def test_question_with_wrong_words_is_a_type_error(small: SmallGate, words: dict[str, Any]):
    """As any call with wrong arguments; nothing is asked."""
    async with gate_of(small) as gate:
        with pytest.raises(TypeError, match=r"brand_code|kind"):
            await gate.may_send(PHONE, **words)
    assert small.requests == []


async def test_one_text_is_no_list(small: SmallGate):
    """Its characters would be recipients."""
    async with gate_of(small) as gate:
        with pytest.raises(TypeError, match="one text"):
            await anext(gate.check(PHONE, **ASKED))
    assert small.requests == []


async def test_number_is_no_recipient(small: SmallGate):
    """A database may have phones as numbers; the error quotes none."""
    number: Any = 5550000001
    async with gate_of(small) as gate:
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


async def test_recipients_may_come_from_an_asynchronous_source(small: SmallGate):
    """Such as the cursor of a database."""

    async def source() -> AsyncIterator[str]:
        for one in (PHONE, OTHER):
            await asyncio.sleep(0)
            yield one

    async with gate_of(small) as gate:
        found = [one.recipient async for one in gate.check(source(), **ASKED)]
    assert found == [PHONE, OTHER]


async def test_batch_of_long_texts_is_smaller(small: SmallGate):
    """No request is larger than the gate takes, whatever is in the column."""
    async with gate_of(small, most_requests=1) as gate:
        await verdicts(gate, ["ş" * 1_100_000] * 3)
    assert [len(one["recipients"]) for one in small.requests] == [2, 1]


async def test_recipient_of_half_characters_spoils_no_list(small: SmallGate):
    """JSON cannot carry it; the others are asked about as they are."""
    broken = "0555\udc9f"
    small.said["0555?"] = SaidOf(reason="not-registered", violation="H121")
    async with gate_of(small) as gate:
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


UNREADABLE: dict[str, Callable[[], Response]] = {
    "no JSON": lambda: Response("<html>"),
    "no object": lambda: JSONResponse([]),
    "too few": lambda: JSONResponse({"as_of": "t", "receipt": None, "verdicts": []}),
    "redirect": lambda: Response(status_code=302, headers={"Location": "/elsewhere"}),
    "too long": lambda: Response(b" " * 100_000),
    "deep": lambda: Response(b"[" * 16_000),
}
FIELDS = {"recipient": PHONE, "may_send": True, "reason": "registered"}
CHANGES: dict[str, dict[str, object]] = {
    "of another": {"recipient": OTHER},
    "a text for yes": {"may_send": "true"},
    "a number for yes": {"may_send": 1},
    "no reason": {"reason": None},
}


@pytest.mark.parametrize("name", UNREADABLE)
async def test_unreadable_answer_is_a_no(small: SmallGate, name: str):
    """Whatever it is; it is not asked again."""
    small.instead.append(UNREADABLE[name]())
    async with gate_of(small) as gate:
        found = await gate.may_send(PHONE, **ASKED)
    assert (found.may_send, found.reason) == (False, PermissionReason.STALE)
    assert "unreadable" in str(found.cause) or "too long" in str(found.cause)
    assert len(small.requests) == 1


@pytest.mark.parametrize("name", CHANGES)
async def test_yes_that_is_not_one_is_a_no(small: SmallGate, name: str):
    """A verdict must be of whom was asked about, and a Boolean."""
    verdict = {**FIELDS, **CHANGES[name]}
    small.instead.append(JSONResponse({"as_of": "t", "receipt": None, "verdicts": [verdict]}))
    async with gate_of(small) as gate:
        found = await gate.may_send(PHONE, **ASKED)
    assert (found.may_send, found.cause) == (False, "unreadable answer")


async def test_reason_of_a_later_release_is_kept_as_text(small: SmallGate):
    """What may be sent is said by ``may_send`` alone."""
    small.said[PHONE] = SaidOf(may_send=True, reason="newer")
    async with gate_of(small) as gate:
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
async def test_busy_gate_is_asked_again(small: SmallGate, status: int):
    """Until the time is over."""
    small.instead.extend([problem(status, "busy")] * 2)
    async with gate_of(small) as gate:
        assert (await gate.may_send(PHONE, **ASKED)).may_send
    assert len(small.requests) == 3


async def test_gate_that_stays_busy_is_a_no(small: SmallGate):
    """At once where it wants to be asked after the time is over; the cause is what it said."""
    small.instead.append(problem(503, "not caught up", Retry_After="30"))
    async with gate_of(small) as gate:
        found = await gate.may_send(PHONE, **ASKED)
    assert (found.may_send, found.cause) == (False, "status 503: not caught up")
    assert len(small.requests) == 1


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


async def test_nothing_shows_a_recipient_or_the_key(
    small: SmallGate, caplog: pytest.LogCaptureFixture
):
    """No representation, no error, no log of ours."""
    caplog.set_level(logging.DEBUG, logger="izin")
    async with gate_of(small) as gate:
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
