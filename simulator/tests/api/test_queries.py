"""Queries: single and multiple status, pull, brands, subscription."""

import pytest

from simulator_harness.client import SimulatorHarness, codes

TODAY = "2026-09-17 11:00:00"
HOUR = 3600


async def status(iys: SimulatorHarness, **body: object):
    usual = {"recipient": "+905550000001", "recipientType": "BIREYSEL", "type": "MESAJ"}
    asked = {name: value for name, value in {**usual, **body}.items() if value is not ...}
    return await iys.http.post(f"{iys.path}/consents/status", json=asked)


async def statuses(
    iys: SimulatorHarness, body: object, channel: str = "MESAJ", kind: str = "BIREYSEL"
):
    return await iys.http.post(f"{iys.path}/consents/{kind}/status/{channel}", json=body)


async def pulled(iys: SimulatorHarness, **asked: object):
    """Return every page's recipients, and the last cursor."""
    found, after = [], None
    while True:
        answer = await iys.changes(**asked, **({"after": after} if after else {}))
        if answer.status_code == 204:
            return found, after
        body = answer.json()
        found += [item["recipient"] for item in body["list"]]
        after = body["after"]


async def test_single_status_returns_the_record(iys: SimulatorHarness):
    """The record of the recipient, e-mails in lower case."""
    saved = (await iys.add(type="EPOSTA", recipient="alici@example.com")).json()
    answer = await status(iys, type="EPOSTA", recipient="ALICI@example.com")
    assert answer.json() == {
        "consentDate": "2026-09-16 10:00:00",
        "creationDate": saved["creationDate"],
        "source": "HS_WEB",
        "recipient": "alici@example.com",
        "recipientType": "BIREYSEL",
        "status": "ONAY",
        "type": "EPOSTA",
        "transactionId": saved["transactionId"],
        "retailerAccessCount": 0,
    }


async def test_unknown_recipient_is_empty_or_not_found(iys: SimulatorHarness):
    """200 with `{}`, or 404 by the switch."""
    known_as = await status(iys)
    assert (known_as.status_code, known_as.json()) == (200, {})
    iys.set(unknown_status="not_found")
    assert (await status(iys)).status_code == 404


async def test_multiple_status_lists_only_onay(iys: SimulatorHarness):
    """RET and unknown recipients are both absent; e-mails are returned in lower case."""
    for name in ("yes", "no"):
        await iys.add(type="EPOSTA", recipient=f"{name}@example.com")
    await iys.citizen(type="EPOSTA", recipient="no@example.com")
    asked = {"recipients": ["YES@example.com", "no@example.com", "other@example.com"]}
    answer = await statuses(iys, asked, "EPOSTA")
    assert answer.json()["list"] == ["yes@example.com"]
    assert answer.json()["requestId"]


async def test_multiple_status_checks_its_path(iys: SimulatorHarness):
    """H116 and H117 for an invalid path, H464 for phones as e-mails, H193 with its place."""
    assert codes(await statuses(iys, {}, "SMS", "HERKES")) == ["H116", "H117"]
    mixed = await statuses(iys, {"recipients": ["+905550000001"]}, "EPOSTA")
    assert "EPOSTA için, alıcı (recipient) e-posta" in mixed.json()["errors"][0]["message"]
    twice = await statuses(iys, {"recipients": ["a@example.com", "A@example.com"]}, "EPOSTA")
    assert twice.json()["errors"][0]["location"] == ["recipients", 1]


async def test_pull_has_two_streams(iys: SimulatorHarness):
    """Stream HS has the provider's movements, IYS (the default) those of citizens."""
    await iys.add()
    await iys.citizen(recipient="+905550000009")
    iys.state.clock.advance(HOUR)
    assert (await pulled(iys, source="HS"))[0] == ["+905550000001"]
    assert (await pulled(iys))[0] == ["+905550000009"]


async def test_pull_hides_the_last_hour(iys: SimulatorHarness):
    """204 without a body until an hour has passed."""
    await iys.citizen()
    iys.state.clock.advance(HOUR - 1)
    answer = await iys.changes()
    assert (answer.status_code, answer.content) == (204, b"")
    iys.state.clock.advance(1)
    assert (await iys.changes()).status_code == 200


async def test_pull_ends_after_seven_days(iys: SimulatorHarness):
    """A movement is shown for 167 hours: from one hour old to seven days."""
    await iys.citizen()
    iys.state.clock.advance(7 * 24 * HOUR)
    await iys.log_in()
    assert (await iys.changes()).status_code == 200
    iys.state.clock.advance(1)
    assert (await iys.changes()).status_code == 204


