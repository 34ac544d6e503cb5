"""ViA as a site has it: `izin api` over a ledger, a worker beside it, and İYS's simulator."""

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import suppress
from datetime import datetime
from functools import partial
from typing import Any
from uuid import uuid4

import httpx
import pytest
from typer.testing import CliRunner

from izin.api.process import run
from izin.cli.cli import app
from izin.local import free_port
from izin.runtime.settings import ApiSettings, LedgerSettings
from izin.schemas.api_keys import Scope
from izin.schemas.codec import Codec
from izin.sinks.outbound.via import ViaCaller
from tests.integration.sinks.sink_harness import Izin, SinkHarness, acts, ended, ret
from tests.support.builders import BRAND, PHONE, a_second_key, an_api_key
from tests.support.published import publish_brand, publish_key
from tests.support.servers.http import served

pytestmark = [pytest.mark.broker, pytest.mark.database]

FOREIGN, THEIRS = a_second_key(
    scopes=frozenset({Scope.PUBLISH.value}), customers=frozenset({"beta"})
)
ASKED = {
    "recipient": "0555 000 00 01",
    "brand_code": BRAND,
    "types": ["MESAJ"],
    "way": "SMS_OTP",
    "form_id": "1",
    "occasion": "form",
}


@pytest.fixture
async def worker(with_topics: SinkHarness) -> AsyncIterator[SinkHarness]:
    """Have a worker take the next step of requests, until the test ends."""

    async def work() -> None:
        caller = ViaCaller(context=with_topics.context)
        while True:
            await caller.step()
            await asyncio.sleep(0.02)

    task = asyncio.create_task(work())
    yield with_topics
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


@pytest.fixture
async def api(
    with_topics: SinkHarness, ledger_settings: LedgerSettings
) -> AsyncIterator[httpx.AsyncClient]:
    """Serve the API over the sinks' ledger; yield a client with the customer's key."""
    kafka = with_topics.settings
    publish_key(kafka, an_api_key(scopes=frozenset({Scope.PUBLISH.value})))
    publish_key(kafka, THEIRS)
    publish_brand(kafka)
    settings = ApiSettings(port=free_port(), operations_port=free_port())
    how = partial(run, kafka, ledger_settings, settings, Codec())
    async with served(settings, how) as (client, _):
        yield client


async def test_site_asks_and_gives_back_the_code(
    worker: SinkHarness, api: httpx.AsyncClient, logged: list[MutableMapping[str, Any]]
):
    """The person has a code, then the consent is at İYS; a wrong one before costs nothing."""
    asked = await api.post("/v1/via", json=ASKED)
    said = asked.json()
    assert (asked.status_code, said["state"], said["result"]) == (202, "asked", None)
    assert datetime.fromisoformat(said["until"]) > worker.clock()
    assert (await api.post("/v1/via", json=ASKED)).json() == said
    path = f"/v1/via/{said['request']}"
    assert (await api.get(path)).json() == said
    wrong = (await api.post(f"{path}/code", json={"code": "0000"})).json()
    assert (wrong["state"], wrong["result"]) == ("asked", "H1052")
    (at_iys,) = worker.iys.via_requests()
    given = await api.post(f"{path}/code", json={"code": at_iys["code"]})
    assert (given.status_code, given.json()["state"]) == (200, "consented")
    assert (await api.post(f"{path}/code", json={"code": at_iys["code"]})).json() == given.json()
    assert worker.iys.register() == {PHONE: "ONAY"}
    (act, end) = await acts(worker.ledger, "%consent")
    assert (act["by"], act["after"]["occasion"]) == ("shop", "form")
    assert (end["by"], end["after"]["state"]) == ("izin", "consented")
    assert [one for one in logged if at_iys["code"] in str(one) or PHONE[3:] in str(one)] == []


async def test_site_of_another_customer_sees_no_request(
    worker: SinkHarness, api: httpx.AsyncClient
):
    """It is answered as one that there is not, and can ask nobody for a brand that is not its."""
    request = (await api.post("/v1/via", json=ASKED)).json()["request"]
    theirs = {"Authorization": f"Bearer {FOREIGN}"}
    for headers, name in ((theirs, request), ({}, str(uuid4())), ({}, "x")):
        for method, path in (("GET", ""), ("POST", "/code")):
            response = await api.request(
                method, f"/v1/via/{name}{path}", json={"code": "123456"}, headers=headers
            )
            assert (response.status_code, response.json()["title"]) == (404, "No such request")
    refused = await api.post("/v1/via", json=ASKED, headers=theirs)
    assert (refused.status_code, refused.json()["title"]) == (403, "Nothing within the key")


async def test_site_is_refused_what_must_not_be_asked(worker: SinkHarness, api: httpx.AsyncClient):
    """An occasion that is none, a way of other types, one who opted out, one who is being asked."""
    wrong = (
        {"occasion": "campaign"},
        {"occasion": None},
        {"way": "EPOSTA_OTP"},
        {"types": None},
        {"types": ["MESAJ", "EPOSTA"]},
        {"form_id": ""},
    )
    for change in wrong:
        response = await api.post("/v1/via", json=ASKED | change)
        assert response.status_code == 422, change
        assert f"/{next(iter(change))} " in response.json()["detail"]
    listed = await api.post("/v1/via", json=[ASKED, ASKED])
    assert listed.status_code == 422, "one at a time: it is no campaign"
    link = (await api.post("/v1/via", json=ASKED | {"way": "SMS_SHORTURL"})).json()
    assert link["state"] == "asked"
    early = await api.post(f"/v1/via/{link['request']}/code", json={"code": "123456"})
    assert (early.status_code, early.json()["title"]) == (409, "No code awaited")
    other = await api.post("/v1/via", json=ASKED)
    assert (other.status_code, other.json()["title"]) == (409, "Asked already")
    await worker.ingest(ret(PHONE))
    response = await api.post("/v1/via", json=ASKED)
    assert (response.status_code, response.json()["title"]) == (409, "Person opted out")
    assert len(worker.iys.via_requests()) == 1


async def test_person_on_the_telephone_is_asked_by_command(worker: SinkHarness, izin: Izin):
    """Only with --execute; the code is read from standard input, and is on no command line."""
    words = ("via", "ask", PHONE, f"--brand={BRAND}", "--type=MESAJ", "--way=SMS_OTP")
    words = (*words, "--form-id=1", "--occasion=call", "--by=ada", "--output=json")
    ended(await izin(*words), 0)
    assert worker.iys.via_requests() == []
    ended(await izin(*words, "--way=EPOSTA_OTP", "--execute"), 2)
    ended(await izin("via", "ask", "x", *words[3:], "--execute"), 2)
    done = ended(await izin(*words, "--execute"), 0)
    assert '"state": "asked"' in done.stdout
    (at_iys,) = worker.iys.via_requests()
    request = done.stdout.partition('"request": "')[2].partition('"')[0]
    for code in (0, 3):
        typed = partial(CliRunner().invoke, app, ["via", "code", request], input=at_iys["code"])
        ended(await asyncio.to_thread(typed), code)
    assert '"consented"' in ended(await izin("via", "show", request, "--output=json"), 0).stdout
    ended(await izin("via", "show", uuid4()), 3)
    (act, _) = await acts(worker.ledger, "%consent")
    assert (act["by"], act["after"]["occasion"]) == ("ada", "call")
    await worker.ingest(ret(PHONE))
    ended(await izin(*words, "--execute"), 3, "refused (RET)")
