"""An archive has the recipient's lines of İYS's daily files, as the ledger stores them."""

import json
from pathlib import Path

import pytest
from cryptography.x509 import load_pem_x509_certificates

from izin.evidence.container import unpacked
from izin.evidence.daily_files import check_with
from izin.evidence.verification import DAILY, REPORT, verify
from izin.sinks.ledger.daily.lines import packed
from izin.sinks.ledger.daily.lines import unpacked as lines_of
from tests.integration.sinks.evidence.test_collection import collected, published
from tests.integration.sinks.inbound.test_daily import a_day, file_of, look
from tests.integration.sinks.sink_harness import SinkHarness, a_phone

pytestmark = pytest.mark.database


async def test_lines_of_a_daily_file_are_in_the_archive(harness: SinkHarness, tmp_path: Path):
    """Each beside its row of the history, with İYS's hash and time stamp; and what was altered in
    the ledger is found.
    """
    roots = tmp_path / "roots.pem"
    roots.write_bytes(harness.iys.timestamp_root())
    day = await a_day(harness)
    before = await collected(harness, recipient=a_phone(2))
    assert DAILY not in unpacked(before.packed())[0]
    await look(harness, roots=tuple(load_pem_x509_certificates(roots.read_bytes())))
    evidence = await collected(harness, recipient=a_phone(2))
    anchors = await published(harness, tmp_path)
    archive = evidence.packed()
    found = verify(archive, anchors, check_with(roots))
    assert (found.faults, found.is_proven) == ((), True)
    (one,) = found.daily_files
    file = await file_of(harness, day)
    assert (one.day, one.hash_value, one.timestamp) == (str(day), file.hash_value, "verified")
    assert (one.lines, one.in_history, one.timestamped_at) == (2, 2, file.timestamped_at)
    contents, _ = unpacked(archive)
    (said,) = json.loads(contents[REPORT])["daily_files"]
    assert [line["line"].split(",")[5] for line in said["lines"]] == ["ONAY", "RET"]
    assert (said["total"], said["integrity"], said["agreement"]) == (4, "ok", "ok")
    assert a_phone(3).encode() not in b"".join(contents.values())
    # Bytes of the line are altered in the ledger, and the time stamp becomes that of another day.
    (part,) = await harness.ledger.fetch("SELECT content FROM daily_parts")
    altered = packed(lines_of(part["content"]).replace(b",RET,", b",ONAY,"))
    assert altered != bytes(part["content"])
    for statement in (
        "UPDATE daily_parts SET content = %(value)s RETURNING day",
        "UPDATE daily_files SET timestamp_reply = %(value)s WHERE lines > 0 RETURNING day",
    ):
        assert await harness.ledger.fetch(statement, {"value": altered})
    evidence = await collected(harness, recipient=a_phone(2))
    found = verify(evidence.packed(), await published(harness, tmp_path), check_with(roots))
    assert found.faults == (
        f"the time stamp of the daily file of {day} is wrong: it is no time-stamp reply",
    )
    assert [one.in_history for one in found.daily_files] == [1]
    assert evidence.daily_files[0].integrity == "wrong"
