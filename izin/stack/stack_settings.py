"""What a local stack runs (ports, delays of İYS, two example brands), and the folder that keeps it.

The folder is locked against other runs. Its record has credentials, ports, and whose servers have
the data: with them the settings of one run fit the next.
"""

import os
import secrets
import shutil
from base64 import b64encode
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Self

from pydantic import TypeAdapter

from izin.ledger.record import Brand
from izin.local import LocalError
from izin.local.reservations import FolderLock, free_port, is_free
from izin.schemas.api_keys import new_api_key, new_family

ACTIVE = 100001
LOADING = 100002
CUSTOMER = "acme"

_LOADING_TIME = timedelta(days=30)

PORTS: Mapping[str, int] = MappingProxyType(
    {
        "kafka": 19092,
        "postgres": 15432,
        "registry": 18080,
        "intake": 8081,
        "intake-operations": 8091,
        "feeds": 8084,
        "feeds-operations": 8094,
        "gate": 8087,
        "gate-operations": 8097,
        "sink": 8082,
        "sink-operations": 8092,
        "webhooks": 8086,
        "webhooks-operations": 8096,
        "api": 8088,
        "api-operations": 8098,
        "console": 8090,
        "console-operations": 8100,
        "order": 8083,
        "simulator": 8085,
    }
)
"""Where each part of ``izin up`` listens on 127.0.0.1 unless another port is asked for: servers,
and our processes with their listeners for operators."""
_VARIABLES = {
    "intake": "IZIN_INTAKE",
    "feeds": "IZIN_FEEDS",
    "gate": "IZIN_GATE",
    "sink": "IZIN_SINK",
    "webhooks": "IZIN_WEBHOOK",
    "api": "IZIN_API",
    "console": "IZIN_CONSOLE",
    "order": "IZIN_STREAM",
}
"""What the variables of each process of ours begin with."""
_MARKER = ".izin-local-stack"
"""Only in a folder that has this file is anything ever removed."""
_LOCK = "lock"
_RECORD = "run.json"
_SIMULATOR = "simulator"
UPLOADS = "uploads"
_RUN_FILES = (
    *("kafka", "postgres", "registry", _SIMULATOR, "logs", UPLOADS, "environment"),
    _RECORD,
)
"""What a run leaves in its folder, and a fresh one removes. The record is the last."""
_ASIDE = "before"
"""Where what an earlier run left is, until a run without it has started."""
_AT_ONCE = timedelta()
_PREDECESSOR_GONE_WITHIN = timedelta(seconds=15)


