"""Archive the history: what is new since the last time, and again what was erased meanwhile.

Every row is verified on its way: a chain that is broken is not archived. Each file is in the list
before the next is begun, so an archive that was stopped goes on. What the ledger has dropped goes
from the archive too.
"""

from collections import defaultdict
from collections.abc import AsyncGenerator, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, replace
from datetime import date, datetime
from pathlib import Path
from typing import Any

from izin.ledger.archive.folder import (
    Archive,
    ArchivedFile,
    ArchivedRow,
    copied,
    row_of,
    withheld,
)
from izin.ledger.db import Ledger, copy_format, statements
from izin.ledger.history import first_link, next_link, record_act
from izin.ledger.record import Anchor, BrokenHistoryError
from izin.runtime.plan import OnProgress, silent

ROWS_A_FILE = 50_000
KEY = "archive"
"""The key of the acts on the archive."""
_HISTORY = statements("history")
_SQL = statements("archive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Archived:
    """What one run has archived."""

    rows: int = 0
    files: int = 0
    rewritten: int = 0
    """Files that were written again, for rows in them were erased."""
    removed: int = 0
    """Files of months that the ledger has dropped."""


_Row = tuple[bytes, ArchivedRow]
"""A row of the history, with its bytes."""


class ArchiveWriter:
    """Archives one ledger to one folder; with ``customer_id``, what of it is that customer's, up to
    the last of the ``anchors``: into an empty folder, in one run.
    """

    def __init__(
        self,
        ledger: Ledger,
        folder: Path,
        *,
        report: OnProgress = silent,
        customer_id: str | None = None,
        anchors: Iterable[Anchor] = (),
    ) -> None:
        self._ledger = ledger
        self._archive = Archive.read(folder).of(customer_id)
        self._anchored = {(anchor.shard, anchor.place) for anchor in anchors}
        self._open: set[int] = set()
        """The chains on which a run of the customer's rows has not reached its anchor."""
        self._report = report
        self._done = 0

    async def run(self, *, by: str, now: datetime) -> Archived:
        """Archive up to the heads of now; the history has who ordered it, ``by``, and where.

        Raises:
            BrokenHistoryError: a row does not continue its chain; what is before it is archived.
            UnreadableArchiveError: the folder has another archive than its list says.
        """
        self._archive.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        heads: dict[int, int] = {
            row["shard"]: row["place"] for row in await self._ledger.fetch(_SQL["heads"])
        }
        if self._archive.customer_id is not None:
            heads = dict(sorted(self._anchored))
        cuts = {row["shard"]: row for row in await self._ledger.fetch(_HISTORY["cuts"])}
        months = [row["month"] for row in await self._ledger.fetch(_HISTORY["months"])]
        removed = self._remove_dropped(cuts)
        ends = self._archive.ends
        links = {
            shard: (ends[shard].last, bytes.fromhex(ends[shard].link))
            if shard in ends
            else (cuts[shard]["place"], bytes(cuts[shard]["link"]))
            if shard in cuts
            else (0, first_link(shard))
            for shard in heads
        }
        left = {shard: max(0, place - links[shard][0]) for shard, place in heads.items()}
        total, before = sum(left.values()), len(self._archive.files)
        ranges = {shard: (links[shard][0] + 1, place) for shard, place in heads.items()}
        if total:
            for month in months:
                await self._write_month(month, ranges, links, total=total)
        is_whole = self._archive.customer_id is None
        rewritten = await self._rewrite_erased() if is_whole else 0
        (registry,) = await self._ledger.fetch(
            _SQL["registry"], {"customer_id": self._archive.customer_id}
        )
        self._archive = self._archive.write_registry(registry["tables"])
        self._archive.write()
        done = Archived(
            rows=self._done,
            files=len(self._archive.files) - before,
            rewritten=rewritten,
            removed=removed,
        )
        if is_whole:
            await self._record(done, by=by, now=now)
        return done

    def _remove_dropped(self, cuts: Mapping[int, Mapping[str, Any]]) -> int:
        """Remove the files of months that the ledger has dropped; return how many."""
        gone = [
            file
            for file in self._archive.files.values()
            if file.shard in cuts and file.last <= cuts[file.shard]["place"]
        ]
        for one in gone:
            self._archive = self._archive.without(one)
        if gone:
            self._archive.write()
        for one in gone:
            (self._archive.folder / one.name).unlink(missing_ok=True)
        return len(gone)

    async def _write_month(
        self,
        month: date,
        ranges: Mapping[int, tuple[int, int]],
        links: dict[int, tuple[int, bytes]],
        *,
        total: int,
    ) -> None:
        """Write the rows of a month that the archive lacks."""
        async with aclosing(self._files(month, ranges)) as files:
            async for rows in files:
                shard = rows[0][1].shard
                links[shard] = self._write(month, links[shard], rows)
                self._done += len(rows)
                self._report(self._done, total)

    async def _files(
        self, month: date, ranges: Mapping[int, tuple[int, int]]
    ) -> AsyncGenerator[list[_Row], None]:
        """Yield the rows of a month in ``ranges`` of places, by shard, as a file has them."""
        values = {
            "month": month,
            "shards": list(ranges),
            "firsts": [first for first, _ in ranges.values()],
            "lasts": [last for _, last in ranges.values()],
        }
        rows: list[_Row] = []
        async with (
            self._ledger.session() as connection,
            connection.cursor() as cursor,
            cursor.copy(_SQL["copy-out"], values) as found,
        ):
            async for data in found:
                text = bytes(data).removeprefix(copy_format.SIGNATURE)
                if not text or text == copy_format.END:
                    continue
                row = row_of(text)
                if rows and (rows[0][1].shard != row.shard or len(rows) == ROWS_A_FILE):
                    yield rows
                    rows = []
                rows.append((text, row))
        if rows:
            yield rows

    def _shown(self, behind: tuple[int, bytes], rows: Sequence[_Row]) -> Iterator[bytes]:
        """Yield ``rows`` as they are archived. In the archive of one customer those of others are
        not shown, nor those that were erased: the act that names them may be another's, to whom the
        brand moved.
        """
        customer, (place, link) = self._archive.customer_id, behind
        for text, row in rows:
            shows = customer in {None, row.customer_id} and (not customer or not row.commitment)
            if customer and shows and row.shard not in self._open:
                self._open.add(row.shard)
                yield copied(withheld(row.shard, place, link=link, commitment=None))
            if shows:
                yield text
            elif row.shard in self._open:
                yield copied(withheld(row.shard, row.place, commitment=row.committed))
            if (row.shard, row.place) in self._anchored:
                self._open.discard(row.shard)
            place, link = row.place, row.link

    def _write(
        self, month: date, behind: tuple[int, bytes], rows: Sequence[_Row]
    ) -> tuple[int, bytes]:
        """Write a file of ``rows`` behind a place and its link; return those of its last row."""
        place, link = behind
        for _, row in rows:
            if row.place != place + 1 or next_link(link, row.committed) != row.link:
                raise BrokenHistoryError(row.shard, row.place)
            place, link = row.place, row.link
        shown = list(self._shown(behind, rows))
        if not shown:
            return place, link
        file = ArchivedFile(
            month=f"{month:%Y-%m}",
            shard=rows[0][1].shard,
            first=behind[0] + 1,
            last=place,
            link_before=behind[1].hex(),
            link=link.hex(),
            sha256="",
        )
        text = b"".join((copy_format.SIGNATURE, *shown, copy_format.END))
        self._archive = self._archive.with_file(self._archive.write_rows(file, text))
        self._archive.write()
        return place, link

    async def _rewrite_erased(self) -> int:
        """Write the files again that have rows which were erased meanwhile; return how many."""
        erased = defaultdict[int, set[int]](set)
        known = self._archive.erased_up_to
        shards = list(self._archive.ends)
        values = {"shards": shards, "places": [known.get(shard, 0) for shard in shards]}
        for row in await self._ledger.fetch(_SQL["erasures"], values):
            for shard, places in row["places"].items():
                erased[int(shard)].update(places)
        concerned = [
            file
            for file in self._archive.in_order()
            if any(file.first <= place <= file.last for place in erased[file.shard])
            and any(
                # What is erased has no content but its commitment.
                row.commitment is None
                for row in self._archive.rows(file)
                if row.place in erased[file.shard]
            )
        ]
        for one in concerned:
            await self._rewrite(one)
        self._archive = replace(
            self._archive,
            erased_up_to={shard: one.last for shard, one in self._archive.ends.items()},
        )
        return len(concerned)

    async def _rewrite(self, one: ArchivedFile) -> None:
        month, rows = date.fromisoformat(f"{one.month}-01"), list[_Row]()
        async with aclosing(self._files(month, {one.shard: (one.first, one.last)})) as files:
            async for some in files:
                rows += some
        if not rows or rows[-1][1].link.hex() != one.link:
            raise BrokenHistoryError(one.shard, one.last)
        self._write(month, (one.first - 1, bytes.fromhex(one.link_before)), rows)

    async def _record(self, done: Archived, *, by: str, now: datetime) -> None:
        """Append the act: when, where to, and up to which places."""
        if done == Archived():
            return
        async with self._ledger.transaction() as connection:
            await record_act(
                connection,
                "archive history",
                KEY,
                by=by,
                now=now,
                before={},
                after={
                    "folder": str(self._archive.folder.absolute()),
                    "places": {str(shard): one.last for shard, one in self._archive.ends.items()},
                    "rows": done.rows,
                    "rewritten": done.rewritten,
                    "digest": self._archive.digest,
                },
            )
