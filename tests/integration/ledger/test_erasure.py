"""A person's rows are erased at once, the history when nothing retains it; the chain verifies."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from izin.consent import AdmittedEvent, Channel, ConsentEvent, RecipientType, admit, decide
from izin.iys.wire_format.via import ViaStart, ViaWay
from izin.ledger import reads, retention, via
from izin.ledger.db import Ledger
from izin.ledger.history import append, entries_of, receipt_key, verify
from izin.ledger.privacy import erasure
from izin.ledger.record import LedgerFaultError, TopicMessages
from izin.ledger.sweep import sweeps
from izin.schemas.codec import Codec
from izin.schemas.erasure import ERASED, ERASURE, KNOWN_AGAIN
from izin.schemas.records import event_from_avro, event_to_avro
from izin.schemas.topics import Topics
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.monitor.anchors import AnchorWriter
from tests.integration.sinks.sink_harness import A_SECOND, TOPIC, SinkHarness, onay, ret
from tests.integration.webhooks.test_evidence import faults as delivery_faults, stored
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_decision_record, a_key
from tests.support.published import a_decision_receipt, a_receipt

pytestmark = pytest.mark.database

KEY = str(a_key(recipient=PHONE))
EMPTY = ", ".join(
    f"{name} = NULL" for name in ("salt", "key", "event_id", "status", "source", "data", "decision")
)


async def opted_out(harness: SinkHarness, recipient: str = PHONE) -> None:
    """Have an opt-out of a recipient that İYS has accepted."""
    await harness.ingest_opt_out()
    assert await harness.opt_out()
    assert (await harness.row(recipient)).state == "accepted"
    await deliver(harness)


@pytest.fixture
async def known(harness: SinkHarness) -> None:
    """Have a recipient whose opt-out İYS has accepted."""
    await opted_out(harness)


async def deliver(harness: SinkHarness) -> list[dict[str, Any]]:
    """Empty the outbox, and return what it had."""
    return [dict(row) for row in await harness.ledger.fetch("DELETE FROM outbox RETURNING *")]


async def requested(harness: SinkHarness, *, count: int = 1) -> list[dict[str, Any]]:
    """Request the erasure of the recipient, which is done of ``count`` keys; return the messages
    for the streams.
    """
    messages, now = harness.context.topic_messages, harness.clock()
    assert len(await erasure.request(harness.ledger, messages, [KEY], by="ada", now=now)) == count
    return await deliver(harness)


async def answered(
    harness: SinkHarness, messages: Sequence[dict[str, Any]], reason: str = ERASED
) -> None:
    """Ingest the decisions of the order stage on erasures."""
    reads = []
    for message in messages:
        event = event_from_avro(harness.codec.decode("ConsentEvent", message["value"]))
        assert event.status == ERASURE
        admitted = admit(replace(event, status="RET"), appended_at=harness.clock())
        assert isinstance(admitted, AdmittedEvent)
        record = a_decision_record(decide(None, admitted))
        record |= {"kind": ERASED, "reason": reason, "event": event_to_avro(event)}
        record["consent"] |= {"status": ERASURE, "event_id": ""}
        reads.append(DecisionReader(harness.codec).read(harness.codec.encode("Decision", record)))
        assert reads[-1].is_erasure
        assert not reads[-1].is_ret
    await harness.ingester.store(TOPIC, "topic", reads, {})


async def removed(harness: SinkHarness) -> int:
    """Remove the rows that can be; return of how many keys."""
    return await erasure.remove(harness.ledger, harness.context.topic_messages, now=harness.clock())


async def erased(harness: SinkHarness) -> None:
    """Erase the recipient, all but the history."""
    await answered(harness, await requested(harness))
    assert await removed(harness) == 1


async def rows_naming(harness: SinkHarness) -> Counter[str]:
    """Return how many rows of each table name the recipient."""
    tables = (
        "consents",
        "submission_items",
        "retailer_access",
        "history",
        "erasures",
        "deliveries",
    )
    of_key = [f"SELECT '{one}' AS it FROM {one} WHERE key = %(key)s" for one in tables]
    query = " UNION ALL ".join(
        [*of_key, "SELECT 'submissions' FROM submissions WHERE body ~ %(no)s"]
    )
    rows = await harness.ledger.fetch(query, {"key": KEY, "no": PHONE[1:]})  # type: ignore[arg-type]
    return Counter(row["it"] for row in rows)


def again(harness: SinkHarness) -> ConsentEvent:
    """Return a new opt-in of the recipient, given now."""
    now = harness.clock()
    return onay(event_id="again", consent_date=now, received_at=now)


def anchor_writer(ledger: Ledger, file: Path | None) -> AnchorWriter:
    """Return a writer of anchors of the ledger's chains."""
    return AnchorWriter(
        ledger=ledger,
        topic_messages=TopicMessages(Codec(), Topics()),
        file=file,
        clock=lambda: datetime.now(UTC),
        interval=timedelta(minutes=10),
    )


