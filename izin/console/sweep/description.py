"""A sweep, and counts that differ, in words for people: pure."""

from izin.console.terminal.output import turkish
from izin.sinks.ledger.sweep.register_counts import RegisterCount
from izin.sinks.ledger.sweep.sweeps import Sweep

TITLES = {
    "brand_code": "brand",
    "reason": "because",
    "started_at": "started",
    "ended_at": "ended",
    "keys": "keys",
    "queried": "queried",
    "confirmed": "as known",
    "shut": "shut",
    "asked": "asked alone",
    "found": "found",
    "skipped": "in motion",
    "refused": "refused",
    "state": "state",
}
"""The columns of a sweep; the last one is printed below."""

_REASONS = {"gap": "gap", "order": "ordered", "schedule": "schedule"}


def sweep_row(sweep: Sweep) -> tuple[object, ...]:
    """Return the cells of a sweep."""
    counts = sweep.counts
    return (
        sweep.brand_code,
        _REASONS[sweep.reason],
        sweep.started_at,
        sweep.ended_at,
        sweep.keys,
        counts.queried,
        counts.confirmed,
        counts.shut,
        counts.asked,
        counts.found,
        counts.skipped,
        counts.refused,
        state(sweep),
    )


def state(sweep: Sweep) -> str:
    """Return how far a sweep is, and what holds it up."""
    words = [remaining(sweep)]
    if sweep.is_stopped:
        words.append("stopped")
    if sweep.error is not None:
        words.append(f"waits until {turkish(sweep.retry_at)}, for {sweep.error}")
    words += [f"left out {one}: give the right back at İYS" for one in sweep.passed_over]
    return "; ".join(words)


def remaining(sweep: Sweep) -> str:
    """Return how much of a sweep is done."""
    if sweep.ended_at is not None and not sweep.is_stopped:
        return "done"
    share = min(sweep.counts.queried / sweep.keys, 1.0) if sweep.keys else 0.0
    return f"{sweep.counts.queried:,} of {sweep.keys:,} keys, {share:.0%}"


def remedy_of_count(count: RegisterCount) -> str:
    """Return what a difference of counts means, and what a person does about it."""
    if not count.differs:
        return "nothing to do"
    words = []
    for status, surplus in (("ONAY", count.onay_surplus), ("RET", count.ret_surplus)):
        if surplus > 0:
            words.append(
                f"İYS holds {surplus:,} {status} that no key here has: only its portal or the "
                "earlier integrator can name them, for it lists no keys of a brand"
            )
        elif surplus < 0:
            words.append(
                f"{-surplus:,} {status} here are not at İYS: "
                f"izin iys sweep start --brand {count.brand_code}"
            )
    return "; ".join(words)
