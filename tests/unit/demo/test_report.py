"""The report of the demo: good only if nothing is unexplained, and readable in both forms."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from izin.demo.report import KeyDifference, Kill, Report, latency

DIFFERENCE = KeyDifference(key="key", what="the ledger thinks [RET]")


def a_report(**overrides: object) -> Report:
    """Return the report of a good run."""
    numbers = [name for name, kind in Report.__annotations__.items() if kind is int]
    fields: dict[str, Any] = {
        **dict.fromkeys(numbers, 1000),
        "refusal_reasons": {"H121": 2, "H158": 30},
        "push": latency([20, 30, 40]),
        "pull": latency([]),
        "iys_requests": {"changes": 90, "token": 1},
        "iys_refusals": {"H175": 12},
        "differences": (),
        "chaos": (Kill(killed="intake", at_second=3.2),),
        "seconds": 61.4,
    }
    return Report(**fields | overrides)


def printed(report: Report) -> str:
    """Return the table as a terminal of 100 columns prints it."""
    screen = io.StringIO()
    Console(file=screen, width=100).print(report.as_table())
    return screen.getvalue()


@pytest.mark.parametrize(
    ("report", "is_good"),
    [
        (a_report(), True),
        (a_report(differences=(DIFFERENCE,)), False),
        (a_report(citizens_received=999), False),
    ],
)
def test_report_with_any_difference_is_not_good(report: Report, is_good: bool) -> None:
    """One difference, or one citizen whose opt-out is missing, is enough."""
    assert report.is_good is is_good


def test_report_table_fits_100_columns() -> None:
    """Nothing is cut, and counts have thousands separators."""
    table = printed(a_report(rows_read=20_000))
    assert max(map(len, table.splitlines())) <= 100
    assert "…" not in table
    for shown in ("20,000", "1,000 of 1,000", "H158 30, H121 2", "kill -9", "in second 3"):
        assert shown in table


def test_report_table_has_each_difference() -> None:
    """Each difference is in the table, brackets included."""
    assert "the ledger thinks [RET]" in printed(a_report(differences=(DIFFERENCE,)))


def test_report_json_has_counts_and_differences() -> None:
    """Programs find counts, differences and latencies by name."""
    document = json.loads(a_report(differences=(DIFFERENCE,)).as_json())
    assert document["unexplained_differences"] == 1
    assert document["differences"][0]["what"] == DIFFERENCE.what
    assert document["push"] == {"measured": 3, "p50": 30, "p99": 40, "greatest": 40}
    assert document["pull"]["measured"] == 0
    assert document["chaos"] == [{"killed": "intake", "at_second": 3.2}]
