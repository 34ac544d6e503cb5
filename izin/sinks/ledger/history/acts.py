"""What people do: each change that a person orders is a movement of the history, with its actor.

The key of such a movement is what it concerns: a consent's own key, or one of the names below.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from izin.sinks.ledger.db.connection import Connection
from izin.sinks.ledger.history.append import Movement, append

KIND = "act"
ERASED = "erase history"
"""What an act is called that names the rows of the history that were erased."""
DROPPED = "drop month"
"""What an act is called that names the last rows of the chains in a month that was dropped."""
RESTORED = "restore history"
"""What an act is called that names what the restoration of a ledger has lost."""
NO_CUSTOMER = ""
"""The customer of acts that concern the history of all customers."""


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
) -> Movement:
    """Return the movement of what a person did: ``before`` and ``after`` are what it changed."""
    return Movement(
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
    done = act(what, key, by=by, now=now, before=before, after=after, customer_id=customer_id)
    await append(connection, [done], now=now)
