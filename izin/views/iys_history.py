"""İYS's own history of recipients beside ours: İYS is asked, the answer is kept, and each
difference is named.

Asking changes nothing of what is known: an opt-out that is found so comes by push and pull as any
other, or by a sweep, which is what a difference of the last movement asks for.
"""

from collections.abc import Collection, Iterable, Mapping
from typing import Any, Final

from izin.consent import Channel, RecipientType
from izin.evidence import collection
from izin.evidence.iys_history import (
    ANSWERS,
    ASKED,
    ONLY_AT_IYS,
    ONLY_HERE,
    OTHERWISE,
    STANDING,
)
from izin.evidence.verification import history_at_iys
from izin.iys.client import IysClient
from izin.ledger import brands
from izin.ledger.db import Ledger
from izin.ledger.history import record_act
from izin.ledger.record import ConsentRow
from izin.views.sentences import turkish

COLUMNS: Final = {
    "creation_date": "recorded at İYS (Turkey)",
    "status": "status",
    "source": "source",
    "consent_date": "of",
    "transaction_id": "transaction",
    "entries": "ours",
}
_DIFFERENCES: Mapping[str, str] = {
    ONLY_AT_IYS: "İYS alone has {said}: it is older than ours, or pull does not show it yet (an "
    "hour), or it was missed",
    ONLY_HERE: "we alone have {said}: İYS's history does not show it",
    OTHERWISE: "İYS's {said} has another date or source here",
    STANDING: "İYS's last movement is {said}, and was taken to be {held}: izin iys sweep start "
    "--brand {brand} --execute asks İYS anew",
}


async def ask(ledger: Ledger, client: IysClient, rows: Iterable[ConsentRow], *, by: str) -> None:
    """Ask İYS for its own history of the keys of ``rows``, one call each, and keep each answer in
    ours as soon as it is there.

    Raises:
        UnregisteredBrandError: the brand of a key is not registered.
        ThrottledError: the hundred histories of the hour are spent (H089).
        CallError: İYS does not answer, or has no such right; what it answered is kept.
    """
    for row in rows:
        brand = await brands.registered_brand(ledger, row.brand_code)
        pages = await client.register.history(
            brand.path, Channel(row.channel), RecipientType(row.recipient_type), row.recipient
        )
        async with ledger.transaction() as connection:
            await record_act(
                connection,
                ASKED,
                row.key,
                by=by,
                now=ledger.clock.now(),
                before={},
                after={ANSWERS: list(pages)},
                customer_id=row.customer_id,
            )


async def found(ledger: Ledger, keys: Collection[str]) -> dict[str, dict[str, Any]]:
    """Return by key İYS's own history of it beside ours, as an archive of evidence has it; of keys
    about which İYS was asked.
    """
    every = (await collection.facts_of(ledger, keys)).items()
    return {key: one for key, facts in every if (one := history_at_iys(key, facts)) is not None}


def rows(history: Mapping[str, Any]) -> list[tuple[str, ...]]:
    """Return a row under ``COLUMNS`` for each movement that İYS has."""
    return [
        (
            turkish(one["creation_date"]),
            one["status"],
            one["source"] or "",
            turkish(one["consent_date"]),
            one["transaction_id"],
            ", ".join(f"{place['shard']}/{place['place']}" for place in one["entries"]) or "none",
        )
        for one in history["movements"]
    ]


def differences(key: str, history: Mapping[str, Any]) -> Iterable[str]:
    """Yield a sentence for each difference of İYS's own history of ``key`` from ours."""
    if not history["is_readable"]:
        yield "İYS's answer in our history cannot be read: it was altered (izin ledger verify)"
    for one in history["differences"]:
        said = f"{one['status']} {one['source'] or ''}".strip()
        at = turkish(one["creation_date"])
        yield _DIFFERENCES[one["what"]].format(
            said=f"{said} of {at}" if at else said,
            held=history["held"],
            brand=key.partition("/")[0],
        )
