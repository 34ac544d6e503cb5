"""``izin ledger backup`` and ``restore-check``, on a PostgreSQL of their own and a real broker."""

import asyncio
import json
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from izin.kafka.clients import ensure_topics
from izin.ledger.db.migrate import migrate
from izin.local import Postgres
from izin.runtime.settings import KafkaSettings
from tests.integration.cli.conftest import Izin
from tests.integration.sinks.sink_harness import kafka_environment, set_environment
from tests.support.archiving_postgres import ArchivingPostgres

pytestmark = [pytest.mark.broker, pytest.mark.database]


@pytest.fixture(params=[ArchivingPostgres, Postgres])
def server(request: pytest.FixtureRequest) -> Iterator[Postgres]:
    """Yield a server that archives its WAL, and one that does not."""
    with tempfile.TemporaryDirectory(prefix="izin-") as name, request.param(Path(name)) as one:
        yield one


def test_backup_is_taken_checked_and_on_record(
    server: Postgres, izin: Izin, kafka: str, topic_prefix: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 1 where nothing behind it could be restored; who took it is in the history."""
    settings = KafkaSettings(bootstrap_servers=kafka, topic_prefix=topic_prefix, partitions=2)
    ensure_topics(settings)
    asyncio.run(migrate(server.url))
    given = {**kafka_environment(settings), "DATABASE_URL": server.url}
    set_environment(monkeypatch, given)
    folder = server.log.with_name("backups")
    taken = izin("ledger", "backup", str(folder), "--by", "ada", "--output", "json")
    facts = json.loads(taken.stdout)
    archives = isinstance(server, ArchivingPostgres)
    assert (taken.exit_code, facts["archives"]) == (0 if archives else 1, archives)
    checked = izin("ledger", "restore-check", facts["backup"], "--output", "json")
    assert checked.exit_code == 0, checked.stderr
    found = json.loads(checked.stdout)
    assert (found["decisions_to_read_again"], found["decisions_gone"]) == (0, 0)
    verified = izin("ledger", "verify", "--output", "json")
    assert json.loads(verified.stdout)["rows"] == found["rows"] + 1
    (folder / "empty").mkdir()
    refused = izin("ledger", "restore-check", str(folder / "empty"))
    assert (refused.exit_code, "no base backup" in refused.stderr) == (4, True)
