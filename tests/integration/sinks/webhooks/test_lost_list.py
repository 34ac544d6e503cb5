"""A subscriber that lost its list has it again: by webhook, from the feeds, and with the library.

The programs are those of docs/feeds.md and docs/subscribing.md, as they stand there.
"""

import asyncio
import json
import re
from datetime import timedelta
from pathlib import Path

import pytest

from benchmarks.webhooks.receiver import TAKEN, ReceivedWebhook, ScriptedAnswer
from izin.schemas.api_keys import Scope
from tests.integration.console.conftest import RUNNER, app
from tests.integration.sinks.feeds.conftest import CODEC, serving, write
from tests.integration.sinks.webhooks.test_resend import delete_opt_outs
from tests.support.api_keys import API_KEY, an_api_key, publish_key
from tests.support.builders import BRAND, CUSTOMER, NOON
from tests.support.subscribers.page_clients import RunningClient, blocks, python_command
from tests.support.webhooks import (
    Hooks,
    a_consent,
    a_permission,
    a_standing,
    an_opt_out,
    key_of,
    store_rows,
    until,
)

pytestmark = [pytest.mark.broker, pytest.mark.database, pytest.mark.timeout(180)]

LATER = NOON + timedelta(hours=1)
NEWER = {"registered_at": LATER, "consent_date": LATER, "since": LATER}
DENIED = {"may_send": False, "reason": "opted-out", "previous_may_send": None}
KEYS = {number: key_of(a_permission(number)) for number in range(1, 6)}
TRUTH = {KEYS[number]: number in {1, 3} for number in KEYS}
"""1 is granted, 2 opted out after that, 3 opted in again, 4 opted out; 5 did before the topic
begins.
"""


class CustomerRelations:
    """A CRM that only applies what comes."""

    def __init__(self) -> None:
        self.list: dict[str, bool] = {}
        self.repetitions = 0

    def __call__(self, webhook: ReceivedWebhook) -> ScriptedAnswer:
        """Apply an event."""
        event = json.loads(webhook.body)
        data = event["data"]
        key = key_of(data)
        self.list[key] = event["type"] == "permission.granted"
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
    rows = [an_opt_out(2, latest_ret_at=LATER), a_standing(3, **again), an_opt_out(4)]
    await store_rows(hooks.ledger, a_standing(1), *rows, an_opt_out(5))


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
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", settings.bootstrap_servers)
    monkeypatch.setenv("IZIN_TOPIC_PREFIX", settings.topic_prefix)
    monkeypatch.setenv("IZIN_PARTITIONS", str(settings.partitions))
    monkeypatch.setenv("DATABASE_URL", hooks.database_url)
    publish_key(settings, an_api_key(scopes=frozenset({Scope.SUBSCRIBE.value})))
    brand = {"brand_code": BRAND, "iys_code": 1, "customer_id": CUSTOMER, "name": "Example"}
    brand |= {"activated_at": None, "loading_deadline": None, "status": "active"}
    record = str(BRAND).encode(), CODEC.encode("Brand", brand)
    await asyncio.to_thread(write, settings, settings.topics.brands.name, [record])
    await history_of(hooks)
    await hooks.subscribe()
    crm = hooks.receiver.answer = CustomerRelations()
    words = ["subscribers", "resend", "crm", "--since", "2020-01-01", "--execute", "--by", "ada"]
    ordered = await asyncio.to_thread(RUNNER.invoke, app, words)
    assert ordered.exit_code == 0, ordered.stderr
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
