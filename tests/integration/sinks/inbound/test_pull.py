"""What citizens do at İYS is registered, and nothing of ours is submitted over it.

The name of a citizen, which İYS shows with his first consent, is kept nowhere.

Whatever İYS shows, it costs no movement beside it, and no process.
"""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.routing import Route
from structlog.typing import EventDict

from izin.consent import Channel
from izin.iys.client import IysClient
from izin.iys.wire_format import (
    BrandPath,
    JsonReader,
    MovementPage,
    Stream,
    UnreadableItem,
    parse_json,
)
from izin.iys.wire_format.json_reader import to_turkish
from izin.ledger.record import LedgerUnavailableError
from izin.ledger.sweep import sweeps
from izin.schemas.records import event_from_avro
from izin.sinks.inbound.push import AcceptedCredentials, BrandCache, Credentials, PushReceiver
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    HIDDEN,
    InMemoryTopic,
    SinkHarness,
    a_phone,
    given_at,
    minutes_ago,
    ret,
)
from tests.support.builders import BRAND, PHONE, an_iys_event, an_iys_origin
from tests.support.hostile.inputs import HostileMovements, a_movement

pytestmark = pytest.mark.database
NAME = "Örnek Soyadı"
TABLES = """SELECT relname AS name FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND nspname = current_schema()"""
PAGES, OF = 30, 100


async def test_due_opt_in_after_pulled_newer_opt_out_is_not_submitted(harness: SinkHarness):
    """The pull has registered the citizen's opt-out, whose decision is not ingested yet."""
    await harness.ingest(given_at(harness.clock(), notice_version="1"))
    harness.iys.advance(3)
    harness.iys.citizen(
        "RET", PHONE, source="IYS_AHS_HAT_KAPATMA", consentDate="2026-01-05 10:00:00"
    )
    await harness.pull(Stream.IYS)
    assert await harness.columns("registered", "desired_status") == ("RET", "ONAY")
    await harness.bulk()
    await harness.settle()
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).may_send is False


@pytest.mark.parametrize("kind", ["single", "batch"])
async def test_lost_opt_in_after_pulled_opt_out_is_parked_for_reconsent(
    harness: SinkHarness, kind: str
):
    """An opt-in that is not attested is not sent again over a citizen's opt-out."""
    harness.citizen("RET", consentDate="2026-01-05 10:00:00", then=timedelta(minutes=1))
    await harness.ingest(given_at(harness.clock() - A_SECOND))
    if kind == "single":
        await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=50))
        harness.iys.inject_fault("addV2", drop="before")
        assert await harness.scheduler.last_hour()
    else:
        await harness.lose_batch()
    await harness.pull_and_ingest(Stream.IYS)
    for _ in range(3):
        await harness.recover(A_SECOND * 10)
        await harness.settle()
    assert harness.iys.register() == {PHONE: "RET"}
    assert await harness.columns("state", "reason", "may_send") == ("parked", "reconsent", False)


async def test_throttled_opt_in_after_pushed_opt_out_is_not_sent_again(harness: SinkHarness):
    """The opt-out was pushed while the call waited for its slot, and İYS answered busy."""
    harness.citizen("RET", consentDate="2026-01-05 10:00:00", then=timedelta(minutes=1))
    at = harness.clock() - A_SECOND
    await harness.ingest(given_at(at))
    origin = an_iys_origin(creation_date=at - timedelta(minutes=1))
    opt_out = an_iys_event(consent_date=datetime(2026, 1, 5, 7, tzinfo=UTC), iys=origin)
    harness.pacer.meanwhile = partial(harness.ingest, opt_out)
    await harness.meet_fault("batchV2", harness.bulk, status=400, code="H123")
    harness.advance(timedelta(minutes=1))
    assert not await harness.bulk()
    await harness.settle()
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).may_send is False


