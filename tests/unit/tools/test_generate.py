"""The generated files are current."""

import pytest

from tools.generate import ROOT, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_file_is_current(name: str) -> None:
    """A file that differs from the code is renewed with: make docs."""
    assert (ROOT / name).read_text(encoding="utf-8") == pages()[name], "run: make docs"
