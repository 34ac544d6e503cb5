"""The brand registry: the account and address of a brand, and its subscription at İYS.

Retailers of a consent: submitted with it, or parked with a remedy, never dropped.
Terms are counted again once the calendar is right, and what it voided by mistake is due.
Customers and API keys: row, record and entry, together or not at all.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from unittest.mock import Mock

import pytest

from izin.consent import SYNTHETIC_BRAND, TURKEY, Calendar, SourceError
from izin.ledger import brands, reads, retailers
from izin.ledger.db import Ledger, statements
from izin.ledger.record import (
    EndedKeyError,
    ForeignBrandError,
    IllegalChangeError,
    LedgerFaultError,
    TakenNameError,
    TopicMessages,
    UnknownCustomerError,
    UnknownKeyError,
)
from izin.ledger.registry import api_keys, customers
from izin.ledger.registry.rule_again import CountedTerms, TermsAgain
from izin.schemas.api_keys import ApiKey, new_api_key
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from izin.sinks.monitor.accounts import refresh_subscriptions
from tests.integration.sinks.inbound.test_push import Worker
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    Izin,
    SinkHarness,
    a_phone,
    ended,
    onay,
    ret,
)
from tests.support.builders import (
    API_KEY,
    BRAND,
    CUSTOMER,
    KEY_ID,
    NOON,
    PHONE,
    SECRET_HASH,
    a_key,
    a_second_key,
    an_api_key,
)
from tests.support.registration import register_brand
from tests.support.simulator import IYS_CODE, PASSWORD, USERNAME

pytestmark = pytest.mark.database
ONE, OTHER = 10_000_001, 10_000_002
EXPIRED, PENDING, PARKED, OPT_OUT, DONE = map(a_phone, range(1, 6))


@pytest.mark.parametrize(("account", "address"), [("bob", None), (None, "192.0.2.2")])
async def test_opt_out_is_submitted_by_account_and_address_of_its_brand(
    harness: SinkHarness, account: str | None, address: str | None
):
    """Workers of other accounts and addresses leave it."""
    harness.become(account="ada", address="192.0.2.1")
    await harness.ingest_opt_out()
    await harness.brand(replace(ACTIVE, account=account, egress_address=address))
    assert not await harness.opt_out()
    harness.become(account=account or "ada", address=address or "192.0.2.1")
    assert await harness.opt_out()
    assert harness.iys.register() == {PHONE: "RET"}


async def test_nobody_registers_the_brand_of_synthetic_opt_outs(harness: SinkHarness):
    """It is refused with the reason; who writes it into the table is refused by the database."""
    with pytest.raises(SourceError, match="reserved for synthetic opt-outs"):
        await harness.brand(replace(ACTIVE, brand_code=SYNTHETIC_BRAND))
    await harness.brand(ACTIVE)
    with pytest.raises(LedgerFaultError, match="brands_not_synthetic"):
        await harness.ledger.execute("UPDATE brands SET brand_code = 2147483647")


async def test_upsert_keeps_account_and_address_unless_given(harness: SinkHarness):
    """An empty value removes them."""
    await harness.brand(replace(ACTIVE, account="ada", egress_address="192.0.2.1"))
    kept = await harness.brand(ACTIVE)
    assert (kept.account, kept.egress_address) == ("ada", "192.0.2.1")
    freed = await harness.brand(replace(ACTIVE, account="", egress_address=""))
    assert (freed.account, freed.egress_address) == (None, None)


async def test_subscription_is_read_once_a_day_and_stored(harness: SinkHarness):
    """The registry has what İYS shows, and the instant of the query. A failure is returned, and the
    query is repeated.
    """
    harness.iys.inject_fault("subscription", status=500, code="H015")
    assert list(await refresh_subscriptions(harness.context)) == [IYS_CODE]
    for _ in range(2):
        assert await refresh_subscriptions(harness.context) == {}
    assert harness.iys.calls("subscription") == 2
    (brand,) = await brands.every(harness.ledger)
    assert (brand.subscription, brand.queried_at is None) == ("ACTIVE", False)
    harness.advance(timedelta(days=1, seconds=1))
    account = {"username": USERNAME, "password": PASSWORD, "iysCode": IYS_CODE}
    harness.iys.post("accounts", **account, subscription="PAUSED")
    await refresh_subscriptions(harness.context)
    (brand,) = await brands.every(harness.ledger)
    assert brand.subscription == "PAUSED"


async def test_push_is_registered_by_account_of_brand_and_waits_if_refused(harness: SinkHarness):
    """Each refusal counts against the address."""
    harness.become(account="ada", address="")
    await harness.brand(replace(ACTIVE, account="bob"))
    await Worker(harness, 1, "fake").registrar.register_due()
    assert harness.iys.calls("pushList") == 0
    await harness.brand(replace(ACTIVE, account="ada"))
    registrar = Worker(harness, 1, "fake").registrar
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
    assert harness.iys.calls("pushRegister") == harness.iys.calls("pushList") == 3


async def differences(harness: SinkHarness) -> list[tuple[object, object]]:
    """Return the registered and the desired retailers, where they differ."""
    found = await retailers.differences(harness.ledger, BRAND)
    return [(one.registered_access, one.desired_access) for one in found]


async def register(harness: SinkHarness, *access: int, **more: object) -> None:
    """Register an opt-in with these retailers at İYS."""
    harness.iys.brand(retailers=[ONE, OTHER])
    await harness.register(onay(minutes=60, retailer_access=access or None, **more))


@pytest.mark.parametrize(
    "accesses",
    [[(ONE,)], [(OTHER,), (ONE,)], [None]],
    ids=["registered with the consent", "registered ones again", "none"],
)
async def test_retailers_that_iys_holds_are_no_difference(
    harness: SinkHarness, accesses: list[tuple[int, ...] | None]
):
    """İYS saved them with the consent, and keeps them where an event names none: nothing is left
    for a person.
    """
    await register(harness, ONE)
    assert await differences(harness) == []
    for number, access in enumerate(accesses):
        await harness.ingest(onay(minutes=30 - number, retailer_access=access))
    assert (await harness.row()).state == "not_needed"
    assert await differences(harness) == []


@pytest.mark.parametrize("is_lost", [False, True])
async def test_batch_is_settled_by_account_that_submitted(harness: SinkHarness, is_lost: bool):
    """İYS shows another account nothing of it, which could neither query nor repeat it."""
    await harness.brand(replace(ACTIVE, account="ada"))
    harness.become(account="ada", address="")
    await harness.ingest(onay())
    await (harness.lose_batch(drop="after") if is_lost else harness.bulk())
    harness.become(account="bob", address="")
    assert not await (harness.recover() if is_lost else harness.settle())
    harness.become(account="ada", address="")
    assert await (harness.recover() if is_lost else harness.poller.settle())


async def test_changed_retailers_of_registered_consent_are_parked(harness: SinkHarness):
    """The consent is settled, its retailers wait until a person requeues them. Nothing is published
    for what is merely desired; then the list alone, with the answer.
    """
    await register(harness, ONE)
    await harness.ingest(onay(minutes=30, retailer_access=(OTHER, ONE)))
    assert await harness.columns("state", "may_send") == ("not_needed", True)
    assert (await published(harness))[1:] == [("registered", f"{ONE}")]
    assert not await harness.bulk()
    assert await differences(harness) == [([ONE], [ONE, OTHER])]
    (parked,) = await reads.parked(harness.ledger)
    assert (parked.reason, parked.keys) == (retailers.DIFFERENCE, 1)
    assert (await reads.lag(harness.ledger, now=harness.clock())).parked == 1
    assert await harness.requeue(retailers.DIFFERENCE) == 1
    assert await differences(harness) == []
    assert await reads.parked(harness.ledger) == ()
    assert (await published(harness))[2:] == [("registered", REGISTERED)]
    before, last = (await harness.outbox("%permissions", "Permission"))[-2:]
    assert (last["may_send"], last["previous_may_send"]) == (True, True)
    assert last["since"] == before["since"]
    facts = (await reads.history(harness.ledger, PHONE)).facts
    act = [one for one in facts if one.kind == "act"][-1]
    assert act.data["before"]["retailer_access"] == [ONE]
    assert (act.data["after"]["retailer_access"], act.data["by"]) == ([ONE, OTHER], "ada")
    assert await harness.requeue(retailers.DIFFERENCE) == 0
    await harness.brand()
    assert len(await published(harness)) == 3, "nothing has changed since"


async def test_retailers_of_consent_of_other_writer_are_a_difference(harness: SinkHarness):
    """None was submitted by us, so the retailer of the event is a difference."""
    await register(harness)
    await harness.ingest(onay(minutes=30, retailer_code=ONE))
    (found,) = await retailers.differences(harness.ledger, BRAND)
    assert (found.registered_code, found.desired_code, found.desired_access) == (None, ONE, None)


async def test_opt_out_ends_the_difference_of_retailers(harness: SinkHarness):
    """A later consent carries its own retailers."""
    await register(harness, ONE)
    await harness.ingest(onay(minutes=30, retailer_access=(OTHER,)))
    await harness.submit_opt_out(ret(minutes=20))
    assert await differences(harness) == []
    await harness.register(onay(minutes=10, retailer_access=(OTHER,)))
    assert await differences(harness) == []


async def published(harness: SinkHarness, recipient: str = PHONE) -> list[tuple[str, str | None]]:
    """Return the reason and the retailers of a recipient's permissions in the outbox, in order."""
    found = await harness.outbox("%permissions", "Permission")
    return [(one["reason"], one["retailers"]) for one in found if one["recipient"] == recipient]


