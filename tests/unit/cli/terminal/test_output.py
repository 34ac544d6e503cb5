"""Output of every command: exit codes by who must act, tables of plain text, Turkish time."""

import json
from datetime import UTC, datetime

import pytest
import typer
from rich.console import Console

from izin.cli.terminal import (
    ExitCode,
    OutputFormat,
    exit_on_error,
    kafka_settings,
    output,
    print_rows,
    turkish,
)
from izin.consent import IysError, IzinError, NaiveInstantError, OurError, SourceError
from izin.local import LocalError
from izin.runtime.settings import KafkaSettings, LedgerSettings

NOON = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


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


def test_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Missing and wrong settings are distinguished, and no value is quoted."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(typer.Exit) as ended, exit_on_error():
        LedgerSettings()
    assert ended.value.exit_code == ExitCode.OURS
    assert "DATABASE_URL (missing)" in capsys.readouterr().err
    monkeypatch.setenv("IZIN_PARTITIONS", "-17")
    with pytest.raises(typer.Exit), exit_on_error():
        KafkaSettings()
    printed = capsys.readouterr().err
    assert "IZIN_PARTITIONS (input should be greater than or equal to 1)" in printed
    assert "-17" not in printed
    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", "not-a-list")
    with pytest.raises(typer.Exit), exit_on_error():
        LedgerSettings()
    printed = capsys.readouterr().err
    assert "JSON" in printed
    assert "not-a-list" not in printed


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
