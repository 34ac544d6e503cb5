"""Events reach their subscribers, signed, in order of each recipient, on real servers.

A subscriber that is away, slow, gone or replaced: its backlog waits, others are not delayed.

Topics that are not what they were: created anew, or with records that retention removed.
"""

import json
import signal
from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from standardwebhooks import Webhook
from structlog.typing import EventDict

from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer, WebhookReceiver
from izin.cli.subscribers.command import ping
from izin.ledger.webhooks import deliveries, registry
from tests.integration.sinks.sink_harness import acts
from tests.support.builders import BRAND, CUSTOMER
from tests.support.published import remove_below
from tests.support.webhooks import (
    Hooks,
    a_consent,
    a_permission,
    add_brand,
    key_of,
    quick,
    random_secret,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.database]


def data_of(webhook: ReceivedWebhook) -> dict[str, Any]:
    """Return the data of an event."""
    return dict(json.loads(webhook.body)["data"])


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
    stuck = a_consent(1, event_id="first")

    def answer(webhook: ReceivedWebhook) -> ScriptedAnswer:
        return ScriptedAnswer(422) if data_of(webhook)["event_id"] == "first" else TAKEN

    receiver.answer = answer
    await hooks.subscribe()
    async with hooks.delivering():
        hooks.topics.opt_outs(stuck, a_consent(1, event_id="second"), *map(a_consent, range(2, 12)))
        await until(lambda: len({data_of(one)["recipient"] for one in receiver.received}) == 11)
        await until(lambda: len(receiver.received) > 12)
        assert "second" not in {data_of(one)["event_id"] for one in receiver.received}
        receiver.answer = lambda _: TAKEN
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
    hooks.topics.raw(topics.opt_outs, key.encode(), b"\xc3\x01 of a later release")
    hooks.topics.raw(topics.opt_outs, b"\xff", b"junk")
    hooks.topics.raw(topics.opt_outs, f"{key}\0".encode(), b"junk")
    hooks.topics.opt_outs(record)
    hooks.topics.raw(topics.permissions, key.encode(), b"junk")
    async with hooks.delivering():
        await until(lambda: len(receiver.received) == 5)
        await hooks.until_acknowledged(5)
    assert {one["key"] for one in await hooks.deliveries()} == {key}
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
    came = {one.headers["webhook-id"]: data_of(one) for one in webhooks if one.path == path}
    last = defaultdict[str, int](lambda: -1)
    faults = []
    for data in came.values():
        if data["offset"] < last[data["recipient"]]:
            faults.append(f"{key_of(data)} {data['offset']}")
        last[data["recipient"]] = data["offset"]
    return faults


def ids(webhooks: list[ReceivedWebhook]) -> set[str]:
    """Return the ids of events."""
    return {one.headers["webhook-id"] for one in webhooks}


async def test_dead_and_slow_subscribers_delay_no_other(hooks: Hooks):
    """What each lacks is kept in Kafka, beyond what may wait in memory."""
    async with WebhookReceiver(lambda _: ScriptedAnswer(after=1.5)).listening() as slow:
        await hooks.subscribe(name="slow", url=slow.url(), parallel=2)
        await hooks.subscribe(name="dead", url="http://127.0.0.1:9/hook")
        await hooks.subscribe()
        async with hooks.delivering(window=10, memory=20_000):
            for start in range(0, 100, 10):
                hooks.topics.opt_outs(*map(a_consent, range(start, start + 10)))
                await until(lambda start=start: len(hooks.receiver.received) == start + 10)  # type: ignore[misc]
            assert len(slow.received) < 20
            assert max([len(one["open_offsets"]) for one in await hooks.cursors()]) <= 10
            # The slow one becomes quick: it reads on by itself, and catches up.
            slow.answer = lambda _: TAKEN
            await until(lambda: len(ids(slow.received)) == 100)
            assert len(hooks.receiver.received) == 100
    dead = await registry.of_name(hooks.ledger, "dead")
    assert dead.failing_since is not None
    assert str(dead.last_failure).startswith("no connection to 127.0.0.1:")
    assert "ssl" not in str(dead.last_failure)


