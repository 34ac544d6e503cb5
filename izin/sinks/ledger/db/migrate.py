"""Migrations of the ledger: numbered files, applied in order, each once, under one lock.

A file that has run must never change: its digest is stored, and a difference is an error.
"""

import hashlib
from dataclasses import dataclass
from importlib import resources

import psycopg
from psycopg import AsyncConnection

from izin.sinks.ledger.db.queries import statements
from izin.sinks.record.errors import MigrationError

FOLDER = resources.files("izin.sinks.ledger") / "migrations"
_SQL = statements("migrate")


@dataclass(frozen=True, slots=True, kw_only=True)
class Migration:
    """One numbered file."""

    name: str
    text: str

    @property
    def digest(self) -> str:
        """The SHA-256 of the text."""
        return hashlib.sha256(self.text.encode()).hexdigest()


def migrations() -> tuple[Migration, ...]:
    """Return every migration of this release, in order."""
    return tuple(
        Migration(name=path.name.removesuffix(".sql"), text=path.read_text("utf-8"))
        for path in sorted(FOLDER.iterdir(), key=lambda one: one.name)
        if path.name.endswith(".sql")
    )


async def migrate(url: str) -> tuple[str, ...]:
    """Bring the ledger at ``url`` up to this release; return the names of what was applied."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        await connection.execute(_SQL["lock"])
        await connection.execute(_SQL["create-table"])
        missing = await _missing(connection)
        for one in missing:
            # A migration comes from a file of this package, never from input.
            await connection.execute(one.text)
            await connection.execute(_SQL["add"], {"name": one.name, "digest": one.digest})
    return tuple(one.name for one in missing)


async def pending(url: str) -> tuple[str, ...]:
    """Return the names of the migrations that the ledger at ``url`` still lacks."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        found = await (await connection.execute(_SQL["has-table"])).fetchone()
        if found is None or found[0] is None:
            return tuple(one.name for one in migrations())
        return tuple(one.name for one in await _missing(connection))


async def _missing(connection: AsyncConnection) -> list[Migration]:
    rows = await (await connection.execute(_SQL["applied"])).fetchall()
    applied = {str(name): str(digest) for name, digest in rows}
    known = {one.name: one for one in migrations()}
    for name, digest in applied.items():
        if name not in known:
            raise MigrationError(f"the ledger has run {name}, which this release does not know")
        if known[name].digest != digest:
            raise MigrationError(f"migration {name} was changed after the ledger ran it")
    return [one for one in known.values() if one.name not in applied]
