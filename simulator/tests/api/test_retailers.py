"""Retailers of a brand, and which of them may use a consent."""

import pytest

from simulator_harness.client import BRAND_CODE, IYS_CODE, PHONE, SimulatorHarness, codes

RETAILER = {
    "title": "Örnek Ticaret",
    "name": "Örnek Yetkili",
    "tckn": "10000000146",
    "tin": "8450525470",
    "city": {"code": "34", "name": "İstanbul"},
    "town": {"code": "01", "name": "Kadıköy"},
}
MERSIS = "0845052547000001"
CONSENT = {"type": "MESAJ", "recipientType": "BIREYSEL", "recipient": PHONE}
MANY = {"type": "MESAJ", "recipientType": "BIREYSEL", "recipients": [PHONE]}


async def added(iys: SimulatorHarness, **changed: object) -> int:
    """Add a retailer and return its code."""
    answer = await iys.http.post(f"{iys.path}/retailers", json={**RETAILER, **changed})
    assert answer.status_code == 201, answer.text
    return answer.json()["retailerCode"]


async def listed(iys: SimulatorHarness, **asked: object) -> dict[str, object]:
    """Return a page of the brand's retailers."""
    answer = await iys.http.get(f"{iys.path}/retailers", params=asked)
    assert answer.status_code == 200, answer.text
    return answer.json()


async def may_use(iys: SimulatorHarness) -> list[int]:
    """Return the retailers that may use the consent of PHONE."""
    answer = await iys.http.post(f"{iys.path}/consent/retailers/access/list", json=CONSENT)
    assert answer.status_code == 200, answer.text
    return [one["retailerCode"] for one in answer.json()["list"]]


async def test_retailer_is_added_listed_and_deleted(iys: SimulatorHarness):
    """It is added under a code of eight digits, listed, shown, deleted, and then unknown."""
    code = await added(iys, mersis=MERSIS, alias="Şube", mobile=PHONE)
    assert len(str(code)) == 8
    shown = await iys.http.get(f"{iys.path}/retailers/{code}")
    assert shown.json() == {
        **RETAILER,
        "mersis": MERSIS,
        "alias": "Şube",
        "mobile": PHONE,
        "status": "active",
        "retailerAccessCount": 0,
        "retailerCode": code,
    }
    assert (await listed(iys))["list"] == [shown.json()]
    gone = await iys.http.delete(f"{iys.path}/retailers/{code}")
    assert (gone.status_code, gone.text) == (200, "Başarı")
    assert (await iys.http.get(f"{iys.path}/retailers/{code}")).json() == {}
    again = await iys.http.delete(f"{iys.path}/retailers/{code}")
    assert (again.status_code, codes(again)) == (404, ["H058"])


async def test_retailer_list_is_paged_whole_or_short(iys: SimulatorHarness):
    """Pages have their position; `all` is one page; an invalid flag or page is refused."""
    for digits in ("10000000146", "10000000214", "10000000382"):
        await added(iys, tckn=digits)
    page = await listed(iys, offset=2, limit=2, short="true")
    assert page["pagination"] == {"offset": 2, "pageSize": 1, "totalCount": 3, "currentPage": 2}
    keys = {"title", "city", "retailerAccessCount", "retailerCode", "status"}
    assert page["list"][0].keys() == keys
    assert len((await listed(iys, all="true", limit=1))["list"]) == 3
    for asked, code in (({"all": "x"}, "H184"), ({"short": "x"}, "H185"), ({"limit": 101}, "H186")):
        answer = await iys.http.get(f"{iys.path}/retailers", params=asked)
        assert (answer.status_code, codes(answer)) == (400, [code])
        assert answer.json()["errors"][0].keys() == {"code", "message"}


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"unknown": 1}, ["H016"]),
        ({"title": "a" * 256}, ["H017"]),
        ({"title": ...}, ["H214"]),
        ({"name": ...}, ["H215"]),
        ({"tckn": ...}, ["H216"]),
        ({"city": ...}, ["H217"]),
        ({"city": {"name": "İstanbul"}}, ["H218"]),
        ({"city": {"code": "34"}}, ["H219"]),
        ({"town": {}}, ["H220"]),
        ({"town": {"name": "Kadıköy"}}, ["H221"]),
        ({"town": {"code": "1"}}, ["H222"]),
        ({"status": "closed"}, ["H201"]),
        ({"mobile": "0555"}, ["H224"]),
        ({"tckn": "10000000147"}, ["H225"]),
        ({"tckn": "1"}, ["H226"]),
        ({"mersis": "0845052547100001"}, ["H227"]),
        ({"mersis": "1"}, ["H228"]),
        ({"mersis": "12345678901"}, ["H228"]),
        ({"mersis": ""}, ["H228"]),
        ({"mersis": None}, ["H228"]),
        ({"mersis": True}, ["H228"]),
        ({"mersis": 0}, ["H228"]),
        ({"mersis": -12345678901}, ["H228"]),
        ({"mersis": 10**16}, ["H228"]),
        ({"alias": "<b>"}, ["H229"]),
        ({"tin": ...}, ["H288"]),
        ({"tin": "8450525471"}, ["H243"]),
        ({"tin": "1"}, ["H244"]),
        ({"title": "", "tin": ""}, ["H214", "H288"]),
    ],
)
async def test_invalid_fields_of_a_retailer_have_their_codes(
    iys: SimulatorHarness, changed: dict[str, object], expected: list[str]
):
    """All errors together and with 400."""
    fields = {name: value for name, value in {**RETAILER, **changed}.items() if value is not ...}
    answer = await iys.http.post(f"{iys.path}/retailers", json=fields)
    assert (answer.status_code, codes(answer)) == (400, expected)