async def test_subscriber_that_is_back_gets_its_backlog(hooks: Hooks):
    """Nothing is given up, and nothing is posted twice; its failure ends."""
    await hooks.subscribe()
    hooks.receiver.answer = lambda _: ScriptedAnswer(500)
    async with hooks.delivering():
        hooks.topics.opt_outs(*map(a_consent, range(40)))
        await until(lambda: len(hooks.receiver.received) >= 8)
        taken = set[str]()

        def answer(webhook: ReceivedWebhook) -> ScriptedAnswer:
            assert webhook.headers["webhook-id"] not in taken
            taken.add(webhook.headers["webhook-id"])
            return TAKEN

        hooks.receiver.answer = answer
        await until(lambda: len(taken) == 40)
        await hooks.until_acknowledged(40)
        found = await hooks.until_calm()
    assert (found.failing_since, found.alerts) == (None, 0)
    assert found.last_failure == "status 500: refused"


AN_HOUR = timedelta(hours=1)


@pytest.mark.parametrize("by", ["success", "test", "resume"])
async def test_subscriber_that_answers_again_waits_no_longer(hooks: Hooks, by: str):
    """What it refused would be tried in an hour: a success sends it, or a person's order."""
    await hooks.subscribe()
    hooks.receiver.answer = lambda _: ScriptedAnswer(500)
    async with hooks.delivering(first_pause=AN_HOUR, longest_pause=AN_HOUR):
        hooks.topics.opt_outs(a_consent(1))
        await until(lambda: len(hooks.receiver.received) == 1)
        await hooks.until_failing()
        hooks.receiver.answer = lambda _: TAKEN
        match by:
            case "success":
                hooks.topics.opt_outs(a_consent(2))
            case "test":
                assert (await ping(hooks.ledger, quick(), "crm", by="ada")).is_acknowledgement
            case _:
                await registry.resume(hooks.ledger, "crm", by="ada", now=datetime.now(UTC))
        await hooks.until_acknowledged(1 + (by == "success"))


async def test_event_that_alone_is_refused_is_not_posted_at_every_success(hooks: Hooks):
    """Others are taken all the time: it is tried with the first of them, then by its own pauses."""
    await hooks.subscribe()
    refused = key_of(a_consent(1)).rpartition("/")[2]

    def answer(webhook: ReceivedWebhook) -> ScriptedAnswer:
        return ScriptedAnswer(500) if refused in webhook.body.decode() else TAKEN

    hooks.receiver.answer = answer
    async with hooks.delivering(first_pause=AN_HOUR, longest_pause=AN_HOUR):
        for start in range(1, 41, 10):
            hooks.topics.opt_outs(*map(a_consent, range(start, start + 10)))
            await hooks.until_acknowledged(start + 8)
    assert sum(refused in one.body.decode() for one in hooks.receiver.received) <= 2


async def test_removed_subscriber_gives_its_name_to_another(hooks: Hooks):
    """While it has what it refuses; what it took stays, under its number. Others go on."""
    first = await hooks.subscribe()
    async with WebhookReceiver(lambda _: TAKEN).listening() as other, hooks.delivering():
        hooks.topics.opt_outs(a_consent(1))
        await hooks.until_acknowledged(1)
        hooks.receiver.answer = lambda _: ScriptedAnswer(500)
        hooks.topics.opt_outs(a_consent(2))
        await until(lambda: len(hooks.receiver.received) >= 2)
        await registry.remove(hooks.ledger, "crm", by="ada", now=datetime.now(UTC))
        assert await hooks.cursors() == []
        await hooks.subscribe(url=other.url())
        hooks.topics.opt_outs(a_consent(3))
        await hooks.until_acknowledged(2)
        assert len(other.received) == 1
    found = await deliveries.of_keys(hooks.ledger, [key_of(a_consent(one)) for one in (1, 2, 3)])
    assert [one["subscriber"] for one in found] == [f"removed, no. {first.id}", "crm"]


