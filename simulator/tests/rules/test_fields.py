"""Field rules: each code applies to its error, with İYS's shape."""

import pytest

from iys_simulator.rules.business_days import acceptance_window
from simulator_harness.client import SimulatorHarness, codes

TODAY = "2026-09-17 11:00:00"
_ARABIC = "+\u0669\u0660" + "\u0665" * 3 + "\u0660" * 7
_FULL_WIDTH = "+\uff19\uff10" + "\uff15" * 3 + "\uff10" * 7


@pytest.mark.parametrize(
    ("changed", "expected", "location"),
    [
        ({"status": ...}, ["H110"], "status"),
        ({"type": ...}, ["H111"], "type"),
        ({"consentDate": ...}, ["H112"], "consentDate"),
        ({"source": ...}, ["H113"], "source"),
        ({"recipient": ...}, ["H114"], "recipient"),
        ({"status": "ONAYY"}, ["H115"], "status"),
        ({"recipientType": "TACIRR"}, ["H116"], "recipientType"),
        ({"type": "EPOSTAA"}, ["H117"], "type"),
        ({"source": "IYS_WEB"}, ["H119"], "source"),
        ({"source": ["HS_WEB"]}, ["H119"], "source"),
        ({"type": "EPOSTA", "recipient": "example.com"}, ["H120"], "recipient"),
        ({"type": "EPOSTA", "recipient": "örnek@example.com"}, ["H120"], "recipient"),
        ({"type": "EPOSTA", "recipient": "a" * 260 + "@example.com"}, ["H120"], "recipient"),
        ({"recipient": "905546789898"}, ["H121"], "recipient"),
        ({"recipient": "+05543213232"}, ["H121"], "recipient"),
        ({"recipient": "+90533"}, ["H121"], "recipient"),
        ({"recipient": _ARABIC}, ["H121"], "recipient"),
        ({"recipient": _FULL_WIDTH}, ["H121"], "recipient"),
        ({"recipient": "\uff0b905550000001"}, ["H121"], "recipient"),
        ({"recipient": " +905550000001"}, ["H121"], "recipient"),
        ({"recipient": "+905550000001 "}, ["H121"], "recipient"),
        ({"recipient": "+905550000001\n"}, ["H121"], "recipient"),
        ({"recipient": "+44 2079460018"}, ["H121"], "recipient"),
        ({"recipient": "+44-2079460018"}, ["H121"], "recipient"),
        ({"type": "EPOSTA", "recipient": "\u212a@example.com"}, ["H120"], "recipient"),
        ({"recipient": "9055436100000000"}, ["H160", "H121"], "recipient"),
        ({"type": "KARGO", "recipient": "x"}, ["H117", "H122"], "type"),
        ({"consentDate": "2026-09-16T10:00:00"}, ["H158"], "consentDate"),
        ({"consentDate": " 2026-09-16 10:00:00"}, ["H158"], "consentDate"),
        ({"consentDate": 20260916}, ["H158"], "consentDate"),
        ({"consentDate": "2026-15-01 10:00:00"}, ["H157"], "consentDate"),
        ({"consentDate": "2026-09-17 12:00:01"}, ["H162"], "consentDate"),
        ({"consentDate": "2015-04-30 23:59:00"}, ["H156"], "consentDate"),
        (
            {"source": "HS_2015", "consentDate": "2015-02-10 09:30:00"},
            ["H156", "H155"],
            "consentDate",
        ),
        ({"source": "HS_2015"}, ["H155"], "consentDate"),
        ({"source": "HS_2015", "consentDate": "2015-05-01 00:00:00"}, ["H467"], "consentDate"),
        ({"source": "HS_KARAR"}, ["H408"], "status"),
        ({"consentDate": "2026-09-11 10:00:00"}, ["H467"], "consentDate"),
        ({"note": "x"}, ["H118"], "note"),
        ({"retailerAccess": []}, ["H163"], "retailerAccess"),
        ({"retailerAccess": [1] * 3001}, ["H126"], "retailerAccess"),
    ],
)
async def test_invalid_field_is_refused_with_its_code(
    iys: SimulatorHarness, changed: dict[str, object], expected: list[str], location: str
):
    """Each invalid field has İYS's code, its location and mostly its value."""
    answer = await iys.add(**changed)
    assert answer.status_code == 422
    assert codes(answer) == expected
    found = answer.json()["errors"][0]
    assert found["location"] == [location]
    if location in changed and changed[location] is not ...:
        assert found["value"] == changed[location]


@pytest.mark.parametrize(
    "recipient", ["+905992000000", "+902121230000", "+9005311333449", "+4915112345678"]
)
async def test_possible_numbers_are_stored_as_sent(iys: SimulatorHarness, recipient: str):
    """Possible numbers are accepted, including one with a zero too many."""
    answer = await iys.add(recipient=recipient)
    assert answer.status_code == 200
    assert next(iter(iys.state.register_of(660101).movements())).recipient == recipient


