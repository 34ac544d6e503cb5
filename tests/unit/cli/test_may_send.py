"""``izin may-send``: one or several recipients, and an exit code that a shell can rely on."""

import json
from datetime import timedelta

import pytest
from typer.testing import CliRunner

from izin.cli.cli import app
from izin.local import free_port
from tests.support.builders import API_KEY, BRAND
from tests.support.subscribers.small_gate import SaidOf, SmallGate, problem

ASK = ("may-send", f"--brand={BRAND}", "--type=MESAJ")
YES, NO = "0555 000 00 01", "0555 000 00 02"


@pytest.fixture(autouse=True)
def environment(small: SmallGate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Name the small gate, which refuses one recipient."""
    monkeypatch.setenv("IZIN_GATE_URL", small.url)
    monkeypatch.setenv("IZIN_API_KEY", API_KEY)
    small.said[NO] = SaidOf(violation="H121")


@pytest.mark.parametrize(("recipients", "code"), [((YES,), 0), ((YES, NO), 1), ((NO,), 1)])
def test_exit_code_is_0_only_if_all_may_be_sent_to(recipients: tuple[str, ...], code: int):
    """So that a shell sends after ``&&`` only then."""
    done = CliRunner().invoke(app, [*ASK, *recipients])
    assert done.exit_code == code
    assert "registered" in done.stdout if YES in recipients else "opted-out" in done.stdout


def test_json_has_the_answer_as_the_gate_gives_it(small: SmallGate):
    """With the token, and the receipt that was asked for."""
    words = ("--receipt=decision", "--class=invoice", "--basis=order 7", "--at-least=token")
    found = json.loads(CliRunner().invoke(app, [*ASK, YES, NO, *words, "--output=json"]).stdout)
    assert found["as_of"] == small.token
    assert found["receipt"] is not None
    assert found["verdicts"] == [
        {"recipient": YES, "may_send": True, "reason": "registered", "violation": None},
        {"recipient": NO, "may_send": False, "reason": "opted-out", "violation": "H121"},
    ]
    (asked,) = small.requests
    assert (asked["basis"], asked["at_least"]) == ("order 7", "token")


@pytest.mark.parametrize(("status", "code"), [(401, 4), (403, 4), (422, 3), (302, 4)])
def test_refused_question_prints_no_answer(small: SmallGate, status: int, code: int):
    """What the gate says is on standard error."""
    small.instead.append(problem(status, "what to do"))
    done = CliRunner().invoke(app, [*ASK, YES])
    assert (done.exit_code, done.stdout) == (code, "")


def test_too_many_recipients_are_for_a_scrub():
    """Wrong usage, with the command for it."""
    done = CliRunner().invoke(app, [*ASK, *[YES] * 1001])
    assert (done.exit_code, "izin scrub" in done.stderr) == (2, True)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("IZIN_API_KEY", None, "IZIN_API_KEY"),
        ("IZIN_API_KEY", "", "izin keys create"),
        ("IZIN_GATE_URL", "http://user:x@127.0.0.1", "IZIN_GATE_URL"),
        ("IZIN_PRODUCTION", "true", "https://"),
        ("IZIN_GATE_CA_FILE", "/no/such/file", "ca_file"),
    ],
)
def test_wrong_setting_exits_with_4(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str | None, said: str
):
    """And names it."""
    if value is None:
        monkeypatch.delenv(name)
    else:
        monkeypatch.setenv(name, value)
    done = CliRunner().invoke(app, [*ASK, YES])
    assert (done.exit_code, said in done.stderr) == (4, True), done.stderr


def test_unreachable_gate_exits_with_4(
    monkeypatch: pytest.MonkeyPatch,
):
    """After the time in which it is asked again."""
    monkeypatch.setenv("IZIN_GATE_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr("izin.cli.sending.may_send._WITHIN", timedelta(milliseconds=200))
    done = CliRunner().invoke(app, [*ASK, YES])
    assert (done.exit_code, "send nothing" in done.stderr) == (4, True)
