"""Forty customers with a hundred brands, a whole installation: nobody gets what is another's.

No command and no route shows it, nor events, records and questions that name another customer. Of
them, webhooks are in ``tests/unit/webhooks``, rows of the ledger in ``test_ownership``.
"""

import asyncio
import math
import re
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import httpx
import pytest

from izin.cli.customers import offboarding
from izin.cli.terminal import exit_codes, output
from izin.consent import Channel
from izin.kafka.bounded_reader import read_all
from izin.local import free_port
from izin.schemas.codec import Codec
from izin.schemas.may_send_api import PATH
from izin.sinks.ingest.ingested_topics import IngestContext
from tests.integration.sinks.inbound.test_push import Worker, url_of
from tests.integration.sinks.ingest.test_receipts import read_to_end
from tests.integration.sinks.sink_harness import (
    Izin,
    SinkHarness,
    set_environment,
)
from tests.support.builders import API_KEY, AUTHORIZATION, BRAND, CUSTOMER, a_second_key
from tests.support.customers import cuts, installation
from tests.support.customers.cuts import FOREIGN, ORDERING, READING, ROUTES, CutRunner, traces
from tests.support.customers.installation import (
    BRANDS,
    FOREIGN_BRAND,
    FOREIGN_CUSTOMER,
    FOREIGN_RECIPIENT,
    OWN_BRANDS,
    Installation,
    of_others,
)

pytestmark = [pytest.mark.broker, pytest.mark.database]

_WIDE = 400
"""Columns of a terminal on which no line is broken, so that words are found."""


@pytest.fixture
async def installed(
    with_topics: SinkHarness, izin: Izin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Installation:
    """Give an installation of forty customers, which ``izin`` finds by the environment."""
    brands = await installation.fill_ledger(with_topics)
    await installation.fill_days(with_topics, brands)
    await with_topics.ingest(*(one.event() for one in of_others(brands)))
    await asyncio.to_thread(installation.fill_topics, with_topics.settings, brands)
    await installation.note_ingested(with_topics)
    installation.fill_simulator(with_topics.iys, brands)
    found = Installation(harness=with_topics, brands=brands)
    found.places |= installation.fill_files(tmp_path)
    found.places |= await installation.names(with_topics, brands)
    set_environment(monkeypatch, found.environment)
    monkeypatch.setattr(exit_codes, "_NUMBERS", ())  # signals come to the main thread alone
    for console in (output.out, output.err):
        monkeypatch.setattr(console, "_width", _WIDE)
    return found


@pytest.fixture
def worker(installed: Installation, monkeypatch: pytest.MonkeyPatch) -> Worker:
    """Give our receiver of İYS's pushes, which the settings of commands name."""
    one = Worker(installed.harness, free_port(), cuts.PUSH_PASSWORD)
    installed.places["push_url"] = url_of(one.port)
    given = {
        "IZIN_PUSH_URL": url_of(one.port),
        "IZIN_PUSH_USERNAME": "iys",
        "IZIN_PUSH_PASSWORD": cuts.PUSH_PASSWORD,
        "IZIN_PUSH_OLD_PASSWORD": cuts.PUSH_PASSWORD,
    }
    set_environment(monkeypatch, given)
    return one


@pytest.fixture
async def served(
    installed: Installation, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Mapping[str, str]]:
    """Serve the endpoints, of which commands ask the gate; yield the URL of each listener."""
    async with cuts.every(installed, worker) as urls:
        monkeypatch.setenv("IZIN_GATE_URL", urls["gate"])
        # Nobody takes webhooks there: that is an answer too.
        installed.places["hook"] = f"{urls['feeds']}/hook"
        await worker.register(Channel.MESAJ)
        yield urls


async def test_no_command_or_route_shows_what_is_anothers(
    installed: Installation,
    served: Mapping[str, str],
    izin: Izin,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Every route, asked with the API key of one customer; every command that can, as a table and
    as JSON, and what it writes. Where a command is asked for another's, it refuses.
    """
    # No order worker takes what stands on the lanes here.
    monkeypatch.setattr(offboarding, "await_ingested", AsyncMock())
    monkeypatch.setattr("izin.reconcile.comparing._BEHIND_FOR", timedelta(0))
    monkeypatch.setattr("izin.cli.doctor.faults.DECIDED_WITHIN", timedelta(seconds=1))
    # How much was read of what all have is no figure of a customer, and printed where it is slow.
    monkeypatch.setattr(output, "_EVERY", math.inf)
    # The traps close: without a customer the same commands show everybody's, and count it.
    every = {one.group() for one in FOREIGN.finditer((await izin("iys", "counts")).stdout)}
    assert len(every) == BRANDS - len(OWN_BRANDS)
    assert traces("100 keys") == ["100"]
    files = {
        "plan": "plan.json",
        "requeue": "requeue.json",
        "archive": "archive",
        "zip": "acme.zip",
    }
    files |= {"evidence": "evidence.zip", "parked_evidence": "parked.zip"}
    installed.places |= {name: tmp_path / file for name, file in files.items()}
    found = await faults_of_routes(served)
    runner = CutRunner(izin=izin, places=installed.places, folder=tmp_path)
    for name, cut in READING.items():
        found += await runner.faults(name, cut, also_json=True)
    for name, cut in ORDERING.items():
        found += await runner.faults(name, cut)
    assert not found, "\n\n".join(found)


async def faults_of_routes(urls: Mapping[str, str]) -> list[str]:
    """Return what is wrong with the responses to a customer's API key."""
    found: list[str] = []
    given = (str(FOREIGN_BRAND), FOREIGN_RECIPIENT)
    async with httpx.AsyncClient(headers=AUTHORIZATION, trust_env=False) as client:
        for ask in (one for asks in ROUTES.values() for one in asks):
            method, url = "GET" if ask.body is None else "POST", f"{urls[ask.server]}{ask.path}"
            response = await client.request(method, url, json=ask.body)
            is_right = response.status_code == ask.status and ask.shows in response.text
            text = response.text.replace(f'"status":{ask.status}', "")
            shown = [*traces(text, given), *traces(str(response.headers), counts=False)]
            if shown or not is_right:
                found.append(f"{ask}: {shown}: {response.status_code} {text[:2000]}")
    return found


OURS = re.compile(r"acme|İkinci|(?<!\d)10000[12](?!\d)|\+9055510\d{5}|\*{3}19", re.IGNORECASE)
"""Ids, names, brand codes and recipients of ``acme``, but for the recipient of every brand."""
KEYS = {CUSTOMER: API_KEY, FOREIGN_CUSTOMER: a_second_key()[0]}


def foreign(customer: str, text: str, given: Sequence[str] = ()) -> list[str]:
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
        FOREIGN_CUSTOMER: (BRAND, str(installed.places["parked"])),
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
                assert foreign(customer, response.text, given) == []
                answered += 1
            record = {"recipient": recipient, "type": "MESAJ", "status": "RET", "brand_code": brand}
            refused = await client.post(f"{served['intake']}/v1/consents", json=record)
            assert refused.status_code == 403
            assert foreign(customer, refused.text, given) == []
            for feed in ("opt-outs", "permissions", "outcomes"):
                text = await _all_of(client, f"{served['feeds']}/v1/{feed}")
                assert foreign(customer, text) == []
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


async def _all_of(client: httpx.AsyncClient, url: str) -> str:
    """Return all pages of a feed."""
    texts, after = [], ""
    while True:
        response = await client.get(url, params={"wait": 0} | ({"after": after} if after else {}))
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
    await read_to_end(context, count)