@pytest.mark.parametrize("is_by_person", [True, False])
async def test_opt_out_hidden_by_lost_right_is_pulled_after_right_returns(
    harness: SinkHarness, *, is_by_person: bool
):
    """İYS leaves out of a page what a partner may not read, and the cursor moves on."""
    await harness.register_onay()
    await harness.pull()
    rights = {"ARAMA": "write", "EPOSTA": "write"}
    harness.iys.brand(rights=rights)
    await (
        harness.set_rights((Channel.ARAMA, Channel.EPOSTA))
        if is_by_person
        else harness.suspend("H353", channel="MESAJ")
    )
    harness.iys.citizen("RET")
    harness.citizen(
        "ONAY", a_phone(2), type="ARAMA", source="IYS_WEB_YENI", then=timedelta(minutes=1)
    )
    harness.iys.citizen("ONAY", a_phone(3), type="ARAMA", source="IYS_WEB_YENI")
    await harness.pull_and_ingest()
    harness.iys.brand(rights={**rights, "MESAJ": "write"})
    await (harness.set_rights(tuple(Channel)) if is_by_person else harness.resume("MESAJ", "ONAY"))
    await harness.run(harness.pull_and_ingest, times=3, every=timedelta(minutes=15))
    assert harness.iys.register()[PHONE] == "RET"
    assert await harness.columns("registered", "may_send") == ("RET", False)


async def test_opt_out_beyond_pull_window_is_found_by_a_sweep(harness: SinkHarness):
    """The brand was not pulled for eight days, and İYS shows seven. One sweep is enough, though
    both streams find the gap. Until it has ended the gate learns of no pull, so it says no.
    """
    await harness.register_onay()
    harness.advance(timedelta(hours=1))
    await harness.pull()
    harness.citizen("RET", then=timedelta(days=8))
    known = await freshness(harness)
    await harness.pull_and_ingest()
    assert await freshness(harness) == known
    assert await harness.sweep()
    assert await harness.columns("registered", "may_send") == ("NOT_ONAY", False)
    assert await freshness(harness) == known
    harness.advance(timedelta(minutes=15))
    await harness.pull_and_ingest()
    assert len(await freshness(harness)) > len(known)
    (sweep,) = await sweeps.latest(harness.ledger)
    assert (sweep.reason, sweep.is_stopped, sweep.counts.shut) == ("gap", False, 1)
    assert not await harness.sweep()


async def test_stream_not_pulled_for_a_week_alerts(harness: SinkHarness):
    """İYS refuses the cursor, or gives no right to read."""
    await harness.register_onay()
    await harness.pull()
    harness.iys.inject_fault("changes", status=422, code="H506", times=None)
    await harness.run(harness.pull, times=7, every=timedelta(days=1))
    assert await harness.monitor.check()


async def test_old_opt_in_of_other_writer_does_not_undo_newer_opt_out(
    harness: SinkHarness,
):
    """İYS had nothing to withdraw; then the portal writes an opt-in that was given before."""
    await harness.submit_opt_out(ret(minutes=30))
    harness.advance(A_SECOND * 5)
    harness.iys.other_writer("ONAY", consentDate=to_turkish(minutes_ago(120)), source="HS_WEB")
    await harness.pull_and_ingest(Stream.HS)
    steps = (harness.opt_out, harness.query, harness.pull_and_ingest)
    await harness.run(*steps, times=5, every=timedelta(minutes=15))
    assert (await harness.row()).desired_status == "RET"
    assert harness.iys.register() == {PHONE: "RET"}


async def test_merchant_record_without_source_does_not_stop_the_page(harness: SinkHarness):
    """It needs neither date nor source, and the opt-out after it on the page is registered."""
    await harness.register_onay()
    harness.iys.other_writer("ONAY", a_phone(7), type="ARAMA", recipientType="TACIR")
    harness.advance(timedelta(minutes=1))
    harness.iys.other_writer("RET", consentDate=to_turkish(minutes_ago(1)), source="HS_WEB")
    await harness.pull_and_ingest()
    assert (await harness.row()).registered == "RET"


