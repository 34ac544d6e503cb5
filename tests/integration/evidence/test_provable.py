"""What the owner of the ledger can write proves nothing; an anchor from outside does.

Complaints: what is due first, whose history they keep, and how long they stay.
"""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.x509 import load_pem_x509_certificates
from iys_simulator.timestamp_authority import TimestampAuthority

from izin.consent import decide
from izin.ledger import retention
from izin.ledger.db import Ledger
from izin.ledger.history import (
    append,
    append_facts,
    commitment_of_row,
    decided,
    digest_fact,
    verify,
)
from izin.ledger.history.verify import Verified, read_anchors
from izin.ledger.privacy import erasure
from izin.ledger.record import (
    AnchorTimestamp,
    ClosedComplaintError,
    TopicMessages,
    UnknownComplaintError,
    UnregisteredBrandError,
)
from izin.ledger.registry import complaints
from izin.ledger.registry.complaints import Complaint, ComplaintOutcome, NewComplaint
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.integration.ledger.test_erasure import anchor_writer, finding, opted_out
from tests.integration.ledger.test_history import (
    EDIT,
    HEAD_FOLLOWS,
    REWRITTEN,
    an_act,
    anchored,
    tampered,
)
from tests.integration.sinks.sink_harness import Izin, SinkHarness, ended
from tests.support.builders import (
    BRAND,
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    an_admitted_event,
)

pytestmark = pytest.mark.database
AUTHORITY, STRANGER = TimestampAuthority(), TimestampAuthority()
ROOTS = tuple(load_pem_x509_certificates(AUTHORITY.root_pem))
MESSAGES = TopicMessages(Codec(), Topics())
NOW = datetime.now(UTC)
THEN = NOW + timedelta(days=3700)
"""Ten years later."""
CUT = """INSERT INTO chain_cuts SELECT shard, place, link, now() FROM anchors WHERE place = 6"""
GONE = "DELETE FROM history WHERE place <= 6"
DAY = timedelta(days=1)
CONTENT = "Yarın mağazamıza bekleriz"


@pytest.fixture
async def file(ledger: Ledger, tmp_path: Path) -> Path:
    """Give the anchor file of a chain of six facts, to which two more are appended after it."""
    file = await anchored(ledger, tmp_path / "anchors.jsonl")
    await anchor_writer(ledger, file).anchor()
    return file


def timestamped(
    file: Path, at: datetime, authority: TimestampAuthority = AUTHORITY, *, number: int = 0
) -> None:
    """Have an anchor of a file time-stamped, the first one as a rule."""
    one = read_anchors(file)[number]
    heads = ((one.shard, one.place, one.link.hex()),)
    timestamp = AnchorTimestamp(heads=heads, reply=b"")
    timestamp = replace(timestamp, reply=authority.reply(timestamp.digest, at, 1))
    with file.open("a", encoding="utf-8") as lines:
        lines.write(timestamp.to_line())


async def verified(ledger: Ledger, file: Path, now: datetime = THEN) -> Verified:
    """Verify the ledger with the anchors of a file, at an instant."""
    return await verify.verify(ledger, read_anchors(file, ROOTS), now=now)


def whats(found: Sequence[verify.Fault]) -> list[str]:
    """Return what is wrong, in words."""
    return [one.what for one in found]


async def act(ledger: Ledger, what: str, after: dict[str, object]) -> None:
    """Append an act of the owner's own making."""
    done = append.act(what, "retention/2026-01", by="owner", now=NOW, before={}, after=after)
    async with ledger.transaction() as connection:
        await append.append(connection, [done], now=NOW)


async def test_cut_that_no_act_names_is_a_fault(ledger: Ledger, file: Path):
    """The owner deletes rows, and inserts a cut at an ordinary anchor, however old that is."""
    timestamped(file, NOW)
    await tampered(ledger, GONE, CUT)
    found = await verified(ledger, file)
    assert whats(found.faults) == ["rows up to this place were dropped, and no act names it"]


