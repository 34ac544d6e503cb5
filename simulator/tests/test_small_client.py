"""A client of sixty lines, written from İYS's reference alone, uses the whole life of a consent."""

import httpx
import pytest

from iys_simulator import SimulatorState
from iys_simulator.app import build_app
from simulator_harness.client import BRAND_CODE, IYS_CODE

ADDRESS = {"recipient": "+905550000001", "recipientType": "BIREYSEL", "type": "MESAJ"}


class Client(httpx.AsyncClient):
    """İYS's API as its reference describes it, and nothing of this project."""

    async def log_in(self) -> None:
        right = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
        token = (await self.post("/oauth2/token", json=right)).raise_for_status().json()
        self.headers["Authorization"] = f"Bearer {token['access_token']}"
        self.base_url = self.base_url.join(f"/sps/{IYS_CODE}/brands/{BRAND_CODE}/")

    async def ask(self, method: str, path: str, **request: object) -> object:
        answer = (await self.request(method, path, **request)).raise_for_status()
        return answer.json() if answer.content else None

    async def summary(self) -> object:
        return await self.ask("POST", "consents/status", json=ADDRESS)


@pytest.fixture
async def client(state: SimulatorState):
    """Yield the client, logged in; it waits by moving the simulator's clock."""
    transport = httpx.ASGITransport(build_app(state))
    async with Client(transport=transport, base_url="http://iys.invalid") as client:
        await client.log_in()
        yield client


async def test_full_life_of_a_consent(client: Client, state: SimulatorState):
    """Unknown, opted in, renewed in a batch, opted out by the citizen, pulled, and read back."""
    assert await client.summary() == {}
    approval = dict(ADDRESS, source="HS_WEB", status="ONAY", consentDate="2026-09-17 10:00:00")
    saved = await client.ask("POST", "consents", json=approval)
    assert (await client.summary())["transactionId"] == saved["transactionId"]
    renewal = {**approval, "consentDate": "2026-09-17 11:00:00"}
    batch = await client.ask("POST", "consents/request", json=[renewal])
    state.clock.advance(300)
    (result,) = await client.ask("GET", f"consents/request/{batch['requestId']}")
    assert result["status"] == "success"
    change = {**ADDRESS, "brandCode": BRAND_CODE, "status": "RET"}
    await client.ask("POST", "http://iys.invalid/__simulator__/citizen", json=[change])
    assert (await client.summary())["status"] == "RET"
    asked = {"recipients": [ADDRESS["recipient"]]}
    assert not (await client.ask("POST", "consents/BIREYSEL/status/MESAJ", json=asked))["list"]
    state.clock.advance(3700)
    page = await client.ask("GET", "consents/changes")
    assert [(item["source"], item["status"]) for item in page["list"]] == [("IYS_WEB", "RET")]
    assert await client.ask("GET", "consents/changes", params={"after": page["after"]}) is None
    history = await client.ask("POST", "consents/history", json=ADDRESS)
    assert [movement["status"] for movement in history["list"]] == ["RET", "ONAY", "ONAY"]
