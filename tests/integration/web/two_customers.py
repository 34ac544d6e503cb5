"""Two customers with a brand each, of which an account may see one, and what the history has."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import httpx

from izin.ledger.db import Ledger
from izin.ledger.record import Brand
from tests.support.console import ConsoleHarness
from tests.support.registration import register_brand

ACME = Brand(
    brand_code=100001,
    iys_code=200001,
    customer_id="acme",
    name="Örnek",
    activated_at=datetime(2020, 1, 1, tzinfo=UTC),
)
BETA = Brand(brand_code=100002, iys_code=200002, customer_id="beta", name="Deneme")
REFUSED = "This is not among what your account may see or do."


async def register_both(console: ConsoleHarness) -> None:
    """Register the customers with their brands."""
    for brand in (ACME, BETA):
        messages = console.console.topic_messages
        await register_brand(console.ledger, messages, brand, now=console.clock())


async def acts(ledger: Ledger) -> list[Mapping[str, Any]]:
    """Return the acts of the history, in order."""
    rows = await ledger.fetch(
        "SELECT data FROM history WHERE kind = 'act' ORDER BY recorded_at, place", {}
    )
    return [row["data"] for row in rows]


def hidden_field(page: httpx.Response, name: str) -> str:
    """Return the value of a hidden field of a page."""
    return page.text.split(f'name="{name}" value="')[1].split('"')[0]
