"""How the console speaks: exit codes by who must act, tables that are text, Turkish time."""

import json
from datetime import UTC, datetime

import pytest
import typer
from pydantic import ValidationError

from izin.consent.errors import IysError, IzinError, NaiveInstantError, OurError, SourceError
from izin.console.terminal.output import (
    ExitCode,
    OutputFormat,
    err,
    kafka_settings,
    out,
    print_rows,
    told,
    turkish,
)
from izin.local import LocalError
from izin.runtime.settings import IntakeSettings, KafkaSettings, LedgerSettings

NOON = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (SourceError("row 3"), ExitCode.SOURCE),
        (OurError("a bug"), ExitCode.OURS),
        (NaiveInstantError("at"), ExitCode.OURS),
        (IysError("away"), ExitCode.OURS),
        (IzinError("away"), ExitCode.OURS),
    ],
)
def test_the_exit_code_says_who_must_act(
    error: Exception, code: ExitCode, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each class of error ends with its code, and its message stands on standard error."""
    with pytest.raises(typer.Exit) as ended, told():
        raise error
    assert ended.value.exit_code == code
    captured = capsys.readouterr()
    assert str(error) in captured.err
    assert captured.out == ""


def test_an_error_nobody_knows_is_not_hidden() -> None:
    """A bug keeps its traceback."""
    with pytest.raises(ZeroDivisionError), told():
        raise ZeroDivisionError


def test_errors_from_beside_our_floors_are_told_where_they_are_named(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Whoever starts servers names their errors too; to the others they are bugs."""
    with pytest.raises(typer.Exit) as ended, told(LocalError):
        raise LocalError("no port")
    assert ended.value.exit_code == ExitCode.OURS
    assert "no port" in capsys.readouterr().err
    with pytest.raises(LocalError), told():
        raise LocalError("no port")


def test_a_wrong_setting_is_named_without_its_value(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What is missing and what is wrong are told apart, and no value is quoted."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    with pytest.raises(typer.Exit) as ended, told():
        LedgerSettings()
    assert ended.value.exit_code == ExitCode.OURS
    assert "DATABASE_URL (missing)" in capsys.readouterr().err
    monkeypatch.setenv("IZIN_PARTITIONS", "-17")
    with pytest.raises(typer.Exit), told():
        KafkaSettings()
    said = capsys.readouterr().err
    assert "IZIN_PARTITIONS (input should be greater than or equal to 1)" in said
    assert "-17" not in said
    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", "not-a-list")
    with pytest.raises(typer.Exit), told():
        LedgerSettings()
    said = capsys.readouterr().err
    assert "JSON" in said
    assert "not-a-list" not in said


@pytest.mark.parametrize("given", ["not-a-list", '"not-a-list"', "[17]", ""])
def test_tokens_that_are_no_list_are_told_with_their_form(
    given: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The setting and the form that is right are named, the secret is not."""
    monkeypatch.setenv("IZIN_INTAKE_TOKENS", given)
    with pytest.raises(typer.Exit), told():
        IntakeSettings()
    said = capsys.readouterr().err
    assert 'IZIN_INTAKE_TOKENS (value error, write a json list of texts, such as ["..."])' in said
    assert "not-a-list" not in said
    assert "17" not in said


def test_a_validation_error_of_settings_is_pydantics_own() -> None:
    """What ``told`` catches is what settings raise."""
    with pytest.raises(ValidationError):
        KafkaSettings(partitions=0)


def test_a_cell_is_text_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """What people entered prints as they entered it; nothing is empty, and yes is yes."""
    print_rows(OutputFormat.TABLE, ("name", "is"), [("[bold]x[/y]", True), (None, False)])
    printed = capsys.readouterr().out
    assert "[bold]x[/y]" in printed
    assert "yes" in printed
    assert "None" not in printed


def test_an_error_is_text_not_markup(capsys: pytest.CaptureFixture[str]) -> None:
    """A message with brackets neither vanishes nor breaks."""
    with pytest.raises(typer.Exit), told():
        raise SourceError("column [/red] is not known")
    assert "[/red]" in capsys.readouterr().err


def test_rows_are_json_for_machines(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON has the columns as names, ISO instants, and Turkish letters as they are."""
    print_rows(OutputFormat.JSON, ("name", "at"), [("Örnek", NOON)], titles=("ad", "ne zaman"))
    assert json.loads(capsys.readouterr().out) == [
        {"name": "Örnek", "at": "2026-03-02T09:00:00+00:00"}
    ]


def test_instants_are_shown_in_turkish_time() -> None:
    """Noon in Turkey is nine in UTC, in whichever form the instant comes."""
    assert turkish(NOON) == turkish(NOON.isoformat()) == "02.03.2026 12:00:00"
    assert turkish(None) == turkish("") == ""


def test_results_and_news_are_kept_apart() -> None:
    """Results go to standard output, all else to standard error."""
    assert err.stderr
    assert not out.stderr


def test_a_commands_clients_leave_the_telling_to_the_command() -> None:
    """Librdkafka says almost nothing where a person waits."""
    assert kafka_settings().client_log_level < KafkaSettings().client_log_level
