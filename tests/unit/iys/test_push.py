"""İYS's reports of a day: counts, hash, agreement, and downloads that are never held in memory.

Lines of İYS's daily file are read leniently, and what cannot be read is an error.
The lists that İYS shows to business partners.

What an error of a call says of the next one.

An address that fails too often takes care long before İYS takes it off its list.
"""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from izin.consent import Channel, RecipientType
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
from izin.iys.wire_format import (
    DayAgreement,
    DayCount,
    GrantedBrands,
    IysMovement,
    JsonReader,
    Right,
    parse_push,
    place_of,
    read_line,
)
from tests.support.iys import CORE_CODES
from tests.unit.iys.test_client import BRAND, DAY, a_client, refusing, saying

# İYS's fixed test payload, from its documents.
TEST = {
    "iysCode": 121212,
    "brandCode": 121212,
    "consentDate": "2015-05-01 15:00:00",
    "creationDate": "2015-05-01 15:00:00",
    "source": "IYS_MOBIL",
    "recipient": "pushtest@iys.org.tr",
    "recipientType": "BIREYSEL",
    "status": "ONAY",
    "type": "EPOSTA",
    "transactionId": "e52ee30512adfcd2a41fb3b4682f5bd61eee5b1c92bda665fc0b7e56644d429d",
}
REAL = {**TEST, "iysCode": 100001, "brandCode": "100001", "recipient": "ada@example.com"}
HASH = "AB" * 48
LINE = b"2026-03-02 12:00:07,ab12,Ada@Example.com,BIREYSEL,EPOSTA,RET,2026-03-01 10:00:00,IYS_WEB\n"


def a_body(*movements: object) -> bytes:
    return json.dumps({"list": movements}).encode()


@pytest.mark.parametrize(
    ("movements", "found"),
    [
        ([TEST], []),
        ([REAL], [(100001, "ada@example.com")]),
        ([TEST, REAL], [(100001, "ada@example.com")]),
        ([{**TEST, "recipient": "ada@example.com"}], [(121212, "ada@example.com")]),
        ([], []),
    ],
    ids=["test", "real", "both", "real with the test code", "empty"],
)
def test_test_payload_is_acknowledged_and_never_stored(
    movements: list[object], found: list[tuple[int, str]]
):
    """Only the test itself is left out: a real brand may have its code. Movements of a push name
    provider and brand, as numbers or texts.
    """
    push = parse_push(a_body(*movements))
    assert [(one.brand_code, one.recipient) for one in push.movements] == found


@pytest.mark.parametrize(
    "unreadable", [{"iysCode": 1}, {**REAL, "creationDate": "0001-01-01 00:00:00"}, 7]
)
def test_movement_that_cannot_be_read_hides_no_other(unreadable: object):
    """It is handed over as İYS wrote it, and its neighbours are read."""
    push = parse_push(a_body(REAL, unreadable, TEST))
    assert [one.recipient for one in push.movements] == ["ada@example.com"]
    ((raw, error),) = push.unreadable
    assert (json.loads(raw), bool(error)) == (unreadable, True)


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"list": 7}'])
def test_body_that_is_no_push_is_unreadable(body: bytes):
    """It is refused as a whole, and pull brings it."""
    with pytest.raises(UnreadableError):
        parse_push(body)


async def test_counts_are_read_by_channel_and_stream():
    """As in İYS's example; a number may be missing."""
    counts = [{"source": "HS", "approval": 10, "rejection": 1, "pending": 0, "total": 11}]
    stats = [{"type": "ARAMA", "consents": counts}, {"type": "MESAJ", "consents": [{"total": "2"}]}]
    async with a_client(saying(200, {"changeStats": stats})) as client:
        found = await client.reports.counts(BRAND, DAY, RecipientType.BIREYSEL)
    fields: dict[str, Any] = {"rejections": 1, "pending": 0, "total": 11}
    called = DayCount(type="ARAMA", source="HS", approvals=10, **fields)
    assert found[0] == called
    assert (found[1].source, found[1].total, found[1].approvals) == ("HS", 2, 0)
    assert called.to_json() == {"type": "ARAMA", "source": "HS", "approvals": 10, **fields}


async def test_hash_is_read_in_lower_case():
    """There is none before it is complete."""
    done = {"processStatus": "completed", "hashValue": HASH, "hashMethod": "SHA-384"}
    async with a_client(saying(200, {**done, "agreementStatus": True})) as client:
        assert await client.reports.agreement(BRAND, DAY) == DayAgreement(
            process_status="completed",
            hash_value=HASH.lower(),
            hash_method="SHA-384",
            is_agreed=True,
        )
    async with a_client(saying(200, {"processStatus": "queued"})) as client:
        queued = await client.reports.agreement(BRAND, DAY)
    assert (queued.hash_value, queued.is_agreed) == (None, False)