async def test_mersis_as_a_number_is_accepted(iys: SimulatorHarness):
    """A number has no leading zeros, so neither its length nor its check digit can be verified."""
    code = await added(iys, mersis=12345678901)
    shown = await iys.http.get(f"{iys.path}/retailers/{code}")
    assert shown.json()["mersis"] == "12345678901"


async def test_body_that_is_no_retailer_is_refused(iys: SimulatorHarness):
    """H016 for a body that is no object, H014 for one that is no JSON."""
    assert codes(await iys.http.post(f"{iys.path}/retailers", json=[])) == ["H016"]
    assert codes(await iys.http.post(f"{iys.path}/retailers", content=b"{")) == ["H014"]


async def test_duplicate_identity_numbers_are_refused(iys: SimulatorHarness):
    """H230 and H231 for another retailer's, H253 for a passive one's."""
    await added(iys, mersis=MERSIS)
    answer = await iys.http.post(f"{iys.path}/retailers", json={**RETAILER, "mersis": MERSIS})
    assert (answer.status_code, codes(answer)) == (400, ["H230", "H231"])
    await added(iys, tckn="10000000214", status="passive")
    passive = await iys.http.post(f"{iys.path}/retailers", json={**RETAILER, "tckn": "10000000214"})
    assert codes(passive) == ["H253"]
    assert "kimlik numarası" in passive.json()["errors"][0]["message"]


async def test_retailer_3001_of_a_brand_is_refused(iys: SimulatorHarness):
    """H067 where no code is left."""
    iys.replace_brand(retailers=frozenset(range(10_000_000, 10_003_000)))
    answer = await iys.http.post(f"{iys.path}/retailers", json=RETAILER)
    assert (answer.status_code, codes(answer)) == (400, ["H067"])


async def test_retailer_of_the_admin_api_can_be_deleted(iys: SimulatorHarness):
    """It is listed beside the others and deleted like them."""
    iys.replace_brand(retailers=frozenset([12345678]))
    assert [one["retailerCode"] for one in (await listed(iys))["list"]] == [12345678]
    assert (await iys.http.delete(f"{iys.path}/retailers/12345678")).status_code == 200
    assert (await listed(iys))["list"] == []


async def test_access_is_added_replaced_and_removed(iys: SimulatorHarness):
    """The collecting retailer has access until the list is replaced."""
    iys.replace_brand(retailers=frozenset([11111111, 22222222, 33333333]))
    await iys.add(retailerCode=11111111, retailerAccess=[22222222])
    assert await may_use(iys) == [11111111, 22222222]
    path = f"{iys.path}/consents/retailers/access"
    answer = await iys.http.post(path, json={**CONSENT, "retailerAccess": [33333333]})
    assert answer.status_code == 200
    assert answer.json().keys() == {"transactionId", "creationDate"}
    assert await may_use(iys) == [11111111, 22222222, 33333333]
    removed = await iys.http.post(path + "/remove", json={**MANY, "retailerAccess": ["22222222"]})
    assert (removed.status_code, removed.content) == (202, b"")
    assert await may_use(iys) == [11111111, 33333333]
    linked = await iys.http.delete(f"{iys.path}/retailers/33333333")
    assert (linked.status_code, codes(linked)) == (500, ["H061"])
    replaced = await iys.http.put(path, json={**MANY, "retailerAccess": [22222222]})
    assert (replaced.status_code, await may_use(iys)) == (202, [22222222])
    status = (await iys.http.post(f"{iys.path}/consents/status", json=CONSENT)).json()
    assert (status["retailerAccessCount"], "retailerCode" in status) == (1, False)
    everything = await iys.http.post(path + "/remove/all", json=MANY)
    assert (everything.status_code, await may_use(iys)) == (202, [])


