"""Push: deliveries, their retries and their faults."""

import asyncio

import httpx

from iys_simulator import SimulatorState
from simulator_harness.client import SimulatorHarness, codes
from simulator_harness.push_receiver import CONNECTION, Receiver, deliveries_done, register


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
