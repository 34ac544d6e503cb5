"""Exactly once under faults: the short campaign."""

from collections.abc import Callable
from pathlib import Path

import pytest

from izin.streams.engine.watchdog import EXIT_STALLED
from tests.chaos.order.fault_points import FaultPoint
from tests.chaos.order.faults import OrderFault
from tests.chaos.order.runs import planned, run_with_faults

SEED = 20260302
PLAN = (
    (OrderFault.HANG_ROWS, None),
    (OrderFault.HANG_LANE, None),
    (OrderFault.RECORDS, None),
    (OrderFault.FREEZE_AT_POINT, FaultPoint.PRODUCED),
    (OrderFault.FLOOD, None),
    (OrderFault.KILL_AT_POINT, FaultPoint.COMMITTED),
    (OrderFault.BATCHES, None),
    (OrderFault.CLOCK, None),
    (OrderFault.TERM, None),
    (OrderFault.SILENT_WORKER, None),
    (OrderFault.HUGE, None),
    (OrderFault.DISK, None),
    (OrderFault.KILL_AT_POINT, FaultPoint.MARKED),
    (OrderFault.KILL_AT_POINT, FaultPoint.COMMITTING),
    (OrderFault.KILL_AT_POINT, FaultPoint.APPLIED),
    (OrderFault.BROKER_KILL, None),
    (OrderFault.KILL, None),
)
"""Which worker each hits, and when, follows from the seed."""

pytestmark = pytest.mark.broker


@pytest.mark.timeout(400)
def test_every_event_is_decided_exactly_once_under_faults(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """Workers that are killed, frozen, cut off and ended, under clocks that jump and in the midst
    of junk and hanging transactions, miss nothing, double nothing and take nothing back.
    """
    run = run_with_faults(
        tmp_path / "run",
        brokers=1,
        seed=SEED,
        inject=planned(list(PLAN)),
        on_progress=print,  # shown with -rP or on failure, as the figures are
        pause=1.0,
    )
    report = str(run.as_json())
    record_property("campaign", report)
    print(report)  # noqa: T201  # the same
    # Where others use the machine too, 4.5 seconds may not suffice to end: that is cut short then.
    assert run.violations == run.statuses[EXIT_STALLED], report
    injected = [(one.fault, one.point) for one in run.injected]
    left_out = set(PLAN) - set(injected)
    assert left_out <= {(OrderFault.DISK, None)}  # not every machine lets us fill one
    assert injected == [one for one in PLAN if one not in left_out]
    counts = run.verdict.counts
    assert all(
        counts[one] for one in ("Apply", "Stale", "duplicates", "misplaced", "dead", "hostile")
    ), report
