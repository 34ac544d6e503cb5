"""Switches: where İYS's documents contradict one another or say nothing, either way can be had."""

import pytest
from typer.testing import CliRunner

from iys_simulator.commands.cli import app
from iys_simulator.settings import Settings, UnknownSettingError, switches
from simulator_harness.client import PHONE, Iys, codes

TODAY = "2026-09-17 11:00:00"
TOO_LATE = "2026-09-10 10:00:00"
RIGHT = {"username": "api@example.com", "password": "fake", "grant_type": "password"}
HOUR = 3600.0


def test_settings_take_only_what_they_can_be():
    """A name nobody knows, a choice there is not and a number below zero are refused."""
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


def test_every_switch_says_what_it_means():
    """The page of switches has no empty row."""
    told = switches()
    assert len(told) == len(Settings().as_dict())
    assert [one.name for one in told if not (one.meaning and one.values)] == []


def test_a_wrong_switch_on_the_command_line_is_told():
    """Wrong usage ends in 2 and names the switch."""
    ran = CliRunner().invoke(app, ["serve", "--set", "lateMode=never"])
    assert ran.exit_code == 2
    assert "lateMode" in ran.output


async def test_a_late_consent_is_422_or_400(iys: Iys):
    """With 400 the refusal has no place, as in the other example; a batch stays at 422."""
    placed = await iys.add(consentDate=TOO_LATE)
    assert (placed.status_code, codes(placed)) == (422, ["H467"])
    iys.set(late_status="400")
    bare = await iys.add(consentDate=TOO_LATE)
    assert (bare.status_code, codes(bare)) == (400, ["H467"])
    assert "location" not in bare.json()["errors"][0]
    assert (await iys.batch(iys.consent(consentDate=TOO_LATE))).status_code == 422


async def test_a_late_ret_may_be_taken(iys: Iys):
    """The three days may bind ONAY only; then a late RET meets the stored record's rules."""
    iys.set(late_applies_to="ONAY")
    assert codes(await iys.add(consentDate=TOO_LATE, status="RET")) == ["H175"]
    assert codes(await iys.add(consentDate=TOO_LATE)) == ["H467"]


async def test_an_equal_date_may_be_taken(iys: Iys):
    """A date equal to the registered one is H178, or taken; an older one is always H178."""
    await iys.add()
    assert codes(await iys.add(status="RET")) == ["H178"]
    iys.set(equal_date="accepted")
    assert (await iys.add(status="RET")).status_code == 200
    assert codes(await iys.add(consentDate="2026-09-15 10:00:00")) == ["H178"]


async def test_onay_on_onay_may_be_refused(iys: Iys):
    """By its wording H174 is for either status, which it then names, in results too."""
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


async def test_a_traders_first_record_may_be_ret(iys: Iys):
    """Law knows traders without consent; a person's first record stays ONAY."""
    iys.set(first_tacir_ret="accepted")
    assert (await iys.add(recipientType="TACIR", status="RET")).status_code == 200
    assert codes(await iys.add(status="RET")) == ["H175"]


async def test_a_date_may_be_a_little_ahead(iys: Iys):
    """H162 begins behind the skew."""
    ahead = "2026-09-17 12:04:59"
    assert codes(await iys.add(consentDate=ahead)) == ["H162"]
    iys.set(future_skew=300)
    assert (await iys.add(consentDate=ahead)).status_code == 200
    assert codes(await iys.add(consentDate="2026-09-17 12:05:01")) == ["H162"]


async def test_phones_may_have_to_be_valid(iys: Iys):
    """A number only possible, and one with a zero too many, by the stricter reading."""
    for number in ("+902002000000", "+902003000000"):
        assert (await iys.add(recipient=number)).status_code == 200
    iys.set(phone_check="valid")
    assert codes(await iys.add(recipient="+902004000000")) == ["H121"]
    assert codes(await iys.add(recipient="+9")) == ["H121"]
    assert (await iys.add(recipient=PHONE)).status_code == 200


async def test_sizes_and_their_codes(iys: Iys):
    """A batch too long has one of two codes; the retailers of an add have a size."""
    iys.set(batch_size=1, batch_code="H125", access_size=1)
    long = await iys.batch(iys.consent(), iys.consent(recipient="+905550000002"))
    assert (long.status_code, codes(long)) == (422, ["H125"])
    assert "en fazla 1 olmalıdır" in long.json()["errors"][0]["message"]
    many = await iys.add(retailerAccess=[1, 2])
    assert codes(many) == ["H126"]
    assert "en fazla 1 olmalıdır" in many.json()["errors"][0]["message"]


async def test_a_missing_right_names_one_field_or_the_other(iys: Iys):
    """H353 on the type, or on the brand."""
    iys.replace_brand(rights={})
    for name in ("type", "brandCode"):
        iys.set(missing_right=name)
        refused = await iys.add()
        assert refused.json()["errors"][0]["message"].startswith(f"{name}, ")


async def test_a_batch_is_answered_in_other_spellings(iys: Iys):
    """Status, ids, index and the V2 flag as the older page, or the schema, has them."""
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


async def test_v2_may_forget(iys: Iys):
    """Behind its memory a resend meets the rules like anything new."""
    iys.set(v2_memory=60)
    first = await iys.add(version="/v2")
    assert (await iys.add(version="/v2")).json() == first.json()
    iys.state.clock.advance(60)
    assert codes(await iys.add(version="/v2")) == ["H178"]


async def test_cursors_may_be_in_milliseconds(iys: Iys):
    """Both are understood, whichever is given out."""
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


async def test_the_days_file_may_have_one_line_a_second(iys: Iys):
    """Movements of one address in one second: a line each, or the last of them."""
    await iys.citizen(status="ONAY")
    await iys.citizen(status="RET")
    iys.state.clock.advance(86400)
    await iys.log_in()
    path = f"{iys.path}/changes/2026-09-17/file"
    assert len((await iys.http.get(path)).text.splitlines()) == 3
    iys.set(day_file_lines="one")
    (_, line) = (await iys.http.get(path)).text.splitlines()
    assert ",RET," in line


async def test_errors_may_have_the_tables_words(iys: Iys):
    """One switch puts the table's wording in the place of the examples'."""
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


async def test_a_429_may_name_the_seconds_to_wait(iys: Iys):
    """Retry-After is a second, or the hour; the second's limit has one of two codes."""
    iys.set(retry_after=True, requests_per_second=1, rate_code="H083")
    await iys.changes()
    refused = await iys.changes()
    assert (codes(refused), refused.headers["retry-after"]) == (["H083"], "1")
    iys.set(requests_per_second=0, token_limit=1, h084_text="section")
    await iys.http.post("/oauth2/token", json=RIGHT)
    hourly = await iys.http.post("/oauth2/token", json=RIGHT)
    assert (codes(hourly), hourly.headers["retry-after"]) == (["H084"], "3600")
    assert "kimlik doğrulama" not in hourly.json()["errors"][0]["message"]


async def test_tokens_by_the_other_readings(iys: Iys):
    """A renewal may count for nothing, its token may stay, a wrong grant has production's name."""
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


async def test_the_plural_path_of_an_older_page_answers_too(iys: Iys):
    """`consents/retailers/access/list` beside `consent/…`."""
    body = {"type": "MESAJ", "recipientType": "BIREYSEL", "recipient": PHONE}
    for word in ("consent", "consents"):
        path = f"{iys.path}/{word}/retailers/access/list"
        assert (await iys.http.post(path, json=body)).status_code == 200
