"""A local stack starts in a folder of its own, and empties no other.

The report of the demo: good only if nothing is unexplained, and readable in both forms.

Each way in which topics, ledger and İYS can differ is found; each lawful end has a name.

The made-up CRM export, and the import compared with what was written.

The killer kills each worker once, and none after its block ends.
"""

import ast
import json
import os
import re
import socket
import subprocess
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from queue import SimpleQueue
from unittest.mock import Mock

import pytest

from izin import local, stack
from izin.cli.terminal import OutputFormat, print_rows
from izin.cli.up import _panel
from izin.local import LocalError, LocalServers, PortTakenError, StateInUseError, free_port
from izin.local.reservations import FolderLock
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
from izin.stack.stack import LocalStack, check_installed
from izin.stack.stack_settings import RunRecord, StateFolder, example_brands


def a_stack(folder: Path, **ports: int) -> LocalStack:
    """Return a stack that was not started."""
    return LocalStack(
        folder, brands=example_brands(), ports=ports, environ={}, on_progress=lambda _: None
    )


@pytest.fixture
def used_folder(tmp_path: Path) -> Path:
    """Return the folder of an earlier run, with what it left."""
    folder = StateFolder(tmp_path / "state")
    folder.claim(RunRecord(), lambda _: None)
    folder.release()
    (folder.path / "logs").mkdir()
    (folder.path / "logs" / "intake.log").write_text("old", "utf-8")
    (folder.path / "environment").write_text("OLD=1", "utf-8")
    (folder.path / "notes.txt").write_text("mine", "utf-8")
    return folder.path


def test_state_folder_claim_keeps_what_a_run_stored(used_folder: Path) -> None:
    """The next run continues with it, under the same credentials, and says so in one line."""
    before = StateFolder(used_folder).record()
    progress: list[str] = []
    StateFolder(used_folder).claim(before, progress.append)
    assert progress == [f"continuing with what {used_folder} has"]
    assert (used_folder / "logs" / "intake.log").read_text("utf-8") == "old"
    assert StateFolder(used_folder).record() == before
    assert (used_folder / "run.json").stat().st_mode & 0o077 == 0


def test_state_folder_without_a_record_is_emptied(used_folder: Path) -> None:
    """Credentials that nobody knows any more fit no ledger; a first run has nothing to remove."""
    (used_folder / "run.json").unlink()
    progress: list[str] = []
    for folder in (used_folder, used_folder / "new"):
        StateFolder(folder).claim(RunRecord(), progress.append)
    assert progress == [f"removing ledger, topics, logs and simulated İYS in {used_folder}"]


def test_local_stack_uses_the_ports_of_the_last_run(tmp_path: Path) -> None:
    """Where any port will do, the last run's is taken if it is free; a port asked for wins."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        before = {"sink": free_port(), "order": taken.getsockname()[1], "intake": free_port()}
        asked = RunRecord(ports=before).ports_for({"intake": 8081})
        assert (asked["sink"], asked["intake"]) == (before["sink"], 8081)
        assert asked["order"] != before["order"]


def test_local_stack_with_other_servers_names_the_remedies(used_folder: Path) -> None:
    """What was stored on one server is not mixed with another's."""
    given = {"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9092"}
    stack = LocalStack(
        used_folder, brands=example_brands(), environ=given, on_progress=lambda _: None
    )
    with pytest.raises(LocalError, match=r"other servers.*--state-dir") as refused:
        stack.start()
    assert "--fresh" not in str(refused.value)


OWN = {
    "KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:19092",
    "DATABASE_URL": "postgresql://izin:fake@127.0.0.1:15432/izin",
    "IZIN_API_KEY": "fake",
}


@pytest.mark.parametrize(
    ("given", "loaded", "expected"),
    [
        ({}, {}, {}),
        ({}, {"DATABASE_URL": "postgresql://db.example.com/mine"}, {"DATABASE_URL"}),
        ({"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9092"}, {}, {"KAFKA_BOOTSTRAP_SERVERS"}),
    ],
)
def test_stack_whose_own_environment_was_loaded_has_its_own_servers(
    used_folder: Path,
    given: dict[str, str],
    loaded: dict[str, str],
    expected: set[str],
) -> None:
    """Its environment file names its servers: they are the caller's only where they were before."""
    RunRecord(given=given).write(used_folder / "run.json")
    lines = (f"{name}='{value}'" for name, value in OWN.items())
    (used_folder / "environment").write_text("\n".join(lines) + "\n", "utf-8")
    environ = {**OWN, **loaded, "IZIN_EXTRA_CLOSED_DAYS": "[]"}
    stack = LocalStack(
        used_folder, brands=example_brands(), environ=environ, on_progress=lambda _: None
    )
    assert stack._servers.given == {name: (given | loaded)[name] for name in expected}
    assert "IZIN_API_KEY" not in stack._environ
    assert stack._environ["IZIN_EXTRA_CLOSED_DAYS"] == "[]"


