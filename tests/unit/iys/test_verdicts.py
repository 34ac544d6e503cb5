import pytest

from izin.iys.errors import Refusal, Verdict, classify, decisive_verdict
from tests.support.iys import CORE_CODES

# İYS's own list of codes after which the same request may be sent again.
TO_BE_SENT_AGAIN = ["H015", "H101", "H102", "H103", "H123", "H179", "H192", "H412", "H470"]


def a_refusal(code: str = "H121", **more: object) -> Refusal:
    return Refusal(code=code, message="…", **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("code", CORE_CODES)
def test_every_code_of_the_core_api_has_a_verdict(code: str):
    """No code that İYS documents is left to guessing."""
    assert classify(code) not in {Verdict.UNKNOWN, Verdict.SUCCESS}


def test_code_outside_the_table_is_unknown():
    """A future code of İYS is neither a success nor a fault."""
    assert classify("H999") is Verdict.UNKNOWN
    assert classify("") is Verdict.UNKNOWN


@pytest.mark.parametrize("code", TO_BE_SENT_AGAIN)
def test_code_that_iys_lists_for_retry_is_transient(code: str):
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
        ("H084", Verdict.TOKEN_LIMIT),
        ("H086 H089", Verdict.HOURLY),
        ("H353 H363 H180", Verdict.RIGHTS),
        ("H251 H520 H521 H524 H586", Verdict.CONFIGURATION),
        ("H110 H121 H158 H160 H162 H194 H408 H462 H463 H486", Verdict.DATA),
    ],
)
def test_codes_that_the_pipeline_depends_on(codes: str, verdict: Verdict):
    """The codes that guarantees depend on have the meaning of the reference."""
    assert {classify(code) for code in codes.split()} == {verdict}


def test_decisive_entry_decides_for_the_call():
    """The response to an expired token is no verdict on the data."""
    assert decisive_verdict([a_refusal("H121"), a_refusal("H351")]) is Verdict.TOKEN
    assert decisive_verdict([a_refusal("H467"), a_refusal("H158")]) is Verdict.DATA
    assert decisive_verdict([a_refusal("H467"), a_refusal("H999")]) is Verdict.UNKNOWN
    assert decisive_verdict([]) is Verdict.UNKNOWN


@pytest.mark.parametrize(
    ("code", "is_of_a_record"),
    [("H121", True), ("H467", True), ("H178", True), ("H180", True), ("H353", False)],
)
def test_refusal_of_a_record_does_not_blame_the_call(code: str, *, is_of_a_record: bool):
    """An unknown retailer concerns its record; a brand without rights concerns all."""
    assert a_refusal(code).is_of_a_record is is_of_a_record


def test_refusal_repr_has_no_recipient():
    """İYS echoes the offending value, which is often a recipient."""
    assert "+905550000001" not in repr(a_refusal(value="+905550000001"))