REGISTERED = f"{ONE},{OTHER}"


async def test_permission_has_the_retailers_that_iys_holds(harness: SinkHarness):
    """The one that collected the consent and those with access; none before, none after."""
    await register(harness, OTHER, ONE, retailer_code=OTHER)
    assert await published(harness) == [("awaiting-iys", None), ("registered", REGISTERED)]
    await harness.submit_opt_out(ret(minutes=20))
    assert (await published(harness))[2:] == [("opted-out", None)]


async def test_permission_in_bulk_has_no_retailers(harness: SinkHarness):
    """Consents of a batch without retailers are settled in bulk, beside one with some."""
    harness.iys.brand(retailers=[ONE])
    others = [onay(a_phone(number), minutes=60) for number in range(2, 6)]
    await harness.register(onay(minutes=60, retailer_access=(ONE,)), *others)
    assert (await published(harness))[-1] == ("registered", f"{ONE}")
    for one in others:
        assert (await published(harness, one.recipient))[-1] == ("registered", None)


async def test_consent_given_anew_begins_without_retailers(harness: SinkHarness):
    """Both entries come in one page of a pull: İYS does not hold the former access any more."""
    await register(harness, ONE)
    harness.citizen("RET", then=A_SECOND)
    harness.iys.citizen("ONAY")
    await harness.pull()
    assert (await harness.row()).registered == "ONAY"
    assert (await published(harness))[-1] == ("registered", None)
    assert await harness.ledger.fetch("SELECT FROM retailer_access") == []


