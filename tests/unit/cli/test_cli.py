"""The parts of ``izin replay`` that need no server.
The calendar that the options of a what-if make of the one in force.
The command line: help of every command, and errors that name place and remedy.

The files of a first loading share what is read of Kafka.

docs/importing.md says what the command does: its example is imported, its tables are checked.

What ``izin import`` says of one that went on, started over, stopped, or was done before.
"""

import csv
import inspect
import io
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, date, datetime
from importlib import metadata
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest
import structlog
import typer
import typer.main
from rich.console import Console
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.cli.customers.onboard import LoadingFiles
from izin.cli.imports import command as imports
from izin.cli.imports.command import import_
from izin.cli.imports.result import print_result
from izin.cli.replay.command import replay_of
from izin.cli.replay.what_if import selection_of, settings_of
from izin.cli.terminal import ExitCode, OutputFormat, output
from izin.cli.terminal.command_logs import WarningLogger
from izin.cli.up import ROWS, demo, ports_of
from izin.consent import Calendar, SourceError
from izin.kafka.tables.brand_directory import BrandDirectory, RegisteredBrand
from izin.ledger.record import Brand
from izin.producers.files import (
    ColumnChoices,
    Import,
    ImportReport,
    Start,
    import_file,
    read_mapping,
)
from izin.producers.files.importer import CHECKPOINT_ROWS
from izin.producers.files.table_formats import ADDED
from izin.producers.mapping.choices import DATE_NAMES, GENERIC_NAMES, STATUS_NAMES, names_consent
from izin.producers.mapping.field_names import FIELD_NAMES, GENERIC_STATUSES, NAME, Field, field_of
from izin.runtime.plan import PlanMovedError, Selection
from izin.schemas.words import _spaced
from izin.stack.stack_settings import PORTS
from tests.support.builders import BRAND, CUSTOMER, PHONE, a_key
from tests.unit.producers.conftest import FakePublisher
from tests.unit.replay.test_order_state import a_plan


def test_options_make_a_selection() -> None:
    """Recipients in any notation, and keys; without options everything."""
    assert selection_of(recipients=None, brands=None) == Selection()
    key = str(a_key())
    found = selection_of(recipients=["0555 000 00 01", key], brands=[100001])
    assert found == Selection(
        keys=frozenset({key}),
        recipients=frozenset({PHONE}),
        brands=frozenset({100001}),
    )


def test_unreadable_line_of_standard_input_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its number, not by what it says."""
    monkeypatch.setattr("sys.stdin", io.StringIO(f"{PHONE}\n\nnobody\n"))
    with pytest.raises(SourceError, match="standard input, line 3"):
        selection_of(recipients=["-"], brands=None)


def test_what_if_of_a_period_that_ends_before_it_begins_exits_with_3(tmp_path: Path) -> None:
    """Before the ledger is asked; nothing is written."""
    period = ("--since", "2026-05-05T00:00:00Z", "--until", "2026-05-04T00:00:00Z")
    file = tmp_path / "differs.csv"
    done = CliRunner().invoke(app, ["replay", "what-if", "--out", str(file), *period])
    assert (done.exit_code, "--since must be before --until" in done.stderr) == (3, True)
    assert not file.exists()


def test_plan_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    """It may be of another release."""
    assert replay_of(tmp_path, a_plan())
    with pytest.raises(SourceError, match="no divination of tea"):
        replay_of(tmp_path, replace(a_plan(), kind="divination", target="tea"))


def test_progress_says_rate_and_time_left(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where there is no terminal, a line every ten seconds."""
    now = 100.0
    monkeypatch.setattr(output.time, "monotonic", lambda: now)
    with output.showing("reading") as shown:
        shown(0, 1000)
        now = 105.0
        shown(100, 1000)
        now = 110.0
        shown(200, 1000)
    assert capsys.readouterr().err == "reading: 200 of 1,000, 20/s, 40 s left\n"


def test_plan_of_another_target_is_not_overwritten(tmp_path: Path) -> None:
    """Nothing is asked of any server before that."""
    path = tmp_path / "plan.json"
    a_plan().write(path)
    before = path.read_bytes()
    done = CliRunner().invoke(app, ["replay", "rebuild", "ledger", f"--plan={path}"])
    assert (done.exit_code, "name another file" in done.stderr) == (3, True)
    assert path.read_bytes() == before


