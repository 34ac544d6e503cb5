"""The checks of the first loading can fail."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bars import bars_of
from benchmarks.results import publish
from tests.chaos.onboarding.__main__ import report
from tests.chaos.onboarding.campaign import OnboardingVerdict

FINE = OnboardingVerdict(
    rows=1000,
    published=700,
    void=200,
    forecast_seconds=400,
    took_seconds=410,
    requests=2000,
    unexplained=(),
)


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({}, set()),
        ({"forecast_seconds": 360}, {"onboarding-forecast"}),
        ({"unexplained": ("a count",)}, {"onboarding-unexplained"}),
    ],
)
def test_first_loading_that_goes_wrong_is_short_and_ends_with_1(
    changes: dict[str, object],
    short: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Each figure is in the last lines."""
    found = report(replace(FINE, **changes), seconds=1)  # type: ignore[arg-type]
    bars = [bar.name for bar in bars_of("chaos-onboarding")]
    assert publish(found, bars=bars, results=tmp_path / "x.json") == bool(short)
    lines = capsys.readouterr().out.splitlines()[-2:]
    assert {line.partition(":")[0] for line in lines if line.endswith("short")} == short
