"""What the API answers, to whom, and what it refuses; and its page, whose requests are sent."""

import json
import re
import shlex
from datetime import timedelta
from unittest.mock import AsyncMock
from urllib.parse import parse_qsl, urlsplit

import httpx
import pytest

from izin.api import endpoint
from izin.api.change import ORIGIN
from izin.runtime.settings import ApiSettings
from izin.schemas.api_keys import Scope
from izin.schemas.consistency_token import LogPosition, token_of
from tests.support.builders import (
    AUTHORIZATION,
    BRAND,
    CUSTOMER,
    EMAIL,
    NOON,
    PHONE,
    a_key,
    an_api_key,
    check_refusal,
)
from tests.support.project_rules import ROOT
from tests.unit.api.conftest import (
    BOTH,
    FOREIGN,
    FOREIGN_BRAND,
    LATER,
    TOPICS,
    Api,
    a_fact,
    a_row,
    serving,
)

NEW = "0555 000 00 02"
MESAJ_ONLY = an_api_key(scopes=BOTH.scopes, channels=frozenset({"MESAJ"}))


def said(response: httpx.Response, status: int = 200) -> object:
    """Check status and caching, and that no recipient is in a response; return its content."""
    assert response.status_code == status, response.text
    assert response.headers["cache-control"] == "no-store"
    assert PHONE[3:] not in response.text
    return response.json()


def problem(response: httpx.Response, status: int, title: str) -> tuple[object, ...]:
    """Check that a response is this problem and names no recipient; return it without its id."""
    found = response.json()
    assert (response.status_code, found["title"]) == (status, title), response.text
    assert PHONE[3:] not in response.text
    del found["request_id"]
    headers = {name: value for name, value in response.headers.items() if name != "content-length"}
    return found, headers


async def test_event_is_answered_with_its_decision_and_state(api: Api):
    """While it is due: the state, and the end of its term."""
    token = api.decided(origin_ref="signup-1")
    api.ledger.put(a_row())
    found = said(await api.event("event-1", token))
    assert found == {
        "event_id": "event-1",
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "type": "MESAJ",
        "recipient_type": "BIREYSEL",
        "status": "ONAY",
        "source": "HS_WEB",
        "consent_date": "2026-03-02T09:00:00Z",
        "received_at": "2026-03-02T09:00:02Z",
        "origin": "web",
        "origin_ref": "signup-1",
        "decided_at": "2026-03-02T09:00:00Z",
        "decision": {"kind": "Apply", "reason": "first", "opted_out": False, "violations": []},
        "state": "pending",
        "reason": None,
        "code": None,
        "due_at": "2026-03-05T09:00:00Z",
        "iys": None,
        "confirmed_at": None,
    }


ACCEPTED = a_row(state="accepted", registered="ONAY")
REPLACED = a_row(desired_event_id="event-2", desired_status="RET")


@pytest.mark.parametrize(
    ("row", "outcomes", "expected"),
    [
        (ACCEPTED, [], ("accepted", None, None)),
        (
            a_row(state="parked", reason="reconsent", code="H181"),
            [],
            ("parked", "reconsent", "H181"),
        ),
        (REPLACED, [], ("superseded", None, None)),
        (None, [], ("superseded", None, None)),
        (
            REPLACED,
            [{"outcome": "refused", "code": "H121", "message": "no phone", "attempt": 1}],
            ("refused", "no phone", "H121"),
        ),
    ],
)
async def test_state_is_the_rows_or_its_own_outcome(
    api: Api, row: object, outcomes: list[dict[str, object]], expected: tuple[object, ...]
):
    """What another event made of the key is not said of this one."""
    token = api.decided()
    if row is not None:
        api.ledger.put(row)  # type: ignore[arg-type]
    facts = api.ledger.facts[str(a_key())]
    facts += [a_fact("outcome", one) for one in outcomes]
    facts.append(a_fact("outcome", {"outcome": "expired"}, event_id="event-2", status="RET"))
    found = said(await api.event("event-1", token))
    assert isinstance(found, dict)
    assert (found["state"], found["reason"], found["code"]) == expected
    assert found["due_at"] is None


