"""All cases, in groups of endpoints."""

from iys_simulator.conformance import (
    adding_consents,
    providers,
    push,
    queries,
    reports,
    retailers,
    shared_refusals,
)
from iys_simulator.conformance.case import Case


def all_cases() -> tuple[Case, ...]:
    """Return every case, in the order in which they run."""
    groups = (adding_consents, queries, push, providers, retailers, reports, shared_refusals)
    return tuple(case for group in groups for case in group.cases())
