"""The history is archived to files that are verified without the ledger."""

import gzip
import json
import secrets
import shutil
import stat
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from izin.ledger import reads, retention
from izin.ledger.archive import writer
from izin.ledger.archive.folder import (
    LIST,
    REGISTRY,
    WITHHELD,
    Archive,
    ArchivedFile,
    ArchivedRow,
    verify_archive,
)
from izin.ledger.archive.writer import Archived, ArchiveWriter
from izin.ledger.db import statements
from izin.ledger.history import Fault, act, verify
from izin.ledger.history.append import append
from izin.ledger.privacy import erasure
from izin.ledger.record import BrokenHistoryError, UnreadableArchiveError
from tests.integration.ledger.test_erasure import answered, opted_out, requested
from tests.integration.ledger.test_history import EDIT, anchor_writer, tampered
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    Izin,
    Killed,
    SinkHarness,
    a_phone,
    onay,
    ret,
)
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key

pytestmark = pytest.mark.database


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give where the archive is written."""
    return tmp_path / "archive"


@pytest.fixture(autouse=True)
def small_files(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have files of four rows."""
    monkeypatch.setattr(writer, "ROWS_A_FILE", 4)


async def archived(harness: SinkHarness, folder: Path) -> Archived:
    """Archive the history."""
    return await ArchiveWriter(harness.ledger, folder).run(by="ada", now=harness.clock())


def rows_in(folder: Path) -> Iterator[ArchivedRow]:
    """Yield the rows of an archive."""
    archive = Archive.read(folder)
    for one in archive.in_order():
        yield from archive.rows(one)


def modes(folder: Path) -> set[int]:
    """Return the permissions of an archive's folders and files."""
    return {stat.S_IMODE(path.stat().st_mode) for path in (folder, *folder.rglob("*"))}


async def faults(folder: Path, *anchor_files: Path) -> list[Fault]:
    """Return the faults that verifying an archive finds."""
    known = [one for path in anchor_files for one in verify.read_anchors(path)]
    return list((await verify_archive(Archive.read(folder), known)).faults)


async def test_archive_has_the_history_and_is_verified_alone(
    harness: SinkHarness, folder: Path, tmp_path: Path
):
    """Row for row, with its chains and anchors; the files are private; the history has the act."""
    for minutes in range(20, 10, -1):
        await harness.ingest(onay(minutes=minutes))
    anchors = tmp_path / "anchors.jsonl"
    assert await anchor_writer(harness.ledger, anchors).anchor()
    done = await archived(harness, folder)
    stored = await harness.ledger.fetch("SELECT count(*) AS rows FROM history")
    assert done.rows == stored[0]["rows"] - 1
    assert done.files == len(Archive.read(folder).files) > 2
    assert await faults(folder, anchors) == []
    assert modes(folder) == {0o700, 0o600}
    (act,) = await reads.facts(harness.ledger, [writer.KEY])
    assert act.data["after"]["folder"] == str(folder)
    assert sum(act.data["after"]["places"].values()) == done.rows


async def test_next_run_archives_what_is_new(harness: SinkHarness, folder: Path):
    """One that was killed goes on behind the last file in its list."""
    await harness.ingest(onay())
    first = await archived(harness, folder)
    assert (await archived(harness, folder)).rows == 1  # the act of the first
    for minutes in range(20, 10, -1):
        await harness.ingest(ret(minutes=minutes))
    killed = ArchiveWriter(harness.ledger, folder, report=_die)
    with pytest.raises(Killed):
        await killed.run(by="ada", now=harness.clock())
    done = await archived(harness, folder)
    assert await faults(folder) == []
    found = list(rows_in(folder))
    assert len(found) == len({(row.shard, row.place) for row in found}) > first.rows + done.rows


def _die(*_: object) -> None:
    raise Killed


async def test_changed_archive_is_refused(harness: SinkHarness, folder: Path, tmp_path: Path):
    """The row is named where one was changed, else the file."""
    await harness.ingest(onay())
    await archived(harness, folder)
    one = next(Archive.read(folder).in_order())
    expected = {
        "content": "the row was changed, moved or inserted",
        "file": f"{one.name} was changed since it was written",
        "gone": f"{one.name} is gone or damaged",
    }
    for what in (*expected, "registry", "no list"):
        copied = shutil.copytree(folder, tmp_path / what)
        change(Archive.read(copied), one, what)
        if what not in expected:
            with pytest.raises(UnreadableArchiveError):
                await faults(copied)
            continue
        found = await faults(copied)
        assert expected[what] in {fault.what for fault in found}
        assert {fault.shard for fault in found} == {one.shard}
        assert what != "content" or one.first in {fault.place for fault in found}


