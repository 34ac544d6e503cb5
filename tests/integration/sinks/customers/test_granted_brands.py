"""What İYS lists for a business partner: lost and regained rights, offers, and what is believed."""

import json
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta

import pytest
from structlog.typing import EventDict

from izin.consent import Channel
from izin.iys.client import PartnerCalls
from izin.iys.errors import BusyError
from izin.iys.wire_format import GrantedBrands
from izin.ledger import stream_progress
from izin.ledger.registry import granted as listing
from izin.ledger.registry.granted import AGAIN
from izin.sinks.inbound.daily.loop import DailyFiles
from izin.sinks.monitor.accounts import BY_LIST, GrantedBrandsReader
from izin.sinks.outbound.context import RequestBudget
from tests.integration.sinks.inbound.test_pull import freshness
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    InMemoryTopic,
    Izin,
    SinkHarness,
    acts,
    onay,
    ret,
    set_environment,
)
from tests.support.builders import BRAND, PHONE
from tests.support.simulator import IYS_CODE, PASSWORD, USERNAME, SimulatorAdmin

pytestmark = pytest.mark.database

PARTNER = 700001
OTHER = BRAND + 1
WRITES = dict.fromkeys(map(str, Channel), "write")
A_DAY = timedelta(days=1)


def grant(iys: SimulatorAdmin, rights: Mapping[str, str] | None, **more: bool) -> None:
    """Have the provider grant ``rights`` to us; None: nothing of the brand."""
    one = {"integratorCode": PARTNER, "rights": rights, **more}
    iys.brand(grants=[] if rights is None else [one])


async def next_day(
    harness: SinkHarness,
    reader: GrantedBrandsReader,
    rights: Mapping[str, str] | None = WRITES,
    **more: bool,
) -> None:
    """Have the provider grant ``rights`` to us, and read İYS's list a day later."""
    grant(harness.iys, rights, **more)
    harness.advance(A_DAY)
    await reader.look()


@pytest.fixture
def reader(harness: SinkHarness) -> GrantedBrandsReader:
    """Give the reader of the partner's list; our brand is granted whole."""
    iys = harness.iys
    iys.post("accounts", username=USERNAME, password=PASSWORD, iysCode=PARTNER, isIntegrator=True)
    grant(iys, WRITES)
    return GrantedBrandsReader(
        context=harness.context,
        integrator_code=PARTNER,
        budget=RequestBudget(1000, clock=time.monotonic),
    )


async def suspended(harness: SinkHarness) -> list[tuple[int, str, str]]:
    """Return what is suspended: brand, channel and code."""
    return [(one.brand_code, one.channel, one.code) for one in await harness.suspensions()]


async def lost_rights(harness: SinkHarness) -> list[tuple[str, str]]:
    """Return the rights of our brand that count as lost: which, and of which channel."""
    return [(one.right, one.channel) for one in await listing.lost_rights(harness.ledger)]


async def test_lost_right_to_write_suspends_until_it_is_listed(
    harness: SinkHarness, reader: GrantedBrandsReader, logged: list[EventDict]
) -> None:
    """Only its channel, of no other brand; the opt-out that waits is sent once the right is back,
    and no sooner. What a person declared, the list does not end.
    """
    neighbour = {"brandCode": OTHER, "iysCode": IYS_CODE}
    granted = [{"integratorCode": PARTNER, "rights": WRITES}]
    harness.iys.post("brands", **neighbour, name="İkinci", grants=granted)
    await harness.brand(replace(ACTIVE, brand_code=OTHER))
    assert await reader.look()
    assert await suspended(harness) == []
    await harness.register_onay()
    await next_day(harness, reader, {**WRITES, "MESAJ": "read"})
    assert await suspended(harness) == [(BRAND, "MESAJ", "not-granted")]
    (alert,) = [one for one in logged if one["event"] == "right to write lost"]
    assert (alert["log_level"], alert["channel"]) == ("critical", "MESAJ")
    await harness.ingest(ret())
    assert not await harness.opt_out()
    (one,) = await acts(harness.ledger, "change rights")
    assert (one["by"], one["after"]["rights"]) == (BY_LIST, ["ARAMA", "EPOSTA"])
    await next_day(harness, reader, WRITES)
    assert await harness.opt_out()
    assert harness.iys.register()[PHONE] == "RET"

    # What a person declared stays, before and after the list lost the right.
    await harness.set_rights([Channel.ARAMA, Channel.MESAJ])
    assert await lost_rights(harness) == []
    await next_day(harness, reader)
    assert await suspended(harness) == [(BRAND, "EPOSTA", "no-right")]
    await next_day(harness, reader, {"ARAMA": "write"})
    await harness.set_rights([Channel.ARAMA])
    await next_day(harness, reader, WRITES)
    assert await suspended(harness) == [
        (BRAND, "EPOSTA", "no-right"),
        (BRAND, "MESAJ", "no-right"),
    ]


