"""History, partners, places, opt-out links and ViA."""

import httpx
import pytest

from iys_simulator.store.accounts import Account, Grant, Right, Subscription, SubscriptionState
from simulator_harness.client import IYS_CODE, PHONE, SimulatorHarness, codes

PARTNER = 770001
BASKET = {"type": "MESAJ", "recipientType": "BIREYSEL", "recipient": PHONE}
LATER = "2026-09-17 11:00:00"


@pytest.fixture
async def partner(iys: SimulatorHarness) -> SimulatorHarness:
    """Return the client logged in as a partner that may write MESAJ and read EPOSTA."""
    account = Account(
        username="partner@example.com", password="fake", iys_code=PARTNER, is_integrator=True
    )
    iys.state.directory.add_account(account, Subscription(iys_code=PARTNER))
    rights = {"MESAJ": Right.WRITE, "EPOSTA": Right.READ}
    iys.replace_brand(grants=(Grant(integrator_code=PARTNER, rights=rights),))
    login = {"username": "partner@example.com", "password": "fake", "grant_type": "password"}
    answer = await iys.http.post("/oauth2/token", json=login)
    iys.http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"
    return iys


async def history(iys: SimulatorHarness, query: str = "", **changed: object) -> httpx.Response:
    """Query the movements of PHONE."""
    return await iys.http.post(f"{iys.path}/consents/history{query}", json={**BASKET, **changed})


async def test_history_lists_every_movement_newest_first(iys: SimulatorHarness):
    """All movements of the recipient by consent date, in pages."""
    await iys.add()
    await iys.add(status="RET", consentDate=LATER)
    await iys.add(recipient="+905550000002")
    answer = (await history(iys)).json()
    assert [item["status"] for item in answer["list"]] == ["RET", "ONAY"]
    assert answer["pagination"] == {"totalCount": 2, "pageSize": 2, "offset": 0}
    second = (await history(iys, "?offset=1&limit=1")).json()
    assert [item["status"] for item in second["list"]] == ["ONAY"]
    assert (await history(iys, recipient="+905550000009")).json()["list"] == []


async def test_history_checks_body_and_pages(iys: SimulatorHarness):
    """H182 is the limit's and H183 the offset's here, or as in the table by a switch."""
    wrong = await history(iys, "?offset=-1&limit=-1")
    assert (wrong.status_code, codes(wrong)) == (422, ["H183", "H182"])
    assert wrong.json()["errors"][0]["value"] == -1
    iys.set(paging_codes="table")
    assert codes(await history(iys, "?offset=-1&limit=-1")) == ["H182", "H183"]
    assert codes(await history(iys, "?limit=0")) == ["H187"]
    assert codes(await history(iys, "?limit=101")) == ["H186"]
    assert codes(await history(iys, recipient="x")) == ["H121"]
    assert codes(await iys.http.post(f"{iys.path}/consents/history", json=[])) == ["H014"]


async def test_partner_sees_granted_brands(partner: SimulatorHarness):
    """Codes are texts in one list and numbers in the other; a channel without a right is absent."""
    everything = (await partner.http.get(f"/integrator/{PARTNER}/sps")).json()
    assert everything["pagination"] == {"offset": 0, "totalCount": 1, "pageSize": 1}
    (brand,) = everything["list"]
    assert brand == {
        "brandCode": "660101",
        "name": "Örnek Marka",
        "master": True,
        "title": "Örnek Marka",
        "iysCode": "660001",
        "agreementControl": True,
        "MESAJ": "write",
        "EPOSTA": "read",
        "viaControl": False,
    }
    one = (await partner.http.get(f"/integrator/{PARTNER}/sps/{IYS_CODE}")).json()
    assert (one["list"][0]["brandCode"], one["list"][0]["iysCode"]) == (660101, 660001)
    wrong = await partner.http.get(f"/integrator/{PARTNER}/sps?offset=x&limit=500")
    assert (wrong.status_code, codes(wrong)) == (422, ["H183", "H186"])
    partner.set(environment="sandbox")
    sandbox = await partner.http.get(f"/integrator/{PARTNER}/sps")
    assert (sandbox.status_code, codes(sandbox)) == (400, ["H363"])


