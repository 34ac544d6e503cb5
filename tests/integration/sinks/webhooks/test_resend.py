"""What was sent is sent again under the same ids; what was never acknowledged is found and sent."""

import signal
from datetime import UTC, datetime
from pathlib import Path

import pytest

from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer
from izin.console.subscribers import resends
from izin.console.subscribers.resends import ResendOrder
from izin.schemas.codec import Codec
from izin.sinks.ledger.webhooks import registry
from izin.sinks.record.errors import RunningResendError
from tests.support.webhooks import Hooks, a_consent, a_permission, until

pytestmark = [pytest.mark.broker, pytest.mark.database]


async def ordered(hooks: Hooks, order: ResendOrder) -> int:
    """Order a resend; return how many events it was said to send."""
    counts = await resends.count(hooks.ledger, hooks.settings, Codec(), order)
    now = datetime.now(UTC)
    await resends.begin(hooks.ledger, hooks.settings, order, by="ada", now=now)
    return sum(counts.values())


async def unfinished(hooks: Hooks) -> int:
    """Return how many resends are not done."""
    rows = await hooks.ledger.fetch("SELECT count(*) AS n FROM resends WHERE finished_at IS NULL")
    return int(rows[0]["n"])


@pytest.mark.timeout(120)
async def test_resend_since_goes_on_after_a_kill(hooks: Hooks, tmp_path: Path):
    """Every event comes again once more, with its id, and the order is a movement."""
    await hooks.subscribe()
    since = datetime.now(UTC)
    processes = hooks.processes(tmp_path / "log", IZIN_WEBHOOK_CATCH_UP_RATE="100")
    processes.start()
    try:
        hooks.topics.opt_outs(*map(a_consent, range(60)))
        hooks.topics.permissions(a_permission(1))
        await hooks.until_acknowledged(61)
        before = {one.headers["webhook-id"] for one in hooks.receiver.received}
        hooks.receiver.received.clear()
        hooks.receiver.answer = lambda _: ScriptedAnswer(after=0.02)
        assert await ordered(hooks, ResendOrder(name="crm", since=since, only_missing=False)) == 61
        with pytest.raises(RunningResendError):
            await ordered(hooks, ResendOrder(name="crm", since=since, only_missing=False))
        await until(lambda: len(hooks.receiver.received) >= 15)
        processes.running[0].send_signal(signal.SIGKILL)
        processes.running[0].wait()
        processes.start()
        await until(
            lambda: {one.headers["webhook-id"] for one in hooks.receiver.received} >= before
        )
        while await unfinished(hooks):
            pass
    finally:
        processes.end()
    assert {one.headers["webhook-id"] for one in hooks.receiver.received} == before
    assert all(one["lane"] != "resend" for one in await hooks.cursors())
    assert len(hooks.receiver.received) < 61 + 20, "it began again from the start"


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
    order = ResendOrder(name="crm", since=None, only_missing=True)
    assert await ordered(hooks, order) == 5
    refused = set[str]()

    def answer(webhook: ReceivedWebhook) -> ScriptedAnswer:
        first = webhook.headers["webhook-id"] not in refused
        refused.add(webhook.headers["webhook-id"])
        return ScriptedAnswer(500) if first else TAKEN

    hooks.receiver.answer = answer
    async with hooks.delivering():
        await hooks.until_acknowledged(15)
        while await unfinished(hooks):
            pass
    assert sum((await resends.count(hooks.ledger, hooks.settings, Codec(), order)).values()) == 0
    found = await registry.of_name(hooks.ledger, subscriber.name)
    assert found.failing_since is None