async def test_refused_call_has_the_list_read_once_in_a_while(
    harness: SinkHarness, reader: GrantedBrandsReader
) -> None:
    """After H353 the list is due, but not again within a quarter of an hour."""
    await harness.ledger.fetch(
        "INSERT INTO list_readings (account, tried_at) VALUES ('former', '2020-01-01') RETURNING *"
    )
    await reader.look()
    assert not await reader.look()
    (used,) = await listing.readings(harness.ledger)
    assert (used.account, used.is_stale(harness.clock())) == (
        reader.context.lease_owner.account,
        False,
    )
    grant(harness.iys, {"ARAMA": "write", "EPOSTA": "write"})
    await harness.submit_bulk(onay())
    assert await suspended(harness) == [(BRAND, "MESAJ", "H353")]
    assert not await reader.look()
    harness.advance(AGAIN)
    assert await reader.look()
    assert await suspended(harness) == [(BRAND, "MESAJ", "not-granted")]
    calls = harness.iys.calls("batchV2")
    harness.advance(timedelta(hours=1))
    assert not await harness.bulk()
    assert harness.iys.calls("batchV2") == calls
    # A channel that İYS refused and lists as granted is tried before a minute is over.
    await next_day(harness, reader, WRITES)
    await harness.meet_fault("batchV2", harness.bulk, status=403, code="H353")
    harness.advance(AGAIN)
    await harness.ledger.fetch(
        "UPDATE suspensions SET recheck_at = now() + interval '9 days' RETURNING code"
    )
    assert await reader.look()
    (one,) = await harness.suspensions()
    assert (one.code, one.recheck_at is not None) == ("H353", True)
    assert one.recheck_at <= harness.clock()  # type: ignore[operator]


async def test_right_to_read_alone_is_read_and_its_loss_noticed(
    harness: SinkHarness, reader: GrantedBrandsReader, logged: list[EventDict]
) -> None:
    """Freshness follows what may be read, not what may be written; a gap is pulled again. A brand
    that may be neither is not called for at all.
    """
    grant(harness.iys, {"ARAMA": "write", "MESAJ": "read"})
    await reader.look()
    await harness.pull()
    assert {one["type"] for one in await freshness(harness)} == {"ARAMA", "MESAJ"}
    await next_day(harness, reader, {"ARAMA": "write"})
    (lost,) = [one for one in logged if one["event"] == "right to read lost"]
    assert lost["channel"] == "MESAJ"
    (before,) = await listing.every(harness.ledger)
    assert set(before.unread_since) == {Channel.MESAJ}
    assert await lost_rights(harness) == [
        ("read", "MESAJ"),
        ("write", "EPOSTA"),
        ("write", "MESAJ"),
    ]
    await next_day(harness, reader, {"ARAMA": "write", "MESAJ": "read"})
    streams = await stream_progress.read(harness.ledger)
    assert max(one.last_pulled_at for one in streams) <= before.unread_since[Channel.MESAJ]
    (after,) = await listing.every(harness.ledger)
    assert after.unread_since == {}

    # Without any right a brand is neither pulled nor queried: each call would fail.
    await harness.ingest(ret())
    puller = harness.puller(InMemoryTopic())
    assert await puller.pull_next()
    await next_day(harness, reader, None)
    assert [code for _, _, code in await suspended(harness)] == ["not-granted"] * 3
    (gone,) = await listing.every(harness.ledger)
    assert (gone.gone_at is None, gone.reads) == (False, ())
    calls = harness.iys.requests()
    assert not await puller.pull_next()
    assert not await harness.query()
    assert not await harness.opt_out()
    assert harness.iys.requests() == calls


async def test_brand_without_agreement_control_has_no_daily_calls(
    harness: SinkHarness, reader: GrantedBrandsReader
) -> None:
    """Nothing is noted, and what was noted waits without an alert until the right is back."""
    daily = DailyFiles(
        context=harness.context,
        publisher=InMemoryTopic(),  # type: ignore[arg-type]
        available_from=(harness.clock() - A_DAY).time(),
        empty_date="",
    )
    grant(harness.iys, WRITES, agreementControl=False)
    await reader.look()
    assert await daily.look() == 0
    assert await harness.ledger.fetch("SELECT 1 FROM daily_files") == []
    await next_day(harness, reader, WRITES)
    assert await daily.look() > 0
    grant(harness.iys, WRITES, agreementControl=False)
    harness.advance(A_DAY * 3)
    await reader.look()
    assert await daily.look() == 0
    assert not any("daily file" in one.event for one in await harness.monitor.check())