async def test_partner_writes_within_its_rights(partner: SimulatorHarness):
    """It adds where it may write, and is refused where it may only read or has no right."""
    assert (await partner.add()).status_code == 200
    for channel in ("EPOSTA", "ARAMA"):
        address = "a@example.com" if channel == "EPOSTA" else PHONE
        refused = await partner.add(type=channel, recipient=address)
        assert (refused.status_code, codes(refused)) == (403, ["H353"])
    (brand,) = (await partner.http.get(f"/sps/{IYS_CODE}/brands")).json()
    assert brand["stats"]["consents"]["total"] == 1
    partner.replace_brand()
    assert codes(await partner.add(recipient="+905550000002")) == ["H353"]


async def test_partners_and_providers_have_separate_endpoints(partner: SimulatorHarness):
    """H353 for another partner's code, H363 and H522 for a provider's account."""
    other = await partner.http.get("/integrator/1/sps")
    assert (other.status_code, codes(other)) == (403, ["H353"])
    assert "integratorIysCode" in other.json()["errors"][0]["message"]
    unknown = await partner.http.get("/integrator/1/subscription")
    assert (unknown.status_code, codes(unknown)) == (404, ["H437"])
    stranger = await partner.http.get(f"/integrator/{PARTNER}/sps/1")
    assert codes(stranger) == ["H353"]
    await partner.log_in()
    assert codes(await partner.http.get(f"/integrator/{PARTNER}/sps")) == ["H363"]
    assert codes(await partner.http.get(f"/integrator/{PARTNER}/subscription")) == ["H522"]


async def test_partner_subscription_limits_the_partner(partner: SimulatorHarness):
    """It sees its own and no quota of the provider; PAUSED refuses every other call."""
    path = f"/integrator/{PARTNER}/subscription"
    own = (await partner.http.get(path)).json()
    assert (own["iysCode"], own["status"]) == (PARTNER, "ACTIVE")
    customers = (await partner.http.get(f"/sps/{IYS_CODE}/subscription")).json()
    assert not customers.keys() & {"consentLimit", "usedConsentLimit", "consentLimitExceed"}
    paused = Subscription(iys_code=PARTNER, state=SubscriptionState.PAUSED)
    partner.state.directory.subscriptions[PARTNER] = paused
    assert (await partner.http.get(path)).json()["status"] == "PAUSED"
    refused = await partner.add()
    assert (refused.status_code, codes(refused)) == (403, ["H520"])
    assert "Entegratör" in refused.json()["errors"][0]["message"]
    anonymous = await partner.http.get(path, headers={"Authorization": "Bearer x"})
    assert (anonymous.status_code, codes(anonymous)) == (401, ["H251"])


async def test_subscription_has_via_packages_and_an_id_by_switch(iys: SimulatorHarness):
    """ViA packages appear where they were bought; the key of the id is a switch."""
    bought = Subscription(iys_code=IYS_CODE, via_credit=-1, via_pass_credit=5)
    iys.state.directory.subscriptions[IYS_CODE] = bought
    iys.set(subscription_key="subsciprtionId")
    answer = (await iys.http.get(f"/sps/{IYS_CODE}/subscription")).json()
    assert answer["subsciprtionId"]
    assert answer["viaSubscriptionPackage"]["viaCredit"] == -1
    assert answer["viaPassSubscriptionPackage"]["viaPassCredit"] == 5


async def test_places_are_listed(iys: SimulatorHarness):
    """Provinces and districts under İYS's codes, 204 for an unknown one, H241 for no number."""
    cities = (await iys.http.get("/info/city")).json()
    assert (len(cities), cities[33]) == (81, {"code": 34, "name": "İstanbul"})
    towns = (await iys.http.get("/info/town")).json()
    assert (len(towns), towns[0]) == (970, {"name": "Seyhan", "code": 1, "city_code": 1})
    iys.set(town_key="cityCode")
    assert (await iys.http.get("/info/town/1")).json()["cityCode"] == 1
    assert (await iys.http.get("/info/city/06")).json()["name"] == "Ankara"
    assert (await iys.http.get("/info/city/82")).status_code == 204
    assert codes(await iys.http.get("/info/town/x")) == ["H241"]


