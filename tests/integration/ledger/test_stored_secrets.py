"""Secrets in a real ledger: encrypted, each for its row, and encrypted again under another key
while processes write and die.
"""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest
from psycopg import errors
from pydantic import SecretStr
from structlog.typing import EventDict

from izin.cli.doctor.faults import of_secrets
from izin.cli.doctor.finding import CheckState
from izin.iys.errors import TokenLimitError
from izin.iys.tokens import AccessToken
from izin.ledger.access_tokens import LedgerTokenStore
from izin.ledger.db import Ledger
from izin.ledger.db.migrate import migrate
from izin.ledger.record import UndecryptableSecretError
from izin.ledger.stored_secrets import READABLE, census, encrypt_all
from izin.ledger.webhooks import registry
from izin.runtime.settings import IysSettings, LedgerSettings
from izin.sinks.outbound.context import iys_session
from tests.integration.ledger.test_roles import logins_of
from tests.integration.sinks.sink_harness import Izin, SinkHarness, acts, ended
from tests.integration.upgrades import kept
from tests.support.secret_keys import id_of, key_setting, secrets_of
from tests.support.simulator import IYS_CODE
from tests.support.webhooks import add_customer, random_secret, until

pytestmark = pytest.mark.database

ACCESS, REFRESH = "fake-access-token-of-ada", "fake-refresh-token-of-ada"
LIVES = timedelta(hours=2)


