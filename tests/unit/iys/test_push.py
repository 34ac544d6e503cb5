"""İYS's reports of a day: counts, hash, agreement, and downloads that are never held in memory.

Lines of İYS's daily file are read leniently, and what cannot be read is an error.
"""

import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from izin.consent import RecipientType
from izin.iys.errors import BusyError, RefusedError, UnreadableError
from izin.iys.wire_format import (
    DayAgreement,
    DayCount,
    IysMovement,
    parse_push,
    place_of,
    read_line,
)
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
    assert queued is not None
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


async def test_download_is_passed_on_in_chunks():
    """Each as it comes."""
    written: list[bytes] = []
    async with a_client(streaming(b"a", b"b")) as client:
        assert await client.reports.download(BRAND, DAY, written.append)
    assert written == [b"a", b"b"]


async def test_download_that_is_cut_off_is_an_error():
    """What was written is half of the file."""
    written: list[bytes] = []
    async with a_client(streaming(b"a", cut=True)) as client:
        with pytest.raises(BusyError):
            await client.reports.download(BRAND, DAY, written.append)
    assert written == [b"a"]


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
