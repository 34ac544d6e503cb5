"""The API as it runs, over a real broker and ledger, and İYS's simulator: an event from its token
to İYS's answer, looks that are recorded, a changed number from the request to what stands then.
"""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import httpx
import pytest
from pydantic import SecretStr

from izin.api.change import ORIGIN
from izin.api.process import run
from izin.consent import ConsentEvent
from izin.kafka.bounded_reader import read_all
from izin.kafka.clients import access_of
from izin.ledger import reads
from izin.ledger.confirmations import Confirmation, electronic_consents
from izin.local import free_port
from izin.producers.publishing.publisher import KafkaPublisher, Published
from izin.runtime.settings import ApiSettings, LedgerSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.schemas.consistency_token import LogPosition, token_of
from izin.schemas.records import event_from_avro
from tests.integration.sinks.sink_harness import SinkHarness
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    PHONE,
    a_second_key,
    an_api_key,
    an_event,
)
from tests.support.published import publish_brand, publish_key
from tests.support.servers.http import served

pytestmark = [pytest.mark.broker, pytest.mark.database]

SECRET = "a secret of the tests, of 32 characters"
SCOPES = frozenset({Scope.PUBLISH.value, Scope.ASK.value})
FOREIGN, THEIRS = a_second_key(scopes=SCOPES, customers=frozenset({"beta"}))
NEW = "0555 000 00 02"


