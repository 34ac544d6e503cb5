"""Push: the registration and the test of an address."""

import httpx
import pytest

from iys_simulator.push_content import TEST_MOVEMENT
from simulator_harness.client import SimulatorHarness, codes
from simulator_harness.push_receiver import CONNECTION, Receiver, register


async def test_registration_is_tested_with_the_test_movement(
    iys: SimulatorHarness, receiver: Receiver
):
    """The address refuses a call without credentials, accepts the fixed movement, and is listed."""
    answer = await register(iys, CONNECTION)
    assert answer.json() == {"message": "Bağlantı oluşturuldu"}
    assert receiver.bodies == [{"list": [TEST_MOVEMENT]}]
    listed = await iys.http.get(f"{iys.path}/push/registration")
    assert listed.json() == [
        {
            "url": CONNECTION["url"],
            "type": "MESAJ",
            "registerTime": "2026-09-17 12:00:00",
            "status": "Bağlantı Oluşturuldu",
        }
    ]


@pytest.mark.parametrize(
    ("changed", "problem", "expected"),
    [
        ({"is_open": True}, None, "H530"),
        ({"failures": 9}, None, "H530"),
        ({}, httpx.ConnectError("refused"), "H530"),
        ({}, TimeoutError(), "H191"),
        ({}, httpx.ReadTimeout("slow"), "H191"),
    ],
)
async def test_address_that_fails_the_test_is_refused(
    iys: SimulatorHarness,
    receiver: Receiver,
    changed: dict[str, object],
    problem: Exception | None,
    expected: str,
):
    """Without authentication, failing, unreachable or too slow: H530 and H191, listed as failed."""
    for name, value in changed.items():
        setattr(receiver, name, value)
    receiver.problem = problem
    answer = await register(iys, CONNECTION)
    assert (answer.status_code, codes(answer)) == (422, [expected])
    listed = (await iys.http.get(f"{iys.path}/push/registration")).json()
    assert listed[0]["status"] == "Bağlantı Oluşturulamadı"


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"url": "http://push.example.com"}, ["H531"]),
        ({"url": ""}, ["H531"]),
        ({"type": "SMS"}, ["H117"]),
        ({"username": ""}, ["H093"]),
        ({"username": "", "password": None}, ["H093", "H093"]),
    ],
)
async def test_fields_of_a_connection_are_checked(
    iys: SimulatorHarness, receiver: Receiver, changed: dict[str, object], expected: list[str]
):
    """H531, H117 and H093 before any call."""
    answer = await register(iys, {**CONNECTION, **changed})
    assert (answer.status_code, codes(answer)) == (422, expected)
    assert receiver.bodies == []


async def test_missing_type_and_list_are_refused(iys: SimulatorHarness):
    """H111 without a type; a body without connections is no request."""
    untyped = {name: value for name, value in CONNECTION.items() if name != "type"}
    assert codes(await register(iys, untyped)) == ["H111"]
    assert codes(await register(iys)) == ["H014"]
    assert codes(await register(iys, "x")) == ["H014"]


async def test_http_is_accepted_by_switch(iys: SimulatorHarness, receiver: Receiver):
    """`push_https_required` off accepts http://."""
    iys.set(push_https_required=False)
    answer = await register(iys, {**CONNECTION, "url": "http://push.example.com/iys"})
    assert answer.status_code == 200


async def test_third_connection_of_a_type_is_refused(iys: SimulatorHarness, receiver: Receiver):
    """H530; another type has its own two."""
    for number in (1, 2):
        url = f"https://push.example.com/{number}"
        assert (await register(iys, {**CONNECTION, "url": url})).status_code == 200
    third = {**CONNECTION, "url": "https://push.example.com/3"}
    assert codes(await register(iys, third)) == ["H530"]
    assert (await register(iys, {**third, "type": "ARAMA"})).status_code == 200
