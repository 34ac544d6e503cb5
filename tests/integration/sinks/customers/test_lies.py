"""Events, records and questions that name another customer: nobody gets what is another's.

What routes and commands show of them to one customer, ``test_offboarding`` has: the installation
is full of lies; rows of the ledger, ``test_ownership``; webhooks, ``tests/unit/webhooks``. Here are
feeds and receipts, for both customers.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import pytest

from izin.kafka.bounded_reader import read_all
from izin.schemas.codec import Codec
from izin.schemas.may_send_api import PATH
from izin.sinks.ingest.ingested_topics import ReceiptReader
from izin.sinks.ingest.topic_reader import IngestContext
from tests.integration.sinks.ingest.test_receipts import step_to_end
from tests.support.builders import API_KEY, BRAND, CUSTOMER, a_second_key
from tests.support.customers import installation
from tests.support.customers.cuts import traces
from tests.support.customers.installation import (
    FOREIGN_BRAND,
    FOREIGN_CUSTOMER,
    FOREIGN_RECIPIENT,
    Installation,
)

pytestmark = [pytest.mark.database, pytest.mark.broker]

OURS = re.compile(r"acme|İkinci|(?<!\d)10000[12](?!\d)|\+9055510\d{5}|\*{3}19", re.IGNORECASE)
"""Ids, names, brand codes and recipients of ``acme``, but for the recipient of every brand."""
KEYS = {CUSTOMER: API_KEY, FOREIGN_CUSTOMER: a_second_key()[0]}


def of_others(customer: str, text: str, given: Sequence[str] = ()) -> list[str]:
    """Return what ``text`` has that is not the customer's."""
    if customer == CUSTOMER:
        return traces(text, given, counts=False)
    for one in given:
        text = text.replace(one, "")
    return [one.group() for one in OURS.finditer(text)]


async def test_questions_about_another_brand_leave_no_trace_there(
    installed: Installation, served: Mapping[str, str]
) -> None:
    """Each key asks about the other's brand and recipient, with receipts, and reads every feed:
    no answer, receipt or row of the history has anything of the other.
    """
    asked = {
        CUSTOMER: (FOREIGN_BRAND, FOREIGN_RECIPIENT),
        FOREIGN_CUSTOMER: (BRAND, _parked(installed)),
    }
    installation.publish(installed.kafka, installation.lies(installed.brands))
    answered = 0
    for customer, (brand, recipient) in asked.items():
        headers = {"Authorization": f"Bearer {KEYS[customer]}"}
        given = (str(brand), recipient)
        async with httpx.AsyncClient(headers=headers, trust_env=False, timeout=60) as client:
            for kind in ("list", "decision"):
                question = {
                    "brand_code": brand,
                    "type": "MESAJ",
                    "recipients": [recipient],
                    "receipt": kind,
                    "campaign": f"campaign of {customer}",
                }
                response = await client.post(f"{served['gate']}{PATH}", json=question)
                assert '"reason":"unknown"' in response.text
                assert of_others(customer, response.text, given) == []
                answered += 1
            record = {"recipient": recipient, "type": "MESAJ", "status": "RET", "brand_code": brand}
            refused = await client.post(f"{served['intake']}/v1/consents", json=record)
            assert refused.status_code == 403
            assert of_others(customer, refused.text, given) == []
            for feed in ("opt-outs", "permissions", "outcomes"):
                text = await _all_of(client, f"{served['feeds']}/v1/{feed}")
                assert of_others(customer, text) == []
                assert f'"customer_id":"{customer}"' in text
    await _ingest_receipts(installed, answered)
    receipts = read_all(installed.kafka, Codec(), installed.kafka.topics.gate_receipts)
    assert len(list(receipts)) == answered
    rows = await installed.harness.ledger.fetch(
        "SELECT customer_id, key, data::text AS data FROM history WHERE data->>'campaign' LIKE"
        " 'campaign of %%'"
    )
    assert {row["customer_id"] for row in rows} == asked.keys()
    for row in rows:
        assert row["data"].count(f"campaign of {row['customer_id']}") == 1
        brand, recipient = asked[row["customer_id"]]
        assert recipient not in f"{row['key']} {row['data']}"


def _parked(installed: Installation) -> str:
    return str(installed.places["parked"])


async def _all_of(client: httpx.AsyncClient, url: str) -> str:
    """Return all pages of a feed."""
    texts, after = [], ""
    while True:
        response = await client.get(url, params={"after": after} if after else {})
        assert response.status_code == 200, response.text
        page: Any = response.json()
        texts.append(response.text)
        after = page["next"]
        if page["complete"] and not page["items"]:
            return "".join(texts)


async def _ingest_receipts(installed: Installation, count: int) -> None:
    harness = installed.harness
    context = IngestContext(
        ledger=harness.ledger,
        topic_messages=harness.context.topic_messages,
        codec=Codec(),
        settings=installed.kafka,
        clock=harness.clock,
    )
    reader = await ReceiptReader.open(context, installed.kafka.topics.gate_receipts.name)
    try:
        await step_to_end(reader, count)
    finally:
        await reader.close()
