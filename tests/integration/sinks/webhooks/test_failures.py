"""A subscriber that is away, slow, gone or replaced: its backlog waits, others are not delayed."""

import asyncio
import json
import signal
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time

import pytest

from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer, WebhookReceiver
from izin.console.subscribers.command import ping
from izin.sinks.ledger.webhooks import deliveries, registry
from tests.support.webhooks import Hooks, a_consent, key_of, quick, until

pytestmark = [pytest.mark.broker, pytest.mark.database]


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
            await asyncio.sleep(0)
            for start in range(0, 100, 10):
                hooks.topics.opt_outs(*map(a_consent, range(start, start + 10)))
                await until(lambda start=start: len(hooks.receiver.received) == start + 10)  # type: ignore[misc]
            assert len(slow.received) < 20
            open_ = [len(one["open_offsets"]) for one in await hooks.cursors()]
            assert max(open_) <= 10
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
        for _ in range(100):
            found = await registry.of_name(hooks.ledger, "crm")
            if found.failing_since is None:
                break
            await asyncio.sleep(0.1)
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
        count = 1
        match by:
            case "success":
                hooks.topics.opt_outs(a_consent(2))
                count = 2
            case "test":
                reply = await ping(hooks.ledger, quick(), "crm", by="ada")
                assert reply.is_acknowledgement
            case _:
                now = datetime.now(UTC)
                assert await registry.resume(hooks.ledger, "crm", by="ada", now=now) is not None
        await hooks.until_acknowledged(count)


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
        for _ in range(200):
            found = await registry.of_name(hooks.ledger, "crm")
            if found.paused_at is not None:
                break
            await asyncio.sleep(0.05)
        assert found.paused_for == "gone"
        count = len(hooks.receiver.received)
        hooks.topics.opt_outs(a_consent(2))
        hooks.receiver.answer = lambda _: TAKEN
        now = datetime.now(UTC)
        assert await registry.resume(hooks.ledger, "crm", by="ada", now=now) is not None
        await hooks.until_acknowledged(2)
    assert len(hooks.receiver.received) == count + 2
    acts = await hooks.ledger.fetch(
        "SELECT data FROM movements WHERE kind = 'act' AND key LIKE 'subscriber/%%'"
        " ORDER BY recorded_at, place"
    )
    assert [one["data"]["act"] for one in acts] == [
        "add subscriber",
        "pause subscriber",
        "resume subscriber",
    ]
    assert acts[1]["data"]["by"] == "izin webhooks"


@pytest.mark.timeout(120)
async def test_frozen_process_is_fenced(hooks: Hooks, tmp_path: Path):
    """Its subscriber is another's within seconds, and when it wakes it writes nothing."""
    await hooks.subscribe()
    processes = hooks.processes(tmp_path / "log")
    frozen = processes.start()
    try:
        hooks.topics.opt_outs(a_consent(1))
        await hooks.until_acknowledged(1)
        processes.start()
        frozen.send_signal(signal.SIGSTOP)
        hooks.topics.opt_outs(*map(a_consent, range(2, 12)))
        await hooks.until_acknowledged(11)
        frozen.send_signal(signal.SIGCONT)
        hooks.topics.opt_outs(*map(a_consent, range(12, 22)))
        await hooks.until_acknowledged(21)
    finally:
        processes.end()
    assert len(ids(hooks.receiver.received)) == 21
    counts = [one["webhook_id"] for one in await hooks.deliveries()]
    assert len(counts) == len(set(counts)) == 21


async def test_processes_share_subscribers_and_give_back_at_the_end(hooks: Hooks):
    """The second takes its half, and at its end the first has all again."""
    for number in range(4):
        await hooks.subscribe(name=f"s{number}", url=hooks.receiver.url(f"/{number}"))
    query = """SELECT owner, count(*) AS n FROM leases
        WHERE name LIKE 'webhooks %%' AND owner = ANY(living()) GROUP BY owner"""

    async def until_shared(*counts: int) -> None:
        end = time() + 20
        while sorted(one["n"] for one in await hooks.ledger.fetch(query)) != sorted(counts):
            assert time() < end
            await asyncio.sleep(0.1)

    async with hooks.delivering():
        await until_shared(4)
        async with hooks.delivering():
            await until_shared(2, 2)
            hooks.topics.opt_outs(a_consent(1))
            await hooks.until_acknowledged(4)
        await until_shared(4)
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
        await registry.rotate_secret(
            hooks.ledger,
            "crm",
            secret="whsec_" + "bmV3" * 8,
            until=now + timedelta(hours=1),
            by="ada",
            now=now,
        )
        hooks.topics.opt_outs(a_consent(3))
        await hooks.until_acknowledged(2)
    first, second = hooks.receiver.received
    assert len(first.headers["webhook-signature"].split()) == 1
    assert len(second.headers["webhook-signature"].split()) in {1, 2}
    assert json.loads(second.body)["data"]["origin"] == "web"
