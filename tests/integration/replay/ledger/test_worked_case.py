"""The commands: a damaged row, and the worked case of a lost ledger as the documentation has it.

``kill -9`` amid what a replay writes to the ledger; the same command then has the same end.
"""

import asyncio
import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import LiteralString

import pytest

from izin.ledger.db import Ledger
from izin.runtime.settings import KafkaSettings, LedgerSettings
from tests.integration.ledger.test_history import anchor_writer
from tests.integration.replay.ledger.test_rebuild import decided, every_kind, rows
from tests.integration.replay.ledger.test_restore import Site, publish, site
from tests.integration.sinks.sink_harness import SinkHarness, a_phone, until
from tests.support.builders import CUSTOMER, PHONE

__all__ = ["site"]

pytestmark = [pytest.mark.database, pytest.mark.broker]

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
        "KAFKA_BOOTSTRAP_SERVERS": kafka.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": kafka.topic_prefix,
        "IZIN_PARTITIONS": str(kafka.partitions),
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


@pytest.mark.timeout(180)
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
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "izin.cli", *words.split()),
            cwd=folder,
            env=given,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await until(waits, within=60)
        process.kill()
        await process.wait()
        await blocking.execute("ROLLBACK")
    # PostgreSQL finds out that the client is gone.
    await until(is_alone, within=30)


@pytest.mark.timeout(180)
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
