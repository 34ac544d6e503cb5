"""Register what a local stack works with: one customer, its brands, and a key for its HTTP."""

from collections.abc import Sequence
from datetime import UTC, datetime

from izin.console.local_stack.settings import CUSTOMER, ExampleBrand
from izin.local import LocalError
from izin.schemas.api_keys import ApiKey, Scope, presented
from izin.sinks.ledger import brands as registry
from izin.sinks.ledger.db.connection import Ledger
from izin.sinks.ledger.registry import api_keys, customers
from izin.sinks.record.messages import TopicMessages

_BY = "izin up"
_KEY = "local"


async def register(
    ledger: Ledger, messages: TopicMessages, brands: Sequence[ExampleBrand], api_key: str
) -> None:
    """Register what is not registered; an operator may have changed what is.

    Raises:
        LocalError: ``api_key`` has not the form of a key.
    """
    now = datetime.now(UTC)
    if CUSTOMER not in {one.customer_id for one in await customers.every(ledger)}:
        await customers.add(ledger, CUSTOMER, "Acme", by=_BY, now=now)
    known = {one.brand_code for one in await registry.every(ledger)}
    for brand in brands:
        if brand.brand_code not in known:
            await registry.upsert(ledger, messages, brand.in_ledger(now), by=_BY, now=now)
    given = presented(api_key)
    if given is None:
        raise LocalError(
            "the record of this stack has no API key; name another folder with --state-dir"
        )
    if given.id not in {one.id for one in await api_keys.every(ledger)}:
        key = ApiKey(
            id=given.id,
            name=_KEY,
            secret_hash=given.secret_hash,
            scopes=frozenset({Scope.PUBLISH.value, Scope.SUBSCRIBE.value, Scope.ASK.value}),
            customers=frozenset({CUSTOMER}),
            created_at=now,
        )
        await api_keys.create(ledger, messages, key, by=_BY, now=now)