async def test_last_answer_of_iys_is_shown(api: Api):
    """Its code and its id of the record."""
    token = api.decided()
    api.ledger.put(ACCEPTED)
    answered = {"verdict": "success", "code": None, "transaction_id": "t-1", "creation_date": NOON}
    retried = {"verdict": "retry", "code": "H999"}
    api.ledger.facts[str(a_key())] += [a_fact("answer", one) for one in (retried, answered)]
    found = said(await api.event("event-1", token))
    assert isinstance(found, dict)
    assert found["iys"] == {
        "verdict": "success",
        "code": None,
        "transaction_id": "t-1",
        "creation_date": "2026-03-02T09:00:00Z",
        "answered_at": "2026-03-02T09:00:00Z",
    }


async def test_event_of_another_is_answered_as_one_that_is_unknown(api: Api):
    """Of another customer, brand or channel, of no registered brand, of no readable key, under
    another id or at another place: byte for byte the same, whatever the ledger has.
    """
    async with serving(MESAJ_ONLY) as cut:
        unknown = token_of([LogPosition(TOPICS.events.name, 0, 99)])
        answers = [problem(await cut.event("event-1", unknown), 404, "No such event")]
        own = cut.decided()
        foreign = a_key(brand_code=FOREIGN_BRAND)
        cut.ledger.put(a_row(brand_code=FOREIGN_BRAND))
        for key in (foreign, a_key(channel="ARAMA"), a_key(brand_code=9), "0" * 64, "a/b/c/d"):
            token = cut.log.write("event-1", key)
            answers.append(problem(await cut.event("event-1", token), 404, "No such event"))
        answers.append(problem(await cut.event("event-2", own), 404, "No such event"))
        end = token_of([LogPosition(TOPICS.express.name, 1, 0)])
        answers.append(problem(await cut.event("event-1", end), 404, "No such event"))
        assert all(one == answers[0] for one in answers)
        assert cut.ledger.asked == []


async def test_event_without_a_decision_is_to_be_asked_for_again(api: Api):
    """Kafka has it, the ledger not yet."""
    token = api.log.write("event-1", a_key())
    _, headers = problem(await api.event("event-1", token), 404, "Not decided yet")
    assert headers["retry-after"] == "2"  # type: ignore[index]


@pytest.mark.parametrize(
    "query",
    [
        {},
        {"token": "x"},
        {"token": token_of([])},
        {"token": token_of([LogPosition(TOPICS.events.name, one, 0) for one in (0, 1)])},
        {"token": token_of([LogPosition("other", 0, 0)])},
        {"token": token_of([LogPosition(TOPICS.events.name, 2, 0)])},
        {"token": token_of([LogPosition(TOPICS.events.name, 0, 0)]), "recipient": PHONE},
    ],
)
async def test_token_that_is_none_of_one_event_is_refused(api: Api, query: dict[str, str]):
    """And nothing else is taken: a recipient does not belong in a URL."""
    response = await api.client.get("/v1/events/event-1", params=query)
    problem(response, 400, "Parameter not usable")


async def test_lookup_shows_what_is_within_the_key_alone(api: Api):
    """Every brand and channel of it; what is outside is not even read."""
    api.ledger.put(a_row(), a_row(brand_code=FOREIGN_BRAND))
    found = said(await api.lookup(recipient="0555 000 00 01"))
    assert found == {
        "consents": [
            {
                "customer_id": CUSTOMER,
                "brand_code": BRAND,
                "type": "MESAJ",
                "recipient_type": "BIREYSEL",
                "desired": "ONAY",
                "effective_at": "2026-03-02T09:00:00Z",
                "consent_date": "2026-03-02T09:00:00Z",
                "source": "HS_WEB",
                "origin": "web",
                "event_id": "event-1",
                "registered": "UNKNOWN",
                "registered_at": None,
                "state": "pending",
                "reason": None,
                "code": None,
                "due_at": "2026-03-05T09:00:00Z",
            }
        ]
    }
    assert not [key for key in api.ledger.asked if key.startswith(str(FOREIGN_BRAND))]
    assert said(await api.lookup(types=["ARAMA"])) == {"consents": []}
    async with serving(MESAJ_ONLY) as cut:
        assert said(await cut.lookup()) == {"consents": []}
        assert len(cut.ledger.asked) == 2  # both recipient types


