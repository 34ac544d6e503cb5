"""The brand registry: the account and address of a brand, and its subscription at İYS."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from izin.sinks.inbound.push import BrandCache, Credentials, PushRegistrations
from izin.sinks.inbound.push_connections import PushConnections, PushRegistrar
from izin.sinks.ledger import brands
from izin.sinks.monitor.accounts import refresh_subscriptions
from tests.integration.sinks.sink_harness import A_SECOND, ACTIVE, RESULT_DELAY, SinkHarness, onay
from tests.support.builders import PHONE
from tests.support.simulator import IYS_CODE, PASSWORD, USERNAME

pytestmark = pytest.mark.database


@pytest.mark.parametrize(("account", "address"), [("bob", None), (None, "192.0.2.2")])
async def test_opt_out_is_submitted_by_account_and_address_of_its_brand(
    harness: SinkHarness, account: str | None, address: str | None
):
    """Workers of other accounts and addresses leave it."""
    harness.become("ada", "192.0.2.1")
    await harness.ingest_opt_out()
    await harness.brand(replace(ACTIVE, account=account, egress_address=address))
    assert not await harness.opt_out()
    harness.become(account or "ada", address or "192.0.2.1")
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


async def test_batch_results_are_polled_by_account_that_submitted(harness: SinkHarness):
    """İYS shows another account nothing of a batch."""
    await harness.brand(replace(ACTIVE, account="ada"))
    harness.become("ada", "")
    await harness.ingest(onay())
    assert await harness.bulk()
    harness.advance(RESULT_DELAY + A_SECOND)
    harness.become("bob", "")
    assert not await harness.poller.settle()
    harness.become("ada", "")
    assert await harness.poller.settle()


async def test_lost_batch_is_recovered_by_account_that_submitted(harness: SinkHarness):
    """Another account could neither query nor repeat it."""
    await harness.brand(replace(ACTIVE, account="ada"))
    harness.become("ada", "")
    await harness.ingest(onay())
    await harness.lose_batch("after")
    harness.become("bob", "")
    assert not await harness.recover()
    harness.become("ada", "")
    assert await harness.recover()


async def test_upsert_keeps_account_and_address_unless_given(harness: SinkHarness):
    """An empty value removes them."""
    await harness.brand(replace(ACTIVE, account="ada", egress_address="192.0.2.1"))
    kept = await harness.brand(ACTIVE)
    assert (kept.account, kept.egress_address) == ("ada", "192.0.2.1")
    freed = await harness.brand(replace(ACTIVE, account="", egress_address=""))
    assert (freed.account, freed.egress_address) == (None, None)


async def test_subscription_is_read_once_a_day_and_stored(harness: SinkHarness):
    """The registry has what İYS shows, and the instant of the query."""
    assert await refresh_subscriptions(harness.context) == {}
    assert await refresh_subscriptions(harness.context) == {}
    assert harness.iys.calls("subscription") == 1
    (brand,) = await brands.every(harness.ledger)
    assert (brand.subscription, brand.queried_at is None) == ("ACTIVE", False)
    harness.advance(timedelta(days=1, seconds=1))
    harness.iys.post(
        "accounts", username=USERNAME, password=PASSWORD, iysCode=IYS_CODE, subscription="PAUSED"
    )
    await refresh_subscriptions(harness.context)
    (brand,) = await brands.every(harness.ledger)
    assert brand.subscription == "PAUSED"


async def test_failed_subscription_query_is_repeated(harness: SinkHarness):
    """The failure is returned, and what was known stays."""
    harness.iys.inject_fault("subscription", status=500, code="H015")
    assert list(await refresh_subscriptions(harness.context)) == [IYS_CODE]
    assert await refresh_subscriptions(harness.context) == {}
    (brand,) = await brands.every(harness.ledger)
    assert brand.subscription == "ACTIVE"


async def test_push_is_registered_by_account_of_brand_and_waits_if_refused(harness: SinkHarness):
    """Each refusal counts against the address."""
    harness.become("ada", "")
    await harness.brand(replace(ACTIVE, account="bob"))
    registrar = PushRegistrar(
        context=harness.context,
        brands=BrandCache(harness.ledger),
        connections=PushConnections(
            client=harness.context.client,
            registrations=PushRegistrations(
                ledger=harness.ledger, url="http://127.0.0.1:1/iys/push"
            ),
            credentials=Credentials(username="iys", password=SecretStr("fake")),
            clock=harness.clock,
        ),
        only=None,
    )
    await registrar.register_due()
    assert harness.iys.calls("pushList") == 0
    await harness.brand(replace(ACTIVE, account="ada"))
    harness.iys.inject_fault("pushList", status=403, code="H521", times=1)
    await registrar.register_due()
    await registrar.register_due()
    assert harness.iys.calls("pushList") == 1
    harness.advance(timedelta(minutes=15))
    harness.iys.inject_fault("pushList", status=503, times=1)
    await registrar.register_due()
    harness.advance(timedelta(minutes=1))
    harness.iys.inject_fault("pushRegister", status=403, code="H521", times=3)
    await registrar.register_due()
    await registrar.register_due()
    assert harness.iys.calls("pushRegister") == 3
    assert harness.iys.calls("pushList") == 3
