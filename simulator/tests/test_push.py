"""Push: the test of an address, and deliveries."""

import asyncio
import base64
import json

import httpx
import pytest

from iys_simulator import SimulatorState
from iys_simulator.push_content import TEST_MOVEMENT
from iys_simulator.push_delivery import PushDelivery
from simulator_harness.client import SimulatorHarness, codes

CONNECTION = {
    "url": "https://push.example.com/iys",
    "type": "MESAJ",
    "username": "receiver",
    "password": "fake",
}


class Receiver:
    """A push address: requires Basic authentication, and fails as often as configured."""

    def __init__(self) -> None:
        self.bodies: list[dict[str, object]] = []
        self.failures = 0
        self.is_open = False
        self.problem: Exception | None = None

    def __call__(self, request: httpx.Request) -> httpx.Response:
        if self.problem:
            raise self.problem
        expected = "Basic " + base64.b64encode(b"receiver:fake").decode()
        if not self.is_open and request.headers.get("authorization") != expected:
            return httpx.Response(401)
        if self.failures:
            self.failures -= 1
            return httpx.Response(500)
        self.bodies.append(json.loads(request.content))
        return httpx.Response(200)

    @property
    def recipients(self) -> list[str]:
        return [item["recipient"] for body in self.bodies[1:] for item in body["list"]]


@pytest.fixture
def pauses() -> list[float]:
    """Return how long push waited between attempts."""
    return []


@pytest.fixture
def receiver(state: SimulatorState, pauses: list[float]) -> Receiver:
    """Return a receiver that the simulator's deliveries reach; nothing waits."""
    receiver = Receiver()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    client = httpx.AsyncClient(transport=httpx.MockTransport(receiver))
    state.push = PushDelivery(
        state.counters, state.faults, lambda: state.settings, client=client, pause=pause
    )
    return receiver


async def register(iys: SimulatorHarness, *connections: object):
    return await iys.http.post(
        f"{iys.path}/push/registration", json={"connection": list(connections)}
    )


async def deliveries_done(iys: SimulatorHarness):
    async with asyncio.timeout(5):
        while iys.state.push.is_busy:  # noqa: ASYNC110 - turns of the loop, no time
            await asyncio.sleep(0)


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


async def test_citizen_movement_is_delivered(iys: SimulatorHarness, receiver: Receiver):
    """It arrives with codes and transactionId; other types do not."""
    await register(iys, CONNECTION)
    change = await iys.citizen()
    await iys.citizen(type="ARAMA")
    await deliveries_done(iys)
    assert receiver.bodies[1:] == [
        {
            "list": [
                {
                    "iysCode": 660001,
                    "brandCode": 660101,
                    "consentDate": "2026-09-17 12:00:00",
                    "creationDate": change["creationDate"],
                    "source": "IYS_WEB",
                    "recipient": "+905550000001",
                    "recipientType": "BIREYSEL",
                    "status": "RET",
                    "type": "MESAJ",
                    "transactionId": change["transactionId"],
                }
            ]
        }
    ]


async def test_provider_movement_is_not_delivered(iys: SimulatorHarness, receiver: Receiver):
    """Only IYS_* movements are pushed."""
    await register(iys, CONNECTION)
    await iys.add()
    await deliveries_done(iys)
    assert receiver.recipients == []


async def test_waiting_movements_are_delivered_together(iys: SimulatorHarness, receiver: Receiver):
    """One delivery has at most `push_size` movements."""
    iys.set(push_size=2)
    await register(iys, CONNECTION)
    acts = [
        {"brandCode": 660101, "recipient": f"+90555000000{n}", "type": "MESAJ", "status": "RET"}
        for n in range(5)
    ]
    await iys.admin("citizen", acts)
    await deliveries_done(iys)
    assert [len(body["list"]) for body in receiver.bodies[1:]] == [2, 2, 1]
    assert receiver.recipients == [change["recipient"] for change in acts]


async def test_failed_delivery_is_retried(
    iys: SimulatorHarness, receiver: Receiver, pauses: list[float]
):
    """The delay doubles; the movement arrives in the end."""
    await register(iys, CONNECTION)
    receiver.failures = 3
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000001"]
    assert pauses == [1.0, 2.0, 4.0]


async def test_delivery_is_given_up_after_its_retries(
    iys: SimulatorHarness, receiver: Receiver, pauses: list[float]
):
    """Without retries left the movement is not pushed, and counted."""
    iys.set(push_retries=1)
    await register(iys, CONNECTION)
    receiver.failures = 2
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.recipients == []
    counts = (await iys.look("requests")).json()["operations"]["push"]["statuses"]
    assert counts == {"500": 2, "given_up": 1}


