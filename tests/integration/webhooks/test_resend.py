"""What was sent is sent again under the same ids; what was never acknowledged is found and sent.

No repetition comes over something newer, whatever a receiver does that applies what comes.

A subscriber that lost its list has it again: by webhook, from the feeds, and with the library.

The programs are those of docs/feeds.md and docs/subscribing.md, as they stand there.
"""

import asyncio
import json
import re
import signal
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from structlog.typing import EventDict

from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer
from izin.kafka.clients import committed_ends
from izin.ledger.db import statements
from izin.runtime.settings import KafkaSettings
from izin.schemas.api_keys import Scope
from izin.webhooks import resends
from izin.webhooks.resends import ResendError
from tests.integration.cli.conftest import RUNNER, app
from tests.integration.feeds.test_feeds import serving
from tests.integration.sinks.sink_harness import ended, kafka_environment, set_environment
from tests.support.builders import API_KEY, CUSTOMER, NOON, a_key, a_phone, an_api_key
from tests.support.published import publish_brand, publish_key, remove_below
from tests.support.subscribers.page_clients import RunningClient, blocks, python_command
from tests.support.webhooks import (
    Hooks,
    a_consent,
    a_consent_in_force,
    a_permission,
    an_opt_out,
    key_of,
    store_rows,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.database]
LATER = NOON + timedelta(hours=1)
REVOKED = {"may_send": False, "previous_may_send": True, "reason": "opted-out", "since": LATER}
NEWER = {"registered_at": LATER, "consent_date": LATER, "since": LATER}
DENIED = {"may_send": False, "reason": "opted-out", "previous_may_send": None}
KEYS = {number: key_of(a_permission(number)) for number in range(1, 6)}
TRUTH = {KEYS[number]: number in {1, 3} for number in KEYS}
"""1 is granted, 2 opted out after that, 3 opted in again, 4 opted out; 5 did before the topic
begins.
"""


def delete_opt_outs(settings: KafkaSettings) -> None:
    """Have retention remove every opt-out that there is now."""
    topic = settings.topics.opt_outs.name
    remove_below(settings, topic, committed_ends(settings, topic))


async def repeated_ids(hooks: Hooks) -> set[str]:
    """Return the ids of the repetitions that are acknowledged."""
    return {one["webhook_id"] for one in await hooks.deliveries() if one["resend_id"]}


async def test_resend_since_goes_on_after_a_kill(hooks: Hooks, tmp_path: Path):
    """Every event comes again once more, with its id, and the order is an entry; so do opt-outs
    that the topic no longer has, from the history.
    """
    hooks.topics.opt_outs(*map(a_consent, range(60, 80)))
    await asyncio.to_thread(delete_opt_outs, hooks.settings)
    await hooks.subscribe()
    await store_rows(hooks.ledger, *map(an_opt_out, range(80)), a_consent_in_force(80))
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
        with pytest.raises(ResendError, match="is not done"):
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
    assert (came.keys() > before, len(came)) == (True, 81)
    assert {came[one] for one in taken} == {1}, "what was taken came again"
    assert len(taken) < 81, "it was killed too late"
    recipients = {json.loads(one.body)["data"]["recipient"] for one in hooks.receiver.received}
    assert recipients == {a_phone(number) for number in range(81)}
    assert {one["lane"] for one in await hooks.cursors()} == {"express", "bulk"}
    assert (await hooks.count()).events.total() == 81
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
        with pytest.raises(ResendError, match="no resend"):
            await resends.cancel(hooks.ledger, "crm", by="ada", now=now)
        await hooks.resend()
        hooks.receiver.answer = lambda _: TAKEN
        await hooks.until_resent()
    found = await resends.latest(hooks.ledger, subscriber.id)
    assert found is not None
    names = ("id", "state", "planned", "brought")
    assert [found[name] for name in names] == [number + 1, "done", 20, 20]
    assert 0 < Counter(one["resend_id"] for one in await hooks.deliveries())[number] < 20


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


def came(hooks: Hooks) -> Sequence[tuple[str, str, bool]]:
    """Return what came: recipient, type, and whether it says that it is a repetition."""
    webhooks = [(json.loads(one.body), one.headers) for one in hooks.receiver.received]
    assert all(("repetition" in one) == ("webhook-repetition" in it) for one, it in webhooks)
    return [
        (one["data"]["recipient"][-2:], one["type"], "repetition" in one) for one, _ in webhooks
    ]


