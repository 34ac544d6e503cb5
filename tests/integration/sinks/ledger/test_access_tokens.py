"""A password that was refused, and is corrected: here, or at İYS."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from pydantic import SecretStr

from izin.console.doctor.faults import token_finding
from izin.console.doctor.finding import CheckState
from izin.iys.client import IysClient
from izin.iys.errors import TokenLimitError, UnauthenticatedError
from izin.runtime.settings import IysSettings
from izin.sinks.ledger.access_tokens import LedgerTokenStore
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.outbound.context import iys_session
from tests.integration.sinks.sink_harness import InMemoryTopic, Izin, SinkHarness
from tests.support.builders import BRAND
from tests.support.simulator import IYS_CODE, PASSWORD, USERNAME

pytestmark = pytest.mark.database

WRONG = "not-the-password-either"


@pytest.fixture
def settings(iys_settings: IysSettings) -> IysSettings:
    """Give settings of a worker that shares the harness's address."""
    return iys_settings.model_copy(update={"egress_address": "test"})


@asynccontextmanager
async def a_session(
    ledger: Ledger, settings: IysSettings, password: str = PASSWORD
) -> AsyncIterator[IysClient]:
    """Give the client of a process that starts with ``password``."""
    given = settings.model_copy(update={"password": SecretStr(password)})
    async with iys_session(ledger, given) as (client, pacer):
        await pacer.begin()
        yield client


async def refused(ledger: Ledger, settings: IysSettings, password: str, *, times: int) -> None:
    """Start processes one after the other, each of which is refused, or held back."""
    for _ in range(times):
        async with a_session(ledger, settings, password) as client:
            with pytest.raises((UnauthenticatedError, TokenLimitError)):
                await client.brands(IYS_CODE)


async def held_back(ledger: Ledger, settings: IysSettings, password: str) -> None:
    """Fail until requests are held back."""
    await refused(ledger, settings, password, times=4)
    async with a_session(ledger, settings, password) as client:
        with pytest.raises(TokenLimitError):
            await client.brands(IYS_CODE)


async def test_corrected_password_is_used_at_once(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings
):
    """The refused one is held back for minutes; another is not, and the first answer ends it."""
    await held_back(ledger, settings, WRONG)
    before = harness.iys.calls("token")
    async with a_session(ledger, settings) as client:
        assert await client.brands(IYS_CODE)
    assert harness.iys.calls("token") == before + 1
    async with a_session(ledger, settings, WRONG) as client:
        assert await client.brands(IYS_CODE), "the token serves every process of the account"


async def test_dropped_refresh_token_does_not_hold_back_the_password(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings
):
    """İYS forgets its tokens while the password is wrong: the right one is asked for once."""
    async with a_session(ledger, settings) as client:
        await client.brands(IYS_CODE)
    await ledger.fetch(
        "UPDATE access_tokens SET access_token = 'spent', refresh_token = 'spent',"
        " expires_at = now() RETURNING account"
    )
    await held_back(ledger, settings, WRONG)
    async with a_session(ledger, settings) as client:
        assert await client.brands(IYS_CODE)


async def test_corrected_password_wakes_what_waited_for_it(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings
):
    """Streams pause for a quarter of an hour, and so do the account's suspensions: both end."""
    harness.become(USERNAME, "test")
    await harness.suspend("token", scope="account", account=USERNAME)
    topic = InMemoryTopic()
    async with a_session(ledger, settings, WRONG) as client:
        harness.context = replace(harness.context, client=client)
        assert await harness.puller(topic).pull_next()
        assert await harness.puller(topic).pull_next()
    assert not await harness.puller(topic).pull_next()
    async with a_session(ledger, settings) as client:
        harness.context = replace(harness.context, client=client)
        assert await harness.puller(topic).pull_next()
        assert await harness.puller(topic).pull_next()
    (one,) = await harness.suspensions()
    assert one.recheck_at is not None
    assert one.recheck_at <= harness.clock()


async def test_retry_tries_the_same_password_at_once(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings, izin: Izin
):
    """Where the account was corrected at İYS, a person says so; nothing else is suspended."""
    await held_back(ledger, settings, WRONG)
    harness.iys.post("accounts", username=USERNAME, password=WRONG, iysCode=IYS_CODE)
    async with a_session(ledger, settings, WRONG) as client:
        with pytest.raises(TokenLimitError):
            await client.brands(IYS_CODE)
    shown = await izin("brands", "retry", BRAND, "--by", "ada")
    assert shown.exit_code == 0, shown.output
    async with a_session(ledger, settings, WRONG) as client:
        assert await client.brands(IYS_CODE)


async def test_doctor_asks_for_a_token_itself(
    ledger: Ledger,
    harness: SinkHarness,
    settings: IysSettings,
    monkeypatch: pytest.MonkeyPatch,
):
    """İYS answers a call without a token as ever; the doctor says what one with a token gets."""
    given = {"BASE_URL": settings.base_url, "USERNAME": USERNAME, "PASSWORD": WRONG}
    for name, value in (given | {"EGRESS_ADDRESS": "test"}).items():
        monkeypatch.setenv(f"IYS_{name}", value)
    first = await token_finding(ledger)
    await refused(ledger, settings, WRONG, times=3)
    held = await token_finding(ledger)
    assert (first.state, held.state) == (CheckState.WRONG, CheckState.WRONG)
    assert "IYS_PASSWORD" in first.what
    assert "is IYS_PASSWORD right?" in held.what
    monkeypatch.setenv("IYS_PASSWORD", PASSWORD)
    assert (await token_finding(ledger)).state is CheckState.OK
    calls = harness.iys.calls("token")
    assert (await token_finding(ledger)).state is CheckState.OK
    assert harness.iys.calls("token") == calls, "a token that is there is used"


async def test_neither_password_nor_retry_ends_the_silence_iys_asks_for(
    ledger: Ledger, harness: SinkHarness, settings: IysSettings, izin: Izin
):
    """A call within the hour after H084 would restart the hour."""
    harness.iys.inject_fault("token", status=429, code="H084")
    await refused(ledger, settings, WRONG, times=1)
    before = harness.iys.calls("token")
    await izin("brands", "retry", BRAND, "--by", "ada")
    await refused(ledger, settings, PASSWORD, times=1)
    assert harness.iys.calls("token") == before


async def test_ledger_never_has_the_password_or_a_whole_digest(ledger: Ledger):
    """Two bytes tell another password from the last one, and fit one in 65,536 of all."""
    settings = IysSettings(username=USERNAME, password=SecretStr(PASSWORD))
    other = settings.model_copy(update={"password": SecretStr(WRONG)})
    store = LedgerTokenStore.of(ledger, settings)
    assert len(store.digest) == 2
    assert store.digest == LedgerTokenStore.of(ledger, settings).digest
    assert store.digest != LedgerTokenStore.of(ledger, other).digest
    async with store.lease() as lease:
        await lease.store(replace(lease.state, failures=3))
    assert (await store.read()).failures == 3
    assert (await LedgerTokenStore.of(ledger, other).read()).failures == 0
