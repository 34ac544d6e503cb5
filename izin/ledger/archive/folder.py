"""The folder of an archive: files of rows, a copy of the registry, and the list of both.

A file has the rows of one chain and one month, in order, in the format of PostgreSQL's binary COPY:
it is documented and has not changed since 2003, and a row goes back as it came. The list has for
each file its digest, and the links before and after it, so that the chains are verified from file
to file, without the ledger. Files are private: they name recipients.

The archive of one customer has that customer's rows, and of others' what leads from each of them to
the next anchor: commitments, which open nothing. No link can be computed without them. Between an
anchor and the customer's next row the archive has nothing, for anchors are known from outside.
"""

import gzip
import hashlib
import struct
import zlib
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple, Self

import orjson

from izin.ledger.db import copy_format
from izin.ledger.history import (
    Fact,
    Fault,
    Head,
    VerifiedRow,
    commitment_of,
    content,
    next_link,
    verified_row,
)
from izin.ledger.history.verify import Verified, verify_rows
from izin.ledger.record import Anchor, UnreadableArchiveError
from izin.runtime.plan import write_private

FORMAT, FORMAT_OF_ONE = 1, 2
"""Of the archive of everybody, and of that of one customer."""
LIST, REGISTRY = "archive.json", "registry.json"
WITHHELD = "withheld"
"""The kind of a row of another customer, or an erased one, in the archive of one customer: only its
commitment is there. One with a link alone is the row before the first of a run of rows, which ends
with an anchor."""
_LEVEL = 3
_COLUMNS = 15
_COUNT = struct.Struct(">h")
_SIZE = struct.Struct(">i")
_INSTANT = struct.Struct(">q")


class ArchivedRow(NamedTuple):
    """A row of ``history``, in the order of ``copy-out``. Instants are microseconds since 1970.

    Of an erased row only the commitment is left.
    """

    recorded: int
    occurred: int
    place: int
    shard: int
    kind: str
    link: bytes
    salt: bytes | None
    key: str | None
    customer_id: str
    event_id: str | None
    status: str | None
    source: str | None
    data: bytes | None
    decision: bytes | None
    commitment: bytes | None

    @property
    def committed(self) -> bytes:
        """What its link covers."""
        if self.commitment is not None:
            return self.commitment
        fact = Fact(
            self.kind,
            self.customer_id,
            self.key or "",
            self.event_id,
            self.status,
            self.source,
            self.occurred,
            self.data,
            self.decision,
        )
        return commitment_of(self.salt or b"", content(self.place, fact, self.recorded))


def withheld(shard: int, place: int, *, link: bytes = b"", commitment: bytes | None) -> ArchivedRow:
    """Return what the archive of one customer has of a row that it does not show."""
    return ArchivedRow(
        copy_format.EPOCH,
        copy_format.EPOCH,
        place,
        shard,
        WITHHELD,
        link,
        *(None, None, ""),
        *(None, None, None),
        *(None, None, commitment),
    )


def copied(row: ArchivedRow) -> bytes:
    """Return a row as COPY has it; :func:`row_of` reads it."""
    return b"".join(
        (
            _COUNT.pack(_COLUMNS),
            copy_format.instant(row.recorded),
            copy_format.instant(row.occurred),
            copy_format.long(row.place),
            copy_format.small(row.shard),
            copy_format.word(row.kind),
            copy_format.text(row.link),
            copy_format.text(row.salt),
            copy_format.word(row.key),
            copy_format.word(row.customer_id),
            copy_format.word(row.event_id),
            copy_format.word(row.status),
            copy_format.word(row.source),
            copy_format.text(row.data),
            copy_format.text(row.decision),
            copy_format.text(row.commitment),
        )
    )


def rows_of(text: bytes) -> Iterator[ArchivedRow]:
    """Yield the rows of the whole of a COPY.

    Raises:
        UnreadableArchiveError: it is no COPY, or it is cut off.
    """
    at = len(copy_format.SIGNATURE)
    if not text.startswith(copy_format.SIGNATURE) or not text.endswith(copy_format.END):
        raise UnreadableArchiveError("the rows are cut off, or are no rows")
    end = len(text) - len(copy_format.END)
    try:
        while at < end:
            row, at = _row(text, at)
            yield row
    except (struct.error, UnicodeDecodeError, TypeError, ValueError) as error:
        raise UnreadableArchiveError(f"byte {at} begins no row") from error


def row_of(text: bytes) -> ArchivedRow:
    """Return the one row in ``text``."""
    return _row(text, 0)[0]


def _row(text: bytes, at: int) -> tuple[ArchivedRow, int]:
    (count,) = _COUNT.unpack_from(text, at)
    at += 2
    found: list[bytes | None] = []
    for _ in range(count):
        (size,) = _SIZE.unpack_from(text, at)
        at += 4
        if size < 0:
            found.append(None)
            continue
        found.append(text[at : at + size])
        at += size
    (recorded, occurred, place, shard, kind, link, salt, key, customer, event_id, status, source,
     data, decision, commitment) = found  # fmt: skip
    row = ArchivedRow(
        _long(recorded) + copy_format.EPOCH,
        _long(occurred) + copy_format.EPOCH,
        _long(place),
        _COUNT.unpack(shard or b"")[0],
        _text(kind) or "",
        link or b"",
        salt,
        _text(key),
        _text(customer) or "",
        _text(event_id),
        _text(status),
        _text(source),
        data,
        decision,
        commitment,
    )
    return row, at


def _long(column: bytes | None) -> int:
    return int(_INSTANT.unpack(column or b"")[0])


