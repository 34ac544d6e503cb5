"""Forty customers with a hundred brands in one ledger: no command shows one what is another's."""

import json
import re
import time
from collections.abc import Collection, Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.consent.model import Channel
from izin.console.terminal import interrupts
from izin.iys import GrantedBrand, GrantedBrands, Right, Subscription
from izin.iys.partner import PartnerCalls
from izin.iys.wire_format.json_reader import JsonReader
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.acts import act, brand_key, customer_key
from izin.sinks.ledger.history.append import Movement
from izin.sinks.monitor.granted_brands import GrantedBrandsReader
from izin.sinks.outbound.request_budget import RequestBudget
from tests.integration.sinks.sink_harness import ACTIVE, Izin, SinkHarness, onay
from tests.support.builders import BRAND, CUSTOMER, PHONE
from tests.support.customers.cuts import CUT

pytestmark = pytest.mark.database

CUSTOMERS, BRANDS = 40, 100
OWN_BRANDS = (BRAND, BRAND + 1)
FOREIGN = re.compile(r"foreign|Yabancı|9000\d\d|\+90555900\d{4}", re.IGNORECASE)
"""What must never be in the output: ids, names, brand codes and recipients of the others."""
_TABLES = Path(__file__).parents[3] / "support" / "customers" / "forty_customers.sql"


def movements(brands: list[dict[str, Any]], now: datetime) -> Iterator[Movement]:
    """Yield what the history has of each brand."""
    for one in brands:
        code, customer = one["brand_code"], one["customer_id"]
        key = f"{code}/MESAJ/BIREYSEL/{PHONE}"
        for kind, data in (
            ("answer", {"verdict": "data", "code": f"H{code}", "how": customer}),
            ("breach", {"due_at": now.isoformat(), "of": customer}),
        ):
            yield Movement(
                kind=kind,
                customer_id=customer,
                key=key,
                event_id=f"event-of-{customer}",
                status="RET",
                source=f"{kind}/{code}",
                occurred_at=now,
                data=data,
            )
        for about in (brand_key(code), customer_key(customer)):
            name = f"look at {customer} {code}"
            yield act(name, about, by="ada", now=now, before={}, after={}, customer_id=customer)


@pytest.fixture
async def forty(harness: SinkHarness, monkeypatch: pytest.MonkeyPatch) -> SinkHarness:
    """Give a ledger of forty customers and a hundred brands, each with something of every kind."""
    monkeypatch.setattr(interrupts, "_NUMBERS", ())
    await harness.brand(replace(ACTIVE, brand_code=OWN_BRANDS[1], name="İkinci"))
    await harness.ingest(onay())
    tables = _TABLES.read_text("utf-8").replace("{shared}", PHONE)
    async with harness.ledger.transaction() as connection:
        await connection.execute(tables)  # type: ignore[arg-type]
    brands = [*await harness.ledger.fetch("SELECT brand_code, customer_id FROM brands")]
    now = harness.clock()
    async with harness.ledger.transaction() as connection:
        await append.append(connection, list(movements(brands, now)), now=now)
    assert (len({one["customer_id"] for one in brands}), len(brands)) == (CUSTOMERS, BRANDS)
    return harness


async def test_no_command_shows_a_customer_what_is_anothers(
    forty: SinkHarness, izin: Izin, tmp_path: Path
) -> None:
    """Every command that takes whose data it shows, as a table and as JSON where it has both."""
    places = {"brand": BRAND, "shared": PHONE, "folder": tmp_path}
    assert FOREIGN.search((await izin("brands", "list", "--output=json")).stdout)
    for name, words in CUT.items():
        given = [word.format(**places) for word in words]
        shown = await izin(*name.split(), *given)
        assert shown.exit_code in {0, 1}, (name, shown.stdout, shown.stderr)
        found = FOREIGN.search(shown.stdout + shown.stderr)
        assert found is None, (name, found)
        if "--customer=acme" in words and "list" in name:
            assert CUSTOMER in shown.stdout + shown.stderr or str(BRAND) in shown.stdout, name
    shown = await izin("report", "week", "--customer=acme", "--output=json")
    (week,) = json.loads(shown.stdout)["customers"]
    assert week["refused"] == {f"H{code}": 1 for code in OWN_BRANDS}
    assert (week["breaches"], week["requests"], week["opt_outs"]) == (2, 2, 5)
    assert FOREIGN.search((tmp_path / "opt-outs.csv").read_text("utf-8")) is None


async def test_lost_right_of_one_brand_touches_no_other(
    forty: SinkHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of a hundred brands that are granted, one loses a channel: one suspension is added."""
    rows = await forty.ledger.fetch("SELECT brand_code, iys_code FROM brands")
    lost: set[Channel] = set()

    async def brands(
        _: PartnerCalls, _code: int, iys_code: int | None = None, **_how: object
    ) -> GrantedBrands:
        found = [a_grant(**row, lost=lost) for row in rows if iys_code in {None, row["iys_code"]}]
        return GrantedBrands(brands=tuple(found), unreadable=(), total=len(found))

    async def subscription(_: PartnerCalls, _code: int) -> Subscription:
        return Subscription.read(JsonReader({"status": "ACTIVE"}))

    monkeypatch.setattr(PartnerCalls, "brands", brands)
    monkeypatch.setattr(PartnerCalls, "subscription", subscription)
    budget = RequestBudget(10_000, clock=time.monotonic)
    reader = GrantedBrandsReader(context=forty.context, integrator_code=1, budget=budget)
    assert await reader.look()
    before = set(await forty.suspensions())
    lost.add(Channel.EPOSTA)
    forty.advance(timedelta(days=1))
    assert await reader.look()
    after = set(await forty.suspensions())
    (added,) = after - before
    assert (added.brand_code, added.channel, added.code) == (BRAND, "EPOSTA", "not-granted")
    assert before <= after


def a_grant(*, brand_code: int, iys_code: int, lost: Collection[Channel]) -> GrantedBrand:
    """Return a brand that is granted whole, ours without what is ``lost``."""
    gone = lost if brand_code == BRAND else ()
    return GrantedBrand(
        brand_code=brand_code,
        iys_code=iys_code,
        name="x",
        title="X",
        is_master=True,
        rights={one: Right.WRITE for one in Channel if one not in gone},
        agreement_control=True,
        via_control=False,
    )