def test_error_of_a_moved_plan_names_few_partitions() -> None:
    """Each partition may have moved."""
    error = PlanMovedError([f"consent-events/{number} ends at 2, not 1" for number in range(48)])
    assert "consent-events/2 ends at 2, not 1; and 45 more; plan again" in str(error)
    assert len(error.moved) == 48


A_DAY, ANOTHER = date(2026, 5, 18), date(2026, 5, 20)
OURS = Brand(brand_code=BRAND, iys_code=BRAND, customer_id=CUSTOMER, name="Örnek")
CALENDAR = Calendar(extra_closed_days=frozenset({A_DAY}))


def test_options_vary_the_calendar_in_force():
    """Days of the environment, set and taken back; terms of brands stay."""
    before, after = settings_of([OURS], CALENDAR, closed=[ANOTHER], opened=[A_DAY])
    assert (before.closed_days, before.terms) == ({A_DAY}, {BRAND: OURS.clock})
    assert (after.closed_days, after.terms) == ({ANOTHER}, before.terms)


@pytest.mark.parametrize(
    ("closed", "opened", "why"),
    [
        ([], [], "nothing differs"),
        ([A_DAY], [], "nothing differs"),
        ([], [date(2026, 5, 19)], "fixed by law"),
    ],
    ids=["nothing", "closed already", "a public holiday"],
)
def test_options_that_vary_nothing_are_refused(
    closed: Sequence[date], opened: Sequence[date], why: str
):
    """Public holidays are the law's."""
    with pytest.raises(SourceError, match=why):
        settings_of([OURS], CALENDAR, closed=closed, opened=opened)


ROOT = Path(__file__).parents[3]
RUNNER = CliRunner()


def every_command(group: Any, *before: str) -> Iterator[tuple[str, ...]]:  # noqa: ANN401  # typer's
    """Yield each command as it is typed, groups and what is in them."""
    for name, command in group.commands.items():
        yield (*before, name)
        if hasattr(command, "commands"):
            yield from every_command(command, *before, name)


COMMANDS = tuple(every_command(typer.main.get_command(app)))
ALONE = {
    name
    for name, command in typer.main.get_command(app).commands.items()
    if getattr(command, "invoke_without_command", False)
}


def test_version_is_that_of_the_installation() -> None:
    """An operator who upgrades asks each host which release it has."""
    result = CliRunner().invoke(app, ["--version"])
    assert (result.exit_code, result.output) == (0, f"izin {metadata.version('izin')}\n")


def test_demo_imports_as_many_rows_as_help_and_readme_say() -> None:
    """The end-to-end tests import fewer."""
    assert inspect.signature(demo).parameters["rows"].default == ROWS
    for text in (demo.__doc__ or "", (ROOT / "README.md").read_text(encoding="utf-8")):
        assert re.search(rf"[Ii]mports?\b.* {ROWS:,} ", text)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_help_has_a_sentence(words: tuple[str, ...]) -> None:
    """--help works, and has a sentence beside the list of options."""
    shown = RUNNER.invoke(app, [*words, "--help"])
    assert shown.exit_code == 0
    assert len(shown.output) > 100
    printed = [line.strip() for line in shown.output.splitlines() if line.strip()]
    assert "Usage:" in printed[0]
    assert printed[1].endswith((".", ",")) or printed[1][0].isupper()


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_command_help_paragraph_is_one_line(words: tuple[str, ...]) -> None:
    """A paragraph is one line, however it is broken in the source."""
    command = typer.main.get_command(app)
    for word in words:
        command = command.commands[word]
    assert "\n" not in command.help.replace("\n\n", "")


def test_publish_command_imports_only_what_it_needs() -> None:
    """`izin publish` loads no stream engine, no server and no registry client."""
    words = ["publish", "--help"]
    asked = f"import sys; from izin.cli.cli import app; app({words}, standalone_mode=False)"
    listing = "print(*sys.modules, sep='\\n')"
    ran = [sys.executable, "-c", f"{asked}; {listing}"]
    imported = subprocess.run(ran, capture_output=True, text=True, check=True).stdout.splitlines()
    assert "izin.cli.publish" in imported
    others = {"izin.streams", "izin.sinks", "iys_simulator", "izin.local", "izin.stack", "faust"}
    assert others.isdisjoint(imported)
    assert {"httpx", "confluent_kafka.schema_registry"}.isdisjoint(imported)


