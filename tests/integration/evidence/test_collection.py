"""Evidence from a real ledger: whole, proven without it, and opening nothing of others.

Latencies of changes that began at İYS, from the history and the deliveries alone.

The rows between ours and an anchor are few, and found without reading a month.

The figures of a customer's week.

An archive has the recipient's lines of İYS's daily files, as the ledger stores them.
"""

import asyncio
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificates

from izin.consent import Channel, SourceError
from izin.evidence import collection
from izin.evidence.chain import anchors_in
from izin.evidence.collection import EvidenceRequest
from izin.evidence.container import UnprovenHistoryError, unpacked
from izin.evidence.daily_files import check_with
from izin.evidence.verification import DAILY, REPORT, ROWS, Evidence, verify
from izin.ledger.daily.lines import packed, unpacked as lines_of
from izin.ledger.history import append, entries_of
from izin.ledger.history.reports import Leg, figures, latencies, quantile
from izin.ledger.privacy import erasure
from izin.ledger.record import UnregisteredBrandError
from izin.ledger.webhooks import deliveries
from izin.ledger.webhooks.deliveries import DeliveryGroup
from izin.sinks.monitor import anchors
from tests.integration.ledger.test_erasure import anchor_writer, answered, opted_out, requested
from tests.integration.ledger.test_history import tampered, written
from tests.integration.sinks.inbound.test_daily import a_day, file_of, look
from tests.integration.sinks.sink_harness import A_SECOND, ACTIVE, SinkHarness, a_phone, onay, ret
from tests.integration.webhooks.test_evidence import LEASE, a_receipt
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key, an_iys_event, an_iys_origin
from tests.support.published import a_decision_receipt, a_receipt as a_list_receipt

pytestmark = pytest.mark.database
KEY = str(a_key(recipient=PHONE))
KINDS = [(name, whose) for name in ("MESAJ", "ARAMA") for whose in ("BIREYSEL", "TACIR")]
SECOND_BRAND = """WITH beta AS (
        INSERT INTO customers VALUES ('beta', 'Beta', now()) RETURNING customer_id)
    INSERT INTO brands (brand_code, iys_code, customer_id, name, updated_at)
    SELECT %(code)s, 1, customer_id, 'Two', now() FROM beta RETURNING brand_code"""
INDEXED_MONTHS = """SELECT count(DISTINCT c.inhrelid)
    FROM pg_inherits AS c JOIN pg_indexes AS i ON i.tablename = c.inhrelid::regclass::text
    WHERE c.inhparent = 'history'::regclass AND i.indexdef LIKE '%USING brin (recorded_at)%'"""


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
    return dict(json.loads(files[REPORT])["keys"][0])


async def acknowledged(harness: SinkHarness) -> None:
    """Have a subscriber acknowledge the opt-outs of our recipient and of another."""
    await harness.ledger.fetch(LEASE)
    keys = (str(a_key(recipient=a_phone(2))), KEY, "another")
    rows = [a_receipt(number, key=key) for number, key in enumerate(keys, 1)]
    group = DeliveryGroup(subscriber_id=1, epoch=1, acknowledgements=rows)
    await deliveries.write(harness.ledger, [group], now=harness.clock())


async def asked(harness: SinkHarness) -> None:
    """Have the gate asked about our recipient, with a receipt."""
    receipts = [a_list_receipt(), a_decision_receipt(0)]
    entries = [one for receipt in receipts for one in entries_of(receipt)]
    async with harness.ledger.transaction() as connection:
        await append.append(connection, entries, now=harness.clock())


async def test_evidence_is_proven_by_published_anchors(harness: SinkHarness, tmp_path: Path):
    """Consent, calls, replies, opt-out, what the gate answered, when a subscriber stopped; and the
    next one has who read this one, when and why.
    """
    await harness.register(onay(notice_version="2026-1", evidence={"ip": "192.0.2.1"}))
    await written(harness.ledger, 'act/"\\ \n\u0007\u007fş')
    await asked(harness)
    then = harness.clock()
    await harness.register_onay(a_phone(2))
    await harness.submit_opt_out(ret())
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
            for one in await harness.ledger.fetch("SELECT salt FROM history"):
                assert bytes(one["salt"]) in ours or one["salt"].hex().encode() not in content
        with pytest.raises(SourceError, match="leave out --type"):
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
        f"UPDATE history SET occurred_at = now() WHERE key = '{KEY}'",
        f"DELETE FROM history WHERE key = '{a_key(recipient=a_phone(3))}'",
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
    with pytest.raises(SourceError, match="has nothing of this recipient"):
        await collected(harness)