async def test_gone_subscriber_is_paused_with_an_act(hooks: Hooks):
    """410: it wants no more. What comes is kept until a person resumes it."""
    await hooks.subscribe()
    hooks.receiver.answer = lambda _: ScriptedAnswer(410)
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(1))
        assert (await hooks.until_paused()).paused_for == "gone"
        count = len(hooks.receiver.received)
        hooks.topics.opt_outs(a_consent(2))
        hooks.receiver.answer = lambda _: TAKEN
        now = datetime.now(UTC)
        assert await registry.resume(hooks.ledger, "crm", by="ada", now=now) is not None
        await hooks.until_acknowledged(2)
    assert len(hooks.receiver.received) == count + 2
    found = await acts(hooks.ledger, key="subscriber/%")
    assert [(one["act"], one["by"]) for one in found] == [
        ("add subscriber", "ada"),
        ("pause subscriber", "izin webhooks"),
        ("resume subscriber", "ada"),
    ]


async def test_processes_share_subscribers_and_give_back_at_the_end(hooks: Hooks):
    """The second takes its half, and at its end the first has all again."""
    for number in range(4):
        await hooks.subscribe(name=f"s{number}", url=hooks.receiver.url(f"/{number}"))
    query = """SELECT owner, count(*) AS n FROM leases
        WHERE name LIKE 'webhooks %%' AND owner = ANY(living()) GROUP BY owner"""

    async def are_shared(*counts: int) -> bool:
        return [one["n"] for one in await hooks.ledger.fetch(query)] == [*counts]

    async with hooks.delivering():
        await until(lambda: are_shared(4))
        async with hooks.delivering():
            await until(lambda: are_shared(2, 2))
            hooks.topics.opt_outs(a_consent(1))
            await hooks.until_acknowledged(4)
        await until(lambda: are_shared(4))
        hooks.topics.opt_outs(a_consent(2))
        await hooks.until_acknowledged(8)
    assert len(hooks.receiver.received) == 8


async def test_secret_is_rotated_amid_deliveries(hooks: Hooks):
    """During the grace both sign; filters and types hold."""
    await hooks.subscribe(types=frozenset({"consent.opted-out"}), origins=frozenset({"web"}))
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(1), a_consent(2, origin="crm"))
        await hooks.until_acknowledged(1)
        now = datetime.now(UTC)
        grace = {"until": now + timedelta(hours=1), "by": "ada", "now": now}
        await registry.rotate_secret(hooks.ledger, "crm", secret=random_secret(), **grace)
        hooks.topics.opt_outs(a_consent(3))
        await hooks.until_acknowledged(2)
    counts = [len(one.headers["webhook-signature"].split()) for one in hooks.receiver.received]
    assert counts in ([1, 1], [1, 2])
    assert {data_of(one)["origin"] for one in hooks.receiver.received} == {"web"}


async def test_topic_that_was_created_anew_is_posted_from_its_beginning(
    hooks: Hooks, logged: list[EventDict]
):
    """Its offsets are others, and an opt-out must not be passed."""
    hooks.topics.opt_outs(*map(a_consent, range(5)))
    await hooks.subscribe(types=frozenset({"consent.opted-out"}))
    await hooks.ledger.fetch(
        "UPDATE delivery_cursors SET topic_id = 'former' WHERE lane = 'express' RETURNING lane"
    )
    async with hooks.delivering():
        await hooks.until_acknowledged(5)
    assert "topic was created anew; its webhooks begin at its beginning" in events(logged)
    assert {one["topic_id"] for one in await hooks.cursors()} != {"former"}


async def test_removed_records_are_an_alert_and_stop_nothing(hooks: Hooks, logged: list[EventDict]):
    """A subscriber was away for longer than the topic keeps its records."""
    await hooks.subscribe()
    hooks.topics.opt_outs(*map(a_consent, range(20)))
    remove_below(hooks.settings, hooks.settings.topics.opt_outs.name, {0: 5, 1: 5})
    # One that was read and is open, and those that were not read, are gone.
    await hooks.ledger.fetch(
        "UPDATE delivery_cursors SET next_offset = 2, open_offsets = '{1}'"
        " WHERE lane = 'express' RETURNING lane"
    )
    async with hooks.delivering(memory=1024):
        await until(lambda: len(hooks.receiver.received) == 10)
        await hooks.until_acknowledged(10)
    assert events(logged).count("record to deliver is gone from its topic") == 2
    assert all(one["open_offsets"] == [] for one in await hooks.cursors())


def events(logged: list[EventDict]) -> list[str]:
    """Return what was logged, the critical events alone."""
    return [one["event"] for one in logged if one["log_level"] == "critical"]
