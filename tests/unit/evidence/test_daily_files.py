"""Lines of İYS's daily files in an archive: their time stamps, and the entries beside them."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from iys_simulator.timestamp_authority import TimestampAuthority

from izin.evidence.__main__ import main
from izin.evidence.container import UnreadableEvidenceError, unpacked
from izin.evidence.daily_files import COLUMNS, MISSING, UNVERIFIED, WRONG, DailyLines, check_with
from izin.evidence.verification import DAILY, SUMMARY, Evidence, VerifiedEvidence, verify
from izin.evidence.words import PATHS, TIMESTAMPS
from izin.iys.wire_format import consents
from izin.schemas.timestamps import TimestampState
from tests.contract.test_packaging import ran
from tests.support.builders import PHONE
from tests.support.evidence.archives import (
    MINUTE,
    NOON,
    a_daily_file,
    a_row,
    a_segment,
    anchors_for,
    some_evidence,
)

AUTHORITY, STRANGER = TimestampAuthority(), TimestampAuthority()
HASH = hashlib.sha384(b"a day").hexdigest()
AT = NOON + 900 * MINUTE
REPLY = AUTHORITY.reply(HASH, AT, 7)
VERIFIED = a_daily_file(hash_value=HASH, timestamp_reply=REPLY, timestamp_state="verified")
OBSERVED = {
    "by": "pull",
    "creation_date": (NOON + 60 * MINUTE).isoformat(),
    "consent_date": None,
    "source": "IYS_WEB",
    "transaction_id": "b" * 64,
}


def evidence_with(*files: DailyLines, observed: bool = True) -> Evidence:
    """Return evidence with daily files, and a pull that showed what their line says."""
    rows = list(some_evidence().rows)
    if observed:
        rows.append(a_row(13, "observation", OBSERVED, at=NOON + 61 * MINUTE, status="RET"))
    segments = [a_segment(rows, first=2, end=16)]
    return replace(some_evidence(), rows=rows, segments=segments, daily_files=files)


def verified(evidence: Evidence, roots: Path | None = None) -> VerifiedEvidence:
    """Return what is found of evidence, with anchors and trusted roots from outside."""
    return verify(evidence.packed(), anchors_for(evidence), check_with(roots))


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a file of the roots that are trusted."""
    file = tmp_path_factory.mktemp("roots") / "roots.pem"
    file.write_bytes(AUTHORITY.root_pem)
    return file


def test_line_and_timestamp_are_verified(roots: Path) -> None:
    """The line stands in a proven row too, and the time stamp is of İYS's hash."""
    found = verified(evidence_with(VERIFIED), roots)
    assert (found.faults, found.is_proven, found.is_computed) == ((), True, True)
    (one,) = found.daily_files
    assert (one.lines, one.in_history, one.timestamp) == (1, 1, "verified")
    assert (one.timestamped_at, one.note, one.hash_value) == (AT, None, HASH)
    assert not any(PHONE in line for line in found.lines())


def test_timestamp_without_roots_is_unverified() -> None:
    """Which is no fault; the output says what is needed."""
    found = verified(evidence_with(VERIFIED))
    assert found.is_proven
    assert "time stamp of its hash unverified (bring the roots" in found.lines()[0]


@pytest.mark.parametrize(
    "change",
    [
        {"hash_value": hashlib.sha384(b"another day").hexdigest()},
        {"timestamp_reply": b"no reply"},
        {"timestamp_reply": STRANGER.reply(HASH, AT, 7)},
    ],
    ids=["hash", "reply", "signer"],
)
def test_wrong_timestamp_is_found(roots: Path, change: dict[str, Any]) -> None:
    """Of another file, no reply at all, or signed by nobody that is trusted."""
    file = replace(VERIFIED, **change)
    found = verified(evidence_with(file), roots)
    (fault,) = found.faults
    assert fault.startswith("the time stamp of the daily file of 2026-03-02 is wrong: ")
    # One that the archive calls wrong itself is no fault of the archive.
    found = verified(evidence_with(replace(file, timestamp_state="wrong")), roots)
    assert (found.is_proven, found.daily_files[0].timestamp) == (True, "wrong")