async def test_opt_out_link_opts_out_by_its_button(iys: SimulatorHarness):
    """Opening changes nothing, the button saves RET; afterwards no link is created."""
    await iys.add(type="EPOSTA", recipient="a@example.com")
    asked = {"recipients": [{"recipient": "A@example.com", "recipientType": "BIREYSEL"}]}
    path = f"{iys.path}/via-hash-links"
    (link,) = (await iys.http.post(path, json=asked)).json()
    shown = await iys.http.get(link["url"])
    assert "a@example.com" in shown.text
    record = iys.state.register_of(660101).find(("EPOSTA", "BIREYSEL", "a@example.com"))
    assert record.status == "ONAY"
    assert (await iys.http.post(link["url"])).status_code == 200
    record = iys.state.register_of(660101).find(("EPOSTA", "BIREYSEL", "a@example.com"))
    assert (record.status, record.source) == ("RET", "IYS_EPOSTA")
    await iys.http.post(link["url"])
    assert iys.state.register_of(660101).summary_of(record.key).times == 2
    (refused,) = (await iys.http.post(path, json=asked)).json()
    assert (refused["code"], refused["recipient"]) == ("H568", "A@example.com")


async def test_opt_out_link_expires(iys: SimulatorHarness):
    """404 for an unknown link, and for one older than 90 days."""
    await iys.add(type="EPOSTA", recipient="a@example.com")
    asked = {"recipients": [{"recipient": "a@example.com", "recipientType": "BIREYSEL"}]}
    (link,) = (await iys.http.post(f"{iys.path}/via-hash-links", json=asked)).json()
    assert (await iys.http.get("/RET/unknown")).status_code == 404
    iys.state.clock.advance(90 * 86400)
    assert (await iys.http.post(link["url"])).status_code == 404


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ([], (400, ["H097"])),
        ({}, (422, ["H168"])),
        ({"recipients": {}}, (422, ["H478"])),
        ({"recipients": []}, (422, ["H164"])),
        ({"recipients": [1]}, (400, ["H097"])),
        ({"recipients": [{}] * 101}, (422, ["H127"])),
        ({"recipients": [{}]}, (422, ["H170", "H114"])),
        ({"recipients": [{"recipient": "x", "recipientType": "y"}]}, (422, ["H116", "H120"])),
    ],
)
async def test_opt_out_links_check_their_list(
    iys: SimulatorHarness, body: object, expected: tuple[int, list[str]]
):
    """Each error of the list has its code."""
    answer = await iys.http.post(f"{iys.path}/via-hash-links", json=body)
    assert (answer.status_code, codes(answer)) == expected


async def test_via_responds_not_simulated(iys: SimulatorHarness):
    """After token and provider, each family responds so in its own envelope."""
    via = await iys.http.post(f"/via/sps/{IYS_CODE}/consent/status", json={})
    assert (via.status_code, codes(via)) == (400, ["NOT-SIMULATED"])
    assert codes(await iys.http.post("/via/sps/1/consent", json={})) == ["H1040"]
    sent = await iys.http.post(f"/otp-management/api/v1/{IYS_CODE}/sms/start", json={})
    assert (sent.status_code, sent.json()["errorCode"]) == (400, "NOT-SIMULATED")
    wrong = await iys.http.get("/otp-management/api/v1/subscription/x")
    assert (wrong.status_code, wrong.json()["errorCode"]) == (403, "ERR-SYS-0005")
    frame = await iys.http.get("/widget/publicKey/x")
    assert (frame.status_code, frame.json()["status"]) == (200, "NOT-SIMULATED")
    script = await iys.http.get("/widget/load-widgetloader/x")
    assert script.text.startswith("// GET /widget/load-widgetloader/x is not simulated")
    assert codes(await iys.http.post("/widget/process/start/x")) == ["NOT-SIMULATED"]
    del iys.http.headers["Authorization"]
    assert codes(await iys.http.post(f"/via/sps/{IYS_CODE}/confirmation")) == ["H1045"]
    nobody = await iys.http.post("/otp-management/api/v1/sms/complete")
    assert (nobody.status_code, nobody.json()["errorCode"]) == (401, "ERR-SYS-0006")
