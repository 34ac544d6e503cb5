"""A ledger from nothing: from an archive and the topics, and from the topics alone.

The commands: a damaged row, and the worked case of a lost ledger as the documentation has it.
``kill -9`` amid what a replay writes to the ledger; the same command then has the same end.
"""

import asyncio
import json
import os
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import LiteralString
from unittest.mock import Mock

import pytest

from izin.consent import OurError
from izin.ledger import brands
from izin.ledger.archive import writer
from izin.ledger.archive.folder import Archive
from izin.ledger.archive.writer import ArchiveWriter
from izin.ledger.db import Ledger
from izin.ledger.history import append_facts, digest_fact, verify
from izin.ledger.record import (
    Anchor,
    Brand,
    FullLedgerError,
    UnknownSuppressionError,
    UnreadableArchiveError,
)
from izin.ledger.registry import complaints
from izin.ledger.registry.suspension_orders import Part, Target
from izin.ledger.webhooks import deliveries
from izin.replay.ledger import rebuild as rebuilding
from izin.replay.ledger.rebuild import LedgerRebuild
from izin.replay.ledger.restore import LedgerRestoration, Restored
from izin.runtime.plan import Selection
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.erasure import SuppressionKeys
from izin.streams.outputs import _erased_consent
from tests.integration.evidence.test_provable import entered
from tests.integration.ledger.test_erasure import anchor_writer
from tests.integration.ledger.test_history import change
from tests.integration.ledger.test_suspensions import resume
from tests.integration.replay.ledger.test_rebuild import OTHER, decided, every_kind, rows
from tests.integration.sinks.ingest.test_bootstrap import delete_decisions, write, write_state
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    Killed,
    SinkHarness,
    a_phone,
    kafka_environment,
    onay,
    ret,
    until,
)
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key
from tests.support.published import produce

pytestmark = [pytest.mark.database, pytest.mark.broker]

SECRET = "a secret of thirty-two characters"


@dataclass(frozen=True, kw_only=True)
class Site:
    """A ledger with its topics, and an empty database beside it."""

    harness: SinkHarness
    kafka: KafkaSettings
    new: SinkHarness
    """The sinks over the empty ledger and the same İYS."""
    settings: LedgerSettings
    folder: Path
    """Of the archive."""

    def restoration(self, *secrets: str, is_archived: bool = True) -> LedgerRestoration:
        """Return the restoration of the empty ledger."""
        return LedgerRestoration(
            rebuild=LedgerRebuild(
                ledger=self.new.ledger, settings=self.settings, clock=self.harness.clock, workers=1
            ),
            kafka=self.kafka,
            codec=self.harness.codec,
            secrets=SuppressionKeys(secrets),
            archive=Archive.read(self.folder) if is_archived else None,
        )

    async def restored(
        self,
        restoration: LedgerRestoration,
        anchors: Iterable[Anchor] = (),
        *,
        accept_loss: bool = False,
    ) -> Restored:
        """Restore."""
        return await restoration.execute(list(anchors), accept_loss=accept_loss, by="ada")