async def test_resend_sends_only_what_still_holds(hooks: Hooks):
    """1 was granted and revoked, 2 is granted, 3 opted out and in again, 4 opted out; another
    subscriber sees nothing of it.
    """
    await hooks.subscribe()
    await hooks.subscribe(name="till", url=hooks.receiver.url("/till"))
    await store_rows(
        hooks.ledger,
        an_opt_out(1, permission_since=LATER),
        a_consent_in_force(2),
        a_consent_in_force(
            3, registered_at=LATER, registered_consent_date=LATER, permission_since=LATER
        ),
        an_opt_out(4),
    )
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(3), a_consent(4))
        hooks.topics.permissions(
            a_permission(1),
            a_permission(1, **REVOKED),
            a_permission(2),
            a_permission(3, since=LATER),
        )
        await hooks.until_acknowledged(12)
        first = {one.headers["webhook-id"] for one in hooks.receiver.received}
        assert not any(repeated for _, _, repeated in came(hooks))
        hooks.receiver.received.clear()
        plan = await hooks.resend()
        await hooks.until_resent()
    assert sorted(came(hooks)) == [
        ("01", "permission.revoked", True),
        ("02", "permission.granted", True),
        ("03", "permission.granted", True),
        ("04", "consent.opted-out", True),
    ]
    assert came(hooks)[0][1] == "consent.opted-out", "opt-outs come first"
    assert {one.headers["webhook-id"] for one in hooks.receiver.received} < first
    assert plan.events.total() == 4
    assert [row["resend_id"] for row in await hooks.deliveries()] == [None] * 12 + [1] * 4
    assert {one.path for one in hooks.receiver.received} == {"/hook"}


async def test_denial_that_comes_meanwhile_is_not_overtaken(hooks: Hooks):
    """It is refused when it is repeated; then the recipient opts out, and the process restarts."""
    await hooks.subscribe()
    await store_rows(hooks.ledger, a_consent_in_force(1))
    async with hooks.delivering():
        hooks.topics.permissions(a_permission(1))
        await hooks.until_acknowledged(1)
        hooks.receiver.answer = lambda _: ScriptedAnswer(500)
        await hooks.resend()
        await until(lambda: any(repeated for _, _, repeated in came(hooks)))
        await store_rows(hooks.ledger, an_opt_out(1, permission_since=LATER))
        hooks.topics.opt_outs(a_consent(1, effective_at=LATER))
        await hooks.until_open("express")
    hooks.receiver.received.clear()
    hooks.receiver.answer = lambda _: ScriptedAnswer(200)
    async with hooks.delivering():
        await hooks.until_resent()
        await until(lambda: bool(came(hooks)))
    assert came(hooks) == [("01", "consent.opted-out", False)]


async def test_permission_waits_for_an_opt_out_the_ledger_lacks(
    hooks: Hooks, logged: list[EventDict]
):
    """The order stage has decided more than the ledger has: a permission might be older."""
    await hooks.subscribe()
    await store_rows(hooks.ledger, a_consent_in_force(1), an_opt_out(2))
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(2))
        hooks.topics.permissions(a_permission(1))
        await hooks.until_acknowledged(2)
        hooks.receiver.received.clear()
        decisions = hooks.settings.topics.decisions
        hooks.topics.raw(decisions, b"100001/MESAJ/BIREYSEL/+905550000001", b"a decision")
        await hooks.resend()
        await until(lambda: any(one["event"] == "resend waits for the ledger" for one in logged))
        # The opt-out of the decision comes, before the ledger has it.
        hooks.topics.opt_outs(a_consent(1, effective_at=LATER))
        await until(lambda: len(came(hooks)) == 2)
        await hooks.ledger.fetch(
            "INSERT INTO kafka_offsets (topic, partition, next_offset, cluster_id, topic_id)"
            " SELECT %(topic)s, n, 1, '', '' FROM generate_series(0, 99) AS n RETURNING partition",
            {"topic": decisions.name},
        )
        await hooks.until_resent()
    assert came(hooks) == [
        ("02", "consent.opted-out", True),
        ("01", "consent.opted-out", False),
    ]


async def test_what_was_not_delivered_comes_once_and_as_first(hooks: Hooks):
    """A resend leaves to the lanes that are followed what they still have to bring."""
    await hooks.subscribe()
    await store_rows(hooks.ledger, an_opt_out(1), an_opt_out(2))
    hooks.receiver.answer = lambda _: ScriptedAnswer(500)
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(1))
        await until(lambda: bool(hooks.receiver.received))
    hooks.topics.opt_outs(a_consent(2))
    assert (await hooks.count()).events.total() == 0
    hooks.receiver.received.clear()
    hooks.receiver.answer = lambda _: ScriptedAnswer(200)
    async with hooks.delivering():
        await hooks.until_acknowledged(2)
    assert came(hooks) == [
        ("01", "consent.opted-out", False),
        ("02", "consent.opted-out", False),
    ]


