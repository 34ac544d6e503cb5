"""Append facts to the history: each once, linked to the one before, in the month of its recording.

A transaction appends its facts to one chain, whichever no other transaction has locked.

Each change that a person orders is an act: an entry with its actor, whose key is what it
concerns: a consent's own key, or one of the names below.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from izin.consent import ConsentKey
from izin.ledger.db import Connection, copy, copy_format, fetch, fetch_one, statements
from izin.ledger.history.hash_chain import ChainWriter, Fact
from izin.schemas.erasure import SuppressionKeys

REPEATED_WITHIN = timedelta(days=100)
"""How long a fact may be repeated: topics are retained for 90 days, İYS's streams for 7."""
_SQL = statements("history")
KIND = "act"
ERASED = "erase history"
"""What an act is called that names the rows of the history that were erased."""
DROPPED = "drop month"
"""What an act is called that names the last rows of the chains in a month that was dropped."""
RESTORED = "restore history"
"""What an act is called that names what the restoration of a ledger has lost."""
NO_CUSTOMER = ""
"""The customer of acts that concern the history of all customers."""
EVERYBODY = "person/all"
"""The key of looks at recipients of every brand."""
UNNAMED = "person/unnamed"
"""The key of looks at somebody for whom there is no digest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryEntry:
    """A fact of a key's history. ``source`` names its origin and makes it unique."""

    kind: str
    customer_id: str
    key: str
    event_id: str | None = None
    status: str | None = None
    source: str
    occurred_at: datetime
    data: Mapping[str, Any]
    may_repeat: bool = False
    """Whether the source can repeat it. If not, the history is not searched for it."""


async def append(
    connection: Connection,
    entries: Sequence[HistoryEntry],
    *,
    now: datetime,
    facts: Sequence[Fact] = (),
) -> datetime:
    """Record ``facts``, which are known to be new, and ``history``, of which a repetition of a
    known source changes nothing; return the instant of their recording.
    """
    return await append_facts(
        connection, [*facts, *map(_fact, await _fresh(connection, entries, now))], now=now
    )


async def append_facts(connection: Connection, facts: Sequence[Fact], *, now: datetime) -> datetime:
    """Record ``facts``, which are known to be new; return the instant of their recording."""
    if not facts:
        return now
    chain = await fetch_one(connection, _SQL["free-chain"])
    if chain is None:
        chain = await fetch_one(connection, _SQL["any-chain"])
    if chain is None:
        raise LookupError("the ledger has no chains")
    recorded_at = now if chain["recorded_at"] is None else max(now, chain["recorded_at"])
    month = recorded_at.astimezone(UTC).date().replace(day=1)
    values: dict[str, Any] = {"month": month}
    if await fetch_one(connection, _SQL["has-month"], values) is None:
        await connection.execute(_SQL["create-month"], values)
    writer = ChainWriter(chain["shard"], chain["place"], chain["link"], recorded_at)
    await copy(connection, _SQL["copy"], writer.rows(facts))
    values = {
        "shard": writer.shard,
        "place": writer.place,
        "link": writer.link,
        "recorded_at": recorded_at,
    }
    await connection.execute(_SQL["save-head"], values)
    return recorded_at


async def _fresh(
    connection: Connection, entries: Sequence[HistoryEntry], now: datetime
) -> list[HistoryEntry]:
    """Return ``history`` without those whose source is recorded already."""
    repeatable = [entry for entry in entries if entry.may_repeat]
    if not repeatable:
        return list(entries)
    values = {
        "keys": [one.key for one in repeatable],
        "sources": [one.source for one in repeatable],
        "since": now - REPEATED_WITHIN,
    }
    known = {row["source"] for row in (await fetch(connection, _SQL["known"], values))}
    fresh = []
    for one in entries:
        if one.may_repeat:
            if one.source in known:
                continue
            known.add(one.source)
        fresh.append(one)
    return fresh


def _fact(one: HistoryEntry) -> Fact:
    return Fact(
        one.kind,
        one.customer_id,
        one.key,
        one.event_id,
        one.status,
        one.source,
        copy_format.microseconds(one.occurred_at),
        orjson.dumps(one.data),
        None,
    )


def brand_key(brand_code: int) -> str:
    """Return the key of acts on a brand."""
    return f"brand/{brand_code}"


def customer_key(customer_id: str) -> str:
    """Return the key of acts on everything of a customer."""
    return f"customer/{customer_id}"


def erasure_key(number: int) -> str:
    """Return the key of acts on an erasure, which names nobody."""
    return f"erasure/{number}"


def api_key_key(key_id: str) -> str:
    """Return the key of acts on an API key."""
    return f"api-key/{key_id}"


def subscriber_key(number: int) -> str:
    """Return the key of acts on a subscriber."""
    return f"subscriber/{number}"


def sweep_key(number: int) -> str:
    """Return the key of what a sweep found, page by page, which names nobody."""
    return f"sweep/{number}"