@pytest.fixture
def site(
    harness: SinkHarness,
    kafka_settings: KafkaSettings,
    new_ledger: Ledger,
    new_settings: LedgerSettings,
    tmp_path: Path,
) -> Site:
    """Give a ledger with its topics."""
    return Site(
        harness=harness,
        kafka=kafka_settings,
        new=replace(harness, context=replace(harness.context, ledger=new_ledger)),
        settings=new_settings,
        folder=tmp_path / "archive",
    )


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files of five rows."""
    monkeypatch.setattr(writer, "ROWS_A_FILE", 5)


async def archived(harness: SinkHarness, folder: Path) -> tuple[Anchor, ...]:
    """Anchor and archive the history; return the anchors."""
    await anchor_writer(harness.ledger, None).anchor()
    await ArchiveWriter(harness.ledger, folder).run(by="ada", now=harness.clock())
    return await verify.anchors_after(harness.ledger, 0)


async def publish(harness: SinkHarness, settings: KafkaSettings) -> None:
    """Have in the topics what the order stage and the relay write: the state, and the brand."""
    await asyncio.to_thread(write_state, harness, settings)
    (brand, *_) = await harness.outbox("brands", "Brand")
    topic = settings.topics.brands.name
    value = harness.codec.encode("Brand", brand)
    produce(settings, topic, value, key=str(BRAND).encode(), partition=0)


def suppress(harness: SinkHarness, settings: KafkaSettings, key: str, at: datetime) -> None:
    """Write the suppression of an erased key."""
    nobody = dict.fromkeys(("customer_id", "type", "recipient_type", "recipient"), "")
    value = harness.codec.encode(
        "Consent", _erased_consent(at, {**nobody, "brand_code": 0}, "erasure")
    )
    name = SuppressionKeys([SECRET]).of(key.encode())
    produce(settings, settings.topics.desired_consents.name, value, key=name, partition=0)


async def _offboarded(site: Site) -> Brand:
    """Have a customer that was offboarded, and in the topic its brand as it was before."""
    harness, brand = site.harness, replace(ACTIVE, brand_code=BRAND + 9, customer_id="left")
    active = harness.context.topic_messages.brand(await harness.brand(brand), harness.clock())
    produce(site.kafka, site.kafka.topics.brands.name, active.value, key=active.key, partition=0)
    stopped = await harness.brand(replace(brand, status="stopped"))
    await harness.ledger.fetch(
        "UPDATE customers SET offboarded_at = now() WHERE customer_id = 'left' RETURNING name"
    )
    return stopped


async def test_lost_ledger_is_restored_and_agrees_with_iys(site: Site):
    """The worked case: history, rows, brands, complaints and numbers come back; İYS is asked once a
    person lets it, and gets nothing that it has; the decisions that are read again are known.
    """
    await every_kind(site.harness)
    complaint = await entered(site.harness)
    gone = await _offboarded(site)
    anchors = await archived(site.harness, site.folder)
    await site.harness.ingest(
        ret(a_phone(3), minutes=1)
    )  # after the archive: only the topics have it
    await publish(site.harness, site.kafka)
    before = await rows(site.harness)
    submitted = site.harness.iys.calls("batchV2") + site.harness.iys.calls("addV2")
    restoration = site.restoration()
    assert (await restoration.check(anchors)).lost == []
    done = await site.restored(restoration, anchors)
    assert (done.rows, done.keys, done.held) == (10, 10, [CUSTOMER, "left"])
    after = await rows(site.new)
    late = str(a_key(recipient=a_phone(3)))
    assert {key: decided(row) for key, row in after.items() if key != late} == {
        key: decided(row) for key, row in before.items() if key != late
    }
    assert (after[late].desired_status, after[late].desired_event_id) == (
        "RET",
        before[late].desired_event_id,
    )
    assert not any(row.may_send for row in after.values())
    assert (await verify.verify(site.new.ledger, anchors)).faults == ()
    assert await complaints.every(site.new.ledger) == (complaint,)
    assert (await site.new.brand()).customer_id == CUSTOMER
    assert gone in await brands.every(site.new.ledger)
    for step in (site.new.bulk, site.new.opt_out, site.new.query, site.new.scheduler.last_hour):
        assert not await step()
    assert not await site.new.scheduler.expire()
    await resume(site.new, Target(customer_id=CUSTOMER), Part.IYS)
    assert not await site.new.bulk()
    while await site.new.opt_out() or await site.new.query():
        pass
    assert site.harness.iys.register()[PHONE] == "RET"
    # Of what İYS had, only the withdrawal that was due before; the consents that it lacks follow.
    assert site.harness.iys.calls("addV2") + site.harness.iys.calls("batchV2") == submitted + 1
    assert await site.new.bulk()
    assert await site.new.ledger.fetch("SELECT DISTINCT next_offset FROM recorded_offsets") == [
        {"next_offset": site.harness.offset - 1}
    ]


async def test_erased_person_stays_erased(site: Site):
    """Neither the archive nor the topic brings the row back; the history is retained by law."""
    await site.harness.ingest(onay(PHONE), onay(OTHER))
    await archived(site.harness, site.folder)
    await publish(site.harness, site.kafka)
    key = str(a_key())
    suppress(site.harness, site.kafka, key, datetime.now(UTC).replace(microsecond=0))
    with pytest.raises(UnknownSuppressionError, match="IZIN_SUPPRESSION_SECRETS"):
        await site.restored(site.restoration())
    assert await rows(site.new) == {}
    done = await site.restored(site.restoration(SECRET))
    assert (done.erased, done.rows) == (1, 1)
    assert [row.recipient for row in (await rows(site.new)).values()] == [OTHER]
    removed = "SELECT key FROM erasures WHERE removed_at IS NOT NULL"
    assert await site.new.ledger.fetch(removed) == [{"key": key}]
    again = await site.restored(site.restoration(SECRET, is_archived=False))
    assert (again.rows, again.erased) == (0, 0)
    assert len(await rows(site.new)) == 1


async def test_ledger_is_restored_from_topics_alone(site: Site):
    """The brands too, and the decisions that are left are read from their first."""
    await site.harness.ingest(onay(PHONE), ret(OTHER))
    await asyncio.to_thread(write, site.kafka, [b"no decision"])
    await publish(site.harness, site.kafka)
    await asyncio.to_thread(delete_decisions, site.kafka)
    done = await site.restored(site.restoration(is_archived=False))
    assert (done.entries, done.keys, done.held) == (0, 2, [CUSTOMER])
    for row in (await rows(site.new)).values():
        assert (row.customer_id, row.registered, row.may_send) == (CUSTOMER, "UNKNOWN", False)
    found = await site.restoration().rebuild.plan(
        site.folder.with_name("again.json"), Selection(), by="ada"
    )
    # What was restored is in the history too, with everything that a rebuild needs.
    assert (found.differences, found.shadow) == ({}, found.current)
    offsets = "SELECT max(next_offset) AS next FROM kafka_offsets"
    assert await site.new.ledger.fetch(offsets) == [{"next": 1}]


@pytest.mark.parametrize("at", ["load", "rows"])
async def test_killed_restoration_goes_on_to_the_same_end(
    site: Site, at: str, monkeypatch: pytest.MonkeyPatch
):
    """Killed amid the history, or amid the rows: nothing is loaded twice, nothing is left out."""
    monkeypatch.setattr(rebuilding, "_PAGE", 4)
    await every_kind(site.harness)
    anchors = await archived(site.harness, site.folder)
    await publish(site.harness, site.kafka)
    restoration = site.restoration()
    if at == "load":
        killed = replace(restoration, on_load=Mock(side_effect=Killed))
    else:
        killed = replace(
            restoration, rebuild=replace(restoration.rebuild, on_repair=Mock(side_effect=Killed))
        )
    with pytest.raises(Killed):
        await site.restored(killed, anchors)
    stand = len(await rows(site.new))
    # The page of the other lane may have been saved too.
    assert stand in ({0} if at == "load" else {4, 8})
    assert (await site.restored(restoration, anchors)).rows == 10 - stand
    after = await rows(site.new)
    assert {key: decided(row) for key, row in after.items()} == {
        key: decided(row) for key, row in (await rows(site.harness)).items()
    }
    assert (await verify.verify(site.new.ledger, anchors)).faults == ()


async def test_archive_that_ends_too_early_needs_a_word(site: Site):
    """What was anchored after it is lost; the history keeps what it lacks."""
    await site.harness.ingest(onay())
    await archived(site.harness, site.folder)
    await site.harness.ingest(ret())
    await publish(site.harness, site.kafka)
    await anchor_writer(site.harness.ledger, None).anchor()
    anchors = await verify.anchors_after(site.harness.ledger, 0)
    restoration = site.restoration()
    with pytest.raises(OurError, match="--accept-loss"):
        await site.restored(restoration, anchors)
    assert await rows(site.new) == {}
    await site.restored(restoration, anchors, accept_loss=True)
    assert await site.new.columns("desired_status") == ("RET",)
    # One line of the verification, for ever, and no alarm that is dead.
    await anchor_writer(site.new.ledger, None).anchor()
    known = {*anchors, *await verify.anchors_after(site.new.ledger, 0)}
    found = await verify.verify(site.new.ledger, known)
    assert (found.faults, len(found.losses)) == ((), 1)
    # What was anchored since is no part of that loss.
    gone = max(known, key=lambda one: one.id)
    forged = replace(gone, id=gone.id + 1, place=gone.place + 100)
    assert (await verify.verify(site.new.ledger, {*known, forged})).faults


async def test_deliveries_that_no_archive_has_are_one_loss(site: Site):
    """Their digests are in the history; batches after the restoration are verified as before."""
    await site.harness.ingest(onay())
    async with site.harness.ledger.transaction() as connection:
        proved = digest_fact(7, [b"x" * 32] * 852, 852, 1_772_442_000_000_000)
        await append_facts(connection, [proved], now=site.harness.clock())
    anchors = await archived(site.harness, site.folder)
    await publish(site.harness, site.kafka)
    await site.restored(site.restoration(), anchors)
    found = await verify.verify(site.new.ledger, anchors)
    (loss,) = found.losses
    assert (found.faults, loss.batch) == ((), 7)
    read_at = site.harness.clock()
    sent = await deliveries.verify(
        site.new.ledger, found.batches, (), read_at=read_at, lost_until=loss.batch
    )
    assert (sent.faults, sent.lost) == ((), 852)
    sent = await deliveries.verify(site.new.ledger, found.batches, (), read_at=read_at)
    assert [one.what for one in sent.faults] == ["all 852 rows are missing"]


async def test_ledger_with_rows_or_a_changed_archive_is_refused(
    site: Site,
):
    """Nothing is written over, and no row is loaded that somebody has changed."""
    await site.harness.ingest(onay())
    await archived(site.harness, site.folder)
    restoration = site.restoration()
    full = replace(restoration, rebuild=replace(restoration.rebuild, ledger=site.harness.ledger))
    with pytest.raises(FullLedgerError, match="1 consents"):
        await full.check(())
    archive = Archive.read(site.folder)
    change(archive, next(archive.in_order()), "content")
    with pytest.raises(UnreadableArchiveError, match="in shard 0 at place 1"):
        await restoration.check(())


RUN = """
import json, sys
from typer.testing import CliRunner
from izin.cli.cli import app
for words in json.load(sys.stdin):
    result = CliRunner().invoke(app, words.split(), catch_exceptions=False)
    print(json.dumps([words, result.exit_code, result.stdout]))
