"""Archives that are made to stop a verifier are refused in words, within what it may take."""

import json
import zipfile
from pathlib import Path

import pytest

from benchmarks.evidence import hostile, verification
from benchmarks.evidence.hostile import HOSTILE, some_rows, with_files, zipped
from izin.evidence.container import UnreadableEvidenceError, unpacked
from izin.evidence.verification import verify

QUICK = (
    *("place 10^15", "place of 4,000 digits", "sizes of 4 GiB", "sizes of 3 bytes"),
    *("sizes of 0 bytes", "deep JSON", "deep JSON in a row", "deep JSON in a header", "keys"),
    *("instants out of range", "numbers of 4,000 digits", "escapes"),
    *("text of 8 MB, four bytes a letter", "header of 8 MB, four bytes a letter"),
)


@pytest.mark.parametrize("name", QUICK)
def test_hostile_archive_is_refused_in_words(name: str) -> None:
    """Whatever is in it, nothing but a fault comes of it."""
    found = verify(HOSTILE[name](), {(3, 1): "00" * 32})
    assert found.faults
    assert not found.is_proven


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_file_that_is_packed_otherwise_is_refused(method: int) -> None:
    """Python unpacks it without regard to the size that is claimed."""
    with pytest.raises(UnreadableEvidenceError, match="packed otherwise"):
        unpacked(zipped({"rows.json": b"[]"}, method))


def test_file_that_is_larger_than_it_claims_is_not_unpacked_whole() -> None:
    """As much as is claimed is read."""
    archive = hostile.sized(with_files(rows=b"\0" * (64 << 20)), 1024)
    with pytest.raises(UnreadableEvidenceError, match="cannot be unpacked"):
        unpacked(archive)


def test_rows_within_the_bounds_are_read() -> None:
    """So that the others are refused for what they are."""
    found = verify(with_files(rows=some_rows(10)), {(3, 1): "00" * 32})
    assert "row 1 of shard 3 stands in no segment of a chain" in found.faults


def test_verifier_is_measured_in_a_process_of_its_own(tmp_path: Path) -> None:
    """With its exit code, and what it said first."""
    anchors = tmp_path / "anchors.jsonl"
    anchors.write_text(json.dumps({"shard": 3, "place": 1, "link": "00" * 32}) + "\n")
    found = verification.measured("place 10^15", tmp_path / "evidence.zip", anchors)
    assert (found.is_refused, found.code) == (True, 1)
    assert "no segment" in found.said
    assert 5 < found.megabytes < 300


def test_report_has_the_worst_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """And names what was not refused in words."""
    some = {"a": lambda: b"", "b": lambda: b""}
    monkeypatch.setattr(verification, "HOSTILE", some)
    codes = {"a": (1, 2.0, 100.0), "b": (-1, 1.0, 200.0)}

    def measured(name: str, *_: Path) -> verification.HostileArchive:
        code, seconds, megabytes = codes[name]
        return verification.HostileArchive(
            name=name, bytes=0, code=code, seconds=seconds, megabytes=megabytes, said="x"
        )

    monkeypatch.setattr(verification, "measured", measured)
    found = verification.verify_hostile(only="")
    assert found.figures == {"verify-hostile-seconds": 2.0, "verify-hostile-megabytes": 200.0}
    assert found.failures == ["b: x"]
