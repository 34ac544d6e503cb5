"""Weather and time: what can be ordered, that a seed repeats it, and that a wrong order is told."""

import json

import pytest

from iys_simulator import SimulatorState
from iys_simulator.clock import Clock
from iys_simulator.errors.messages import REFUSALS
from iys_simulator.faults import Drop, Fault, FaultInjector, FaultRule, Operation
from simulator_harness.client import BRAND_CODE, IYS_CODE, PHONE, Iys, codes

LOST = Fault(drop=Drop.BEFORE)


def faulted(weather: FaultInjector, calls: int) -> list[bool]:
    return [weather.take(Operation.ADD) is not None for _ in range(calls)]


def test_calls_pass_before_it_strikes():
    """`passing` calls go through, then `times` are struck, then the weather is fine again."""
    weather = FaultInjector()
    weather.add(FaultRule(operation="add", fault=LOST, times=2, skip_first=1))
    assert faulted(weather, 5) == [False, True, True, False, False]
    assert weather.rules() == ()


def test_a_share_is_drawn_by_the_seed():
    """The same seed strikes the same calls, another one others, and about so many as asked."""

    def drawn(seed: int) -> list[bool]:
        weather = FaultInjector(seed)
        weather.add(FaultRule(operation="*", fault=LOST, times=None, share=0.2))
        return faulted(weather, 500)

    assert drawn(1) == drawn(1) != drawn(2)
    assert 60 < sum(drawn(1)) < 140


def test_any_operation_does_not_mean_push():
    """What is ordered for any call leaves the twin's own deliveries alone."""
    weather = FaultInjector()
    weather.add(FaultRule(operation="*", fault=LOST))
    assert weather.take(Operation.PUSH) is None
    assert weather.take(Operation.ADD) == LOST


async def test_a_seed_given_with_reset_starts_the_draws_anew(iys: Iys):
    """Reset with a seed makes a second run meet the same weather as the first."""

    async def run() -> list[int]:
        await iys.admin("reset", {"seed": 3})
        request_body = {"operation": "brands", "code": "H103", "share": 0.5, "times": None}
        assert (await iys.admin("faults", request_body)).status_code == 200
        return [(await iys.http.get(f"/sps/{IYS_CODE}/brands")).status_code for _ in range(20)]

    first = await run()
    assert set(first) == {200, 500}
    assert await run() == first


@pytest.mark.parametrize("code", ["H015", "H101", "H103", "H123", "H192", "H412", "H470", "H476"])
async def test_a_code_brings_its_status_and_words(iys: Iys, code: str):
    """Busy and each 5xx are ordered by their code alone."""
    await iys.admin("faults", {"operation": "add", "code": code})
    answer = await iys.add()
    assert (answer.status_code, codes(answer)) == (REFUSALS[code].status, [code])
    assert answer.json()["errors"][0]["message"] == REFUSALS[code].message


async def test_a_token_expires_in_the_middle(iys: Iys):
    """The call gets H351 and so does the next with that token; a new token works."""
    await iys.admin("faults", {"operation": "add", "tokenExpired": True})
    for _ in range(2):
        answer = await iys.add()
        assert (answer.status_code, codes(answer)) == (401, ["H351"])
    await iys.log_in()
    assert (await iys.add()).status_code == 200


async def test_another_integrator_is_faster_than_a_batch(iys: Iys):
    """Each address of the batch is written first, so its items end in H178."""
    request_body = {"operation": "batchV2", "writer": "integrator", "writes": "ONAY"}
    await iys.admin("faults", request_body)
    (result,) = await iys.settled(iys.consent(), version="/v2")
    assert result["error"]["code"] == "H178"
    (movement,) = list(iys.state.register_of(BRAND_CODE).movements())
    assert (movement.origin.path, movement.source) == ("integrator", "HS_WEB")


@pytest.mark.parametrize("body", [b"{", b"[1]", b'{"recipient": "x"}'])
async def test_nobody_is_faster_with_nonsense(iys: Iys, body: bytes):
    """What is no consent is passed over, and the call is answered as always."""
    await iys.admin("faults", {"operation": "add", "writer": "portal", "writes": "ONAY"})
    answer = await iys.http.post(f"{iys.path}/consents", content=body)
    assert answer.status_code in (400, 422)
    assert list(iys.state.register_of(BRAND_CODE).movements()) == []


