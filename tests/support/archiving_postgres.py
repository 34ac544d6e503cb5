"""A PostgreSQL that archives its WAL, as one does from which any moment can be restored."""

import os
from collections.abc import Mapping
from pathlib import Path

from izin.local import Postgres
from izin.local.postgres import server_owner


class ArchivingPostgres(Postgres):
    """A server that archives its WAL, beside its data."""

    @property
    def wal(self) -> Path:
        """The folder of the archive."""
        return self._folder / "wal"

    def _settings(self, port: int) -> Mapping[str, object]:
        self.wal.mkdir(exist_ok=True)
        if (owner := server_owner()) is not None:
            os.chown(self.wal, *owner)
        return {
            **super()._settings(port),
            "archive_mode": "on",
            "archive_command": f"test ! -f {self.wal}/%f && cp %p {self.wal}/%f",
            "archive_timeout": 1,
        }
