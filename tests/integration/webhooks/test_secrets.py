"""A subscriber whose secret cannot be decrypted is posted nothing, and harms nobody else."""

from datetime import UTC, datetime, timedelta

import pytest
from standardwebhooks import Webhook

from izin.cli.subscribers.command import ping
from izin.ledger.record import UndecryptableSecretError
from izin.ledger.webhooks import registry
from izin.runtime.settings import LedgerSettings
from tests.support.secret_keys import id_of, key_setting, some_keys
from tests.support.webhooks import Hooks, a_consent, quick, random_secret

pytestmark = [pytest.mark.broker, pytest.mark.database]


@pytest.fixture
def ledger_settings(database_url: str, monkeypatch: pytest.MonkeyPatch) -> LedgerSettings:
    """Give settings with a key, which the processes of the test have too."""
    monkeypatch.setenv("IZIN_SECRET_KEYS", key_setting(1))
    return LedgerSettings.model_validate({"DATABASE_URL": database_url})


async def break_secret(hooks: Hooks, name: str) -> None:
    """Leave a subscriber with a secret under a key that nobody has."""
    lost = some_keys(9).encrypt(random_secret(), f"subscribers/{name}")
    await hooks.ledger.execute(
        "UPDATE subscribers SET secret = %(lost)s WHERE name = %(name)s",
        {"lost": lost, "name": name},
    )


async def test_encrypted_secret_signs_what_is_posted(hooks: Hooks):
    """The subscriber verifies with the secret that it was given."""
    secret = random_secret()
    await hooks.subscribe(secret=secret)
    (row,) = await hooks.ledger.fetch("SELECT secret FROM subscribers")
    assert row["secret"].startswith(f"aes256gcm:{id_of(1)}:")
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(1))
        await hooks.until_acknowledged(1)
    (one,) = hooks.receiver.received
    assert Webhook(secret).verify(one.body, one.headers)


async def test_undecryptable_secret_stops_its_subscriber_alone(hooks: Hooks):
    """It fails, and says why, where every failure is said; the other gets everything. A new secret
    repairs it, and nothing is lost.
    """
    await hooks.subscribe(name="crm", url=hooks.receiver.url("/crm"))
    await hooks.subscribe(name="till", url=hooks.receiver.url("/till"))
    await break_secret(hooks, "crm")
    async with hooks.delivering():
        hooks.topics.opt_outs(a_consent(1), a_consent(2))
        await hooks.until_acknowledged(2)
        await hooks.until_failing()
        assert {one.path for one in hooks.receiver.received} == {"/till"}
        broken = await registry.of_name(hooks.ledger, "crm")
        assert broken.state_at(datetime.now(UTC)) == "failing"
        for said in ("not posted", id_of(9), "IZIN_SECRET_KEYS"):
            assert said in str(broken.last_failure)
        assert (await registry.of_name(hooks.ledger, "till")).failing_since is None
        now = datetime.now(UTC)
        grace = {"until": now + timedelta(hours=1), "by": "ada", "now": now}
        secret = random_secret()
        await registry.rotate_secret(hooks.ledger, "crm", secret=secret, **grace)
        await hooks.until_acknowledged(4)
        await hooks.until_calm()
    late = [one for one in hooks.receiver.received if one.path == "/crm"]
    assert len([Webhook(secret).verify(one.body, one.headers) for one in late]) == 2


async def test_test_event_is_not_posted_unsigned(hooks: Hooks):
    """Whoever tests the subscriber reads which key is missing."""
    await hooks.subscribe()
    await break_secret(hooks, "crm")
    with pytest.raises(UndecryptableSecretError, match=id_of(9)):
        await ping(hooks.ledger, quick(), "crm", by="ada")
    assert hooks.receiver.received == []