async def test_cut_with_an_act_of_the_owner_is_not_provable(ledger: Ledger, file: Path, izin: Izin):
    """Neither without a time stamp, nor with a young one, nor with one of a stranger."""
    await tampered(ledger, GONE, CUT)
    await act(ledger, append.DROPPED, {"cuts": {"0": 6}})
    for at, authority in ((None, AUTHORITY), (NOW, STRANGER), (THEN - timedelta(1), AUTHORITY)):
        if at is not None:
            timestamped(file, at, authority)
        found = await verified(ledger, file)
        assert found.faults == ()
        assert whats(found.unprovable) == [
            "dropped, not provable: no anchor from outside shows that ten years had passed"
        ]
    verifying = await izin("ledger", "verify", "--no-topic", "--anchors", file)
    assert "no faults, 1 not provable" in ended(verifying, 6).output


async def test_dropped_month_is_proven_by_an_old_timestamp(ledger: Ledger, tmp_path: Path):
    """And by the act that names its last rows; until then it is not provable."""
    file, later = tmp_path / "anchors.jsonl", datetime(2036, 2, 15, tzinfo=UTC)
    for month in (1, 2):
        async with ledger.transaction() as connection:
            now = datetime(2026, month, 10, tzinfo=UTC)
            await append.append(connection, [an_act(f"{month}", now)], now=now)
    await anchor_writer(ledger, file).anchor()
    await retention.drop(ledger, MESSAGES, by="ada", now=later)
    found = await verified(ledger, file, later)
    assert (found.faults, len(found.unprovable)) == ((), 1)
    timestamped(file, datetime(2026, 2, 14, tzinfo=UTC))
    found = await verified(ledger, file, later)
    assert (found.rows, found.faults, found.unprovable) == (2, (), ())


async def test_emptied_row_needs_an_act_and_an_old_timestamp(ledger: Ledger, file: Path):
    """The owner's own act alone does not make it lawful, nor does one for rows behind the stamp."""
    rows = await ledger.fetch(
        """SELECT shard, place, salt, kind, customer_id, key, event_id, status, source, decision,
            data::text AS data, (extract(epoch FROM occurred_at) * 1000000)::bigint AS occurred,
            (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded
        FROM history WHERE place IN (3, 8) ORDER BY place"""
    )
    for row in rows:
        commitment = commitment_of_row(row).hex()
        await tampered(
            ledger,
            f"""UPDATE history SET commitment = '\\x{commitment}', kind = 'erased',
                customer_id = '', occurred_at = recorded_at, salt = NULL, key = NULL,
                source = NULL, data = NULL WHERE place = {row["place"]}""",
        )
    found = await verified(ledger, file)
    assert whats(found.faults) == ["the row was erased, and no act names it"] * 2
    await act(ledger, append.ERASED, {"places": {"0": [3, 8]}, "deliveries": {}})
    found = await verified(ledger, file)
    assert (found.faults, [one.place for one in found.unprovable]) == ((), [3, 8])
    timestamped(file, NOW)
    found = await verified(ledger, file)
    assert (found.faults, [one.place for one in found.unprovable]) == ((), [8])
    assert whats(found.unprovable)[0].startswith("emptied, not provable")


@pytest.mark.parametrize(
    "change",
    [
        "kind = 'outcome'",
        "status = 'ONAY'",
        "kind = 'outcome', status = 'ONAY', event_id = 'x', source = 's'",
        "data = '{}'",
        "customer_id = 'globex'",
        "key = 'other'",
        "occurred_at = occurred_at + interval '1 second'",
        "recorded_at = recorded_at + interval '1 microsecond'",
        "decision = decision || '\\x00'",
        "salt = salt || '\\x00'",
        "salt = substring(salt FROM 1 FOR 15)",
        "commitment = sha256(''), salt = NULL, key = NULL, decision = NULL",
    ],
)
async def test_changed_column_of_a_decision_is_a_fault(ledger: Ledger, file: Path, change: str):
    """Readers filter by kind and status: neither may say what the decision does not."""
    async with ledger.transaction() as connection:
        stored = Codec().encode("Decision", a_decision_record(decide(None, an_admitted_event())))
        fact = decided(CUSTOMER, str(a_key()), 1_772_442_000_000_000, stored)
        await append_facts(connection, [fact], now=datetime.now(UTC))
    assert (await verified(ledger, file)).faults == ()
    await tampered(
        ledger,
        "ALTER TABLE history DROP CONSTRAINT history_covered_check, DROP CONSTRAINT history_check",
        f"UPDATE history SET {change} WHERE place = 9",
    )
    assert (await verified(ledger, file)).faults


