"""``izin doctor --iys``: calls that only read, and what differs from what izin relies on."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import httpx
import pytest

from izin.cli.doctor.iys_calls import find_differences
from izin.iys.exchange import Exchange
from izin.iys.wire_format import BrandPath
from tests.integration.sinks.sink_harness import A_SECOND, Izin, SinkHarness, ended, set_environment
from tests.support.builders import BRAND
from tests.support.simulator import IYS_CODE, PASSWORD, USERNAME

pytestmark = pytest.mark.database
PARTNER = 700001
READING = {
    *("token", "brands", "subscription", "pushList", "changes", "status", "statuses", "history"),
    *("dayStatistics", "agreement", "partnerBrands", "partnerProvider", "partnerSubscription"),
}
"""The operations of the simulator that write nothing; a token is no record."""


@pytest.fixture(autouse=True)
def izin(izin: Izin, harness: SinkHarness, monkeypatch: pytest.MonkeyPatch) -> Izin:
    """Give what runs a command; the settings lead to the simulator."""
    given = {
        "IYS_BASE_URL": harness.iys.address,
        "IYS_USERNAME": USERNAME,
        "IYS_PASSWORD": PASSWORD,
        "IYS_REQUESTS_PER_SECOND": "500",
    }
    set_environment(monkeypatch, given)
    return izin


async def findings(harness: SinkHarness, brand: BrandPath | None = None) -> dict[str, Any]:
    """Return state and words by call."""
    found = await find_differences(harness.ledger, brand, now=harness.clock())
    assert {one.check for one in found} == {"calls"}
    named = (one.what.partition(": ") for one in found)
    return {
        name: (one.state.value, what) for one, (name, _, what) in zip(found, named, strict=True)
    }


async def test_simulator_answers_as_izin_relies_on(harness: SinkHarness):
    """Every call passes."""
    await harness.register_onay()
    harness.citizen("RET", then=A_SECOND * 5)
    found = await findings(harness)
    assert set(found.values()) == {("ok", "as izin relies on it")}
    assert len(found) == 10


async def test_only_reading_calls_are_made(harness: SinkHarness, monkeypatch: pytest.MonkeyPatch):
    """Of a provider and of a partner: nothing of İYS's register or of its pushes has changed."""
    granted = [{"integratorCode": PARTNER, "rights": {"MESAJ": "write"}}]
    harness.iys.brand(grants=granted)
    await harness.register_onay()
    before = [list(harness.iys.rows(what)) for what in ("register", "movements")]
    called = operations(harness)
    await findings(harness)
    monkeypatch.setenv("IYS_INTEGRATOR_CODE", str(PARTNER))
    found = await findings(harness)
    assert {"granted brands", "subscription of the partner"} <= found.keys()
    made = {name for name, count in operations(harness).items() if count != called.get(name)}
    assert made <= READING
    assert made >= {"brands", "changes", "history", "partnerBrands"}
    assert [list(harness.iys.rows(what)) for what in ("register", "movements")] == before


def operations(harness: SinkHarness) -> Mapping[str, int]:
    """Return how often each operation was called."""
    found = harness.iys.requests()["operations"]
    return {name: one["total"] for name, one in found.items()}


@pytest.fixture
def answering(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, object]]:
    """Have calls answered by others than the simulator; by the end of their path."""
    instead: dict[str, object] = {}
    send = Exchange._send

    async def sent(self: Exchange, call: Any, *, streamed: bool = False) -> httpx.Response:  # noqa: ANN401  # a call
        for end, content in instead.items():
            if call.path.endswith(end):
                return httpx.Response(200, json=content)
        return await send(self, call, streamed=streamed)

    monkeypatch.setattr(Exchange, "_send", sent)
    return instead


async def test_difference_is_named_with_its_key(harness: SinkHarness, answering: dict[str, object]):
    """What is missing, has another type or cannot be read is wrong; a key that izin does not read
    is not. No value is printed.
    """
    answering["/brands"] = [{"name": "Örnek", "Secret": "not-to-be-shown"}]
    answering["/subscription"] = {"status": "ACTIVE", "renewal": {"at": "not-to-be-shown"}}
    answering["/changes"] = {"after": "x", "list": [{"recipient": "ada@example.com"}]}
    answering["/registration"] = {"list": "none"}
    found = await findings(harness)
    states = {name: state for name, (state, _) in found.items()}
    assert states["brands"] == states["push registrations"] == "wrong"
    assert "brandCode is missing" in found["brands"][1]
    assert states["subscription"] == "ok"
    for stream in ("movements of citizens", "movements of providers"):
        assert states[stream] == "wrong"
        assert "type is missing" in found[stream][1]
    printed = json.dumps(found)
    assert "not-to-be-shown" not in printed
    assert "ada@" not in printed
    assert states["statuses"] == "ok"


@pytest.mark.parametrize(
    ("status", "code", "state", "words"),
    [
        (403, "H353", "skipped", "with 403"),
        (400, "H999", "wrong", "with 400"),
        (500, "H103", "wrong", "with 500"),
    ],
)
async def test_refusal_is_a_difference_if_izin_does_not_know_it(
    harness: SinkHarness, status: int, code: str, state: str, words: str
):
    """A right that the account lacks is none."""
    harness.iys.inject_fault("agreement", status=status, code=code)
    found = await findings(harness)
    assert found["hash of a day"][0] == state
    assert words in found["hash of a day"][1]
    assert code in found["hash of a day"][1]


async def test_without_a_token_nothing_else_is_asked(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """Each failed call counts against the address."""
    monkeypatch.setenv("IYS_USERNAME", "nobody@example.com")
    brand, before = BrandPath(iys_code=IYS_CODE, brand_code=BRAND), harness.iys.calls("token")
    found = await findings(harness, brand)
    assert {state for state, _ in found.values()} == {"wrong"}
    assert "refused our password" in found["brands"][1]
    assert harness.iys.calls("token") == before + 1


async def test_command_checks_iys_alone(harness: SinkHarness, izin: Izin):
    """About a brand of the ledger, or one that is named; neither Kafka nor workers are needed."""
    shown = json.loads(ended(await izin("doctor", "--iys", "--output=json"), 0).stdout)
    assert [one["check"] for one in shown] == ["iys", *["calls"] * 10]
    assert shown[0]["what"].endswith(" answers")
    assert len(shown) == 11
    about = ("--brand", BRAND + 5, "--iys-code", IYS_CODE)
    ended(await izin("doctor", "--iys", *about), 0)
    ended(await izin("doctor", "--iys", "--brand", BRAND), 2, "go together")
    ended(await izin("doctor", *about), 2, "go together")
