"""The report of the demo: good only if nothing is unexplained, and readable in both forms.

Each way in which topics, ledger and İYS can differ is found; each lawful end has a name.

The made-up CRM export, and the import compared with what was written.

The killer kills each worker once, and none after its block ends.
"""

import json
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from unittest.mock import Mock

import pytest

from izin.cli.terminal import OutputFormat, print_rows
from izin.producers.files.importer import ImportReport
from izin.stack import crm_export
from izin.stack.report import (
    DemoComparison,
    DesiredState,
    FinalState,
    KeyDifference,
    Report,
    _check_import,
    compare,
    latency,
    regressions,
    repeated,
)
from izin.stack.scenario import WORKERS, Kill, Killer, LedgerState, ScenarioResult

COUNTED = (
    *("rows_read", "rows_refused", "signups", "events_published", "duplicates", "stale"),
    *("enriched", "applied", "dead_letters", "keys", "registered", "expired", "local_only"),
    *("parked", "refused_by_iys", "opt_outs", "citizens", "citizens_received"),
    "too_many_requests",
)
DIFFERENCE = KeyDifference(key="key", what="the ledger thinks [RET]")


def a_report(**overrides: object) -> Report:
    """Return the report of a good run."""
    return Report(
        **{
            "counts": dict.fromkeys(COUNTED, 1000),
            "refusal_reasons": {"H121": 2, "H158": 30},
            "push": latency([20, 30, 40]),
            "pull": latency([]),
            "iys_requests": {"changes": 90, "token": 1},
            "iys_refusals": {"H175": 12},
            "differences": (),
            "chaos": (Kill(killed="intake", at_second=3.2),),
            "seconds": 61.4,
        }
        | overrides
    )


def printed(report: Report, capsys: pytest.CaptureFixture[str]) -> str:
    """Return the table as it is printed."""
    print_rows(OutputFormat.TABLE, ("what", "count", "note"), report.rows())
    return capsys.readouterr().out


@pytest.mark.parametrize(
    ("report", "is_good"),
    [
        (a_report(), True),
        (a_report(differences=(DIFFERENCE,)), False),
        (a_report(counts={"citizens": 1000, "citizens_received": 999}), False),
    ],
)
def test_report_with_any_difference_is_not_good(report: Report, is_good: bool) -> None:
    """One difference, or one citizen whose opt-out is missing, is enough."""
    assert report.is_good is is_good


def test_report_table_has_counts_and_differences(capsys: pytest.CaptureFixture[str]) -> None:
    """Counts have thousands separators, and differences their brackets."""
    counts = dict.fromkeys(COUNTED, 1000) | {"rows_read": 20_000}
    table = printed(a_report(counts=counts, differences=(DIFFERENCE,)), capsys)
    assert "…" not in table
    shown = ("20,000", "1,000 of 1,000", "H158 30, H121 2", "kill -9", "in second 3", "[RET]")
    assert [one for one in shown if one not in table] == []


def test_report_json_has_counts_and_differences() -> None:
    """Programs find counts, differences and latencies by name."""
    document = json.loads(json.dumps(a_report(differences=(DIFFERENCE,)).as_json()))
    assert document["unexplained_differences"] == 1
    assert {document[name] for name in COUNTED} == {1000}
    assert document["differences"][0]["what"] == DIFFERENCE.what
    assert document["push"] == {"measured": 3, "p50": 30, "p99": 40, "greatest": 40}
    assert document["pull"]["measured"] == 0
    assert document["chaos"] == [{"killed": "intake", "at_second": 3.2}]


KEY = "100001/MESAJ/BIREYSEL/+905550000001"
MERCHANT = "100001/MESAJ/TACIR/+905550000001"


def compared(
    *,
    desired: str | None = "ONAY",
    ledger: LedgerState | None = None,
    iys: str | None = "ONAY",
    permitted: bool | None = None,
    key: str = KEY,
) -> DemoComparison:
    """Compare one key."""
    return compare(
        {} if desired is None else {key: DesiredState(desired, "event-2")},
        {} if ledger is None else {key: ledger},
        {} if iys is None else {key: iys},
        {} if permitted is None else {key: permitted},
    )


def a_row(
    desired: str = "ONAY",
    registered: str = "ONAY",
    state: str = "accepted",
    void_event_id: str | None = None,
) -> LedgerState:
    """Return the ledger's record of a key."""
    return LedgerState(
        desired=desired, registered=registered, state=state, void_event_id=void_event_id
    )


@pytest.mark.parametrize(
    ("found", "final"),
    [
        (compared(ledger=a_row(), permitted=True), FinalState.REGISTERED),
        (compared(desired="RET", ledger=a_row("RET", "RET"), iys="RET"), FinalState.REGISTERED),
        (compared(ledger=a_row("ONAY", "UNKNOWN", "expired"), iys=None), FinalState.EXPIRED),
        (compared(ledger=a_row("ONAY", "RET", "parked"), iys="RET"), FinalState.PARKED),
        (compared(ledger=a_row("ONAY", "NONE", "refused"), iys=None), FinalState.REFUSED),
        (
            compared(desired="RET", ledger=a_row("RET", "NONE", "not_needed"), iys=None),
            FinalState.LOCAL_ONLY,
        ),
        (
            compared(ledger=a_row("RET", "NOT_ONAY", "not_needed", "event-2"), iys=None),
            FinalState.LOCAL_ONLY,
        ),
    ],
)
def test_compare_lawful_end_has_a_final_state(found: DemoComparison, final: FinalState) -> None:
    """What a rule explains is counted, and is no difference."""
    assert found.final_states == {final: 1}
    assert found.differences == []


