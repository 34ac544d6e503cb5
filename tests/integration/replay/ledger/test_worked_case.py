"""The commands: a damaged row, and the worked case of a lost ledger as the documentation has it."""

import asyncio
import json
import os
import sys
from pathlib import Path

import pytest

from izin.runtime.settings import LedgerSettings
from tests.integration.ledger.test_history import anchor_writer
from tests.integration.replay.ledger.test_rebuild import decided, every_kind, rows
from tests.integration.replay.ledger.test_restore import Site, publish, site
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


async def run(commands: dict[str, int], folder: Path, **environment: str) -> str:
    """Run commands, one after the other in one process, check their exit codes, and return what
    they print.
    """
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", RUN),
        cwd=folder,
        env={**os.environ, **environment},
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
    damaged before is mended, and no output names a recipient.
    """
    kafka = {
        "KAFKA_BOOTSTRAP_SERVERS": site.kafka.bootstrap_servers,
        "IZIN_TOPIC_PREFIX": site.kafka.topic_prefix,
        "IZIN_PARTITIONS": str(site.kafka.partitions),
        "IZIN_ACTOR": "ada",
    }
    await every_kind(site.harness)
    await publish(site.harness, site.kafka)
    before = {key: decided(row) for key, row in (await rows(site.harness)).items()}
    await site.harness.ledger.fetch(
        "UPDATE consents SET desired_source = 'HS_CC' WHERE recipient = %(one)s RETURNING key",
        {"one": PHONE},
    )
    printed = await run(A_DAMAGED_ROW, tmp_path, DATABASE_URL=database_url, **kafka)
    assert "HS_CC" in printed
    assert PHONE not in printed
    await anchor_writer(site.harness.ledger, tmp_path / "anchors.jsonl").anchor()
    await run(EVERY_NIGHT, tmp_path, DATABASE_URL=database_url, **kafka)
    new = new_settings.database_url.get_secret_value()
    await run(AFTER_THE_LOSS, tmp_path, DATABASE_URL=new, **kafka)
    assert {key: decided(row) for key, row in (await rows(site.new)).items()} == before
    assert await site.new.suspensions() == ()
    assert not await site.new.bulk()
    assert await site.new.query()