@pytest.mark.parametrize("fresh", [True, False])
def test_local_stack_that_cannot_start_deletes_nothing(
    used_folder: Path, monkeypatch: pytest.MonkeyPatch, *, fresh: bool
) -> None:
    """What earlier runs stored is removed once its successor is up; else it is as it was."""
    monkeypatch.setattr(LocalServers, "start", Mock(side_effect=LocalError("no server can start")))
    if not fresh:
        (used_folder / "run.json").unlink()
    before = {path.name: path.read_bytes() for path in used_folder.iterdir() if path.is_file()}
    stack = LocalStack(
        used_folder,
        brands=example_brands(),
        fresh=fresh,
        environ={},
        on_progress=lambda _: None,
    )
    with pytest.raises(LocalError, match="no server"):
        stack.start()
    after = {path.name: path.read_bytes() for path in used_folder.iterdir() if path.is_file()}
    assert {**after, "lock": b""} == {**before, "lock": b""}
    assert (used_folder / "logs" / "intake.log").read_text("utf-8") == "old"


def test_fresh_run_sets_uploads_of_the_console_aside(used_folder: Path) -> None:
    """They are personal data of what is removed."""
    file = used_folder / "uploads" / "0" / "file"
    file.parent.mkdir(parents=True)
    file.write_text("fake", "utf-8")
    folder = StateFolder(used_folder)
    folder.claim(RunRecord(), lambda _: None, fresh=True)
    folder._lock.release()
    assert not file.exists()


def test_stack_killed_while_it_started_anew_has_what_was_before(used_folder: Path) -> None:
    """A ``kill -9`` comes before the successor is up: the next run puts back what was set aside."""
    before = StateFolder(used_folder).record()
    killed = StateFolder(used_folder)
    killed.claim(RunRecord(), lambda _: None, fresh=True)
    killed._lock.release()
    again = StateFolder(used_folder)
    again.claim(before, lambda _: None)
    assert (used_folder / "logs" / "intake.log").read_text("utf-8") == "old"
    assert again.record() == before


def test_nothing_that_the_local_stack_says_advises_to_delete() -> None:
    """What was stored is removed by whoever asks for ``--fresh``, and nobody is told to."""
    for package in (stack, local):
        for path in Path(*package.__path__).rglob("*.py"):
            said = [
                node.value
                for node in ast.walk(ast.parse(path.read_text("utf-8")))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            ]
            assert not [one for one in said if ADVICE.search(one)], path


ADVICE = re.compile(r"--fresh|\brm -|delete it|remove (it|them)\b")


def test_environment_file_has_the_calendar_of_the_workers(used_folder: Path) -> None:
    """Commands count terms too; what else the caller's environment has is the caller's."""
    given = {"IZIN_EXTRA_CLOSED_DAYS": '["2026-05-18"]', "HOME": "/home/ada"}
    stack = LocalStack(
        used_folder, brands=example_brands(), environ=given, on_progress=lambda _: None
    )
    stack._write_environment()
    text = stack.environment_file.read_text("utf-8")
    assert "IZIN_EXTRA_CLOSED_DAYS='[\"2026-05-18\"]'\n" in text
    assert "HOME" not in text


def test_local_stack_fresh_says_what_stays_on_other_servers(used_folder: Path) -> None:
    """We remove nothing from a server that is not ours, and name what is left there."""
    record = RunRecord(given={"KAFKA_BOOTSTRAP_SERVERS": "kafka.example.com:9092"})
    record.write(used_folder / "run.json")
    progress: list[str] = []
    stack = LocalStack(
        used_folder, brands=example_brands(), fresh=True, environ={}, on_progress=progress.append
    )
    stack._claim_folder()
    assert progress == [
        (
            "your own servers (KAFKA_BOOTSTRAP_SERVERS) keep what this stack stored there: "
            f"database izin_{record.name}, topics run-{record.name}-…"
        ),
        f"removing ledger, topics, logs and simulated İYS in {used_folder}",
    ]
    stack.stop()


def test_state_folder_fresh_removes_old_run_files_only(used_folder: Path) -> None:
    """Other files in the folder are left; the removal is reported in one line."""
    progress: list[str] = []
    folder = StateFolder(used_folder)
    folder.claim(RunRecord(), progress.append, fresh=True)
    assert progress == [f"removing ledger, topics, logs and simulated İYS in {used_folder}"]
    assert not (used_folder / "logs").exists()
    assert not (used_folder / "environment").exists()
    assert (used_folder / "before" / "environment").exists()
    folder.succeeded()
    assert not (used_folder / "before").exists()
    assert (used_folder / "notes.txt").read_text("utf-8") == "mine"


