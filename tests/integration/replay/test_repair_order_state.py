"""What is missing or differs is written, once, and nobody is notified of anything else."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from pydantic import SecretStr

from izin.consent import OurError, Status
from izin.replay.order_state.repair import results_of
from izin.runtime import kafka
from izin.runtime.plan import Plan, PlanMovedError
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.runtime.topic_admin import identities
from izin.schemas.codec import Codec
from tests.integration.replay.rebuild_harness import CODEC, RebuildHarness
from tests.integration.replay.test_rebuild_order_state import KEY, OTHER, an_erasure, at
from tests.support.builders import NOON, a_key
from tests.support.order.verdict import committed_records

pytestmark = [pytest.mark.broker, pytest.mark.database]

OTHER_KEY = str(a_key(recipient=OTHER))
THIRD = "+905550000003"
THIRD_KEY = str(a_key(recipient=THIRD))
FOURTH = "+905550000004"
FOURTH_KEY = str(a_key(recipient=FOURTH))


def history(harness: RebuildHarness) -> list[dict[str, object]]:
    """Return who rebuilt what, as the history has it."""
    return [row["data"] for row in harness.query("SELECT data FROM history WHERE kind = 'act'")]


def test_switch_writes_what_is_missing_or_differs(with_ledger: RebuildHarness) -> None:
    """A row that was changed by hand is repaired, one that was deleted comes back, with an opt-out
    for the key that becomes RET by it; surplus rows stay. Then nothing is left, and the history
    says who ordered it, once.
    """
    harness = with_ledger
    harness.publish(
        at(minutes=1),
        at(minutes=2, status="RET"),
        at(minutes=3, recipient=OTHER, status="RET"),
        at(minutes=4, recipient=FOURTH),
    )
    harness.decide()
    row = Codec().decode_consent(harness.rows()[KEY])
    older = replace(
        row, status=Status.ONAY, effective_at=NOON, latest_onay_at=NOON, latest_ret_at=None
    )
    harness.write_row(KEY, older)
    harness.write_row(OTHER_KEY, None)
    third = Codec().decode("Consent", harness.rows()[FOURTH_KEY])
    harness.write_row(FOURTH_KEY, Codec().encode("Consent", {**third, "previous_status": "RET"}))
    harness.write_row(THIRD_KEY, replace(row, key=a_key(recipient=THIRD)))
    before = harness.ends()
    found = harness.dry_run()
    assert found.kinds == {
        KEY: "differing",
        OTHER_KEY: "missing",
        THIRD_KEY: "surplus",
        FOURTH_KEY: "differing",
    }
    assert harness.ends() == before
    harness.execute(found)
    harness.execute(found)
    assert harness.dry_run().kinds == {THIRD_KEY: "surplus"}
    after = harness.ends()
    moved = {topic for topic in after if after[topic] != before[topic]}
    written = (harness.topics.desired_consents, harness.topics.opt_outs, harness.topics.positions)
    assert moved == {topic.name for topic in written}
    opt_outs = [
        (one.key() or b"").decode()
        for one in committed_records(harness.settings, harness.topics.opt_outs.name)
    ]
    assert opt_outs == [KEY, OTHER_KEY, KEY, OTHER_KEY]
    (one,) = history(harness)
    assert (one["act"], one["by"]) == ("rebuild", "grace")
    assert one["after"] == {"plan": found.plan.digest, "planned_by": "ada", "rows": 3}


def test_lost_topic_is_restored(with_ledger: RebuildHarness) -> None:
    """Rows, suppressions and positions, so that the worker goes on where it was: it decides nothing
    again, and nobody is notified twice.
    """
    harness = with_ledger
    harness.publish(at(minutes=1, status="RET"), at(minutes=2, recipient=OTHER))
    harness.decide()
    harness.publish(at(minutes=1, recipient=THIRD))
    harness.publish(replace(an_erasure(5), recipient=THIRD), express=True)
    harness.decide()
    rows, suppressions = harness.rows(), harness.latest().keys() - harness.rows().keys()
    opt_outs = harness.written(harness.topics.opt_outs.name)
    decisions = harness.written(harness.topics.decisions.name)
    harness.lose_rows()
    found = harness.dry_run()
    assert found.plan.options["lost"] == [0]
    assert set(found.kinds.values()) == {"missing"}
    harness.execute(found)
    assert harness.rows() == rows
    assert harness.latest().keys() == rows.keys() | suppressions
    harness.publish(at(minutes=1, event_id="old", recipient=THIRD))
    harness.decide()
    assert harness.rows() == rows
    assert harness.written(harness.topics.opt_outs.name) == opt_outs == 1
    assert harness.written(harness.topics.decisions.name) == decisions
    assert harness.dry_run().is_identical


def test_execution_is_refused_once_something_moved(with_ledger: RebuildHarness) -> None:
    """A worker in the group, another law, events that give other rows than the dry run found, or an
    event decided since: nothing is written.
    """
    harness = with_ledger
    harness.publish(at(minutes=1))
    harness.decide()
    harness.write_row(KEY, None)
    found = harness.dry_run()
    with harness.worker_in_group(), pytest.raises(OurError, match="1 order workers run"):
        harness.check(found)
    with pytest.raises(PlanMovedError, match="the law has version"):
        harness.check(replace(found, plan=replace(found.plan, law_version=1)))
    (partition,) = found.plan.options["partitions"]
    others = {**found.plan.options, "partitions": [{**partition, "computed": "another"}]}
    with pytest.raises(PlanMovedError, match="other rows"):
        harness.execute(replace(found, plan=replace(found.plan, options=others)))
    assert KEY not in harness.rows()
    harness.publish(at(minutes=2, recipient=OTHER))
    harness.decide()
    with pytest.raises(PlanMovedError, match="consent-events"):
        harness.execute(found)
    assert Plan.read(found.path) == found.plan
    with pytest.raises(PlanMovedError, match="decided further"):
        harness.execute(found, is_checked=True)


def test_newer_row_is_not_overwritten(with_ledger: RebuildHarness) -> None:
    """Not even one that somebody writes after the plan was checked."""
    harness = with_ledger
    harness.publish(at(minutes=1))
    harness.decide()
    row = Codec().decode_consent(harness.rows()[KEY])
    harness.write_row(KEY, None)
    found = harness.dry_run()
    newer = replace(row, status=Status.RET, latest_ret_at=row.effective_at)
    harness.write_row(KEY, newer)
    harness.execute(found, is_checked=True)
    assert CODEC.decode_consent(harness.rows()[KEY]) == newer
    (result,), is_executed = results_of(found.plan, found.path)
    assert (is_executed, result.written, result.counts) == (True, {}, {"newer": 1})


def test_removed_events_come_from_the_history(with_ledger: RebuildHarness) -> None:
    """Where retention has removed events, the history has the decisions on them: the digest is the
    same, erasures included, and a topic that was lost is restored in full. What the history lacks
    cannot be judged, and then nothing is restored.
    """
    harness = with_ledger
    harness.publish(
        at(minutes=1, status="RET"),
        at(minutes=2),
        at(minutes=3, recipient=OTHER, status="RET"),
        at(minutes=4, recipient=THIRD, status="RET"),
    )
    harness.decide()
    harness.publish(replace(an_erasure(5), recipient=THIRD), express=True)
    harness.decide()
    harness.ingest()
    harness.publish(at(minutes=6, recipient=OTHER))
    harness.decide()
    for lane in (harness.topics.events.name, harness.topics.express.name):
        harness.remove_below(lane, kafka.committed_ends(harness.settings, lane)[0] - 1)
    harness.remove_below(harness.topics.decisions.name, 2)
    found = harness.dry_run()
    assert found.is_identical, found.changes
    assert found.plan.history
    harness.ingest()
    harness.publish(at(minutes=7, recipient=THIRD))
    harness.decide()
    harness.remove_below(harness.topics.events.name, 5)
    # What the earlier plan has read of the history is not read again.
    assert harness.dry_run(path=found.path).is_identical
    rows = harness.rows()
    harness.lose_rows()
    harness.execute(harness.dry_run())
    assert harness.rows() == rows
    harness.remove_below(harness.topics.events.name, 6)
    found = harness.dry_run()
    assert found.plan.options["uncovered"] == [0]
    harness.lose_rows()
    with pytest.raises(OurError, match="in full"):
        harness.execute(harness.dry_run())


def test_processes_restore_partitions(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path, ledger_url: str
) -> None:
    """Each process compares a partition and writes its rows."""
    ledger = LedgerSettings(database_url=SecretStr(ledger_url))
    harness = RebuildHarness(make_settings(2), tmp_path, ledger)
    harness.publish(*(at(minutes=1, recipient=f"+9055500001{number}") for number in range(10, 30)))
    harness.decide()
    rows = harness.rows()
    harness.lose_rows()
    harness.execute(harness.dry_run(workers=2), workers=2)
    assert harness.rows() == rows
    assert harness.dry_run().is_identical
    name = harness.topics.desired_consents.name
    topic_id = identities(kafka.admin(harness.settings), [name]).topic_ids[name]
    positions = harness.positions().values()
    assert {one.desired_consents_topic_id for one in positions} == {topic_id}


def desired(harness: RebuildHarness) -> dict[str, tuple[str, str, object]]:
    """Return what the ledger wants, by recipient."""
    rows = harness.query(
        "SELECT recipient, desired_status, desired_event_id, desired_at FROM consents"
    )
    return {
        row["recipient"]: (
            row["desired_status"],
            row["desired_event_id"],
            row["desired_at"],
        )
        for row in rows
    }


def standing(harness: RebuildHarness) -> dict[str, tuple[str, str, object]]:
    """Return what the topic wants, by recipient."""
    found = map(CODEC.decode_consent, harness.rows().values())
    return {one.key.recipient: (one.status.value, one.event_id, one.effective_at) for one in found}