def complaint_key(number: int) -> str:
    """Return the key of acts on a complaint, which names nobody."""
    return f"complaint/{number}"


def rebuild_key(target: str) -> str:
    """Return the key of acts that rebuild the ``target`` whole."""
    return f"rebuild/{target}"


def act(  # noqa: PLR0913 - who did what to what, when, and whose it is
    what: str,
    key: str,
    *,
    by: str,
    now: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    customer_id: str = NO_CUSTOMER,
    event_id: str | None = None,
    status: str | None = None,
) -> HistoryEntry:
    """Return the entry of what a person did: ``before`` and ``after`` are what it changed."""
    return HistoryEntry(
        kind=KIND,
        customer_id=customer_id,
        key=key,
        event_id=event_id,
        status=status,
        source=f"act/{what}/{key}/{now.isoformat()}",
        occurred_at=now,
        data={"act": what, "by": by, "before": dict(before), "after": dict(after)},
    )


async def record_act(  # noqa: PLR0913  # who did what to what, when, and whose it is
    connection: Connection,
    what: str,
    key: str,
    *,
    by: str,
    now: datetime,
    before: Mapping[str, Any],
    after: Mapping[str, Any],
    customer_id: str = NO_CUSTOMER,
) -> None:
    """Append what a person did to the history, within the transaction that does it; see ``act``."""
    await append(
        connection,
        [act(what, key, by=by, now=now, before=before, after=after, customer_id=customer_id)],
        now=now,
    )


def people_keys(people: Iterable[str], digests: SuppressionKeys) -> list[str]:
    """Return the keys of looks at ``people``, recipients or canonical keys: keyed digests of them,
    for a look at somebody of whom nothing is known must not keep that recipient for ten years.
    """
    return sorted({digests.people(one)[0] for one in people}) if digests else [UNNAMED]


def looks(
    keys: Iterable[str], command: str, *, by: str, now: datetime, customer_id: str = NO_CUSTOMER
) -> list[HistoryEntry]:
    """Return the entries of a look at people by a ``command``, once for each of ``keys``."""
    after = {"command": command}
    return [
        act("look", key, by=by, now=now, before={}, after=after, customer_id=customer_id)
        for key in keys
    ]


RECEIPT = "receipt"
_ASKED = ("message_class", "campaign", "retailer_code", "asked_by", "as_of")
"""What was asked, the same for every recipient of a request."""


def receipt_key(receipt_id: str) -> str:
    """Return the key of the entry of a whole request."""
    return f"receipt/{receipt_id}"


def entries_of(receipt: Mapping[str, Any]) -> Iterator[HistoryEntry]:
    """Yield the entries of ``receipt``, an Avro GateReceipt, of the customer that it names.

    The answer for a recipient is an entry of its key. What was asked as a whole, a list or the
    recipients of one request, is an entry of the receipt's own key, which names nobody, so that it
    is found by its id. Each has a source of its own: a receipt that is read again is recorded once.

    Raises:
        UnreadableKeyError: it names a recipient, but no key.
    """
    yield _entry(receipt, receipt_key(receipt["receipt_id"]), _request(receipt))
    if receipt["index"] is not None:
        yield _entry(receipt, *_answer(receipt))


def _entry(receipt: Mapping[str, Any], key: str, data: Mapping[str, Any]) -> HistoryEntry:
    place = "" if "index" not in data else f"/{data['index']}"
    return HistoryEntry(
        kind=RECEIPT,
        customer_id=receipt["customer_id"],
        key=key,
        source=f"{receipt_key(receipt['receipt_id'])}{place}",
        occurred_at=receipt["asked_at"],
        data={**{name: receipt[name] for name in _ASKED}, **data},
        may_repeat=True,
    )


def _request(receipt: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a whole request.

    What could lead to one recipient stays with its answer, which can be erased: the sender's basis,
    and the digest, for whoever guesses the only recipient could test it.
    """
    is_list = receipt["index"] is None
    is_of_many = is_list and receipt["recipients"] > 1
    names = ("brand_code", "type", "recipient_type", "recipients", "reasons")
    return {
        **{name: receipt[name] for name in names},
        "receipt": "list" if is_list else "decision",
        "basis": receipt["basis"] if is_of_many else None,
        "digest": receipt["digest"] if is_of_many else None,
    }


def _answer(receipt: Mapping[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return the key and the content of the answer for one recipient; one without a valid address
    has no key, and what it has beside that of the request could not be erased.
    """
    data = {name: receipt[name] for name in ("index", "may_send", "reason", "basis")}
    if receipt["recipient"] is None:
        return receipt_key(receipt["receipt_id"]), {**data, "basis": None}
    parts = (receipt[name] for name in ("brand_code", "type", "recipient_type", "recipient"))
    key = ConsentKey.parse("/".join(map(str, parts)))
    return str(key), {**data, "receipt_id": receipt["receipt_id"]}
