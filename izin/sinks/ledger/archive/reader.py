"""Verify an archive without the ledger it is of: its files, its chains, and the anchors."""

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace

from izin.sinks.ledger.archive.folder import Archive, ArchivedFile
from izin.sinks.ledger.archive.rows import WITHHELD, ArchivedRow
from izin.sinks.ledger.history.chain_check import Fault, Head, VerifiedRow, verified_row
from izin.sinks.ledger.history.verify import Verified, verify_rows
from izin.sinks.record.anchor import Anchor
from izin.sinks.record.errors import UnreadableArchiveError


async def verify_archive(archive: Archive, anchors: Iterable[Anchor]) -> Verified:
    """Compute every link of ``archive`` again and compare with ``anchors``.

    An anchor of a row behind its end is a fault too: what was recorded until then is not in it. The
    archive of one customer proves what it shows, not that it shows all that is the customer's.
    """
    registry = archive.read_registry()
    cuts = {
        one["shard"]: {"place": one["place"], "link": _bytes(one["link"])}
        for one in sorted(registry["chain_cuts"] or (), key=lambda one: int(one["place"]))
    }
    heads = {shard: Head(one.last, bytes.fromhex(one.link)) for shard, one in archive.ends.items()}
    damaged: list[Fault] = []
    found = await verify_rows(
        _rows(archive, damaged),
        anchors,
        heads=heads,
        cuts=cuts,
        is_whole=archive.customer_id is None,
    )
    return replace(found, faults=(*found.faults, *damaged))


async def _rows(archive: Archive, damaged: list[Fault]) -> AsyncIterator[VerifiedRow]:
    """Yield the rows of all files; what cannot be read is added to ``damaged``."""
    for one in archive.in_order():
        try:
            _, is_whole = archive.read_rows(one)
            for row in archive.rows(one):
                yield _verified(row, is_of_one=archive.customer_id is not None)
        except UnreadableArchiveError as error:
            damaged.append(_fault(one, str(error)))
            continue
        if not is_whole:
            damaged.append(_fault(one, f"{one.name} was changed since it was written"))


def _fault(one: ArchivedFile, what: str) -> Fault:
    return Fault(shard=one.shard, after=one.first - 1, place=one.last, what=what)


def _verified(row: ArchivedRow, *, is_of_one: bool) -> VerifiedRow:
    columns = row._asdict()
    data = row.data
    found = verified_row({**columns, "data": None if data is None else data.decode()})
    # Another customer's, or erased: whichever act names it may not be there.
    is_withheld = is_of_one and row.kind == WITHHELD
    return replace(found, is_erased=False) if is_withheld else found


def _bytes(text: str) -> bytes:
    """Return a bytea as JSON has it."""
    return bytes.fromhex(text.removeprefix("\\x"))