@pytest.mark.parametrize("beside", [True, False])
async def test_movement_that_cannot_be_read_does_not_stop_the_stream(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch, logged: list[EventDict], beside: bool
):
    """It is a dead letter, with an alert; its neighbours are registered, and the cursor moves."""
    await harness.register_onay()
    changes = IysClient.changes
    item = UnreadableItem(b'{"recipient": 7}', "creationDate is missing")

    async def with_one_more(
        client: IysClient, path: BrandPath, stream: Stream, after: str | None
    ) -> MovementPage | None:
        page = await changes(client, path, stream, after)
        if page is None or not page.movements:
            return page
        return replace(page, movements=page.movements if beside else (), unreadable=(item,))

    monkeypatch.setattr(IysClient, "changes", with_one_more)
    harness.citizen("RET", then=timedelta(minutes=1))
    for _ in range(2):
        await harness.pull_and_ingest(Stream.IYS)
    assert (await harness.row()).registered == ("RET" if beside else "ONAY")
    (letter,) = harness.dead_letters
    assert (letter["topic"], letter["value"]) == ("iys/pull/IYS/100001", item.raw)
    assert [one["code"] for one in letter["violations"]] == ["IZIN-UNREADABLE-MOVEMENT"]
    assert [one["event"] for one in logged if one["log_level"] == "critical"] == [
        "movement unreadable"
    ]


