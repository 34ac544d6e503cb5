"""Drills about the ledger: its disk is lost and it is restored to a moment, and a standby takes
over.
"""

import asyncio
import os
import shutil
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import psycopg
from psycopg.conninfo import conninfo_to_dict

from izin.consent import Status
from izin.kafka.bounded_reader import read_all
from izin.ledger import offsets
from izin.ledger.record import LedgerUnavailableError
from izin.local import Postgres, free_port
from izin.local.backups import Moment
from izin.local.postgres import postgres_programs, server_owner
from izin.schemas.codec import Codec
from izin.stack.scenario import LedgerView
from tests.chaos.drill.site import Drill, DrillVerdict
from tests.support.archiving_postgres import ArchivingPostgres

_ACTED = 15.0
"""Seconds for which recipients act, before the moment and after it."""
_SWITCHED = 2.0


@dataclass(slots=True, kw_only=True)
class RestoreToMoment(Drill):
    """The database's disk is gone: it is restored to a moment before, from backup and WAL."""

    database = ArchivingPostgres

    async def run(self) -> DrillVerdict:
        """See the class."""
        backup, server = self.servers.folder / "backup", self.servers.database
        assert isinstance(server, ArchivingPostgres)
        async with self.running() as running:
            await asyncio.to_thread(self.izin, "ledger", "backup", str(backup))
            await self.act(_ACTED)
            await self.settled()
            moment = datetime.now(UTC)
            await self.act(_ACTED)
            await self.settled()
            before = await self.digest()
            await asyncio.sleep(_SWITCHED)
            running.kill()
            published = self._permissions()
            server.kill()
            began = time.monotonic()
            checked = ("--wal", str(server.wal), "--until", moment.isoformat())
            (copy,) = backup.iterdir()
            await asyncio.to_thread(self.izin, "ledger", "restore-check", str(copy), *checked)
            await asyncio.to_thread(restore, copy, server, moment)
            running.start()
            await self.settled()
            after = await self.digest()
            verdict = await self.judge(began, again=self._given_again(published))
            if before != after:
                verdict.lost.append(f"the ledger's digest is {after}, not {before}")
            return verdict

    def is_settled(self, view: LedgerView) -> bool:
        """Whether it has caught up, too."""
        # A class with slots is made anew, so it has no super().
        return asyncio.run(self._is_released()) and Drill.is_settled(self, view)

    async def _is_released(self) -> bool:
        with suppress(LedgerUnavailableError):
            async with self.ledger() as ledger:
                return await offsets.held(ledger) is None
        return False

    def _permissions(self) -> list[tuple[str, bool]]:
        topic = self.settings.topics.permissions
        found = read_all(self.settings, Codec(), topic)
        return [(one.key, one.value["may_send"]) for one in found]

    def _given_again(self, published: list[tuple[str, bool]]) -> set[str]:
        """Return the keys whose last act is an opt-out, and that were permitted behind what was
        ``published`` before the disaster.
        """
        since = self._permissions()
        counts = {key: 0 for key, _ in since}
        for key, _ in published:
            counts[key] += 1
        seen, again = dict.fromkeys(counts, 0), set[str]()
        for key, may_send in since:
            seen[key] += 1
            if may_send and seen[key] > counts[key]:
                again.add(key)
        return {key for key in again if self.traffic.latest(key).status is Status.RET}


def restore(backup: Path, server: ArchivingPostgres, moment: datetime) -> None:
    """Restore a server that does not run, as docs/restoring.md says."""
    data = server.log.parent / "data"
    shutil.rmtree(data)
    shutil.copytree(backup, data)
    (data / "recovery.signal").touch()
    with (data / "postgresql.auto.conf").open("a") as settings:
        for name, value in Moment(server.wal, moment).settings().items():
            settings.write(f"{name} = '{value}'\n")
    if (owner := server_owner()) is not None:
        for path in (data, *data.rglob("*")):
            os.chown(path, *owner)
    data.chmod(0o700)
    server.start()


class Standby(Postgres):
    """A copy of a server that follows it."""

    folder = "standby"

    def follow(self, primary: Postgres) -> None:
        """Copy the ``primary``, and start behind it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._write_password(primary.log.with_name("password").read_text())
        given = conninfo_to_dict(primary.url_of_server)
        subprocess.run(
            [
                *(
                    postgres_programs() / "pg_basebackup",
                    "--pgdata",
                    self._data,
                    "--write-recovery-conf",
                ),
                *("--checkpoint=fast", "--host", str(given["host"]), "--port", str(given["port"])),
                *("--username", str(given["user"])),
            ],
            env={**os.environ, "PGPASSWORD": str(given["password"]), "PGAPPNAME": "standby"},
            check=True,
            capture_output=True,
        )
        if (owner := server_owner()) is not None:
            for path in (self._data, *self._data.rglob("*")):
                os.chown(path, *owner)
        self.start()

    def _initialize(self) -> None:
        """Create nothing: the primary has it."""


@dataclass(slots=True, kw_only=True)
class StandbyPromoted(Drill):
    """The database dies by SIGKILL, and its synchronous standby is promoted."""

    async def run(self) -> DrillVerdict:
        """See the class."""
        primary = self.servers.database
        assert primary is not None
        standby = Standby(self.servers.folder, port=(port := free_port()))
        both = f"{primary.address},127.0.0.1:{port}"
        url = primary.url.replace(primary.address, both) + "?target_session_attrs=read-write"
        self.servers = replace(self.servers, database_url=url)
        async with self.running(database_url=url):
            await asyncio.to_thread(standby.follow, primary)
            try:
                await asyncio.to_thread(self._make_synchronous, primary)
                acting = asyncio.create_task(self.act(2 * _ACTED))
                await asyncio.sleep(_ACTED)
                began = time.monotonic()
                await asyncio.to_thread(primary.kill)
                with psycopg.connect(standby.url_of_server, autocommit=True) as connection:
                    connection.execute("SELECT pg_promote()")
                    connection.execute("ALTER SYSTEM SET synchronous_standby_names = ''")
                    connection.execute("SELECT pg_reload_conf()")
                await acting
                await self.settled()
                return await self.judge(began)
            finally:
                standby.stop()

    def _make_synchronous(self, primary: Postgres) -> None:
        with psycopg.connect(primary.url_of_server, autocommit=True) as connection:
            connection.execute("ALTER SYSTEM SET synchronous_standby_names = 'standby'")
            connection.execute("SELECT pg_reload_conf()")
            end = time.monotonic() + _ACTED
            while time.monotonic() < end:
                row = connection.execute("SELECT sync_state FROM pg_stat_replication").fetchone()
                if row is not None and row[0] == "sync":
                    return
                time.sleep(0.1)
        raise AssertionError("the standby is not synchronous")
