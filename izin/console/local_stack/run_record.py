"""What a local stack remembers from run to run: its credentials, its ports, and whose servers.

With them the settings of one run fit the next, and so do the data.
"""

import secrets
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Self

from pydantic import TypeAdapter

from izin.console.local_stack.settings import Ports, StackCredentials
from izin.local.ports import free_port, is_free


def _name() -> str:
    return secrets.token_hex(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One stack's own record; it is stored beside its data, readable by the owner only."""

    given: Mapping[str, str] = field(default_factory=dict, repr=False)
    """The caller's own servers that have the data, by their settings."""
    name: str = field(default_factory=_name)
    """Distinguishes this stack's topics and ledger on the caller's own servers."""
    ports: Ports = field(default_factory=Ports)
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

    def ports_for(self, asked: Ports) -> Ports:
        """Return ``asked``; where it says any port, the one of the last run, or else a free one."""
        before = asdict(self.ports)
        chosen = {
            part: before[part] if before[part] and is_free(before[part]) else free_port()
            for part, port in asdict(asked).items()
            if port is None
        }
        return replace(asked, **chosen)