def calendar(harness: SinkHarness, days: range) -> Calendar:
    """Return the calendar in which so many days from today are closed."""
    today = harness.clock().astimezone(TURKEY).date()
    return Calendar(extra_closed_days=frozenset(today + timedelta(days=one) for one in days))


async def count_again(harness: SinkHarness, *, is_dry_run: bool = False) -> CountedTerms:
    """Count the terms of our brand by the calendar of the ledger."""
    order = TermsAgain(
        ledger=harness.ledger,
        topic_messages=harness.context.topic_messages,
        by="ada",
        now=harness.clock(),
        is_dry_run=is_dry_run,
    )
    (counted,) = await order.run(await brands.every(harness.ledger))
    return counted


@pytest.fixture
async def late(harness: SinkHarness) -> SinkHarness:
    """Give sinks behind the term of five records: one is registered, one is parked, one expired."""
    await harness.register(onay(DONE))
    await harness.ingest(*[onay(EXPIRED), onay(PENDING), onay(PARKED), ret(OPT_OUT)])
    due = (await harness.row(EXPIRED)).expires_at
    assert due is not None
    harness.advance(due - harness.clock() + A_SECOND)
    await harness.ledger.fetch(
        "UPDATE consents SET state = 'parked', action = 'nothing', reason = 'unknown-code'"
        " WHERE recipient = %(recipient)s RETURNING key",
        {"recipient": PARKED},
    )
    await harness.ledger.fetch(
        "UPDATE consents SET expires_at = NULL WHERE recipient = %(recipient)s RETURNING key",
        {"recipient": PENDING},
    )
    assert await harness.scheduler.expire()
    assert await harness.states_of([EXPIRED, PENDING]) == ["expired", "pending"]
    return harness


