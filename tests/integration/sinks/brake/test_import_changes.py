"""What one import changed, as ``izin import changes`` tells it."""

import hashlib
import json
from pathlib import Path

import pytest

from tests.integration.sinks.sink_harness import Izin, SinkHarness, a_phone, onay, ret

pytestmark = pytest.mark.database

FIRST, BEHIND, SAME, OTHER = map(a_phone, range(4))


async def test_changes_of_an_import_are_those_of_its_events(
    harness: SinkHarness, izin: Izin, tmp_path: Path
) -> None:
    """By its run or by its file: what changed a key, and the opt-outs behind a newer opt-in."""
    path = tmp_path / "export.csv"
    path.write_text("telefon\n", "utf-8")
    run = hashlib.sha256(path.read_bytes()).hexdigest()
    await harness.ingest(onay(BEHIND, minutes=5), ret(SAME, minutes=5), onay(OTHER))
    await harness.ingest(
        ret(FIRST, import_id=run, row=3),
        ret(BEHIND, minutes=30, import_id=run, row=4),
        ret(SAME, minutes=60, import_id=run, row=5),
        onay(OTHER, minutes=2, import_id="0" * 64, row=2, origin_ref=run),
    )
    for words in (run, path):
        shown = await izin("import", "changes", words, "--output", "json")
        assert shown.exit_code == 0, shown.stderr
        found = json.loads(shown.stdout)
        assert found["run"] == run
        assert found["decided"] == [
            {"status": "RET", "kind": "Apply", "count": 1},
            {"status": "RET", "kind": "Stale", "count": 2},
        ]
        assert found["opt_outs_behind"] == 1
        (change,) = found["changes"]
        assert (change["row"], change["status"], change["reason"]) == (3, "RET", "first")
        assert change["key"].endswith(FIRST)


async def test_import_of_which_nothing_is_known_changed_nothing(
    harness: SinkHarness, izin: Izin, tmp_path: Path
) -> None:
    """Nothing of it was decided yet, or it never was; and what is no run is wrong usage."""
    shown = await izin("import", "changes", "0" * 64)
    assert (shown.exit_code, "behind" in shown.stdout) == (0, True)
    assert (await izin("import", "changes", tmp_path / "missing.csv")).exit_code == 2
    assert harness.offset == 0