@pytest.fixture
async def api(
    with_topics: SinkHarness, ledger_settings: LedgerSettings
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the API over the sinks' ledger and topics; yield a client with the customer's key."""
    kafka = with_topics.settings
    publish_key(kafka, an_api_key(scopes=SCOPES))
    publish_key(kafka, THEIRS)
    publish_brand(kafka)
    settings = ApiSettings(
        port=free_port(), operations_port=free_port(), suppression_secrets=(SecretStr(SECRET),)
    )
    how = partial(run, kafka, ledger_settings, settings, Codec())
    async with served(settings, how) as (client, operations):
        yield client
        async with httpx.AsyncClient(trust_env=False) as operator:
            metrics = (await operator.get(f"{operations}/metrics")).text
        assert PHONE[3:] not in metrics


def publish(harness: SinkHarness, event: ConsentEvent) -> Published:
    """Publish an event as the intake does."""
    access = access_of(harness.settings)
    with KafkaPublisher(access, Codec(), clock=harness.clock) as publisher:
        return publisher.publish(event).result(20)


def a_signup(harness: SinkHarness, **overrides: object) -> ConsentEvent:
    """Return an ONAY of a minute ago."""
    given = harness.clock() - timedelta(minutes=1)
    return an_event(
        **{"event_id": "signup", "consent_date": given, "received_at": given, **overrides}
    )


def plain(response: httpx.Response) -> tuple[int, Any]:
    """Return status and body of a problem, without its id."""
    return response.status_code, {**response.json(), "request_id": ""}


async def test_event_is_followed_from_kafka_to_iys(
    with_topics: SinkHarness, api: httpx.AsyncClient
):
    """Not decided, due, registered; and never known to the key of another customer."""
    event = a_signup(with_topics)
    published = publish(with_topics, event)

    async def ask(**more: str) -> httpx.Response:
        query = {"token": published.token}
        return await api.get(f"/v1/events/{event.event_id}", params=query, **more)  # type: ignore[arg-type]

    undecided = await ask()
    assert (undecided.status_code, undecided.headers["retry-after"]) == (404, "2")
    theirs = {"Authorization": f"Bearer {FOREIGN}"}
    hidden = [plain(await ask(headers=theirs))]  # type: ignore[arg-type]
    await with_topics.ingest(event)
    found = (await ask()).json()
    assert (found["state"], found["iys"], found["customer_id"]) == ("pending", None, CUSTOMER)
    assert found["due_at"].endswith("Z")
    await with_topics.settle_bulk()
    found = (await ask()).json()
    assert (found["state"], found["due_at"]) == ("accepted", None)
    assert found["iys"]["verdict"] == "success"
    assert found["iys"]["creation_date"].endswith("Z")
    hidden.append(plain(await ask(headers=theirs)))  # type: ignore[arg-type]
    for offset in (published.offset + 1, 10**6, 2**63 - 1):
        token = token_of([LogPosition(published.topic, published.partition, offset)])
        hidden.append(plain(await api.get("/v1/events/signup", params={"token": token})))
    assert hidden == [hidden[0]] * 5
    assert hidden[0][0] == 404


async def test_lookup_is_recorded_as_a_look_at_the_person(
    with_topics: SinkHarness, api: httpx.AsyncClient
):
    """By the key's name, under a digest; a request that is refused looks at nobody."""
    await with_topics.ingest(a_signup(with_topics))
    response = await api.post("/v1/consents/lookup", json={"recipient": PHONE})
    (consent,) = response.json()["consents"]
    assert (consent["desired"], consent["state"], consent["brand_code"]) == (
        "ONAY",
        "pending",
        BRAND,
    )
    theirs = {"Authorization": f"Bearer {FOREIGN}"}
    refused = await api.post("/v1/consents/lookup", json={"recipient": PHONE}, headers=theirs)
    assert refused.status_code == 403
    settings = ApiSettings(suppression_secrets=(SecretStr(SECRET),))
    (look,) = await reads.facts(with_topics.ledger, settings.suppressions.people(PHONE))
    assert (look.customer_id, look.data["act"], look.data["by"]) == (CUSTOMER, "look", "shop")
    assert look.data["after"] == {"command": "api lookup"}
    assert PHONE not in str(look)


async def test_confirmation_is_recorded_once_and_reported(
    with_topics: SinkHarness, api: httpx.AsyncClient
):
    """By the key that reports it; a repetition with another instant answers with the first."""
    now = with_topics.clock().replace(microsecond=0)
    event = a_signup(with_topics, consent_date=now, received_at=now)
    signed = a_signup(with_topics, event_id="signed", type="ARAMA", source="HS_ISLAK_IMZA")
    yesterday = a_signup(
        with_topics,
        event_id="yesterday",
        recipient_type="TACIR",
        consent_date=now - timedelta(days=1),
    )
    await with_topics.ingest(event, signed, yesterday)

    async def report(at: datetime, **more: str) -> httpx.Response:
        body = {"recipient": PHONE, "event_id": event.event_id, "confirmed_at": at.isoformat()}
        return await api.post("/v1/consents/confirmation", json=body | more)

    async def known(days: int = 0) -> Mapping[str, tuple[str, datetime | None]]:
        found = electronic_consents(
            with_topics.ledger,
            since=now - timedelta(hours=1),
            customer_id=CUSTOMER,
            now=now + timedelta(days=days),
        )
        return {one.event_id: (one.confirmation, one.confirmed_at) async for one in found}

    missing = (Confirmation.MISSING, None)
    assert await known() == {event.event_id: (Confirmation.OPEN, None), "yesterday": missing}
    assert await known(days=1) == {event.event_id: missing, "yesterday": missing}
    theirs = {"Authorization": f"Bearer {FOREIGN}"}
    assert (await api.post("/v1/consents/confirmation", headers=theirs)).status_code == 415
    assert (await report(now, event_id="none")).status_code == 404
    answers = [(await report(at)).json() for at in (now, now - timedelta(seconds=9))]
    assert answers[0] == answers[1]
    assert datetime.fromisoformat(answers[0]["confirmed_at"]) == now
    assert (await report(now, event_id="yesterday")).status_code == 200
    assert await known() == {
        event.event_id: (Confirmation.IN_TIME, now),
        "yesterday": (Confirmation.LATE, now),
    }
    history = await reads.history(with_topics.ledger, PHONE)
    acts = [fact.data for fact in history.facts if fact.source.startswith("confirmation/")]
    assert [(act["act"], act["by"]) for act in acts] == [("confirm consent", "shop")] * 2


async def test_changed_number_closes_what_the_old_one_had(
    with_topics: SinkHarness, api: httpx.AsyncClient
):
    """The opt-out goes to İYS like any other; asked again, the answer names the same consent."""
    await with_topics.ingest(a_signup(with_topics))
    await with_topics.settle_bulk()
    body = {"recipient": PHONE, "new_recipient": NEW}
    first, second = [
        (await api.post("/v1/recipients/change", json=body)).json()["consents"] for _ in range(2)
    ]
    assert [one["result"] for one in (*first, *second)] == ["closed", "closed"]
    assert first[0]["event_id"] == second[0]["event_id"]
    assert first[0]["token"] != second[0]["token"]
    kafka = with_topics.settings
    written = [
        event_from_avro(record.value) for record in read_all(kafka, Codec(), kafka.topics.express)
    ]
    assert [event.event_id for event in written] == [first[0]["event_id"]] * 2
    await with_topics.submit_opt_out(*written)
    path, query = f"/v1/events/{first[0]['event_id']}", {"token": first[0]["token"]}
    found = (await api.get(path, params=query)).json()
    assert (found["status"], found["source"], found["origin"]) == ("RET", "HS_KARAR", ORIGIN)
    assert (found["state"], found["iys"]["verdict"]) == ("accepted", "success")
    (third,) = (await api.post("/v1/recipients/change", json=body)).json()["consents"]
    assert (third["result"], third["ask_again"], third["event_id"]) == ("closed-before", True, None)
    row = await with_topics.row()
    assert (row.desired_status, row.registered) == ("RET", "RET")
    history = await reads.history(with_topics.ledger, PHONE)
    assert {row.recipient for row in history.rows} == {PHONE}
    decided = [fact.data["event"] for fact in history.facts if fact.kind == "decision"]
    assert decided[-1]["evidence"] == {"reason": "changed recipient"}