@pytest.fixture(autouse=True)
def no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let each test say which keys there are."""
    monkeypatch.delenv("IZIN_SECRET_KEYS", raising=False)


@asynccontextmanager
async def with_keys(url: str, *numbers: int) -> AsyncIterator[Ledger]:
    """Give the ledger as a process with these keys has it."""
    settings = LedgerSettings(database_url=SecretStr(url), secret_keys=secrets_of(numbers))
    async with Ledger(settings, owner=numbers[0] if numbers else 99) as ledger:
        yield ledger


def a_store(ledger: Ledger, account: str = "ada") -> LedgerTokenStore:
    """Return the token store of an account, as a process has it."""
    return LedgerTokenStore(ledger=ledger, account=account, address="one")


async def store_token(ledger: Ledger, account: str = "ada", access: str = ACCESS) -> None:
    """Store a token as a process does that has renewed it."""
    now = ledger.clock.now()
    token = AccessToken(
        access=SecretStr(access),
        refresh=SecretStr(REFRESH),
        issued_at=now,
        expires_at=now + LIVES,
        refresh_expires_at=now + 2 * LIVES,
    )
    async with a_store(ledger, account).lease() as lease:
        await lease.store(replace(lease.state, token=token))


async def token_in(ledger: Ledger, account: str = "ada") -> tuple[str, str | None] | None:
    """Return the token that a process reads, and what renews it."""
    token = (await a_store(ledger, account).read()).token
    if token is None:
        return None
    return (
        token.access.get_secret_value(),
        None if token.refresh is None else token.refresh.get_secret_value(),
    )


async def subscribe(ledger: Ledger, name: str = "crm") -> str:
    """Add a subscriber; return its secret."""
    secret = random_secret()
    new = registry.NewSubscriber(
        name=name,
        url="https://crm.example.com/hook",
        filter=registry.EventFilter(customer_id="acme"),
        parallel=1,
        secret=secret,
    )
    added = await registry.add(ledger, new, (), by="ada", now=ledger.clock.now())
    assert secret not in f"{new!r}{added!r}"
    return secret


async def rotate_secret(ledger: Ledger, grace: timedelta = LIVES) -> str:
    """Give the subscriber a new secret; return that."""
    secret, now = random_secret(), ledger.clock.now()
    await registry.rotate_secret(ledger, "crm", secret=secret, until=now + grace, by="ada", now=now)
    return secret


async def signing(ledger: Ledger, name: str = "crm") -> tuple[str, ...]:
    """Return what signs for a subscriber now."""
    found = await registry.of_name(ledger, name)
    return found.secrets_at(ledger.clock.now(), ledger.secret_keys)


async def encrypt(ledger: Ledger) -> None:
    """Encrypt all under the first key, as the command does."""
    await encrypt_all(ledger, by="ada", now=ledger.clock.now(), report=lambda *_: None)


async def standing(ledger: Ledger) -> dict[str, int]:
    """Return how many secrets are under which key, but for keys that have none."""
    return {key: count for key, count in (await census(ledger)).counts.items() if count}


def dumped(url: str, folder: Path) -> str:
    """Return a dump of the whole ledger."""
    kept.dump(url, folder / "dump.sql")
    return (folder / "dump.sql").read_text("utf-8")


async def test_dump_of_a_ledger_with_keys_has_no_secret(database_url: str, tmp_path: Path):
    """Nor has one in which secrets were rotated and tokens renewed; without keys it has all."""
    async with with_keys(database_url) as ledger:
        await add_customer(ledger)
        known = [ACCESS, REFRESH, await subscribe(ledger)]
        await store_token(ledger)
        text = dumped(database_url, tmp_path)
        assert all(one in text for one in known), "the check would find them"
    async with with_keys(database_url, 1) as ledger:
        await store_token(ledger, access="renewed-access-token")
        known += ["renewed-access-token", await subscribe(ledger, "till")]
        known.append(await rotate_secret(ledger))
        text = dumped(database_url, tmp_path)
        assert [one for one in known if one in text] == []
        assert await token_in(ledger) == ("renewed-access-token", REFRESH)
        assert await signing(ledger) == (known[-1], known[2])


async def test_ciphertext_of_another_row_is_refused(database_url: str):
    """Who may write the ledger cannot have another's secret sign, nor another's token sent."""
    async with with_keys(database_url, 1) as ledger:
        await add_customer(ledger)
        for name in ("crm", "till"):
            await subscribe(ledger, name)
            await store_token(ledger, name)
        await ledger.execute(
            "UPDATE subscribers SET secret = (SELECT secret FROM subscribers WHERE name = 'till')"
            " WHERE name = 'crm'"
        )
        await ledger.execute(
            "UPDATE access_tokens SET access_token = (SELECT access_token FROM access_tokens"
            " WHERE account = 'till') WHERE account = 'crm'"
        )
        with pytest.raises(UndecryptableSecretError, match="subscribers/crm"):
            await signing(ledger)
        assert await signing(ledger, "till")
        assert await token_in(ledger, "crm") is None
        assert await token_in(ledger, "till") == (ACCESS, REFRESH)
        assert len((await census(ledger)).faults) == 2


async def test_ledger_refuses_a_secret_of_another_form(database_url: str):
    """The constraint takes readable secrets and encrypted ones, and no other text."""
    async with with_keys(database_url) as ledger:
        await add_customer(ledger)
        await subscribe(ledger)
    with psycopg.connect(database_url) as client, pytest.raises(errors.CheckViolation):
        client.execute("UPDATE subscribers SET secret = 'aes256gcm:key:text'")


async def test_readable_secrets_from_before_are_read_and_encrypted(
    database_url: str, tmp_path: Path
):
    """With the first key nothing changes for a process; the command encrypts what stands."""
    async with with_keys(database_url) as ledger:
        await add_customer(ledger)
        secret = await subscribe(ledger)
        await store_token(ledger)
    async with with_keys(database_url, 1) as ledger:
        assert await token_in(ledger) == (ACCESS, REFRESH)
        assert await signing(ledger) == (secret,)
        assert await standing(ledger) == {READABLE: 3}
        await encrypt(ledger)
        assert await standing(ledger) == {id_of(1): 3}
        assert await token_in(ledger) == (ACCESS, REFRESH)
        assert await signing(ledger) == (secret,)
        text = dumped(database_url, tmp_path)
        assert not any(one in text for one in (ACCESS, REFRESH, secret))


@pytest.mark.parametrize("release", kept.RELEASES, ids=lambda one: one.name)
async def test_secrets_of_a_release_are_encrypted(
    empty_database: str, release: Path, tmp_path: Path
):
    """A ledger of before, brought up to this release, has its tokens, and then no readable one."""
    kept.load(release, empty_database)
    await migrate(empty_database)
    with psycopg.connect(empty_database) as client:
        client.execute(
            "UPDATE access_tokens SET expires_at = now() + interval '1 hour',"
            " refresh_expires_at = now() + interval '1 hour'"
        )
        rows = client.execute("SELECT account, access_token, refresh_token FROM access_tokens")
        known = {account: (access, refresh) for account, access, refresh in rows}
    assert known
    async with with_keys(empty_database, 1) as ledger:
        await encrypt(ledger)
        assert {one: await token_in(ledger, one) for one in known} == known
    text = dumped(empty_database, tmp_path)
    assert not any(one in text for both in known.values() for one in both)


async def test_expired_secrets_are_dropped_with_the_keys_they_are_under(database_url: str):
    """What signs no more, and a token that is over, would keep an old key for ever."""
    async with with_keys(database_url, 1) as ledger:
        await add_customer(ledger)
        await subscribe(ledger)
        await store_token(ledger)
        await rotate_secret(ledger, grace=timedelta(0))
        assert (await standing(ledger))[id_of(1)] == 3, "what signs no more from now on"
        secret = await rotate_secret(ledger)
        await ledger.execute("UPDATE subscribers SET former_until = now()")
        await ledger.execute(
            "UPDATE access_tokens SET expires_at = now(), refresh_expires_at = now()"
        )
    async with with_keys(database_url, 2, 1) as ledger:
        assert await standing(ledger) == {id_of(1): 4}
        await encrypt(ledger)
        assert await standing(ledger) == {id_of(2): 1}
        assert await signing(ledger) == (secret,)


async def test_former_secret_that_cannot_be_decrypted_does_not_stop_the_present(database_url: str):
    """The new secret signs alone: so a subscriber whose key was lost is repaired."""
    async with with_keys(database_url, 1) as ledger:
        await add_customer(ledger)
        await subscribe(ledger)
    async with with_keys(database_url, 2) as ledger:
        with pytest.raises(UndecryptableSecretError, match=id_of(1)):
            await signing(ledger)
        secret = await rotate_secret(ledger)
        assert await signing(ledger) == (secret,)
        await encrypt(ledger)
        assert await standing(ledger) == {id_of(1): 1, id_of(2): 1}
        assert (await census(ledger)).behind == {}


async def test_token_renewed_amid_the_command_is_kept(database_url: str):
    """The command has read the row before, and waits for it: it changes nothing of the newer one,
    and the next run encrypts that.
    """
    async with with_keys(database_url, 1) as before, with_keys(database_url, 2, 1) as ledger:
        await store_token(before)
        async with before.transaction() as connection:
            newer = before.secret_keys.encrypt("newer-access-token", "access_tokens/ada")
            await connection.execute(
                "UPDATE access_tokens SET access_token = %(text)s", {"text": newer}
            )
            running = asyncio.create_task(encrypt(ledger))
            await until(lambda: waits(before, "UPDATE access_tokens"))
        await running
        assert await token_in(ledger) == ("newer-access-token", REFRESH)
        assert await standing(ledger) == {id_of(1): 2}
        await encrypt(ledger)
        assert await token_in(before) is None, "a process that lacks the new key has none"
        assert await token_in(ledger) == ("newer-access-token", REFRESH)
        assert await standing(ledger) == {id_of(2): 2}


async def test_secret_rotated_amid_the_command_is_kept(database_url: str):
    """The same for a subscriber, of which both secrets are changed at once."""
    async with with_keys(database_url, 1) as before, with_keys(database_url, 2, 1) as ledger:
        await add_customer(before)
        former, present = await subscribe(before), random_secret()
        async with before.transaction() as connection:
            await connection.execute(
                "UPDATE subscribers SET secret = %(secret)s, former_secret = secret,"
                " former_until = now() + interval '1 day'",
                {"secret": before.secret_keys.encrypt(present, "subscribers/crm")},
            )
            running = asyncio.create_task(encrypt(ledger))
            await until(lambda: waits(before, "UPDATE subscribers"))
        await running
        assert await signing(ledger) == (present, former)
        assert await standing(ledger) == {id_of(1): 2}
        await encrypt(ledger)
        assert await signing(ledger) == (present, former)
        assert await standing(ledger) == {id_of(2): 2}


async def waits(ledger: Ledger, statement: str) -> bool:
    """Whether a session waits for a lock with such a statement."""
    return bool(
        await ledger.fetch(
            "SELECT FROM pg_stat_activity WHERE datname = current_database()"
            " AND wait_event_type = 'Lock' AND query LIKE %(like)s",
            {"like": f"%{statement}%"},
        )
    )


async def test_killed_command_leaves_whole_rows_and_goes_on(
    database_url: str, izin: Izin, monkeypatch: pytest.MonkeyPatch
):
    """``kill -9`` while it waits for the second row: the first is done, the other as it was."""
    monkeypatch.setenv("IZIN_SECRET_KEYS", key_setting(2, 1))
    words = ["ledger", "encrypt-secrets", "--by", "ada", "--execute"]
    async with with_keys(database_url, 1) as before:
        for account in ("ada", "bob"):
            await store_token(before, account)
        async with before.transaction() as connection:
            await connection.execute("SELECT FROM access_tokens WHERE account = 'bob' FOR UPDATE")
            process = await asyncio.create_subprocess_exec(sys.executable, "-m", "izin.cli", *words)
            await until(lambda: waits(before, "UPDATE access_tokens"), limit=60)
            process.kill()
            await process.wait()
        await until(lambda: gone(before))
        assert await standing(before) == {id_of(1): 2, id_of(2): 2}
        async with with_keys(database_url, 2, 1) as ledger:
            for account in ("ada", "bob"):
                assert await token_in(ledger, account) == (ACCESS, REFRESH)
            assert id_of(2) in ended(await izin(*words), 0).stdout
            assert await standing(ledger) == {id_of(2): 4}


async def gone(ledger: Ledger) -> bool:
    """Whether no session of another process is left."""
    return not await ledger.fetch(
        "SELECT FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name NOT IN (current_setting('application_name'), '')"
        " AND backend_type = 'client backend'"
    )


async def test_command_looks_first_and_says_what_is_where(
    database_url: str, izin: Izin, monkeypatch: pytest.MonkeyPatch
):
    """Without --execute nothing changes; at the end an old key has no secret, and may go. A second
    run does nothing, and is no second act.
    """
    words = ("ledger", "encrypt-secrets", "--by", "ada")
    refused = ended(await izin(*words), 4)
    assert "IZIN_SECRET_KEYS" in refused.stderr
    async with with_keys(database_url, 1) as ledger:
        await store_token(ledger)
        monkeypatch.setenv("IZIN_SECRET_KEYS", key_setting(2, 1))
        shown = ended(await izin(*words), 1)
        assert "2 secrets are not under the first key; add --execute" in shown.stderr
        assert await standing(ledger) == {id_of(1): 2}
        done = ended(await izin(*words, "--output", "json", "--execute"), 0)
        assert ACCESS not in shown.stdout + shown.stderr + done.stdout + done.stderr
        assert done.stdout.replace(" ", "").replace("\n", "") == (
            f'[{{"key":"{id_of(2)}","secrets":2}},{{"key":"{id_of(1)}","secrets":0}}]'
        )
        ended(await izin(*words, "--execute"), 0)
        assert [(one["act"], one["by"]) for one in await acts(ledger)] == [
            ("encrypt secrets", "ada")
        ]
    monkeypatch.setenv("IZIN_SECRET_KEYS", key_setting(1))
    lost = ended(await izin(*words, "--execute"), 1)
    assert f"under key {id_of(2)}, which IZIN_SECRET_KEYS does not have" in lost.stderr


async def test_roles_of_processes_and_people_may_encrypt(ledger_url: str):
    """Neither owns the tables."""
    logins = logins_of(ledger_url)
    async with with_keys(logins["izin_worker"]) as ledger:
        await store_token(ledger)
    async with with_keys(logins["izin_worker"], 1) as ledger:
        await encrypt(ledger)
    async with with_keys(logins["izin_operator"], 2, 1) as ledger:
        await encrypt(ledger)
        assert await standing(ledger) == {id_of(2): 2}


async def test_doctor_says_which_secrets_need_what(database_url: str):
    """Readable ones, those under a former key, those under a key that is missing; else nothing."""

    async def found(*numbers: int) -> list[tuple[CheckState, str]]:
        async with with_keys(database_url, *numbers) as ledger:
            return [(one.state, one.what) for one in of_secrets(await census(ledger))]

    async def wrong(*numbers: int) -> str:
        states, texts = zip(*await found(*numbers), strict=True)
        assert set(states) == {CheckState.WRONG}
        return "\n".join(texts)

    assert [state for state, _ in await found()] == [CheckState.OK]
    async with with_keys(database_url) as ledger:
        await store_token(ledger)
    assert "2 secrets stand readable in the ledger; set IZIN_SECRET_KEYS for" in await wrong()
    assert "2 secrets stand readable in the ledger; run: izin ledger encrypt-" in await wrong(1)
    async with with_keys(database_url, 1) as ledger:
        await encrypt(ledger)
    assert [state for state, _ in await found(1)] == [CheckState.OK]
    assert f"2 secrets are under key {id_of(1)} in the ledger; run: izin" in await wrong(2, 1)
    missing = f"under key {id_of(1)}, which IZIN_SECRET_KEYS does not have here"
    for given in ((), (2,)):
        said = await wrong(*given)
        assert said.count(missing) == 2
        assert "access_tokens/ada" in said


Calling = Callable[..., Awaitable[object]]


@pytest.fixture
def calling(iys_settings: IysSettings, harness: SinkHarness, database_url: str) -> Calling:
    """Give a function that calls İYS as a process with these keys does."""
    settings = iys_settings.model_copy(update={"egress_address": "test"})

    async def call(*numbers: int) -> object:
        async with (
            with_keys(database_url, *numbers) as ledger,
            iys_session(ledger, settings) as (client, pacer),
        ):
            await pacer.begin()
            return await client.brands(IYS_CODE)

    return call


async def test_token_whose_key_is_lost_is_requested_anew(
    calling: Calling, harness: SinkHarness, logged: list[EventDict]
):
    """Once: what then stands is read by each process that has the key."""
    await calling(1)
    before = harness.iys.calls("token")
    await calling(2)
    assert harness.iys.calls("token") == before + 1
    said, *_ = [one for one in logged if one["event"] == "iys token not decrypted"]
    assert id_of(1) in str(said["error"])
    await calling(2)
    assert harness.iys.calls("token") == before + 1


async def test_processes_without_a_common_key_do_not_use_up_the_hour(
    calling: Calling, harness: SinkHarness
):
    """Each would replace the other's token with every call: they back off after the second."""
    await calling(1)
    before = harness.iys.calls("token")
    held = 0
    for number in (2, 1) * 6:
        try:
            await calling(number)
        except TokenLimitError:
            held += 1
    assert harness.iys.calls("token") <= before + 2
    assert held >= 5


async def test_token_of_before_serves_processes_with_and_without_a_key(
    calling: Calling, harness: SinkHarness
):
    """While the first key is rolled out nobody requests a token for it."""
    await calling()
    before = harness.iys.calls("token")
    for given in ((1,), (), (2, 1)):
        await calling(*given)
    assert harness.iys.calls("token") == before