@pytest.mark.usefixtures("known")
async def test_erasure_leaves_only_the_history(harness: SinkHarness):
    """And the erasure itself, which names the key for as long as the history does."""
    await sweeps.order(harness.ledger, [BRAND], by="ada", now=harness.clock())
    await harness.ledger.fetch("UPDATE sweeps SET after = %(key)s RETURNING id", {"key": KEY})
    await erased(harness)
    assert (await rows_naming(harness)).keys() == {"history", "erasures"}
    assert [one.after for one in await sweeps.latest(harness.ledger)] == [f"{BRAND}/"]
    (tombstone,) = await deliver(harness)
    topic = harness.settings.topics.permissions.name
    assert (tombstone["topic"], tombstone["key"], tombstone["value"]) == (topic, KEY, None)
    assert await erasure.progress(harness.ledger) == erasure.ErasureState(
        requested=0, waiting=0, retained=1, erased=0
    )


async def test_erasure_takes_requests_for_a_consent_that_was_never_given(harness: SinkHarness):
    """Somebody was asked for consent through İYS (ViA), and is known for nothing else."""
    start = ViaStart(
        brand_code=BRAND,
        recipient=PHONE,
        recipient_type=RecipientType.BIREYSEL,
        channels=(Channel.MESAJ,),
        way=ViaWay.SMS_OTP,
        form_id="1",
    )
    more = {"customer_id": CUSTOMER, "occasion": via.Occasion.SHOP, "by": "ada", "most": 3}
    await via.ask(harness.ledger, start, **more, now=harness.clock())
    assert (await finding(harness)).may_be_erased
    await deliver(harness)  # the message of the brand
    await answered(harness, await requested(harness))
    assert await removed(harness) == 0
    assert await harness.ledger.fetch("SELECT id FROM via_requests") == []


@pytest.mark.usefixtures("known")
async def test_request_is_an_event_and_an_act(harness: SinkHarness):
    """The act names who ordered it, and not the person."""
    (message,) = await requested(harness)
    assert message["topic"] == harness.settings.topics.express.name
    event = event_from_avro(harness.codec.decode("ConsentEvent", message["value"]))
    assert (event.status, event.recipient, event.actor) == (ERASURE, PHONE, "ada")
    rows = await harness.ledger.fetch(
        "SELECT data::text AS data FROM history WHERE key = 'erasure/1'"
    )
    assert [PHONE in row["data"] for row in rows] == [False]
    assert '"by":"ada"' in rows[0]["data"]


async def finding(harness: SinkHarness) -> erasure.ErasureFinding:
    """Return whether the recipient's key may be erased."""
    (found,) = await erasure.findings(harness.ledger, [KEY])
    return found


async def test_erasure_is_refused_while_something_is_owed(harness: SinkHarness):
    """İYS must have the opt-out first, which is never lost."""
    await harness.register_onay(PHONE)
    assert (await finding(harness)).obstacles == ("the consent stands: publish the opt-out first",)
    await requested(harness, count=0)
    await harness.ingest(ret(PHONE))
    found = await finding(harness)
    assert (found.is_owed, found.may_be_erased) == (True, False)


