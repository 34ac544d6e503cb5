"""Output of every command: exit codes by who must act, tables of plain text, Turkish time.

Options that several commands take together.

Files with recipients in full: they replace earlier ones of their kind, and no other file.

Since when something counts, as a person writes it.

Tables fit the terminal, and cut nothing that people copy.

Recipients come from a file or from standard input, so that no shell remembers them.
Ctrl-C and SIGTERM end a block in order, and leave the handlers as they were.
No control of a text reaches a terminal, a log, a CSV file or a page: it is written out.
"""

import asyncio
import io
import json
import logging
import signal
import sys
import unicodedata
from codecs import BOM_UTF8
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from io import StringIO
from pathlib import Path
from typing import Annotated, Any

import openpyxl
import pytest
import structlog
import typer
from hypothesis import HealthCheck, given, settings, strategies as st
from rich.console import Console
from rich.text import Text
from typer.testing import CliRunner

from izin.cli.cli import izin
from izin.cli.terminal import (
    ExitCode,
    OutputFormat,
    begin_of,
    exit_codes,
    exit_on_error,
    kafka_settings,
    ledger_session,
    output,
    print_rows,
    private_csv,
    raising_on_signals,
    recipients_in,
    run_interruptible,
    takes,
    turkish,
)
from izin.cli.terminal.output import print_table, widths_of
from izin.consent import (
    IysError,
    IzinError,
    NaiveInstantError,
    OurError,
    SourceError,
    as_written,
    visible,
)
from izin.evidence.summary import fact_table, page, summary_of, table
from izin.evidence.verification import verify
from izin.local import LocalError
from izin.producers.files.table_formats import write_report
from izin.producers.mapping.cells import notation_text
from izin.runtime import logs
from izin.runtime.plain_log import PlainLogger
from izin.runtime.settings import KafkaSettings, LedgerSettings, LogSettings
from tests.support.evidence.archives import some_evidence

