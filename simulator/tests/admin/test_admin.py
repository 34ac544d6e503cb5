"""The admin API: setup, citizens, registers, clock, fault rules, settings, reset."""

import json
from collections.abc import MutableMapping

import httpx
import pytest

from iys_simulator import build_app
from iys_simulator.gateway.gateway import ConnectionDroppedError
from simulator_harness.client import SimulatorHarness, codes

ACT = {"brandCode": 660101, "recipient": "+905550000001", "type": "MESAJ", "status": "RET"}


def lines(answer: httpx.Response):
    return [json.loads(line) for line in answer.text.splitlines()]


async def test_new_account_and_brand_work(iys: SimulatorHarness):
    """A new provider can log in and write to its brand."""
    account = {"username": "new@example.com", "password": "fake", "iysCode": 660002}
    assert (await iys.admin("accounts", account)).status_code == 201
    brand = {"brandCode": 660201, "iysCode": 660002, "name": "Yeni", "consentLimit": 3}
    answer = await iys.admin("brands", brand)
    assert answer.status_code == 201
    assert answer.json()["activatedAt"] is None
    token = await iys.http.post(
        "/oauth2/token", data={**account, "grant_type": "password", "iysCode": ""}
    )
    iys.http.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
    path = "/sps/660002/brands/660201/consents"
    old = iys.consent(consentDate="2019-01-01 00:00:00")
    assert (await iys.http.post(path, json=old)).status_code == 200


async def test_brand_posted_again_keeps_what_the_body_omits(iys: SimulatorHarness):
    """The rule of three business days (H467) stays on; null takes a value away."""
    grants = [{"integratorCode": 770001, "rights": {"MESAJ": "read"}}]
    facts = {
        "activatedAt": "2020-01-01 00:00:00",
        "consentLimit": 7,
        "rights": {"MESAJ": "write"},
        "retailers": [11111111],
        "title": "Örnek A.Ş.",
        "grants": grants,
    }
    key = {"brandCode": 660101, "iysCode": 660001}
    first = await iys.admin("brands", {**key, "name": "Önce", **facts})
    again = await iys.admin("brands", {**key, "name": "Sonra"})
    assert again.json() == {**first.json(), "name": "Sonra"}
    late = iys.consent(consentDate="2019-01-01 00:00:00")
    assert codes(await iys.http.post(f"{iys.path}/consents", json=late)) == ["H467"]
    first_loading = await iys.admin("brands", {**key, "activatedAt": None})
    assert first_loading.json() == {**again.json(), "activatedAt": None}
    assert (await iys.http.post(f"{iys.path}/consents", json=late)).status_code == 200


async def test_account_posted_again_keeps_what_the_body_omits(iys: SimulatorHarness):
    """A second API user of a provider does not revive its subscription."""
    key = {"username": "api@example.com", "password": "fake", "iysCode": 660001}
    await iys.admin("accounts", {**key, "subscription": "CLOSED", "viaCredit": 5})
    await iys.admin("accounts", {**key, "username": "second@example.com"})
    assert codes(await iys.http.get("/sps/660001/brands")) == ["H521"]
    await iys.admin("accounts", {**key, "subscription": "ACTIVE"})
    shown = (await iys.http.get("/sps/660001/subscription")).json()
    assert shown["viaSubscriptionPackage"]["viaCredit"] == 5
    partner = {"username": "io@example.com", "password": "fake", "iysCode": 770001}
    await iys.admin("accounts", {**partner, "isIntegrator": True})
    await iys.admin("accounts", {**partner, "password": "other"})
    assert iys.state.directory.accounts["io@example.com"].is_integrator


async def test_citizen_change_takes_effect_at_once(iys: SimulatorHarness):
    """The record changes, and the response has the time by both clocks."""
    await iys.add()
    change = await iys.citizen()
    assert change["creationDate"] == "2026-09-17 12:00:00"
    assert change["occurredAt"] == 1789635600000
    assert len(change["transactionId"]) == 64
    assert iys.state.register_of(660101).find(("MESAJ", "BIREYSEL", ACT["recipient"])).source == (
        "IYS_WEB"
    )


