"""Any change of the history is detected, and its place named.

It is archived to files that are verified without the ledger.
"""

import asyncio
import gzip
import json
import secrets
import shutil
import stat
import tracemalloc
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString
from unittest.mock import Mock

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
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
from izin.ledger.db import Connection, Ledger, statements
from izin.ledger.history import (
    Fact,
    Fault,
    HistoryEntry,
    act,
    append,
    chain_check,
    commitment_of,
    content,
    next_link,
    verify,
)
from izin.ledger.history.verify import Verified
from izin.ledger.privacy import erasure
from izin.ledger.record import (
    BrokenHistoryError,
    UnreadableAnchorError,
    UnreadableArchiveError,
)
from izin.schemas.codec import Codec
from tests.integration.ledger.test_erasure import anchor_writer, answered, opted_out, requested
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    Izin,
    Killed,
    SinkHarness,
    a_phone,
    ended,
    onay,
    ret,
    until,
)
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key

pytestmark = pytest.mark.database

HEAD_FOLLOWS = """UPDATE chains AS c SET place = m.place, link = m.link FROM (
    SELECT place, link FROM history WHERE shard = 0 ORDER BY place DESC LIMIT 1) AS m
    WHERE c.shard = 0"""
HEAD_GOES_BACK = """UPDATE chains AS c SET place = m.place, link = m.link
    FROM history AS m WHERE c.shard = 0 AND m.shard = 0 AND m.place = 6"""
REWRITTEN = "every link follows"
AN_ANCHOR = (
    '{"id": 1, "shard": 2, "place": 3, "link": "00ff", "anchored_at": "2026-03-02T09:00+00:00"}'
)
EDIT = """UPDATE history SET status = 'RET' WHERE shard = 0 AND place = 3"""


@pytest.fixture
async def file(ledger: Ledger, tmp_path: Path) -> Path:
    """Give the anchor file of a chain of facts."""
    return await anchored(ledger, tmp_path / "evidence" / "anchors.jsonl")


async def anchored(ledger: Ledger, file: Path) -> Path:
    """Return the anchor file of a chain of six facts, to which two more are appended after it."""
    await written(ledger, *(f"act/{number}" for number in range(6)))
    assert await anchor_writer(ledger, file).anchor() == 1
    await written(ledger, "act/6", 'act/"7"')
    return file


def cut_off(file: Path) -> None:
    """Leave half of the last line, as a crash does."""
    file.write_text(file.read_text()[:-20])


async def tampered(ledger: Ledger, *statements: str) -> None:
    """Change history as its database's owner can."""
    async with ledger.session() as connection:
        await connection.execute("ALTER TABLE history DISABLE TRIGGER history_append_only")
        for statement in statements:
            if statement == REWRITTEN:
                await rewritten(connection)
            else:
                await connection.execute(statement)  # type: ignore[arg-type]
        await connection.execute("ALTER TABLE history ENABLE TRIGGER history_append_only")


async def rewritten(connection: Connection) -> None:
    """Rewrite every link of the first chain, as anybody can who knows how it is computed."""
    link = chain_check.first_link(0)
    rows = await connection.execute(
        """SELECT place, salt, kind, customer_id, key, event_id, status, source, data::text AS data,
            (extract(epoch FROM occurred_at) * 1000000)::bigint AS occurred,
            (extract(epoch FROM recorded_at) * 1000000)::bigint AS recorded
        FROM history WHERE shard = 0 ORDER BY place"""
    )
    for row in await rows.fetchall():
        place, recorded, salt = row.pop("place"), row.pop("recorded"), row.pop("salt")
        fact = Fact(**row | {"data": row["data"].encode(), "decision": None})
        link = next_link(link, commitment_of(salt, content(place, fact, recorded)))
        await connection.execute(
            "UPDATE history SET link = %s WHERE shard = 0 AND place = %s", [link, place]
        )


async def faults(ledger: Ledger, file: Path) -> list[Fault]:
    """Return the faults that verification finds."""
    return list((await verify.verify(ledger, verify.read_anchors(file))).faults)


async def test_verify_untouched_history_finds_no_fault(ledger: Ledger, file: Path):
    """Every row of every chain is verified, and every anchor is met."""
    assert await verify.verify(ledger, verify.read_anchors(file)) == Verified(
        rows=8, anchors=1, faults=()
    )


