"""The brand registry: who tells a brand, from where, and what İYS shows of its subscription."""

from dataclasses import replace
from datetime import timedelta

import pytest
from pydantic import SecretStr

from izin.sinks.inbound.push import BrandDirectory, Credentials, PushRegistrar
from izin.sinks.ledger import brands
from izin.sinks.monitor.subscriptions import SubscriptionMonitor
from tests.integration.sinks.sink_harness import (
    ACTIVE,
    IYS_CODE,
    PASSWORD,
    USERNAME,
    House,
    onay,
    ret,
)
from tests.support.builders import PHONE

pytestmark = pytest.mark.database


def as_told_by(house: House, account: str, address: str) -> None:
    """Have the house's sinks be those of an account, behind an address."""
    lease_owner = replace(house.tools.lease_owner, account=account, address=address)
    house.tools = replace(house.tools, lease_owner=lease_owner)


@pytest.mark.parametrize(("account", "address"), [("bob", None), (None, "192.0.2.2")])
async def test_a_brand_is_told_by_its_own_account_and_from_its_own_address(
    house: House, account: str | None, address: str | None
):
    """Whoever is another passes it over: opt-outs, consents, results and questions alike."""
    as_told_by(house, "ada", "192.0.2.1")
    await house.told_onay(PHONE)
    await house.ingest(ret(PHONE))
    await house.brand(replace(ACTIVE, account=account, egress_address=address))
    assert not await house.scheduler.opt_out()
    as_told_by(house, account or "ada", address or "192.0.2.1")
    assert await house.scheduler.opt_out()
    assert house.twin.register() == {PHONE: "RET"}


async def test_only_whoever_told_a_batch_asks_for_its_results(house: House):
    """İYS shows another account nothing of it."""
    await house.brand(replace(ACTIVE, account="ada"))
    as_told_by(house, "ada", "")
    await house.ingest(onay(PHONE))
    assert await house.scheduler.bulk()
    house.results_are_due()
    as_told_by(house, "bob", "")
    assert not await house.poller.settle()
    as_told_by(house, "ada", "")
    assert await house.poller.settle()


async def test_what_was_lost_is_taken_up_by_its_own_account(house: House):
    """Another could neither ask nor say it again."""
    await house.brand(replace(ACTIVE, account="ada"))
    as_told_by(house, "ada", "")
    await house.ingest(onay(PHONE))
    house.twin.weather("batchV2", drop="after")
    assert await house.scheduler.bulk()
    as_told_by(house, "bob", "")
    assert not await house.recovery().recover()
    as_told_by(house, "ada", "")
    assert await house.recovery().recover()


async def test_an_account_and_an_address_stay_until_they_are_named_anew(house: House):
    """Left out, they stay; empty, they are any again."""
    await house.brand(replace(ACTIVE, account="ada", egress_address="192.0.2.1"))
    kept = await house.brand(ACTIVE)
    assert (kept.account, kept.egress_address) == ("ada", "192.0.2.1")
    freed = await house.brand(replace(ACTIVE, account="", egress_address=""))
    assert (freed.account, freed.egress_address) == (None, None)


async def test_the_subscription_is_asked_once_a_day_and_kept(house: House):
    """What İYS shows stands in the registry, with the instant of asking."""
    surveyor = SubscriptionMonitor(tools=house.tools)
    assert await surveyor.survey() == {}
    assert await surveyor.survey() == {}
    assert house.twin.calls("subscription") == 1
    (brand,) = await brands.every(house.ledger)
    assert (brand.subscription, brand.queried_at is None) == ("ACTIVE", False)
    house.passes(timedelta(days=1, seconds=1))
    house.twin.order(
        "accounts", username=USERNAME, password=PASSWORD, iysCode=IYS_CODE, subscription="PAUSED"
    )
    await surveyor.survey()
    (brand,) = await brands.every(house.ledger)
    assert brand.subscription == "PAUSED"


async def test_a_subscription_that_cannot_be_had_is_asked_for_again(house: House):
    """İYS's failure is told, and what was known stays."""
    house.twin.weather("subscription", status=500, code="H015")
    surveyor = SubscriptionMonitor(tools=house.tools)
    assert list(await surveyor.survey()) == [IYS_CODE]
    assert await surveyor.survey() == {}
    (brand,) = await brands.every(house.ledger)
    assert brand.subscription == "ACTIVE"


async def test_push_is_registered_by_who_tells_the_brand_and_a_refusal_waits(house: House):
    """Another account would be refused for ever, and each refusal counts against its address."""
    as_told_by(house, "ada", "")
    await house.brand(replace(ACTIVE, account="bob"))
    registrar = PushRegistrar(
        tools=house.tools,
        directory=BrandDirectory(house.ledger),
        url="http://127.0.0.1:1/iys/push",
        credentials=Credentials(username="iys", password=SecretStr("fake")),
        only=None,
    )
    await registrar.look()
    assert house.twin.calls("pushList") == 0
    await house.brand(replace(ACTIVE, account="ada"))
    house.twin.weather("pushList", status=403, code="H521", times=1)
    await registrar.look()
    await registrar.look()
    assert house.twin.calls("pushList") == 1
    house.passes(timedelta(minutes=15))
    house.twin.weather("pushList", status=503, times=1)
    await registrar.look()
    house.passes(timedelta(minutes=1))
    house.twin.weather("pushRegister", status=403, code="H521", times=1)
    await registrar.look()
    assert house.twin.calls("pushRegister") == 1
    assert house.twin.calls("pushList") == 3