async def test_loss_is_believed_only_if_the_providers_own_list_shows_it(
    harness: SinkHarness, reader: GrantedBrandsReader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A page that lacks the brand changes nothing, nor does a provider's list that fails. A brand
    that is new is an offer, until the list lacks it.
    """
    await reader.look()
    brands = PartnerCalls.brands
    away: Exception | None = None

    async def without(
        self: PartnerCalls, code: int, iys_code: int | None = None, **how: object
    ) -> GrantedBrands:
        found = await brands(self, code, iys_code, **how)
        if iys_code is None:
            return replace(found, brands=())
        if away is not None:
            raise away
        return found

    monkeypatch.setattr(PartnerCalls, "brands", without)
    await next_day(harness, reader)
    assert await suspended(harness) == []

    away = BusyError("away")
    await next_day(harness, reader)
    assert await suspended(harness) == []
    reading = await listing.reading_of(harness.ledger, "")
    assert (reading.attempts, "away" in (reading.error or "")) == (1, True)
    assert not reading.is_due(harness.clock())
    harness.advance(timedelta(hours=1))
    assert reading.is_due(harness.clock())

    # A new brand is offered, and never registered by itself.
    monkeypatch.setattr(PartnerCalls, "brands", brands)
    harness.advance(A_DAY)
    granted = [{"integratorCode": PARTNER, "rights": WRITES}]
    other = {"brandCode": OTHER, "iysCode": IYS_CODE}
    harness.iys.post("brands", **other, name="İkinci", grants=granted)
    await reader.look()
    assert [one.brand_code for one in await listing.every(harness.ledger)] == [BRAND, OTHER]
    assert await harness.ledger.fetch("SELECT brand_code FROM brands") == [{"brand_code": BRAND}]
    harness.iys.post("brands", **other, grants=[])
    await next_day(harness, reader)
    assert [one.brand_code for one in await listing.every(harness.ledger)] == [BRAND]


async def test_sync_command_shows_first_and_follows_with_execute(
    harness: SinkHarness, reader: GrantedBrandsReader, izin: Izin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Offers come with their command; a lost right is exit code 1; a customer sees its own."""
    given = {
        "IYS_BASE_URL": harness.iys.address,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_INTEGRATOR_CODE": str(PARTNER),
    }
    set_environment(monkeypatch, given)
    granted = [{"integratorCode": PARTNER, "rights": {"ARAMA": "write"}}]
    for code, iys_code, name in ((BRAND, IYS_CODE, "Örnek"), (OTHER, IYS_CODE, "O'nun")):
        harness.iys.post("brands", brandCode=code, iysCode=iys_code, name=name, grants=granted)
    shown = await izin("customers", "sync", "--output=json")
    rows = json.loads(shown.stdout)
    assert (shown.exit_code, "--execute" in shown.stderr) == (1, True)
    assert [row["what"] for row in rows if row["brand_code"] == BRAND] == [
        "MESAJ: write -> no",
        "EPOSTA: write -> no",
    ]
    (offer,) = [row["remedy"] for row in rows if row["brand_code"] == OTHER]
    command = f"izin brands add {OTHER} --iys-code {IYS_CODE} --customer {ACTIVE.customer_id}"
    assert offer.startswith(command)
    assert "'O'\"'\"'nun'" in offer
    assert await suspended(harness) == []
    # A provider's own account: İYS lists its brands without rights, and the new one is offered.
    monkeypatch.delenv("IYS_INTEGRATOR_CODE")
    own = await izin("customers", "sync", "--execute", "--output=json")
    assert [row["brand_code"] for row in json.loads(own.stdout)] == [OTHER]
    listed = json.loads((await izin("customers", "granted-brands", "--output=json")).stdout)
    assert {row["writes"] for row in listed} == {"unknown"}
    monkeypatch.setenv("IYS_INTEGRATOR_CODE", str(PARTNER))
    assert (await izin("customers", "sync", "--execute", "--by=ada")).exit_code == 1
    assert {channel for _, channel, _ in await suspended(harness)} == {"MESAJ", "EPOSTA"}
    assert [one["by"] for one in await acts(harness.ledger, "change rights")] == ["ada"]
    subscriptions = await harness.ledger.fetch("SELECT subscription FROM brands")
    assert subscriptions == [{"subscription": "ACTIVE"}]
    listed = json.loads((await izin("customers", "granted-brands", "--output=json")).stdout)
    assert [(row["brand_code"], row["writes"]) for row in listed] == [
        (BRAND, "ARAMA"),
        (OTHER, "ARAMA"),
    ]
    assert (await izin("customers", "sync", "--customer=nobody")).exit_code == 3
    assert "izin customers sync" in (await izin("brands", "suspensions", "--output=json")).stdout