@pytest.mark.parametrize(
    ("statements", "named"),
    [
        ([EDIT], [(3, "changed")]),
        (["UPDATE history SET data = '{\"x\": 1}' WHERE place = 8"], [(8, "changed")]),
        (["DELETE FROM history WHERE place = 4"], [(4, "1 rows are missing")]),
        (["DELETE FROM history WHERE place > 6"], [(8, "2 rows are missing at the end")]),
        (
            [
                "UPDATE history SET place = -2 WHERE place = 2",
                "UPDATE history SET place = 2 WHERE place = 5",
                "UPDATE history SET place = 5 WHERE place = -2",
            ],
            [(2, "moved"), (3, "moved"), (5, "moved"), (6, "moved")],
        ),
        ([EDIT, REWRITTEN, HEAD_FOLLOWS], [(6, "rewritten since")]),
        (["DELETE FROM history WHERE place > 2", HEAD_FOLLOWS], [(6, "are gone")]),
        (
            [
                "DELETE FROM history",
                "DELETE FROM chains WHERE shard = 0 AND place < 0",
                "UPDATE chains SET place = 0, link = sha256('izin history 0') WHERE shard = 0",
            ],
            [(6, "are gone")],
        ),
        (["UPDATE chains SET place = 9 WHERE shard = 0"], [(9, "missing at the end")]),
        ([HEAD_GOES_BACK], [(8, "does not end")]),
        (["UPDATE chains SET link = sha256('') WHERE shard = 0"], [(8, "does not end")]),
    ],
    ids=[
        "edited",
        "edited-after",
        "deleted",
        "cut",
        "swapped",
        "rewritten",
        "undone",
        "emptied",
        "head",
        "head-back",
        "head-link",
    ],
)
async def test_verify_names_each_kind_of_tampering(
    ledger: Ledger, file: Path, statements: list[str], named: list[tuple[int, str]]
):
    """A row changed, removed or moved is named by its place; a chain that was rewritten, or cut
    with its head, does not match the anchor outside.
    """
    await tampered(ledger, *statements)
    found = await faults(ledger, file)
    assert [(one.shard, one.place) for one in found] == [(0, place) for place, _ in named]
    for one, (_, what) in zip(found, named, strict=True):
        assert what in one.what


async def test_concurrent_writers_link_each_row_once(ledger: Ledger):
    """Concurrent transactions take chains of their own, and a repeated fact takes no place."""
    await asyncio.gather(
        *(written(ledger, f"side/{number}", f"side/{number}/again") for number in range(12))
    )
    await written(ledger, "side/0", "side/0", "side/new")
    found = await verify.verify(ledger, ())
    assert (found.rows, found.faults) == (25, ())


async def test_verify_beside_writers_finds_no_fault(
    ledger: Ledger, file: Path, monkeypatch: pytest.MonkeyPatch
):
    """What is appended meanwhile, to this chain and to new ones, is for the next verification."""
    fetch = ledger.fetch

    async def later(
        statement: LiteralString, parameters: Mapping[str, Any] | None = None
    ) -> list[dict[str, Any]]:
        if "history_months" in statement:
            await asyncio.gather(*(written(ledger, f"side/{number}") for number in range(4)))
        return await fetch(statement, parameters)

    monkeypatch.setattr(ledger, "fetch", later)
    first, second = [await verify.verify(ledger, verify.read_anchors(file)) for _ in range(2)]
    assert (first.rows, first.faults, second.rows, second.faults) == (8, (), 12, ())


async def written(ledger: Ledger, *sources: str) -> None:
    """Append facts of these sources, in one transaction that lets others run."""
    async with ledger.transaction() as connection:
        now = datetime.now(UTC)
        await append.append(connection, [an_act(source, now) for source in sources], now=now)
        await asyncio.sleep(0)


def an_act(source: str, now: datetime) -> HistoryEntry:
    """Return a fact that may be repeated, with text that careless serialization would change."""
    return HistoryEntry(
        kind="act",
        customer_id="acme",
        key="x",
        event_id=None,
        status=None,
        source=source,
        occurred_at=now,
        data={"reason": 'a "word" of Ayşe \\ \n\u0007', "codes": [1, 2.5, None, True]},
        may_repeat=True,
    )


