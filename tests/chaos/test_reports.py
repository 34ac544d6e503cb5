"""The reports of the campaigns on virtual time: each fault is in the last lines and the code."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from benchmarks.bars import bars_of
from benchmarks.results import RunReport, publish
from tests.chaos.days import __main__ as days
from tests.chaos.onboarding import __main__ as onboarding
from tests.chaos.outage import __main__ as outage

UNSEEN: dict[str, Any] = dict.fromkeys(days.DaysVerdict.__dataclass_fields__, 0)
FINE: Mapping[str, Any] = {
    "days": days.DaysVerdict(
        **UNSEEN | {"unexplained": (), "most_tokens_an_hour": 10, "codes": {}}
    ),
    "outage": outage.OutageVerdict(
        keys=1000,
        rejections=2,
        days=10,
        shut_minutes=15,
        confirmed_hours=3,
        swept=1,
        queried=2,
        unexplained=(),
    ),
    "onboarding": onboarding.OnboardingVerdict(
        rows=1000,
        published=700,
        void=200,
        forecast_seconds=400,
        took_seconds=410,
        requests=2000,
        unexplained=(),
    ),
}
REPORTS: Mapping[str, Callable[[Any], RunReport]] = {
    "days": lambda verdict: days.report(verdict, seed=1, sinks=8, seconds=1),
    "outage": lambda verdict: outage.report(verdict, seconds=1),
    "onboarding": lambda verdict: onboarding.report(verdict, seconds=1),
}


@pytest.mark.parametrize(
    ("stage", "changes", "short"),
    [
        ("days", {}, set()),
        ("days", {"unexplained": ("a key",)}, {"days-unexplained"}),
        ("days", {"most_tokens_an_hour": 11}, {"days-token-calls"}),
        ("outage", {}, set()),
        ("outage", {"shut_minutes": 15.1}, {"outage-shut"}),
        ("outage", {"shut_minutes": None}, {"outage-shut"}),
        ("outage", {"confirmed_hours": None}, {"outage-confirmed"}),
        ("outage", {"unexplained": ("a key",)}, {"outage-unexplained"}),
        ("onboarding", {}, set()),
        ("onboarding", {"forecast_seconds": 360}, {"onboarding-forecast"}),
        ("onboarding", {"unexplained": ("a count",)}, {"onboarding-unexplained"}),
    ],
)
def test_campaign_is_short_for_each_fault_and_ends_with_1(
    stage: str,
    changes: Mapping[str, object],
    short: set[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each figure is in the last lines."""
    found = REPORTS[stage](replace(FINE[stage], **changes))
    bars = [bar.name for bar in bars_of(f"chaos-{stage}")]
    assert publish(found, bars=bars, results=tmp_path / "x.json") == bool(short)
    lines = capsys.readouterr().out.splitlines()[-len(bars) :]
    assert {line.partition(":")[0] for line in lines if line.endswith("short")} == short
