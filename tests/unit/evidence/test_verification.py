"""An archive of evidence is proven by its bytes and by anchors, and any altered byte is found.

The bytes that a commitment covers are read in one way, and hostile files are refused early.
Anchors that a verifier brings, from the anchor file or exported from the topic.
"""

import base64
import hashlib
import json
import struct
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import BytesIO
from pathlib import Path

import orjson
import pytest
from hypothesis import example, given, strategies as st

from izin.consent import SourceError
from izin.evidence import container, verification
from izin.evidence.__main__ import main
from izin.evidence.chain import Segment, anchors_in, anchors_of
from izin.evidence.container import (
    LIST,
    UnreadableEvidenceError,
    dumped,
    packed,
    unpacked,
)
from izin.evidence.rows import SALT, Batches, DeliveryAcknowledgement, EvidenceRow
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
from izin.ledger.record import Anchor
from izin.schemas.codec import Codec
from tests.support.builders import BRAND, CUSTOMER, NOON, PHONE
from tests.support.evidence.archives import (
    KEY,
    SHARD,
    a_decision_row,
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
    "report": "49b64e452bfd99b23947b7313d6809b8d35a6b6dda199a2fab5a309976715eb0",
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
    assert (verification.FORMAT, says) == (5, SAYS)


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


STRANGER = f"{BRAND}/MESAJ/BIREYSEL/+905550000099"
INJECTED = json.dumps([3, "receipt", CUSTOMER, STRANGER, None, None, "gate/1", 1, 2])
PERMITTED = f'{INJECTED[:-1]}, {{"may_send":true}}]'


def opened(data: bytes | None = None) -> dict[str, bytes]:
    """Return the files of an archive without the list of their digests."""
    files, _ = unpacked(some_evidence().packed() if data is None else data)
    del files[LIST]
    return files


def _faults(genuine: EvidenceRow, shown: EvidenceRow) -> tuple[str, ...]:
    """Return what is found wrong with an archive that shows a row in place of the genuine one."""
    evidence = Evidence(
        header=some_evidence().header,
        rows=[genuine],
        batches=Batches([], {}),
        segments=[a_segment([genuine], first=2, end=16)],
    )
    files = opened(evidence.packed()) | {ROWS: container.dumped([shown.to_json()])}
    return verify(packed(files), anchors_for(evidence)).faults


def _covered(row: EvidenceRow) -> bytes:
    return row.salt + row.text.encode() + (row.decision or b"")


def test_row_that_an_event_carries_in_its_evidence_is_no_row() -> None:
    """Whoever may publish writes the text of a row into an event; the bytes that its commitment
    covers, split anew, would be a row of a stranger.
    """
    genuine = a_decision_row(3, evidence={"note": PERMITTED})
    covered = _covered(genuine)
    at = covered.index(PERMITTED.encode())
    forged = EvidenceRow(
        genuine.shard, PERMITTED, covered[at + len(PERMITTED.encode()) :], covered[:at]
    )
    assert forged.commitment == genuine.commitment
    assert _faults(genuine, genuine) == ()
    (fault,) = _faults(genuine, forged)
    assert fault == "a row of rows.json is no row of the history"


@given(cuts=st.tuples(st.integers(0, 400), st.integers(0, 400)), which=st.integers(0, 2))
def test_bytes_of_a_row_split_anew_are_no_row(cuts: tuple[int, int], which: int) -> None:
    """Whichever of the bytes are called salt, text and decision."""
    note = {"note": f"{PERMITTED} {PERMITTED}"}
    genuine = (
        a_decision_row(3, evidence=note),
        a_row(3, "act", {"act": "none", "by": "ada", "before": note, "after": {}}),
        a_row(3, "outcome", {"outcome": PERMITTED}),
    )[which]
    covered = _covered(genuine)
    first, second = sorted(min(cut, len(covered)) for cut in cuts)
    salt, text, rest = covered[:first], covered[first:second], covered[second:]
    forged = EvidenceRow(genuine.shard, text.decode("latin-1"), rest or None, salt)
    if (salt, text, rest) == (genuine.salt, genuine.text.encode(), genuine.decision or b""):
        return
    with pytest.raises(UnreadableEvidenceError):
        assert forged.columns


@pytest.mark.parametrize(
    ("text", "decision"),
    [
        ('[3, "act", "c", "k", null, null, "s", 1, 2, {"a":1}] ', None),
        (' [3, "act", "c", "k", null, null, "s", 1, 2, {"a":1}]', None),
        ('[3,"act", "c", "k", null, null, "s", 1, 2, {"a":1}]', None),
        ('[3, "act", "c", "k", null, null, "s", 1, 2, {"a": 1}]', None),
        ('[3, "act", "c", "k", null, null, "s", 1, 2, {"a":1,"a":1}]', None),
        ('[3.0, "act", "c", "k", null, null, "s", 1, 2, {"a":1}]', None),
        ('[true, "act", "c", "k", null, null, "s", 1, 2, {"a":1}]', None),
        ('[3, "act", "c", 4, null, null, "s", 1, 2, {"a":1}]', None),
        ('[3, "act", "c", "k", 1, null, "s", 1, 2, {"a":1}]', None),
        ('[3, "act", "c", "k", null, null, "s", 1, 2]', None),
        ('[3, "act", "c", "k", null, null, "s", 1, 2, {"a":1}, 1]', None),
        ('[3, "act", "c", "k", null, null, "s", 1, 2, {"a":1}]', b"x"),
        ('[3, "decision", "c", "k", null, null, null, 1, 2, null]', None),
        ('[3, "decision", "c", "k", null, "ONAY", null, 1, 2, null]', b"x"),
        ('[3, "decision", "c", "k", null, null, null, 1, 2, {"a":1}]', b"x"),
        ("[" * 100_000, None),
    ],
)
def test_text_in_another_form_is_no_row(text: str, decision: bytes | None) -> None:
    """Spaces, other types, a field more or less, a decision where none belongs."""
    with pytest.raises(UnreadableEvidenceError):
        assert EvidenceRow(3, text, decision, bytes(SALT)).columns


@pytest.mark.parametrize("size", [0, 15, 17, 32])
def test_salt_of_another_size_is_refused(size: int) -> None:
    """Of rows and of acknowledgements."""
    row = a_row(3, "outcome", {"outcome": "accepted"})
    assert row.columns.place == 3
    with pytest.raises(UnreadableEvidenceError):
        assert EvidenceRow(row.shard, row.text, None, bytes(size)).columns
    ((one,), _), _ = acknowledged(NOON)
    with pytest.raises(UnreadableEvidenceError):
        assert DeliveryAcknowledgement(one.text, bytes(size), one.subscriber).fields


def test_acknowledgement_in_another_form_is_refused() -> None:
    """A space, another type, and a field too much."""
    ((one,), _), _ = acknowledged(NOON)
    values = json.loads(one.text)
    assert one.fields["offset"] == 9
    for text in (
        json.dumps(values),
        one.text + " ",
        json.dumps(["4", *values[1:]], separators=(",", ":")),
        json.dumps([*values, 1, 2], separators=(",", ":")),
    ):
        with pytest.raises(UnreadableEvidenceError):
            assert DeliveryAcknowledgement(text, one.salt, one.subscriber).fields


def test_decision_bytes_stay_the_decision_of_their_row() -> None:
    """A genuine row is read as before."""
    row = a_decision_row(3)
    assert Codec().decode("Decision", row.decision)["event"]["status"] == "ONAY"
    again = EvidenceRow.from_json(row.to_json())
    assert (again.columns, again.commitment) == (row.columns, row.commitment)
    assert base64.b64decode(row.to_json()["decision"]) == row.decision


def test_segment_with_more_rows_than_commitments_is_refused_at_once() -> None:
    """Its place is a number that anybody may write; nothing is counted up to it."""
    (segment,) = json.loads(opened()[CHAIN])
    for change in ({"place": 10**15}, {"first": -(10**15)}, {"first": 0}, {"place": 1, "first": 2}):
        altered = json.dumps([segment | change]).encode()
        (fault,) = verify(packed(opened() | {CHAIN: altered}), {}).faults
        assert fault == "chain.json has an entry that is no segment"


HALF = bytes(container.MOST_BYTES // 2 + 1)


@pytest.mark.parametrize(
    ("files", "fault"),
    [
        (
            {ROWS: b"[" + b"[]," * 2_000_000 + b"[]]"},
            "rows.json has more than an archive of evidence may have",
        ),
        ({COMMITMENTS: HALF + HALF}, "its files are larger than any evidence"),
        ({COMMITMENTS: HALF, "more.bin": HALF}, "its files are larger than any evidence"),
    ],
    ids=["many values", "one file", "files together"],
)
def test_content_beyond_any_evidence_is_refused_before_it_is_read(
    files: dict[str, bytes], fault: str
) -> None:
    """An empty list takes three bytes of a file, and sixty in memory; sizes are those that the
    archive names.
    """
    assert verify(packed(opened() | files), {}).faults == (fault,)


def test_archive_with_many_entries_is_refused_by_its_end() -> None:
    """Their list would be read whole; so would one that hides behind the record for ZIPs of more
    than 4 GiB, which gives another size than the end.
    """
    buffer = BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number in range(40):
            archive.writestr(f"{number}", b"")
        archive.comment = b"0" * 64
    genuine = some_evidence().packed()
    end = len(genuine) - 22 - 64
    locator = struct.pack("<4sLQL", b"PK\x06\x07", 0, 0, 1)
    for altered in (buffer.getvalue(), genuine[:end] + locator + genuine[end:]):
        (fault,) = verify(altered, {}).faults
        assert fault.startswith("the archive does not end as one does")


def test_second_segment_takes_its_own_commitments() -> None:
    """They follow one another in one file."""
    evidence, row = some_evidence(), a_row(18, "outcome", {"outcome": "accepted"})
    later = a_segment([row], first=18, end=20)
    both = replace(evidence, rows=[*evidence.rows, row], segments=[*evidence.segments, later])
    found = verify(both.packed(), anchors_for(both))
    assert (found.faults, found.anchors) == ((), 2)
    assert noise("row 19") in later.commitments


def test_file_larger_than_any_archive_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size is asked for first."""
    path = tmp_path / "evidence.zip"
    path.write_bytes(some_evidence().packed())
    assert container.read(path)
    monkeypatch.setattr(container, "MOST_BYTES", path.stat().st_size - 1)
    with pytest.raises(UnreadableEvidenceError, match="larger than any archive"):
        container.read(path)


ANCHOR = Anchor(
    id=1, shard=2, place=3, link=b"\x0f" * 32, anchored_at=datetime(2026, 3, 2, tzinfo=UTC)
)
LINE = ANCHOR.to_line()
RECORD = f'{{"anchor_id": 1, "shard": 2, "place": 3, "link": "{"0f" * 32}", "anchored_at": 0}}\n'


@pytest.mark.parametrize("text", [LINE, RECORD, LINE[:30] + "\n" + LINE, LINE + LINE[:30]])
def test_anchors_are_read_from_file_and_topic(tmp_path: Path, text: str) -> None:
    """Also where a crash has cut off a line, which the next one repeats."""
    file = tmp_path / "anchors.jsonl"
    file.write_text(text)
    assert anchors_in(file) == {(2, 3): "0f" * 32}
    assert anchors_of([file, file]) == anchors_in(file)


def test_without_files_there_are_no_anchors_to_compare() -> None:
    """That is not the same as a file without any."""
    assert anchors_of([]) is None


@pytest.mark.parametrize("line", ["x", "{}", "[]", '{"shard": 1, "place": 2, "link": "xy"}'])
def test_line_that_is_no_anchor_is_named(tmp_path: Path, line: str) -> None:
    """With what to do."""
    file = tmp_path / "anchors.jsonl"
    file.write_text(f"{LINE}{line}\n{LINE}")
    with pytest.raises(SourceError, match="line 2 is no anchor; export"):
        anchors_in(file)


def test_file_that_is_no_text_is_refused(tmp_path: Path) -> None:
    """Nor is one that is not there."""
    file = tmp_path / "anchors.jsonl"
    file.write_bytes(b"\xff\xfe")
    for path in (file, tmp_path / "nowhere"):
        with pytest.raises(SourceError, match="name a file of anchors"):
            anchors_in(path)
