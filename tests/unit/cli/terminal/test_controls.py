"""No control of a text reaches a terminal, a log, a CSV file or a page: it is written out."""

import json
import logging
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pytest
import structlog
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.text import Text

from izin.cli.cli import izin
from izin.cli.terminal import OutputFormat, exit_codes, output, private_csv
from izin.consent import SourceError, as_written, visible
from izin.evidence.summary import fact_table, page, summary_of, table
from izin.evidence.verification import verify
from izin.producers.files.cells import notation_text
from izin.producers.files.table_formats import write_report
from izin.runtime import logs
from izin.runtime.plain_log import PlainLogger
from izin.runtime.settings import LogSettings
from tests.support.evidence.archives import some_evidence

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
def printed(capsys: pytest.CaptureFixture[str]) -> Taken:
    """Return what returns what was printed since it was last called, on either stream."""
    return lambda: "".join(capsys.readouterr())


@pytest.fixture
def logged(printed: Taken) -> Iterator[Taken]:
    """Return what returns the log since it was last called; in the end logs are as they were."""
    before, root = structlog.get_config(), logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield printed
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
    printed = output.json_text({"campaign": text})
    assert controls(printed) == set()
    assert json.loads(printed) == {"campaign": text}


@EACH_TEXT
@given(text=TEXTS)
def test_terminal_gets_no_control(printed: Taken, text: str) -> None:
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
    shown = printed()
    assert controls(shown) == set()
    assert "bahar" in shown


def test_terminal_shows_what_a_control_was(printed: Taken) -> None:
    """Nothing of a name is lost: whoever reads it sees that it is not what it pretends."""
    output.print_rows(OutputFormat.TABLE, ("campaign",), [(ESCAPE,)])
    assert visible(ESCAPE) in printed()
    output.say(ESCAPE)
    assert visible(ESCAPE) in printed()


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
