"""An archive of evidence is proven by its bytes and by anchors, and any altered byte is found."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from izin.evidence import verification
from izin.evidence.__main__ import main
from izin.evidence.chain import Segment
from izin.evidence.container import LIST, dumped, packed, unpacked
from izin.evidence.rows import EvidenceRow
from izin.evidence.verification import (
    CHAIN,
    COMMITMENTS,
    DAILY,
    DELIVERIES,
    HEADER,
    NOT_RECOMPUTED,
    REPORT,
    ROWS,
    SUMMARY,
    Evidence,
    verify,
)
from izin.ledger.history import Fact, content
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE
from tests.support.evidence.archives import (
    KEY,
    SHARD,
    a_history,
    a_row,
    a_segment,
    acknowledged,
    anchors_for,
    noise,
    some_evidence,
)

EVIDENCE = some_evidence()


def forged(rows: Sequence[EvidenceRow]) -> Evidence:
    """Return evidence of other rows, in a chain made anew."""
    return replace(EVIDENCE, rows=rows, segments=[a_segment(rows, first=2, end=16)])


ARCHIVE = EVIDENCE.packed()
ANCHORS = anchors_for(EVIDENCE)
SAYS = {
    "report": "9333a698776d10d66400abddc874b718fc0d63492073aaddff55c7999f7f26fd",
    "summary": "ead99fd900a7de727052db4e05204ef22ab587bc0ceba8fbc79f880dfb76a53b",
}
"""The digests of what is computed of ``EVIDENCE``, in this format."""
Files = dict[str, bytes]


def test_whole_archive_is_proven_by_anchors_alone() -> None:
    """Nothing but the archive and the anchors is needed."""
    found = verify(ARCHIVE, ANCHORS)
    assert (found.faults, found.is_proven, found.is_computed) == ((), True, True)
    assert (found.rows, found.deliveries, found.anchors) == (len(EVIDENCE.rows), 1, 1)
    assert found.header["recipient"] == PHONE
    assert not any(PHONE in line for line in found.lines())


def test_archive_without_anchors_is_whole_and_not_proven() -> None:
    """Whoever made it could have made the chain too."""
    found = verify(ARCHIVE, None)
    assert (found.faults, found.is_proven) == ((), False)
    assert "bring anchors" in found.lines()[-1]


def test_any_altered_byte_is_found() -> None:
    """Each of the last, which have directory and digest, and every seventeenth before, so that each
    file and name has some; by another bit each time.
    """
    size = len(ARCHIVE)
    places = {*range(size - 300, size), *range(0, size, 17)}
    for place in sorted(places):
        altered = bytearray(ARCHIVE)
        altered[place] ^= 1 << place % 8
        assert verify(bytes(altered), ANCHORS).faults, place


@pytest.mark.parametrize(
    "altered",
    [
        *(ARCHIVE[:cut] for cut in (0, 1, 100, len(ARCHIVE) // 2, -1)),
        *(one for more in (b"0", b"more", ARCHIVE) for one in (ARCHIVE + more, more + ARCHIVE)),
    ],
    ids=len,
)
def test_archive_that_was_cut_off_or_extended_is_found(altered: bytes) -> None:
    """Wherever it ends, and at either end."""
    assert verify(altered, ANCHORS).faults


def replaced(name: str, old: str, new: str) -> Callable[[Files], None]:
    """Return what replaces a text in a file."""

    def change(files: Files) -> None:
        text = files[name].decode()
        assert old in text, (name, old)
        files[name] = text.replace(old, new, 1).encode()

    return change


def changed_row(field: str, value: object) -> Callable[[Files], None]:
    """Return what changes a field of the first row."""

    def change(files: Files) -> None:
        rows = json.loads(files[ROWS])
        assert rows[0][field] != value
        rows[0][field] = value
        files[ROWS] = dumped(rows)

    return change


def shorter(files: Files) -> None:
    """Leave out the last row."""
    files[ROWS] = dumped(json.loads(files[ROWS])[:-1])


def other_commitment(files: Files) -> None:
    """Change the commitment of somebody else's row."""
    files[COMMITMENTS] = noise("x") + files[COMMITMENTS][32:]