@pytest.mark.parametrize(
    "body",
    [
        {},
        [1],
        [{**ACT, "brandCode": 1}],
        [{**ACT, "status": "EVET"}],
        [{**ACT, "type": "SMS"}],
        [{**ACT, "source": "HS_WEB"}],
        [ACT, {**ACT, "recipient": ""}],
    ],
)
async def test_invalid_citizen_change_changes_nothing(iys: SimulatorHarness, body: object):
    """400 with the reason, and the valid changes of the list are not saved either."""
    answer = await iys.admin("citizen", body)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert list(iys.state.register_of(660101).movements()) == []


async def test_register_lists_each_record_once(iys: SimulatorHarness):
    """NDJSON with the current record and the number of its movements."""
    await iys.add()
    await iys.add(recipient="+905550000002")
    await iys.citizen()
    found = {row["recipient"]: row for row in lines(await iys.look("register?brandCode=660101"))}
    assert found["+905550000001"]["status"] == "RET"
    assert found["+905550000001"]["movements"] == 2
    assert found["+905550000002"]["movements"] == 1
    assert lines(await iys.look("register")) == list(found.values())


@pytest.mark.parametrize("asked", ["1", "x"])
async def test_register_of_an_unknown_brand_is_refused(iys: SimulatorHarness, asked: str) -> None:
    """A mistyped brand is an error, not an empty register."""
    assert (await iys.look(f"register?brandCode={asked}")).status_code == 400


async def test_movements_have_their_origin(iys: SimulatorHarness):
    """Every accepted movement in order, with path, client and request."""
    await iys.add()
    (result,) = await iys.settled(iys.consent(recipient="+905550000002"))
    await iys.citizen()
    rows = lines(await iys.look("movements?brandCode=660101"))
    assert [(row["sequence"], row["path"]) for row in rows] == [
        (1, "single"),
        (2, "batch"),
        (3, "citizen"),
    ]
    assert rows[1]["requestId"] == result["requestId"]
    assert rows[1]["subRequestId"] == result["subRequestId"]
    assert rows[0]["client"] == "127.0.0.1"


async def test_requests_are_counted(iys: SimulatorHarness):
    """Per operation, status and H-code."""
    await iys.add()
    await iys.add()
    counts = (await iys.look("requests")).json()
    assert counts["operations"]["add"] == {
        "total": 2,
        "statuses": {"200": 1, "400": 1},
        "codes": {"H178": 1},
    }
    assert counts["codes"] == {"H178": 1}
    assert counts["total"] == 3


async def test_clock_moves_and_processes_due_batches(iys: SimulatorHarness):
    """An offset is set, an advance is added, and batches due in between are processed."""
    request_id = (await iys.batch(iys.consent())).json()["requestId"]
    assert (await iys.admin("clock", {"offset": 100})).json()["offset"] == 100
    moved = (await iys.admin("clock", {"advance": 200})).json()
    assert moved["nowTurkey"] == "2026-09-17 12:05:00"
    assert moved["now"] == "2026-09-17T09:05:00.000+00:00"
    assert (await iys.results(request_id))[0]["status"] == "success"


async def test_clock_does_not_go_back_before_a_movement(iys: SimulatorHarness):
    """Registered movements stay in order."""
    await iys.admin("clock", {"offset": -3600})
    await iys.citizen()
    refused = await iys.admin("clock", {"advance": -1})
    assert refused.status_code == 400
    assert (await iys.look("clock")).json()["offset"] == -3600


async def test_fault_refuses_a_number_of_calls(iys: SimulatorHarness):
    """An injected 500 is used up call by call, and nothing is saved meanwhile."""
    request_body = {"operation": "add", "times": 2, "status": 500, "code": "H101"}
    assert (await iys.admin("faults", request_body)).json()["faults"] == {"add": 2}
    for _ in range(2):
        answer = await iys.add()
        assert (answer.status_code, codes(answer)) == (500, ["H101"])
    assert list(iys.state.register_of(660101).movements()) == []
    assert (await iys.add()).status_code == 200


