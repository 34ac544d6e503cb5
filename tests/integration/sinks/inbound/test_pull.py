"""What citizens say at İYS is heard, and nothing of ours is told over it unasked."""

from datetime import UTC, datetime, timedelta

import pytest

from izin.consent.model import Channel
from izin.iys.client import IysClient
from izin.iys.wire_format.consents import MovementPage, Stream
from izin.iys.wire_format.json_reader import to_turkish
from izin.sinks.ledger import suspensions as standing
from izin.sinks.monitor.deadlines import DeadlineMonitor
from izin.sinks.record.suspension import EVERY
from tests.integration.sinks.hearing import decided, fresh, pull
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    IYS_CODE,
    House,
    a_phone,
    recently,
    ret,
)
from tests.support.builders import BRAND, PHONE, a_statement, an_iys_event

pytestmark = pytest.mark.database


async def test_a_pending_onay_is_not_told_over_a_newer_no_that_pull_has_shown(house: House):
    """Pull has told the ledger of the citizen's no; its decision is still on its way."""
    at = house.clock()
    await house.ingest(fresh(at, notice_version="1"))
    house.twin.order("clock", advance=3)
    house.twin.citizen(
        "RET", PHONE, source="IYS_AHS_HAT_KAPATMA", consentDate="2026-01-05 10:00:00"
    )
    await pull(house, Stream.IYS)
    entry = await house.entry()
    assert (entry.registered, entry.desired_status) == ("RET", "ONAY")
    await house.scheduler.bulk()
    house.results_are_due()
    await house.poller.settle()
    entry = await house.entry()
    assert (house.twin.register(), entry.may_send) == ({PHONE: "RET"}, False)


@pytest.mark.parametrize("kind", ["single", "batch"])
async def test_a_lost_onay_is_not_told_again_over_a_no_that_pull_has_shown(house: House, kind: str):
    """An ONAY nobody attests: over the citizen's RET it waits for a person (reconsent)."""
    house.twin.citizen("RET", PHONE, consentDate="2026-01-05 10:00:00")
    house.passes(timedelta(minutes=1))
    at = house.clock() - A_SECOND
    await house.ingest(fresh(at))
    if kind == "single":
        await house.ledger.fetch(
            "UPDATE consents SET expires_at = %(soon)s RETURNING key",
            {"soon": house.clock() + timedelta(minutes=50)},
        )
        house.twin.weather("addV2", drop="before")
        assert await house.scheduler.last_hour()
    else:
        house.twin.weather("batchV2", drop="before")
        assert await house.scheduler.bulk()
    assert (await house.entry()).state == "unknown"
    await decided(house, await pull(house, Stream.IYS))
    entry = await house.entry()
    assert (entry.registered, entry.registered_source, entry.desired_status) == (
        "RET",
        "IYS_WEB",
        "ONAY",
    )
    for _ in range(3):
        await house.recovery(A_SECOND * 10).recover()
        house.results_are_due()
        await house.poller.settle()
    assert house.twin.register() == {PHONE: "RET"}
    entry = await house.entry()
    assert (entry.state, entry.reason, entry.may_send) == ("parked", "reconsent", False)


async def test_an_onay_that_iys_was_too_busy_for_is_not_told_over_a_no(house: House):
    """While the call waited for its turn the citizen's RET was heard; and then İYS was busy."""
    house.twin.citizen("RET", PHONE, consentDate="2026-01-05 10:00:00")
    house.passes(timedelta(minutes=1))
    at = house.clock() - A_SECOND
    await house.ingest(fresh(at))
    said_no = an_iys_event(
        event_id="no",
        recipient=PHONE,
        consent_date=datetime(2026, 1, 5, 7, tzinfo=UTC),
        iys=a_statement(creation_date=at - timedelta(minutes=1)),
    )

    async def pushed() -> None:
        await house.ingest(said_no)

    house.turns.meanwhile = pushed
    house.twin.weather("batchV2", status=400, code="H123")
    assert await house.scheduler.bulk()
    assert (await house.entry()).registered == "RET"
    house.passes(timedelta(minutes=1))
    assert not await house.scheduler.bulk()
    house.results_are_due()
    await house.poller.settle()
    assert house.twin.register() == {PHONE: "RET"}
    assert (await house.entry()).may_send is False


async def loses_the_right(house: House, by: str) -> None:
    """Have the right to the key's type be lost, as a person or İYS says."""
    if by == "person":
        left = (Channel.ARAMA, Channel.EPOSTA)
        await standing.set_rights(house.ledger, BRAND, left, by="ada", now=house.clock())
        return
    async with house.ledger.transaction() as connection:
        await standing.stop(
            connection,
            ACTIVE,
            account="ada",
            channel="MESAJ",
            status=EVERY,
            code="H353",
            reason="no right",
            now=house.clock(),
        )


async def has_the_right_again(house: House, by: str) -> None:
    """Have it be given back: a person says so, or İYS takes a record of the type."""
    if by == "person":
        await standing.set_rights(house.ledger, BRAND, tuple(Channel), by="ada", now=house.clock())
        return
    async with house.ledger.transaction() as connection:
        await standing.lift(connection, BRAND, "MESAJ", "ONAY", account="ada")


