"""The order state is folded again from its events, and compared with what stands.

What is missing or differs is written, once, and nobody is notified of anything else. At the end is
the worked case of docs/replaying.md: the order state is lost, and restored.
"""

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from itertools import count, repeat
from pathlib import Path

import pytest
from pydantic import SecretStr

from izin.consent import ConsentEvent, OurError, SourceError, Status
from izin.kafka import clients
from izin.kafka.clients import identities, members
from izin.replay.ledger.republish import Republication, Republished
from izin.replay.order_state.planning import plan_of
from izin.replay.order_state.repair import PartitionWork, results_of
from izin.runtime.plan import Plan, PlanMovedError, Selection
from izin.runtime.settings import KafkaSettings, LedgerSettings, StreamSettings
from izin.schemas.codec import Codec
from izin.schemas.erasure import ERASURE
from izin.streams.errors import PositionAheadError, StateError
from izin.streams.ownership import DecidedOffsets
from tests.integration.replay.rebuild_harness import CODEC, SECRET, RebuildHarness
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import BRAND, NOON, PHONE, a_key, an_event
from tests.support.order.harness import Traffic
from tests.support.order.verdict import Worker, backlog, committed_records, until
from tests.support.registration import register_brand

pytestmark = [pytest.mark.broker, pytest.mark.database]

KEY = str(a_key())
OTHER, THIRD, FOURTH = (f"+90555000000{number}" for number in (2, 3, 4))
OTHER_KEY, THIRD_KEY, FOURTH_KEY = (str(a_key(recipient=one)) for one in (OTHER, THIRD, FOURTH))


def at(*, minutes: int, **fields: object) -> ConsentEvent:
    """Return an event so many minutes after noon, with an id of its own."""
    instant = NOON + timedelta(minutes=minutes)
    given = {"event_id": f"event-{minutes}", "consent_date": instant, "received_at": instant}
    return an_event(**given | fields)


def an_erasure(minutes: int) -> ConsentEvent:
    """Return an erasure of the recipient, so many minutes after noon."""
    return at(minutes=minutes, status=ERASURE, event_id=f"erasure-{minutes}", source=None)


@pytest.fixture
def harness(make_settings: Callable[[int], KafkaSettings], tmp_path: Path) -> RebuildHarness:
    """Return topics of one partition, without a ledger."""
    return RebuildHarness(make_settings(1), tmp_path, None)


def test_rebuild_gives_what_a_worker_left(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path
) -> None:
    """The digests are identical, byte by byte, though the worker took the lanes in turns and
    repartitioned some records; nothing is written to any topic.
    """
    settings = make_settings(2)
    harness = RebuildHarness(settings, tmp_path, None)
    Traffic(settings, Codec(), seed=19, recipients=80).publish(1200)
    secrets = {"IZIN_SUPPRESSION_SECRETS": f'["{SECRET}"]'}
    worker = Worker("one", settings, tmp_path / "worker.log", environment=secrets)
    try:
        until(lambda: not backlog(settings), within=60, what="decision on everything")
        assert worker.end() == 0
    finally:
        worker.kill()
    before = harness.ends()
    found = harness.dry_run(workers=2)
    assert found.is_identical, found.changes[:3]
    assert sum(one.keys for one in found.results) == len(harness.rows()) > 70
    assert harness.ends() == before
    # A static member that has ended is one until its session does.
    group = StreamSettings().group(settings)
    until(lambda: members(settings, group) == 0, within=30, what="end of its session")
    harness.check(found)


@pytest.mark.parametrize("is_ret_first", [True, False], ids=["ret-first", "erasure-first"])
def test_erasure_is_decided_in_its_order(harness: RebuildHarness, *, is_ret_first: bool) -> None:
    """An opt-out decided before the erasure is gone with its key, one decided after it stands; the
    lanes have both in the same places.
    """
    ret, erasure = at(minutes=1, status="RET"), an_erasure(2)
    steps = [lambda: harness.publish(ret), lambda: harness.publish(erasure, express=True)]
    for step in steps if is_ret_first else reversed(steps):
        step()
        harness.decide()
    assert (KEY in harness.rows()) is not is_ret_first
    found = harness.dry_run()
    assert found.is_identical, found.changes
    other = StreamSettings(suppression_secrets=(SecretStr(SECRET.upper()),))
    harness.installation = replace(harness.installation, streams=other)
    with pytest.raises(StateError, match="IZIN_SUPPRESSION_SECRETS"):
        harness.dry_run()