async def left(harness: SinkHarness, path: str, recipient: str, seconds: int) -> None:
    """Have a citizen opt out at İYS, which we learn by ``path`` so many seconds later."""
    created = (harness.clock() - seconds * A_SECOND).replace(microsecond=0)
    origin = an_iys_origin(
        path=path, creation_date=created, observed_at=created + seconds * A_SECOND
    )
    await harness.ingest(
        an_iys_event(event_id=f"{path}-{recipient}", recipient=recipient, iys=origin)
    )


async def measured(
    harness: SinkHarness, **more: object
) -> dict[tuple[str, Leg], tuple[int, float]]:
    """Return how many changes took how long at most half of the time, by path and leg."""
    fields = {"since": harness.clock() - timedelta(days=1), "brand_code": None} | more
    topic = harness.settings.topics.permissions.name
    found = await latencies(harness.ledger, permissions=topic, **fields)  # type: ignore[arg-type]
    return {(one.path, one.leg): (one.changes, one.p50) for one in found}


async def publish_permission(harness: SinkHarness, recipient: str) -> None:
    """Have the permission of a recipient published a second later."""
    harness.advance(A_SECOND, at_iys=False)
    await harness.ledger.fetch(
        """INSERT INTO history SELECT (jsonb_populate_record(m, jsonb_build_object(
            'place', -m.place, 'kind', 'delivery', 'decision', NULL, 'source', 'outbox/1',
            'recorded_at', %(now)s::timestamptz, 'occurred_at', %(now)s::timestamptz,
            'data', jsonb_build_object('topic', %(topic)s::text)))).*
        FROM history AS m WHERE m.key = %(key)s AND m.kind = 'decision' RETURNING key""",
        {
            "now": harness.clock(),
            "topic": harness.settings.topics.permissions.name,
            "key": str(a_key(recipient=recipient)),
        },
    )


async def test_latency_of_each_path_and_leg_is_measured(harness: SinkHarness):
    """Only of what began at İYS; each leg where it was reached."""
    taken = (("push", 2), ("pull", 3700), ("push", 4), ("daily", 90_000))
    for number, (path, seconds) in enumerate(taken, 2):
        await left(harness, path, a_phone(number), seconds)
    await harness.ingest(onay(a_phone(9)))
    await publish_permission(harness, a_phone(2))
    await acknowledged(harness)
    found = await measured(harness)
    assert (found["push", Leg.RECEIVED], found["pull", Leg.RECEIVED]) == ((2, 2.0), (1, 3700.0))
    assert (found["daily", Leg.RECEIVED], found["push", Leg.ORDERED][0]) == ((1, 90_000.0), 2)
    assert found["push", Leg.READABLE][0] == 1
    assert 0.9 < found["push", Leg.READABLE][1] < 30
    assert {leg for path, leg in found if path == "pull"} == {Leg.RECEIVED, Leg.ORDERED}
    assert await measured(harness, brand_code=BRAND) == found
    assert await measured(harness, brand_code=BRAND + 1) == {}
    assert await measured(harness, since=harness.clock()) == {}


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.95, 95.0), (0.99, 99.0), (0.0, 1.0), (1.0, 100.0)]
)
def test_quantile_is_a_value_that_was_measured(share: float, expected: float) -> None:
    """The least that the share does not exceed."""
    assert quantile([float(one) for one in range(1, 101)], share) == expected
    assert quantile([7.0], share) == 7.0


