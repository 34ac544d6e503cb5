"""Base backups of a PostgreSQL server, and a server on one: by PostgreSQL's own programs.

A backup is complete, or absent: it is written under another name, and gets its own once every file
is as its manifest says. A server on a backup works on a copy,
listens on a socket in a folder of its own, and archives nothing.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from hashlib import file_digest, sha256
from pathlib import Path
from typing import NamedTuple
from urllib.parse import quote

import psycopg
from psycopg.conninfo import conninfo_to_dict

from izin.local.errors import LocalError
from izin.local.postgres import Postgres, postgres_programs

_BACKUP, _SERVER = "pg_basebackup", "postgres"
_PROGRESS = re.compile(r"(\d+)/(\d+) kB")
_TAIL = 2000
"""Characters of what a program wrote, from its end."""
_HBA = "local all all trust\n"
"""Whoever may enter the socket's folder, which is its owner."""


def backup_programs(folder: Path | None) -> Path:
    """Return the folder of PostgreSQL's programs: ``folder``, that on the PATH, or the wheel's.

    Raises:
        LocalError: ``folder`` lacks one of them.
        PackageMissingError: there are none.
    """
    if folder is None:
        found = shutil.which(_BACKUP)
        beside = None if found is None else Path(found).resolve().parent
        return beside if beside and (beside / _SERVER).exists() else postgres_programs()
    for name in (_BACKUP, _SERVER):
        if not (folder / name).exists():
            raise LocalError(f"{folder} has no {name}: name the folder of PostgreSQL's programs")
    return folder


def take_backup(url: str, folder: Path, programs: Path, report: Callable[[int, int], None]) -> Path:
    """Back up the server of ``url`` into a new folder in ``folder``; return it. ``report`` gets how
    many KiB of how many were written.

    Raises:
        LocalError: a program failed; in its words.
    """
    given = conninfo_to_dict(url)
    name = datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    partial, whole = folder / f"{name}.partial", folder / name
    folder.mkdir(parents=True, exist_ok=True)
    password = {"PGPASSWORD": str(given.pop("password"))} if "password" in given else {}
    argv = [
        *(str(programs / _BACKUP), f"--pgdata={partial}", "--checkpoint=fast", "--progress"),
        *("--manifest-checksums=SHA256", "--no-password"),
        "--dbname=" + psycopg.conninfo.make_conninfo("", **given),
    ]
    with subprocess.Popen(  # noqa: S603 - PostgreSQL's own program
        argv, env={**os.environ, **password}, stderr=subprocess.PIPE, text=True
    ) as running:
        written = ""
        for line in running.stderr or ():
            if progress := _PROGRESS.search(line):
                report(int(progress[1]), int(progress[2]))
            else:
                written = (written + line)[-_TAIL:]
    if running.returncode:
        shutil.rmtree(partial, ignore_errors=True)
        raise LocalError(
            f"{_BACKUP} failed: {written.strip()} (its login needs REPLICATION, and pg_hba.conf a "
            "line for replication)"
        )
    verify_backup(partial)
    return partial.rename(whole)


def verify_backup(backup: Path) -> None:
    """Compare every file of ``backup`` with its manifest, as ``pg_verifybackup`` does.

    Raises:
        LocalError: one is missing, or was changed; or it is no backup of ours.
    """
    try:
        manifest = (backup / "backup_manifest").read_bytes()
        described = json.loads(manifest)
        # Its checksum is of every line before the last one.
        lines = manifest[: manifest.rindex(b'"Manifest-Checksum"')]
        is_whole = sha256(lines).hexdigest() == described["Manifest-Checksum"]
        files = {one["Path"]: one["Checksum"] for one in described["Files"]}
    except (OSError, ValueError, KeyError) as error:
        raise LocalError(f"{backup} is no base backup with SHA-256 checksums: {error}") from error
    if not is_whole:
        raise LocalError(f"{backup} is damaged: backup_manifest was changed")
    for name, checksum in files.items():
        file = backup / name
        if not file.is_file() or _digest(file) != checksum:
            raise LocalError(f"{backup} is damaged: {name} is missing, or was changed")


def _digest(file: Path) -> str:
    with file.open("rb") as opened:
        return file_digest(opened, "sha256").hexdigest()


class Moment(NamedTuple):
    """To when a server recovers: from the archive ``wal``, to ``until`` or its end; without an
    archive, to the end of the backup.
    """

    wal: Path | None = None
    until: datetime | None = None

    def settings(self) -> Mapping[str, str]:
        """Return PostgreSQL's settings for it, beside a file ``recovery.signal``."""
        command = "false" if self.wal is None else f'cp "{self.wal}/%f" "%p"'
        made = {"restore_command": command, "recovery_target_action": "promote"}
        return made if self.until is None else {**made, "recovery_target_time": str(self.until)}


class RestoredPostgres(Postgres):
    """A server on a copy of ``backup``, recovered to ``moment``.

    Its data is in ``state_dir``, which whoever runs it removes. It has the database and the user of
    ``url``; who may log in is said by its socket's folder alone.
    """

    name = "the restored PostgreSQL"
    folder = "restored"
    _ready_within = timedelta(hours=12)

    def __init__(
        self,
        state_dir: Path,
        backup: Path,
        programs: Path,
        url: str,
        moment: Moment,
    ) -> None:
        super().__init__(state_dir)
        self._backup, self._moment = backup, moment
        self._given = conninfo_to_dict(url)
        self._found = programs

    @property
    def url(self) -> str:
        """How the database is reached. Raises RuntimeError before the start."""
        user, name = (quote(str(self._given[one]), safe="") for one in ("user", "dbname"))
        port = self.address.rpartition(":")[2]
        return f"postgresql://{user}@/{name}?host={quote(str(self._socket))}&port={port}"

    def _programs(self) -> Path:
        return self._found

    def _settings(self, port: int) -> Mapping[str, object]:
        return {
            **super()._settings(port),
            **self._moment.settings(),
            "listen_addresses": "",
            "unix_socket_directories": self._socket,
            "hba_file": self._folder / "pg_hba.conf",
            "archive_mode": "off",
            "hot_standby": "off",
            "ssl": "off",
            "synchronous_standby_names": "",
            "primary_conninfo": "",
        }

    def _create_data(self, programs: Path, owner: tuple[int, int] | None) -> None:
        del programs
        self._socket.mkdir(mode=0o700)
        shutil.copytree(self._backup, self._data)
        (self._data / "recovery.signal").touch()
        (self._data / "postgresql.conf").touch()
        (self._folder / "pg_hba.conf").write_text(_HBA)
        for path in (self._socket, self._data, *self._data.rglob("*")):
            if owner is not None:
                os.chown(path, *owner)
        self._data.chmod(0o700)

    @property
    def _socket(self) -> Path:
        return self._folder / "s"  # a socket's path has room for 107 characters

    def _initialize(self) -> None:
        """Create nothing: the backup has it."""

    def _answers(self) -> bool:
        try:
            with psycopg.connect(self.url):  # as soon as it has recovered
                return True
        except psycopg.OperationalError:
            return False