async def test_expired_consent_is_due_again_by_a_longer_term(late: SinkHarness):
    """It is submitted as any other; what is parked stays so, with its new term; what İYS has taken
    is left alone; and the history has who ordered it, for the consent and the brand. Once more it
    changes nothing, so a run that was cut off is run again; by the old calendar it expires.
    """
    before = await late.row(DONE)
    late.ledger.calendar = calendar(late, range(-3, 3))
    expected = await count_again(late, is_dry_run=True)
    assert (await late.row(EXPIRED)).state == "expired"
    counted = await count_again(late)
    assert counted == expected
    assert (counted.records, counted.later, counted.extended, counted.expired) == (4, 4, 1, 0)
    row = await late.row(EXPIRED)
    assert (row.state, row.action, row.permission_reason) == ("pending", "send", "awaiting-iys")
    assert row.expires_at is not None
    assert row.expires_at > late.clock()
    assert await late.columns("state", "expires_at", recipient=PARKED) == ("parked", row.expires_at)
    assert await late.row(DONE) == before
    acts = await reads.facts(late.ledger, [str(a_key(recipient=EXPIRED)), f"brand/{BRAND}"])
    named = [(one.data["act"], one.data["by"]) for one in acts if one.kind == "act"]
    assert named[-2:] == [("extend term", "ada"), ("count terms again", "ada")]
    again = await count_again(late)
    assert (again.extended, again.later, again.sooner, again.expired) == (0, 0, 0, 0)
    late.ledger.calendar = Calendar()
    assert (await count_again(late)).expired == 2  # the other one waited
    assert await late.states_of([EXPIRED, PENDING, OPT_OUT]) == ["expired", "expired", "pending"]


async def test_expired_consent_that_would_be_parked_is_parked(late: SinkHarness):
    """Due again, it is ruled as any other: over a citizen's opt-out a person must attest it."""
    await late.ledger.fetch(
        "UPDATE consents SET registered = 'RET', registered_source = 'IYS_WEB',"
        " verified_at = now(), registered_at = desired_at - interval '1 day'"
        " WHERE state = 'expired' RETURNING key"
    )
    late.ledger.calendar = calendar(late, range(-3, 3))
    await count_again(late)
    assert await late.columns("state", "reason", recipient=EXPIRED) == ("parked", "reconsent")


async def test_command_does_it_and_the_database_nothing_else(
    late: SinkHarness, izin: Izin, monkeypatch: pytest.MonkeyPatch
):
    """Days are those of the environment. Whatever code does, nothing comes back that İYS refused as
    late, or whose term ends no later than it did.
    """
    for reason, end in (
        ("refused-as-late", "expires_at + interval '1 day'"),
        ("term-ended", "expires_at"),
        ("term-ended", "expires_at - interval '1 second'"),
    ):
        await late.ledger.fetch(
            "UPDATE consents SET reason = %(reason)s WHERE state = 'expired' RETURNING key",
            {"reason": reason},
        )
        with pytest.raises(IllegalChangeError, match="expired to pending"):
            await late.ledger.fetch(
                f"UPDATE consents SET state = 'pending', expires_at = {end}"  # above
                " WHERE state = 'expired' RETURNING key"
            )
    days = sorted(map(str, calendar(late, range(-3, 3)).extra_closed_days))
    monkeypatch.setenv("IZIN_EXTRA_CLOSED_DAYS", json.dumps(days))
    order, would = ("deadlines", "recount-terms"), "nothing is changed: add --execute"
    ended(await izin(*order, f"--brand={BRAND}"), 0, would, days[0])
    assert (await late.row(EXPIRED)).state == "expired"
    ended(await izin(*order, "--brand=7", "--execute"), 3)
    ended(await izin(*order, "--execute"), 0, "terms are counted again")
    assert (await late.row(EXPIRED)).state == "pending"


CODEC = Codec()
MESSAGES = TopicMessages(CODEC, Topics())
GRACE = timedelta(hours=24)
KEY = an_api_key(brands=frozenset({BRAND}), channels=frozenset({"MESAJ"}))


@pytest.fixture
async def registered(ledger: Ledger) -> Ledger:
    """Return a ledger with a customer and its brand."""
    await register_brand(ledger, MESSAGES, ACTIVE, now=NOON)
    return ledger


async def published_keys(ledger: Ledger) -> list[ApiKey]:
    """Return the records in the outbox for the topic of keys, in order."""
    rows = await ledger.fetch("SELECT value FROM outbox WHERE topic = 'api-keys' ORDER BY id")
    return [ApiKey.of(CODEC.decode("ApiKey", row["value"])) for row in rows]