async def test_chain_is_anchored_soon_and_its_months_are_indexed(
    harness: SinkHarness, monkeypatch: pytest.MonkeyPatch
):
    """A chain that grows fast is anchored before the interval ends. A month has the index by its
    creation.
    """
    monkeypatch.setattr(anchors, "MOST_ROWS", 3)
    monkeypatch.setattr(anchors, "_LOOKS", timedelta(milliseconds=5))
    writer = anchor_writer(harness.ledger, None)
    await writer.anchor()
    waiting = asyncio.create_task(writer.wait())
    await harness.ingest(*(onay(a_phone(number)) for number in range(4)))
    await asyncio.wait_for(waiting, 20)
    assert await writer.anchor() == 1
    assert (await harness.ledger.fetch(INDEXED_MONTHS))[0]["count"] == 1


async def test_week_counts_what_was_received_registered_and_refused(harness: SinkHarness) -> None:
    """İYS saves an opt-in and its opt-out, and refuses another opt-in for its recipient."""
    begin = harness.clock() - timedelta(days=7)
    await harness.ingest_opt_out(onay("+905550000002"))
    assert await harness.opt_out()
    harness.iys.inject_fault("batchV2", status=422, code="H121")
    assert await harness.bulk()
    until = harness.clock() + timedelta(minutes=1)
    (one,) = await figures(harness.ledger, since=begin, until=until, customer_id=ACTIVE.customer_id)
    assert (one.received, one.registered, one.opt_outs_registered) == (3, 2, 1)
    assert one.refused == {"H121": 1}
    assert (one.opt_outs, one.breaches, one.keys) == (1, 0, 2)
    assert one.requests >= 3
    assert one.p50 is not None
    assert one.p95 is not None
    assert one.p50 <= one.p95
    assert await figures(harness.ledger, since=begin, until=until, customer_id="beta") == []


async def test_lines_of_a_daily_file_are_in_the_archive(harness: SinkHarness, tmp_path: Path):
    """Each beside its row of the history, with İYS's hash and time stamp; and what was altered in
    the ledger is found.
    """
    roots = tmp_path / "roots.pem"
    roots.write_bytes(harness.iys.timestamp_root())
    day = await a_day(harness)
    assert DAILY not in unpacked((await collected(harness, recipient=a_phone(2))).packed())[0]
    await look(harness, roots=tuple(load_pem_x509_certificates(roots.read_bytes())))
    evidence = await collected(harness, recipient=a_phone(2))
    anchors = await published(harness, tmp_path)
    archive = evidence.packed()
    found = verify(archive, anchors, check_with(roots))
    assert (found.faults, found.is_proven) == ((), True)
    (one,) = found.daily_files
    file = await file_of(harness, day)
    assert (one.day, one.hash_value, one.timestamp) == (str(day), file.hash_value, "verified")
    assert (one.lines, one.in_history, one.timestamped_at) == (2, 2, file.timestamped_at)
    contents, _ = unpacked(archive)
    (said,) = json.loads(contents[REPORT])["daily_files"]
    assert [line["line"].split(",")[5] for line in said["lines"]] == ["ONAY", "RET"]
    assert (said["total"], said["integrity"], said["agreement"]) == (4, "ok", "ok")
    assert a_phone(3).encode() not in b"".join(contents.values())
    # Bytes of the line are altered in the ledger, and the time stamp becomes that of another day.
    (part,) = await harness.ledger.fetch("SELECT content FROM daily_parts")
    altered = packed(lines_of(part["content"]).replace(b",RET,", b",ONAY,"))
    assert altered != bytes(part["content"])
    for statement in (
        "UPDATE daily_parts SET content = %(value)s RETURNING day",
        "UPDATE daily_files SET timestamp_reply = %(value)s WHERE lines > 0 RETURNING day",
    ):
        assert await harness.ledger.fetch(statement, {"value": altered})
    evidence = await collected(harness, recipient=a_phone(2))
    found = verify(evidence.packed(), await published(harness, tmp_path), check_with(roots))
    assert found.faults == (
        f"the time stamp of the daily file of {day} is wrong: it is no time-stamp reply",
    )
    assert [one.in_history for one in found.daily_files] == [1]
    assert evidence.daily_files[0].integrity == "wrong"
