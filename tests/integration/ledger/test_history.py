"""Any change of the history is detected, and its place named."""

import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.ledger.db import Connection, Ledger
from izin.ledger.history import (
    Fact,
    Fault,
    HistoryEntry,
    append,
    chain_check,
    commitment_of,
    content,
    next_link,
    verify,
)
from izin.ledger.history.verify import Verified
from izin.ledger.record import LedgerFaultError, TopicMessages, UnreadableAnchorError
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.monitor.anchors import AnchorWriter
from tests.integration.sinks.sink_harness import Izin, until

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


def anchor_writer(ledger: Ledger, file: Path | None) -> AnchorWriter:
    """Return a writer of anchors of the ledger's chains."""
    return AnchorWriter(
        ledger=ledger,
        topic_messages=TopicMessages(Codec(), Topics()),
        file=file,
        clock=lambda: datetime.now(UTC),
        interval=timedelta(minutes=10),
    )


@pytest.fixture
async def file(ledger: Ledger, tmp_path: Path) -> Path:
    """Give the anchor file of a chain of six facts, to which two more are appended after it."""
    file = tmp_path / "evidence" / "anchors.jsonl"
    await written(ledger, *(f"act/{number}" for number in range(6)))
    assert await anchor_writer(ledger, file).anchor() == 1
    await written(ledger, "act/6", 'act/"7"')
    return file


def cut_off(file: Path) -> None:
    """Leave half of the last line, as a crash does."""
    *lines, last = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines) + last[:20])


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


@pytest.mark.usefixtures("file")
async def test_anchors_are_append_only(ledger: Ledger):
    """They cannot be changed in the ledger, like history itself."""
    with pytest.raises(LedgerFaultError, match="append_only"):
        await ledger.fetch("DELETE FROM anchors RETURNING id")


def test_malformed_anchor_file_is_refused_with_its_line(tmp_path: Path):
    """A wrong file proves nothing, and the error says which line is wrong."""
    file = tmp_path / "a"
    file.write_text(f"{AN_ANCHOR}\n{{}}\n")
    with pytest.raises(UnreadableAnchorError, match=f"{file}, line 2: not an anchor"):
        verify.read_anchors(file)
    shown = CliRunner().invoke(app, ["ledger", "verify", "--no-topic", "--anchors", str(file)])
    assert (shown.exit_code, f"{file}, line 2" in shown.output) == (3, True)
    file.write_bytes(b"\xff")
    with pytest.raises(UnreadableAnchorError, match=f"{file} is not a text file"):
        verify.read_anchors(file)


def test_missing_anchor_file_is_wrong_usage(tmp_path: Path):
    """Exit code 1 would say that the history was changed."""
    shown = CliRunner().invoke(app, ["ledger", "verify", "--anchors", str(tmp_path / "none")])
    assert (shown.exit_code, "none" in shown.output) == (2, True)


async def test_verify_command_exits_1_on_a_changed_row(ledger: Ledger, file: Path, izin: Izin):
    """Exit code 0 without faults, 1 with the place of the row."""
    words = ("ledger", "verify", "--no-topic", "--anchors", file, "--output", "json")
    shown = await izin(*words)
    assert (shown.exit_code, '"faults": []' in shown.output) == (0, True)
    await tampered(ledger, EDIT)
    shown = await izin(*words)
    assert (shown.exit_code, '"place": 3' in shown.output) == (1, True)