def test_key_known_again_keeps_what_it_had(harness: RebuildHarness) -> None:
    """An opt-in later than the erasure, decided before it: what came before stays known. Decided
    after it, nothing does; and old opt-ins stay suppressed.
    """
    for recipient, is_erased_first in ((PHONE, True), (OTHER, False)):
        own = {"recipient": recipient}
        harness.decide(at(minutes=1, status="RET", **own))
        events = [replace(an_erasure(2), **own), at(minutes=3, **own)]
        for event in events if is_erased_first else reversed(events):
            harness.decide(event, express=event.status == ERASURE)
        harness.publish(at(minutes=1, event_id="old", **own))
    harness.decide()
    found = harness.dry_run()
    assert found.is_identical, found.changes


def test_rebuild_finds_what_differs(harness: RebuildHarness) -> None:
    """A row that is missing, an older one, one that is none, and one that no event explains: key by
    key, field by field.
    """
    people = [f"+90555000000{number}" for number in range(5)]
    keys = [str(a_key(recipient=one)) for one in people]
    for one in people[:4]:
        harness.decide(at(minutes=0, recipient=one), at(minutes=9, recipient=one))
    row = Codec().decode_consent(harness.rows()[keys[1]])
    older = replace(row, effective_at=NOON, latest_onay_at=NOON)
    newer = replace(row, key=a_key(recipient=people[3]), event_id="zz")
    surplus = replace(row, key=a_key(recipient=people[4]))
    for key, written in zip(keys, (None, older, b"no row", newer, surplus), strict=True):
        harness.write_row(key, written)
    found = harness.dry_run()
    assert found.kinds == dict(
        zip(keys, ("missing", "differing", "unreadable", "newer", "surplus"), strict=True)
    )
    fields = found.changes[1]["fields"]
    assert fields.keys() == {"effective_at", "latest_onay_at"}
    assert fields["effective_at"] == [NOON.isoformat(), (NOON + timedelta(minutes=9)).isoformat()]
    assert found.results[0].computed != found.results[0].current


def test_selection_compares_the_selected_keys(harness: RebuildHarness) -> None:
    """By key, recipient, brand: others that differ are not looked at."""
    harness.decide(at(minutes=1), at(minutes=2, recipient=OTHER, brand_code=100002))
    other = str(a_key(recipient=OTHER, brand_code=100002))
    for key in (KEY, other):
        harness.write_row(key, None)
    for selection, expected in (
        (Selection(keys=frozenset({KEY})), {KEY}),
        (Selection(recipients=frozenset({OTHER})), {other}),
        (Selection(brands=frozenset({BRAND})), {KEY}),
    ):
        assert harness.dry_run(selection).kinds.keys() == expected, selection


def test_retention_that_removes_events_meanwhile_is_noticed(
    harness: RebuildHarness, tmp_path: Path
) -> None:
    """Of a reader that begins behind them, and of one that has read them."""
    harness.decide(at(minutes=1), at(minutes=2, recipient=OTHER))
    harness.write_row(KEY, None)
    found, lane = harness.dry_run(), harness.topics.events.name
    gone = replace(found.plan.topics[lane], starts={0: 50}, ends={0: 99})
    plan = replace(found.plan, topics={**found.plan.topics, lane: gone})
    work = PartitionWork(harness.installation, plan, tmp_path, writes=False)
    with pytest.raises(PlanMovedError, match="retention"):
        work.run(0, lambda _: None)
    with pytest.raises(PlanMovedError, match="begins at 1, not 0"):
        harness.dry_run(meanwhile=lambda: harness.remove_below(lane, 1))


def test_removed_events_cannot_be_judged(harness: RebuildHarness) -> None:
    """Without a history nobody knows what they said: a row that only they explain is not surplus,
    and one that is older than the events that are left is found all the same.
    """
    harness.publish(at(minutes=9), at(minutes=1, recipient=OTHER), at(minutes=5))
    harness.decide(at(minutes=4, recipient=OTHER))
    harness.remove_below(harness.topics.events.name, 2)
    row = Codec().decode_consent(harness.rows()[OTHER_KEY])
    harness.write_row(THIRD_KEY, replace(row, key=a_key(recipient=THIRD)))
    harness.write_row(OTHER_KEY, replace(row, effective_at=NOON, latest_onay_at=NOON))
    found = harness.dry_run()
    assert found.plan.options["uncovered"] == [0]
    assert found.kinds == {KEY: "unjudged", THIRD_KEY: "unjudged", OTHER_KEY: "differing"}