@pytest.mark.parametrize("by", ["person", "iys"])
async def test_a_no_given_while_the_right_to_read_was_lost_is_heard_when_it_is_given_back(
    house: House, by: str
):
    """İYS leaves out of a partner's page what he may not read, and the cursor moves on."""
    await house.told_onay(PHONE)
    await pull(house)
    what = {"brandCode": BRAND, "iysCode": IYS_CODE, "name": "Örnek"}
    what["activatedAt"] = "2020-01-01 00:00:00"
    house.twin.order("brands", **what, rights={"ARAMA": "write", "EPOSTA": "write"})
    await loses_the_right(house, by)
    house.twin.citizen("RET", PHONE)
    house.twin.citizen("ONAY", a_phone(2), type="ARAMA", source="IYS_WEB_YENI")
    house.passes(timedelta(minutes=1))
    house.twin.citizen("ONAY", a_phone(3), type="ARAMA", source="IYS_WEB_YENI")
    await decided(house, await pull(house))
    house.twin.order(
        "brands", **what, rights={"ARAMA": "write", "EPOSTA": "write", "MESAJ": "write"}
    )
    await has_the_right_again(house, by)
    for _ in range(3):
        house.passes(timedelta(minutes=15))
        await decided(house, await pull(house))
    entry = await house.entry()
    assert house.twin.register()[PHONE] == "RET"
    assert (entry.registered, entry.may_send) == ("RET", False)


async def test_a_no_behind_a_gap_that_pull_cannot_close_is_not_passed_over_in_silence(
    house: House,
):
    """The brand was stopped (or its subscription closed) for eight days; İYS shows seven."""
    await house.told_onay(PHONE)
    house.passes(timedelta(hours=1))
    await pull(house)
    house.twin.citizen("RET", PHONE)
    house.passes(timedelta(days=8))
    await decided(house, await pull(house))
    for _ in range(5):
        house.passes(timedelta(minutes=15))
        await decided(house, await pull(house))
        await house.querier.ask()
    watch = DeadlineMonitor(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    entry = await house.entry()
    assert entry.may_send is False or await watch.look()


async def test_a_stream_that_cannot_be_pulled_rings(house: House):
    """İYS does not take our cursor any more, or leaves no right to read: for a week."""
    await house.told_onay(PHONE)
    await pull(house)
    house.twin.weather("changes", status=422, code="H506", times=None)
    watch = DeadlineMonitor(ledger=house.ledger, clock=house.clock, interval=timedelta(minutes=1))
    for _ in range(7):
        house.passes(timedelta(days=1))
        await pull(house)
    assert await watch.look()


async def test_an_old_yes_that_another_writer_uploads_late_does_not_undo_our_no(house: House):
    """The opt-out came to us and İYS had nothing to withdraw; then the portal writes a yes that
    was given before it.
    """
    await house.ingest(ret(PHONE, minutes=30))
    assert await house.scheduler.opt_out()
    assert (await house.entry()).state == "not_needed"
    house.passes(A_SECOND * 5)
    older = to_turkish(recently(120))
    item = {"brandCode": BRAND, "type": "MESAJ", "recipient": PHONE, "status": "ONAY"}
    house.twin.order(
        "writers", writer="portal", movements=[{**item, "consentDate": older, "source": "HS_WEB"}]
    )
    await decided(house, await pull(house, Stream.HS))
    for _ in range(5):
        house.passes(timedelta(minutes=15))
        await house.scheduler.opt_out()
        await house.querier.ask()
        await decided(house, await pull(house))
    assert (await house.entry()).desired_status == "RET"
    assert house.twin.register() == {PHONE: "RET"}


async def test_a_merchants_first_record_without_a_source_holds_no_page_up(house: House):
    """It needs neither date nor source; the "no" behind it on the page is heard."""
    await house.told_onay(PHONE)
    merchants = {"brandCode": BRAND, "type": "ARAMA", "recipientType": "TACIR", "status": "ONAY"}
    house.twin.order("writers", writer="portal", movements=[{**merchants, "recipient": a_phone(7)}])
    house.passes(timedelta(minutes=1))
    no = {"brandCode": BRAND, "type": "MESAJ", "recipient": PHONE, "status": "RET"}
    said = to_turkish(recently(1))
    house.twin.order(
        "writers",
        writer="portal",
        movements=[{**no, "consentDate": said, "source": "HS_WEB"}],
    )
    await decided(house, await pull(house))
    assert (await house.entry()).registered == "RET"


async def test_a_cursor_that_stays_where_it_is_ends_the_pull(
    house: House, monkeypatch: pytest.MonkeyPatch
):
    """The last page is heard, and not asked for again without a rest."""
    await house.told_onay(PHONE)
    house.twin.citizen("RET", PHONE)
    house.passes(timedelta(minutes=1))
    pages = [await house.tools.client.changes(ACTIVE.path, Stream.IYS, None)]
    (last,) = pages
    assert last is not None

    async def the_same(*_: object) -> MovementPage:
        pages.append(last)
        assert len(pages) < 5, "the same page again and again"
        return last

    monkeypatch.setattr(IysClient, "changes", the_same)
    await decided(house, await pull(house, Stream.IYS))
    assert (await house.entry()).registered == "RET"
