"""Reconciliation: a day's statistics, agreement, file and timestamp."""

import hashlib

import httpx
import pytest
from cryptography import x509

from simulator_harness.client import PHONE, SimulatorHarness, codes, seconds_of

TODAY = "2026-09-17"
NEXT_DAY = 86400.0
COLUMNS = "creationDate,transactionId,recipient,recipientType,type,status,consentDate,source"


async def report(iys: SimulatorHarness, what: str, day: str = TODAY) -> httpx.Response:
    """Get a report of a day."""
    return await iys.http.get(f"{iys.path}/{what.replace('DAY', day)}")


async def day_with_movements(iys: SimulatorHarness) -> None:
    """Save three movements today, then move the clock a day on."""
    await iys.add()
    await iys.add(recipient="+905550000002")
    await iys.citizen()
    iys.state.clock.advance(NEXT_DAY)
    await iys.log_in()


async def test_statistics_count_changes_by_type_and_writer(iys: SimulatorHarness):
    """First ONAY and RET after ONAY count; a renewal is only in the total, a batch is pending."""
    await iys.add()
    await iys.add(consentDate="2026-09-17 11:00:00")
    await iys.citizen()
    await iys.add(recipientType="TACIR")
    await iys.batch(iys.consent(type="ARAMA"))
    answer = await report(iys, "changes/DAY/recipients/BIREYSEL")
    counted = {
        (row["type"], one["source"]): one
        for row in answer.json()["changeStats"]
        for one in row["consents"]
    }
    figures = {"approval": 1, "rejection": 0, "pending": 0, "total": 2}
    assert counted["MESAJ", "HS"] == {"source": "HS", **figures}
    figures = {"approval": 0, "rejection": 1, "pending": 0, "total": 1}
    assert counted["MESAJ", "IYS"] == {"source": "IYS", **figures}
    figures = {"approval": 0, "rejection": 0, "pending": 1, "total": 1}
    assert counted["ARAMA", "HS"] == {"source": "HS", **figures}
    assert codes(await report(iys, "changes/DAY/recipients/X")) == ["H116"]


async def test_file_has_every_movement_and_its_hash(iys: SimulatorHarness):
    """Header, one line for each movement by creation date and id, SHA-384 in hex of these bytes."""
    await day_with_movements(iys)
    file = await report(iys, "changes/DAY/file")
    assert file.headers["content-type"].startswith("text/csv")
    header, *lines = file.text.split("\n")
    assert (header, len(lines), lines[-1]) == (COLUMNS, 4, "")
    assert [line.split(",")[:2] for line in lines[:-1]] == sorted(
        line.split(",")[:2] for line in lines[:-1]
    )
    assert f",{PHONE},BIREYSEL,MESAJ,RET,2026-09-17 12:00:00,IYS_WEB" in file.text
    agreement = (await report(iys, "agreements/DAY")).json()
    assert agreement == {
        "processStatus": "completed",
        "hashValue": hashlib.sha384(file.content).hexdigest(),
        "hashMethod": "SHA-384",
        "agreementStatus": False,
    }
    iys.set(csv_header=False)
    bare = await report(iys, "changes/DAY/file")
    assert not bare.text.startswith(COLUMNS)
    agreement = (await report(iys, "agreements/DAY")).json()
    assert agreement["hashValue"] == hashlib.sha384(bare.content).hexdigest()


async def test_agreement_is_saved(iys: SimulatorHarness):
    """`agreementStatus` true is saved, anything else is H512; the response's key is a switch."""
    await day_with_movements(iys)
    path = f"{iys.path}/agreements/{TODAY}"
    wrong = await iys.http.put(path, json={"agreementStatus": False})
    assert (wrong.status_code, codes(wrong)) == (422, ["H512"])
    saved = await iys.http.put(path, json={"agreementStatus": True})
    assert (saved.status_code, saved.json()) == (200, {"agreementCaptured": True})
    assert (await report(iys, "agreements/DAY")).json()["agreementStatus"] is True
    iys.set(agreement_key="aggrementCaptured")
    again = await iys.http.put(path, json={"agreementStatus": True})
    assert again.json() == {"aggrementCaptured": True}


async def test_timestamp_is_signed_over_the_hash(iys: SimulatorHarness):
    """The reply is granted, over the hash of the day's file, and signed by what the root issued."""
    await day_with_movements(iys)
    reply = await report(iys, "agreements/DAY/timestamp")
    hash_value = (await report(iys, "agreements/DAY")).json()["hashValue"]
    assert reply.headers["content-type"].startswith("text/plain")
    assert reply.content[:1] == b"\x30"
    assert bytes.fromhex(hash_value) in reply.content
    assert b"20260917210000Z" in reply.content
    root = x509.load_pem_x509_certificate((await iys.look("timestamp-root")).content)
    start = reply.content.index(b"\x30\x82", reply.content.index(b"20260917210000Z"))
    length = int.from_bytes(reply.content[start + 2 : start + 4], "big")
    signer = x509.load_der_x509_certificate(reply.content[start : start + 4 + length])
    signer.verify_directly_issued_by(root)


async def test_day_without_a_file_is_204(iys: SimulatorHarness):
    """204 for a day that is not over or had no movement; statistics are zeros."""
    await iys.add()
    for day in (TODAY, "2026-09-16"):
        for what in ("agreements/DAY", "changes/DAY/file", "agreements/DAY/timestamp"):
            assert (await report(iys, what, day)).status_code == 204
        put = await iys.http.put(f"{iys.path}/agreements/{day}", json={"agreementStatus": True})
        assert put.status_code == 204
    answer = await report(iys, "changes/DAY/recipients/BIREYSEL", "2026-09-16")
    assert len(answer.json()["changeStats"]) == 3


async def test_file_is_delayed_by_switch(iys: SimulatorHarness):
    """After midnight it is queued, then in progress, then available."""
    iys.set(report_delay=3600)
    await iys.add()
    midnight = seconds_of("2026-09-18 00:00:00")
    for seconds, status in ((60, "queued"), (2400, "inprogress"), (3600, "completed")):
        iys.state.clock.set_offset(midnight + seconds - seconds_of("2026-09-17 12:00:00"))
        await iys.log_in()
        answer = (await report(iys, "agreements/DAY")).json()
        assert (answer["processStatus"], "hashValue" in answer) == (status, status == "completed")
        expected = 200 if status == "completed" else 204
        assert (await report(iys, "changes/DAY/file")).status_code == expected


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        ("17.09.2026", "H501"),
        ("2026-13-01", "H501"),
        ("20260917", "H501"),
        ("9999-12-31", "H501"),
        ("2026-09-09", "H502"),
        ("0001-01-01", "H502"),
        ("2026-09-10", None),
    ],
)
async def test_report_dates_are_checked(iys: SimulatorHarness, day: str, expected: str | None):
    """H501 for what is no date, H502 for one more than seven days ago."""
    answer = await report(iys, "changes/DAY/recipients/BIREYSEL", day)
    if expected is None:
        assert answer.status_code == 200
    else:
        assert (answer.status_code, codes(answer)) == (422, [expected])
        assert answer.json()["errors"][0]["location"] == ["reportDate"]