@pytest.mark.parametrize("check", ["possible", "valid"])
@pytest.mark.parametrize("recipient", [" +905321234567", "+\uff1905321234567", "+90 5321234567"])
async def test_phone_outside_e164_is_refused_by_each_check(
    iys: SimulatorHarness, check: str, recipient: str
):
    """H121 in adds, batches and queries: nothing is trimmed, and digits are ASCII."""
    iys.set(phone_check=check)
    asked = {"type": "MESAJ", "recipientType": "BIREYSEL", "recipient": recipient}
    batch = await iys.batch(iys.consent(), iys.consent(recipient=recipient))
    query = await iys.http.post(f"{iys.path}/consents/status", json=asked)
    assert codes(await iys.add(recipient=recipient)) == codes(batch) == codes(query) == ["H121"]


async def test_all_errors_of_an_item_are_reported(iys: SimulatorHarness):
    """One response names every invalid field."""
    answer = await iys.add(type="X", status="Y", source="Z", consentDate="now")
    assert codes(answer) == ["H117", "H119", "H115", "H158"]


async def test_email_is_stored_in_lower_case(iys: SimulatorHarness):
    """İYS stores and returns the lower-cased address."""
    await iys.add(type="EPOSTA", recipient="Ornek.Alici+a@Example.COM")
    (movement,) = iys.state.register_of(660101).movements()
    assert movement.recipient == "ornek.alici+a@example.com"


async def test_unknown_retailer_is_refused(iys: SimulatorHarness):
    """H267 for an empty code, H180 for one that the brand does not have."""
    empty = await iys.add(retailerCode="")
    assert (empty.status_code, codes(empty)) == (400, ["H267"])
    iys.replace_brand(retailers=frozenset([10000001]))
    strange = await iys.add(retailerCode=10000002, retailerAccess=[10000001, 10000003])
    assert (strange.status_code, codes(strange)) == (403, ["H180", "H180"])
    assert strange.json()["errors"][1]["location"] == ["retailerAccess", 1]
    own = await iys.add(retailerCode=10000001, retailerAccess=[10000001])
    assert own.status_code == 200


@pytest.mark.parametrize(
    ("now", "earliest"),
    [
        ("2026-09-16", "2026-09-11"),  # Sunday the 13th lasts until Wednesday the 16th
        ("2026-09-17", "2026-09-14"),
        ("2026-04-22", "2026-04-17"),
        ("2026-06-01", "2026-05-22"),  # across Kurban Bayramı, the eve counted
        ("2026-11-02", "2026-10-27"),  # 29 October is a holiday, its half-day eve counts
        ("2027-01-05", "2026-12-30"),
    ],
)
async def test_three_business_days_are_counted_as_in_turkey(now: str, earliest: str):
    """The last day on which a consent is accepted is the third business day after it."""
    assert acceptance_window(now).earliest == earliest


async def test_end_of_day_ignores_the_time_of_day(iys: SimulatorHarness):
    """Monday morning's consent is accepted on Thursday at noon, Sunday's is not."""
    assert (await iys.add(consentDate="2026-09-14 00:00:00")).status_code == 200
    late = await iys.add(consentDate="2026-09-13 23:59:59", recipient="+905550000002")
    assert (late.status_code, codes(late)) == (422, ["H467"])


async def test_sliding_days_end_at_the_time_of_day(iys: SimulatorHarness):
    """With the switch a consent of Monday 11:59 is too late on Thursday at 12:00."""
    iys.set(late_mode="sliding")
    assert codes(await iys.add(consentDate="2026-09-14 11:59:59")) == ["H467"]
    assert (await iys.add(consentDate="2026-09-14 12:00:00")).status_code == 200


@pytest.mark.parametrize("activated_at", [None, "2026-09-18 00:00:00"])
async def test_old_consents_are_accepted_before_activation(
    iys: SimulatorHarness, activated_at: str | None
):
    """The three-day rule starts with the brand's activation."""
    iys.replace_brand(activated_at=activated_at)
    assert (await iys.add(consentDate="2019-01-01 10:00:00")).status_code == 200


@pytest.mark.parametrize("version", ["", "/v2"])
async def test_value_nested_too_deep_is_omitted_from_the_error(iys: SimulatorHarness, version: str):
    """A value that cannot be serialized is omitted, and nothing fails."""
    body = b'{"status": ' + b"[" * 900 + b"]" * 900 + b"}"
    answer = await iys.http.post(f"{version}{iys.path}/consents", content=body)
    assert answer.status_code == 422
    (wrong,) = [found for found in answer.json()["errors"] if found["code"] == "H115"]
    assert wrong.keys() == {"code", "message", "location"}
    deeper = b"[" * 5000
    assert (await iys.http.post(f"{iys.path}/consents", content=deeper)).status_code == 400


async def test_lone_surrogate_is_no_json(iys: SimulatorHarness):
    """A lone surrogate cannot be stored as text."""
    answer = await iys.http.post(f"{iys.path}/consents", content=b'{"status": "\\ud800"}')
    assert (answer.status_code, codes(answer)) == (400, ["H014"])