async def test_agreement_is_put_and_may_have_no_day():
    """İYS takes `true` alone; its key has two spellings, and is not read."""
    bodies: list[tuple[str, object]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append((request.method, json.loads(request.content)))
        return httpx.Response(200, json={"aggrementCaptured": True})

    async with a_client(answer) as client:
        assert await client.reports.agree(BRAND, DAY)
    assert bodies == [("PUT", {"agreementStatus": True})]
    async with a_client(saying(204)) as client:
        assert not await client.reports.agree(BRAND, DAY)


async def test_day_without_file_has_none():
    """204 of a file, of a time stamp, of a hash and of counts."""
    async with a_client(saying(204)) as client:
        assert not await client.reports.download(BRAND, DAY, pytest.fail)
        assert await client.reports.timestamp(BRAND, DAY) is None
        assert await client.reports.agreement(BRAND, DAY) is None
        assert await client.reports.counts(BRAND, DAY, RecipientType.TACIR) == ()


async def test_refused_download_is_an_error_with_its_code():
    """The day is more than seven days ago, and nothing was written."""
    async with a_client(refusing(422, "H502")) as client:
        with pytest.raises(RefusedError) as refused:
            await client.reports.download(BRAND, DAY, pytest.fail)
    assert [one.code for one in refused.value.refusals] == ["H502"]


def streaming(*chunks: bytes, cut: bool = False) -> Callable[[httpx.Request], httpx.Response]:
    """Return what answers chunk by chunk, and may lose the connection after the last."""

    async def content() -> AsyncIterator[bytes]:
        for chunk in chunks:
            yield chunk
        if cut:
            raise httpx.ReadError("cut off")

    return lambda _request: httpx.Response(200, content=content())


@pytest.mark.parametrize(
    ("chunks", "cut", "outcome"),
    [([b"a", b"b"], False, nullcontext()), ([b"a"], True, pytest.raises(BusyError))],
)
async def test_download_is_passed_on_in_chunks(
    chunks: list[bytes], cut: bool, outcome: AbstractContextManager[Any]
):
    """Each as it comes; what was written of one that is cut off is half of the file."""
    written: list[bytes] = []
    async with a_client(streaming(*chunks, cut=cut)) as client:
        with outcome:
            assert await client.reports.download(BRAND, DAY, written.append)
    assert written == chunks


async def test_endless_timestamp_is_refused():
    """A reply has a few kilobytes."""
    async with a_client(streaming(*[bytes(64 * 1024)] * 5)) as client:
        with pytest.raises(UnreadableError, match="time stamp"):
            await client.reports.timestamp(BRAND, DAY)


def test_line_is_read_as_a_movement_of_a_pull():
    """Turkish time becomes UTC, and an address lower case."""
    assert read_line(LINE, empty_date="") == IysMovement(
        recipient="ada@example.com",
        type="EPOSTA",
        recipient_type="BIREYSEL",
        status="RET",
        source="IYS_WEB",
        consent_date=datetime(2026, 3, 1, 7, tzinfo=UTC),
        creation_date=datetime(2026, 3, 2, 9, 0, 7, tzinfo=UTC),
        transaction_id="ab12",
    )


@pytest.mark.parametrize("written", ["", "null", "NULL", "-", "0000"])
def test_empty_consent_date_is_read(written: str):
    """A closed line of a merchant has none; the last notation is that of the settings."""
    line = LINE.replace(b"2026-03-01 10:00:00", written.encode())
    assert read_line(line, empty_date="0000").consent_date is None


def test_quoted_cells_are_read():
    """As a CSV writer may quote every cell."""
    quoted = b",".join(b'"%b"' % one for one in LINE.rstrip(b"\n").split(b",")) + b"\r\n"
    assert read_line(quoted, empty_date="") == read_line(LINE, empty_date="")


@pytest.mark.parametrize(
    "line",
    [
        b"\n",
        b"erased\n",
        LINE.replace(b"2026-03-02 12:00:07", b"2.3.2026"),
        LINE.replace(b"2026-03-01 10:00:00", b"yesterday"),
        LINE.replace(b"Ada@Example.com", b""),
        LINE.replace(b"IYS_WEB", b"IYS_WEB,more"),
        LINE.replace(b"IYS_WEB", b'"IYS'),
        LINE.replace(b"Ada", b"\xff"),
    ],
)
def test_line_that_is_no_movement_is_unreadable(line: bytes):
    """Other columns, other dates, no recipient, no UTF-8."""
    with pytest.raises(UnreadableError):
        read_line(line, empty_date="")


def test_line_is_sorted_by_second_and_transaction():
    """And a NUL, which PostgreSQL has not, is none of its text."""
    assert place_of(LINE) == b"2026-03-02 12:00:07,ab12"
    assert read_line(LINE.replace(b"Ada", b"A\0da"), empty_date="") == read_line(
        LINE, empty_date=""
    )


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
    ("calls", "failures", "reputation"),
    [
        (0, 0, Reputation.GOOD),
        (9_999, 9_999, Reputation.GOOD),
        (10_000, 2_000, Reputation.GOOD),
        (10_000, 2_001, Reputation.WARNING),
        (10_000, 2_500, Reputation.WARNING),
        (10_000, 2_501, Reputation.CRITICAL),
    ],
)
def test_success_rate_of_a_day_decides(calls: int, failures: int, reputation: Reputation):
    """From half of İYS's number of calls on, and well above its threshold of 70 %."""
    assert ReputationPolicy().of(calls, failures) is reputation


def test_address_without_good_reputation_is_slower():
    """Half the pace, in both."""
    assert [ReputationPolicy().fastest(one) for one in Reputation] == [1.0, 0.5, 0.5]


@pytest.mark.parametrize("call_class", CallClass)
def test_last_fifth_of_an_hour_is_for_opt_outs(call_class: CallClass):
    """Other classes stop at four fifths."""
    assert HourLimit(calls=1000).room(call_class) == (1000 if call_class is CallClass.RET else 800)