@pytest.mark.parametrize("call", ["lookup", "change"])
async def test_foreign_brand_is_answered_as_one_that_is_unknown(api: Api, call: str):
    """Also a channel outside the key, whatever the ledger has."""
    api.ledger.put(a_row(brand_code=FOREIGN_BRAND))
    foreign, unknown = [
        problem(await getattr(api, call)(brand_code=code), 403, "Nothing within the key")
        for code in (FOREIGN_BRAND, 9)
    ]
    assert foreign == unknown
    assert api.ledger.asked == []
    async with serving(MESAJ_ONLY) as cut:
        channel = await getattr(cut, call)(types=["ARAMA"])
        assert problem(channel, 403, "Nothing within the key") == unknown


@pytest.mark.parametrize(
    "wrong",
    [
        {"recipient": None},
        {"recipient": 5550000001},
        {"recipient": "12"},
        {"recipient": "\ud83d"},
        {"recipient": "a\0@example.com"},
        {"types": []},
        {"types": "MESAJ"},
        {"types": ["EPOSTA"]},
        {"types": [["MESAJ"]]},
        {"types": ["MESAJ"] * 4},
        {"brand_code": 0},
        {"brand_code": 2**31},
        {"more": 1},
    ],
)
@pytest.mark.parametrize("call", ["lookup", "change"])
async def test_body_that_cannot_be_used_is_refused(api: Api, call: str, wrong: dict[str, object]):
    """By the name of the field, whatever the body."""
    path = {"lookup": "/v1/consents/lookup", "change": "/v1/recipients/change"}[call]
    given = {"recipient": PHONE} | ({"new_recipient": NEW} if call == "change" else {}) | wrong
    response = await api.client.post(path, content=json.dumps(given).encode(), headers=JSON)
    assert response.status_code in {400, 422}
    assert PHONE[3:] not in response.text


JSON = {"Content-Type": "application/json"}


async def test_confirmation_of_no_consent_is_refused(api: Api):
    """An opt-out needs none; of an event or a recipient that is not there, nothing is written."""
    api.decided(status="RET")
    for body in ({}, {"event_id": "event-2"}, {"recipient": EMAIL}):
        response = await api.confirm(**body)
        problem(response, 404, "No such consent")
        assert response.headers["retry-after"] == "2"
    outside = an_api_key(scopes=BOTH.scopes, customers=frozenset({"nobody"}))
    async with serving(outside) as other:
        problem(await other.confirm(), 403, "Nothing within the key")


@pytest.mark.parametrize(
    "wrong",
    [
        {"event_id": None},
        {"event_id": 1},
        {"confirmed_at": None},
        {"confirmed_at": "today"},
        {"confirmed_at": "2026-03-02"},
        {"confirmed_at": "2026-03-02T10:00:00Z"},
        {"brand_code": BRAND},
    ],
)
async def test_confirmation_that_cannot_be_used_is_refused(api: Api, wrong: dict[str, object]):
    """No event, no instant, one with several meanings, without a time of day, in the future."""
    api.decided()
    assert (await api.confirm(**wrong)).status_code == 422


async def test_confirmation_before_the_consent_is_refused(api: Api):
    """But for what clocks may differ: it would count as one of the same day."""
    api.decided()
    early = NOON - timedelta(minutes=5, seconds=1)
    problem(await api.confirm(confirmed_at=early.isoformat()), 422, "Field not usable")
    allowed = NOON - timedelta(minutes=5)
    response = await api.confirm(confirmed_at=allowed.isoformat())
    problem(response, 503, "Ledger does not answer")  # it came as far as that


