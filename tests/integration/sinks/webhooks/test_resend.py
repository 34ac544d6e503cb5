"""What was sent is sent again under the same ids; what was never acknowledged is found and sent."""

import asyncio
import json
import signal
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition

from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer
from izin.runtime.kafka import admin, committed_ends
from izin.runtime.settings import KafkaSettings
from izin.sinks.ledger.db.queries import statements
from izin.sinks.ledger.webhooks import registry
from izin.sinks.webhooks import resends
from izin.sinks.webhooks.resends import NoResendError, RunningResendError
from tests.support.builders import a_key
from tests.support.webhooks import (
    Hooks,
    a_consent,
    a_permission,
    a_phone,
    a_standing,
    an_opt_out,
    store_rows,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.database]


def delete_opt_outs(settings: KafkaSettings) -> None:
    """Have retention remove every opt-out that there is now."""
    topic = settings.topics.opt_outs.name
    ends = committed_ends(settings, topic)
    client = admin(settings)
    for done in client.delete_records(
        [TopicPartition(topic, number, end) for number, end in ends.items()]
    ).values():
        done.result(20)


async def repeated_ids(hooks: Hooks) -> set[str]:
    """Return the ids of the repetitions that are acknowledged."""
    return {one["webhook_id"] for one in await hooks.deliveries() if one["resend_id"]}


@pytest.mark.timeout(120)
async def test_resend_since_goes_on_after_a_kill(hooks: Hooks, tmp_path: Path):
    """Every event comes again once more, with its id, and the order is a movement; so do opt-outs
    that the topic no longer has, from the history.
    """
    hooks.topics.opt_outs(*map(a_consent, range(60, 80)))
    await asyncio.to_thread(delete_opt_outs, hooks.settings)
    await hooks.subscribe()
    await store_rows(hooks.ledger, *map(an_opt_out, range(80)), a_standing(80))
    processes = hooks.processes(tmp_path / "log", IZIN_WEBHOOK_CATCH_UP_RATE="100")
    processes.start()
    try:
        hooks.topics.opt_outs(*map(a_consent, range(60)))
        hooks.topics.permissions(a_permission(80))
        await hooks.until_acknowledged(61)
        before = {one.headers["webhook-id"] for one in hooks.receiver.received}
        hooks.receiver.received.clear()
        hooks.receiver.answer = lambda _: ScriptedAnswer(after=0.1)
        plan = await hooks.resend()
        assert (plan.events.total(), len(plan.older)) == (81, 20)
        with pytest.raises(RunningResendError):
            await hooks.resend()
        while not (taken := await repeated_ids(hooks)):
            pass
        processes.running[0].send_signal(signal.SIGKILL)
        processes.running[0].wait()
        processes.start()
        await hooks.until_resent()
    finally:
        processes.end()
    came = Counter(one.headers["webhook-id"] for one in hooks.receiver.received)
    assert came.keys() > before
    assert len(came) == 81
    assert {came[one] for one in taken} == {1}, "what was taken came again"
    assert len(taken) < 81, "it was killed too late"
    recipients = {json.loads(one.body)["data"]["recipient"] for one in hooks.receiver.received}
    assert recipients == {a_phone(number) for number in range(81)}
    assert {one["lane"] for one in await hooks.cursors()} == {"express", "bulk"}
    assert (await hooks.count()).events.total() == 81
    assert (await hooks.count(only_missing=True)).events.total() == 0
    assert await hooks.ledger.fetch("SELECT key FROM resend_opt_outs") == []


async def test_resend_is_cancelled_and_another_ordered_at_once(hooks: Hooks):
    """Who delivers the first still writes how far it is, and must not move the second by that."""
    subscriber = await hooks.subscribe(parallel=1)
    await store_rows(hooks.ledger, *map(an_opt_out, range(20)))
    async with hooks.delivering(window=4):
        hooks.topics.opt_outs(*map(a_consent, range(20)))
        await hooks.until_acknowledged(20)
        hooks.receiver.answer = lambda _: ScriptedAnswer(after=0.5)
        await hooks.resend()
        await until(
            lambda: any("webhook-repetition" in one.headers for one in hooks.receiver.received)
        )
        now = datetime.now(UTC)
        number = await resends.cancel(hooks.ledger, "crm", by="ada", now=now)
        with pytest.raises(NoResendError):
            await resends.cancel(hooks.ledger, "crm", by="ada", now=now)
        await hooks.resend()
        hooks.receiver.answer = lambda _: TAKEN
        await hooks.until_resent()
    found = await resends.latest(hooks.ledger, subscriber.id)
    assert found is not None
    names = ("id", "state", "planned", "brought")
    assert [found[name] for name in names] == [number + 1, "done", 20, 20]
    brought = Counter(one["resend_id"] for one in await hooks.deliveries())
    assert 0 < brought[number] < 20


async def test_erased_key_is_not_sent_again(hooks: Hooks):
    """It leaves the list of a resend, and the keys that were chosen."""
    hooks.topics.opt_outs(*map(a_consent, range(2)))
    await asyncio.to_thread(delete_opt_outs, hooks.settings)
    await hooks.subscribe()
    await store_rows(hooks.ledger, *map(an_opt_out, range(2)))
    keys = [str(a_key(recipient=a_phone(number))) for number in range(2)]
    assert len((await hooks.resend(keys=frozenset(keys))).older) == 2
    async with hooks.ledger.transaction() as connection:
        for statement in ("remove-resends", "remove-consents"):
            await connection.execute(statements("privacy")[statement], {"keys": keys[:1]})
    async with hooks.delivering():
        await hooks.until_resent()
    assert [json.loads(one.body)["data"]["recipient"] for one in hooks.receiver.received] == [
        a_phone(1)
    ]
    assert await hooks.ledger.fetch("SELECT keys FROM resends") == [{"keys": []}]


async def test_resend_of_what_is_missing_finds_it(hooks: Hooks):
    """An operator had moved the cursors: what was passed is found by its missing evidence."""
    subscriber = await hooks.subscribe()
    async with hooks.delivering():
        hooks.topics.opt_outs(*map(a_consent, range(10)))
        await hooks.until_acknowledged(10)
    hooks.topics.opt_outs(*map(a_consent, range(10, 15)))
    hooks.topics.permissions(a_permission(1, previous_may_send=True, reason="stale"))
    await hooks.ledger.fetch(
        "UPDATE delivery_cursors SET next_offset = 1000000 WHERE topic LIKE '%%opt-outs'"
        " RETURNING lane"
    )
    assert (await hooks.resend(only_missing=True)).events.total() == 5
    refused = set[str]()

    def answer(webhook: ReceivedWebhook) -> ScriptedAnswer:
        first = webhook.headers["webhook-id"] not in refused
        refused.add(webhook.headers["webhook-id"])
        return ScriptedAnswer(500) if first else TAKEN

    hooks.receiver.answer = answer
    async with hooks.delivering():
        await hooks.until_acknowledged(15)
        await hooks.until_resent()
    assert (await hooks.count(only_missing=True)).events.total() == 0
    found = await registry.of_name(hooks.ledger, subscriber.name)
    assert found.failing_since is None