"""
A_DAMAGED_ROW = {
    "replay rebuild ledger --plan damaged.json --processes 1": 1,
    "replay run damaged.json": 1,
    "replay run damaged.json --execute": 0,
    "replay show damaged.json": 0,
}
EVERY_NIGHT = {
    "ledger archive archive": 0,
    "ledger verify --archive archive --anchors anchors.jsonl": 0,
}
AFTER_THE_LOSS = {
    "ledger restore archive --anchors anchors.jsonl": 1,
    "ledger restore archive --anchors anchors.jsonl --execute": 0,
    "ledger verify --anchors anchors.jsonl": 6,
    "replay rebuild ledger --plan rows.json --processes 1": 0,
    "replay show rows.json": 0,
    f"brands resume --customer {CUSTOMER} --what iys --execute": 0,
}
"""The exit code of each command. An empty ledger is made by izin doctor, as everywhere."""


def environment(kafka: KafkaSettings, url: str) -> Mapping[str, str]:
    """Return the environment of a command in an installation."""
    return {
        **os.environ,
        "DATABASE_URL": url,
        **kafka_environment(kafka),
        "IZIN_ACTOR": "ada",
    }


async def run(commands: dict[str, int], folder: Path, given: Mapping[str, str]) -> str:
    """Run commands, one after the other in one process, check their exit codes, and return what
    they print.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN),
        cwd=folder,
        env=given,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    printed, _ = await process.communicate(json.dumps(list(commands)).encode())
    for line in printed.decode().splitlines():
        words, code, output = json.loads(line)
        assert commands[words] == code, (words, output)
    assert len(printed.splitlines()) == len(commands)
    return printed.decode()