def test_up_prints_the_addresses(tmp_path: Path) -> None:
    """The registry's where there is one, and a request that the intake accepts as it is."""
    stack = a_stack(tmp_path / "state", intake=8081, console=8090)
    assert "registry" not in _words_of(stack)
    stack.environment = {"SCHEMA_REGISTRY_URL": "http://127.0.0.1:18080/apis/ccompat/v7"}
    words = _words_of(stack)
    assert "registry http://127.0.0.1:18080/apis/ccompat/v7" in words
    assert "curl http://127.0.0.1:8081/v1/consents" in words
    assert "console http://127.0.0.1:8090 (sign in by the link below)" in words
    assert stack.api_key not in words


def _words_of(stack: LocalStack) -> str:
    return " ".join(str(_panel(stack, servers_only=False).renderable).split())


def test_state_folder_claim_of_foreign_files_is_refused(tmp_path: Path) -> None:
    """A folder with other files is neither marked nor emptied, now or later."""
    (tmp_path / "logs").mkdir()
    for _ in range(2):
        with pytest.raises(LocalError, match="--state-dir"):
            StateFolder(tmp_path).claim(RunRecord(), lambda _: None)
    assert [one.name for one in tmp_path.iterdir()] == ["logs"]


def test_state_folder_claim_while_in_use_is_refused(used_folder: Path) -> None:
    """The second run on a folder ends with an error, and the files of the first stay."""
    with (
        FolderLock(used_folder, within=timedelta()),
        pytest.raises(StateInUseError, match="--state-dir"),
    ):
        StateFolder(used_folder).claim(RunRecord(), lambda _: None)
    assert (used_folder / "logs" / "intake.log").exists()


@pytest.mark.parametrize(
    "part", ["intake", "intake-operations", "sink", "webhooks", "order", "simulator"]
)
def test_local_stack_on_a_taken_port_names_the_option(tmp_path: Path, part: str) -> None:
    """The error names port and option, and nothing was started or written."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortTakenError, match=f"--port {part}=NUMBER") as failed:
            a_stack(tmp_path / "state", **{part: port}).start()
    assert str(port) in str(failed.value)
    assert not (tmp_path / "state").exists()


def test_local_stack_without_the_simulator_names_the_remedy() -> None:
    """Nothing of izin names it as a dependency, so the error says how to install it."""
    with pytest.raises(LocalError, match=r"pip install \./simulator"):
        check_installed("no_such_package")


def test_local_stack_keeps_what_it_stores_from_others(used_folder: Path) -> None:
    """Topics, ledger and logs have recipients, also in a folder that an older run left open."""
    used_folder.chmod(0o755)
    os.umask(0o022)
    StateFolder(used_folder).claim(RunRecord(), lambda _: None)
    (used_folder / "new").write_text("", "utf-8")
    assert used_folder.stat().st_mode & 0o777 == 0o700
    assert (used_folder / "new").stat().st_mode & 0o777 == 0o600


def test_local_stack_runs_no_module_of_the_working_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stray file there, named as one of the standard library, is not run."""
    (tmp_path / "http.py").write_text("raise SystemExit('stray')", "utf-8")
    monkeypatch.chdir(tmp_path)
    command = a_stack(tmp_path / "state")._command("probe", "http.server", "--help", ready="")
    done = subprocess.run(command.argv, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr


COUNTED = (
    *(
        "rows_read",
        "rows_refused",
        "signups",
        "asked_by_iys",
        "events_published",
        "duplicates",
        "stale",
    ),
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
        asked=1,
        pushed=(),
        pulled=(),
        received={},
        kills=(),
    )


def test_check_import_as_written_finds_nothing(truth: crm_export.ExportTruth) -> None:
    """Rows, refusals, publications and keys are as written."""
    found = DemoComparison()
    _check_import(found, a_result(truth), truth.keys + SIGNUPS + 1)
    assert found.differences == []


@pytest.mark.parametrize("name", ["rows", "refused", "published", "not_registrable"])
def test_check_import_with_other_counts_has_differences(
    truth: crm_export.ExportTruth, name: str
) -> None:
    """One row more is one, and a missing key of the file or of the signups another."""
    found = DemoComparison()
    result = a_result(truth, **{name: getattr(truth, name) + 1})
    _check_import(found, result, truth.keys + SIGNUPS)
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
