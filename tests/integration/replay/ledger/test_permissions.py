"""The topic of permissions says what the rows of the ledger say, or is made to."""

from pathlib import Path

import pytest
from confluent_kafka import Producer

from izin.replay.errors import LiveGroupError, UnfitSelectionError
from izin.replay.ledger.permissions import PermissionDifference, PermissionRebuild
from izin.runtime.plan import Plan, PlanMovedError, Selection
from izin.runtime.settings import KafkaSettings
from izin.sinks.ledger import reads
from izin.sinks.ledger.history.append import rebuild_key
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, onay, ret
from tests.support.builders import BRAND, PHONE, a_key

pytestmark = [pytest.mark.database, pytest.mark.broker]

EVERYTHING = Selection()
OTHER, THIRD = a_phone(2), a_phone(3)


async def relay(harness: SinkHarness, settings: KafkaSettings) -> None:
    """Publish the permissions of the outbox, as the relay does, and empty it."""
    rows = await harness.ledger.fetch("DELETE FROM outbox RETURNING id, topic, key, value")
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    for row in sorted(rows, key=lambda one: one["id"]):
        if row["topic"].endswith("permissions"):
            name = settings.topics.permissions.name
            producer.produce(name, key=row["key"].encode(), value=row["value"], partition=0)
    assert producer.flush(10) == 0


@pytest.fixture
async def rebuild(harness: SinkHarness, kafka_settings: KafkaSettings) -> PermissionRebuild:
    """Give the rebuild of a topic that has the permissions of three keys."""
    await harness.register_onay()
    await harness.ingest(ret(OTHER), onay(THIRD))
    await relay(harness, kafka_settings)
    return PermissionRebuild(
        ledger=harness.ledger, kafka=kafka_settings, codec=harness.codec, clock=harness.clock
    )


async def planned(rebuild: PermissionRebuild, file: Path) -> dict[str, PermissionDifference]:
    """Plan a rebuild; return the differences by recipient."""
    plan = await rebuild.plan(file, EVERYTHING, by="ada")
    _, found = await rebuild.left(plan)
    return {one.key.rpartition("/")[2]: one for one in found}


async def test_published_permissions_differ_in_nothing(
    rebuild: PermissionRebuild, harness: SinkHarness, plan_file: Path
):
    """By digest too; what waits in the outbox will be published, and is no difference."""
    assert await planned(rebuild, plan_file) == {}
    options = Plan.read(plan_file).options
    assert options["rows"] == options["topic"]
    await harness.ingest(onay(a_phone(4)))
    await harness.ledger.fetch(
        "UPDATE outbox SET topic = %(topic)s RETURNING id",
        {"topic": rebuild.kafka.topics.permissions.name},
    )
    assert await planned(rebuild, plan_file) == {}


async def test_what_differs_is_published_and_what_is_gone_is_a_tombstone(
    rebuild: PermissionRebuild, harness: SinkHarness, plan_file: Path
):
    """Each through the outbox, behind what was published before; the history has the act."""
    kafka = rebuild.kafka
    row = await harness.row()
    yes = rebuild.messages.permission_of(row, harness.clock(), previous=None)
    assert yes.value
    wrong = harness.codec.decode("Permission", yes.value) | {"recipient": OTHER}
    producer = Producer({"bootstrap.servers": kafka.bootstrap_servers})
    key = str(a_key(recipient=OTHER)).encode()
    value = harness.codec.encode("Permission", wrong)
    producer.produce(kafka.topics.permissions.name, key=key, value=value, partition=0)
    assert producer.flush(10) == 0
    await harness.ingest(onay(a_phone(4)))
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    await harness.ledger.fetch(
        "DELETE FROM consents WHERE recipient = %(one)s RETURNING key", {"one": THIRD}
    )
    found = await planned(rebuild, plan_file)
    assert {name: (one.kind, one.published, one.may_send) for name, one in found.items()} == {
        OTHER: ("differing", True, False),
        a_phone(4): ("missing", None, False),
        THIRD: ("surplus", False, None),
    }
    assert await rebuild.execute(Plan.read(plan_file), by="ada") == 3
    assert await rebuild.execute(Plan.read(plan_file), by="ada") == 0
    rows = await harness.ledger.fetch("SELECT key, value FROM outbox ORDER BY id")
    written = {one["key"].rpartition("/")[2]: one["value"] for one in rows}
    assert written[THIRD] is None
    said = harness.codec.decode("Permission", written[OTHER])
    assert (said["may_send"], said["previous_may_send"], said["reason"]) == (
        False,
        True,
        (await harness.row(OTHER)).permission_reason,
    )
    (act,) = await reads.facts(harness.ledger, [rebuild_key("permissions")])
    assert (act.data["by"], act.data["after"]["records"]) == ("ada", 3)
    await relay(harness, kafka)
    assert await planned(rebuild, plan_file) == {}


async def test_changed_permission_of_a_row_is_computed_again(
    rebuild: PermissionRebuild, harness: SinkHarness, plan_file: Path
):
    """As every sink does: a row that says yes without a consent at İYS is no yes."""
    await harness.ledger.fetch(
        "UPDATE consents SET may_send = true WHERE recipient = %(one)s RETURNING key",
        {"one": OTHER},
    )
    assert set(await planned(rebuild, plan_file)) == {OTHER}
    await rebuild.execute(Plan.read(plan_file), by="ada")
    assert (await harness.row(OTHER)).may_send is False
    assert (await harness.row(PHONE)).may_send is True


async def test_execution_is_refused_where_something_moved(
    rebuild: PermissionRebuild, harness: SinkHarness, plan_file: Path
):
    """A process that publishes, or a record that was published since; and no part is taken."""
    await planned(rebuild, plan_file)
    async with harness.living():
        with pytest.raises(LiveGroupError):
            await rebuild.execute(Plan.read(plan_file), by="ada")
    await harness.ingest(onay(a_phone(4)))
    await relay(harness, rebuild.kafka)
    with pytest.raises(PlanMovedError, match="permissions"):
        await rebuild.execute(Plan.read(plan_file), by="ada")
    with pytest.raises(UnfitSelectionError):
        await rebuild.plan(plan_file, Selection(brands=frozenset({BRAND})), by="ada")
