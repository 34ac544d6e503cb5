"""What citizens do at İYS is registered, and nothing of ours is submitted over it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from structlog.typing import EventDict

from izin.consent.model import Channel
from izin.iys.client import IysClient
from izin.iys.wire_format.consents import BrandPath, MovementPage, Stream
from izin.iys.wire_format.json_reader import UnreadableItem, to_turkish
from izin.sinks.ledger.sweep import sweeps
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    HIDDEN,
    SinkHarness,
    a_phone,
    given_at,
    minutes_ago,
    ret,
)
from tests.support.builders import PHONE, an_iys_event, an_iys_origin

pytestmark = pytest.mark.database


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
    harness.iys.citizen("RET", consentDate="2026-01-05 10:00:00")
    harness.advance(timedelta(minutes=1))
    await harness.ingest(given_at(harness.clock() - A_SECOND))
    if kind == "single":
        await harness.set_columns(expires_at=harness.clock() + timedelta(minutes=50))
        harness.iys.inject_fault("addV2", drop="before")
        assert await harness.scheduler.last_hour()
    else:
        await harness.lose_batch()
    assert (await harness.row()).state == "unknown"
    await harness.pull_and_ingest(Stream.IYS)
    assert await harness.columns("registered", "registered_source", "desired_status") == (
        "RET",
        "IYS_WEB",
        "ONAY",
    )
    for _ in range(3):
        await harness.recover(A_SECOND * 10)
        await harness.settle()
    assert harness.iys.register() == {PHONE: "RET"}
    assert await harness.columns("state", "reason", "may_send") == ("parked", "reconsent", False)


async def test_throttled_opt_in_after_pushed_opt_out_is_not_sent_again(harness: SinkHarness):
    """The opt-out was pushed while the call waited for its slot, and İYS answered busy."""
    harness.iys.citizen("RET", consentDate="2026-01-05 10:00:00")
    harness.advance(timedelta(minutes=1))
    at = harness.clock() - A_SECOND
    await harness.ingest(given_at(at))
    opt_out = an_iys_event(
        event_id="no",
        consent_date=datetime(2026, 1, 5, 7, tzinfo=UTC),
        iys=an_iys_origin(creation_date=at - timedelta(minutes=1)),
    )
    harness.pacer.meanwhile = partial(harness.ingest, opt_out)
    harness.iys.inject_fault("batchV2", status=400, code="H123")
    assert await harness.bulk()
    assert (await harness.row()).registered == "RET"
    harness.advance(timedelta(minutes=1))
    assert not await harness.bulk()
    await harness.settle()
    assert harness.iys.register() == {PHONE: "RET"}
    assert (await harness.row()).may_send is False


@pytest.mark.parametrize("by", ["person", "iys"])
async def test_opt_out_hidden_by_lost_right_is_pulled_after_right_returns(
    harness: SinkHarness, by: str
):
    """İYS leaves out of a page what a partner may not read, and the cursor moves on."""
    await harness.register_onay()
    await harness.pull()
    rights = {"ARAMA": "write", "EPOSTA": "write"}
    harness.iys.brand(rights=rights)
    if by == "person":
        await harness.set_rights((Channel.ARAMA, Channel.EPOSTA))
    else:
        await harness.suspend("H353", channel="MESAJ")
    harness.iys.citizen("RET")
    harness.iys.citizen("ONAY", a_phone(2), type="ARAMA", source="IYS_WEB_YENI")
    harness.advance(timedelta(minutes=1))
    harness.iys.citizen("ONAY", a_phone(3), type="ARAMA", source="IYS_WEB_YENI")
    await harness.pull_and_ingest()
    harness.iys.brand(rights={**rights, "MESAJ": "write"})
    if by == "person":
        await harness.set_rights(tuple(Channel))
    else:
        await harness.resume("MESAJ", "ONAY")
    await harness.run(harness.pull_and_ingest, times=3, every=timedelta(minutes=15))
    assert harness.iys.register()[PHONE] == "RET"
    assert await harness.columns("registered", "may_send") == ("RET", False)


async def test_opt_out_beyond_pull_window_is_found_by_a_sweep(harness: SinkHarness):
    """The brand was not pulled for eight days, and İYS shows seven. One sweep is enough, though
    both streams find the gap.
    """
    await harness.register_onay()
    harness.advance(timedelta(hours=1))
    await harness.pull()
    harness.iys.citizen("RET")
    harness.advance(timedelta(days=8))
    await harness.pull_and_ingest()
    assert await harness.columns("registered", "may_send") == ("ONAY", True)
    assert await harness.sweep()
    assert await harness.columns("registered", "may_send") == ("NOT_ONAY", False)
    assert await harness.swept_querier.query_swept()
    assert await harness.columns("registered", "may_send") == ("RET", False)
    await harness.pull_and_ingest()
    (sweep,) = await sweeps.latest(harness.ledger)
    assert (sweep.reason, sweep.is_stopped, sweep.counts.shut) == ("gap", False, 1)
    assert not await harness.sweep()
    (event,) = await harness.published()
    assert (event.status, event.iys is not None) == ("RET", True)


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
    await harness.ingest(ret(minutes=30))
    assert await harness.opt_out()
    assert (await harness.row()).state == "not_needed"
    harness.advance(A_SECOND * 5)
    older = to_turkish(minutes_ago(120))
    harness.iys.other_writer("ONAY", consentDate=older, source="HS_WEB")
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
    given_on = to_turkish(minutes_ago(1))
    harness.iys.other_writer("RET", consentDate=given_on, source="HS_WEB")
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
    harness.iys.citizen("RET")
    harness.advance(timedelta(minutes=1))
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
    harness.iys.citizen("RET")
    harness.advance(timedelta(minutes=1))
    pages = [await harness.context.client.changes(ACTIVE.path, Stream.IYS, None)]
    (last,) = pages
    assert last is not None

    async def the_same(*_: object) -> MovementPage:
        pages.append(last)
        assert len(pages) < 5, "the same page again and again"
        return last

    monkeypatch.setattr(IysClient, "changes", the_same)
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