async def test_the_portal_keeps_the_rules(iys: Iys):
    """It saves what a single add would, and is refused what that would be refused."""
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
async def test_a_wrong_order_is_told(iys: Iys, request_body: dict[str, object]):
    """400 with the field, and of a list with one wrong order none is taken."""
    good = {"operation": "add", "code": "H103"}
    answer = await iys.admin("faults", [good, request_body])
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert (await iys.look("faults")).json() == {"faults": {}, "rules": []}


async def test_an_outage_lasts_for_a_span_of_the_twins_time(iys: Iys):
    """It begins and ends by the twin's clock, strikes all calls meanwhile, and is forgotten."""

    async def status() -> int:
        return (await iys.http.get(f"/sps/{IYS_CODE}/brands")).status_code

    await iys.admin("faults", {"operation": "*", "code": "H192", "begins": 60, "lasts": 600})
    told = (await iys.look("faults")).json()
    assert told["faults"] == {"*": None}
    assert (told["rules"][0]["begins"], told["rules"][0]["lasts"]) == (60, 600)
    assert await status() == 200
    await iys.admin("clock", {"advance": 60})
    assert [await status(), await status()] == [503, 503]
    assert (await iys.look("faults")).json()["rules"][0]["lasts"] == 600
    await iys.admin("clock", {"advance": 600})
    assert await status() == 200
    assert (await iys.look("faults")).json()["rules"] == []


async def test_the_outlook_tells_what_is_left(iys: Iys):
    """Orders with what is left of them, and how many faults an operation still meets."""
    script = [
        {"operation": "add", "code": "H103", "times": 3, "after": 1},
        {"operation": "*", "drop": "after", "times": None, "share": 0.5},
    ]
    await iys.admin("faults", script)
    told = (await iys.look("faults")).json()
    assert told["faults"] == {"add": 3, "*": None}
    assert told["rules"] == [
        {"operation": "add", "times": 3, "share": 1.0, "after": 1, "status": 500, "code": "H103"},
        {"operation": "*", "times": None, "share": 0.5, "after": 0, "drop": "after"},
    ]


class Machine:
    """A machine's clock that is told the time."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def test_time_runs_at_the_speed_it_is_told():
    """A change of speed moves nothing at once; afterwards each second counts so many times."""
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
async def test_the_clock_is_set_to_an_instant(iys: Iys, now: str):
    """Turkish time as İYS writes it, or any ISO instant."""
    told = (await iys.admin("clock", {"now": now, "speed": 0})).json()
    assert (told["nowTurkey"], told["speed"]) == ("2026-09-17 13:00:00", 0)


@pytest.mark.parametrize(
    "request_body",
    [
        {"now": "tomorrow"},
        {"speed": -1},
        {"now": "2026-09-17 13:00:00", "offset": 1},
        {"advanced": 60},
    ],
)
async def test_a_wrong_time_is_told(iys: Iys, request_body: dict[str, object]):
    """400 with the field, and the clock stays as it was."""
    assert (await iys.admin("clock", request_body)).status_code == 400
    assert (await iys.look("clock")).json()["offset"] == 0


async def test_every_call_is_logged(iys: Iys, state: SimulatorState):
    """One line a call with status, codes and whether weather struck; no address in it."""
    await iys.add()
    await iys.admin("faults", {"operation": "brands", "code": "H103"})
    await iys.http.get(f"/sps/{IYS_CODE}/brands")
    await iys.http.get("/nowhere")
    rows = [json.loads(line) for line in (await iys.look("requests/log?after=1")).text.splitlines()]
    told = [(row["sequence"], row["operation"], row["status"], row["faulted"]) for row in rows]
    assert told == [
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


async def test_a_wrong_admin_path_is_no_call(iys: Iys):
    """The admin API is no part of İYS, so its own wrong paths are not counted."""
    assert (await iys.look("nowhere")).status_code == 404
    assert "unknown" not in (await iys.look("requests")).json()["operations"]
