"""The report of the demo: good only if nothing is unexplained, and readable in both forms."""

import json
from typing import Any

import pytest

from izin.cli.terminal import OutputFormat, print_rows
from izin.stack.report import KeyDifference, Report, latency
from izin.stack.scenario import Kill

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


def printed(report: Report, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the table as it is printed."""
    print_rows(OutputFormat.TABLE, ("what", "count", "note"), report.rows())
    return capsys.readouterr().out


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


def test_report_table_has_counts_and_differences(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts have thousands separators, and differences their brackets."""
    table = printed(a_report(rows_read=20_000, differences=(DIFFERENCE,)), capsys)
    assert "…" not in table
    shown = ("20,000", "1,000 of 1,000", "H158 30, H121 2", "kill -9", "in second 3", "[RET]")
    assert [one for one in shown if one not in table] == []


def test_report_json_has_counts_and_differences() -> None:
    """Programs find counts, differences and latencies by name."""
    document = json.loads(json.dumps(a_report(differences=(DIFFERENCE,)).as_json()))
    assert document["unexplained_differences"] == 1
    assert document["differences"][0]["what"] == DIFFERENCE.what
    assert document["push"] == {"measured": 3, "p50": 30, "p99": 40, "greatest": 40}
    assert document["pull"]["measured"] == 0
    assert document["chaos"] == [{"killed": "intake", "at_second": 3.2}]