async def test_unchanged_cursor_ends_the_pull(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """The last page is registered, and not pulled again and again."""
    await harness.register_onay()
    harness.citizen("RET", then=timedelta(minutes=1))
    last = await harness.context.client.changes(ACTIVE.path, Stream.IYS, None)
    # It ends the process that asks for the same page again and again.
    monkeypatch.setattr(IysClient, "changes", AsyncMock(side_effect=[last] * 4))
    await harness.pull_and_ingest(Stream.IYS)
    assert (await harness.row()).registered == "RET"


async def test_pull_publishes_how_fresh_our_knowledge_is(harness: SinkHarness):
    """Once both streams were read to their ends, for each channel; not before, and not again."""
    await harness.pull(Stream.IYS)
    assert await freshness(harness) == []
    await harness.pull(Stream.HS)
    first = await freshness(harness)
    assert {one["type"] for one in first} == set(Channel)
    (pulled_at,) = {one["last_pulled_at"] for one in first}
    assert {one["last_pulled_at"] - one["pulled_until"] for one in first} == {HIDDEN}
    await harness.pull(Stream.HS)
    assert await freshness(harness) == first, "the other stream is as old as before"
    await harness.pull(Stream.IYS)
    later = (await freshness(harness))[len(first) :]
    assert len(later) == len(first)
    assert all(one["last_pulled_at"] > pulled_at for one in later)


@pytest.mark.parametrize(("status", "code"), [(403, "H521"), (503, None)])
async def test_brand_that_cannot_be_pulled_stays_as_old_as_it_is(
    harness: SinkHarness, status: int, code: str | None
):
    """Whoever decides by it sees that nothing newer is known, whatever the reason."""
    await harness.pull()
    before = await freshness(harness)
    assert before
    fault = {"status": status} if code is None else {"status": status, "code": code}
    harness.iys.inject_fault("changes", times=20, **fault)
    for _ in range(2):
        harness.advance(A_SECOND)
        await harness.pull()
    assert await freshness(harness) == before


async def freshness(harness: SinkHarness) -> list[dict[str, Any]]:
    """Return the records about the freshness of İYS's word, in order."""
    return await harness.outbox("%iys-freshness", "IysFreshness")


@pytest.mark.parametrize("others", [0, 3], ids=["alone", "by a template"])
async def test_later_consent_date_of_a_permission_is_published(harness: SinkHarness, others: int):
    """The gate compares it with opt-outs: by the earlier date it would deny by one of between."""
    recipients = [PHONE, *map(a_phone, range(10, 10 + others))]
    for one in recipients:
        await harness.register_onay(one)
    harness.advance(timedelta(hours=1))
    for one in recipients:
        harness.iys.other_writer("ONAY", one, source="HS_WEB")
    await harness.pull_and_ingest()
    for one in recipients:
        dates = [
            record["consent_date"]
            for record in await harness.outbox("%permissions", "Permission")
            if record["recipient"] == one and record["may_send"]
        ]
        assert len(dates) == 2
        assert dates[0] < dates[1] == (await harness.row(one)).registered_consent_date


async def stored(harness: SinkHarness) -> str:
    """Return every row of the ledger as text."""
    texts = []
    for table in await harness.ledger.fetch(TABLES):
        rows = await harness.ledger.fetch(f"SELECT t::text AS row FROM {table['name']} AS t")  # type: ignore[arg-type]  # names of the catalogue
        texts += [row["row"] for row in rows]
    return "\n".join(texts)


def unreadable(number: int) -> dict[str, object]:
    """Return a movement with a name, once more within, that nobody can read."""
    item = {**a_movement(a_phone(number)), "citizenName": NAME, "more": [{"CitizenName": NAME}]}
    return {**item, "creationDate": "yesterday"}


async def test_name_of_a_citizen_is_neither_stored_nor_logged(
    harness: SinkHarness, logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
):
    """In no topic, row or line of the log: by pull and by push, also where nobody can read it."""
    topic = InMemoryTopic()
    harness.citizen("ONAY", a_phone(1), source="IYS_WEB_YENI", citizenName=NAME, then=A_SECOND * 2)
    puller = harness.puller(topic)
    await puller.pull_page(ACTIVE, Stream.IYS)

    async def changes(*_: object) -> MovementPage:
        return MovementPage.read(JsonReader({"after": "1", "list": [unreadable(3)]}))

    monkeypatch.setattr(IysClient, "changes", changes)
    await puller.pull_page(ACTIVE, Stream.IYS)
    items = [{**a_movement(a_phone(2)), "citizenName": NAME}, unreadable(4)]
    async with a_client(harness, BrandCache(harness.ledger), topic) as client:
        pushed = await client.post("/push", json={"list": items})
        broken = await client.post("/push", content=json.dumps({"list": items})[:-1].encode())
    assert (pushed.status_code, broken.status_code) == (httpx.codes.OK, httpx.codes.BAD_REQUEST)
    lost = harness.context.topic_messages.topics.dead_letters.name
    assert sorted(one.topic == lost for one in topic.messages) == [False, False, True, True]
    kept = [repr(one) + one.value.decode("utf-8", "replace") for one in topic.messages]
    logs = json.dumps(logged, default=repr, ensure_ascii=False)
    for text in (*kept, await stored(harness), logs):
        assert NAME not in text
        assert NAME.encode("unicode_escape").decode() not in text


async def test_hostile_movements_cost_no_neighbour_of_a_pull(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Each page has one opt-out amid ninety-nine items that may be anything."""
    hostile, bodies, opted_out = HostileMovements(1), [], []
    for number in range(PAGES):
        items = [hostile.movement(a_phone(50_000 + number * OF + place)) for place in range(OF - 1)]
        opted_out.append(a_phone(number))
        items.insert(hostile.random.randrange(OF), a_movement(opted_out[-1]))
        bodies.append(hostile.page(items, str(min(number + 1, PAGES - 1))))

    async def changes(
        _client: IysClient, _brand: BrandPath, _stream: Stream, after: str | None
    ) -> MovementPage:
        return MovementPage.read(JsonReader(parse_json(bodies[int(after or 0)])))

    monkeypatch.setattr(IysClient, "changes", changes)
    assert {one.recipient for one in await harness.pull(Stream.IYS)} >= set(opted_out)
    shut = "SELECT FROM consents WHERE recipient = ANY(%(all)s) AND registered = 'RET'"
    assert len(await harness.ledger.fetch(shut, {"all": opted_out})) == PAGES


def a_client(harness: SinkHarness, brands: BrandCache, topic: InMemoryTopic) -> httpx.AsyncClient:
    """Return İYS as a client of a push receiver that publishes to ``topic``."""
    receiver = PushReceiver(
        credentials=AcceptedCredentials(
            Credentials(username="iys", password=SecretStr("fake")),
            harness.ledger,
            clock=harness.clock,
        ),
        brands=brands,
        publisher=topic,  # type: ignore[arg-type]
        topic_messages=harness.context.topic_messages,
        clock=harness.clock,
        count=lambda _: None,
        count_refused=lambda _: None,
    )
    app = Starlette(routes=[Route("/push", receiver.receive, methods=["POST"])])
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(app), base_url="http://sink", auth=("iys", "fake")
    )


async def test_hostile_movements_cost_no_neighbour_of_a_push(harness: SinkHarness):
    """Whatever is beside an opt-out in a push, it is published; the rest is dead-lettered."""
    hostile, topic = HostileMovements(2), InMemoryTopic()
    async with a_client(harness, BrandCache(harness.ledger), topic) as client:
        for number in range(PAGES):
            items = [hostile.movement(a_phone(50_000 + place)) for place in range(OF - 1)]
            items.insert(hostile.random.randrange(OF), a_movement(a_phone(number)))
            assert (await client.post("/push", content=hostile.page(items, "0"))).status_code == 200
    express = harness.context.topic_messages.topics.express.name
    published = {
        event_from_avro(harness.codec.decode("ConsentEvent", one.value)).recipient
        for one in topic.messages
        if one.topic == express
    }
    assert published >= {a_phone(number) for number in range(PAGES)}
    assert len(topic.messages) == PAGES * OF


async def test_push_of_a_known_brand_does_not_wait_for_the_ledger(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """A movement of a brand that may be new is pushed again; its neighbour is published."""
    brands, topic = BrandCache(harness.ledger), InMemoryTopic()
    await brands.refresh()

    monkeypatch.setattr(brands, "refresh", AsyncMock(side_effect=LedgerUnavailableError("away")))
    async with a_client(harness, brands, topic) as client:
        new = {**a_movement(a_phone(1)), "brandCode": BRAND + 1}
        answer = await client.post("/push", json={"list": [new, a_movement(a_phone(2)), "none"]})
    assert answer.status_code == 503
    assert [one.topic for one in topic.messages] == [
        harness.context.topic_messages.topics.express.name
    ]


@pytest.mark.parametrize(
    ("source", "state"), [("HS_WEB", "not_needed"), ("IYS_WEB_YENI", "accepted")]
)
async def test_page_with_a_consent_and_the_opt_out_behind_it_is_taken(
    harness: SinkHarness, source: str, state: str
):
    """Of somebody whose opt-out we had registered: what a page makes of a key is one change."""
    await harness.register_onay()
    await harness.submit_opt_out(ret())
    assert (await harness.row()).state == "accepted"
    for status in ("ONAY", "RET"):
        harness.advance(A_SECOND * 3)
        if source == "HS_WEB":
            now = to_turkish(harness.clock())
            harness.iys.other_writer(status, source=source, consentDate=now)
        else:
            harness.iys.citizen(status, source=source if status == "ONAY" else "IYS_WEB_RET")
    await harness.pull()
    row = await harness.row()
    assert (row.state, row.registered) == (state, "RET")


async def test_submission_of_ours_that_was_lost_is_no_other_writers(harness: SinkHarness):
    """A restored ledger has the decision alone: nothing is published of what İYS shows of it. What
    another writes beside it is published.
    """
    await harness.register_onay()
    async with harness.ledger.transaction() as connection:
        await connection.execute("DELETE FROM submission_items")
        await connection.execute("DELETE FROM erasures")
    assert await harness.pull(Stream.HS) == []
    harness.iys.other_writer("RET", consentDate=to_turkish(harness.clock()), source="HS_WEB")
    (other,) = await harness.pull(Stream.HS)
    assert other.status == "RET"