def change(archive: Archive, one: ArchivedFile, what: str) -> None:
    """Change a file of an archive."""
    path = archive.folder / one.name
    match what:
        case "content":
            text = gzip.decompress(path.read_bytes())
            path.write_bytes(gzip.compress(text.replace(b"add customer", b"add somebody")))
        case "file":
            path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()), 1, mtime=7))
        case "registry":
            (archive.folder / REGISTRY).write_text("{}")
        case "gone":
            path.unlink()
        case "no list":
            (archive.folder / LIST).write_text('{"format": 0}')


async def test_broken_history_is_not_archived(harness: SinkHarness, folder: Path):
    """What is before the broken row is."""
    await harness.ingest(onay())
    await tampered(harness.ledger, EDIT.replace("'RET'", "'X'").replace("place = 3", "place = 1"))
    with pytest.raises(BrokenHistoryError, match="shard 0, place 1"):
        await archived(harness, folder)


async def test_rows_erased_meanwhile_are_erased_in_the_archive(harness: SinkHarness, folder: Path):
    """The next run writes their files again; nothing is left of the person."""
    await opted_out(harness)
    await archived(harness, folder)
    assert PHONE in everything_in(folder)
    await answered(harness, await requested(harness))
    assert await erasure.remove(harness.ledger, harness.context.topic_messages, now=harness.clock())
    assert await erasure.erase_history(
        harness.ledger, now=harness.clock() + timedelta(days=366 * 11)
    )
    assert (await archived(harness, folder)).rewritten > 0
    assert PHONE not in everything_in(folder)
    assert str(a_key()) not in (folder / REGISTRY).read_text()
    assert await faults(folder) == []
    assert (await archived(harness, folder)).rewritten == 0


