"""The verdict on a run of mutation testing."""

import pytest

from tools.mutants import check


@pytest.mark.parametrize(("killed", "code", "word"), [(89, 0, "ok"), (88, 1, "short")])
def test_fewer_than_nine_in_ten_killed_mutants_are_short(
    killed: int, code: int, word: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """A mutant that never ends counts as killed; skipped ones do not count."""
    stats = {"killed": killed, "timeout": 1, "total": 110, "skipped": 10}
    assert check(stats) == code
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"law-mutants: {killed + 1} % (bar ≥ 90 %) {word}"
