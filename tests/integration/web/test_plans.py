"""The plans of the statements that screens run: none reads a table whole that grows with messages.

The ledger is small, so PostgreSQL is set to avoid scans; where it scans all the same, it has no
index. ``make bench ONLY=console`` looks at the plans of a large ledger.
"""

import asyncio
from pathlib import Path

import pytest

from izin.ledger.db import Ledger
from izin.runtime.settings import KafkaSettings, LedgerSettings
from tests.support.console import console_over
from tests.support.console.data import ADMIN
from tests.support.console.plans import Statement, recorded, scans
from tests.support.console.reachable import pages_of, unreached
from tests.support.console.site import filled

NOT_LINKED = {"/live", "/imports/{id}", "/imports/{id}/live", "/months/file"}
"""Routes that no link and no form of ``reachable`` leads to: what a page loads, and pages of what
somebody has uploaded, or had made, first.
"""

HELD_AT_SIZE = "-- The keys of recipients,"
"""A statement for which PostgreSQL hashes a history of a few rows: with many its plan is held by
``tests/integration/ledger/test_query_plans.py``.
"""


@pytest.mark.broker
@pytest.mark.database
async def test_no_screen_reads_a_growing_table_whole(
    ledger: Ledger, ledger_settings: LedgerSettings, kafka_settings: KafkaSettings, tmp_path: Path
):
    """Of every page that a link or a form leads to, over a ledger with something for each."""
    url = ledger_settings.database_url.get_secret_value()
    await asyncio.to_thread(filled, url, kafka_settings, tmp_path)
    async with ledger.session() as connection:
        await connection.execute("ANALYZE")
    found = {}
    async with console_over(ledger, kafka=kafka_settings) as console:
        browser = await console.signed_in(name=ADMIN)
        requests = await pages_of(browser)
        for one in requests:
            with recorded() as statements:
                answer = await one.ask(browser)
            assert answer.is_success, (one.name, answer.status_code)
            found[one.name] = {
                text: read
                for text, read in scans(url, statements).items()
                if not text.startswith(HELD_AT_SIZE)
            }
    assert {name: read for name, read in found.items() if read} == {}
    assert unreached(requests) == NOT_LINKED


@pytest.mark.database
@pytest.mark.parametrize(
    ("text", "is_whole"),
    [
        ("SELECT count(*) FROM consents WHERE recipient = %(one)s", True),
        ("SELECT key FROM consents ORDER BY key", True),
        ("SELECT key FROM consents ORDER BY key LIMIT 5", False),
        ("SELECT recipient FROM consents WHERE key = %(one)s", False),
        ("SELECT count(*) FROM consents WHERE state = 'parked'", False),
        ("SELECT count(*) FROM brands", False),
        ("NOTIFY somebody", False),
    ],
)
async def test_reading_of_a_whole_table_is_found(ledger_url: str, text: str, is_whole: bool):
    """By a scan, and by an index of all rows; not by one of some rows, nor under a limit."""
    found = scans(ledger_url, [Statement(text, {"one": "x"} if "%" in text else None)])
    assert bool(found) is is_whole
