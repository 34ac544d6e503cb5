"""Fault injection and the clock: rules, their seed, and what is refused."""

import json

import pytest

from iys_simulator import SimulatorState
from iys_simulator.clock import Clock
from iys_simulator.errors.messages import REFUSALS
from iys_simulator.faults import Drop, Fault, FaultInjector, FaultRule, Operation
from simulator_harness.client import BRAND_CODE, IYS_CODE, PHONE, SimulatorHarness, codes

LOST = Fault(drop=Drop.BEFORE)


def faulted(faults: FaultInjector, calls: int) -> list[bool]:
    return [faults.take(Operation.ADD) is not None for _ in range(calls)]


def test_rule_skips_calls_before_it_applies():
    """`skip_first` calls pass, then `times` get the fault, then none."""
    faults = FaultInjector()
    faults.add(FaultRule(operation="add", fault=LOST, times=2, skip_first=1))
    assert faulted(faults, 5) == [False, True, True, False, False]
    assert faults.rules() == ()


def test_share_is_chosen_by_the_seed():
    """The same seed chooses the same calls, another one others, and about as many as requested."""

    def chosen(seed: int) -> list[bool]:
        faults = FaultInjector(seed)
        faults.add(FaultRule(operation="*", fault=LOST, times=None, share=0.2))
        return faulted(faults, 500)

    assert chosen(1) == chosen(1) != chosen(2)
    assert 60 < sum(chosen(1)) < 140


def test_any_operation_excludes_push():
    """A rule for any call does not apply to the simulator's own deliveries."""
    faults = FaultInjector()
    faults.add(FaultRule(operation="*", fault=LOST))
    assert faults.take(Operation.PUSH) is None
    assert faults.take(Operation.ADD) == LOST


async def test_reset_with_a_seed_repeats_the_choices(iys: SimulatorHarness):
    """After a reset with a seed a second run gets the same faults as the first."""

    async def run() -> list[int]:
        await iys.admin("reset", {"seed": 3})
        request_body = {"operation": "brands", "code": "H103", "share": 0.5, "times": None}
        assert (await iys.admin("faults", request_body)).status_code == 200
        return [(await iys.http.get(f"/sps/{IYS_CODE}/brands")).status_code for _ in range(20)]

    first = await run()
    assert set(first) == {200, 500}
    assert await run() == first


@pytest.mark.parametrize("code", ["H015", "H101", "H103", "H123", "H192", "H412", "H470", "H476"])
async def test_code_has_its_status_and_message(iys: SimulatorHarness, code: str):
    """H123 and each 5xx need only their code."""
    await iys.admin("faults", {"operation": "add", "code": code})
    answer = await iys.add()
    assert (answer.status_code, codes(answer)) == (REFUSALS[code].status, [code])
    assert answer.json()["errors"][0]["message"] == REFUSALS[code].message


async def test_fault_revokes_the_token(iys: SimulatorHarness):
    """The call gets H351, and so does the next with that token; a new token works."""
    await iys.admin("faults", {"operation": "add", "tokenExpired": True})
    for _ in range(2):
        answer = await iys.add()
        assert (answer.status_code, codes(answer)) == (401, ["H351"])
    await iys.log_in()
    assert (await iys.add()).status_code == 200


async def test_other_integrator_writes_before_a_batch(iys: SimulatorHarness):
    """Each recipient of the batch is written first, so its items end in H178."""
    request_body = {"operation": "batchV2", "writer": "integrator", "writes": "ONAY"}
    await iys.admin("faults", request_body)
    (result,) = await iys.settled(iys.consent(), version="/v2")
    assert result["error"]["code"] == "H178"
    (movement,) = list(iys.state.register_of(BRAND_CODE).movements())
    assert (movement.origin.path, movement.source) == ("integrator", "HS_WEB")


@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"recipient": "x"}'])
async def test_competing_write_skips_invalid_items(iys: SimulatorHarness, body: bytes):
    """What is no consent is skipped, and the call gets its usual response."""
    await iys.admin("faults", {"operation": "add", "writer": "portal", "writes": "ONAY"})
    answer = await iys.http.post(f"{iys.path}/consents", content=body)
    assert answer.status_code in (400, 422)
    assert list(iys.state.register_of(BRAND_CODE).movements()) == []


async def test_portal_follows_the_rules(iys: SimulatorHarness):
    """It saves and is refused what a single add would be."""
    item = {"brandCode": BRAND_CODE, "type": "MESAJ", "recipient": PHONE}
    body = [{**item, "status": "RET"}, {**item, "status": "ONAY"}, {**item, "status": "EVET"}]
    answer = await iys.admin("writers", {"writer": "portal", "movements": body})
    assert [row["path"] for row in answer.json()["movements"]] == ["portal"]
    refused = {row["index"]: row["errors"][0]["code"] for row in answer.json()["refused"]}
    assert refused == {0: "H175", 2: "H115"}
    iys.state.clock.advance(3600)
    assert [item["source"] for item in (await iys.changes(source="HS")).json()["list"]] == [
        "HS_WEB"
    ]