async def test_collecting_retailer_counts_as_having_access(iys: SimulatorHarness):
    """A consent's number of retailers is the length of its access list, collector included."""
    iys.replace_brand(retailers=frozenset([11111111, 22222222]))
    for number, access in enumerate([..., [22222222], [11111111]]):
        recipient = f"+90555000000{number}"
        await iys.add(recipient=recipient, retailerCode=11111111, retailerAccess=access)
        asked = {**CONSENT, "recipient": recipient}
        listed = await iys.http.post(f"{iys.path}/consent/retailers/access/list", json=asked)
        status = (await iys.http.post(f"{iys.path}/consents/status", json=asked)).json()
        assert status["retailerCode"] == 11111111
        assert status["retailerAccessCount"] == listed.json()["pagination"]["totalCount"] > 0


async def test_access_to_nothing_is_refused(iys: SimulatorHarness):
    """H401 where there is no consent, H180 for an unknown retailer with its place."""
    path = f"{iys.path}/consents/retailers/access"
    unknown = await iys.http.post(path, json={**CONSENT, "retailerAccess": [11111111]})
    assert (unknown.status_code, codes(unknown)) == (403, ["H180"])
    assert unknown.json()["errors"][0]["location"] == ["retailerAccess", 0]
    iys.replace_brand(retailers=frozenset([11111111]))
    answer = await iys.http.post(path, json={**CONSENT, "retailerAccess": [11111111]})
    assert (answer.status_code, codes(answer)) == (400, ["H401"])
    put = await iys.http.put(path, json={**MANY, "retailerAccess": [11111111]})
    assert put.status_code == 202


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"type": ...}, ["H111"]),
        ({"type": "SMS"}, ["H117"]),
        ({"recipientType": ...}, ["H170"]),
        ({"recipientType": "X"}, ["H116"]),
        ({"recipients": ...}, ["H168"]),
        ({"recipients": PHONE}, ["H478"]),
        ({"recipients": []}, ["H164"]),
        ({"recipients": [PHONE] * 101}, ["H127"]),
        ({"recipients": [PHONE, "905550000001"]}, ["H121"]),
        ({"recipients": ["+905550000001000"]}, ["H166"]),
        ({"recipients": [1], "type": "EPOSTA"}, ["H120"]),
        ({"retailerAccess": ...}, ["H169"]),
        ({"retailerAccess": []}, ["H163"]),
        ({"retailerAccess": [1] * 101}, ["H126"]),
    ],
)
async def test_invalid_fields_of_access_have_their_codes(
    iys: SimulatorHarness, changed: dict[str, object], expected: list[str]
):
    """A recipient of a list is named by its place."""
    body = {**MANY, "retailerAccess": [11111111], **changed}
    body = {name: value for name, value in body.items() if value is not ...}
    answer = await iys.http.put(f"{iys.path}/consents/retailers/access", json=body)
    assert (answer.status_code, codes(answer)) == (422, expected)
    if expected == ["H121"]:
        assert answer.json()["errors"][0]["location"] == ["recipients", 1]


async def test_single_recipient_of_access_is_checked(iys: SimulatorHarness):
    """The endpoints of one consent need a recipient and valid pages."""
    path = f"{iys.path}/consent/retailers/access/list"
    body = {"type": "MESAJ", "recipientType": "BIREYSEL"}
    assert codes(await iys.http.post(path, json=body)) == ["H114"]
    answer = await iys.http.post(f"{path}?offset=-1&limit=0", json=CONSENT)
    assert (answer.status_code, codes(answer)) == (422, ["H182", "H187"])
    worse = await iys.http.post(f"{path}?limit=x", json=CONSENT)
    assert codes(worse) == ["H183"]


async def test_retailer_endpoints_distinguish_credentials(iys: SimulatorHarness):
    """H252 without a header, H250 with empty credentials, H251 with others, H351 with no token."""
    path = f"/sps/{IYS_CODE}/brands/{BRAND_CODE}/retailers"
    del iys.http.headers["Authorization"]
    expected = {
        "": (400, ["H252"]),
        "Bearer ": (400, ["H250"]),
        "Basic Og==": (400, ["H250"]),
        "Basic YTpi": (401, ["H251"]),
        "Bearer x": (401, ["H351"]),
    }
    for header, outcome in expected.items():
        answer = await iys.http.get(path, headers={"Authorization": header} if header else {})
        assert (answer.status_code, codes(answer)) == outcome, header
