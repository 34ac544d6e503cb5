"""ViA: a request from its start to the consent, what refuses it, and İYS's description of it."""

from typing import Any

import httpx
import pytest

from iys_simulator.store.accounts import Account, Grant, Right, Subscription
from simulator_harness.client import BRAND_CODE, IYS_CODE, PHONE, SimulatorHarness, a_brand, codes
from simulator_harness.description import DESCRIPTION, described, examples_of

VIA = f"/via/sps/{IYS_CODE}"
EMAIL = "a@example.com"
WAYS = ("SMS_OTP", "SMS_SHORTURL", "EPOSTA_OTP", "EPOSTA_SHORTURL", "EPOSTA_APPROVALURL")


def a_start(way: str = "SMS_OTP", **changed: object) -> dict[str, object]:
    """Return the body of a start with `changed` fields; those of ETK may be changed too."""
    is_email = way.startswith("EPOSTA")
    etk = {
        "title": "ETK",
        "brandCodes": [BRAND_CODE],
        "types": ["EPOSTA"] if is_email else ["MESAJ", "ARAMA"],
        "recipientType": "BIREYSEL",
    }
    etk |= {name: changed.pop(name) for name in [*changed] if name in etk}
    body = {"formId": "1", "recipient": EMAIL if is_email else PHONE, "verificationType": way}
    return {**body, "consentTypes": [etk], **changed}


async def start(iys: SimulatorHarness, way: str = "SMS_OTP", **changed: object) -> httpx.Response:
    """Start a request."""
    return await iys.http.post(f"{VIA}/consent", json=a_start(way, **changed))


async def started(iys: SimulatorHarness, way: str = "SMS_OTP") -> dict[str, Any]:
    """Start a request; return it as the admin API shows it."""
    answer = await start(iys, way)
    assert answer.status_code == 200, answer.text
    (found,) = (await iys.look("via")).json()["requests"]
    assert found["requestId"] == answer.json()["message"]["requestId"]
    return found


async def confirm(iys: SimulatorHarness, found: dict[str, Any], **changed: str) -> httpx.Response:
    """Give back the code of a request."""
    types = [{"title": "ETK", "otpCode": changed.pop("code", found["code"])}]
    names = {name: found[name] for name in ("requestId", "verificationType")}
    return await iys.http.post(
        f"{VIA}/confirmation", json={**names, "consentTypes": types, **changed}
    )


async def last_status(iys: SimulatorHarness, found: dict[str, Any]) -> tuple[str, str]:
    """Return stage and status of a request."""
    answer = await iys.http.get(f"{VIA}/consent/request/{found['requestId']}")
    last = answer.json()["message"]["lastStatus"]
    return last["stage"], last["status"]


@pytest.mark.parametrize("way", WAYS)
async def test_request_ends_in_a_consent_of_the_citizen(iys: SimulatorHarness, way: str):
    """Over a RET too; the pull stream of citizens shows it, with the source of its way."""
    await iys.citizen(status="ONAY")
    await iys.citizen()
    found = await started(iys, way)
    assert await last_status(iys, found) == ("CONSENT_REQUESTED", "PENDING")
    if way.endswith("OTP"):
        (given, *_) = (await confirm(iys, found)).json()["message"]
        assert given.keys() == {"transactionId", "creationDate", "type", "brandCode"}
        assert codes(await confirm(iys, found)) == ["H1032"]
    else:
        assert codes(await confirm(iys, found, code="1")) == ["H1056"]
        pressed = await iys.admin("via", {"requestId": found["requestId"]})
        assert pressed.status_code == 200
    assert await last_status(iys, found) == ("COMPLETED", "SUCCESS")
    iys.state.clock.advance(4000)
    shown = (await iys.changes(source="IYS")).json()["list"]
    source = "IYS_KISAMESAJ" if way.startswith("SMS") else "IYS_EPOSTA"
    assert {(one["type"], one["status"]) for one in shown if one["source"] == source} == {
        (type_, "ONAY") for type_ in found["types"]
    }


async def test_code_is_of_use_three_times_and_minutes(iys: SimulatorHarness):
    """A wrong one is counted; then the right one comes too late."""
    found = await started(iys)
    for _ in range(3):
        assert codes(await confirm(iys, found, code="0")) == ["H1052"]
    assert codes(await confirm(iys, found)) == ["H1050"]
    assert await last_status(iys, found) == ("COMPLETED", "OTP_CODE_INCORRECT")
    iys.state.via_requests.clear()
    late = await started(iys)
    assert codes(await confirm(iys, late, code="0")) == ["H1052"]
    assert await last_status(iys, late) == ("CONSENT_REQUESTED", "OTP_CODE_INCORRECT")
    iys.state.clock.advance(180)
    assert codes(await confirm(iys, late)) == ["H1051"]
    assert await last_status(iys, late) == ("COMPLETED", "OTP_CODE_EXPIRED")


