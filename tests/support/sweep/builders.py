"""Sweeps and counts for tests that show them."""

from typing import Any

from izin.ledger.sweep.sweeps import RegisterCount, Sweep, SweepCounts
from tests.support.builders import BRAND, CUSTOMER, NOON


def a_sweep(queried: int = 500, **fields: Any) -> Sweep:  # noqa: ANN401 - a field's value each
    """Return an open sweep of 2,000 keys."""
    usual: dict[str, Any] = {
        "id": 1,
        "customer_id": CUSTOMER,
        "brand_code": BRAND,
        "reason": "order",
        "started_at": NOON,
        "keys": 2000,
        "after": f"{BRAND}/",
        "pages": 1,
        "skipped_groups": (),
        "error": None,
        "retry_at": None,
        "ended_at": None,
        "is_stopped": False,
    }
    return Sweep(counts=SweepCounts(queried=queried, confirmed=queried), **usual | fields)


def a_count(**fields: int) -> RegisterCount:
    """Return counts that are equal, with one key on its way."""
    usual: dict[str, Any] = dict.fromkeys(("iys_onay", "onay"), 10)
    usual |= dict.fromkeys(("iys_ret", "ret"), 5) | {"unconfirmed": 0, "in_flight": 1}
    older = {"onay_before": 0, "ret_before": 0}
    return RegisterCount(brand_code=BRAND, counted_at=NOON, **usual | older | fields)