@pytest.mark.usefixtures("known")
async def test_erasure_is_refused_under_a_legal_hold(harness: SinkHarness):
    """Of the customer or of the key; after its release it is not."""
    now = harness.clock()
    number = await retention.hold(
        harness.ledger, CUSTOMER, key=KEY, reason="court", by="ada", now=now
    )
    obstacle = f"legal hold {number}: see izin retention holds"
    assert (await finding(harness)).obstacles == (obstacle,)
    await retention.release(harness.ledger, number, by="ada", now=now)
    assert (await finding(harness)).may_be_erased


@pytest.mark.usefixtures("known")
async def test_unanswered_erasure_is_requested_again(harness: SinkHarness):
    """Once it was answered it is not: it goes on by itself."""
    first, second = await requested(harness), await requested(harness)
    assert (await erasure.progress(harness.ledger)).requested == 1
    await answered(harness, second)
    await requested(harness, count=0)
    await answered(harness, first)
    assert await removed(harness) == 1


@pytest.mark.usefixtures("known")
async def test_erasure_waits_for_what_is_owed(harness: SinkHarness):
    """Nothing is removed before the order stage answers: decisions that were made before may still
    be on their way. What is due to İYS when the answer comes is done first.
    """
    messages = await requested(harness)
    assert await removed(harness) == 0
    await answered(harness, messages)
    await harness.ledger.fetch("UPDATE consents SET action = 'query' RETURNING 1")
    assert await removed(harness) == 0
    assert "consents" in await rows_naming(harness)
    await harness.ledger.fetch("UPDATE consents SET action = 'nothing' RETURNING 1")
    assert await removed(harness) == 0
    harness.advance(timedelta(minutes=1))
    assert await removed(harness) == 1


@pytest.mark.usefixtures("known")
@pytest.mark.parametrize("is_ahead", [False, True])
async def test_later_event_keeps_its_row(harness: SinkHarness, *, is_ahead: bool):
    """Whoever consents after the erasure is known again; so is an opt-out that was decided after
    it, and stored ahead of a backlog.
    """
    messages = await requested(harness)
    if not is_ahead:
        await answered(harness, messages)
    harness.advance(A_SECOND * 2)
    at = harness.clock()
    later = ret(event_id="again", consent_date=at, received_at=at) if is_ahead else again(harness)
    await harness.ingest(later)
    if is_ahead:
        await answered(harness, messages)
    assert await removed(harness) == 0
    assert (await harness.row()).desired_event_id == "again"
    assert (await erasure.progress(harness.ledger)).retained == 1


@pytest.mark.usefixtures("known")
async def test_key_that_is_known_again_is_not_removed(harness: SinkHarness):
    """The order stage had decided a later event when it came to the erasure."""
    await answered(harness, await requested(harness), KNOWN_AGAIN)
    assert await removed(harness) == 0
    assert "consents" in await rows_naming(harness)


@pytest.mark.usefixtures("known")
async def test_what_is_decided_again_is_erased_again(harness: SinkHarness):
    """Where the order stage lost its positions: the opt-out comes back, then the erasure."""
    messages = await requested(harness)
    await answered(harness, messages)
    assert await removed(harness) == 1
    await harness.ingest_again(ret(PHONE))
    await harness.ledger.fetch(
        "UPDATE consents SET state = 'not_needed', action = 'nothing' RETURNING 1"
    )
    await answered(harness, messages)
    assert await removed(harness) == 1
    assert "consents" not in await rows_naming(harness)
    assert await harness.ledger.fetch("SELECT FROM erasures WHERE ended_at IS NOT NULL")


@pytest.mark.usefixtures("known")
async def test_erasure_of_a_lost_ledger_is_noted(harness: SinkHarness):
    """Its request is gone, and the streams have it still."""
    messages = await requested(harness)
    await harness.ledger.fetch("DELETE FROM erasures RETURNING 1")
    await answered(harness, messages)
    assert await removed(harness) == 1


@pytest.mark.usefixtures("known")
async def test_tombstone_removes_what_was_restored_before_it(harness: SinkHarness):
    """A bootstrap may read the row of a key before its tombstone."""
    async with harness.ledger.transaction() as connection:
        await erasure.acknowledge_tombstones(connection, [KEY, "nobody's"], now=harness.clock())
    assert await removed(harness) == 1
    assert "consents" not in await rows_naming(harness)