async def test_link_is_of_use_for_a_day(iys: SimulatorHarness):
    """Then nobody can open it."""
    found = await started(iys, "SMS_SHORTURL")
    iys.state.clock.advance(86400)
    await iys.log_in()
    assert (await iys.admin("via", {"requestId": found["requestId"]})).status_code == 400
    assert await last_status(iys, found) == ("COMPLETED", "LINK_CLICK_TIMEOUT")


@pytest.mark.parametrize(
    ("changed", "code"),
    [
        ({"way": "SMS"}, "H1012"),
        ({"recipient": "x"}, "H1026"),
        ({"way": "EPOSTA_OTP", "recipient": PHONE}, "H1027"),
        ({"formId": ""}, "H1057"),
        ({"consentTypes": []}, "H1057"),
        ({"brandCodes": []}, "H1057"),
        ({"brandCodes": [1]}, "H1014"),
        ({"types": []}, "H1057"),
        ({"types": ["EPOSTA"]}, "H1086"),
        ({"recipientType": "X"}, "H1063"),
        ({"consentTypes": [{"title": "ISG"}]}, "H1013"),
        ({"consentTypes": [{"title": "KVK"}]}, "NOT-SIMULATED"),
    ],
)
async def test_start_refuses_what_iys_refuses(
    iys: SimulatorHarness, changed: dict[str, Any], code: str
):
    """And asks nobody."""
    assert codes(await start(iys, **changed)) == [code]
    assert (await iys.look("via")).json() == {"requests": []}


async def test_calls_refuse_bodies_and_requests_that_are_none(iys: SimulatorHarness):
    """No JSON, no object, no request, another way."""
    for content in (b"{", b"[]"):
        assert codes(await iys.http.post(f"{VIA}/consent", content=content)) == ["H1041"]
    found = await started(iys)
    assert codes(await confirm(iys, found, requestId="x")) == ["H1030"]
    assert codes(await confirm(iys, found, verificationType="EPOSTA_OTP")) == ["H1064"]
    assert codes(await iys.http.get(f"{VIA}/consent/request/x")) == ["H1030"]
    assert (await iys.admin("via", {"requestId": found["requestId"]})).status_code == 400


async def test_credits_are_spent_one_by_one(iys: SimulatorHarness):
    """Then H1015; -1 is without a limit."""
    for credit, expected in ((1, [200, 400]), (-1, [200, 200])):
        iys.state.directory.subscriptions[IYS_CODE] = Subscription(
            iys_code=IYS_CODE, via_credit=credit
        )
        assert [(await start(iys)).status_code for _ in range(2)] == expected
    iys.state.directory.subscriptions[IYS_CODE] = Subscription(iys_code=IYS_CODE, via_credit=0)
    assert codes(await start(iys)) == ["H1015"]


@pytest.mark.parametrize(("via_control", "status"), [(True, 200), (False, 404)])
async def test_partner_needs_the_leave_of_the_provider(
    iys: SimulatorHarness, *, via_control: bool, status: int
):
    """As İYS lists it in `viaControl`."""
    rights = {"MESAJ": Right.WRITE}
    grant = Grant(integrator_code=9, rights=rights, via_control=via_control)
    iys.state.directory.add_brand(a_brand(grants=(grant,)))
    account = Account(username="api@example.com", password="fake", iys_code=9, is_integrator=True)
    iys.state.directory.add_account(account, Subscription(iys_code=9))
    assert (await start(iys)).status_code == status


@pytest.mark.skipif(not DESCRIPTION.exists(), reason="İYS's description is not here")
async def test_responses_have_the_keys_of_the_description(iys: SimulatorHarness):
    """Of start, confirmation and status, as its examples of consents to commercial messages."""

    def keys_in(value: object) -> set[str]:
        if isinstance(value, list):
            return set().union(*map(keys_in, value))
        inner = value.values() if isinstance(value, dict) else ()
        return set(value if isinstance(value, dict) else ()).union(*map(keys_in, inner))

    found = await started(iys)
    answers = {
        "POST /via/sps/{iysCode}/confirmation": await confirm(iys, found),
        "POST /via/sps/{iysCode}/consent": await start(iys),
        "GET /via/sps/{iysCode}/consent/request/{requestId}": await iys.http.get(
            f"{VIA}/consent/request/{found['requestId']}"
        ),
    }
    for name, answer in answers.items():
        known = [keys_in(one) for status, one in examples_of(described()[name]) if status == "200"]
        assert keys_in(answer.json()) <= set().union(*known), name
