"""The bytes that a commitment covers are read in one way, and hostile files are refused early."""

import base64
import json
import struct
import zipfile
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.evidence import container
from izin.evidence.container import LIST, UnreadableEvidenceError, packed, unpacked
from izin.evidence.rows import SALT, Batches, DeliveryAcknowledgement, EvidenceRow
from izin.evidence.verification import CHAIN, COMMITMENTS, ROWS, Evidence, verify
from izin.schemas.codec import Codec
from tests.support.builders import BRAND, CUSTOMER, NOON
from tests.support.evidence.archives import (
    a_decision_row,
    a_row,
    a_segment,
    acknowledged,
    anchors_for,
    noise,
    some_evidence,
)

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
    assert row.decision is not None
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