@pytest.mark.parametrize(
    "change",
    [
        replaced(HEADER, PHONE, "+905550000002"),
        replaced(HEADER, str(BRAND), "100002"),
        replaced(HEADER, KEY, f"{BRAND}/ARAMA/BIREYSEL/{PHONE}"),
        replaced(HEADER, "2026-03-02T09:30", "2026-03-02T10:30"),
        replaced(ROWS, "kampanya", "campaign"),
        changed_row("salt", "00" * 16),
        changed_row("shard", 4),
        changed_row("decision", "AAAA"),
        changed_row("text", "[]"),
        shorter,
        replaced(DELIVERIES, "opted-out", "outcome"),
        replaced(DELIVERIES, '"sms"', '"crm"'),
        replaced(DELIVERIES, noise("0").hex(), noise("1").hex()),
        replaced(DAILY, '"differs"', '"ok"'),
        replaced(DAILY, ",RET,", ",ONAY,"),
        replaced(DAILY, PHONE, "+905550000002"),
        replaced(DAILY, '"day"', '"date"'),
        lambda files: files.pop(DAILY),
        replaced(CHAIN, '"place": 16', '"place": 15'),
        replaced(CHAIN, '"first": 2', '"first": 1'),
        replaced(CHAIN, '"before"', '"behind"'),
        other_commitment,
        replaced(REPORT, '"may_send": true', '"may_send": false'),
        replaced(SUMMARY, "gönderilebilir", "gönderilemez"),
        lambda files: files.update({"more.txt": b"more"}),
        lambda files: files.pop(SUMMARY),
    ],
)
def test_forgery_with_new_digests_is_found(change: Callable[[Files], None]) -> None:
    """Whoever computes every digest of the archive anew cannot compute the anchors anew."""
    files, faults = unpacked(ARCHIVE)
    assert faults == []
    del files[LIST]
    assert verify(packed(files), ANCHORS).is_proven
    change(files)
    assert verify(packed(files), ANCHORS).faults


def test_rewritten_chain_differs_from_the_anchors() -> None:
    """An archive that is consistent in itself, of another history than was published."""
    other = forged([*EVIDENCE.rows[1:], a_row(2, "act", {"act": "nothing", "by": "ada"})]).packed()
    assert verify(other, None).faults == ()
    (fault,) = verify(other, ANCHORS).faults
    assert "was rewritten since" in fault


def test_anchors_of_another_ledger_prove_nothing() -> None:
    """Nor do those that end before the archive."""
    for anchors in ({}, {(SHARD, 15): "00" * 32}):
        (fault,) = verify(ARCHIVE, anchors).faults
        assert "have none of shard 3 at row 16" in fault


@pytest.mark.parametrize(
    "row",
    [
        a_row(3, "act", {"act": "add brand", "by": "ada"}, key=f"brand/{BRAND}"),
        a_row(3, "outcome", {"outcome": "accepted"}, key=KEY.replace(PHONE, "+905550000002")),
    ],
)
def test_row_of_another_key_is_found(row: EvidenceRow) -> None:
    """It would open what is somebody else's."""
    other = forged([*EVIDENCE.rows, row])
    found = verify(other.packed(), anchors_for(other))
    assert found.faults == ("row 3 of shard 3 is of another key",)


def test_rows_of_others_are_commitments_alone() -> None:
    """Thirty-two salted bytes for each, and no other part of the archive grows with them."""
    rows = a_history()
    near, far = (
        replace(EVIDENCE, rows=rows, segments=[a_segment(rows, first=2, end=end)])
        for end in (20, 1020)
    )
    few, many = (unpacked(one.packed())[0] for one in (near, far))
    assert len(many[COMMITMENTS]) - len(few[COMMITMENTS]) == 32 * 1000
    assert abs(len(many[CHAIN]) - len(few[CHAIN])) < 4


@pytest.mark.parametrize("format_", [verification.FORMAT + 1, verification.FORMAT - 1, "2", None])
def test_archive_of_another_format_is_not_proven(format_: object, tmp_path: Path) -> None:
    """Its summary may say anything: an exit code of its own, and words, say that."""
    other = some_evidence(format=format_)
    files, _ = unpacked(other.packed())
    del files[LIST]
    lying = packed({**files, SUMMARY: files[SUMMARY].replace(b"ONAY", b"RET")})
    found = verify(lying, anchors_for(other))
    assert (found.faults, found.is_proven, found.is_computed) == ((), False, False)
    assert found.lines()[-1].startswith("not recomputed")
    path, anchors = tmp_path / "evidence.zip", tmp_path / "anchors.jsonl"
    path.write_bytes(lying)
    ((place, link),) = anchors_for(other).items()
    anchors.write_text(json.dumps({"shard": place[0], "place": place[1], "link": link}) + "\n\n")
    assert main([str(path), "--anchors", str(anchors)]) == NOT_RECOMPUTED