async def test_confirmation_is_not_taken_where_the_ledger_is_away(api: Api):
    """Whoever reports sends it again."""
    api.decided()
    problem(await api.confirm(), 503, "Ledger does not answer")


@pytest.mark.parametrize(
    "wrong",
    [
        {"new_recipient": None},
        {"new_recipient": "+90 555 000 00 01"},
        {"new_recipient": EMAIL},
        {"consent_date": "02.03.26"},
        {"consent_date": 1},
    ],
)
async def test_change_that_means_nothing_is_refused(api: Api, wrong: dict[str, object]):
    """The same recipient, one of another kind, a date with more than one meaning."""
    api.ledger.put(a_row())
    problem(await api.change(**wrong), 422, "Field not usable")
    assert not api.publisher.events


async def test_change_closes_each_opt_in_and_says_what_to_ask_for(api: Api):
    """By an opt-out of the provider's own decision; nothing is published of the new recipient."""
    tacir = str(a_key(recipient_type="TACIR"))
    iys_alone = {"desired_status": None, "desired_event_id": None, "desired_at": None}
    api.ledger.put(
        a_row(),
        a_row(key=tacir, recipient_type="TACIR", registered="ONAY", **iys_alone),
        a_row(key=str(a_key(channel="ARAMA")), channel="ARAMA", desired_status="RET"),
        a_row(brand_code=FOREIGN_BRAND),
    )
    found = said(await api.change(), 202)
    assert isinstance(found, dict)
    shown = [
        (one["type"], one["recipient_type"], one["result"], one["ask_again"])
        for one in found["consents"]
    ]
    assert shown == [("MESAJ", "BIREYSEL", "closed", True), ("MESAJ", "TACIR", "closed", True)]
    assert [one["event_id"] for one in found["consents"]] == [
        event.event_id for event in api.publisher.events
    ]
    for event, frame in zip(api.publisher.events, api.publisher.frames, strict=True):
        assert (event.status, event.source, event.origin) == ("RET", "HS_KARAR", ORIGIN)
        assert (event.recipient, event.brand_code, event.actor) == (PHONE, BRAND, "shop")
        assert event.evidence == {"reason": "changed recipient"}
        assert frame.topic == TOPICS.express.name
        assert NEW.replace(" ", "")[1:].encode() not in frame.value


async def test_repeated_change_publishes_the_same_events_and_then_none(api: Api):
    """Before the ledger has them, and after; a consent given anew is closed by another event."""
    api.ledger.put(a_row())
    first, second = said(await api.change(), 202), said(await api.change(), 202)
    one, two = api.publisher.events
    assert one.event_id == two.event_id
    api.ledger.put(
        a_row(desired_status="RET", desired_event_id=one.event_id, desired_origin=ORIGIN)
    )
    third = said(await api.change(), 202)
    assert len(api.publisher.events) == 2
    for found in (first, second, third):
        assert isinstance(found, dict)
        assert [consent["ask_again"] for consent in found["consents"]] == [True]
    assert third["consents"][0]["result"] == "closed-before"  # type: ignore[index]
    api.ledger.put(a_row(desired_event_id="event-9"))
    said(await api.change(), 202)
    assert api.publisher.events[-1].event_id != one.event_id


@pytest.mark.parametrize(
    ("date", "result", "published"),
    [
        (None, "closed", 1),
        ("2026-03-02T09:00:00Z", "closed", 1),
        ("2026-03-02", "closed", 1),
        ("2026-03-02T08:59:59Z", "newer", 0),
        ("2026-03-01", "newer", 0),
    ],
)
async def test_opt_in_after_the_change_stands(
    api: Api, date: str | None, result: str, published: int
):
    """It is of whoever has the recipient now. Within one second the opt-out wins, and one of a day
    counts from its end.
    """
    async with serving(clock=NOON + timedelta(days=2)) as later:
        later.ledger.put(a_row())
        found = said(await later.change(consent_date=date), 202)
        assert isinstance(found, dict)
        (consent,) = found["consents"]
        assert (consent["result"], consent["ask_again"]) == (result, result == "closed")
        assert len(later.publisher.events) == published