@pytest.mark.parametrize(
    ("found", "what"),
    [
        (compared(desired=None, ledger=a_row()), "the topic does not know it"),
        (compared(ledger=None), "the ledger does not know it"),
        (compared(desired="RET", ledger=a_row("ONAY"), iys="RET"), "the ledger ONAY"),
        (
            compared(ledger=a_row("RET", "NONE", "not_needed", "event-1"), iys=None),
            "the topic wants ONAY, the ledger RET",
        ),
        (compared(ledger=a_row("ONAY", void_event_id="event-2")), "the topic wants RET"),
        (compared(ledger=a_row(registered="RET")), "the ledger thinks RET"),
        (compared(ledger=a_row("ONAY", "NONE", "pending"), iys=None), "state pending"),
        (compared(desired="RET", ledger=a_row("RET", "ONAY", "expired")), "İYS holds ONAY"),
        (
            compared(desired="RET", ledger=a_row("RET", "RET"), iys="RET", permitted=True),
            "says yes",
        ),
        (compared(ledger=a_row(), permitted=False), "says no"),
        (compared(ledger=a_row()), "says no"),
    ],
)
def test_compare_other_difference_is_unexplained(found: DemoComparison, what: str) -> None:
    """What no rule explains is a difference, with the recipient masked."""
    assert any(what in one.what for one in found.differences)
    assert all("5550000001" not in one.key for one in found.differences)


def test_compare_tacir_without_a_record_is_permitted() -> None:
    """A TACIR needs no prior consent, so sending without a record at İYS is lawful."""
    row = a_row("ONAY", "NONE", "expired")
    assert compared(ledger=row, iys=None, permitted=True, key=MERCHANT).differences == []


def test_regressions_of_a_decreasing_order_are_found() -> None:
    """Orders of a key may repeat, never decrease."""
    rows: list[tuple[str, tuple[object, ...]]] = [
        ("a", (1,)),
        ("b", (5,)),
        ("a", (1,)),
        ("a", (0,)),
    ]
    assert list(regressions(rows)) == ["a"]


def test_movement_accepted_twice_is_found() -> None:
    """The same status with the same date of the same key counts once."""
    entries = [("a", "ONAY", "1"), ("a", "ONAY", "2"), ("a", "ONAY", "1")]
    assert list(repeated(entries)) == [("a", "ONAY", "1")]


NOW = datetime(2026, 3, 2, 12, 0, tzinfo=crm_export.TURKEY)
SPEC = crm_export.ExportSpec(rows=8000, seed=1, now=NOW, active=100001, loading=100002)
SIGNUPS = 7


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> crm_export.ExportTruth:
    """Write an export and return its expected results."""
    return crm_export.write(tmp_path_factory.mktemp("export") / "export.csv", SPEC)


def test_export_is_the_same_for_the_same_seed(tmp_path: Path) -> None:
    """The same spec gives the same file; another seed gives another."""
    one, same, other = (tmp_path / name for name in ("one.csv", "same.csv", "other.csv"))
    assert crm_export.write(one, SPEC) == crm_export.write(same, SPEC)
    crm_export.write(other, replace(SPEC, seed=2))
    assert one.read_bytes() == same.read_bytes() != other.read_bytes()


def a_result(truth: crm_export.ExportTruth, **counts: int) -> ScenarioResult:
    """Return a run whose import is as written, but for ``counts``."""
    imported = ImportReport(
        path=Path("export.csv"),
        digest="",
        refused_opt_outs=0,
        refused_unclear=0,
        encoding="cp1254",
        delimiter=";",
        header_line=1,
        repeated_headers=0,
        without_recipient=0,
        rows=truth.rows,
        published=truth.published,
        opt_outs=0,
        not_registrable=truth.not_registrable,
        past_term=0,
        refused=truth.refused,
        reasons={},
        report_path=None,
        dry_run=False,
        seconds=0,
    )
    return ScenarioResult(
        truth=truth,
        imported=replace(imported, **counts),
        signups=SIGNUPS,
        pushed=(),
        pulled=(),
        received={},
        kills=(),
    )


def test_check_import_as_written_finds_nothing(truth: crm_export.ExportTruth) -> None:
    """Rows, refusals, publications and keys are as written."""
    found = DemoComparison()
    _check_import(found, a_result(truth), truth.keys + SIGNUPS)
    assert found.differences == []


@pytest.mark.parametrize("name", ["rows", "refused", "published", "not_registrable"])
def test_check_import_with_other_counts_has_differences(
    truth: crm_export.ExportTruth, name: str
) -> None:
    """One row more is one, and a missing key of the file or of the signups another."""
    found = DemoComparison()
    result = a_result(truth, **{name: getattr(truth, name) + 1})
    _check_import(found, result, truth.keys + SIGNUPS - 1)
    _, keys = found.differences
    assert "keys" in keys.what


def test_export_truth_adds_up(truth: crm_export.ExportTruth) -> None:
    """Rows are published or refused, and refused rows are counted by kind."""
    assert truth.published + truth.refused == truth.rows == SPEC.rows
    assert sum(truth.invalid.values()) == truth.refused
    assert timedelta(0) < crm_export.FRESH


def test_killer_kills_each_worker_once() -> None:
    """All three, in an order that the seed chooses."""
    killed = SimpleQueue[str]()
    with Killer(Mock(kill=killed.put), window=0.03, seed=1) as killer:
        names = [killed.get(timeout=10) for _ in WORKERS]
    assert sorted(names) == sorted(WORKERS)
    assert [one.killed for one in killer.kills] == names
    assert killed.empty()


def test_killer_after_its_end_kills_nothing() -> None:
    """The plan ends with the block."""
    supervisor = Mock()
    with Killer(supervisor, window=3600, seed=1):
        pass
    assert supervisor.method_calls == []
