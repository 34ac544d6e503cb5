"""The checks of the outage can fail."""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.bars import bars_of
from benchmarks.results import publish
from tests.chaos.outage.__main__ import report
from tests.chaos.outage.campaign import OutageVerdict

FINE = OutageVerdict(
    keys=1000,
    rejections=2,
    days=10,
    shut_minutes=15,
    confirmed_hours=3,
    swept=1,
    queried=2,
    unexplained=(),
)


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({}, set()),
        ({"shut_minutes": 15.1}, {"outage-shut"}),
        ({"shut_minutes": None}, {"outage-shut"}),
        ({"confirmed_hours": None}, {"outage-confirmed"}),
        ({"unexplained": ("a key",)}, {"outage-unexplained"}),
    ],
)
def test_outage_that_lasts_too_long_is_short_and_ends_with_1(
    changes: dict[str, object],
    short: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    """Each figure is in the last lines."""
    found = report(replace(FINE, **changes), seconds=1)  # type: ignore[arg-type]
    bars = [bar.name for bar in bars_of("chaos-outage")]
    assert publish(found, bars=bars, results=tmp_path / "x.json") == bool(short)
    lines = capsys.readouterr().out.splitlines()[-3:]
    assert {line.partition(":")[0] for line in lines if line.endswith("short")} == short