async def test_lost_ledger_comes_back_by_the_commands_of_the_docs(
    site: Site,
    database_url: str,
    new_settings: LedgerSettings,
    tmp_path: Path,
) -> None:
    """Every row is what was decided, the history verifies, and İYS may be asked; a row that was
    damaged before is repaired, and no output names a recipient.
    """
    given = environment(site.kafka, database_url)
    await every_kind(site.harness)
    await publish(site.harness, site.kafka)
    before = {key: decided(row) for key, row in (await rows(site.harness)).items()}
    await site.harness.ledger.fetch(
        "UPDATE consents SET desired_source = 'HS_CC' WHERE recipient = %(one)s RETURNING key",
        {"one": PHONE},
    )
    printed = await run(A_DAMAGED_ROW, tmp_path, given)
    assert "HS_CC" in printed
    assert PHONE not in printed
    await anchor_writer(site.harness.ledger, tmp_path / "anchors.jsonl").anchor()
    await run(EVERY_NIGHT, tmp_path, given)
    new = environment(site.kafka, new_settings.database_url.get_secret_value())
    await run(AFTER_THE_LOSS, tmp_path, new)
    assert {key: decided(row) for key, row in (await rows(site.new)).items()} == before
    assert await site.new.suspensions() == ()
    assert not await site.new.bulk()
    assert await site.new.query()


