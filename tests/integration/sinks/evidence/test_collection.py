"""Evidence from a real ledger: whole, proven without it, and opening nothing of others."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.consent.model import Channel
from izin.evidence import collection
from izin.evidence.chain import anchors_in
from izin.evidence.collection import EvidenceRequest
from izin.evidence.container import unpacked
from izin.evidence.errors import NoEvidenceError, UnprovenHistoryError
from izin.evidence.verification import REPORT, ROWS, Evidence, verify
from izin.sinks.ledger.history import append
from izin.sinks.ledger.history.receipts import movements_of
from izin.sinks.ledger.privacy import erasure
from izin.sinks.ledger.webhooks import deliveries
from izin.sinks.ledger.webhooks.deliveries import DeliveryGroup
from izin.sinks.record.errors import UnregisteredBrandError
from tests.integration.sinks.ledger.test_erasure import answered, opted_out, requested
from tests.integration.sinks.ledger.test_history import anchor_writer, tampered, written
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret
from tests.integration.sinks.webhooks.test_evidence import LEASE, a_receipt
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key
from tests.support.gate.receipts import a_decision_receipt
from tests.support.gate.receipts import a_receipt as a_list_receipt

pytestmark = pytest.mark.database

KEY = str(a_key(recipient=PHONE))
KINDS = [(name, whose) for name in ("MESAJ", "ARAMA") for whose in ("BIREYSEL", "TACIR")]
SECOND_BRAND = """WITH beta AS (
        INSERT INTO customers VALUES ('beta', 'Beta', now()) RETURNING customer_id)
    INSERT INTO brands (brand_code, iys_code, customer_id, name, updated_at)
    SELECT %(code)s, 1, customer_id, 'Two', now() FROM beta RETURNING brand_code"""


def a_request(harness: SinkHarness, **overrides: Any) -> EvidenceRequest:  # noqa: ANN401 - fields
    """Return who asks for the evidence of our recipient, and why."""
    fields: dict[str, Any] = {
        "recipient": PHONE,
        "brand_code": BRAND,
        "channel": None,
        "at": harness.clock(),
        "by": "ada",
        "reason": "complaint 7",
    }
    return EvidenceRequest(**fields | overrides)


async def collected(harness: SinkHarness, **overrides: object) -> Evidence:
    """Return the evidence of our recipient."""
    request = a_request(harness, **overrides)
    return await collection.collect(
        harness.ledger, harness.context.topic_messages, request, now=harness.clock()
    )


async def published(harness: SinkHarness, folder: Path) -> dict[tuple[int, int], str]:
    """Return the anchors as the sink writes them to its file."""
    file = folder / "anchors.jsonl"
    await anchor_writer(harness.ledger, file).anchor()
    return anchors_in(file)


def reported(evidence: Evidence) -> dict[str, Any]:
    """Return what evidence says of its first key."""
    files, faults = unpacked(evidence.packed())
    assert faults == []
    found: dict[str, Any] = json.loads(files[REPORT])["keys"][0]
    return found


async def acknowledged(harness: SinkHarness) -> None:
    """Have a subscriber acknowledge the opt-outs of our recipient and of another."""
    await harness.ledger.fetch(LEASE)
    rows = [a_receipt(1, key=str(a_key(recipient=a_phone(2)))), a_receipt(2, key=KEY), a_receipt(3)]
    rows[2] = rows[2]._replace(key="another")
    group = DeliveryGroup(subscriber_id=1, epoch=1, acknowledgements=rows)
    await deliveries.write(harness.ledger, [group], now=harness.clock())


async def asked(harness: SinkHarness) -> None:
    """Have the gate asked about our recipient, with a receipt."""
    receipts = [a_list_receipt(), a_decision_receipt(0)]
    movements = [one for receipt in receipts for one in movements_of(receipt)]
    async with harness.ledger.transaction() as connection:
        await append.append(connection, movements, now=harness.clock())


async def test_evidence_is_proven_by_published_anchors(harness: SinkHarness, tmp_path: Path):
    """Consent, calls, replies, opt-out, what the gate answered, when a subscriber stopped; and the
    next one has who read this one, when and why.
    """
    await harness.register(onay(notice_version="2026-1", evidence={"ip": "192.0.2.1"}))
    await written(harness.ledger, 'act/"\\ \n\u0007\u007fş')
    await asked(harness)
    then = harness.clock()
    await harness.register_onay(a_phone(2))
    await harness.ingest(ret())
    assert await harness.opt_out()
    await acknowledged(harness)
    evidence = await collected(harness, at=then)
    found = verify(evidence.packed(), await published(harness, tmp_path))
    assert (found.faults, found.is_proven, found.deliveries) == ((), True, 1)
    key = reported(evidence)
    assert (key["key"], key["then"]["may_send"], key["latest"]["may_send"]) == (KEY, True, False)
    (consent,) = key["consents"]
    assert (consent["notice_version"], consent["evidence"]) == ("2026-1", {"ip": "192.0.2.1"})
    assert (consent["stood_then"], consent["burden_of_proof"]) == (True, "provider")
    assert [call["answers"][0]["verdict"] for call in key["calls"]] == ["success", "success"]
    assert key["calls"][0]["answers"][0]["request_id"]
    assert [one["subscriber"] for one in key["deliveries"]] == ["no. 1"]
    assert len(key["receipts"]) == 1
    row = await harness.row()
    shown = key["latest"]["registered"]
    assert (shown["status"], shown["transaction_id"]) == (
        row.registered,
        row.registered_transaction_id,
    )
    assert datetime.fromisoformat(shown["creation_date"]) == row.registered_at
    now = harness.clock()
    await collection.record(harness.ledger, a_request(harness), evidence, sha256="ab" * 32, now=now)
    rows = json.loads(unpacked((await collected(harness)).packed())[0][ROWS])
    acts = [json.loads(one["text"])[9] for one in rows if '"export evidence"' in one["text"]]
    assert [(one["by"], one["after"]["reason"], one["after"]["sha256"]) for one in acts] == [
        ("ada", "complaint 7", "ab" * 32)
    ]


async def test_evidence_is_of_one_brand_and_opens_nothing_of_others(harness: SinkHarness):
    """The matrix of a recipient's keys: of each channel and recipient type of the brand that is
    asked for, and of no other brand, customer or recipient. Of the rows between there are
    commitments, whose salts stay here.
    """
    await harness.ledger.fetch(SECOND_BRAND, {"code": BRAND + 1})
    for brand, whose in ((BRAND, CUSTOMER), (BRAND + 1, "beta")):
        for number, (name, recipient_type) in enumerate(KINDS):
            fields = {"brand_code": brand, "type": name, "recipient_type": recipient_type}
            more = {"customer_id": whose, "event_id": f"{brand}-{number}", "minutes": 10 + number}
            await harness.ingest(onay(**fields, **more), onay(a_phone(2), **fields, **more))
    await acknowledged(harness)
    for brand, whose in ((BRAND, CUSTOMER), (BRAND + 1, "beta")):
        for channel in (None, Channel.MESAJ, Channel.ARAMA):
            evidence = await collected(harness, brand_code=brand, channel=channel)
            assert set(evidence.header["keys"]) == {
                f"{brand}/{name}/{recipient_type}/{PHONE}"
                for name, recipient_type in KINDS
                if channel in {None, name}
            }
            rows = [row.columns for row in evidence.rows if row.columns.key != "deliveries"]
            assert {row.customer_id for row in rows} == {whose}
            content = b"".join(unpacked(evidence.packed())[0].values())
            assert a_phone(2).encode() not in content
            ours = [row.salt for row in evidence.rows]
            for one in await harness.ledger.fetch("SELECT salt FROM movements"):
                assert bytes(one["salt"]) in ours or one["salt"].hex().encode() not in content
        with pytest.raises(NoEvidenceError, match="leave out --type"):
            await collected(harness, brand_code=brand, channel=Channel.EPOSTA)
    with pytest.raises(UnregisteredBrandError):
        await collected(harness, brand_code=7)


async def test_rows_far_from_their_anchor_are_found(harness: SinkHarness, tmp_path: Path):
    """Where clocks differ by more than a window, the chain is read whole; rows before one anchor
    share a segment, and the next begins behind it.
    """
    for hours in (0, 1, 9, -5):
        harness.advance(timedelta(hours=hours), at_iys=False)
        await harness.ingest(onay(a_phone(30 + hours)))
        await harness.ingest(onay(minutes=60 + hours, event_id=f"event{hours}"))
    first = await collected(harness)
    assert verify(first.packed(), await published(harness, tmp_path)).is_proven
    await harness.ingest(onay(a_phone(2)), onay(minutes=10))
    second = await collected(harness)
    assert (len(first.segments), len(second.segments)) == (1, 2)
    assert verify(second.packed(), await published(harness, tmp_path)).is_proven


async def test_changed_history_gives_no_archive(harness: SinkHarness):
    """Not with a row that was changed, nor with one that is gone."""
    await harness.ingest(onay(a_phone(2)), onay(), onay(a_phone(3)))
    for statement in (
        f"UPDATE movements SET occurred_at = now() WHERE key = '{KEY}'",
        f"DELETE FROM movements WHERE key = '{a_key(recipient=a_phone(3))}'",
    ):
        await tampered(harness.ledger, statement)
        with pytest.raises(UnprovenHistoryError, match="izin ledger verify"):
            await collected(harness)


async def test_erased_row_of_another_is_a_commitment_as_before(
    harness: SinkHarness, tmp_path: Path
):
    """The chain of those who stay leads through it."""
    await harness.ingest(onay(a_phone(2)))
    await opted_out(harness)
    await answered(harness, await requested(harness))
    now = harness.clock() + timedelta(days=366 * 11)
    await erasure.remove(harness.ledger, harness.context.topic_messages, now=harness.clock())
    assert await erasure.erase_history(harness.ledger, now=now) > 0
    evidence = await collected(harness, recipient=a_phone(2))
    assert verify(evidence.packed(), await published(harness, tmp_path)).is_proven
    with pytest.raises(NoEvidenceError):
        await collected(harness)