def port_settings(ports: Mapping[str, int]) -> dict[str, str]:
    """Return the settings of our processes that say where they listen."""
    return {
        f"{variable}{suffix.upper().replace('-', '_')}_PORT": str(ports[f"{part}{suffix}"])
        for part, variable in _VARIABLES.items()
        for suffix in ("", "-operations")
        if f"{part}{suffix}" in ports
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Delays:
    """İYS's delays, which the simulator and our sink both use."""

    result: timedelta = timedelta(seconds=2)
    hidden: timedelta = timedelta(seconds=2)
    pull: timedelta = timedelta(seconds=5)
    """How often we pull (ours, not İYS's)."""


def example_brands() -> tuple[Brand, ...]:
    """Return two brands: one long active, which İYS pushes, and one in first loading, with thirty
    days left, which must be pulled.
    """
    active = Brand(
        brand_code=ACTIVE,
        iys_code=ACTIVE,
        customer_id=CUSTOMER,
        name="Örnek Aktif",
        activated_at=datetime(2020, 1, 1, tzinfo=UTC),
        loading_deadline=None,
    )
    loading = replace(
        active,
        brand_code=LOADING,
        name="Örnek Yükleme",
        activated_at=None,
        loading_deadline=datetime.now(UTC) + _LOADING_TIME,
    )
    return active, loading


def _api_key() -> str:
    key, _ = new_api_key(new_family(secrets.token_bytes), secrets.token_bytes)
    return key


@dataclass(frozen=True, slots=True, kw_only=True)
class StackCredentials:
    """Credentials of one run, known to its processes only."""

    username: str = "izin-local"
    password: str = field(default_factory=partial(secrets.token_urlsafe, 16), repr=False)
    push_password: str = field(default_factory=partial(secrets.token_urlsafe, 16), repr=False)
    suppression_secret: str = field(default_factory=partial(secrets.token_urlsafe, 32), repr=False)
    secret_key: str = field(
        default_factory=lambda: b64encode(secrets.token_bytes(32)).decode(), repr=False
    )
    api_key: str = field(default_factory=_api_key, repr=False)
    """Of the intake, the feeds, the gate and the API."""
    synthetic_key: str = field(default_factory=_api_key, repr=False)
    """By which the API watches whether opt-outs flow."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One stack's own record; it is stored beside its data, readable by the owner only."""

    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The caller's own servers that have the data, by their settings."""
    name: str = field(default_factory=partial(secrets.token_hex, 3))
    """Distinguishes this stack's topics and ledger on the caller's own servers."""
    ports: Mapping[str, int] = field(default_factory=dict)
    credentials: StackCredentials = field(default_factory=StackCredentials)

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Return the record in a file, None where there is no such file."""
        try:
            return TypeAdapter(cls).validate_json(path.read_bytes())
        except FileNotFoundError:
            return None

    def write(self, path: Path) -> None:
        """Write the record into a file that only the owner may read."""
        path.touch(mode=0o600)
        path.write_bytes(TypeAdapter(type(self)).dump_json(self))

    def ports_for(self, asked: Mapping[str, int]) -> dict[str, int]:
        """Return the port of every part as it is ``asked`` for; else that of the last run where it
        is free, else any.
        """
        before = self.ports
        return {
            part: asked.get(part)
            or (before[part] if part in before and is_free(before[part]) else free_port())
            for part in PORTS
        }


class StateFolder:
    """The folder ``path`` of a stack."""

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._lock = FolderLock(self.path, within=_AT_ONCE)
        self._aside = self.path / _ASIDE

    @property
    def simulator_state(self) -> Path:
        """The file of the simulator's register."""
        return self.path / _SIMULATOR / "state.sqlite"

    def record(self) -> RunRecord | None:
        """Return the record of an earlier run; None: nothing here can be continued."""
        return RunRecord.read(self.path / _RECORD)

    def claim(
        self, record: RunRecord, on_progress: Callable[[str], None], *, fresh: bool = False
    ) -> None:
        """Lock the folder and write ``record``.

        With ``fresh``, or where no run left a record, set aside what earlier runs left there, and
        nothing else: it is removed once this run has started (``succeeded``), and put back where it
        does not (``release``).

        Raises:
            LocalError: It has files that izin did not create, or another run uses it.
        """
        folder, marker = self.path, self.path / _MARKER
        if folder.exists() and not marker.exists() and any(folder.iterdir()):
            raise LocalError(
                f"{folder} has files that izin did not create, and a run starts in an empty "
                "folder; name another, which need not exist, with --state-dir"
            )
        # Topics, ledger and logs have recipients: what is made here is its owner's alone.
        os.umask(0o077)
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
        marker.touch()
        self._lock.acquire()
        if not fresh:
            self._put_back()
        if not fresh and self.record() is not None:
            on_progress(f"continuing with what {folder} has")
        else:
            self._set_aside(on_progress)
        self.simulator_state.parent.mkdir(exist_ok=True)
        record.write(folder / _RECORD)

    def succeeded(self) -> None:
        """Remove what was set aside: this run has started without it."""
        shutil.rmtree(self._aside, ignore_errors=True)

    def release(self) -> None:
        """Put back what was set aside and is still there, and release the lock."""
        if self._lock.is_held:
            self._put_back()
        self._lock.release()

    def _set_aside(self, on_progress: Callable[[str], None]) -> None:
        old = [self.path / name for name in _RUN_FILES if (self.path / name).exists()]
        if not old:
            return
        on_progress(f"removing ledger, topics, logs and simulated İYS in {self.path}")
        shutil.rmtree(self._aside, ignore_errors=True)
        self._aside.mkdir()
        for path in old:
            if (path / _LOCK).exists():
                # After a kill -9 a server of that run may still be ending.
                with FolderLock(path, within=_PREDECESSOR_GONE_WITHIN):
                    pass
            path.rename(self._aside / path.name)

    def _put_back(self) -> None:
        if not self._aside.exists():
            return
        for path in [self.path / name for name in _RUN_FILES]:
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
        # The record is the last here too: without it nothing can be continued.
        for name in _RUN_FILES:
            if (self._aside / name).exists():
                (self._aside / name).rename(self.path / name)
        self._aside.rmdir()
