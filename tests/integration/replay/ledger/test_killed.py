"""``kill -9`` amid what a replay writes to the ledger; the same command then has the same end."""

import asyncio
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

import pytest

from izin.ledger.db import Ledger
from izin.runtime.settings import KafkaSettings
from tests.integration.replay.ledger.test_rebuild import decided, every_kind, rows
from tests.integration.replay.ledger.test_restore import Site, archived, publish, site
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, until
from tests.support.builders import PHONE

__all__ = ["site"]

pytestmark = [pytest.mark.database, pytest.mark.broker, pytest.mark.timeout(180)]


def environment(kafka: KafkaSettings, url: str) -> Mapping[str, str]:
    """Return the environment of a command in an installation."""
    return {
        **os.environ,
        "DATABASE_URL": url,
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": kafka.topic_prefix,
        "IZIN_PARTITIONS": str(kafka.partitions),
        "IZIN_ACTOR": "ada",
    }


async def started(words: str, folder: Path, given: Mapping[str, str]) -> asyncio.subprocess.Process:
    """Start a command."""
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "izin.cli", *words.split()),
        cwd=folder,
        env=given,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )


async def run(words: str, folder: Path, given: Mapping[str, str], *, code: int = 0) -> None:
    """Run a command to its end."""
    process = await started(words, folder, given)
    _, said = await process.communicate()
    assert process.returncode == code, said.decode()


async def killed(
    words: str,
    folder: Path,
    given: Mapping[str, str],
    ledger: Ledger,
    *,
    at: LiteralString = "LOCK TABLE outbox IN SHARE MODE",
) -> None:
    """Kill a command that waits for the lock which the statement ``at`` takes: nothing of its last
    transaction is committed.
    """

    async def is_alone() -> bool:
        (row,) = await ledger.fetch("SELECT cardinality(living()) AS living")
        return bool(row["living"] == 0)

    async with ledger.session() as blocking:

        async def waits() -> bool:
            return bool(
                await ledger.fetch(
                    "SELECT FROM pg_stat_activity WHERE %(one)s = ANY(pg_blocking_pids(pid))",
                    {"one": blocking.info.backend_pid},
                )
            )

        await blocking.execute("BEGIN")
        await blocking.execute(at)
        process = await started(words, folder, given)
        await until(waits, within=60)
        process.kill()
        await process.communicate()
        await blocking.execute("ROLLBACK")
    # PostgreSQL finds out that the client is gone.
    await until(is_alone, within=30)


async def test_killed_mending_has_the_same_end(
    harness: SinkHarness, kafka_settings: KafkaSettings, database_url: str, tmp_path: Path
) -> None:
    """A row that was lost and one that was changed by hand are mended once: killed as they are
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
    await run("replay rebuild ledger --plan a.json --processes 1", tmp_path, given, code=1)
    execute = "replay run a.json --execute"
    at_history = "LOCK TABLE movements IN SHARE MODE"
    await killed(execute, tmp_path, given, harness.ledger, at=at_history)
    assert len(await rows(harness)) == len(before) - 1
    at_changed = "SELECT FROM consents WHERE desired_source = 'HS_CC' FOR UPDATE"
    await killed(execute, tmp_path, given, harness.ledger, at=at_changed)
    assert len(await rows(harness)) == len(before) - 1
    assert (await harness.row()).desired_source == "HS_CC"
    await run(execute, tmp_path, given)
    assert {key: decided(row) for key, row in (await rows(harness)).items()} == before
    assert await harness.permissions(lost) == [False]
    await run("replay rebuild ledger --plan b.json --processes 1", tmp_path, given)


async def test_killed_restoration_of_a_ledger_has_the_same_end(site: Site, tmp_path: Path) -> None:
    """Killed with a transaction written and not committed: nothing is lost or loaded twice."""
    given = environment(site.kafka, site.settings.database_url.get_secret_value())
    await every_kind(site.harness)
    await archived(site.harness, site.folder)
    await publish(site.harness, site.kafka)
    words = f"ledger restore {site.folder} --no-topic --execute"
    await killed(words, tmp_path, given, site.new.ledger)
    await run(words, tmp_path, given)
    assert {key: decided(row) for key, row in (await rows(site.new)).items()} == {
        key: decided(row) for key, row in (await rows(site.harness)).items()
    }
