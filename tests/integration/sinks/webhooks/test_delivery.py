"""Events reach their subscribers, signed, in order of each recipient, on real servers."""

import json
import signal
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook

from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer, WebhookReceiver
from tests.support.builders import BRAND, CUSTOMER
from tests.support.webhooks import (
    Hooks,
    a_consent,
    a_permission,
    add_brand,
    key_of,
    random_secret,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.database]


def data_of(webhook: ReceivedWebhook) -> dict[str, Any]:
    """Return the data of an event."""
    found: dict[str, Any] = json.loads(webhook.body)["data"]
    return found


async def test_events_are_posted_and_acknowledged(hooks: Hooks):
    """What was there before a subscriber was added is not for it; the rest is, once each."""
    receiver = hooks.receiver
    hooks.topics.opt_outs(a_consent(99))
    secret = random_secret()
    await hooks.subscribe(secret=secret)
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(1), a_consent(2, brand_code=BRAND + 1))
        hooks.topics.permissions(
            a_permission(1),
            a_permission(2, previous_may_send=True, reason="stale"),
            a_permission(3, may_send=False, previous_may_send=None),
            a_permission(4, may_send=False, previous_may_send=True),
        )
        await until(lambda: len(receiver.received) == 3)
    bodies = [Webhook(secret).verify(one.body, one.headers) for one in receiver.received]
    assert sorted(one["type"] for one in bodies) == [
        "consent.opted-out",
        "permission.granted",
        "permission.revoked",
    ]
    (opt_out,) = [one["data"] for one in bodies if one["type"] == "consent.opted-out"]
    assert (opt_out["customer_id"], opt_out["brand_code"]) == (CUSTOMER, BRAND)
    assert opt_out["recipient"] == a_consent(1)["recipient"]
    stored = await hooks.deliveries()
    assert sorted(one["webhook_id"] for one in stored) == sorted(
        one.headers["webhook-id"] for one in receiver.received
    )
    assert {(one["status"], one["attempts"]) for one in stored} == {(200, 1)}
    assert all(one["open_offsets"] == [] for one in await hooks.cursors())


async def test_refused_event_holds_its_recipient_alone(hooks: Hooks):
    """The recipient's next event waits, those of others do not; the first is tried again."""
    receiver = hooks.receiver
    refusing = True
    stuck = a_consent(1, event_id="first")

    def answer(webhook: ReceivedWebhook) -> ScriptedAnswer:
        is_first = data_of(webhook)["event_id"] == "first"
        return ScriptedAnswer(422) if is_first and refusing else TAKEN

    receiver.answer = answer
    await hooks.subscribe()
    async with hooks.delivering():
        hooks.topics.opt_outs(stuck, a_consent(1, event_id="second"), *map(a_consent, range(2, 12)))
        await until(lambda: len({data_of(one)["recipient"] for one in receiver.received}) == 11)
        await until(lambda: len(receiver.received) > 12)
        assert "second" not in {data_of(one)["event_id"] for one in receiver.received}
        refusing = False
        await until(lambda: "second" in {data_of(one)["event_id"] for one in receiver.received})
    events = [one for one in receiver.received if data_of(one)["recipient"] == stuck["recipient"]]
    assert len({one.headers["webhook-id"] for one in events}) == 2
    assert data_of(events[-1])["event_id"] == "second"
    assert len(await hooks.attempts()) >= 2
    by_id = {one["webhook_id"]: one["attempts"] for one in await hooks.deliveries()}
    assert max(by_id.values()) >= 3
    assert len(by_id) == 12


async def test_unreadable_record_is_posted_in_its_place(hooks: Hooks):
    """By its key, to whoever filters by origin too; what nobody can read stops nothing.

    The records wait for the process: it knows whose each brand is before it reads them.
    """
    receiver, record, key = hooks.receiver, a_consent(1), key_of(a_consent(1))
    await add_brand(hooks.ledger)
    await hooks.subscribe(origins=frozenset({"web"}))
    topics = hooks.settings.topics
    hooks.topics.opt_outs(record)
    hooks.topics.raw(topics.opt_outs.name, key.encode(), b"\xc3\x01 of a later release")
    hooks.topics.raw(topics.opt_outs.name, b"\xff", b"junk")
    hooks.topics.raw(topics.opt_outs.name, f"{key}\0".encode(), b"junk")
    hooks.topics.opt_outs(record)
    hooks.topics.raw(topics.permissions.name, key.encode(), b"junk")
    async with hooks.delivering():
        await until(lambda: len(receiver.received) == 5)
        await hooks.until_acknowledged(5)
    stored = await hooks.deliveries()
    assert {one["key"] for one in stored} == {key}
    assert all(one["open_offsets"] == [] for one in await hooks.cursors())
    bodies = [json.loads(one.body) for one in receiver.received]
    assert all(one["data"]["customer_id"] == CUSTOMER for one in bodies)
    (revoked,) = [one["data"] for one in bodies if one["type"] == "permission.revoked"]
    assert (revoked["may_send"], revoked["reason"], revoked["unreadable"]) == (
        False,
        "unreadable",
        True,
    )
    opt_outs = [one["data"] for one in bodies if one["type"] == "consent.opted-out"]
    own = [one for one in opt_outs if one["recipient"] == record["recipient"]]
    assert [one.get("unreadable") for one in own] == [None, True, None]
    assert len(opt_outs) == 4


@pytest.mark.timeout(120)
async def test_killed_process_loses_and_reorders_nothing(hooks: Hooks, tmp_path: Path):
    """Two processes share two subscribers; each is killed amid its work and replaced."""
    receiver = hooks.receiver
    recipients, rounds = 40, 4
    for name in ("crm", "sms"):
        await hooks.subscribe(url=receiver.url(f"/{name}"), name=name)
    receiver.answer = lambda _: ScriptedAnswer(after=0.01)
    processes = hooks.processes(tmp_path / "log")
    processes.start()
    processes.start()
    try:
        for number in range(rounds):
            hooks.topics.opt_outs(
                *(a_consent(one, event_id=f"{one}-{number}") for one in range(recipients))
            )
            wanted = 2 * recipients * number + recipients // 2
            await until(lambda wanted=wanted: seen(receiver) >= wanted)  # type: ignore[misc]
            victim = processes.running[-2]
            victim.send_signal(signal.SIGKILL)
            victim.wait()
            processes.start()
        await until(lambda: seen(receiver) == 2 * recipients * rounds)
        await hooks.until_acknowledged(2 * recipients * rounds)
    finally:
        processes.end()
    for path in ("/crm", "/sms"):
        assert out_of_order(receiver.received, path) == []


def seen(receiver: WebhookReceiver) -> int:
    """Return how many different events came, over all subscribers."""
    return len({(one.path, one.headers["webhook-id"]) for one in receiver.received})


def out_of_order(webhooks: list[ReceivedWebhook], path: str) -> list[str]:
    """Return what came before an earlier event of its recipient, repetitions apart."""
    known, last, faults = set[str](), defaultdict[str, int](lambda: -1), []
    for one in webhooks:
        if one.path != path or one.headers["webhook-id"] in known:
            continue
        known.add(one.headers["webhook-id"])
        data = data_of(one)
        if data["offset"] < last[data["recipient"]]:
            faults.append(f"{key_of(data)} {data['offset']}")
        last[data["recipient"]] = data["offset"]
    return faults