async def test_pages_lose_and_repeat_nothing(iys: SimulatorHarness):
    """Movements of one second that share a transactionId survive every page boundary."""
    expected = []
    for number in (1, 2, 1, 1, 3):
        recipient = f"+90555000000{number}"
        await iys.citizen(recipient=recipient, status="RET" if len(expected) % 2 else "ONAY")
        expected.append(recipient)
    iys.state.clock.advance(HOUR)
    for limit in (1, 2, 3, 1000):
        assert (await pulled(iys, limit=limit))[0] == expected


async def test_cursor_continues_after_204(iys: SimulatorHarness):
    """After 204 the old cursor returns later movements, and none twice."""
    await iys.citizen(recipient="+905550000001")
    iys.state.clock.advance(HOUR)
    found, after = await pulled(iys)
    assert found == ["+905550000001"]
    await iys.citizen(recipient="+905550000002")
    iys.state.clock.advance(HOUR)
    await iys.log_in()
    page = (await iys.changes(after=after)).json()
    assert [item["recipient"] for item in page["list"]] == ["+905550000002"]


@pytest.mark.parametrize("after", ["garbage", "1_x", "1_x_y", "99999999999_x"])
async def test_unknown_cursor_starts_at_the_window_or_its_second(iys: SimulatorHarness, after: str):
    """A cursor that was never issued is no error."""
    await iys.citizen()
    iys.state.clock.advance(HOUR)
    expected = 204 if after.startswith("9") else 200
    assert (await iys.changes(after=after)).status_code == expected


async def test_pull_checks_its_parameters(iys: SimulatorHarness):
    """H506 for an unknown stream, H507 for more than 1,000 (value as text), H183 for no number."""
    wrong = await iys.changes(source="SH")
    assert (wrong.status_code, codes(wrong)) == (422, ["H506"])
    many = await iys.changes(limit="1500")
    assert (codes(many), many.json()["errors"][0]["value"]) == (["H507"], "1500")
    assert codes(await iys.changes(limit="0")) == ["H183"]


async def test_citizen_name_is_returned_where_given(iys: SimulatorHarness):
    """`citizenName` appears only where it was given."""
    await iys.citizen(status="ONAY", source="IYS_WEB_YENI", citizenName="Örnek Alıcı")
    await iys.citizen(status="RET", recipient="+905550000002")
    iys.state.clock.advance(HOUR)
    first, second = (await iys.changes()).json()["list"]
    assert first["citizenName"] == "Örnek Alıcı"
    assert "citizenName" not in second


async def test_closed_line_has_the_last_known_date(iys: SimulatorHarness):
    """IYS_AHS_HAT_KAPATMA has an old consent date, and none after a TACIR without one."""
    await iys.add()
    await iys.add(recipientType="TACIR", consentDate=..., source=...)
    for kind in ("BIREYSEL", "TACIR"):
        await iys.citizen(source="IYS_AHS_HAT_KAPATMA", recipientType=kind)
    iys.state.clock.advance(HOUR)
    dates = [item["consentDate"] for item in (await iys.changes()).json()["list"]]
    assert dates == ["2026-09-16 10:00:00", ""]


async def test_brands_have_their_counts(iys: SimulatorHarness):
    """Approvals and rejections are counted by current record."""
    await iys.add()
    await iys.add(recipient="+905550000002")
    await iys.citizen(recipient="+905550000002")
    (brand,) = (await iys.http.get("/sps/660001/brands")).json()
    assert brand == {
        "brandCode": 660101,
        "stats": {
            "consents": {"approval": 1, "rejection": 1, "total": 2},
            "retailers": {"total": 0},
        },
        "name": "Örnek Marka",
        "master": True,
    }


async def test_subscription_has_the_quota(iys: SimulatorHarness):
    """Limit and use of all brands; without a limit it may be exceeded."""
    await iys.add()
    unlimited = (await iys.http.get("/sps/660001/subscription")).json()
    assert (unlimited["consentLimitExceed"], unlimited["usedConsentLimit"]) == (True, 1)
    iys.replace_brand(consent_limit=5)
    limited = (await iys.http.get("/sps/660001/subscription")).json()
    assert (limited["consentLimitExceed"], limited["consentLimit"]) == (False, 5)