@pytest.mark.parametrize(("drop", "saved"), [("before", 0), ("after", 1)])
async def test_fault_drops_the_connection(iys: SimulatorHarness, drop: str, saved: int):
    """Before the effect nothing is saved; after it the consent is saved and the response lost."""
    await iys.admin("faults", {"operation": "*", "drop": drop})
    with pytest.raises(ConnectionDroppedError):
        await iys.add()
    assert len(list(iys.state.register_of(660101).movements())) == saved
    counts = (await iys.look("requests")).json()["operations"]["add"]
    assert counts["statuses"] == {"dropped": 1}


async def test_client_that_disconnects_within_its_body_is_counted(iys: SimulatorHarness):
    """Nothing is saved, no response is sent, and nothing fails."""
    messages = iter([{"type": "http.request", "body": b"[", "more_body": True}])

    async def receive() -> dict[str, object]:
        return next(messages, {"type": "http.disconnect"})

    async def send(message: MutableMapping[str, object]) -> None:
        """Discard the message."""

    path = "/sps/660001/brands/660101/consents"
    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "query_string": b"",
        "headers": [(b"authorization", iys.http.headers["Authorization"].encode())],
    }
    await build_app(iys.state)(scope, receive, send)
    counts = (await iys.look("requests")).json()["operations"]["add"]
    assert counts["statuses"] == {"dropped": 1}


async def test_fault_delays_a_call(iys: SimulatorHarness):
    """The call waits for its delay and then succeeds."""
    waited = []

    async def pause(seconds: float) -> None:
        waited.append(seconds)

    iys.state.pause = pause
    await iys.admin("faults", {"operation": "brands", "slowSeconds": 1.5})
    assert (await iys.http.get("/sps/660001/brands")).status_code == 200
    assert waited == [1.5]


async def test_fault_rules_are_cancelled(iys: SimulatorHarness):
    """DELETE cancels every rule."""
    await iys.admin("faults", {"operation": "add", "status": 500})
    await iys.http.delete("/__simulator__/faults")
    assert (await iys.add()).status_code == 200


@pytest.mark.parametrize("body", [{}, {"operation": "add"}, {"operation": "x", "status": 500}])
async def test_fault_rule_without_operation_or_fault_is_refused(
    iys: SimulatorHarness, body: object
):
    """A rule without an operation or a fault is refused."""
    assert (await iys.admin("faults", body)).status_code == 400


async def test_settings_change_at_run_time(iys: SimulatorHarness):
    """Names are in camelCase; the response has all settings."""
    answer = await iys.admin("settings", {"resultDelay": 1, "lateMode": "sliding"})
    assert answer.json()["resultDelay"] == 1
    assert iys.state.settings.late_mode == "sliding"
    assert (await iys.look("settings")).json() == answer.json()


@pytest.mark.parametrize(
    "body",
    [
        {"colour": 1},
        {"resultDelay": -1},
        {"resultDelay": "soon"},
        {"tokenLimit": 1.5},
        {"lateMode": "never"},
        {"pushHttpsRequired": 1},
        [],
    ],
)
async def test_invalid_setting_is_refused(iys: SimulatorHarness, body: object):
    """Unknown names and invalid values change nothing."""
    before = iys.state.settings
    assert (await iys.admin("settings", body)).status_code == 400
    assert iys.state.settings == before


async def test_reset_keeps_accounts(iys: SimulatorHarness):
    """Registers, counters, fault rules and clock are reset; the token still works."""
    await iys.add()
    await iys.admin("clock", {"advance": 60})
    await iys.admin("reset", {})
    assert (await iys.look("movements")).text == ""
    assert (await iys.look("clock")).json()["offset"] == 0
    assert (await iys.look("requests")).json()["total"] == 0
    assert (await iys.add()).status_code == 200


async def test_reset_of_everything_deletes_accounts(iys: SimulatorHarness):
    """Accounts, brands and tokens are deleted too."""
    await iys.admin("reset", {"everything": True})
    assert (await iys.look("health")).json()["accounts"] == 0
    assert (await iys.http.get("/sps/660001/brands")).status_code == 401


async def test_admin_body_that_is_no_json_is_refused(iys: SimulatorHarness):
    """400 with a reason."""
    answer = await iys.http.post("/__simulator__/clock", content=b"{")
    assert (answer.status_code, answer.json()) == (400, {"error": "the body is no JSON"})
