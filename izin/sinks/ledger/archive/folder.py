"""The folder of an archive: files of rows, a copy of the registry, and the list of both.

A file has the rows of one chain and one month, in order. The list has for each file its digest, and
the links before and after it, so that the chains are verified from file to file. Files are private:
they name recipients.
"""

import gzip
import hashlib
import os
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import orjson

from izin.sinks.ledger.archive.rows import ArchivedRow, rows_of
from izin.sinks.record.errors import UnreadableArchiveError

FORMAT = 1
LIST, REGISTRY = "archive.json", "registry.json"
_LEVEL = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivedFile:
    """A file of rows."""

    month: str
    """As ``2026-03``."""
    shard: int
    first: int
    last: int
    link_before: str
    link: str
    """Of its last row, in hexadecimal digits as the other."""
    sha256: str

    @property
    def name(self) -> str:
        """Its path in the folder."""
        return f"{self.month}/{self.shard:02}-{self.first:012}-{self.last:012}.copy.gz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Archive:
    """An archive in a folder, as its list says."""

    folder: Path
    files: Mapping[tuple[int, int], ArchivedFile] = field(default_factory=dict)
    """By shard and first place."""
    erased_up_to: Mapping[int, int] = field(default_factory=dict)
    """By shard: up to which place acts of erasure were followed here."""
    registry: str | None = None
    """SHA-256 of the copy of the registry."""
    customer_id: str | None = None
    """Whose rows it has: of those of others only the places on their chains; None: everybody's."""

    @classmethod
    def read(cls, folder: Path) -> Self:
        """Return the archive in ``folder``; a new one where there is none yet.

        Raises:
            UnreadableArchiveError: its list is none, or of another release.
        """
        try:
            values = orjson.loads((folder / LIST).read_bytes())
        except FileNotFoundError:
            return cls(folder=folder)
        except orjson.JSONDecodeError as error:
            raise UnreadableArchiveError(f"{LIST} is no list of an archive") from error
        if not isinstance(values, dict) or values.get("format") != FORMAT:
            raise UnreadableArchiveError(f"{LIST} is of another release")
        files = [ArchivedFile(**one) for one in values["files"]]
        return cls(
            folder=folder,
            files={(one.shard, one.first): one for one in files},
            erased_up_to={int(shard): place for shard, place in values["erased_up_to"].items()},
            registry=values["registry"],
            customer_id=values.get("customer_id"),
        )

    def of(self, customer_id: str | None) -> Self:
        """Return the archive as that of a customer, or None: of everybody.

        Raises:
            UnreadableArchiveError: it is another's, and has files.
        """
        if self.files and self.customer_id != customer_id:
            whose = "everybody" if self.customer_id is None else f"customer {self.customer_id}"
            raise UnreadableArchiveError(
                f"{self.folder} has the archive of {whose}, and no other can be made of it"
            )
        return replace(self, customer_id=customer_id)

    @property
    def ends(self) -> dict[int, ArchivedFile]:
        """The last file of each chain."""
        return {shard: self.files[shard, first] for shard, first in sorted(self.files)}

    @property
    def digest(self) -> str:
        """SHA-256 of the list, which has the digests of everything else."""
        return hashlib.sha256(self._list()).hexdigest()

    def in_order(self) -> Iterator[ArchivedFile]:
        """Yield the files, month by month, each chain in order."""
        yield from sorted(self.files.values(), key=lambda one: (one.month, one.shard, one.first))

    def with_file(self, one: ArchivedFile) -> Self:
        """Return the archive with ``one`` in place of the file that begins at the same row."""
        return replace(self, files={**self.files, (one.shard, one.first): one})

    def without(self, gone: ArchivedFile) -> Self:
        """Return the archive without a file."""
        files = {place: one for place, one in self.files.items() if one is not gone}
        return replace(self, files=files)

    def write_rows(self, one: ArchivedFile, text: bytes) -> ArchivedFile:
        """Write the rows of ``one``; return it with their digest."""
        packed = gzip.compress(text, _LEVEL, mtime=0)
        write_private(self.folder / one.name, packed)
        return replace(one, sha256=hashlib.sha256(packed).hexdigest())

    def read_rows(self, one: ArchivedFile) -> tuple[bytes, bool]:
        """Return the COPY in a file, and whether the file is as it was written.

        Raises:
            UnreadableArchiveError: it is gone, or cannot be unpacked.
        """
        try:
            packed = (self.folder / one.name).read_bytes()
            text = gzip.decompress(packed)
        except (OSError, EOFError, zlib.error) as error:
            raise UnreadableArchiveError(f"{one.name} is gone or damaged") from error
        return text, hashlib.sha256(packed).hexdigest() == one.sha256

    def rows(self, one: ArchivedFile) -> Iterator[ArchivedRow]:
        """Yield the rows of a file; raises UnreadableArchiveError."""
        text, _ = self.read_rows(one)
        try:
            yield from rows_of(text)
        except UnreadableArchiveError as error:
            raise UnreadableArchiveError(f"{one.name}: {error}") from error

    def write_registry(self, tables: Mapping[str, Any]) -> Self:
        """Write the copy of the registry; return the archive with its digest."""
        text = orjson.dumps(tables, option=orjson.OPT_SORT_KEYS)
        write_private(self.folder / REGISTRY, text)
        return replace(self, registry=hashlib.sha256(text).hexdigest())

    def read_registry(self) -> Mapping[str, Any]:
        """Return the copy of the registry.

        Raises:
            UnreadableArchiveError: it is gone, or was changed.
        """
        try:
            text = (self.folder / REGISTRY).read_bytes()
        except OSError as error:
            raise UnreadableArchiveError(f"{REGISTRY} is gone") from error
        if hashlib.sha256(text).hexdigest() != self.registry:
            raise UnreadableArchiveError(f"{REGISTRY} was changed since it was written")
        found: Mapping[str, Any] = orjson.loads(text)
        return found

    def write(self) -> None:
        """Write the list, all or nothing."""
        write_private(self.folder / LIST, self._list())

    def _list(self) -> bytes:
        values = {
            "format": FORMAT,
            "files": [asdict(one) for one in self.in_order()],
            "erased_up_to": {str(shard): place for shard, place in self.erased_up_to.items()},
            "registry": self.registry,
            **({} if self.customer_id is None else {"customer_id": self.customer_id}),
        }
        return orjson.dumps(values, option=orjson.OPT_INDENT_2)


def write_private(path: Path, content: bytes) -> None:
    """Write ``content`` to ``path``, all or nothing; only its owner may read it."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = path.with_name(f"{path.name}.new")
    with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
