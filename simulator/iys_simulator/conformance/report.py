"""What the cases showed, as a table for people and as JSON."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from iys_simulator.conformance.case import Operation
from iys_simulator.conformance.runner import Outcome, Result


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """One operation: how its cases ended, and the H-codes that were provoked."""

    operation: Operation
    outcomes: Counter[Outcome]
    codes: Sequence[str]


def rows(results: Iterable[Result]) -> list[Row]:
    """Give a row for each operation, in the order in which it was first asked."""
    of_each: dict[Operation, list[Result]] = {}
    for result in results:
        of_each.setdefault(result.case.operation, []).append(result)
    return [
        Row(
            operation=operation,
            outcomes=Counter(result.outcome for result in asked),
            codes=provoked(asked),
        )
        for operation, asked in of_each.items()
    ]


def provoked(results: Iterable[Result]) -> list[str]:
    """Give the H-codes of the cases that passed, sorted."""
    shown = {
        code
        for result in results
        if result.outcome is Outcome.PASSED
        for code in result.case.expected.codes
    }
    return sorted(shown)


def as_json(base_url: str, results: Sequence[Result]) -> dict[str, object]:
    """Give everything: a summary, a row for each operation, and each case."""
    outcomes = Counter(result.outcome for result in results)
    return {
        "baseUrl": base_url,
        "summary": {
            "cases": len(results),
            **{outcome.value: outcomes[outcome] for outcome in Outcome},
            "operations": len(rows(results)),
            "codes": provoked(results),
        },
        "operations": [
            {
                "operation": row.operation.name,
                **{outcome.value: row.outcomes[outcome] for outcome in Outcome},
                "codes": row.codes,
            }
            for row in rows(results)
        ],
        "cases": [
            {
                "operation": result.case.operation.name,
                "what": result.case.what,
                "status": result.case.expected.status,
                "codes": sorted(result.case.expected.codes),
                "outcome": result.outcome.value,
                "why": result.why,
            }
            for result in results
        ],
    }


def print_report(console: Console, base_url: str, results: Sequence[Result]) -> None:
    """Print a line for each operation, then what failed and why, then what was skipped."""
    # A path is told whole, on as many lines as it takes.
    operation = Column("operation", overflow="fold")
    table = Table(operation, "cases", "passed", "failed", "skipped", "codes", title=base_url)
    for row in rows(results):
        counts = [row.outcomes[outcome] for outcome in Outcome]
        table.add_row(
            Text(row.operation.name),
            str(row.outcomes.total()),
            *(str(count) if count else "" for count in counts),
            str(len(row.codes)),
        )
    console.print(table)
    for result in results:
        if result.outcome is Outcome.FAILED:
            where = f"{result.case.operation.name}: {result.case.what}: "
            console.print(Text.assemble(("failed ", "red"), where, result.why), soft_wrap=True)
    reasons = Counter(result.why for result in results if result.outcome is Outcome.SKIPPED)
    for reason, count in reasons.most_common():
        console.print(Text(f"skipped {count}: {reason}"), soft_wrap=True)
    outcomes = Counter(result.outcome for result in results)
    told = ", ".join(f"{outcomes[outcome]} {outcome}" for outcome in Outcome)
    console.print(
        Text(
            f"{len(results)} cases of {len(rows(results))} operations: {told}; "
            f"{len(provoked(results))} H-codes provoked"
        ),
        soft_wrap=True,
    )