async def test_anchors_go_to_topic_and_file_once(
    ledger: Ledger,
    file: Path,
):
    """A chain that has not grown gets no anchor, and a file that lost lines gets them again."""
    assert await anchor_writer(ledger, file).anchor() == 1
    assert await anchor_writer(ledger, file).anchor() == 0
    rows = await ledger.fetch(
        "SELECT key, value FROM outbox WHERE topic = 'ledger-anchors' ORDER BY id"
    )
    published = [Codec().decode("Anchor", row["value"]) for row in rows]
    filed = verify.read_anchors(file)
    assert [(one["anchor_id"], one["place"], one["link"]) for one in published] == [
        (one.id, one.place, one.link.hex()) for one in filed
    ]
    assert [one.place for one in filed] == [6, 8]
    cut_off(file)
    await anchor_writer(ledger, file).anchor()
    assert verify.read_anchors(file) == (filed[0], filed[1])


async def test_anchor_of_a_transaction_that_commits_late_is_in_the_file(ledger: Ledger, file: Path):
    """The file is read for the last id it has, so no lower one may come after it."""
    async with ledger.session() as late:
        await late.set_autocommit(False)
        await late.execute(
            "INSERT INTO anchors (shard, place, link, anchored_at)"
            " SELECT shard, place + 1000, link, now() FROM chains WHERE shard = 9"
        )
        writing = asyncio.create_task(anchor_writer(ledger, file).anchor())

        async def is_waiting_or_done() -> bool:
            waits = "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            return writing.done() or bool(
                await ledger.fetch(f"{waits} AND wait_event = 'advisory'")
            )

        await until(is_waiting_or_done)
        await late.commit()
    await writing
    await anchor_writer(ledger, file).anchor()
    assert {one.shard for one in verify.read_anchors(file)} >= {9}


def test_malformed_anchor_file_is_refused_with_its_line(tmp_path: Path):
    """A wrong file proves nothing, and the error says which line is wrong. One that is missing is
    wrong usage: exit code 1 would say that the history was changed.
    """
    file = tmp_path / "a"
    verified = ["ledger", "verify", "--no-topic", "--anchors", str(file)]
    missing = CliRunner().invoke(app, verified)
    assert (missing.exit_code, str(file) in missing.output.replace("\n", "")) == (2, True)
    file.write_text(f"{AN_ANCHOR}\n{{}}\n")
    with pytest.raises(UnreadableAnchorError, match=f"{file}, line 2: not an anchor"):
        verify.read_anchors(file)
    ended(CliRunner().invoke(app, verified), 3, "line 2: not an anchor")
    file.write_bytes(b"\xff")
    with pytest.raises(UnreadableAnchorError, match=f"{file} is not a text file"):
        verify.read_anchors(file)


async def test_verify_command_exits_1_on_a_changed_row(ledger: Ledger, file: Path, izin: Izin):
    """Exit code 0 without faults, 1 with the place of the row."""
    words = ("ledger", "verify", "--no-topic", "--anchors", file, "--output", "json")
    assert '"faults": []' in ended(await izin(*words), 0).stdout
    await tampered(ledger, EDIT)
    assert '"place": 3' in ended(await izin(*words), 1).stdout


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


async def archive_faults(folder: Path, *anchor_files: Path) -> list[Fault]:
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
    assert done.rows == len(await harness.ledger.fetch("SELECT FROM history")) - 1
    assert done.files == len(Archive.read(folder).files) > 2
    assert await archive_faults(folder, anchors) == []
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
    killed = ArchiveWriter(harness.ledger, folder, report=Mock(side_effect=Killed))
    with pytest.raises(Killed):
        await killed.run(by="ada", now=harness.clock())
    done = await archived(harness, folder)
    assert await archive_faults(folder) == []
    found = list(rows_in(folder))
    assert len(found) == len({(row.shard, row.place) for row in found}) > first.rows + done.rows


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
                await archive_faults(copied)
            continue
        found = await archive_faults(copied)
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
    assert await archive_faults(folder) == []
    assert (await archived(harness, folder)).rewritten == 0


async def test_archive_holds_one_file_in_memory_at_a_time(harness: SinkHarness, folder: Path):
    """However long the history is. Of another customer's row, however large, little is there."""
    size, now = 40_000, harness.clock()
    for customer_id in (CUSTOMER, "othercustomer"):
        after = {"text": secrets.token_hex(size // 2)}
        values = {"before": {}, "after": after, "by": "ada", "customer_id": customer_id, "now": now}
        async with harness.ledger.transaction() as connection:
            await append.append(
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
            await append.append(connection, acts, now=now)
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
        await append.append(connection, [], now=later)
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
    assert json.loads(ended(await izin(*verified), 0).stdout)["faults"] == []
    archive = Archive.read(folder)
    change(archive, next(archive.in_order()), "file")
    ended(await izin(*verified), 1)