def _text(column: bytes | None) -> str | None:
    return None if column is None else column.decode()


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
        customer = values.get("customer_id") if isinstance(values, dict) else None
        if not isinstance(values, dict) or values.get("format") != _format_of(customer):
            raise UnreadableArchiveError(f"{LIST} is of another release")
        files = [ArchivedFile(**one) for one in values["files"]]
        return cls(
            folder=folder,
            files={(file.shard, file.first): file for file in files},
            erased_up_to={int(shard): place for shard, place in values["erased_up_to"].items()},
            registry=values["registry"],
            customer_id=customer,
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
        return replace(
            self, files={place: one for place, one in self.files.items() if one is not gone}
        )

    def write_rows(self, one: ArchivedFile, text: bytes) -> ArchivedFile:
        """Write the rows of ``one``; return it with their digest."""
        return replace(one, sha256=self._write(one.name, gzip.compress(text, _LEVEL, mtime=0)))

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
        return replace(
            self, registry=self._write(REGISTRY, orjson.dumps(tables, option=orjson.OPT_SORT_KEYS))
        )

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
        self._write(LIST, self._list())

    def _write(self, name: str, content: bytes) -> str:
        """Write a file, which only its owner may read, all or nothing; return its SHA-256."""
        path = self.folder / name
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return write_private(path, [content])

    def _list(self) -> bytes:
        values = {
            "format": _format_of(self.customer_id),
            "files": [asdict(file) for file in self.in_order()],
            "erased_up_to": {str(shard): place for shard, place in self.erased_up_to.items()},
            "registry": self.registry,
            **({} if self.customer_id is None else {"customer_id": self.customer_id}),
        }
        return orjson.dumps(values, option=orjson.OPT_INDENT_2)


def _format_of(customer_id: str | None) -> int:
    return FORMAT if customer_id is None else FORMAT_OF_ONE


async def verify_archive(archive: Archive, anchors: Iterable[Anchor]) -> Verified:
    """Compute every link of ``archive`` again and compare with ``anchors``.

    An anchor of a row behind its end is a fault too: what was recorded until then is not in it. The
    archive of one customer proves what it shows, not that it shows all that is the customer's.
    """
    if archive.customer_id is not None:
        return _verify_runs(archive, anchors)
    registry = archive.read_registry()
    cuts = {
        one["shard"]: {
            "place": one["place"],
            "link": bytes.fromhex(one["link"].removeprefix("\\x")),
        }
        for one in sorted(registry["chain_cuts"] or (), key=lambda one: int(one["place"]))
    }
    heads = {shard: Head(one.last, bytes.fromhex(one.link)) for shard, one in archive.ends.items()}
    damaged: list[Fault] = []
    found = await verify_rows(_verified_rows(archive, damaged), anchors, heads=heads, cuts=cuts)
    return replace(found, faults=(*found.faults, *damaged))


class _RunCheck:
    """The verification of one customer's rows: each run of them must lead to one of the anchors."""

    def __init__(self, anchors: Mapping[tuple[int, int], Anchor]) -> None:
        self.rows = self.runs = 0
        self.faults: list[Fault] = []
        self._anchors = anchors
        self._ends: dict[int, tuple[int, bytes]] = {}
        """The last place and link of the run of each chain."""

    def add(self, row: ArchivedRow) -> None:
        """Compute the link of ``row`` again, or begin a run behind it."""
        if row.kind == WITHHELD and row.commitment is None:
            self.end(row.shard)
            self._ends[row.shard] = row.place, row.link
            self.runs += 1
            return
        place, link = self._ends.get(row.shard, (0, b""))
        link = next_link(link, _verified(row).commitment)
        if row.place != place + 1 or (row.link != link and row.kind != WITHHELD):
            self.faults.append(
                Fault(
                    shard=row.shard,
                    after=place,
                    place=row.place,
                    what="the row was changed, moved or inserted",
                )
            )
        self._ends[row.shard] = row.place, link
        self.rows += 1

    def end(self, shard: int) -> None:
        """End the run of a chain, if there is one."""
        place, link = self._ends.pop(shard, (0, b""))
        anchor = self._anchors.get((shard, place))
        if place and (anchor is None or anchor.link != link):
            self.faults.append(
                Fault(
                    shard=shard,
                    after=0,
                    place=place,
                    what="no anchor that was given has the link of this row",
                )
            )


def _verify_runs(archive: Archive, anchors: Iterable[Anchor]) -> Verified:
    check = _RunCheck({(anchor.shard, anchor.place): anchor for anchor in anchors})
    for row in _readable(archive, check.faults):
        check.add(row)
    for shard in archive.ends:
        check.end(shard)
    return Verified(rows=check.rows, anchors=check.runs, faults=tuple(check.faults))


async def _verified_rows(archive: Archive, damaged: list[Fault]) -> AsyncIterator[VerifiedRow]:
    for row in _readable(archive, damaged):
        yield _verified(row)


def _readable(archive: Archive, damaged: list[Fault]) -> Iterator[ArchivedRow]:
    """Yield the rows of all files; what cannot be read or was changed is added to ``damaged``."""
    for file in archive.in_order():
        try:
            _, is_whole = archive.read_rows(file)
            yield from archive.rows(file)
            if not is_whole:
                damaged.append(_fault(file, f"{file.name} was changed since it was written"))
        except UnreadableArchiveError as error:
            damaged.append(_fault(file, str(error)))


def _fault(one: ArchivedFile, what: str) -> Fault:
    return Fault(shard=one.shard, after=one.first - 1, place=one.last, what=what)


def _verified(row: ArchivedRow) -> VerifiedRow:
    data = None if row.data is None else row.data.decode()
    return verified_row({**row._asdict(), "data": data})
