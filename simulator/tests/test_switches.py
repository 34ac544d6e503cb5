"""Switches: each reading of İYS's documents can be chosen."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from iys_simulator.commands.cli import app
from iys_simulator.errors.messages import NOT_JSON, message_of
from iys_simulator.settings import Settings, UnknownSettingError, switches
from simulator_harness.client import PHONE, SimulatorHarness, codes

TODAY = "2026-09-17 11:00:00"
TOO_LATE = "2026-09-10 10:00:00"
RIGHT = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
HOUR = 3600.0


def test_invalid_settings_are_refused():
    """An unknown name, an unknown choice and a number below zero."""
    for wrong in ({"x": 1}, {"late_mode": "x"}, {"hour": -1}, {"batch_size": 1.5}):
        with pytest.raises(UnknownSettingError, match=next(iter(wrong))):
            Settings().changed(wrong)
    for wrong in ({"retry_after": 1}, {"hour": True}):
        with pytest.raises(UnknownSettingError, match=next(iter(wrong))):
            Settings().changed(wrong)
    assert Settings().changed({"hour": 1, "retry_after": True}).hour == 1


def test_settings_are_read_from_words():
    """`name=value` by either spelling of the name; a choice of digits stays a text."""
    words = ["lateMode=sliding", "batch_status=200", "retryAfter=true", "hour=36.5"]
    settings = Settings().changed_by_words(words)
    assert (settings.late_mode, settings.batch_status) == ("sliding", "200")
    assert (settings.retry_after, settings.hour) == (True, 36.5)
    for wrong in ("lateMode", "lateMode=", "hour=x", "hour=NaN", "x=1"):
        with pytest.raises(UnknownSettingError):
            Settings().changed_by_words([wrong])


def test_every_switch_has_a_meaning():
    """The page of switches has no empty row and is the one in docs/."""
    found = switches()
    assert len(found) == len(Settings().as_dict())
    assert [one.name for one in found if not (one.meaning and one.values)] == []
    printed = CliRunner().invoke(app, ["switches", "--output", "markdown"]).output
    page = Path(__file__).parents[1] / "docs" / "switches.md"
    assert page.read_text(encoding="utf-8") == printed, "run: make docs"


def test_invalid_switch_on_the_command_line_is_named():
    """Wrong usage exits with 2 and names the switch."""
    ran = CliRunner().invoke(app, ["serve", "--set", "lateMode=never"])
    assert ran.exit_code == 2
    assert "lateMode" in ran.output


async def test_late_consent_is_422_or_400(iys: SimulatorHarness):
    """With 400 the refusal has no location, as in the other example; a batch stays at 422."""
    placed = await iys.add(consentDate=TOO_LATE)
    assert (placed.status_code, codes(placed)) == (422, ["H467"])
    iys.set(late_status="400")
    bare = await iys.add(consentDate=TOO_LATE)
    assert (bare.status_code, codes(bare)) == (400, ["H467"])
    assert "location" not in bare.json()["errors"][0]
    assert (await iys.batch(iys.consent(consentDate=TOO_LATE))).status_code == 422


async def test_late_ret_is_accepted_by_switch(iys: SimulatorHarness):
    """The three days may apply to ONAY only; then the rules of the record apply to a late RET."""
    iys.set(late_applies_to="ONAY")
    assert codes(await iys.add(consentDate=TOO_LATE, status="RET")) == ["H175"]
    assert codes(await iys.add(consentDate=TOO_LATE)) == ["H467"]


async def test_equal_date_is_accepted_by_switch(iys: SimulatorHarness):
    """A date equal to the registered one is H178, or accepted; an older one is always H178."""
    await iys.add()
    assert codes(await iys.add(status="RET")) == ["H178"]
    iys.set(equal_date="accepted")
    assert (await iys.add(status="RET")).status_code == 200
    assert codes(await iys.add(consentDate="2026-09-15 10:00:00")) == ["H178"]


async def test_onay_after_onay_is_refused_by_switch(iys: SimulatorHarness):
    """H174 names the current status, in results too."""
    iys.set(onay_again="refused")
    await iys.add()
    refused = await iys.add(consentDate=TODAY)
    assert (refused.status_code, codes(refused)) == (400, ["H174"])
    assert refused.json()["errors"][0]["message"].endswith("İzin durumu: ONAY")
    (result,) = await iys.settled(iys.consent(consentDate=TODAY))
    assert result["error"]["message"].endswith("İzin durumu: ONAY")
    iys.set(onay_again="renews")
    (result,) = await iys.settled(iys.consent(consentDate=TODAY))
    assert result["status"] == "success"


async def test_first_ret_of_a_tacir_is_accepted_by_switch(iys: SimulatorHarness):
    """The law allows messages to merchants without consent; an individual's first stays ONAY."""
    iys.set(first_tacir_ret="accepted")
    assert (await iys.add(recipientType="TACIR", status="RET")).status_code == 200
    assert codes(await iys.add(status="RET")) == ["H175"]


