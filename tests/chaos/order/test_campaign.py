"""Exactly once, whatever befalls the workers: the short campaign."""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos.order.fault_points import Point
from tests.chaos.order.faults import Fault
from tests.chaos.order.runs import planned, run_leg

SEED = 20260302
PLAN = (
    (Fault.SLEEP, Point.OFFSETS_SENT),
    (Fault.DIE, Point.COMMITTED),
    (Fault.TERM, None),
    (Fault.DIE, Point.OFFSETS_SENT),
    (Fault.KILL, None),
    (Fault.DIE, Point.COMMITTING),
    (Fault.DIE, Point.APPLIED),
    (Fault.BROKER_KILL, None),
    (Fault.DIE, Point.PRODUCED),
    (Fault.FREEZE, None),
    (Fault.DIE, Point.OFFSETS_READ),
    (Fault.KILL, None),
)
"""On whom each falls, and when, the seed says."""

pytestmark = pytest.mark.broker


@pytest.mark.timeout(400)
def test_every_event_is_decided_exactly_once_whatever_befalls_the_workers(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Killed, frozen and ended workers miss nothing, double nothing and take nothing back."""
    leg = run_leg(
        tmp_path / "leg",
        brokers=1,
        seed=SEED,
        strike=planned(list(PLAN)),
        tell=print,  # shown with -rP or on failure, as the figures are
        pause=1.0,
    )
    report = str(leg.as_json())
    record_property("campaign", report)
    print(report)  # noqa: T201  # the same
    assert leg.faultless, report
    assert [(one.fault, one.point) for one in leg.strikes] == list(PLAN)
    counts = leg.verdict.counts
    assert all(counts[one] for one in ("Apply", "Stale", "duplicates", "misplaced", "dead")), report
