"""`SimulatorHarness` is a client and an operator of a simulator; `a_brand` builds a brand."""

from datetime import datetime

import httpx

from iys_simulator import SimulatorState
from iys_simulator.clock import TURKEY
from iys_simulator.store.accounts import Brand

IYS_CODE = 660001
BRAND_CODE = 660101
NOW = "2026-09-17 12:00:00"  # a Thursday, Turkish time
YESTERDAY = "2026-09-16 10:00:00"
PHONE = "+905550000001"
PATH = f"/sps/{IYS_CODE}/brands/{BRAND_CODE}"


def seconds_of(text: str) -> float:
    """Return a wire text as epoch seconds."""
    return datetime.fromisoformat(text).replace(tzinfo=TURKEY).timestamp()


class SimulatorHarness:
    """A client with a token, and the admin API. The machine's clock is stopped."""

    def __init__(self, state: SimulatorState, http: httpx.AsyncClient) -> None:
        self.state = state
        self.http = http
        self.path = PATH

    @staticmethod
    def consent(**changed: object) -> dict[str, object]:
        """Return a valid consent with `changed` fields; a field set to `...` is omitted."""
        item = {
            "type": "MESAJ",
            "source": "HS_WEB",
            "recipient": PHONE,
            "status": "ONAY",
            "consentDate": YESTERDAY,
            "recipientType": "BIREYSEL",
            **changed,
        }
        return {name: value for name, value in item.items() if value is not ...}

    async def log_in(self) -> None:
        """Get a token for the account of the fixture."""
        answer = await self.http.post(
            "/oauth2/token",
            json={"username": "api@example.com", "password": "fake", "grant_type": "password"},
        )
        self.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    async def add(self, version: str = "", **changed: object) -> httpx.Response:
        """Send a single add (`version="/v2"` for V2)."""
        return await self.http.post(f"{version}{PATH}/consents", json=self.consent(**changed))

    async def batch(self, *items: object, version: str = "") -> httpx.Response:
        """Send a batch add of `items`."""
        return await self.http.post(f"{version}{PATH}/consents/request", json=list(items))

    async def results(self, request_id: str, version: str = "") -> list[dict[str, object]]:
        """Return the results of a batch."""
        answer = await self.http.get(f"{version}{PATH}/consents/request/{request_id}")
        assert answer.status_code == 200
        return answer.json()

    async def settled(self, *items: object, version: str = "") -> list[dict[str, object]]:
        """Return the results of a batch of `items` after the result delay."""
        answer = await self.batch(*items, version=version)
        assert answer.status_code == 202, answer.text
        self.state.clock.advance(self.state.settings.result_delay)
        return await self.results(answer.json()["requestId"], version)

    async def citizen(self, **changed: object) -> dict[str, object]:
        """Save a citizen's change."""
        change = {
            "brandCode": BRAND_CODE,
            "recipient": PHONE,
            "type": "MESAJ",
            "status": "RET",
        }
        answer = await self.admin("citizen", [{**change, **changed}])
        assert answer.status_code == 200, answer.text
        return answer.json()["movements"][0]

    async def changes(self, **asked: object) -> httpx.Response:
        """Return a page of pull."""
        return await self.http.get(f"{PATH}/consents/changes", params=asked)

    async def admin(self, what: str, body: object) -> httpx.Response:
        """Send a POST to the admin API."""
        return await self.http.post(f"/__simulator__/{what}", json=body)

    async def look(self, what: str) -> httpx.Response:
        """Send a GET to the admin API."""
        return await self.http.get(f"/__simulator__/{what}")

    def set(self, **values: object) -> None:
        """Change settings of the simulator."""
        self.state.settings = self.state.settings.changed(values)

    def replace_brand(self, **values: object) -> None:
        """Replace the fixture's brand."""
        self.state.directory.add_brand(a_brand(**values))


def a_brand(**changed: object) -> Brand:
    """Return the fixture's brand, activated long ago, with `changed` facts."""
    facts = {
        "code": BRAND_CODE,
        "iys_code": IYS_CODE,
        "name": "Örnek Marka",
        "activated_at": "2020-01-01 00:00:00",
        **changed,
    }
    return Brand(**facts)


def codes(answer: httpx.Response) -> list[str]:
    """Return the H-codes of a refusal."""
    return [found["code"] for found in answer.json()["errors"]]