async def test_future_date_is_accepted_within_the_skew(iys: SimulatorHarness):
    """H162 begins after the skew."""
    ahead = "2026-09-17 12:04:59"
    assert codes(await iys.add(consentDate=ahead)) == ["H162"]
    iys.set(future_skew=300)
    assert (await iys.add(consentDate=ahead)).status_code == 200
    assert codes(await iys.add(consentDate="2026-09-17 12:05:01")) == ["H162"]


async def test_phones_must_be_valid_by_switch(iys: SimulatorHarness):
    """A number that is only possible, and one with a zero too many, are refused."""
    for number in ("+902002000000", "+902003000000"):
        assert (await iys.add(recipient=number)).status_code == 200
    iys.set(phone_check="valid")
    assert codes(await iys.add(recipient="+902004000000")) == ["H121"]
    assert codes(await iys.add(recipient="+9")) == ["H121"]
    assert (await iys.add(recipient=PHONE)).status_code == 200


async def test_sizes_and_their_codes_are_switches(iys: SimulatorHarness):
    """A batch too long has one of two codes; the retailers of an add have a size."""
    iys.set(batch_size=1, batch_code="H125", access_size=1)
    long = await iys.batch(iys.consent(), iys.consent(recipient="+905550000002"))
    assert (long.status_code, codes(long)) == (422, ["H125"])
    assert "en fazla 1 olmalıdır" in long.json()["errors"][0]["message"]
    many = await iys.add(retailerAccess=[1, 2])
    assert codes(many) == ["H126"]
    assert "en fazla 1 olmalıdır" in many.json()["errors"][0]["message"]


async def test_missing_right_names_a_field_by_switch(iys: SimulatorHarness):
    """H353 on the type, or on the brand."""
    iys.replace_brand(rights={})
    for name in ("type", "brandCode"):
        iys.set(missing_right=name)
        refused = await iys.add()
        assert refused.json()["errors"][0]["message"].startswith(f"{name}, ")


async def test_batch_response_has_other_spellings_by_switch(iys: SimulatorHarness):
    """Status, ids, index and the V2 flag as in the older page, or in the schema."""
    iys.set(
        batch_status="200",
        sub_request_spelling="subrequestId",
        result_index="from_1",
        v2_flag="boolean",
        request_id_format="hex",
    )
    accepted = await iys.batch(iys.consent(), version="/v2")
    assert accepted.status_code == 200
    assert "subrequestId" in accepted.json()["subRequests"][0]
    request_id = accepted.json()["requestId"]
    assert (len(request_id), "-" in request_id) == (32, False)
    iys.state.clock.advance(300)
    (result,) = await iys.results(request_id, "/v2")
    assert (result["index"], result["isAddConsentV2Service"]) == (1, True)
    assert result["subrequestId"] == accepted.json()["subRequests"][0]["subrequestId"]


async def test_v2_response_expires_by_switch(iys: SimulatorHarness):
    """After its memory the rules apply to a resend like to anything new."""
    iys.set(v2_memory=60)
    first = await iys.add(version="/v2")
    assert (await iys.add(version="/v2")).json() == first.json()
    iys.state.clock.advance(60)
    assert codes(await iys.add(version="/v2")) == ["H178"]


async def test_cursors_are_in_milliseconds_by_switch(iys: SimulatorHarness):
    """Both are accepted, whichever is issued."""
    await iys.citizen()
    await iys.citizen(recipient="+905550000002")
    iys.state.clock.advance(HOUR)
    seconds = (await iys.changes(limit=1)).json()["after"]
    iys.set(cursor_unit="milliseconds")
    milliseconds = (await iys.changes(limit=1)).json()["after"]
    assert milliseconds.partition("_")[0] == seconds.partition("_")[0] + "000"
    for after in (seconds, milliseconds):
        (item,) = (await iys.changes(after=after)).json()["list"]
        assert item["recipient"] == "+905550000002"