@pytest.fixture
async def anchored(harness: SinkHarness, tmp_path: Path) -> Path:
    """Give the file in which the history of an erased recipient is anchored."""
    await opted_out(harness)
    await erased(harness)
    await deliver(harness)
    file = tmp_path / "anchors.jsonl"
    await anchor_writer(harness.ledger, file).anchor()
    return file


def in_years(harness: SinkHarness, years: int) -> datetime:
    """Return an instant so many years and some months later."""
    now = harness.clock()
    return datetime(now.year + years, now.month, 1, tzinfo=UTC) + timedelta(days=70)


async def assert_unnamed(harness: SinkHarness, word: str) -> None:
    """Assert that neither the person nor a word is in the history or the deliveries."""
    assert not await harness.ledger.fetch(
        "SELECT 1 FROM history AS m WHERE m::text LIKE ANY(%(likes)s)"
        " UNION ALL SELECT 1 FROM deliveries AS d WHERE d::text LIKE ANY(%(likes)s)",
        {"likes": [f"%{PHONE[1:]}%", word]},
    )


async def faults(ledger: Ledger, file: Path) -> list[str]:
    """Return the faults that verification finds."""
    found = await verify.verify(ledger, verify.read_anchors(file))
    return [one.what for one in found.faults]


async def test_history_goes_when_its_retention_ends(harness: SinkHarness, anchored: Path):
    """Ten years after the act; then nothing names the person, and the chain verifies. What
    subscribers took and when stays proved by the digest.
    """
    await stored(harness.ledger, 2)
    assert await erasure.erase_history(harness.ledger, now=in_years(harness, 9)) == 0
    assert (await rows_naming(harness))["deliveries"] == 2
    assert await erasure.erase_history(harness.ledger, now=in_years(harness, 10)) > 0
    assert await rows_naming(harness) == {}
    await assert_unnamed(harness, "%msg_%")
    assert await delivery_faults(harness.ledger) == []
    assert await faults(harness.ledger, anchored) == []
    assert (await erasure.progress(harness.ledger)).erased == 1


@pytest.mark.usefixtures("anchored")
async def test_end_of_the_consent_retains_its_history(harness: SinkHarness):
    """For three years (Yönetmelik m.13), though the act was longer ago."""
    ended = in_years(harness, 8)
    await harness.ledger.fetch("UPDATE erasures SET ended_at = %(at)s RETURNING 1", {"at": ended})
    assert await erasure.erase_history(harness.ledger, now=in_years(harness, 10)) == 0
    month = harness.clock().date().replace(day=1)
    assert await retention.expired(harness.ledger, today=in_years(harness, 10).date()) == ()
    assert await erasure.erase_history(harness.ledger, now=in_years(harness, 12)) > 0
    expired = await retention.expired(harness.ledger, today=in_years(harness, 12).date())
    assert [one.month for one in expired] == [month]


@pytest.mark.usefixtures("anchored")
async def test_legal_hold_keeps_the_history_of_an_erased_key(harness: SinkHarness):
    """Until it is released."""
    now = in_years(harness, 10)
    number = await retention.hold(
        harness.ledger, CUSTOMER, key=None, reason="court", by="ada", now=now
    )
    assert await erasure.erase_history(harness.ledger, now=now) == 0
    await retention.release(harness.ledger, number, by="ada", now=now)
    assert await erasure.erase_history(harness.ledger, now=now) == 0
    assert await erasure.erase_history(harness.ledger, now=now + timedelta(days=2)) > 0


@pytest.mark.usefixtures("anchored")
async def test_history_of_a_later_life_stays(harness: SinkHarness):
    """What was recorded after the removal is of the person who is known again."""
    harness.advance(A_SECOND * 5)
    await harness.ingest(again(harness))
    assert await erasure.erase_history(harness.ledger, now=in_years(harness, 10)) > 0
    kinds = "SELECT DISTINCT kind FROM history WHERE key = %(key)s"
    assert await harness.ledger.fetch(kinds, {"key": KEY}) == [{"kind": "decision"}]