async def test_archive_holds_one_file_in_memory_at_a_time(harness: SinkHarness, folder: Path):
    """However long the history is. Of another customer's row, however large, little is there."""
    size, now = 40_000, harness.clock()
    for customer_id in (CUSTOMER, "othercustomer"):
        after = {"text": secrets.token_hex(size // 2)}
        values = {"before": {}, "after": after, "by": "ada", "customer_id": customer_id, "now": now}
        async with harness.ledger.transaction() as connection:
            await append(
                connection, [act("note", f"note/{one}", **values) for one in range(50)], now=now
            )
    tracemalloc.start()
    try:
        done = await of_customer(harness, folder)
        _, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert done.rows >= 100
    assert most < 25 * size
    assert 50 * size < len(everything_in(folder)) < 53 * size


async def test_erased_rows_are_withheld_in_the_archive_of_one_customer(
    harness: SinkHarness, folder: Path
):
    """Its own and another's: nothing is left of them but their place on the chain, whichever
    customer's act has erased them. A brand that has moved since is erased as its new owner's.
    """
    theirs = replace(ACTIVE, brand_code=BRAND + 1, customer_id="othercustomer", name="Öteki")
    await harness.brand(theirs)
    kept, ours, moved, foreign = map(a_phone, range(4))
    await harness.ingest(*map(onay, (kept, ours, moved)))
    await harness.ingest(
        onay(foreign, brand_code=theirs.brand_code, customer_id=theirs.customer_id)
    )
    gone = [str(a_key(recipient=one)) for one in (ours, moved)]
    gone.append(str(a_key(recipient=foreign, brand_code=theirs.brand_code)))
    values = {
        "customers": [CUSTOMER, theirs.customer_id, theirs.customer_id],
        "keys": gone,
        "event_ids": ["one", "two", "three"],
        "untils": [harness.clock()] * 3,
        "now": harness.clock(),
    }
    async with harness.ledger.transaction() as connection:
        await connection.execute(statements("archive")["add-erased"], values)
    later = harness.clock() + timedelta(days=366 * 11)
    assert await erasure.erase_history(harness.ledger, now=later) == 3
    await of_customer(harness, folder)
    anchors = await verify.anchors_after(harness.ledger, 0)
    assert (await verify_archive(Archive.read(folder), anchors)).faults == ()
    shown = everything_in(folder)
    assert kept in shown
    for word in (ours, moved, foreign, theirs.customer_id):
        assert word not in shown
    rows = [row for row in rows_in(folder) if row.commitment is not None]
    assert {(row.kind, row.customer_id) for row in rows} == {(WITHHELD, "")}


async def of_customer(harness: SinkHarness, folder: Path) -> Archived:
    """Anchor the history, and archive what of it is our customer's."""
    now = harness.clock()
    async with harness.ledger.transaction() as connection:
        await verify.anchor(connection, now=now)
    anchors = await verify.anchors_after(harness.ledger, 0)
    writer = ArchiveWriter(harness.ledger, folder, customer_id=CUSTOMER, anchors=anchors)
    return await writer.run(by="ada", now=now)


async def test_archive_of_one_customer_has_nothing_between_its_runs(
    harness: SinkHarness, folder: Path
):
    """Rows of others are there from the customer's first one to the next anchor, as commitments;
    of what an anchor has before, and of others' intervals, there is nothing. Each run must lead to
    an anchor that is known.
    """
    theirs = replace(ACTIVE, brand_code=BRAND + 1, customer_id="othercustomer", name="Öteki")
    await harness.brand(theirs)

    async def note(customer_id: str, *numbers: int) -> None:
        values = {"before": {}, "after": {}, "by": "ada", "customer_id": customer_id}
        now = harness.clock()
        async with harness.ledger.transaction() as connection:
            acts = [act("note", f"note/{one}", **values, now=now) for one in numbers]
            await append(connection, acts, now=now)
            if numbers[-1] % 10 == 0:
                await verify.anchor(connection, now=now)

    await note(CUSTOMER, 1, 10)
    await note("othercustomer", *range(11, 21))
    await note("othercustomer", 21)
    await note(CUSTOMER, 22)
    await note("othercustomer", *range(23, 31))
    await of_customer(harness, folder)
    noted = [row for row in rows_in(folder) if row.key is None or row.key.startswith("note/")]
    shown = [row.key for row in noted if row.key]
    hidden = [row for row in noted if row.commitment]
    assert shown == ["note/1", "note/10", "note/22"]
    assert len(hidden) <= 8 + 2  # the last run's, and what registered the brand
    anchors = await verify.anchors_after(harness.ledger, 0)
    archive = Archive.read(folder)
    assert (await verify_archive(archive, anchors)).faults == ()
    last = max(one.place for one in anchors)
    (fault,) = (await verify_archive(archive, [one for one in anchors if one.place < last])).faults
    assert (fault.place, "no anchor" in fault.what) == (last, True)


def everything_in(folder: Path) -> str:
    """Return whatever the files of an archive say."""
    return "".join(
        gzip.decompress(path.read_bytes()).decode(errors="replace") for path in folder.rglob("*.gz")
    )


async def test_dropped_months_go_from_the_archive(harness: SinkHarness, folder: Path):
    """Retention holds there too."""
    await harness.ingest(onay())
    await archived(harness, folder)
    (before,) = {one.month for one in Archive.read(folder).files.values()}
    messages = harness.context.topic_messages
    later = datetime.now(UTC) + timedelta(days=366 * 12)
    async with harness.ledger.transaction() as connection:
        await connection.execute("DELETE FROM consents")
        await append(connection, [], now=later)
    assert await retention.drop(harness.ledger, messages, by="ada", now=later)
    assert (await archived(harness, folder)).removed > 0
    assert before not in {one.month for one in Archive.read(folder).files.values()}
    known = await verify.anchors_after(harness.ledger, 0)
    assert (await verify_archive(Archive.read(folder), known)).faults == ()


async def test_command_archives_and_verifies(izin: Izin, harness: SinkHarness, folder: Path):
    """Exit code 1 where the archive is not what was written."""
    await harness.ingest(onay())
    await ArchiveWriter(harness.ledger, folder).run(by="ada", now=harness.clock())
    verified = ("ledger", "verify", "--archive", folder, "--no-topic", "--output", "json")
    result = await izin(*verified)
    assert (result.exit_code, json.loads(result.stdout)["faults"]) == (0, [])
    archive = Archive.read(folder)
    change(archive, next(archive.in_order()), "file")
    assert (await izin(*verified)).exit_code == 1
