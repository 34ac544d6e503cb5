"""A short run of malformed files; the long one is ``make chaos STAGE=files``."""

from pathlib import Path
from unittest.mock import Mock

import pytest

from benchmarks.results import publish
from izin.producers.files import workbook
from tests.chaos.files import __main__ as campaign
from tests.chaos.files.__main__ import FilesVerdict, report

FILES, BOOK_EVERY = 200, 16


def test_malformed_files_are_imported_or_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Never an error that is no source's, and never more memory than allowed."""
    monkeypatch.setattr(workbook, "_MOST_MEMORY", 128 * 2**20)
    found = campaign.run(tmp_path, files=FILES, seed=21, book_every=BOOK_EVERY)
    assert (found.failures, found.violations) == ([], 0)
    assert found.imported + found.refused == FILES
    assert found.imported
    assert found.refused


def test_error_of_ours_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The campaign sees it, and says which file it was; the first one has no import."""
    monkeypatch.setattr(campaign, "import_file", Mock(side_effect=RuntimeError("broken")))
    found = campaign.run(tmp_path, files=2, seed=21)
    assert found.violations == 1
    assert found.failures[0].startswith("file 1 of seed 21, ")
    results = tmp_path / "result.json"
    assert publish(report(found, seed=21, seconds=1), bars=["files"], results=results) == 1
    assert "RuntimeError: broken" in results.read_text()


def test_memory_beyond_its_bound_is_a_violation():
    """Of all files together."""
    verdict = FilesVerdict(files=1, imported=1, refused=0, megabytes=campaign.MOST_MEGABYTES + 1)
    assert verdict.violations == 1