NOON = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
HEADER = ("marka/brand", "alıcı/recipient")
ROW = ("100001", "ada@example.com")
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
KEYS = ("100001/EPOSTA/BIREYSEL/ada.lovelace@example.com", "100002/MESAJ/TACIR/+905550000002")
REMEDY = (
    "once corrected, name it among its rights: izin brands rights 100001 --type ARAMA --execute"
)
LINES = "\ufeff0555 000 00 01\n\n  100001/MESAJ/BIREYSEL/0555 000 00 02 \nA@Example.com\n"
READ = ["+905550000001", "100001/MESAJ/BIREYSEL/+905550000002", "a@example.com"]


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceError("column [/red] is not known"), ExitCode.SOURCE),
        (OurError("a bug"), ExitCode.OURS),
        (NaiveInstantError("at"), ExitCode.OURS),
        (IysError("away"), ExitCode.OURS),
        (IzinError("away"), ExitCode.OURS),
    ],
)
def test_exit_code_of_an_error_says_who_must_act(
    error: Exception, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each class of error has its code; the message goes to standard error, with its brackets."""
    with pytest.raises(typer.Exit) as ended, exit_on_error():
        raise error
    assert ended.value.exit_code == code
    captured = capsys.readouterr()
    assert str(error) in captured.err
    assert captured.out == ""


def test_exit_on_error_of_a_closed_pipe_is_silent(capsys: pytest.CaptureFixture[str]) -> None:
    """As of ``izin … | head``; any other error of the system is a message."""
    with pytest.raises(BrokenPipeError), exit_on_error():
        raise BrokenPipeError
    assert capsys.readouterr().err == ""
    with pytest.raises(typer.Exit) as ended, exit_on_error():
        raise PermissionError(13, "Permission denied", "plan.json")
    assert ended.value.exit_code == ExitCode.OURS
    assert "plan.json" in capsys.readouterr().err


def test_exit_on_error_catches_others_only_where_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Commands that start servers name their errors too; to other commands they are bugs."""
    with pytest.raises(typer.Exit) as ended, exit_on_error(LocalError):
        raise LocalError("no port")
    assert ended.value.exit_code == ExitCode.OURS
    assert "no port" in capsys.readouterr().err
    with pytest.raises(LocalError), exit_on_error():
        raise LocalError("no port")


@pytest.mark.parametrize(
    ("name", "value", "settings", "said"),
    [
        ("DATABASE_URL", None, LedgerSettings, "DATABASE_URL (missing)"),
        (
            "IZIN_PARTITIONS",
            "-17",
            KafkaSettings,
            "IZIN_PARTITIONS (input should be greater than or equal to 1)",
        ),
        ("IZIN_EXTRA_CLOSED_DAYS", "not-a-list", LedgerSettings, "JSON"),
    ],
)
def test_wrong_setting_is_named_without_its_value(  # noqa: PLR0917  # fixtures and cases
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    value: str | None,
    settings: type[LedgerSettings | KafkaSettings],
    said: str,
) -> None:
    """Missing and wrong settings are distinguished, and no value is quoted."""
    monkeypatch.delenv(name, raising=False)
    if value is not None:
        monkeypatch.setenv(name, value)
    with pytest.raises(typer.Exit) as ended, exit_on_error():
        settings()
    printed = capsys.readouterr().err
    assert (ended.value.exit_code, said in printed) == (ExitCode.OURS, True)
    assert value is None or value not in printed


def test_table_cells_are_text_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """Input is printed as it is; None is empty, and True is yes."""
    print_rows(OutputFormat.TABLE, ("name", "is"), [("[bold]x[/y]", True), (None, False)])
    printed = capsys.readouterr().out
    assert "[bold]x[/y]" in printed
    assert "yes" in printed
    assert "None" not in printed


def test_rows_as_json_have_column_names(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has the names of the columns, ISO instants, and Turkish letters as they are."""
    print_rows(OutputFormat.JSON, {"name": "ad", "at": "ne zaman"}, [("Örnek", NOON)])
    assert json.loads(capsys.readouterr().out) == [
        {"name": "Örnek", "at": "2026-03-02T09:00:00+00:00"}
    ]


def test_instants_are_printed_in_turkish_time() -> None:
    """Noon in Turkey is nine in UTC, given as instant or as ISO text."""
    assert turkish(NOON) == turkish(NOON.isoformat()) == "02.03.2026 12:00:00"
    assert turkish(None) == turkish("") == ""


def test_kafka_client_of_a_command_logs_critical_events_only() -> None:
    """Librdkafka writes almost nothing to a person's terminal."""
    assert kafka_settings().client_log_level < KafkaSettings().client_log_level


@pytest.mark.parametrize("is_terminal", [True, False])
def test_warning_is_red_only_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, is_terminal: bool
) -> None:
    """A file or a pipe gets the text alone."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("COLORTERM", raising=False)
    monkeypatch.setattr(output, "out", Console(force_terminal=is_terminal, no_color=False))
    output.warn("7 opt-outs [RET] were refused")
    printed = capsys.readouterr().out
    assert "7 opt-outs [RET] were refused" in printed
    assert ("\x1b[1;31m" in printed) is is_terminal


def _filters(
    *,
    colour: Annotated[list[str] | None, typer.Option()] = None,
    size: Annotated[int, typer.Option(min=1)] = 1,
) -> str:
    return f"{colour} of {size}"


@takes("chosen", _filters)
def _meant(
    names: Annotated[list[str] | None, typer.Argument()] = None, *, chosen: str
) -> tuple[str, list[str] | None]:
    return chosen, names


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["--by=ada"], "('None of 1', None) ada"),
        (["--by=ada", "--colour=red", "one", "two"], "(\"['red'] of 1\", ['one', 'two']) ada"),
        (["--by=ada", "--size=0"], "Invalid value for '--size'"),
        (["--colour=red"], "Missing option '--by'"),
    ],
)
def test_command_takes_the_options_of_a_set(words: list[str], shown: str) -> None:
    """Of a set within a set too, with their checks, beside its own."""
    app = typer.Typer()

    @app.command()
    @takes("letters", _meant)
    def show(*, letters: object, by: Annotated[str, typer.Option()]) -> None:
        typer.echo(f"{letters} {by}")

    assert shown in CliRunner().invoke(app, words).output


@pytest.mark.parametrize("for_excel", [False, True])
def test_file_replaces_an_earlier_one(tmp_path: Path, for_excel: bool) -> None:
    """And an empty one; Excel in Turkey needs a BOM and semicolons."""
    path = tmp_path / "list.csv"
    path.touch()
    for _ in range(2):
        with private_csv(path, HEADER, for_excel=for_excel) as rows:
            rows.writerow(ROW)
    text = path.read_bytes()
    assert text.startswith(BOM_UTF8) is for_excel
    lines = text.decode("utf-8-sig").splitlines()
    assert lines == [(";" if for_excel else ",").join(one) for one in (HEADER, ROW)]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [b"telefon\r\n0555 000 00 01\r\n", b"%PDF", b"\xff\xfe", None])
def test_file_replaces_no_other(tmp_path: Path, content: bytes | None) -> None:
    """Such as the address book itself, given by mistake; nothing is left beside it."""
    path = tmp_path / "rehber.csv"
    if content is None:
        path.mkdir()
    else:
        path.write_bytes(content)
    with pytest.raises(SourceError, match="name another file"), private_csv(path, HEADER):
        pytest.fail("nothing is written")
    assert content is None or path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("24h", NOW - timedelta(hours=24)),
        ("7d", NOW - timedelta(days=7)),
        ("P1D", NOW - timedelta(days=1)),
        ("2026-03-02T12:00", datetime(2026, 3, 2, 9, tzinfo=UTC)),
    ],
)
def test_since_counts_from_what_is_written(text: str, expected: datetime) -> None:
    """An instant without an offset is Turkish."""
    assert begin_of(text, NOW) == expected


@pytest.mark.parametrize("text", ["3x", "", "-1d", "9999999d", "99999999999d", "P9999Y", "dün"])
def test_anything_else_names_every_form(text: str) -> None:
    """Also what lies before all years."""
    with pytest.raises(typer.BadParameter, match="24h, 7d, P1D or 2026-03-02T12:00"):
        begin_of(text, NOW)


def printed(
    titles: tuple[str, ...], *rows: tuple[str, ...], width: int = 80, below: bool = False
) -> list[str]:
    """Return the lines of a table on a terminal."""
    out = Console(file=StringIO(), width=width, color_system=None)
    print_table(out, titles, rows, below=below)
    return out.file.getvalue().splitlines()


@pytest.mark.parametrize("width", [60, 80, 200])
def test_table_of_any_width_cuts_no_word(width: int):
    """Keys are whole beside prose, whatever the width; the lines fit the screen."""
    lines = printed(
        ("id", "key", "why"), *(("1", key, "a court " * 9) for key in KEYS), width=width
    )
    for key in KEYS:
        assert any(key in line for line in lines)
    assert max(map(len, lines)) <= width


def test_table_too_wide_is_a_block_a_row():
    """A line a column, without the empty ones, and an empty line between."""
    titles = tuple(f"column {number}" for number in range(12))
    rows = [(*(f"{row}0000{number}" for number in range(11)), "") for row in (1, 2)]
    lines = [line.rstrip() for line in printed(titles, *rows)]
    assert lines[0].split() == ["column", "0", "100000"]
    assert lines[11] == ""
    assert lines[12].endswith("200000")
    assert len(lines) == 23


def test_table_last_column_below_is_in_whole_lines():
    """A command is copied as one line; in the table and in blocks alike."""
    row = ("100001", "MESAJ", "the right is missing", REMEDY)
    titles = ("brand", "channel", "why", "remedy")
    assert printed(titles, row, below=True)[-1] == f"100001 MESAJ: {REMEDY}"
    assert printed(titles, row, below=True, width=30)[-1] == REMEDY
    nothing = (*row[:-1], "")
    assert printed(titles, nothing, below=True) == printed(titles[:-1], row[:-1])


def test_table_without_rows_says_none():
    """Titles alone, or no line at all, would be ambiguous."""
    assert printed(("brand", "channel")) == ["none"]


def test_column_widths_follow_need():
    """A short column takes what it needs, the longest the rest."""
    columns = [["code", "H353"], ["why", "word " * 6], ["what", "word " * 30]]
    assert widths_of(columns, 100) == [4, 30, 56]
    assert widths_of(columns, 54) == [4, 20, 20]
    assert widths_of(columns, 53) is None


@pytest.mark.parametrize("is_input", [False, True], ids=["file", "input"])
def test_recipients_are_read_line_by_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_input: bool
):
    """In any notation, as keys spell them; empty lines are none."""
    file = Path("-") if is_input else tmp_path / "list"
    if is_input:
        monkeypatch.setattr("sys.stdin", io.StringIO(LINES))
    else:
        file.write_text(LINES, "utf-8")
    assert list(recipients_in(file)) == READ


@pytest.mark.parametrize(
    ("content", "message"),
    [(b"\xff", "cannot be read"), (b"0555 000 00 01\nnobody", "line 2: ")],
    ids=["no-text", "no-recipient"],
)
def test_unreadable_list_names_file_and_line(tmp_path: Path, content: bytes, message: str):
    """A person has to correct it."""
    file = tmp_path / "list"
    file.write_bytes(content)
    with pytest.raises(SourceError, match=f"list.*{message}"):
        list(recipients_in(file))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_first_signal_interrupts_the_block(number: signal.Signals) -> None:
    """Either signal raises KeyboardInterrupt, after which a second one would end the process."""
    before = signal.getsignal(number)
    with pytest.raises(KeyboardInterrupt), raising_on_signals():
        signal.raise_signal(number)
    assert signal.getsignal(number) == before


def test_block_without_a_signal_restores_the_handlers() -> None:
    """The handlers are as they were."""
    before = signal.getsignal(signal.SIGTERM)
    with raising_on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signal_cancels_work_where_it_waits(number: signal.Signals) -> None:
    """Not in the middle of a step; then a second one would end the process."""
    steps: list[object] = []

    async def work() -> None:
        signal.raise_signal(number)
        steps.append("went on")
        try:
            await asyncio.Event().wait()
        finally:
            steps.extend(map(signal.getsignal, (signal.SIGINT, signal.SIGTERM)))

    with raising_on_signals(), pytest.raises(KeyboardInterrupt):
        run_interruptible(work())
    assert steps == ["went on", signal.SIG_DFL, signal.SIG_DFL]


def test_work_without_a_signal_restores_the_handlers() -> None:
    """Its error is raised, and the handlers are as they were."""
    before = signal.getsignal(signal.SIGTERM)

    async def work() -> None:
        assert signal.getsignal(signal.SIGTERM) is not before
        raise ValueError("of the work")

    with pytest.raises(ValueError, match="of the work"):
        run_interruptible(work())
    assert signal.getsignal(signal.SIGTERM) == before


def test_signal_cancels_work_on_the_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    """A command that was stopped in the midst of its loop would wait for ever for the pool."""

    @asynccontextmanager
    async def no_ledger(_: object) -> AsyncIterator[None]:
        yield

    monkeypatch.setattr(ledger_session, "open_ledger", no_ledger)
    steps: list[str] = []

    async def work(_: object) -> None:
        signal.raise_signal(signal.SIGTERM)
        steps.append("went on")
        await asyncio.Event().wait()

    settings = LedgerSettings.model_validate({"DATABASE_URL": "postgresql://localhost/none"})
    with raising_on_signals(), pytest.raises(KeyboardInterrupt):
        ledger_session.run_on_ledger(work, settings)
    assert steps == ["went on"]


def test_work_in_another_thread_has_no_signals() -> None:
    """They come to the main thread alone."""

    async def work() -> int:
        return 7

    with ThreadPoolExecutor() as pool:
        assert pool.submit(run_interruptible, work()).result() == 7


_OVERRIDES = frozenset({"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"})
ESCAPE = "\x1b]0;owned\x07\x9b31m\u202eesrever\u2028\x7f\r"
EVERY = "".join(map(chr, range(sys.maxunicode + 1)))
"""Every code point there is."""
TEXTS = st.text(st.characters(exclude_categories=()), max_size=40) | st.text("\x1b\x9b\u202e\r;")
EACH_TEXT = settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))


def controls(text: str) -> set[str]:
    """Return the controls in ``text``, by Unicode's own tables; tab and newline are format."""
    return {
        one
        for one in set(text) - {"\t", "\n"}
        if unicodedata.category(one) in {"Cc", "Cs", "Zl", "Zp"}
        or unicodedata.bidirectional(one) in _OVERRIDES
    }


Taken = Callable[[], str]


@pytest.fixture
def taken(capsys: pytest.CaptureFixture[str]) -> Taken:
    """Return what returns what was printed since it was last called, on either stream."""
    return lambda: "".join(capsys.readouterr())


@pytest.fixture
def logged(taken: Taken) -> Iterator[Taken]:
    """Return what returns the log since it was last called; in the end logs are as they were."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield taken
    structlog.configure(**before)
    root.handlers[:] = handlers
    root.setLevel(level)


def test_controls_are_those_of_unicode() -> None:
    """Of every code point; what is left is what it was, and all can be read again."""
    shown = visible(EVERY)
    assert controls(shown) == set()
    assert as_written(shown) == EVERY
    hidden = controls(EVERY)
    kept = "".join(one for one in EVERY if one not in hidden)
    assert visible(kept) == kept


@EACH_TEXT
@given(TEXTS)
def test_json_with_controls_is_the_same_value(text: str) -> None:
    """A program reads what it read before."""
    taken = output.json_text({"campaign": text})
    assert controls(taken) == set()
    assert json.loads(taken) == {"campaign": text}


@EACH_TEXT
@given(text=TEXTS)
def test_terminal_gets_no_control(taken: Taken, text: str) -> None:
    """In tables and blocks of any width, messages, warnings, errors, and what is printed as is."""
    for rows in ([("bahar", text)], [(text, text * 9)]):
        output.print_rows(OutputFormat.TABLE, ("name", text), rows, below=False)
        output.print_rows(OutputFormat.TABLE, ("name", "do"), rows, below=True)
        output.print_rows(OutputFormat.JSON, ("name", text), rows)
    output.print_fields([(text, text)])
    output.say(text)
    output.warn(text)
    output.out.print(text, markup=False)
    output.out.print(Text(text))
    with pytest.raises(typer.Exit), exit_codes.exit_on_error():
        raise SourceError(text)
    shown = taken()
    assert controls(shown) == set()
    assert "bahar" in shown


def test_terminal_shows_what_a_control_was(taken: Taken) -> None:
    """Nothing of a name is lost: whoever reads it sees that it is not what it pretends."""
    output.print_rows(OutputFormat.TABLE, ("campaign",), [(ESCAPE,)])
    assert visible(ESCAPE) in taken()
    output.say(ESCAPE)
    assert visible(ESCAPE) in taken()


@EACH_TEXT
@given(text=TEXTS)
@pytest.mark.parametrize("is_json", [True, False])
def test_log_gets_no_control(logged: Taken, is_json: bool, text: str) -> None:
    """Of events, fields of any depth, exceptions and libraries; on a console but its colours."""
    logs.configure(LogSettings(json_lines=is_json, level="info"))
    log = structlog.get_logger("izin.test")
    log.warning("asked", campaign=text, recipient=text, nested={"a": [text, {text: text}]})
    try:
        fail_with(text)
    except ValueError:
        log.exception("failed")
    logging.getLogger("library").error("%s", text)
    PlainLogger("izin.plain").error("told", campaign=text)
    lines = logged()
    assert "asked" in lines
    assert controls(lines if is_json else without_colours(lines)) == set()
    if is_json:
        assert [json.loads(one)["event"] for one in lines.splitlines()][1:3] == ["asked", "failed"]


@EACH_TEXT
@given(text=TEXTS)
def test_log_of_a_command_gets_no_control(logged: Taken, text: str) -> None:
    """Where nothing configures logs, warnings are beside the result."""
    structlog.reset_defaults()
    izin()
    structlog.get_logger().warning("asked", campaign=text)
    try:
        fail_with(text)
    except ValueError:
        structlog.get_logger().error("failed", exc_info=True)
    lines = logged()
    assert "asked" in lines
    assert controls(without_colours(lines)) == set()


@EACH_TEXT
@given(text=TEXTS)
def test_csv_gets_no_control(tmp_path: Path, text: str) -> None:
    """Of a list, and of an import's report, which is read again as it stood."""
    for for_excel in (False, True):
        path = tmp_path / f"list-{for_excel}.csv"
        with private_csv(path, ("name", "count"), for_excel=for_excel) as rows:
            rows.writerow((text, 7))
        content = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
        assert controls(content) == set()
    for path in (tmp_path / "report.csv", tmp_path / "report.xlsx"):
        write_report(path, ("name",), [(text,)], mode=0o600)
    content = (tmp_path / "report.csv").read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    assert controls(content) == set()
    (cell,) = (row[0] for row in openpyxl.load_workbook(path).active.iter_rows(2, values_only=True))
    assert controls(cell or "") == set()
    assert notation_text(visible(text)) == notation_text(text)


@EACH_TEXT
@given(text=TEXTS)
def test_page_gets_no_control(text: str) -> None:
    """Of the summary and the application pack, which have one frame."""
    parts = [fact_table([(text, text)]), table((text, "b"), [[text, text]], ends=True)]
    assert controls(page(text, parts, text).decode()) == set()


def test_summary_with_controls_is_computed_again() -> None:
    """Whoever verifies an archive writes them out the same way."""
    header = some_evidence().header
    brand: Mapping[str, Any] = {**header["brand"], "name": ESCAPE}
    evidence = replace(some_evidence(), header={**header, "brand": brand, "reason": ESCAPE})
    found = verify(evidence.packed(), None)
    assert found.faults == ()
    assert controls("\n".join(found.lines())) == set()
    summary = summary_of(evidence.report()).decode()
    assert (controls(summary), visible(ESCAPE) in summary) == (set(), True)


def fail_with(text: str) -> None:
    """Raise an error that quotes ``text``."""
    raise ValueError(text)


def without_colours(text: str) -> str:
    """Return ``text`` without the colours of structlog's console."""
    styles = structlog.dev.ConsoleRenderer().get_default_level_styles()
    colours = {getattr(structlog.dev, name) for name in dir(structlog.dev) if name.isupper()}
    for one in {*styles.values(), *(one for one in colours if isinstance(one, str) and one)}:
        text = text.replace(one, "") if one.startswith("\x1b") else text
    return text
