"""docs/sending.md says what the law, the commands and the client do: its examples are run."""

import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.consent import CLASSES, MessageKind
from izin.consent.may_send import PermissionReason
from tests.support.builders import API_KEY
from tests.support.subscribers.page_clients import ROOT, blocks
from tests.support.subscribers.small_gate import SaidOf, SmallGate

PAGE = (ROOT / "docs" / "sending.md").read_text("utf-8")
FIRST, SECOND = "0555 000 00 01", "0555 000 00 02"
PROGRAMS = {
    "send_sms.py": f"send {FIRST} 20 % off\nleave out {SECOND} opted-out\n",
    "email_list.py": "send ada@example.com registered\nleave out ece@example.com opted-out\n",
}
PERMITTING = {PermissionReason.EXEMPT, PermissionReason.REGISTERED}


@pytest.fixture(autouse=True)
def environment(small: SmallGate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the small gate, which refuses the second recipient of each example."""
    small.said.update({SECOND: SaidOf(), "ece@example.com": SaidOf()})
    monkeypatch.setenv("IZIN_GATE_URL", small.url)
    monkeypatch.setenv("IZIN_API_KEY", API_KEY)


def rows_of(heading: str) -> list[list[str]]:
    """Return the cells of the table below a heading of the page."""
    (section,) = re.findall(rf"^## {heading}\n(.*?)^## ", PAGE, re.MULTILINE | re.DOTALL)
    lines = [line for line in section.splitlines() if line.startswith("|")]
    return [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_page_has_every_answer_in_the_order_of_the_law():
    """Each reason once, with its yes or no."""
    rows = rows_of("The answer")
    assert [row[2] for row in rows] == [str(one) for one in PermissionReason]
    assert {row[2] for row in rows if row[1] == "yes"} == PERMITTING
    assert {row[1] for row in rows} == {"yes", "no"}


def test_page_has_an_example_of_every_class():
    """And says of each whether it needs a consent."""
    rows = rows_of("Which class a message has")
    assert [row[1] for row in rows] == [str(one) for one in CLASSES]
    needed = dict(zip(MessageKind, ("needed", "not needed"), strict=True))
    assert [row[2] for row in rows] == [needed[one.kind] for one in CLASSES.values()]


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_of_the_page_sends_only_where_it_may(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """As it stands there."""
    (tmp_path / name).write_text(blocks("sending.md")[name], "utf-8")
    runpy.run_path(str(tmp_path / name), run_name="__main__")
    assert capsys.readouterr().out == PROGRAMS[name]


def test_request_of_the_page_gets_the_answer_of_the_page(small: SmallGate):
    """The curl command, sent as curl sends it."""
    (found,) = re.findall(r"```sh\n(curl .*?)```\n+```json\n(.*?)```", PAGE, re.DOTALL)
    command, answer = found
    text = command.replace("\\\n", " ").replace("$IZIN_API_KEY", API_KEY)
    words = shlex.split(text.replace("$IZIN_GATE_URL", small.url))
    options = list(zip(words[2::2], words[3::2], strict=True))
    headers = dict(value.split(": ", 1) for option, value in options if option == "-H")
    (data,) = (value for option, value in options if option == "-d")
    got: dict[str, Any] = httpx.post(words[1], content=data, headers=headers).json()
    assert got | {"as_of": "…"} == json.loads(answer)


def test_commands_of_the_page_do_what_it_says(
    small: SmallGate, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """In their order: the list is made, and somebody opts out before it is sent."""
    monkeypatch.chdir(tmp_path)
    Path("customers.csv").write_text(f"telefon\n{FIRST}\n{SECOND}\n", "utf-8")
    scrub, since = re.findall(r"^izin (scrub .*)$", PAGE, re.MULTILINE)
    assert CliRunner().invoke(app, shlex.split(scrub)).exit_code == 0
    assert Path("customers.scrubbed.csv.receipt.json").exists()
    assert CliRunner().invoke(app, shlex.split(since)).exit_code == 0
    small.said[FIRST] = SaidOf()
    assert CliRunner().invoke(app, shlex.split(since)).exit_code == 1
    assert FIRST in Path("customers.scrubbed.stopped.csv").read_text("utf-8")
    sms, email = re.findall(r"^izin (may-send .*?)(?: && echo send)?$", PAGE, re.MULTILINE)
    assert CliRunner().invoke(app, shlex.split(sms)).exit_code == 1
    assert CliRunner().invoke(app, shlex.split(email)).exit_code == 0
    assert small.requests[-1]["message_class"] == "delivery"