async def acts(ledger: Ledger) -> Sequence[dict[str, Any]]:
    """Return the acts on keys, in order."""
    return await ledger.fetch(
        "SELECT key, customer_id, data FROM history WHERE key LIKE 'api-key/%%' ORDER BY place"
    )


async def create(ledger: Ledger, key: ApiKey = KEY) -> None:
    await api_keys.create(ledger, MESSAGES, key, by="ada", now=NOON)


async def rotate(ledger: Ledger, key: ApiKey = KEY, **how: Any) -> tuple[ApiKey, ApiKey]:  # noqa: ANN401 - options
    _, secret_hash = new_api_key(key.next_id, lambda count: b"\2" * count)
    options = {"new_id": key.next_id, "grace": GRACE, "now": NOON + GRACE} | how
    return await api_keys.rotate(
        ledger, MESSAGES, key.name, secret_hash=secret_hash, by="ada", **options
    )


async def test_brand_of_an_unknown_customer_is_refused(ledger: Ledger) -> None:
    """With the remedy, and nothing is stored; the database refuses it too."""
    with pytest.raises(UnknownCustomerError, match="izin customers add acme --name"):
        await brands.upsert(ledger, MESSAGES, ACTIVE, by="ada", now=NOON)
    assert await brands.every(ledger) == ()
    assert await ledger.fetch("SELECT id FROM outbox") == []
    with pytest.raises(LedgerFaultError, match="brands_customer_id_fkey"):
        await ledger.fetch(
            "INSERT INTO brands (brand_code, iys_code, customer_id, name, updated_at)"
            " VALUES (1, 1, 'nobody', 'x', now()) RETURNING brand_code"
        )


async def test_created_key_is_stored_published_and_recorded(registered: Ledger) -> None:
    """In one transaction; the history has neither the secret nor its hash."""
    await create(registered)
    assert await api_keys.every(registered) == (KEY,)
    assert await published_keys(registered) == [KEY]
    (act,) = await acts(registered)
    assert (act["key"], act["customer_id"]) == (f"api-key/{KEY_ID}", CUSTOMER)
    assert act["data"] == {
        "act": "create API key",
        "by": "ada",
        "before": {},
        "after": {
            "name": "shop",
            "scopes": ["publish"],
            "customers": [CUSTOMER],
            "brands": [BRAND],
            "channels": ["MESAJ"],
            "expires_at": None,
        },
    }
    stored = str(await registered.fetch("SELECT history::text FROM history"))
    assert API_KEY.rpartition("_")[2] not in stored
    assert SECRET_HASH.hex() not in stored