async def test_failed_renewal_keeps_the_connection(
    iys: SimulatorHarness, receiver: Receiver
) -> None:
    """An address that was down when it registered again still gets its movements."""
    await register(iys, CONNECTION)
    receiver.problem = httpx.ConnectError("down")
    assert (await register(iys, CONNECTION)).status_code == 422
    receiver.problem = None
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000001"]


async def test_unregistration_ends_deliveries(iys: SimulatorHarness, receiver: Receiver):
    """H530 with wrong credentials; with the right ones the connection is gone."""
    await register(iys, CONNECTION)
    path = f"{iys.path}/push/unregistration"
    wrong = await iys.http.post(path, json={**CONNECTION, "password": "other"})
    assert (wrong.status_code, codes(wrong)) == (422, ["H530"])
    right = await iys.http.post(path, json=CONNECTION)
    assert right.json() == {"message": "Bağlantı Kaldırıldı"}
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.recipients == []
    assert (await iys.http.get(f"{iys.path}/push/registration")).json() == []


async def test_retry_repeats_a_dropped_delivery(iys: SimulatorHarness, receiver: Receiver) -> None:
    """A fault drops the first attempt; without retries the movement is lost to push."""
    await register(iys, CONNECTION)
    request_body = {"operation": "push", "drop": "before"}
    await iys.admin("faults", request_body)
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000001"]
    iys.set(push_retries=0)
    await iys.admin("faults", request_body)
    await iys.citizen(recipient="+905550000002")
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000001"]


async def test_dropped_response_repeats_a_delivery(
    iys: SimulatorHarness, receiver: Receiver
) -> None:
    """A response dropped on its way back delivers the same movement again."""
    await register(iys, CONNECTION)
    await iys.admin("faults", {"operation": "push", "drop": "after"})
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000001", "+905550000001"]


async def test_rule_for_any_call_excludes_deliveries(
    iys: SimulatorHarness, receiver: Receiver
) -> None:
    """`*` means the client's calls."""
    await register(iys, CONNECTION)
    await iys.admin("faults", {"operation": "*", "status": 500})
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000001"]
    assert (await iys.add()).status_code == 500


async def ordered(iys: SimulatorHarness, **faults: object) -> None:
    """Register the receiver, and add a fault rule for deliveries."""
    await register(iys, CONNECTION)
    assert (await iys.admin("faults", {"operation": "push", **faults})).status_code == 200


async def test_lost_delivery_is_not_retried(iys: SimulatorHarness, receiver: Receiver):
    """The simulator considers it delivered: it never arrives, and only pull shows the movement."""
    await ordered(iys, delivery="lost")
    await iys.citizen(recipient="+905550000001")
    await deliveries_done(iys)
    await iys.citizen(recipient="+905550000002")
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000002"]
    counts = (await iys.look("requests")).json()["operations"]["push"]["statuses"]
    assert counts == {"lost": 1, "200": 1}


async def test_doubled_delivery_arrives_twice(iys: SimulatorHarness, receiver: Receiver):
    """The same body, once more."""
    await ordered(iys, delivery="doubled")
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.bodies[1:] == [receiver.bodies[1]] * 2


async def test_overtaken_delivery_arrives_after_the_next(
    iys: SimulatorHarness, receiver: Receiver, state: SimulatorState
):
    """It waits for the next one, so the two arrive in the other order."""
    never = asyncio.Event()

    async def pause(_: float) -> None:
        await never.wait()

    state.push._pause = pause
    await ordered(iys, delivery="overtaken")
    await iys.citizen(recipient="+905550000001")
    async with asyncio.timeout(5):
        while state.faults.rules():  # noqa: ASYNC110 - turns of the loop, no time
            await asyncio.sleep(0)
    await iys.citizen(recipient="+905550000002")
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000002", "+905550000001"]


async def test_overtaken_delivery_is_sent_after_its_delay(
    iys: SimulatorHarness, receiver: Receiver, pauses: list[float]
):
    """Without a next one it is sent after its seconds; if that fails, it is retried."""
    await ordered(iys, delivery="overtaken", slowSeconds=9)
    receiver.failures = 1
    await iys.citizen()
    await deliveries_done(iys)
    assert receiver.recipients == ["+905550000001"]
    assert pauses == [9, 1]


async def test_slow_delivery_is_sent_after_its_delay(
    iys: SimulatorHarness, receiver: Receiver, pauses: list[float]
):
    """It is sent after its seconds."""
    await ordered(iys, slowSeconds=30)
    await iys.citizen()
    await deliveries_done(iys)
    assert (receiver.recipients, pauses) == (["+905550000001"], [30])