async def test_day_file_has_one_line_a_second_by_switch(iys: SimulatorHarness):
    """Movements of one recipient in one second: a line each, or only the last."""
    await iys.citizen(status="ONAY")
    await iys.citizen(status="RET")
    iys.state.clock.advance(86400)
    await iys.log_in()
    path = f"{iys.path}/changes/2026-09-17/file"
    assert len((await iys.http.get(path)).text.splitlines()) == 3
    iys.set(day_file_lines="one")
    (_, line) = (await iys.http.get(path)).text.splitlines()
    assert ",RET," in line


async def test_errors_have_the_table_messages_by_switch(iys: SimulatorHarness):
    """The table's messages in place of the examples'."""
    path = f"{iys.path}/consents/BIREYSEL/status/MESAJ"
    twice = {"recipients": [PHONE, PHONE]}
    examples = (await iys.http.post(path, json=twice)).json()["errors"][0]
    iys.set(wording="table")
    table = (await iys.http.post(path, json=twice)).json()["errors"][0]
    assert examples["message"].startswith("Alıcı (recipient) değeri")
    assert table["message"].startswith("Bayi İYS numarası ve alıcı değeri")
    assert {**table, "message": ""} == {**examples, "message": ""}
    iys.set(forbidden_spelling="code:")
    answer = await iys.http.post("/sps/1/brands/1/consents/status", json={})
    assert answer.json()["errors"][0] == {
        "code:": "H353",
        "message": "Alan, kullanıcı izinleriyle eşleştirilemiyor",
    }


@pytest.mark.parametrize(
    ("path", "has_second_message"),
    [
        ("consents", False),
        ("consents/request", True),
        ("consents/history", False),
        ("consents/retailers/access", False),
        ("consents/retailers/access/remove", True),
        ("consents/retailers/access/remove/all", True),
        ("consent/retailers/access/list", True),
        ("retailers", True),
    ],
)
async def test_h014_has_the_message_of_its_endpoint(
    iys: SimulatorHarness, path: str, *, has_second_message: bool
):
    """The examples have two messages of a body that is no JSON, the table has one."""

    async def message() -> object:
        answer = await iys.http.post(f"{iys.path}/{path}", content=b"{")
        return answer.json()["errors"][0]["message"]

    assert (await message() == NOT_JSON) is has_second_message
    iys.set(wording="table")
    assert await message() == message_of("H014")


async def test_429_has_retry_after_by_switch(iys: SimulatorHarness):
    """A second, or the hour; the limit of a second has one of two codes."""
    iys.set(retry_after=True, requests_per_second=1, rate_code="H083")
    await iys.changes()
    refused = await iys.changes()
    assert (codes(refused), refused.headers["retry-after"]) == (["H083"], "1")
    iys.set(requests_per_second=0, token_limit=1, h084_text="section")
    await iys.http.post("/oauth2/token", json=RIGHT)
    hourly = await iys.http.post("/oauth2/token", json=RIGHT)
    assert (codes(hourly), hourly.headers["retry-after"]) == (["H084"], "3600")
    assert "kimlik doğrulama" not in hourly.json()["errors"][0]["message"]


async def test_tokens_by_the_other_readings(iys: SimulatorHarness):
    """A refresh may not count, its token may stay, a wrong grant has production's name."""
    iys.set(token_limit=2, refresh_counts=False, refresh_rotates=False)
    answer = await iys.http.post("/oauth2/token", json=RIGHT)
    renewal = {"grant_type": "refresh_token", "refresh_token": answer.json()["refresh_token"]}
    for _ in range(3):
        assert (await iys.http.post("/oauth2/token", json=renewal)).status_code == 200
    iys.set(refresh_rotates=True)
    assert (await iys.http.post("/oauth2/token", json=renewal)).status_code == 200
    assert (await iys.http.post("/oauth2/token", json=renewal)).status_code == 400
    iys.set(token_limit=0, unknown_grant="unsupported_grant_type")
    wrong = await iys.http.post("/oauth2/token", json={"grant_type": "client_credentials"})
    assert (wrong.status_code, wrong.json()["error"]) == (400, "unsupported_grant_type")


async def test_plural_path_of_an_older_page_responds(iys: SimulatorHarness):
    """`consents/retailers/access/list` beside `consent/…`."""
    body = {"type": "MESAJ", "recipientType": "BIREYSEL", "recipient": PHONE}
    for word in ("consent", "consents"):
        path = f"{iys.path}/{word}/retailers/access/list"
        assert (await iys.http.post(path, json=body)).status_code == 200
