"""The report of the demo: good only if nothing is unexplained, and readable in both forms."""

import io
import json
from typing import Any

import pytest
from rich.console import Console

from izin.demo.compare import Difference
from izin.demo.report import Chaos, Report, latency

ODD = Difference(key="key", what="the ledger thinks [RET]")


def a_report(**overrides: object) -> Report:
    """Return the report of a good run."""
    numbers = [name for name, kind in Report.__annotations__.items() if kind == "int"]
    fields: dict[str, Any] = {
        **dict.fromkeys(numbers, 1000),
        "refusal_reasons": {"H121": 2, "H158": 30},
        "push": latency([20, 30, 40]),
        "pull": latency([]),
        "iys_requests": {"changes": 90, "token": 1},
        "iys_refusals": {"H175": 12},
        "differences": (),
        "chaos": (Chaos(killed="intake", at_second=3.2),),
        "seconds": 61.4,
    }
    return Report(**fields | overrides)


def printed(report: Report) -> str:
    """Return the table as a terminal of 100 columns shows it."""
    screen = io.StringIO()
    Console(file=screen, width=100).print(report.as_table())
    return screen.getvalue()


@pytest.mark.parametrize(
    ("report", "is_good"),
    [
        (a_report(), True),
        (a_report(differences=(ODD,)), False),
        (a_report(citizens_heard=999), False),
    ],
)
def test_a_run_is_good_only_if_all_tell_one_story(report: Report, is_good: bool) -> None:
    """One difference, or one citizen unheard, is enough."""
    assert report.is_good is is_good


def test_the_table_fits_a_hundred_columns() -> None:
    """Nothing is cut, and the counts are there in figures people read."""
    table = printed(a_report(rows_read=20_000))
    assert max(map(len, table.splitlines())) <= 100
    assert "…" not in table
    for shown in ("20,000", "1,000 of 1,000", "H158 30, H121 2", "killed -9", "in second 3"):
        assert shown in table


def test_the_table_names_each_difference_as_it_is() -> None:
    """What differs stands in the table, brackets and all."""
    assert "the ledger thinks [RET]" in printed(a_report(differences=(ODD,)))


def test_the_json_holds_what_the_table_holds() -> None:
    """Machines find counts, differences and latencies by name."""
    told = json.loads(a_report(differences=(ODD,)).as_json())
    assert told["unexplained_differences"] == 1
    assert told["differences"][0]["what"] == ODD.what
    assert told["push"] == {"measured": 3, "p50": 30, "p99": 40, "greatest": 40}
    assert told["pull"]["measured"] == 0
    assert told["chaos"] == [{"killed": "intake", "at_second": 3.2}]
