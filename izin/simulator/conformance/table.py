"""All cases, group by group."""

from izin.simulator.conformance import (
    additions,
    providers,
    push,
    queries,
    refusals,
    reports,
    retailers,
)
from izin.simulator.conformance.case import Case


def all_cases() -> tuple[Case, ...]:
    """Give every case, in the order in which they are run."""
    groups = (additions, queries, push, providers, retailers, reports, refusals)
    return tuple(case for group in groups for case in group.cases())