async def test_change_that_kafka_does_not_acknowledge_is_no_success(api: Api):
    """It is to be sent again."""
    api.ledger.put(a_row())
    api.publisher.is_away_for = lambda _: True
    _, headers = problem(await api.change(), 503, "Try again")
    assert headers["retry-after"]  # type: ignore[index]


async def test_consent_that_cannot_be_closed_is_no_success(api: Api, logs: list[dict[str, object]]):
    """Its brand was removed meanwhile: nothing is published, and the answer says so."""
    api.ledger.put(a_row())
    api.brands.find = lambda _: None  # type: ignore[method-assign,assignment]
    problem(await api.change(), 503, "Ledger does not answer")
    assert not api.publisher.events
    assert "cannot be closed" in str(logs)


async def test_servers_that_do_not_answer_are_named(api: Api):
    """Each is a 503 with Retry-After."""
    token = api.decided()
    api.ledger.is_away = True
    for response in (await api.event("event-1", token), await api.lookup(), await api.change()):
        _, headers = problem(response, 503, "Ledger does not answer")
        assert headers["retry-after"]  # type: ignore[index]
    api.away()
    problem(await api.event("event-1", token), 503, "Kafka does not answer")
    counted = api.endpoint.metrics.registry.get_sample_value(
        "izin_api_requests_total", {"path": "/v1/events/{event_id}", "status": "503"}
    )
    assert counted == 2


@pytest.mark.parametrize("scope", [*Scope, None])
async def test_key_may_ask_what_its_scope_says(scope: Scope | None):
    """Every scope, and no key, at every path."""
    async with serving(an_api_key(scopes=frozenset({str(scope)}))) as api:
        if scope is None:
            del api.client.headers["Authorization"]
        token = api.decided()
        for response, needed in (
            (await api.event("event-1", token), Scope.PUBLISH),
            (await api.lookup(), Scope.ASK),
            (await api.change(), Scope.PUBLISH),
        ):
            if scope is needed:
                assert response.is_success
            else:
                answer = (response.status_code, response.headers["content-type"], response.text)
                check_refusal(scope, needed, answer)


PAGE = (ROOT / "docs" / "api.md").read_text("utf-8")
EXAMPLES = re.findall(
    r"```sh\n(curl .*?)```\n+(\d{3}):\n+```json\n(.*?)```", PAGE, re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("command", "status", "expected"), EXAMPLES)
async def test_each_request_is_answered_as_the_page_says(
    api: Api, monkeypatch: pytest.MonkeyPatch, command: str, status: str, expected: str
):
    """Status and body, but for the ids of Kafka."""
    monkeypatch.setattr(endpoint, "record_confirmation", AsyncMock())
    api.ledger.takes_writes = "confirmed_at" in expected and status == "200"
    token = api.decided()
    api.ledger.put(a_row())
    words = shlex.split(
        command.replace("$EVENT_ID", "event-1")
        .replace("$TOKEN", token)
        .replace("$IZIN_API_KEY", AUTHORIZATION["Authorization"].removeprefix("Bearer "))
    )
    url = urlsplit(next(word for word in words if word.startswith("http")))
    assert url.port == ApiSettings().port
    headers = dict(
        words[place + 1].split(": ", 1) for place, word in enumerate(words) if word == "-H"
    )
    body = words[words.index("-d") + 1] if "-d" in words else None
    response = await api.client.request(
        "GET" if body is None else "POST",
        url.path,
        params=parse_qsl(url.query),
        headers=headers,
        content=body,
    )
    assert response.status_code == int(status), response.text
    found = response.json()
    for consent in found.get("consents", ()) if response.status_code == 202 else ():
        consent |= {"event_id": "…", "token": "…"}
    assert found == json.loads(expected)


def test_page_has_a_request_of_each_path() -> None:
    """The check above looks at something."""
    assert len(EXAMPLES) == PAGE.count("\ncurl ") == 4
    assert LATER > NOON
    assert FOREIGN != CUSTOMER