@pytest.mark.parametrize(
    "page",
    [
        "README.md",
        "docs/commands.md",
        "docs/intake.md",
        "docs/onboarding.md",
        "docs/runbook.md",
        "docs/sending.md",
    ],
)
def test_commands_named_in_docs_exist(page: str) -> None:
    """Each ``izin …`` that a page names is a command."""
    text = (ROOT / page).read_text("utf-8")
    known = {words[0] for words in COMMANDS}
    # A word with a dot behind it is the name of a file.
    named = re.findall(
        r"(?:^|`)izin ([a-z][a-z-]*)(?: ([a-z][a-z-]*)\b(?![.]))?", text, re.MULTILINE
    )
    assert named
    for command, word in named:
        assert command in known, command
        if not word and command in ALONE:
            continue
        if (command,) in COMMANDS and any(one[:1] == (command,) and one[1:] for one in COMMANDS):
            assert (command, word) in COMMANDS, f"{command} {word}"


def test_explain_without_database_url_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without DATABASE_URL the ledger's commands report it, with exit code 4."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    shown = RUNNER.invoke(app, ["explain", "0555 000 00 01"])
    assert shown.exit_code == 4
    assert "DATABASE_URL" in shown.output


def test_deadlines_names_every_missing_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of any group, all at once."""
    names = ("DATABASE_URL", "IYS_USERNAME", "IYS_PASSWORD")
    for name in names:
        monkeypatch.delenv(name, raising=False)
    shown = RUNNER.invoke(app, ["deadlines", "show"])
    assert shown.exit_code == 4
    for name in names:
        assert f"{name} (missing)" in shown.output


def test_logs_of_a_command_begin_with_warnings(capsys: pytest.CaptureFixture[str]) -> None:
    """A lease that was taken is no news to a person."""
    log = structlog.wrap_logger(WarningLogger(sys.stderr))
    log.debug("looked")
    log.info("lease taken", work="rebuild")
    log.warning("pull failed")
    lines = capsys.readouterr().err.splitlines()
    assert (len(lines), "pull failed" in lines[0]) == (1, True)


PUBLISH = (
    "publish",
    "--type=MESAJ",
    "--status=RET",
    "--source=HS_WEB",
    "--recipient=0555 000 00 01",
)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((*PUBLISH, "--brand", "-5"), "greater than or equal to 1"),
        (("up", "--port=intake=31888", "--port=sink=31888"), "intake and sink both have 31888"),
        *(
            (("up", "--port", text), "intake=8081")
            for text in ("intake", "intake=", "door=1", "intake=-1", "intake=65536")
        ),
    ],
)
def test_wrong_value_of_an_option_is_wrong_usage(words: tuple[str, ...], said: str) -> None:
    """The range, both parts or an example are named; nothing is started."""
    shown = RUNNER.invoke(app, words)
    assert shown.exit_code == 2
    assert said in " ".join(shown.output.replace("│", " ").split())


def test_active_opt_outs_are_read_once_for_all_files(tmp_path: Path) -> None:
    """For every brand of the loading, whichever the first file has."""
    session = Mock()
    session.opt_outs.side_effect = lambda *_: object()
    session.run.side_effect = lambda path, _how, _begin, opt_outs: opt_outs([int(path.stem)])
    paths = [tmp_path / f"{BRAND + one}.csv" for one in range(3)]
    files = LoadingFiles(paths=paths, how=Import(), session=session)
    brands = [BRAND, BRAND + 1, BRAND + 2]
    found = list(files.read(Import(), tmp_path, brands=brands))
    assert len(set(map(id, found))) == 1
    assert [one.args[0] for one in session.run.call_args_list] == paths
    ((read, begin),) = (one.args for one in session.opt_outs.call_args_list)
    assert (read, bool(begin)) == (brands, True)


PAGE = (Path(__file__).parents[3] / "docs" / "importing.md").read_text("utf-8")
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
BRANDS = BrandDirectory(
    [RegisteredBrand(brand_code=100001, iys_code=1, customer_id="acme", name="Example")]
)
EVERYWHERE = {"--output", "--help", "--install-completion", "--show-completion"}


def first_cells(heading: str) -> list[str]:
    """Return the first cell of each row of the table below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)(?:^## |\Z)", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [line.split("|")[1].strip(" `") for line in lines]


def block(language: str) -> str:
    (found,) = re.findall(rf"^```{language}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def test_example_of_the_page_gives_its_output(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, printed: io.StringIO
) -> None:
    """In a terminal of 80 columns; the report has what the page says of it."""
    monkeypatch.chdir(tmp_path)
    path = Path("export.csv")
    path.write_text(block("csv"), "utf-8")
    done = import_file(path, FakePublisher(lambda: NOW), BRANDS, clock=lambda: NOW, how=Import())
    print_result(done, OutputFormat.TABLE)
    seconds = re.compile(r"│ seconds .*")
    assert seconds.sub("", printed.getvalue()) == seconds.sub("", block("text"))
    with done.report_path.open(encoding="utf-8-sig", newline="") as stream:
        header, *rows = csv.reader(stream, delimiter=";")
    assert header == [*block("csv").splitlines()[0].split(";"), *ADDED]
    assert [row[0] for row in rows] == ["A-3", "A-2"]


def test_page_has_every_option_of_the_command() -> None:
    """And no other."""
    alone = typer.Typer()
    alone.command()(import_)
    params = typer.main.get_command(alone).params
    names = {name for one in params for name in one.opts if name.startswith("--")}
    assert {one.split()[0] for one in first_cells("Options")} == names - EVERYWHERE


def test_page_has_the_columns_codes_and_limits_of_the_import() -> None:
    """As the code has them."""
    assert tuple(first_cells("The report")) == ADDED
    codes = {int(one) for one in first_cells("Exit codes")}
    assert codes == set(ExitCode) - {ExitCode.USAGE, ExitCode.NOT_VERIFIED}
    assert f"{CHECKPOINT_ROWS:,} rows" in PAGE


def cells_of(name: str) -> list[str]:
    """Return what stands in backquotes in the row of that name of the page's lists."""
    (line,) = re.findall(rf"^\| {name} \|(.*)$", PAGE, re.MULTILINE)
    return re.findall("`(.+?)`", line)


def test_page_has_every_name_of_a_status() -> None:
    """Of a consent, of any status, and of the date of one channel's consents."""
    consents = cells_of("of a consent")
    wide = set(STATUS_NAMES)
    assert wide <= set(consents)
    narrow = [one for one in consents if one not in wide or field_of(one) is Field.STATUS]
    assert all(names_consent(one) for one in narrow)
    known = [word for word, held in FIELD_NAMES.spelled.items() if held == Field.STATUS]
    generic = [one for one in cells_of("of any status") if one in known]
    assert set(GENERIC_STATUSES) == set(generic)
    assert {_spaced(one, NAME) for one in (*narrow, *generic)} == set(known)
    assert set(GENERIC_NAMES) <= set(cells_of("of any status"))
    assert cells_of("of a channel's date") == list(DATE_NAMES)


def test_mapping_of_the_page_is_read(tmp_path: Path) -> None:
    """As its comments say."""
    path = tmp_path / "crm.toml"
    path.write_text(block("toml"), "utf-8")
    found = read_mapping(path).choices
    assert found.given == {"marka": "100001"}
    assert found.values["status:Pasif"] == "RET"


@pytest.mark.parametrize(
    ("content", "given"),
    [
        ("\n;;;;\ntelefon;kanal;durum;tarih;marka\n{};SMS;iptal;;100001", {}),
        ("telefon\n{}", {"durum": "RET", "kanal": "SMS", "marka": "100001"}),
        ("telefon;SMS izni;marka\n{};vazgeçti;100001", {}),
        ("sep=|\ntelefon|kanal|durum|marka\n{}|SMS|yok|100001", {}),
    ],
)
@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1254"])
def test_shapes_of_the_page_are_read(
    tmp_path: Path, content: str, given: dict[str, str], encoding: str
) -> None:
    """Each with an opt-out."""
    path = tmp_path / "export.csv"
    path.write_bytes(content.format("0555 000 00 01").encode(encoding))
    publisher = FakePublisher(lambda: NOW)
    how = Import(columns=ColumnChoices(given=given))
    import_file(path, publisher, BRANDS, clock=lambda: NOW, how=how)
    assert [one.status for one in publisher.events] == ["RET"]


def a_report(**changes: object) -> ImportReport:
    """Return the result of an import of ten rows."""
    counts = dict.fromkeys(
        (
            *("refused_opt_outs", "refused_unclear", "repeated_headers", "without_recipient"),
            *("opt_outs", "not_registrable", "past_term", "refused"),
        ),
        0,
    )
    fields = {
        "path": Path("export.csv"),
        "digest": "0" * 64,
        "encoding": "utf-8-sig",
        "delimiter": ";",
        "header_line": 1,
        "rows": 10,
        "published": 10,
        "reasons": {},
        "report_path": None,
        "dry_run": False,
        "seconds": 0.0,
    }
    return ImportReport(**counts | fields | changes)  # type: ignore[arg-type]  # as the test gives them


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> io.StringIO:
    """Give what is printed on both."""
    found = io.StringIO()
    for name in ("out", "err"):
        monkeypatch.setattr(output, name, Console(file=found, width=80))
    return found


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, "rows"),
        ({"resumed_after": 7}, "export.csv: gone on after row 7; the counts are of all rows"),
        (
            {"restarted_because": Start.FILE_CHANGED, "resumed_after": 0},
            "imported from its beginning: the file is not the one whose import had stopped",
        ),
        ({"restarted_because": Start.OPTIONS_CHANGED}, "the options are not those of"),
        ({"restarted_because": Start.REPORT_LOST}, "the report's rows up to where"),
        (
            {"finished_before": datetime(2026, 3, 2, 9, tzinfo=UTC)},
            "imported to its end at 02.03.2026 12:00:00: nothing was published now",
        ),
        ({"reversals": 3}, "ONAY among them, given back: each reverses an opt-out"),
        (
            {"refused_reversals": 3, "reversals_path": Path("a.csv")},
            "left out 3 ONAY among them would reverse an opt-out.",
        ),
        ({"silent": 2}, "say nothing 2 rows without a status"),
        ({"without_recipient": 2}, "opt-outs of a channel for which the row has no address"),
        ({"not_registrable": 1}, "to be corrected 1 opt-outs among them: else İYS gets them as"),
        ({"hidden_sheets": ("Ret",)}, 'left out: hidden sheets that have rows: "Ret". If consents'),
        ({"reasons": {"H121": 2, "H158": 1}}, "refused 0 reasons H121 2, H158 1 changes"),
        ({"reasons": {"H115": 2}}, "words that are not known are given a meaning: --value WORD="),
        ({"repeated_headers": 1}, "lines with the header once more"),
    ],
)
def test_result_says_what_happened(
    printed: io.StringIO, changes: dict[str, object], said: str
) -> None:
    """Beside the counts, and nothing else of the kind."""
    print_result(a_report(**changes), OutputFormat.TABLE)
    text = " ".join(printed.getvalue().replace("│", " ").split())
    assert " ".join(said.split()) in text
    assert ("export.csv was" in text or "export.csv:" in text) == bool(
        changes.keys() & {"resumed_after", "restarted_because", "finished_before"}
    )


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "export.csv"
    path.write_text("telefon\n0555 000 00 01\n", "utf-8")
    return path