async def test_constraints_refuse_what_no_commitment_covers(ledger: Ledger, file: Path):
    """Without a change of the schema such a row cannot be written at all."""
    for change in ("kind = 'decision'", "salt = ''", "kind = 'erased'"):
        with pytest.raises(Exception, match="history_covered_check"):
            await tampered(ledger, f"UPDATE history SET {change} WHERE place = 3")


async def test_anchors_that_contradict_one_another_are_a_fault(ledger: Ledger, file: Path):
    """What others keep is compared with what the topic has, whichever is read first."""
    known = read_anchors(file)
    forged = replace(known[0], link=bytes(32))
    for some in ([*known, forged], [forged, *known]):
        found = await verify.verify(ledger, some)
        assert "two anchors from outside name different links of this row" in whats(found.faults)


async def test_act_of_another_shape_is_a_fault_and_ends_nothing(ledger: Ledger, file: Path):
    """Only the owner of the ledger can have written it."""
    for after in ({"places": 1, "deliveries": {}}, {"places": {"x": [1]}, "deliveries": {}}):
        await act(ledger, append.ERASED, after)
    await act(ledger, append.DROPPED, {"cuts": [1]})
    await act(ledger, append.RESTORED, {"ends": {}})
    found = await verified(ledger, file)
    assert whats(found.faults) == ["the row was changed, moved or inserted"] * 4


async def test_restoration_of_the_owners_making_is_not_provable(ledger: Ledger, file: Path):
    """An act that explains away every anchor, and may be written after any of them."""
    await tampered(ledger, EDIT, REWRITTEN, HEAD_FOLLOWS)
    for anchor in (2, 10**9):
        await act(ledger, append.RESTORED, {"ends": {"0": 2}, "anchor": anchor, "batch": 10**9})
        found = await verified(ledger, file)
        assert found.faults == ()
        assert whats(found.unprovable)[0].startswith("restored, not provable")
    # Once it is published, whoever reads of it can ask.
    known = {*read_anchors(file), *await verify.anchors_after(ledger, 0)}
    assert len((await verify.verify(ledger, known)).unprovable) == 2
    await anchor_writer(ledger, file).anchor()
    assert [one.place for one in (await verified(ledger, file)).unprovable] == [10]


async def test_second_digest_of_a_batch_is_a_fault(ledger: Ledger, file: Path):
    """Else deliveries could be written anew, with a digest behind every anchor."""
    for rows in ([b"x" * 32], [b"y" * 32]):
        async with ledger.transaction() as connection:
            proved = digest_fact(7, rows, 1, 1_772_442_000_000_000)
            await append_facts(connection, [proved], now=NOW)
    assert whats((await verified(ledger, file)).faults) == ["batch 7 of deliveries has two digests"]


async def test_emptied_delivery_needs_an_old_timestamp(ledger: Ledger, file: Path):
    """As a row of the history: the owner can write the act."""
    async with ledger.transaction() as connection:
        proved = digest_fact(7, [b"x" * 32], 1, 1_772_442_000_000_000)
        await append_facts(connection, [proved], now=NOW)
    # Batch 9 went with its month.
    await act(ledger, append.ERASED, {"places": {}, "deliveries": {"7": [0], "9": [0]}})
    assert whats((await verified(ledger, file)).unprovable) == [
        "deliveries emptied, not provable: no anchor from outside shows that ten years had passed"
    ]
    await anchor_writer(ledger, file).anchor()
    timestamped(file, NOW, number=-1)
    assert (await verified(ledger, file)).unprovable == ()


@pytest.mark.parametrize("hidden", ["2000-01-01", "2031-05-05"])
async def test_row_in_a_month_that_is_not_listed_is_a_fault(
    ledger: Ledger, file: Path, hidden: str
):
    """Readers find it by its key, whatever the list of months says."""
    await tampered(
        ledger,
        f"SELECT create_month(date_trunc('month', date '{hidden}')::date)",
        "DELETE FROM history_months WHERE month <> date_trunc('month', now())",
        "INSERT INTO history SELECT (jsonb_populate_record(m, jsonb_build_object("
        f"'recorded_at', '{hidden}'))).* FROM history AS m WHERE place = 3",
    )
    assert (await verified(ledger, file)).faults


