"""All cases, group by group."""

from iys_simulator.conformance import (
    additions,
    providers,
    push,
    queries,
    refusals,
    reports,
    retailers,
)
from iys_simulator.conformance.case import Case


def all_cases() -> tuple[Case, ...]:
    """Give every case, in the order in which they are run."""
    groups = (additions, queries, push, providers, retailers, reports, refusals)
    return tuple(case for group in groups for case in group.cases())
