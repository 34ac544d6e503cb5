"""Anchors that a verifier brings, from the anchor file or exported from the topic."""

from datetime import UTC, datetime
from pathlib import Path

import pytest

from izin.consent import SourceError
from izin.evidence.chain import anchors_in, anchors_of
from izin.ledger.record import Anchor

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