@pytest.mark.usefixtures("anchored")
async def test_retained_history_cannot_be_erased(harness: SinkHarness):
    """The database refuses it, whoever asks."""
    with pytest.raises(LedgerFaultError, match="history_append_only"):
        await harness.ledger.fetch(
            "SELECT erase_history(array_agg(key), array_agg(shard), array_agg(place), "
            "array_agg(link), now()) FROM history WHERE key = %(key)s",
            {"key": KEY},
        )


@pytest.mark.parametrize(
    "change",
    [
        "status = 'RET'",
        "commitment = sha256('x')",
        f"commitment = sha256('x'), {EMPTY}, link = sha256('y')",
    ],
    ids=["changed", "half-erased", "moved"],
)
async def test_only_an_erasure_changes_a_row(harness: SinkHarness, change: str):
    """The trigger lets nothing else through, and the table nothing half erased."""
    await harness.ingest_opt_out()
    with pytest.raises(LedgerFaultError):
        await harness.ledger.fetch(f"UPDATE history SET {change} RETURNING 1")  # type: ignore[arg-type]


@pytest.mark.usefixtures("known")
async def test_export_has_everything_of_a_person(harness: SinkHarness):
    """State, history and calls, and until when; after the erasure only what is retained."""
    found = await erasure.export(harness.ledger, PHONE, customer=None)
    (key,) = found["keys"]
    assert (key["key"], key["customer"]) == (KEY, CUSTOMER)
    assert key["state"]["desired_status"] == "RET"
    assert {fact["kind"] for fact in key["history"]} >= {"decision", "call", "answer"}
    assert [call["status"] for call in key["calls"]] == ["ONAY", "RET"]
    assert key["kept_until"] > date(harness.clock().year + 9, 12, 1)
    await erased(harness)
    found = await erasure.export(harness.ledger, PHONE, customer=None)
    (key,) = found["keys"]
    assert (key["state"], key["calls"]) == (None, [])
    assert key["history"]
    assert (await erasure.export(harness.ledger, PHONE, customer="another"))["keys"] == []


@pytest.mark.usefixtures("known")
async def test_own_movements_at_iys_do_not_bring_the_person_back(harness: SinkHarness):
    """İYS shows them for a week; that they are ours is in the history. Whoever refuses there since
    must not be written to, and so is known again.
    """
    await erased(harness)
    harness.advance(timedelta(hours=2))
    assert await harness.pull() == []
    assert "consents" not in await rows_naming(harness)
    harness.citizen("RET", then=timedelta(hours=2))
    assert [event.status for event in await harness.pull()] == ["RET"]


async def test_receipts_are_found_and_erased_like_other_history(
    harness: SinkHarness, tmp_path: Path
):
    """Of a recipient whom nothing but the gate ever named; what was asked as a whole stays."""
    receipts = [*entries_of(a_decision_receipt(1)), *entries_of(a_receipt(2))]
    async with harness.ledger.transaction() as connection:
        await append.append(connection, receipts, now=harness.clock())
    assert await reads.keys_of(harness.ledger, [PHONE]) == {PHONE: [KEY]}
    known = await erasure.export(harness.ledger, PHONE, customer=None)
    assert [one["kind"] for one in known["keys"][0]["history"]] == ["receipt"]
    found = await finding(harness)
    assert (found.may_be_erased, found.entries, found.has_row) == (True, 1, False)
    await deliver(harness)
    await answered(harness, await requested(harness))
    assert await removed(harness) == 0
    found = await finding(harness)
    assert (found.may_be_erased, found.is_retained) == (False, True)
    file = tmp_path / "anchors.jsonl"
    await anchor_writer(harness.ledger, file).anchor()
    assert await erasure.erase_history(harness.ledger, now=in_years(harness, 9)) == 0
    assert await erasure.erase_history(harness.ledger, now=in_years(harness, 10)) > 0
    assert await rows_naming(harness) == {}
    await assert_unnamed(harness, "%order 17%")
    for number in (1, 2):
        key = receipt_key(a_receipt(number)["receipt_id"])
        assert [one.kind for one in await reads.facts(harness.ledger, [key])] == ["receipt"]
    assert await faults(harness.ledger, file) == []