@pytest.mark.parametrize(
    "request_body",
    [
        {"operation": "add", "code": "H000"},
        {"operation": "add", "status": 200},
        {"operation": "add", "slowSeconds": -1},
        {"operation": "add", "drop": "now"},
        {"operation": "add", "writer": "portal"},
        {"operation": "add", "writes": "RET"},
        {"operation": "add", "delivery": "lost"},
        {"operation": "push", "tokenExpired": True},
        {"operation": "push", "status": 500, "code": "H103"},
        {"operation": "add", "code": "H103", "share": 0},
        {"operation": "add", "code": "H103", "share": 1.1},
        {"operation": "add", "code": "H103", "times": 0},
        {"operation": "add", "code": "H103", "after": -1},
        {"operation": "add", "code": "H103", "begins": -1},
        {"operation": "add", "code": "H103", "lasts": 0},
        {"operation": "add", "code": "H103", "slowSecond": 1},
    ],
)
async def test_invalid_rule_is_refused_with_its_field(
    iys: SimulatorHarness, request_body: dict[str, object]
):
    """400 with the field, and of a list with one invalid rule none is added."""
    good = {"operation": "add", "code": "H103"}
    answer = await iys.admin("faults", [good, request_body])
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert (await iys.look("faults")).json() == {"faults": {}, "rules": []}


async def test_outage_lasts_for_a_period_of_simulated_time(iys: SimulatorHarness):
    """It begins and ends by the simulator's clock, applies to all calls, and is then dropped."""

    async def status() -> int:
        return (await iys.http.get(f"/sps/{IYS_CODE}/brands")).status_code

    await iys.admin("faults", {"operation": "*", "code": "H192", "begins": 60, "lasts": 600})
    found = (await iys.look("faults")).json()
    assert found["faults"] == {"*": None}
    assert (found["rules"][0]["begins"], found["rules"][0]["lasts"]) == (60, 600)
    assert await status() == 200
    await iys.admin("clock", {"advance": 60})
    assert [await status(), await status()] == [503, 503]
    assert (await iys.look("faults")).json()["rules"][0]["lasts"] == 600
    await iys.admin("clock", {"advance": 600})
    assert await status() == 200
    assert (await iys.look("faults")).json()["rules"] == []


async def test_rules_show_what_is_left(iys: SimulatorHarness):
    """Rules with the calls that are left, and the number of faults left for an operation."""
    script = [
        {"operation": "add", "code": "H103", "times": 3, "after": 1},
        {"operation": "*", "drop": "after", "times": None, "share": 0.5},
    ]
    await iys.admin("faults", script)
    found = (await iys.look("faults")).json()
    assert found["faults"] == {"add": 3, "*": None}
    assert found["rules"] == [
        {"operation": "add", "times": 3, "share": 1.0, "after": 1, "status": 500, "code": "H103"},
        {"operation": "*", "times": None, "share": 0.5, "after": 0, "drop": "after"},
    ]


class Machine:
    """A machine's clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_clock_runs_at_its_speed():
    """A change of speed does not move the clock; afterwards each second counts as often as set."""
    machine = Machine()
    clock = Clock(machine)
    machine.now += 5
    clock.advance(100)
    clock.set_speed(60)
    assert clock.seconds() == 1_000_105
    machine.now += 2
    assert clock.seconds() == 1_000_225
    assert clock.offset == 218
    clock.set_speed(0)
    machine.now += 10
    assert clock.seconds() == 1_000_225
    clock.set_speed(1)
    machine.now += 1
    assert clock.seconds() == 1_000_226


@pytest.mark.parametrize("now", ["2026-09-17 13:00:00", "2026-09-17T10:00:00+00:00"])
async def test_clock_is_set_to_an_instant(iys: SimulatorHarness, now: str):
    """Turkish time as İYS writes it, or any ISO instant."""
    found = (await iys.admin("clock", {"now": now, "speed": 0})).json()
    assert (found["nowTurkey"], found["speed"]) == ("2026-09-17 13:00:00", 0)


@pytest.mark.parametrize(
    "request_body",
    [
        {"now": "tomorrow"},
        {"speed": -1},
        {"now": "2026-09-17 13:00:00", "offset": 1},
        {"advanced": 60},
    ],
)
async def test_invalid_time_is_refused(iys: SimulatorHarness, request_body: dict[str, object]):
    """400 with the field, and the clock does not change."""
    assert (await iys.admin("clock", request_body)).status_code == 400
    assert (await iys.look("clock")).json()["offset"] == 0


async def test_every_call_is_logged(iys: SimulatorHarness, state: SimulatorState):
    """One line for each call with status, codes and whether it had a fault; no recipient in it."""
    await iys.add()
    await iys.admin("faults", {"operation": "brands", "code": "H103"})
    await iys.http.get(f"/sps/{IYS_CODE}/brands")
    await iys.http.get("/nowhere")
    rows = [json.loads(line) for line in (await iys.look("requests/log?after=1")).text.splitlines()]
    found = [(row["sequence"], row["operation"], row["status"], row["faulted"]) for row in rows]
    assert found == [
        (2, "add", "200", False),
        (3, "brands", "500", True),
        (4, "unknown", "404", False),
    ]
    assert rows[1]["codes"] == ["H103"]
    assert rows[0]["path"] == f"{iys.path}/consents"
    assert "+90555" not in json.dumps(rows)
    only = await iys.look("requests/log?operation=brands")
    assert len(only.text.splitlines()) == 1
    assert (await iys.look("requests")).json()["operations"]["unknown"]["statuses"] == {"404": 1}
    assert (await iys.look("requests/log?operation=x")).status_code == 400
    assert (await iys.look("requests/log?after=x")).status_code == 400


async def test_unknown_admin_path_is_not_counted(iys: SimulatorHarness):
    """The admin API is no part of İYS, so its unknown paths are not counted."""
    assert (await iys.look("nowhere")).status_code == 404
    assert "unknown" not in (await iys.look("requests")).json()["operations"]