def test_plan_that_cannot_hold_is_refused(
    harness: RebuildHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Part of a lost topic, positions that move meanwhile, a lane that ends before what was decided
    of it, and one that was created again.
    """
    harness.publish(at(minutes=1))
    found = harness.dry_run()
    assert (found.plan.options["undecided"], found.results[0].events) == ([0], 0)
    harness.decide()
    assert harness.dry_run().plan.options["undecided"] == []
    harness.lose(harness.topics.desired_consents.name)
    with pytest.raises(SourceError, match="all of it"):
        harness.dry_run(Selection(keys=frozenset({KEY})))
    (stored,) = harness.positions().values()
    with monkeypatch.context() as patch:
        for offsets, error, words in (
            (count(), OurError, "order workers"),
            (repeat(99), PositionAheadError, "99"),
        ):
            moved = (replace(stored, events_offset=one) for one in offsets)
            patch.setattr(DecidedOffsets, "positions", lambda _, moved=moved: {0: next(moved)})
            with pytest.raises(error, match=words):
                harness.dry_run()
    wrong = harness.settings.model_copy(update={"partitions": 2})
    with pytest.raises(OurError, match="IZIN_PARTITIONS"):
        plan_of(replace(harness.installation, kafka=wrong), Selection(), by="ada")
    harness.lose(harness.topics.events.name)
    with pytest.raises(OurError, match="created again"):
        harness.dry_run()


def test_switch_writes_what_is_missing_or_differs(with_ledger: RebuildHarness) -> None:
    """A row that was changed by hand is repaired, one that was deleted comes back, with an opt-out
    for the key that becomes RET by it; surplus rows stay. Then nothing is left, and the history
    says who ordered it, once.
    """
    harness = with_ledger
    harness.decide(
        at(minutes=1),
        at(minutes=2, status="RET"),
        at(minutes=3, recipient=OTHER, status="RET"),
        at(minutes=4, recipient=FOURTH),
    )
    row = Codec().decode_consent(harness.rows()[KEY])
    older = replace(
        row, status=Status.ONAY, effective_at=NOON, latest_onay_at=NOON, latest_ret_at=None
    )
    harness.write_row(KEY, older)
    harness.write_row(OTHER_KEY, None)
    fourth = Codec().decode("Consent", harness.rows()[FOURTH_KEY])
    harness.write_row(FOURTH_KEY, Codec().encode("Consent", {**fourth, "previous_status": "RET"}))
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
    (row,) = harness.query("SELECT data FROM history WHERE kind = 'act'")
    assert (row["data"]["act"], row["data"]["by"]) == ("rebuild", "grace")
    assert row["data"]["after"] == {"plan": found.plan.digest, "planned_by": "ada", "rows": 3}


def test_lost_topic_is_restored(
    make_settings: Callable[[int], KafkaSettings], tmp_path: Path, ledger_url: str
) -> None:
    """Rows, suppressions and positions, so that the worker goes on where it was: it decides nothing
    again, and nobody is notified twice. Each process compares a partition and writes its rows.
    """
    ledger = LedgerSettings(database_url=SecretStr(ledger_url))
    harness = RebuildHarness(make_settings(2), tmp_path, ledger)
    harness.decide(at(minutes=1, status="RET"), at(minutes=2, recipient=OTHER))
    harness.publish(at(minutes=1, recipient=THIRD))
    harness.decide(replace(an_erasure(5), recipient=THIRD), express=True)
    rows, suppressions = harness.rows(), harness.latest().keys() - harness.rows().keys()
    opt_outs = harness.written(harness.topics.opt_outs.name)
    decisions = harness.written(harness.topics.decisions.name)
    harness.lose_rows()
    found = harness.dry_run(workers=2)
    assert found.plan.options["lost"] == [0, 1]
    assert set(found.kinds.values()) == {"missing"}
    harness.execute(found, workers=2)
    name = harness.topics.desired_consents.name
    topic_id = identities(clients.admin(harness.settings), [name]).topic_ids[name]
    positions = harness.positions().values()
    assert {one.desired_consents_topic_id for one in positions} == {topic_id}
    assert harness.rows() == rows
    assert harness.latest().keys() == rows.keys() | suppressions
    harness.decide(at(minutes=1, event_id="old", recipient=THIRD))
    assert harness.rows() == rows
    assert harness.written(harness.topics.opt_outs.name) == opt_outs == 1
    assert harness.written(harness.topics.decisions.name) == decisions
    assert harness.dry_run().is_identical


def test_execution_is_refused_once_something_moved(with_ledger: RebuildHarness) -> None:
    """A worker in the group, another law, events that give other rows than the dry run found, or an
    event decided since: nothing is written.
    """
    harness = with_ledger
    harness.decide(at(minutes=1))
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
    harness.decide(at(minutes=2, recipient=OTHER))
    with pytest.raises(PlanMovedError, match="consent-events"):
        harness.execute(found)
    assert Plan.read(found.path) == found.plan
    with pytest.raises(PlanMovedError, match="decided further"):
        harness.execute(found, is_checked=True)


def test_newer_row_is_not_overwritten(with_ledger: RebuildHarness) -> None:
    """Not even one that somebody writes after the plan was checked."""
    harness = with_ledger
    harness.decide(at(minutes=1))
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
    harness.decide(
        at(minutes=1, status="RET"),
        at(minutes=2),
        at(minutes=3, recipient=OTHER, status="RET"),
        at(minutes=4, recipient=THIRD, status="RET"),
    )
    harness.decide(replace(an_erasure(5), recipient=THIRD), express=True)
    harness.ingest()
    harness.decide(at(minutes=6, recipient=OTHER))
    for lane in (harness.topics.events.name, harness.topics.express.name):
        harness.remove_below(lane, clients.committed_ends(harness.settings, lane)[0] - 1)
    harness.remove_below(harness.topics.decisions.name, 2)
    found = harness.dry_run()
    assert found.is_identical, found.changes
    assert found.plan.history
    harness.ingest()
    harness.decide(at(minutes=7, recipient=THIRD))
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


def test_opt_out_decided_behind_an_erasure_stands_in_the_history(
    with_ledger: RebuildHarness,
) -> None:
    """Though it is of before the erasure; the topic has the order in which they were decided."""
    harness = with_ledger
    harness.decide(at(minutes=1, recipient=OTHER), at(minutes=1))
    harness.decide(an_erasure(5), express=True)
    harness.decide(at(minutes=4, status="RET"))
    harness.ingest()
    harness.remove_below(harness.topics.events.name, 1)
    assert harness.dry_run().is_identical


def test_lost_kafka_is_restored_from_the_history(with_ledger: RebuildHarness) -> None:
    """All of it is gone: every row and suppression comes from the ledger, and what producers
    published again meanwhile is decided over it. Subscribers get the opt-outs, for nobody knows
    which they had got. The ledger then publishes what is its own, and follows the new topics.
    """
    harness = with_ledger
    harness.decide(
        at(minutes=2, status="RET"), at(minutes=2, recipient=OTHER), at(minutes=3, recipient=THIRD)
    )
    harness.decide(replace(an_erasure(5), recipient=THIRD), express=True)
    harness.ingest()
    rows, suppressions = harness.rows(), harness.latest().keys() - harness.rows().keys()
    assert asyncio.run(republication(harness)).followed
    harness.lose_everything()
    harness.publish(at(minutes=1), at(minutes=3, recipient=THIRD))
    with pytest.raises(OurError, match="desired-consents is empty"):
        asyncio.run(republication(harness))
    assert not harness.dry_run().changes
    found = harness.dry_run(whole=True)
    assert set(found.kinds.values()) == {"missing"}
    harness.execute(found)
    assert (harness.rows(), harness.latest().keys()) == (rows, rows.keys() | suppressions)
    stands = current(harness)
    harness.decide()
    assert current(harness) == stands
    opt_outs = committed_records(harness.settings, harness.topics.opt_outs.name)
    assert [one.key() for one in opt_outs] == [KEY.encode()]
    assert harness.dry_run(whole=True).is_identical
    planned = asyncio.run(republication(harness))
    assert (planned.permissions, planned.followed) == (3, False)
    assert asyncio.run(republication(harness, is_executed=True)).followed
    topics = Counter(row["topic"] for row in harness.query("SELECT topic FROM outbox"))
    of = harness.topics
    assert topics >= Counter({of.permissions.name: 3, of.brands.name: 1})
    harness.ingest()
    (row,) = harness.query("SELECT data FROM history WHERE data ->> 'act' = 'republish'")
    assert (row["data"]["by"], row["data"]["after"]) == ("grace", {"permissions": 3})


async def republication(harness: RebuildHarness, *, is_executed: bool = False) -> Republished:
    """Return what is published again, or would be, of a ledger that has a brand."""
    async with harness.opened_ledger() as ledger:
        ingester = harness.ingester(ledger)
        messages = ingester.topic_messages
        await register_brand(ledger, messages, ACTIVE, by="ada", now=ingester.clock())
        made = Republication(
            ledger=ledger,
            topic_messages=messages,
            codec=CODEC,
            settings=harness.settings,
            clock=ingester.clock,
        )
        return await (made.execute(by="grace") if is_executed else made.check())


def test_whole_history_needs_a_ledger(harness: RebuildHarness) -> None:
    """Without one there is no history; it is said which setting names it."""
    with pytest.raises(SourceError, match="DATABASE_URL"):
        harness.dry_run(whole=True)


def desired(harness: RebuildHarness) -> dict[str, tuple[object, ...]]:
    """Return what the ledger wants, by recipient."""
    rows = harness.query(
        "SELECT recipient, desired_status, desired_event_id, desired_at FROM consents"
    )
    names = ("desired_status", "desired_event_id", "desired_at")
    return {row["recipient"]: tuple(row[name] for name in names) for row in rows}


def current(harness: RebuildHarness) -> dict[str, tuple[object, ...]]:
    """Return what the topic wants, by recipient."""
    found = map(CODEC.decode_consent, harness.rows().values())
    return {one.key.recipient: (one.status.value, one.event_id, one.effective_at) for one in found}
