"""The client against the simulator over real HTTP, where what waits for it shows less."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import httpx
import orjson
import pytest
from pydantic import SecretStr

from izin.iys.client import IysClient
from izin.iys.errors import OutcomeUnknownError
from izin.iys.exchange import Call, Exchange, Method
from izin.iys.tokens import TokenAuth
from izin.iys.wire_format import Stream
from izin.ledger.db import Ledger
from izin.runtime.settings import IysSettings
from izin.sinks.outbound.context import iys_session
from tests.support.builders import PHONE
from tests.support.iys import InMemoryTokenStore, RecordingPacer
from tests.support.simulator import IYS_CODE, SimulatorAdmin
from tests.support.tcp import silent_server
from tests.unit.iys.test_client import BRAND, METHODS

OTHER = "+905550000002"


@pytest.fixture
def pacer() -> RecordingPacer:
    """Give the pacer of the client."""
    return RecordingPacer()


@pytest.fixture
async def client(
    iys: SimulatorAdmin, iys_settings: IysSettings, pacer: RecordingPacer
) -> AsyncIterator[IysClient]:
    """Give a client of the simulator."""
    assert iys
    auth = TokenAuth(iys_settings, InMemoryTokenStore())
    async with IysClient(iys_settings, auth=auth, pacer=pacer) as client:
        yield client


async def test_stream_is_pulled_page_by_page(iys: SimulatorAdmin, client: IysClient):
    """The cursor of a page leads to the next one, and behind the last is none."""
    for recipient in (PHONE, OTHER):
        iys.citizen("RET", recipient)
        iys.advance(2)
    seen, after = [], None
    while page := await client.changes(BRAND, Stream.IYS, after, limit=1):
        seen += [one.recipient for one in page.movements]
        after = page.after
    assert seen == [PHONE, OTHER]


@pytest.mark.database
async def test_paced_calls_are_never_throttled(
    iys: SimulatorAdmin, ledger: Ledger, iys_settings: IysSettings
):
    """Nine a second pass where ten are counted by sliding seconds, the strictest reading."""
    iys.post("settings", requestsPerSecond=10, requestWindow="sliding")
    paced = iys_settings.model_copy(update={"requests_per_second": 9})
    async with iys_session(ledger, paced) as (client, pacer):
        await pacer.begin()
        for _ in range(15):
            await client.brands(IYS_CODE)


@pytest.mark.usefixtures("iys")
async def test_call_counts_as_sent_with_its_last_byte(client: IysClient, pacer: RecordingPacer):
    """Not when its slot came: a connection may have to be made first. With a body or without.

    The slot is awaited once the connection is established. The first call is that of the token.
    """
    for name in ("statuses", "push_registrations"):
        await METHODS[name](client)
    assert pacer.noted == [
        (what, slot) for slot in (1, 2, 3) for what in ("until", "left", "arrived")
    ]


async def test_call_that_is_given_up_is_not_delivered_later():
    """İYS reads nothing while the network is silent; after it, not all of a lost call is there."""
    with silent_server() as (port, received):
        settings = IysSettings(
            base_url=f"http://127.0.0.1:{port}",
            username="fake",
            password=SecretStr("fake"),
            timeout=timedelta(seconds=0.5),
        )
        body = ["x" * 1000] * 200
        call = Call(method=Method.POST, path="/v2", name="add_batch", body=body, writes=True)
        async with Exchange(settings, auth=httpx.Auth(), pacer=RecordingPacer()) as exchange:
            with pytest.raises(OutcomeUnknownError):
                await exchange.call(call, lambda answer: answer)
        assert await asyncio.to_thread(received) < len(orjson.dumps(body))