@pytest.mark.parametrize(
    ("options", "said"),
    [((), "the same command goes on where it was"), (("--dry-run",), "nothing was published")],
)
def test_stopped_import_says_how_it_goes_on(
    path: Path,
    printed: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
    options: tuple[str, ...],
    said: str,
) -> None:
    """Exit code 130 alone leaves a person without it."""
    stopped = Mock(**{"run.side_effect": KeyboardInterrupt})
    monkeypatch.setattr(imports, "import_session", lambda: nullcontext(stopped))
    found = CliRunner().invoke(app, ["import", str(path), *options])
    assert found.exit_code == ExitCode.INTERRUPTED
    assert f"export.csv: stopped before its end; {said}" in " ".join(printed.getvalue().split())


def test_reversals_are_a_file_that_somebody_gives_back(path: Path) -> None:
    """Anything else would be guessed."""
    found = CliRunner().invoke(app, ["import", str(path), "--reversals", "3"])
    assert found.exit_code == ExitCode.USAGE
    assert "'3' does not exist" in " ".join(found.stderr.replace("│", "").split())
    found = CliRunner().invoke(app, ["import", str(path), "--reversals", str(path), "--by", ""])
    assert "say who gives them back" in " ".join(found.stderr.replace("│", "").split())


def test_list_of_commands_imports_none_of_them() -> None:
    """To look for a command takes no time; what each does is read from a file."""
    shown = (
        "import sys; sys.argv = ['izin', '--help']\n"
        "from izin.cli.entry import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print(sorted(one for one in sys.modules if one.startswith('izin')))"
    )
    done = subprocess.run([sys.executable, "-c", shown], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "['izin', 'izin.cli', 'izin.cli.cli', 'izin.cli.entry']"
    assert "Publish one consent (ONAY) or opt-out (RET)" in done.stdout


def test_ports_follow_one_another() -> None:
    """From the one that is asked for; a part may have another."""
    ports = ports_of(["intake=9500"], first=9000)
    assert ports.pop("intake") == 9500
    assert [*ports.values()] == [9000, 9001, 9002, *range(9004, 9000 + len(PORTS))]
