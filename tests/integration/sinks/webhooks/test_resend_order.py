"""No repetition comes over something newer, whatever a receiver does that applies what comes."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import orjson
import pytest
from structlog.typing import EventDict

from benchmarks.webhooks.receiver import ReceivedWebhook, ScriptedAnswer
from tests.support.builders import NOON
from tests.support.webhooks import (
    Hooks,
    a_consent,
    a_permission,
    a_standing,
    an_opt_out,
    store_rows,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.database]

LATER = NOON + timedelta(hours=1)
REVOKED = {"may_send": False, "previous_may_send": True, "reason": "opted-out", "since": LATER}


def came(hooks: Hooks) -> Sequence[tuple[str, str, bool]]:
    """Return what came: recipient, type, and whether it says that it is a repetition."""
    found = []
    for one in hooks.receiver.received:
        body: Mapping[str, Any] = orjson.loads(one.body)
        is_repetition = "repetition" in body
        assert is_repetition == ("webhook-repetition" in one.headers)
        found.append((body["data"]["recipient"][-2:], body["type"], is_repetition))
    return found


async def test_resend_sends_only_what_still_holds(hooks: Hooks):
    """1 was granted and revoked, 2 is granted, 3 opted out and in again, 4 opted out; another
    subscriber sees nothing of it.
    """
    await hooks.subscribe()
    await hooks.subscribe(name="till", url=hooks.receiver.url("/till"))
    await store_rows(
        hooks.ledger,
        an_opt_out(1, permission_since=LATER),
        a_standing(2),
        a_standing(3, registered_at=LATER, registered_consent_date=LATER, permission_since=LATER),
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
    rows = await hooks.deliveries()
    assert [row["resend_id"] for row in rows] == [None] * 12 + [1] * 4
    assert {one.path for one in hooks.receiver.received} == {"/hook"}


async def test_denial_that_comes_meanwhile_is_not_overtaken(hooks: Hooks):
    """It is refused when it is repeated; then the recipient opts out, and the process restarts."""
    await hooks.subscribe()
    await store_rows(hooks.ledger, a_standing(1))
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
    await store_rows(hooks.ledger, a_standing(1), an_opt_out(2))
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(2))
        hooks.topics.permissions(a_permission(1))
        await hooks.until_acknowledged(2)
        hooks.receiver.received.clear()
        decisions = hooks.settings.topics.decisions.name
        hooks.topics.raw(decisions, b"100001/MESAJ/BIREYSEL/+905550000001", b"a decision")
        await hooks.resend()
        await until(lambda: any(one["event"] == "resend waits for the ledger" for one in logged))
        # The opt-out of the decision comes, before the ledger has it.
        hooks.topics.opt_outs(a_consent(1, effective_at=LATER))
        await until(lambda: len(came(hooks)) == 2)
        await hooks.ledger.fetch(
            "INSERT INTO kafka_offsets (topic, partition, next_offset, cluster_id, topic_id)"
            " SELECT %(topic)s, n, 1, '', '' FROM generate_series(0, 99) AS n RETURNING partition",
            {"topic": decisions},
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
    refused = set[str]()

    def answer(webhook: ReceivedWebhook) -> ScriptedAnswer:
        refused.add(webhook.headers["webhook-id"])
        return ScriptedAnswer(500)

    hooks.receiver.answer = answer
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(1))
        await until(lambda: bool(refused))
    hooks.topics.opt_outs(a_consent(2))
    plan = await hooks.count()
    assert plan.events.total() == 0
    hooks.receiver.received.clear()
    hooks.receiver.answer = lambda _: ScriptedAnswer(200)
    async with hooks.delivering():
        await hooks.until_acknowledged(2)
    assert came(hooks) == [
        ("01", "consent.opted-out", False),
        ("02", "consent.opted-out", False),
    ]
