"""The simulator's SQLite database: a file, or memory. One connection, one writer, no waiting.

A file is in WAL mode and synced at checkpoints: what was answered survives the end of the process,
and a power failure loses at most the last moments. Statements are in `statements.sql`, by name.
"""

import contextlib
import re
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

_HERE = Path(__file__).parent
_NAMED = re.compile(r"^-- name: (\w+)\n", re.MULTILINE)
_COMMENT = re.compile(r"^--.*\n", re.MULTILINE)
_INCLUDE = re.compile(r"\{(\w+)\}")
_CACHE_KIB = 256 * 1024
_TABLES = ("movements", "origins", "records", "access", "counts", "batches", "v2_responses")

Row = tuple[Any, ...]


class Database:
    """Runs named statements, each by itself or several in one transaction."""

    def __init__(self, path: Path | None = None) -> None:
        """Open the file at `path` and create missing tables; None is memory."""
        # A server may run in another thread than the one that opened the file, but in only one.
        self._connection = sqlite3.connect(
            path or ":memory:", isolation_level=None, cached_statements=256, check_same_thread=False
        )
        self._depth = 0
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.execute("PRAGMA synchronous = NORMAL")
        self._connection.execute("PRAGMA temp_store = MEMORY")
        self._connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
        self._connection.executescript((_HERE / "schema.sql").read_text(encoding="utf-8"))

    def run(self, name: str, *values: object) -> sqlite3.Cursor:
        """Run one statement."""
        return self._connection.execute(statements()[name], values)

    def run_many(self, name: str, rows: Sequence[Sequence[object]]) -> None:
        """Run one statement for each of `rows`."""
        self._connection.executemany(statements()[name], rows)

    def rows(self, name: str, *values: object) -> list[Row]:
        """Return all rows of a statement."""
        return self._connection.execute(statements()[name], values).fetchall()

    def row(self, name: str, *values: object) -> Row | None:
        """Return the first row of a statement, if there is one."""
        found: Row | None = self._connection.execute(statements()[name], values).fetchone()
        return found

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Run the block in one transaction; a nested one joins the outermost."""
        if self._depth:
            yield
            return
        self._depth += 1
        self._connection.execute("BEGIN")
        try:
            yield
        except BaseException:
            self._connection.execute("ROLLBACK")
            raise
        else:
            self._connection.execute("COMMIT")
        finally:
            self._depth -= 1

    def empty(self) -> None:
        """Delete movements, records and batches; documents stay."""
        with self.transaction():
            for table in _TABLES:
                self._connection.execute(f"DELETE FROM {table}")  # noqa: S608 - constant names

    def close(self) -> None:
        """Close the file and merge its WAL."""
        self._connection.close()


@lru_cache(maxsize=1)
def statements() -> Mapping[str, str]:
    """Return the statements of `statements.sql` by name."""
    _, *parts = _NAMED.split((_HERE / "statements.sql").read_text(encoding="utf-8"))
    raw = dict(zip(parts[::2], parts[1::2], strict=True))
    bare = {name: _COMMENT.sub("", text).strip() for name, text in raw.items()}
    return {
        name: _INCLUDE.sub(lambda include: bare[include[1]], text) for name, text in bare.items()
    }
