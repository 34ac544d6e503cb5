"""The report of a run, as a table for people and as JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from iys_simulator.conformance.case import Endpoint
from iys_simulator.conformance.runner import Outcome, Result


@dataclass(frozen=True, kw_only=True, slots=True)
class EndpointSummary:
    """One endpoint: the outcomes of its cases, and the H-codes that occurred."""

    endpoint: Endpoint
    outcomes: Counter[Outcome]
    codes: Sequence[str]


def rows(results: Iterable[Result]) -> list[EndpointSummary]:
    """Return a summary of each endpoint, in the order of its first case."""
    of_each: dict[Endpoint, list[Result]] = {}
    for result in results:
        of_each.setdefault(result.case.endpoint, []).append(result)
    return [
        EndpointSummary(
            endpoint=endpoint,
            outcomes=Counter(result.outcome for result in step),
            codes=codes_shown(step),
        )
        for endpoint, step in of_each.items()
    ]


def codes_shown(results: Iterable[Result]) -> list[str]:
    """Return the H-codes of the cases that passed, sorted."""
    codes = {
        code
        for result in results
        if result.outcome is Outcome.PASSED
        for code in result.case.expected.codes
    }
    return sorted(codes)


def as_json(base_url: str, results: Sequence[Result]) -> dict[str, object]:
    """Return a summary, a row for each endpoint, and each case."""
    outcomes = Counter(result.outcome for result in results)
    return {
        "baseUrl": base_url,
        "summary": {
            "cases": len(results),
            **{outcome.value: outcomes[outcome] for outcome in Outcome},
            "operations": len(rows(results)),
            "codes": codes_shown(results),
        },
        "operations": [
            {
                "operation": row.endpoint.name,
                **{outcome.value: row.outcomes[outcome] for outcome in Outcome},
                "codes": row.codes,
            }
            for row in rows(results)
        ],
        "cases": [
            {
                "operation": result.case.endpoint.name,
                "title": result.case.title,
                "status": result.case.expected.status,
                "codes": sorted(result.case.expected.codes),
                "outcome": result.outcome.value,
                "reason": result.reason,
            }
            for result in results
        ],
    }


def print_report(console: Console, base_url: str, results: Sequence[Result]) -> None:
    """Print a line for each endpoint, then the failures, then the skipped cases."""
    # A path is never truncated; it is wrapped.
    endpoint = Column("operation", overflow="fold")
    table = Table(endpoint, "cases", "passed", "failed", "skipped", "codes", title=base_url)
    for row in rows(results):
        counts = [row.outcomes[outcome] for outcome in Outcome]
        table.add_row(
            Text(row.endpoint.name),
            str(row.outcomes.total()),
            *(str(count) if count else "" for count in counts),
            str(len(row.codes)),
        )
    console.print(table)
    for result in results:
        if result.outcome is Outcome.FAILED:
            where = f"{result.case.endpoint.name}: {result.case.title}: "
            console.print(Text.assemble(("failed ", "red"), where, result.reason), soft_wrap=True)
    reasons = Counter(result.reason for result in results if result.outcome is Outcome.SKIPPED)
    for reason, count in reasons.most_common():
        console.print(Text(f"skipped {count}: {reason}"), soft_wrap=True)
    outcomes = Counter(result.outcome for result in results)
    totals = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome)
    console.print(
        Text(
            f"{len(results)} cases of {len(rows(results))} endpoints: {totals}; "
            f"{len(codes_shown(results))} H-codes"
        ),
        soft_wrap=True,
    )