async def entered(harness: SinkHarness, due: timedelta | None = DAY, **more: Any) -> Complaint:  # noqa: ANN401 - fields
    """Enter a complaint that is due so long from now."""
    now = harness.clock()
    fields: dict[str, Any] = {
        "brand_code": BRAND,
        "channel": "MESAJ",
        "recipient": PHONE,
        "sent_at": NOON,
        "sender": "ORNEK",
        "content": CONTENT,
        "reference": "2026/1",
        "due_at": None if due is None else now + due,
    }
    return await complaints.add(harness.ledger, NewComplaint(**fields | more), by="ada", now=now)


async def closed(harness: SinkHarness, number: int) -> Complaint:
    """Close a complaint."""
    outcome = ComplaintOutcome.UNFOUNDED
    return await complaints.close(
        harness.ledger, number, outcome=outcome, note="no", by="ada", now=harness.clock()
    )


async def test_complaint_is_answered_closed_and_kept_for_ten_years(harness: SinkHarness):
    """While it is open, nothing of its keys is erased; the history of what was done names nobody;
    it is deleted ten years after it was closed, and one that is open never.
    """
    await opted_out(harness)
    one = await entered(harness)
    (hold,) = one.hold_ids
    assert (await finding(harness)).obstacles == (f"legal hold {hold}: see izin retention holds",)
    await complaints.attach(
        harness.ledger, one.id, path="evidence.zip", sha256="ab" * 32, by="ada", now=harness.clock()
    )
    done = await closed(harness, one.id)
    assert (done.outcome, done.note, done.evidence_path) == ("unfounded", "no", "evidence.zip")
    assert (await finding(harness)).may_be_erased
    assert await retention.holds(harness.ledger) == ()
    acts = await harness.ledger.fetch(
        "SELECT data::text AS text FROM history WHERE key LIKE 'complaint/%%' ORDER BY place", {}
    )
    said = ('"add complaint"', f'"sha256":"{"ab" * 32}"', '"close complaint"')
    assert [one in act["text"] for one, act in zip(said, acts, strict=True)] == [True] * 3
    assert not any(PHONE in act["text"] or CONTENT in act["text"] for act in acts)
    with pytest.raises(ClosedComplaintError):
        await closed(harness, one.id)
    await entered(harness)
    for years, left in ((9, 2), (11, 1)):
        later = harness.clock() + timedelta(days=366 * years)
        await retention.delete_expired(harness.ledger, now=later)
        assert len(await complaints.every(harness.ledger, closed=True)) == left


async def test_overdue_complaints_come_first(harness: SinkHarness):
    """Then what is due next, then what names no day; closed ones only on demand. An export for a
    person has its complaints, of the customer that is asked or of all.
    """
    for due in (None, 2 * DAY, -DAY, DAY):
        await entered(harness, due)
    found = await complaints.every(harness.ledger)
    assert [one.id for one in found] == [3, 4, 2, 1]
    assert [one.is_overdue(harness.clock()) for one in found] == [True, False, False, False]
    counts = await complaints.counts(harness.ledger, now=harness.clock())
    assert (counts.open, counts.overdue) == (4, 1)
    await closed(harness, 3)
    assert [one.id for one in await complaints.every(harness.ledger)] == [4, 2, 1]
    assert [one.id for one in await complaints.every(harness.ledger, closed=True)] == [4, 2, 1, 3]
    assert await complaints.every(harness.ledger, brand_code=BRAND + 1) == ()
    for customer, count in ((None, 4), (CUSTOMER, 4), ("beta", 0)):
        exported = await erasure.export(harness.ledger, PHONE, customer=customer)
        assert len(exported["complaints"]) == count
    for unknown, error in (
        (entered(harness, brand_code=7), UnregisteredBrandError),
        (closed(harness, 7), UnknownComplaintError),
        (complaints.find(harness.ledger, 7), UnknownComplaintError),
    ):
        with pytest.raises(error):
            await unknown