@pytest.mark.parametrize(
    "change", [{"timestamp_reply": None}, {"timestamp_state": "missing"}, {"timestamp_state": None}]
)
def test_timestamp_is_stated_with_its_reply(change: dict[str, Any]) -> None:
    """A state alone would say what nobody can verify."""
    found = verified(evidence_with(replace(VERIFIED, **change)))
    assert "states a time stamp otherwise than it brings one" in found.faults[0]


@pytest.mark.parametrize("column", ["creationDate", "transactionId", "consentDate", "source"])
def test_altered_line_stands_in_no_row(column: str) -> None:
    """With every digest computed anew: then the page says that the history does not have it."""
    cells = VERIFIED.lines[0].split(",")
    cells[COLUMNS.index(column)] = "2026-03-02 13:00:01"
    (one,) = verified(evidence_with(replace(VERIFIED, lines=(",".join(cells),)))).daily_files
    assert (one.lines, one.in_history) == (1, 0)
    assert verified(evidence_with(VERIFIED, observed=False)).daily_files[0].in_history == 0


@pytest.mark.parametrize(
    ("old", "new"), [(PHONE, "+905550000002"), ("MESAJ", "EPOSTA"), ("BIREYSEL", "TACIR")]
)
def test_line_of_another_key_is_found(old: str, new: str) -> None:
    """It would open what is somebody else's."""
    file = replace(VERIFIED, lines=(*VERIFIED.lines, VERIFIED.lines[0].replace(old, new)))
    (fault,) = verified(evidence_with(file)).faults
    assert "has a line of another recipient" in fault


def test_short_line_of_the_key_is_read() -> None:
    """Of columns that this release does not know; it is in no row."""
    found = verified(evidence_with(replace(VERIFIED, lines=(f",,{PHONE},BIREYSEL,MESAJ",))))
    assert (found.is_proven, found.daily_files[0].in_history) == (True, 0)


def test_archive_without_lines_says_nothing_of_daily_files() -> None:
    """No file and no section of the page."""
    files, _ = unpacked(evidence_with().packed())
    assert DAILY not in files
    assert "günlük hareket dosyaları" not in files[SUMMARY].decode()
    shown = unpacked(evidence_with(VERIFIED).packed())[0][SUMMARY].decode()
    assert "kendileri bu arşivde değildir" in shown
    assert (HASH in shown, "3/13" in shown, "doğrulandı" in shown) == (True, True, True)


def test_file_is_the_same_after_the_archive() -> None:
    """And what is no daily file is refused."""
    assert DailyLines.from_json(VERIFIED.to_json()) == VERIFIED
    for change in (
        *({"timestamp_reply": "no base64"}, {"hash_value": "no hash"}, {"lines": None}),
        {"more": 1},
    ):
        with pytest.raises(UnreadableEvidenceError, match="no daily file"):
            DailyLines.from_json(VERIFIED.to_json() | change)


def test_names_are_those_of_the_product() -> None:
    """The verifier has none of its own."""
    assert consents.COLUMNS == COLUMNS
    assert [
        *(TimestampState.MISSING, TimestampState.UNVERIFIED, TimestampState.WRONG),
    ] == [MISSING, UNVERIFIED, WRONG]
    assert TIMESTAMPS.keys() == set(TimestampState)
    assert ("daily" in PATHS, "file" in PATHS) == (True, False)


def test_command_takes_the_roots(
    tmp_path: Path, roots: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file that has none is named, with the exit code of a file that cannot be read."""
    archive, evidence = tmp_path / "evidence.zip", evidence_with(VERIFIED)
    archive.write_bytes(evidence.packed())
    anchors = tmp_path / "anchors.jsonl"
    (((shard, place), link),) = anchors_for(evidence).items()
    anchors.write_text(json.dumps({"shard": shard, "place": place, "link": link}) + "\n")
    given = [str(archive), "--anchors", str(anchors), "--roots"]
    assert main([*given, str(roots)]) == 0
    assert "time stamp of its hash verified\n" in capsys.readouterr().out
    assert main([*given, str(anchors)]) == 3
    assert "has no certificates" in capsys.readouterr().err
    code = (
        f"from izin.evidence.__main__ import main; raise SystemExit(main({[*given, str(roots)]}))"
    )
    light = ran(code)
    assert (light.returncode, light.stderr) == (0, "")
    assert "unverified (it needs rfc3161-client" in light.stdout
