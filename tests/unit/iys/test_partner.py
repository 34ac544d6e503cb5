"""The lists that İYS shows to business partners.

What an error of a call says of the next one.

An address that fails too often takes care long before İYS takes it off its list.
"""

from datetime import timedelta

import httpx
import pytest

from izin.consent import Channel
from izin.iys.errors import (
    BusyError,
    CallError,
    MisconfiguredError,
    Refusal,
    RefusedError,
    ThrottledError,
    UnreadableError,
    Verdict,
    classify,
    decisive_verdict,
)
from izin.iys.rate_limit import CallClass, HourLimit, Reputation, ReputationPolicy
from izin.iys.wire_format import GrantedBrands, JsonReader, Right
from tests.support.iys import CORE_CODES
from tests.unit.iys.test_client import a_client, refusing, saying

PARTNER = 700001
# İYS's own list of codes after which the same request may be sent again.
TO_BE_SENT_AGAIN = ["H015", "H101", "H102", "H103", "H123", "H179", "H192", "H412", "H470"]
A_SECOND = timedelta(seconds=1)
A_QUARTER = timedelta(minutes=15)
AN_HOUR = timedelta(hours=1)


def an_item(code: int, **fields: object) -> dict[str, object]:
    """Return a brand of the list as İYS writes it."""
    return {
        "brandCode": str(code),
        "name": "Örnek",
        "master": True,
        "title": "ÖRNEK ANONİM ŞİRKETİ",
        "iysCode": str(code),
        "agreementControl": True,
        "viaControl": False,
        **fields,
    }


def a_list(*items: object, total: int | None = None) -> dict[str, object]:
    """Return a page of the list."""
    count = len(items) if total is None else total
    pagination = {"offset": 0, "totalCount": count, "pageSize": len(items)}
    return {"pagination": pagination, "list": list(items)}


@pytest.mark.parametrize("as_code", [str, int])
def test_granted_brand_is_read_with_codes_of_either_type(as_code: type) -> None:
    """Texts in the list of all brands, numbers in that of one provider."""
    item = an_item(0, brandCode=as_code(100001), iysCode=as_code(100009), MESAJ="write")
    (brand,) = GrantedBrands.read(JsonReader(a_list(item))).brands
    assert (brand.brand_code, brand.iys_code) == (100001, 100009)
    assert (brand.title, brand.is_master) == ("ÖRNEK ANONİM ŞİRKETİ", True)
    assert (brand.agreement_control, brand.via_control) == (True, False)


@pytest.mark.parametrize(
    ("value", "right"),
    [
        ("write", Right.WRITE),
        ("WRITE", Right.WRITE),
        ("read", Right.READ),
        ("readonly", Right.READ),
        ("none", None),
        (False, None),
        (None, None),
        ("", None),
    ],
)
def test_right_that_is_not_to_write_reads(value: object, right: Right | None) -> None:
    """İYS shows no value for reading; a channel that is absent has no right."""
    (brand,) = GrantedBrands.read(JsonReader(a_list(an_item(1, MESAJ=value)))).brands
    assert brand.rights == ({} if right is None else {Channel.MESAJ: right})
    assert brand.agreement_control


async def test_list_of_brands_is_read_page_by_page() -> None:
    """Of one provider by its own path; a repeated brand counts once, and such a list is open."""
    asked = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(str(request.url.raw_path.decode()))
        offset = int(request.url.params["offset"])
        codes = range(offset, min(offset + 100, 250))
        return httpx.Response(200, json=a_list(*map(an_item, codes), total=250))

    async with a_client(answer) as client:
        found = await client.partner.brands(PARTNER)
        assert [one.brand_code for one in found.brands] == list(range(250))
        assert found.is_complete
        assert [path.partition("?")[2] for path in asked] == [
            f"offset={offset}&limit=100" for offset in (0, 100, 200)
        ]
        await client.partner.brands(PARTNER, 100009)
    assert asked[-1].startswith(f"/integrator/{PARTNER}/sps/100009?")
    repeated = a_list(an_item(1), an_item(1), total=2)
    async with a_client(saying(200, repeated)) as client:
        assert not (await client.partner.brands(PARTNER)).is_complete


async def test_unreadable_brand_costs_no_other() -> None:
    """But with it the list is not complete: no other brand is taken for lost."""
    page = a_list({"brandCode": "x"}, an_item(2), total=2)
    async with a_client(saying(200, page)) as client:
        found = await client.partner.brands(PARTNER)
    assert [one.brand_code for one in found.brands] == [2]
    assert (len(found.unreadable), found.is_complete) == (1, False)


async def test_list_that_does_not_end_is_refused() -> None:
    """A total that is never reached by full pages ends the call; empty pages end the list."""
    page = a_list(*map(an_item, range(100)), total=10**9)
    async with a_client(saying(200, page)) as client:
        with pytest.raises(UnreadableError, match="does not end"):
            await client.partner.brands(PARTNER)
    async with a_client(saying(200, a_list(total=10**9))) as client:
        assert not (await client.partner.brands(PARTNER)).is_complete


async def test_partner_subscription_is_read_and_refusals_name_who_acts() -> None:
    """Another account than a partner's is refused by H522 or H353: an operator acts."""
    shown = {"status": "ACTIVE", "expirationDate": "2026-06-21 12:24:55", "iysCode": PARTNER}
    async with a_client(saying(200, shown)) as client:
        assert (await client.partner.subscription(PARTNER)).status == "ACTIVE"
    async with a_client(refusing(403, "H353")) as client:
        with pytest.raises(MisconfiguredError):
            await client.partner.brands(PARTNER)


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


@pytest.mark.parametrize(
    ("error", "pause"),
    [
        (BusyError("busy"), A_SECOND),
        (ThrottledError("the hour is spent", retry_after=AN_HOUR), AN_HOUR),
        (RefusedError("a rule is broken"), A_QUARTER),
        (MisconfiguredError("no right"), A_QUARTER),
        (MisconfiguredError("no right", retry_after=AN_HOUR), AN_HOUR),
    ],
)
def test_call_is_not_repeated_before_it_may_succeed(error: CallError, pause: timedelta):
    """A failed call counts against our address, so one that a person must correct waits."""
    assert error.pause(A_SECOND) == pause


@pytest.mark.parametrize(
    ("calls", "failures", "standing"),
    [
        (0, 0, Reputation.GOOD),
        (9_999, 9_999, Reputation.GOOD),
        (10_000, 2_000, Reputation.GOOD),
        (10_000, 2_001, Reputation.WARNING),
        (10_000, 2_500, Reputation.WARNING),
        (10_000, 2_501, Reputation.CRITICAL),
    ],
)
def test_success_rate_of_a_day_decides(calls: int, failures: int, standing: Reputation):
    """From half of İYS's number of calls on, and well above its threshold of 70 %."""
    assert ReputationPolicy().of(calls, failures) is standing


def test_address_without_good_reputation_is_slower():
    """Half the pace, in both."""
    fastest = [ReputationPolicy().fastest(one) for one in Reputation]
    assert fastest == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("call_class", CallClass)
def test_last_fifth_of_an_hour_is_for_opt_outs(call_class: CallClass):
    """Other classes stop at four fifths."""
    room = HourLimit(calls=1000).room(call_class)
    assert room == (1000 if call_class is CallClass.RET else 800)
