import re

import pytest

from izin.iys.answers import Refusal, Verdict, classify, weightiest

# Every code of İYS's core API, spec 3.2.0 (table of error codes merged with all examples).
CORE_CODES = re.findall(
    r"H\d{3}",
    """
    H001 H014 H015 H016 H017 H018 H031 H058 H060 H061 H062 H067 H082 H083 H084 H085 H086 H089
    H090 H091 H092 H093 H095 H097 H098 H100 H101 H102 H103 H105 H106 H107 H110 H111 H112 H113
    H114 H115 H116 H117 H118 H119 H120 H121 H122 H123 H124 H125 H126 H127 H129 H155 H156 H157
    H158 H160 H162 H163 H164 H166 H168 H169 H170 H171 H172 H173 H174 H175 H176 H178 H179 H180
    H181 H182 H183 H184 H185 H186 H187 H190 H191 H192 H193 H194 H195 H196 H197 H198 H199 H201
    H214 H215 H216 H217 H218 H219 H220 H221 H222 H224 H225 H226 H227 H228 H229 H230 H231 H241
    H243 H244 H245 H250 H251 H252 H253 H266 H267 H268 H288 H351 H353 H355 H363 H400 H401 H402
    H403 H404 H405 H408 H412 H437 H450 H452 H453 H454 H455 H456 H459 H460 H462 H463 H464 H465
    H467 H470 H476 H478 H486 H501 H502 H506 H507 H512 H520 H521 H522 H524 H525 H530 H531 H568
    H586
    """,
)

# İYS's own list of codes after which the same request may be sent again.
TO_BE_SENT_AGAIN = ["H015", "H101", "H102", "H103", "H123", "H179", "H192", "H412", "H470"]


def a_refusal(code: str = "H121", **more: object) -> Refusal:
    return Refusal(code=code, message="…", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", CORE_CODES)
def test_every_code_of_the_core_api_has_a_verdict(code: str):
    """No code that İYS documents is left to guessing."""
    assert classify(code) not in {Verdict.UNKNOWN, Verdict.SUCCESS}


def test_a_code_that_is_not_in_the_table_is_unknown():
    """What İYS may invent tomorrow is nobody's success and nobody's fault."""
    assert classify("H999") is Verdict.UNKNOWN
    assert classify("") is Verdict.UNKNOWN


@pytest.mark.parametrize("code", TO_BE_SENT_AGAIN)
def test_what_iys_asks_to_be_sent_again_is_transient(code: str):
    """İYS's own list of retries and ours agree."""
    assert classify(code) is Verdict.TRANSIENT


@pytest.mark.parametrize(
    ("codes", "verdict"),
    [
        ("H174 H175 H178", Verdict.ALREADY),
        ("H467", Verdict.EXPIRED),
        ("H525", Verdict.QUOTA),
        ("H351", Verdict.TOKEN),
        ("H124 H083", Verdict.THROTTLE),
        ("H084", Verdict.TOKEN_SILENCE),
        ("H086 H089", Verdict.HOURLY),
        ("H353 H363 H180", Verdict.RIGHTS),
        ("H251 H520 H521 H524 H586", Verdict.CONFIGURATION),
        ("H110 H121 H158 H160 H162 H194 H408 H462 H463 H486", Verdict.DATA),
    ],
)
def test_the_codes_that_steer_the_pipeline(codes: str, verdict: Verdict):
    """The codes on which a promise hangs mean what the reference says."""
    assert {classify(code) for code in codes.split()} == {verdict}


def test_the_weightiest_entry_decides_for_the_call():
    """A call whose token is spent says nothing yet about its data."""
    assert weightiest([a_refusal("H121"), a_refusal("H351")]) is Verdict.TOKEN
    assert weightiest([a_refusal("H467"), a_refusal("H158")]) is Verdict.DATA
    assert weightiest([a_refusal("H467"), a_refusal("H999")]) is Verdict.UNKNOWN
    assert weightiest([]) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("code", "is_of_a_record"),
    [("H121", True), ("H467", True), ("H178", True), ("H180", True), ("H353", False)],
)
def test_some_refusals_blame_a_record_and_not_the_call(code: str, *, is_of_a_record: bool):
    """A retailer nobody knows is its record's fault; a brand without rights is everybody's."""
    assert a_refusal(code).is_of_a_record is is_of_a_record


def test_a_refusal_shows_no_recipient():
    """İYS echoes the offending value, and it is often somebody's number."""
    assert "+905550000001" not in repr(a_refusal(value="+905550000001"))