async def killed(
    words: str,
    folder: Path,
    given: Mapping[str, str],
    ledger: Ledger,
    at: LiteralString,
) -> None:
    """Kill a command that waits for the lock which the statement ``at`` takes: nothing of its last
    transaction is committed.
    """
    waits = "SELECT FROM pg_stat_activity WHERE %(one)s = ANY(pg_blocking_pids(pid))"
    is_alone = "SELECT WHERE cardinality(living()) = 0"
    async with ledger.session() as blocking:
        await blocking.execute("BEGIN")
        await blocking.execute(at)
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "izin.cli", *words.split()),
            cwd=folder,
            env=given,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(lambda: ledger.fetch(waits, {"one": blocking.info.backend_pid}), within=60)
        process.kill()
        await process.wait()
        await blocking.execute("ROLLBACK")
    # PostgreSQL finds out that the client is gone.
    await until(lambda: ledger.fetch(is_alone), within=30)


async def test_killed_mending_has_the_same_end(
    harness: SinkHarness, kafka_settings: KafkaSettings, database_url: str, tmp_path: Path
) -> None:
    """A row that was lost and one that was changed by hand are repaired once: killed as they are
    written and not committed, then as they are locked.
    """
    given, lost = environment(kafka_settings, database_url), a_phone(3)
    await every_kind(harness)
    before = {key: decided(row) for key, row in (await rows(harness)).items()}
    await harness.ledger.fetch(
        "UPDATE consents SET desired_source = 'HS_CC' WHERE recipient = %(one)s RETURNING key",
        {"one": PHONE},
    )
    await harness.ledger.fetch(
        "DELETE FROM consents WHERE recipient = %(one)s RETURNING key", {"one": lost}
    )
    await harness.ledger.fetch("DELETE FROM outbox RETURNING id")
    await run({"replay rebuild ledger --plan a.json --processes 1": 1}, tmp_path, given)
    execute = "replay run a.json --execute"
    await killed(execute, tmp_path, given, harness.ledger, "LOCK TABLE history IN SHARE MODE")
    assert len(await rows(harness)) == len(before) - 1
    at_changed = "SELECT FROM consents WHERE desired_source = 'HS_CC' FOR UPDATE"
    await killed(execute, tmp_path, given, harness.ledger, at_changed)
    assert len(await rows(harness)) == len(before) - 1
    assert (await harness.row()).desired_source == "HS_CC"
    await run({execute: 0}, tmp_path, given)
    assert {key: decided(row) for key, row in (await rows(harness)).items()} == before
    assert await harness.permissions(lost) == [False]
    await run({"replay rebuild ledger --plan b.json --processes 1": 0}, tmp_path, given)