def test_what_is_computed_changes_only_with_the_format() -> None:
    """Where this fails, ``FORMAT`` rises with the digests here: else archives that were
    handed out would seem to be forged.
    """
    files, _ = unpacked(ARCHIVE)
    says = {
        "report": hashlib.sha256(files[REPORT]).hexdigest(),
        "summary": hashlib.sha256(files[SUMMARY]).hexdigest(),
    }
    assert (verification.FORMAT, says) == (4, SAYS)


@pytest.mark.parametrize(
    ("segments", "what"),
    [
        ([], "stands in no segment"),
        ([a_segment(EVIDENCE.rows, first=3, end=16)], "row 2 of shard 3 stands in no segment"),
        ([replace(EVIDENCE.segments[0], link=noise("x"))], "does not lead to its anchor"),
        ([replace(EVIDENCE.segments[0], commitments=b"")], "does not lead to its anchor"),
        ([replace(EVIDENCE.segments[0], shard=4)], "stands in no segment"),
    ],
)
def test_row_without_a_proof_is_found(segments: list[Segment], what: str) -> None:
    """Each row leads to an anchor, or the archive is not made."""
    faults = replace(EVIDENCE, segments=segments).unproven()
    assert any(what in one for one in faults), faults


def test_command_needs_the_libraries_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """By exit codes: proven, altered or without anchors, unreadable."""
    archive, anchors = tmp_path / "evidence.zip", tmp_path / "anchors.jsonl"
    archive.write_bytes(ARCHIVE)
    (place,), (link,) = ANCHORS, ANCHORS.values()
    anchors.write_text(json.dumps({"shard": place[0], "place": place[1], "link": link}) + "\n")
    assert main([str(archive), "--anchors", str(anchors)]) == 0
    assert "no faults" in capsys.readouterr().out
    assert main([str(archive)]) == 1
    archive.write_bytes(ARCHIVE[:-1])
    assert main([str(archive), "--anchors", str(anchors)]) == 1
    assert "fault: " in capsys.readouterr().out
    assert main([str(tmp_path / "nowhere.zip")]) == 3
    anchors.write_text("no anchor\n\n")
    assert main([str(archive), "--anchors", str(anchors)]) == 3
    assert "line 1 is no anchor" in capsys.readouterr().err


def test_second_digest_of_a_batch_is_found() -> None:
    """Acknowledgements that were written anew bring a digest of their own, behind the other."""
    batches, digest = acknowledged(NOON)
    other = {"batch": 4, "rows": 3, "digest": "00" * 32}
    rows = [a_row(13, "delivery", other, key="deliveries", source="deliveries/4"), digest]
    found = replace(EVIDENCE, rows=rows, batches=batches, daily_files=())
    faults = replace(found, segments=[a_segment(rows, first=13, end=16)]).unproven()
    assert "batch 4 of deliveries has two digests in the history" in faults


@given(
    data=st.recursive(
        st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats() | st.text(),
        lambda one: st.lists(one) | st.dictionaries(st.text(), one),
    )
)
@example(data=[1e16, 1e-5, -0.0, 1.5e300, 5e-324, 123456789012345680.0, 0.1])
@example(data={"\x00\x1f\x7f\u2028": ["1e16", '"1e16', "\\"]})
def test_every_row_that_the_ledger_writes_is_read(data: object) -> None:
    """The ledger writes JSON with another library than its verifiers have."""
    try:
        written = orjson.dumps(data)
    except (TypeError, UnicodeEncodeError):
        return  # a lone surrogate: the ledger cannot write it
    fact = Fact("act", CUSTOMER, KEY, None, "RET", "act/1", 5, written, None)
    row = EvidenceRow(SHARD, content(7, fact, 6).decode(), None, noise("salt")[:16])
    assert row.columns.data == orjson.loads(written)