async def test_older_opt_outs_begin_at_since_and_end_before_until(hooks: Hooks):
    """As the cursors of the topics do: each instant is in one period alone."""
    await store_rows(hooks.ledger, an_opt_out(5))
    for begin, end, count in ((NOON, LATER, 1), (NOON - (LATER - NOON), NOON, 0)):
        page = {"customer_id": CUSTOMER, "keys": None, "after": "", "size": 9}
        page |= {"since": begin, "until": end}
        assert len(await hooks.ledger.fetch(statements("resends")["older"], page)) == count


class CustomerRelations:
    """A CRM that only applies what comes."""

    def __init__(self) -> None:
        self.list: dict[str, bool] = {}
        self.repetitions = 0

    def __call__(self, webhook: ReceivedWebhook) -> ScriptedAnswer:
        """Apply an event."""
        event = json.loads(webhook.body)
        self.list[key_of(event["data"])] = event["type"] == "permission.granted"
        self.repetitions += "repetition" in event
        return TAKEN


async def history_of(hooks: Hooks) -> None:
    """Write what the topics and the ledger have of each recipient."""
    topics = hooks.topics
    topics.opt_outs(a_consent(5))
    await asyncio.to_thread(delete_opt_outs, hooks.settings)
    topics.opt_outs(a_consent(2, effective_at=LATER), a_consent(3), a_consent(4))
    topics.permissions(
        a_permission(1),
        a_permission(2),
        a_permission(2, **DENIED | {"previous_may_send": True, "since": LATER}),
        a_permission(3, **NEWER),
        a_permission(4, **DENIED),
        a_permission(5, **DENIED),
    )
    again = {
        "registered_at": LATER,
        "registered_consent_date": LATER,
        "permission_since": LATER,
        "latest_ret_at": NOON,
    }
    rows = [an_opt_out(2, latest_ret_at=LATER), a_consent_in_force(3, **again), an_opt_out(4)]
    await store_rows(hooks.ledger, a_consent_in_force(1), *rows, an_opt_out(5))


def run_in(folder: Path, page: str, **environ: str) -> RunningClient:
    """Start the program ``relist.py`` of a page."""
    folder.mkdir()
    file = folder / "relist.py"
    file.write_text(blocks(page)["relist.py"], encoding="utf-8")
    return RunningClient(python_command(file), folder, environ)


def list_of(client: RunningClient) -> dict[str, bool]:
    """Return what a program has printed last of each key."""
    words = [line.split() for line in client.lines()]
    return {one[1]: one[0] == "send" for one in words if one[0] in {"send", "stop"}}


async def test_lost_list_is_restored_however_one_subscribes(
    hooks: Hooks, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A receiver that only applies what comes, and the two programs that read by themselves."""
    settings = hooks.settings
    given = kafka_environment(settings) | {"DATABASE_URL": hooks.database_url}
    set_environment(monkeypatch, given)
    publish_key(settings, an_api_key(scopes=frozenset({Scope.SUBSCRIBE.value})))
    await asyncio.to_thread(publish_brand, settings)
    await history_of(hooks)
    await hooks.subscribe()
    crm = hooks.receiver.answer = CustomerRelations()
    words = ["subscribers", "resend", "crm", "--since", "2020-01-01", "--execute", "--by", "ada"]
    ordered = ended(await asyncio.to_thread(RUNNER.invoke, app, words), 0)
    assert re.search(r"history\s+│ consent.opted-out\s+│ 1\s", ordered.stdout)
    with run_in(tmp_path / "library", "subscribing.md") as library:
        async with serving(settings) as feeds, hooks.delivering():
            url = str(feeds.client.base_url)
            environ = {"IZIN_FEEDS_URL": url, "IZIN_API_KEY": API_KEY, "NO_PROXY": "*"}
            with run_in(tmp_path / "feeds", "feeds.md", **environ) as client:
                await until(client.has_ended)
                assert list_of(client) == TRUTH
            await hooks.until_resent()
        await until(lambda: list_of(library) == TRUTH)
    assert (crm.list, crm.repetitions) == (TRUTH, 6)
