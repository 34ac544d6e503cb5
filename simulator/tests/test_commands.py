"""The commands that steer a running twin: what they do, print and exit with."""

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from iys_simulator import SimulatorState
from iys_simulator.commands.cli import app
from simulator_harness.client import BRAND_CODE, IYS_CODE, PHONE
from simulator_harness.live import listening, new_state

AT_THE_BRAND = ("--brand", str(BRAND_CODE), "--type", "MESAJ")


@pytest.fixture(scope="module")
def state() -> SimulatorState:
    """Give the twin of this file."""
    return new_state()


@pytest.fixture(scope="module")
def url(state: SimulatorState) -> Iterator[str]:
    """Give the address of `twin`."""
    with listening(state) as url:
        yield url


@pytest.fixture(autouse=True)
def fresh(url: str) -> None:
    """Begin each test with an empty register and fine weather."""
    httpx.post(f"{url}/__simulator__/reset", json={}).raise_for_status()


def run(url: str, *words: str) -> Result:
    return CliRunner().invoke(app, [*words, "--base-url", url])


def told(url: str, *words: str):
    """Give what a command prints as JSON."""
    result = run(url, *words, "--output", "json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_clock(url: str):
    """It is told, set, moved and sped up."""
    assert told(url, "clock")["speed"] == 1
    assert told(url, "clock", "--now", "2031-01-01 00:00:00", "--speed", "0")["nowTurkey"] == (
        "2031-01-01 00:00:00"
    )
    assert told(url, "clock", "--advance", "60")["nowTurkey"] == "2031-01-01 00:01:00"


def test_weather_is_ordered_told_and_cancelled(url: str, tmp_path: Path):
    """One order by options, many by a script; all are told, and cancelled at once."""
    told(url, "faults", "addV2", "--code", "H123", "--times", "3", "--after", "1")
    script = tmp_path / "storm.json"
    script.write_text(json.dumps([{"operation": "*", "drop": "after", "times": None}]))
    request_bodies = told(url, "faults", "--script", str(script))
    outage = told(url, "faults", "batch", "--code", "H192", "--lasts", "600", "--begins", "9")[2]
    assert (outage["times"], outage["lasts"]) == (None, 600)
    assert [
        (request_body["operation"], request_body["times"]) for request_body in request_bodies
    ] == [("addV2", 3), ("*", None)]
    assert "all" in run(url, "faults").stdout
    assert told(url, "faults", "--clear") == []


def test_a_citizen_and_the_portal_write(url: str):
    """The portal saves an approval, the citizen rejects it, and each path is told."""
    assert told(url, "write", PHONE, "ONAY", *AT_THE_BRAND)["path"] == "portal"
    save_citizen_change = told(
        url, "citizen", PHONE, "RET", *AT_THE_BRAND, "--source", "IYS_KISAMESAJ"
    )
    assert (save_citizen_change["path"], save_citizen_change["source"]) == (
        "citizen",
        "IYS_KISAMESAJ",
    )
    refused = run(url, "write", PHONE, "RET", *AT_THE_BRAND)
    assert refused.exit_code == 1
    assert "H174" in refused.stderr or "H178" in refused.stderr


def test_a_citizen_is_one_however_the_address_is_written(url: str):
    """One recipient in the register, as on the citizen's page."""
    told(url, "write", PHONE, "ONAY", *AT_THE_BRAND)
    written_otherwise = f"0{PHONE.removeprefix('+90')}"
    assert told(url, "citizen", written_otherwise, "RET", *AT_THE_BRAND)["recipient"] == PHONE
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
def test_an_act_that_cannot_be_is_refused(url: str, words: list[str], code: int):
    """Nothing is registered; 1 is left to what İYS's rules refuse."""
    assert run(url, "citizen", *words).exit_code == code
    assert not httpx.get(f"{url}/__simulator__/register").text


def test_requests_are_told(url: str):
    """Counts per operation, and with --log the calls one by one."""
    httpx.get(f"{url}/sps/{IYS_CODE}/brands")
    assert told(url, "requests")["operations"]["brands"]["codes"] == {"H351": 1}
    (entry,) = told(url, "requests", "--log", "--operation", "brands")
    assert (entry["operation"], entry["status"]) == ("brands", "401")
    assert "H351: 1" in run(url, "requests").stdout
    assert "brands" in run(url, "requests", "--log").stdout


def test_a_table_cuts_nothing(url: str, monkeypatch: pytest.MonkeyPatch):
    """What is longer than the screen is wide goes on in the next line."""
    monkeypatch.setenv("COLUMNS", "40")
    shown = run(url, "write", PHONE, "ONAY", *AT_THE_BRAND, "--source", "HS_FIZIKSEL_ORTAM").stdout
    assert "…" not in shown


def test_reset_must_be_meant(url: str):
    """Without --yes nothing goes, and that is said."""
    told(url, "write", PHONE, "ONAY", *AT_THE_BRAND)
    dry = run(url, "reset")
    assert (dry.exit_code, "nothing was changed" in dry.stderr) == (0, True)
    assert httpx.get(f"{url}/__simulator__/movements").text
    assert told(url, "reset", "--yes", "--seed", "7")["done"] is True
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
def test_wrong_usage_is_told(url: str, words: list[str]):
    """Exit code 2, and nothing is ordered."""
    assert run(url, *words).exit_code == 2
    assert told(url, "faults") == []


def test_an_order_that_cannot_be_used_ends_in_3(url: str):
    """What the twin says against it is printed."""
    result = run(url, "faults", "nothing", "--code", "H103")
    assert result.exit_code == 3
    assert "operation" in result.stderr


def test_nobody_there_ends_in_4():
    """A twin that is not there, and a server that is none, are told apart from a no."""
    result = run("http://127.0.0.1:1", "clock")
    assert result.exit_code == 4
    assert "iys-simulator serve" in result.stderr


def test_a_server_that_is_no_twin_ends_in_4(url: str):
    """An address without the admin API is named."""
    result = run(f"{url}/elsewhere", "clock")
    assert result.exit_code == 4
    assert "no admin API" in result.stderr
