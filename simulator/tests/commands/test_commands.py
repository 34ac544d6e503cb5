"""The commands that control a running simulator: effects, output and exit codes."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.main import get_command
from typer.testing import CliRunner, Result

from iys_simulator import SimulatorState
from iys_simulator.commands.cli import app
from simulator_harness.client import BRAND_CODE, IYS_CODE, PHONE
from simulator_harness.live import listening, new_state

COMMANDS = sorted(get_command(app).commands)
README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
AT_THE_BRAND = ("--brand", str(BRAND_CODE), "--type", "MESAJ")


@pytest.fixture(scope="module")
def state() -> SimulatorState:
    """Return the simulator of this file."""
    return new_state()


@pytest.fixture(scope="module")
def url(state: SimulatorState) -> Iterator[str]:
    """Yield the address of the simulator."""
    with listening(state) as url:
        yield url


@pytest.fixture(autouse=True)
def fresh(url: str) -> None:
    """Start each test with an empty register and no fault rules."""
    httpx.post(f"{url}/__simulator__/reset", json={}).raise_for_status()


def run(url: str, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--base-url", url])


def output_of(url: str, *words: str):
    """Return what a command prints as JSON."""
    result = run(url, *words, "--output", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_clock_is_shown_set_moved_and_sped_up(url: str):
    """Each option changes the time of the simulator."""
    assert output_of(url, "clock")["speed"] == 1
    assert output_of(url, "clock", "--now", "2031-01-01 00:00:00", "--speed", "0")["nowTurkey"] == (
        "2031-01-01 00:00:00"
    )
    assert output_of(url, "clock", "--advance", "60")["nowTurkey"] == "2031-01-01 00:01:00"


def test_fault_rules_are_added_listed_and_cancelled(url: str, tmp_path: Path):
    """One rule by options, many by a script; all are listed, and cancelled at once."""
    output_of(url, "faults", "addV2", "--code", "H123", "--times", "3", "--after", "1")
    script = tmp_path / "storm.json"
    script.write_text(json.dumps([{"operation": "*", "drop": "after", "times": None}]))
    request_bodies = output_of(url, "faults", "--script", str(script))
    outage = output_of(url, "faults", "batch", "--code", "H192", "--lasts", "600", "--begins", "9")[
        2
    ]
    assert (outage["times"], outage["lasts"]) == (None, 600)
    assert [
        (request_body["operation"], request_body["times"]) for request_body in request_bodies
    ] == [("addV2", 3), ("*", None)]
    assert "all" in run(url, "faults").stdout
    assert output_of(url, "faults", "--clear") == []


def test_citizen_and_portal_write(url: str):
    """The portal saves an opt-in, the citizen opts out, and each movement has its path."""
    assert output_of(url, "write", PHONE, "ONAY", *AT_THE_BRAND)["path"] == "portal"
    change = output_of(url, "citizen", PHONE, "RET", *AT_THE_BRAND, "--source", "IYS_KISAMESAJ")
    assert (change["path"], change["source"]) == (
        "citizen",
        "IYS_KISAMESAJ",
    )
    refused = run(url, "write", PHONE, "RET", *AT_THE_BRAND)
    assert refused.exit_code == 1
    assert "H174" in refused.stderr or "H178" in refused.stderr


def test_citizen_recipient_may_have_any_format(url: str):
    """One record in the register, as on the citizen's page."""
    output_of(url, "write", PHONE, "ONAY", *AT_THE_BRAND)
    written_otherwise = f"0{PHONE.removeprefix('+90')}"
    assert output_of(url, "citizen", written_otherwise, "RET", *AT_THE_BRAND)["recipient"] == PHONE
    register = httpx.get(f"{url}/__simulator__/register").text.splitlines()
    assert [json.loads(line)["status"] for line in register] == ["RET"]


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["ada", "RET", *AT_THE_BRAND], 2),
        ([PHONE, "HAYIR", *AT_THE_BRAND], 2),
        ([PHONE, "RET", "--brand", str(BRAND_CODE), "--type", "SMS"], 2),
        ([PHONE, "RET", "--brand", str(BRAND_CODE), "--type", "EPOSTA"], 2),
        ([PHONE, "RET", *AT_THE_BRAND, "--recipient-type", "KISI"], 2),
        ([PHONE, "RET", "--brand", "7", "--type", "MESAJ"], 3),
        ([PHONE, "RET", *AT_THE_BRAND, "--source", "HS_WEB"], 3),
    ],
)
def test_invalid_citizen_change_is_refused(url: str, words: list[str], code: int):
    """Nothing is registered; exit code 1 is only for İYS's rules."""
    assert run(url, "citizen", *words).exit_code == code
    assert not httpx.get(f"{url}/__simulator__/register").text


