"""Customers and API keys in the ledger: row, record and entry, together or not at all."""

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from izin.ledger import brands
from izin.ledger.db import Ledger, statements
from izin.ledger.record import (
    EndedKeyError,
    ForeignBrandError,
    LedgerFaultError,
    TakenNameError,
    TopicMessages,
    UnknownCustomerError,
    UnknownKeyError,
)
from izin.ledger.registry import api_keys, customers
from izin.schemas.api_keys import ApiKey, new_api_key
from izin.schemas.codec import Codec
from izin.schemas.topics import Topics
from tests.integration.sinks.sink_harness import ACTIVE
from tests.support.builders import (
    API_KEY,
    BRAND,
    CUSTOMER,
    KEY_ID,
    NOON,
    SECRET_HASH,
    a_second_key,
    an_api_key,
)
from tests.support.registration import register_brand

pytestmark = pytest.mark.database
CODEC = Codec()
MESSAGES = TopicMessages(CODEC, Topics())
GRACE = timedelta(hours=24)
KEY = an_api_key(brands=frozenset({BRAND}), channels=frozenset({"MESAJ"}))


@pytest.fixture
async def registered(ledger: Ledger) -> Ledger:
    """Return a ledger with a customer and its brand."""
    await register_brand(ledger, MESSAGES, ACTIVE, now=NOON)
    return ledger


async def published(ledger: Ledger) -> list[ApiKey]:
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
    assert await published(registered) == [KEY]
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


async def test_key_that_cannot_be_published_is_not_stored(registered: Ledger) -> None:
    """Neither row nor entry is left without the record."""

    class Failing(TopicMessages):
        def api_key(self, *_: object) -> Any:  # noqa: ANN401 - none
            raise ValueError("no record")

    failing = Failing(CODEC, Topics())
    with pytest.raises(ValueError, match="no record"):
        await api_keys.create(registered, failing, KEY, by="ada", now=NOON)
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
    assert await published(registered) == []


async def test_name_is_taken_until_its_key_is_revoked(registered: Ledger) -> None:
    """The name is the actor of events: two machines do not share it."""
    await create(registered)
    _, second = a_second_key(name="shop")
    with pytest.raises(TakenNameError, match="izin keys rotate shop"):
        await create(registered, second)
    await revoke(registered)
    await create(registered, second)
    assert [one.id for one in await published(registered)] == [KEY_ID, KEY_ID, second.id]


async def test_rotated_key_has_a_successor_and_a_grace(registered: Ledger) -> None:
    """The new one may do the same, under the next id of the family; both are published."""
    await create(registered)
    old, new = await rotate(registered)
    later = NOON + GRACE
    assert old == replace(KEY, expires_at=later + GRACE)
    assert new == replace(KEY, id=KEY.next_id, secret_hash=new.secret_hash, created_at=later)
    assert new.secret_hash != KEY.secret_hash
    assert await published(registered) == [KEY, old, new]
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
    assert await published(registered) == [KEY, revoked]
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
    assert (await published(registered))[2:] == [replace(KEY, revoked_at=NOON), narrowed]
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