async def test_key_that_cannot_be_published_is_not_stored(
    registered: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither row nor entry is left without the record."""
    monkeypatch.setattr(TopicMessages, "api_key", Mock(side_effect=ValueError("no record")))
    with pytest.raises(ValueError, match="no record"):
        await create(registered)
    assert await api_keys.every(registered) == ()
    assert await acts(registered) == []


async def test_key_for_what_is_not_registered_is_refused(registered: Ledger) -> None:
    """A customer nobody knows, a brand nobody knows, and a brand of another customer."""
    with pytest.raises(UnknownCustomerError, match="beta"):
        await create(registered, an_api_key(customers=frozenset({CUSTOMER, "beta"})))
    await customers.add(registered, "beta", "Beta", by="ada", now=NOON)
    for customer, brand in ((CUSTOMER, 7), ("beta", BRAND)):
        with pytest.raises(ForeignBrandError, match=rf"brand {brand} .*{customer}"):
            await create(
                registered,
                an_api_key(customers=frozenset({customer}), brands=frozenset({brand})),
            )
    assert await published_keys(registered) == []


async def test_name_is_taken_until_its_key_is_revoked(registered: Ledger) -> None:
    """The name is the actor of events: two machines do not share it."""
    await create(registered)
    _, second = a_second_key(name="shop")
    with pytest.raises(TakenNameError, match="izin keys rotate shop"):
        await create(registered, second)
    await revoke(registered)
    await create(registered, second)
    assert [one.id for one in await published_keys(registered)] == [KEY_ID, KEY_ID, second.id]


async def test_rotated_key_has_a_successor_and_a_grace(registered: Ledger) -> None:
    """The new one may do the same, under the next id of the family; both are published."""
    await create(registered)
    old, new = await rotate(registered)
    later = NOON + GRACE
    assert old == replace(KEY, expires_at=later + GRACE)
    assert new == replace(KEY, id=KEY.next_id, secret_hash=new.secret_hash, created_at=later)
    assert new.secret_hash != KEY.secret_hash
    assert await published_keys(registered) == [KEY, old, new]
    assert (await acts(registered))[-1]["data"]["before"] == {"id": KEY_ID, "expires_at": None}
    again, third = await rotate(registered, new)
    assert (again.id, third.id) == (new.id, new.next_id)


async def test_rotated_key_never_lives_longer_than_before(registered: Ledger) -> None:
    """A grace ends with the key's own expiry, and the successor has that too."""
    expiring = replace(KEY, expires_at=NOON + GRACE + timedelta(hours=1))
    await create(registered, expiring)
    old, new = await rotate(registered)
    assert old.expires_at == new.expires_at == expiring.expires_at
    with pytest.raises(EndedKeyError, match="izin keys revoke shop"):
        await rotate(registered, new, now=NOON + GRACE * 9)


async def test_rotation_after_another_changes_nothing(registered: Ledger) -> None:
    """Whose secret is for an id that is taken meanwhile was second; and nobody has no key."""
    await create(registered)
    await rotate(registered)
    with pytest.raises(UnknownKeyError):
        await rotate(registered)
    with pytest.raises(UnknownKeyError):
        await rotate(registered, an_api_key(name="nobody"))
    assert len(await api_keys.every(registered)) == 2


async def test_revoked_key_is_a_record_not_a_tombstone(registered: Ledger) -> None:
    """It has the instant; revoking again changes nothing."""
    await create(registered)
    revoked = replace(KEY, revoked_at=NOON + GRACE)
    assert [await revoke(registered, NOON + GRACE) for _ in range(2)] == [(revoked,), ()]
    assert await published_keys(registered) == [KEY, revoked]
    done = [one["data"]["act"] for one in await acts(registered)]
    assert done == ["create API key", "revoke API key"]


async def test_customer_is_taken_from_every_key_once(registered: Ledger) -> None:
    """A key of it alone ends, another goes on for the others, also after a restoration from an
    archive that is older. What was done to the latter is no one customer's.
    """
    await customers.add(registered, "beta", "Beta", by="ada", now=NOON)
    _, shared = a_second_key(customers=frozenset({CUSTOMER, "beta"}))
    for key in (KEY, shared):
        await create(registered, key)
    for _ in range(2):
        await api_keys.withdraw_customer(
            registered, MESSAGES, CUSTOMER, [BRAND], by="ada", now=NOON
        )
    narrowed = replace(shared, customers=frozenset({"beta"}))
    assert await api_keys.every(registered) == (narrowed, replace(KEY, revoked_at=NOON))
    assert (await published_keys(registered))[2:] == [replace(KEY, revoked_at=NOON), narrowed]
    *_, act = await acts(registered)
    assert len(await acts(registered)) == 4
    assert (act["data"]["act"], act["customer_id"]) == ("narrow API key", "")
    assert act["data"]["before"]["customers"] == [CUSTOMER, "beta"]
    assert act["data"]["after"]["customers"] == ["beta"]
    (older,) = await registered.fetch(
        "UPDATE api_keys SET customers = '{acme,beta}' WHERE name = 'crm' RETURNING *"
    )
    row = {**older, "customers": ["beta"], "secret_hash": f"\\x{older['secret_hash'].hex()}"}
    async with registered.transaction() as connection:
        values = {"rows": json.dumps([row], default=str)}
        await connection.execute(statements("archive")["load-api_keys"], values)
    assert narrowed in await api_keys.every(registered)


@pytest.mark.parametrize(
    "change",
    ["scopes = '{shred}'", "scopes = '{}'", "customers = '{}'", "channels = '{FAX}'", "name = ''"],
)
async def test_database_refuses_a_key_that_says_nothing(registered: Ledger, change: str) -> None:
    """What the contract has no word for is not stored."""
    await create(registered)
    with pytest.raises(LedgerFaultError, match="api_keys"):
        await registered.fetch(f"UPDATE api_keys SET {change} RETURNING id")


async def revoke(ledger: Ledger, at: datetime = NOON) -> Sequence[ApiKey]:
    """Revoke the key."""
    return await api_keys.revoke(ledger, MESSAGES, [KEY_ID], by="ada", now=at)