def test_requests_are_counted_and_listed(url: str):
    """Counts per operation, and with --log the calls one by one."""
    httpx.get(f"{url}/sps/{IYS_CODE}/brands")
    assert output_of(url, "requests")["operations"]["brands"]["codes"] == {"H351": 1}
    (entry,) = output_of(url, "requests", "--log", "--operation", "brands")
    assert (entry["operation"], entry["status"]) == ("brands", "401")
    assert "H351: 1" in run(url, "requests").stdout
    assert "brands" in run(url, "requests", "--log").stdout


def test_table_truncates_nothing(url: str, monkeypatch: pytest.MonkeyPatch):
    """A cell wider than the screen is wrapped."""
    monkeypatch.setenv("COLUMNS", "40")
    shown = run(url, "write", PHONE, "ONAY", *AT_THE_BRAND, "--source", "HS_FIZIKSEL_ORTAM").stdout
    assert "…" not in shown


def test_reset_needs_yes(url: str):
    """Without --execute nothing is deleted, and the command says so."""
    output_of(url, "write", PHONE, "ONAY", *AT_THE_BRAND)
    dry = run(url, "reset")
    assert (dry.exit_code, "nothing was changed" in dry.stderr) == (0, True)
    assert httpx.get(f"{url}/__simulator__/movements").text
    assert output_of(url, "reset", "--execute", "--seed", "7")["done"] is True
    assert not httpx.get(f"{url}/__simulator__/movements").text


@pytest.mark.parametrize(
    "words",
    [
        ["faults", "--code", "H103"],
        ["faults", "add", "--clear"],
        ["faults", "--script", __file__],
        ["requests", "--operation", "add"],
    ],
)
def test_wrong_usage_exits_with_2(url: str, words: list[str]):
    """Exit code 2, and no rule is added."""
    assert run(url, *words).exit_code == 2
    assert output_of(url, "faults") == []


def test_refused_rule_exits_with_3(url: str):
    """The simulator's reason is printed."""
    result = run(url, "faults", "nothing", "--code", "H103")
    assert result.exit_code == 3
    assert "operation" in result.stderr


def test_unreachable_simulator_exits_with_4():
    """A simulator that does not respond is distinguished from a negative result."""
    result = run("http://127.0.0.1:1", "clock")
    assert result.exit_code == 4
    assert "iys-simulator serve" in result.stderr


def test_server_without_admin_api_exits_with_4(url: str):
    """An address without the admin API is named."""
    result = run(f"{url}/elsewhere", "clock")
    assert result.exit_code == 4
    assert "no admin API" in result.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_command_explains_itself(name: str):
    """--help works, begins with a sentence, and the README shows the command."""
    shown = CliRunner().invoke(app, [name, "--help"])
    assert (shown.exit_code, "Usage:" in shown.output) == (0, True)
    assert f"iys-simulator {name}" in README


def test_commands_of_the_readme_exist():
    """Each command that the README tells people to type."""
    assert set(re.findall(r"iys-simulator ([a-z]+)", README)) <= set(COMMANDS)
