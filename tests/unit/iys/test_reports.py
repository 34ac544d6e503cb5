"""İYS's reports of a day: counts, hash, agreement, and downloads that are never held in memory."""

import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from izin.consent.model import RecipientType
from izin.iys.errors import BusyError, RefusedError, UnreadableError
from izin.iys.wire_format.consents import DayAgreement, DayCount
from tests.unit.iys.test_client import BRAND, DAY, a_client, refusing, saying

HASH = "AB" * 48


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
