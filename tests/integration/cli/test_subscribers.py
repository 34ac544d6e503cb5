"""``izin subscribers`` on real servers: what it prints, refuses and counts."""

import asyncio
import json
from datetime import UTC, datetime
from typing import Any

import pytest

from izin.cli.terminal.ledger_session import open_ledger
from izin.ledger.record import TopicMessages
from izin.runtime.settings import KafkaSettings, LedgerSettings
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.integration.cli.conftest import Izin, acts, ended, execute
from tests.integration.cli.test_explain import store_history
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.registration import register_brand
from tests.support.webhooks import TopicWriter, a_consent, key_of, receiving

pytestmark = [pytest.mark.broker, pytest.mark.database]

ADD = ("subscribers", "add", "crm", "--customer", "acme")


def publish(settings: KafkaSettings, *numbers: int) -> None:
    """Publish opt-outs."""
    TopicWriter(settings).opt_outs(*map(a_consent, numbers))


@pytest.fixture
def registered(ledger: str, topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a ledger with a customer; webhooks to this machine are allowed."""
    store_history()
    asyncio.run(_register())
    monkeypatch.setenv("IZIN_WEBHOOK_ALLOWED", '["127.0.0.0/8"]')
    return ledger


async def _register() -> None:
    async with open_ledger(LedgerSettings()) as ledger:
        messages = TopicMessages(Codec(), Topics())
        await register_brand(ledger, messages, ACTIVE, now=datetime.now(UTC))


@pytest.mark.usefixtures("registered")
def test_subscriber_is_added_tested_and_shown(izin: Izin, topics: KafkaSettings):
    """The secret is printed once and shown nowhere; what waits for it is not sent again."""
    with receiving() as url:
        added = ended(
            izin(*ADD, "--url", url, "--event", "consent.opted-out", "--output", "json"), 0
        )
        secret = json.loads(added.stdout)["secret"]
        assert secret.startswith("whsec_")
        assert json.loads(izin("subscribers", "test", "crm", "--output", "json").stdout) == {
            "status": 200,
            "failure": None,
        }
    assert izin("subscribers", "test", "crm").exit_code == 1
    publish(topics, 1, 2, 3)
    found = json.loads(izin("subscribers", "show", "crm", "--output", "json").stdout)
    assert (found["state"], found["types"]) == ("active", ["consent.opted-out"])
    assert found["backlog"]["express"] == {"open": 0, "unread": 3}
    assert found["had_everything_at"] == found["created_at"], "it has taken nothing since"
    for command in (("show", "crm"), ("list",), ("list", "--output", "json")):
        assert secret not in izin("subscribers", *command).stdout
    counted = izin("subscribers", "resend", "crm", "--since=2099-01-01", "--output", "json")
    assert json.loads(counted.stdout) == []
    assert "crm: nothing is to be sent again" in counted.stderr
    assert izin("subscribers", "pause", "crm").exit_code == 0
    paused = ended(izin("subscribers", "show", "crm", "--output", "json"), 1)
    assert json.loads(paused.stdout)["state"] == "paused (operator)"


LOSE = "UPDATE delivery_cursors SET next_offset = 1000000"
"""Everything is taken that there is, and nothing acknowledged."""


def resent(izin: Izin, *words: str) -> list[dict[str, Any]]:
    """Return the rows of a resend that is only counted."""
    counted = ended(izin("subscribers", "resend", "crm", *words, "--output", "json"), 0)
    return list(json.loads(counted.stdout))


def test_resend_is_limited_counted_ordered_shown_and_cancelled(
    izin: Izin, registered: str, topics: KafkaSettings
):
    """By source and type, before anything is done; each limit leaves out the rest."""
    with receiving() as url:
        assert izin(*ADD, "--url", url).exit_code == 0
        assert izin(*(*ADD[:2], "till", *ADD[3:]), "--url", url).exit_code == 0
    publish(topics, 1, 2, 3)
    execute(registered, LOSE)
    today, tomorrow = "--since=2020-01-01", "--since=2099-01-01"
    rows = resent(izin, today)
    source, type_ = topics.topics.opt_outs.name, "consent.opted-out"
    assert rows == [{"subscriber": "crm", "source": source, "type": type_, "events": 3}]
    shown = izin("subscribers", "resend", "crm", today).stdout
    assert shown.count("consent.opted-out") == 1
    for words, count in (
        ((today,), 3),
        ((tomorrow,), 0),
        ((today, "--until=2020-01-02"), 0),
        (("--recipient", key_of(a_consent(2))), 1),
        ((today, "--event=permission.granted"), 0),
        ((today, "--brand=5"), 0),
        ((today, "--type=EPOSTA"), 0),
        ((today, "--origin=web"), 3),
        ((today, "--origin=crm"), 0),
    ):
        assert sum(row["events"] for row in resent(izin, *words)) == count, words
    ended(
        izin("subscribers", "resend", "crm", "--recipient=+905550009999"),
        3,
        "nothing is known of any",
    )
    counted = izin("subscribers", "resend", "crm", "till", today)
    assert "till: add --execute to send 3 events again" in counted.stderr
    ordered = izin("subscribers", "resend", "crm", "till", today, "--execute", "--by", "ada")
    assert "crm: 3 events are sent again, beside what comes" in ordered.stderr
    ended(izin("subscribers", "resend", "till", today, "--execute"), 3, "an earlier resend of till")
    shown = json.loads(izin("subscribers", "show", "crm", "--output", "json").stdout)["resend"]
    assert (shown["state"], shown["planned"], shown["brought"]) == ("running", 3, 0)
    assert "running: 0 of 3 events taken" in izin("subscribers", "show", "crm").stdout
    for name in ("crm", "till"):
        ended(izin("subscribers", "cancel-resend", name, "--by=ada"), 0, f"of {name} cancelled")
    assert izin("subscribers", "cancel-resend", "crm").exit_code == 3
    resends = [one for one in acts(registered) if "resend" in one["act"]]
    did = [(one["act"], one["by"]) for one in resends]
    assert did == [("resend", "ada")] * 2 + [("cancel resend", "ada")] * 2
    assert (resends[0]["after"]["events"], resends[0]["after"]["keys"]) == (3, None)


def test_removed_subscriber_is_gone_and_its_name_is_free(
    izin: Izin, registered: str, topics: KafkaSettings
):
    """Only with --execute; also where events wait for it, and a resend is not done."""
    with receiving() as url:
        assert izin(*ADD, "--url", url).exit_code == 0
        publish(topics, 1, 2)
        execute(registered, LOSE)
        assert (
            izin("subscribers", "resend", "crm", "--since=2020-01-01", "--execute").exit_code == 0
        )
        ended(
            izin("subscribers", "remove", "crm"),
            0,
            f"crm of acme would get nothing more at {url}",
            "0 records wait for it, and more that was not read",
        )
        assert izin("subscribers", "show", "crm").exit_code == 0
        assert izin("subscribers", "remove", "crm", "--execute").exit_code == 0
        assert izin("subscribers", "show", "crm").exit_code == 3
        assert izin(*ADD, "--url", url).exit_code == 0
        shown = izin("subscribers", "show", "crm", "--output", "json")
        assert json.loads(shown.stdout)["backlog"]["express"] == {"open": 0, "unread": 0}


WRONG: tuple[tuple[tuple[str, ...], int, str], ...] = (
    ((*ADD, "--url", "https://10.0.0.1/"), 3, "IZIN_WEBHOOK_ALLOWED"),
    ((*ADD, "--url", "ftp://127.0.0.1/"), 3, "https://host/path"),
    ((*ADD, "--url", "http://127.0.0.1/", "--brand", "5"), 3, "does not belong to acme"),
    (("subscribers", "add", "crm", "--customer", "x", "--url", "http://127.0.0.1"), 3, "add x"),
    (("subscribers", "show", "nobody"), 3, "there is no subscriber nobody"),
    (("subscribers", "pause", "nobody"), 3, "there is no subscriber nobody"),
    (("subscribers", "remove", "nobody"), 3, "there is no subscriber nobody"),
    (("subscribers", "rotate-secret", "nobody"), 3, "there is no subscriber nobody"),
    (("subscribers", "resend", "crm"), 2, "--since"),
    (("subscribers", "resend", "nobody", "--since=2020-01-01"), 3, "there is no subscriber nobody"),
    (("subscribers", "rotate-secret", "crm", "--grace", "-PT1H"), 2, "negative"),
    (("subscribers", "add", "a b", "--customer", "acme", "--url", "x"), 2, "letters"),
)


@pytest.mark.usefixtures("registered")
def test_wrong_order_says_what_to_do(izin: Izin) -> None:
    """By exit code who has to act, and in words what."""
    for words, code, message in WRONG:
        ended(izin(*words), code, message)
