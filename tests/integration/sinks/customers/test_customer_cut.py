"""Forty customers with a hundred brands: no command and no route shows one what is another's."""

import time
from collections.abc import Collection, Mapping
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from izin.consent.model import Channel
from izin.console.customers import offboarding
from izin.iys.client import PartnerCalls
from izin.iys.wire_format.account import GrantedBrand, GrantedBrands, Right, Subscription
from izin.iys.wire_format.json_reader import JsonReader
from izin.sinks.monitor.accounts import GrantedBrandsReader
from izin.sinks.outbound.request_budget import RequestBudget
from tests.integration.sinks.sink_harness import Izin, SinkHarness
from tests.support.api_keys import AUTHORIZATION
from tests.support.builders import BRAND
from tests.support.customers.asking import ROUTES, Ask
from tests.support.customers.installation import (
    BRANDS,
    FOREIGN_BRAND,
    FOREIGN_RECIPIENT,
    OWN_BRANDS,
    Installation,
)
from tests.support.customers.ordering import ORDERING
from tests.support.customers.reading import READING
from tests.support.customers.running import CutRunner
from tests.support.customers.traces import FOREIGN, traces

pytestmark = [pytest.mark.database, pytest.mark.broker]


async def test_no_command_or_route_shows_what_is_anothers(
    installed: Installation,
    served: Mapping[str, str],
    izin: Izin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every route, asked with the API key of one customer; every command that can, as a table and
    as JSON, and what it writes. Where a command is asked for another's, it refuses.
    """

    async def has_all(*_: object, **__: object) -> None:
        """Wait for nothing: no order worker takes what stands on the lanes here."""

    monkeypatch.setattr(offboarding, "await_ingested", has_all)
    # The traps close: without a customer the same commands show everybody's, and count it.
    every = {one.group() for one in FOREIGN.finditer((await izin("iys", "counts")).stdout)}
    assert len(every) == BRANDS - len(OWN_BRANDS)
    assert traces("100 keys") == ["100"]
    files = {
        "plan": "plan.json",
        "requeue": "requeue.json",
        "archive": "archive",
        "zip": "acme.zip",
    }
    files |= {"evidence": "evidence.zip", "parked_evidence": "parked.zip"}
    installed.places |= {name: tmp_path / file for name, file in files.items()}
    found = await faults_of_routes(served)
    runner = CutRunner(izin=izin, places=installed.places, folder=tmp_path)
    for name, cut in READING.items():
        found += await runner.faults(name, cut, also_json=True)
    for name, cut in ORDERING.items():
        found += await runner.faults(name, cut)
    assert not found, "\n\n".join(found)


async def faults_of_routes(urls: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the responses to a customer's API key."""
    found: list[str] = []
    given = (str(FOREIGN_BRAND), FOREIGN_RECIPIENT)
    async with httpx.AsyncClient(headers=AUTHORIZATION, trust_env=False) as client:
        for ask in (one for asks in ROUTES.values() for one in asks):
            response = await asked(client, urls[ask.server], ask)
            is_right = response.status_code == ask.status and ask.shows in response.text
            text = response.text.replace(f'"status":{ask.status}', "")
            shown = [*traces(text, given), *traces(str(response.headers), counts=False)]
            if shown or not is_right:
                found.append(f"{ask}: {shown}: {response.status_code} {text[:2000]}")
    return found


async def asked(client: httpx.AsyncClient, url: str, ask: Ask) -> httpx.Response:
    """Return the response to a request."""
    if ask.body is None:
        return await client.get(f"{url}{ask.path}")
    return await client.post(f"{url}{ask.path}", json=ask.body)


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
