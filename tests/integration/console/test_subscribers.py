"""``izin subscribers`` on real servers: what it prints, refuses and counts."""

import json

import pytest

from izin.runtime.kafka import producer
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.integration.console.conftest import Izin
from tests.integration.console.test_explain import store_history
from tests.support.webhooks import a_consent, key_of, receiving

pytestmark = [pytest.mark.broker, pytest.mark.database]

ADD = ("subscribers", "add", "crm", "--customer", "acme")


def publish(settings: KafkaSettings, *numbers: int) -> None:
    """Publish opt-outs."""
    client = producer(settings)
    for number in numbers:
        record = a_consent(number)
        value = Codec().encode("Consent", record)
        client.produce(settings.topics.opt_outs.name, value=value, key=key_of(record))
    assert client.flush(20) == 0


@pytest.fixture
def registered(ledger: str, topics: KafkaSettings, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return the URL of a ledger with a customer; webhooks to this machine are allowed."""
    store_history()
    monkeypatch.setenv("IZIN_WEBHOOK_ALLOWED", '["127.0.0.0/8"]')
    return ledger


@pytest.mark.usefixtures("registered")
def test_subscriber_is_added_tested_shown_and_sent_to_again(izin: Izin, topics: KafkaSettings):
    """The secret is printed once and shown nowhere; a resend counts before it does anything."""
    with receiving() as url:
        added = izin(*ADD, "--url", url, "--type", "consent.opted-out", "--output", "json")
        assert added.exit_code == 0, added.stderr
        secret = json.loads(added.stdout)["secret"]
        assert secret.startswith("whsec_")
        assert json.loads(izin("subscribers", "test", "crm", "--output", "json").stdout) == {
            "status": 200,
            "failure": None,
        }
    failed = izin("subscribers", "test", "crm")
    assert failed.exit_code == 1
    publish(topics, 1, 2, 3)
    shown = izin("subscribers", "show", "crm", "--output", "json")
    found = json.loads(shown.stdout)
    assert (found["state"], found["types"]) == ("active", ["consent.opted-out"])
    assert found["backlog"]["express"] == {"open": 0, "unread": 3}
    for command in (("show", "crm"), ("list",), ("list", "--output", "json")):
        assert secret not in izin("subscribers", *command).stdout
    counted = izin("subscribers", "resend", "crm", "--missing", "--output", "json")
    assert json.loads(counted.stdout) == [{"type": "consent.opted-out", "events": 3}]
    assert "add --execute to send 3 events again" in counted.stderr
    later = izin("subscribers", "resend", "crm", "--since", "2099-01-01")
    assert "nothing is to be sent again" in later.stderr
    for _ in range(2):
        ordered = izin("subscribers", "resend", "crm", "--missing", "--execute")
    assert (ordered.exit_code, "an earlier resend" in ordered.stderr) == (3, True)
    assert izin("subscribers", "pause", "crm").exit_code == 0
    paused = izin("subscribers", "show", "crm", "--output", "json")
    assert (paused.exit_code, json.loads(paused.stdout)["state"]) == (1, "paused (operator)")


@pytest.mark.usefixtures("registered")
def test_removed_subscriber_is_gone_and_its_name_is_free(izin: Izin, topics: KafkaSettings):
    """Only with --execute; also where events wait for it, and a resend is not done."""
    with receiving() as url:
        assert izin(*ADD, "--url", url).exit_code == 0
        publish(topics, 1, 2)
        assert izin("subscribers", "resend", "crm", "--missing", "--execute").exit_code == 0
        asked = izin("subscribers", "remove", "crm")
        assert asked.exit_code == 0
        assert f"crm of acme would get nothing more at {url}" in " ".join(asked.stderr.split())
        assert "records wait for it; add --execute" in asked.stderr
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
    (("subscribers", "rotate-secret", "crm", "--grace", "-PT1H"), 2, "negative"),
    (("subscribers", "add", "a b", "--customer", "acme", "--url", "x"), 2, "letters"),
)


@pytest.mark.usefixtures("registered")
def test_wrong_order_says_what_to_do(izin: Izin) -> None:
    """By exit code who has to act, and in words what."""
    for words, code, message in WRONG:
        done = izin(*words)
        assert done.exit_code == code, (words, done.stderr)
        assert message in " ".join(done.stderr.replace("│", " ").split()), words
