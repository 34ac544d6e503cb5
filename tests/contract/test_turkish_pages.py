"""The Turkish pages do not fall behind the English ones."""

from pathlib import Path

import pytest

from tools import turkish_pages


def test_every_turkish_page_says_what_the_english_one_says() -> None:
    """Compare the page with its English one, then run `python -m tools.turkish_pages`."""
    assert [*turkish_pages.behind()] == []


def test_page_that_fell_behind_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And so is one that names no English page."""
    for folder in ("docs", "docs/tr"):
        (tmp_path / folder).mkdir()
    for name in ("sending", "privacy", "start"):
        (tmp_path / "docs" / f"{name}.md").write_text("Send.\n", "utf-8")
        (tmp_path / "docs" / "tr" / f"{name}.md").write_text("Gönderin.\n", "utf-8")
    monkeypatch.setattr(turkish_pages, "ROOT", tmp_path)
    monkeypatch.setattr(turkish_pages, "_TURKISH", tmp_path / "docs" / "tr")
    assert [*turkish_pages.behind()] == ["privacy.md", "sending.md", "start.md"]
    turkish_pages.main()
    assert [*turkish_pages.behind()] == []
    (tmp_path / "docs" / "sending.md").write_text("Ask, then send.\n", "utf-8")
    assert [*turkish_pages.behind()] == ["sending.md"]
