"""An egress address off İYS's list is found, and its brands are served from the others."""

import json
from dataclasses import replace
from datetime import timedelta

import pytest

from izin.cli.doctor.faults import of_addresses
from izin.iys.exchange import NO_ANSWER
from izin.iys.rate_limit import Pace
from izin.ledger import egress
from izin.ledger.db import Ledger
from izin.ledger.rate_limits import LedgerPacer, addresses
from izin.ledger.record import LeaseOwner
from izin.ledger.sweep import sweeps
from izin.sinks.outbound.egress import EgressWatch
from tests.integration.sinks.sink_harness import ACTIVE, Izin, SinkHarness, ended, ret
from tests.support.builders import BRAND

pytestmark = pytest.mark.database
HERE, THERE = "test", "two"
"""The address of the harness, and another."""


async def step(harness: SinkHarness) -> None:
    """Look once, as each process does."""
    await EgressWatch(context=harness.context).step()


async def pass_by(ledger: Ledger, seconds: float) -> None:
    """Let so many seconds pass since each address was answered, or was not."""
    await ledger.execute(
        "UPDATE rate_limits SET answer_since = answer_since - %(past)s,"
        " answer_at = answer_at - %(past)s",
        {"past": timedelta(seconds=seconds)},
    )


async def delisted(ledger: Ledger) -> list[str]:
    """Return the addresses that are taken for delisted."""
    return [one.address for one in await addresses(ledger) if one.delisted_at is not None]


async def test_brands_of_a_forbidden_address_are_served_from_another(
    harness: SinkHarness, izin: Izin, capsys: pytest.CaptureFixture[str]
):
    """An opt-out of a brand that is bound to it reaches İYS; the address is found to be back."""
    await harness.brand(replace(ACTIVE, egress_address=HERE))
    harness.become(address=HERE)
    await harness.register_onay()
    await harness.ingest(ret())
    harness.iys.post("settings", removedClient="forbidden")
    harness.iys.post("clients", client="127.0.0.1", isRemoved=True)
    await harness.opt_out()
    await step(harness)
    assert await delisted(harness.ledger) == []
    assert await sweeps.start_after_gap(harness.ledger, BRAND, now=harness.clock())
    await harness.ledger.execute(
        "UPDATE sweeps SET error = '403', retry_at = now() + interval '15 minutes'"
    )
    await pass_by(harness.ledger, 20)
    await step(harness)
    assert await delisted(harness.ledger) == [HERE]
    (sweep,) = await harness.ledger.fetch("SELECT retry_at FROM sweeps")
    assert sweep["retry_at"] is None, "it waits, and could go on from another address"
    assert capsys.readouterr().out.count("address delisted") == 1
    (shown,) = json.loads(ended(await izin("iys", "limits", "--output", "json"), 1).stdout)
    assert shown["delisted_at"] is not None
    (finding,) = of_addresses(await addresses(harness.ledger))
    assert "have İYS put it on its list again" in finding.what
    calls = harness.iys.requests()["operations"]
    harness.advance(timedelta(hours=1))
    assert not await harness.opt_out()
    assert harness.iys.requests()["operations"] == calls, "it went on calling"
    harness.become(address=THERE)
    harness.iys.post("clients", client="127.0.0.1")
    assert await harness.opt_out()
    assert harness.iys.movements()[-1] == "RET"
    harness.become(address=HERE)
    await step(harness)
    assert await delisted(harness.ledger) == []
    assert harness.context.lease_owner.addresses == [HERE]


@pytest.mark.parametrize(
    ("ours", "ours_for", "theirs", "theirs_for", "is_delisted"),
    [
        (NO_ANSWER, 20, "200", 20, True),
        (NO_ANSWER, 20, "H175", 20, True),
        (NO_ANSWER, 20, NO_ANSWER, 20, False),
        (NO_ANSWER, 20, "403", 20, False),
        (NO_ANSWER, 20, "200", 10, False),
        (NO_ANSWER, 20, None, 0, False),
        (NO_ANSWER, 10, "200", 20, False),
        ("403", 20, None, 0, True),
        ("403", 20, NO_ANSWER, 20, True),
        ("403", 10, "200", 20, False),
        ("H353", 20, "200", 20, False),
        ("500", 20, "200", 20, False),
    ],
)
async def test_silence_counts_only_while_another_is_answered(  # noqa: PLR0917  # of both
    ledger: Ledger,
    ours: str,
    ours_for: float,
    theirs: str | None,
    theirs_for: float,
    is_delisted: bool,
):
    """A 403 without a code counts by itself; neither does at once, and no other answer."""
    pacers = {code: LedgerPacer(ledger, Pace(), address=code) for code in (HERE, THERE)}
    for pacer in pacers.values():
        await pacer.begin()

    async def answered(address: str, code: str | None, seconds: float) -> None:
        """Have the calls of an address end with ``code``, for so many seconds until now."""
        if code is None:
            return
        for _ in range(2):
            pacers[address].answered("status", code, failed=False)
            await pacers[address].flush()
        await ledger.execute(
            "UPDATE rate_limits SET answer_since = answer_since - %(past)s"
            " WHERE egress_address = %(address)s",
            {"past": timedelta(seconds=seconds), "address": address},
        )

    await answered(HERE, ours, ours_for)
    await answered(THERE, theirs, theirs_for)
    owner = LeaseOwner(owner="7", lease=timedelta(60), call_within=timedelta(5), address=THERE)
    await egress.refresh(ledger, owner)
    assert (HERE in await delisted(ledger)) is is_delisted
    assert (HERE in owner.addresses) is is_delisted


@pytest.mark.parametrize(
    ("address", "off", "served"),
    [
        (HERE, (), {None, HERE}),
        (HERE, (THERE,), {None, HERE, THERE}),
        (HERE, (HERE,), set()),
        (HERE, (HERE, THERE), set()),
    ],
)
async def test_brands_are_served_alike_in_sql_and_here(
    harness: SinkHarness, address: str, off: tuple[str, ...], served: set[str | None]
):
    """A process whose own address is off the list serves none; of another account, none either."""
    owner = LeaseOwner(
        owner="7",
        lease=timedelta(60),
        call_within=timedelta(5),
        account="ada",
        address=address,
        delisted=set(off),
    )
    some = [(account, bound) for account in (None, "ada", "bob") for bound in (None, HERE, THERE)]
    for code, (account, bound) in enumerate(some, BRAND + 1):
        made = replace(ACTIVE, brand_code=code, account=account, egress_address=bound)
        brand = await harness.brand(made)
        expected = bound in served and account != "bob"
        assert brand.is_served_by(owner.account, owner.addresses) is expected, (account, bound)
        (row,) = await harness.ledger.fetch(
            "SELECT coalesce(is_served_by(b, %(account)s, %(addresses)s::text[]), false) AS found"
            " FROM brands AS b WHERE b.brand_code = %(code)s",
            {**owner.who, "code": code},
        )
        assert row["found"] is expected, (account, bound)
