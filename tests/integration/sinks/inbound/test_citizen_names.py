"""The name of a citizen, which İYS shows with his first consent, is kept nowhere."""

import json

import httpx
import pytest
from structlog.typing import EventDict

from izin.iys.client import IysClient
from izin.iys.wire_format.consents import MovementPage, Stream
from izin.iys.wire_format.json_reader import JsonReader
from izin.sinks.inbound.push import BrandCache
from tests.integration.sinks.inbound.test_hostile_movements import a_client
from tests.integration.sinks.sink_harness import (
    A_SECOND,
    ACTIVE,
    InMemoryTopic,
    SinkHarness,
    a_phone,
)
from tests.support.hostile.movements import a_movement

pytestmark = pytest.mark.database

NAME = "Örnek Soyadı"
TABLES = """SELECT relname AS name FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace
    WHERE relkind IN ('r', 'p') AND nspname = current_schema()"""


async def stored(harness: SinkHarness) -> str:
    """Return every row of the ledger as text."""
    texts = []
    for table in await harness.ledger.fetch(TABLES):
        rows = await harness.ledger.fetch(f"SELECT t::text AS row FROM {table['name']} AS t")  # type: ignore[arg-type]  # names of the catalogue
        texts += [row["row"] for row in rows]
    return "\n".join(texts)


def unreadable(number: int) -> dict[str, object]:
    """Return a movement with a name, once more within, that nobody can read."""
    item = {**a_movement(a_phone(number)), "citizenName": NAME, "more": [{"CitizenName": NAME}]}
    return {**item, "creationDate": "yesterday"}


async def test_name_of_a_citizen_is_neither_stored_nor_logged(
    harness: SinkHarness, logged: list[EventDict], monkeypatch: pytest.MonkeyPatch
):
    """In no topic, row or line of the log: by pull and by push, also where nobody can read it."""
    topic = InMemoryTopic()
    harness.iys.citizen("ONAY", a_phone(1), source="IYS_WEB_YENI", citizenName=NAME)
    harness.advance(A_SECOND * 2)
    puller = harness.puller(topic)
    await puller.pull_page(ACTIVE, Stream.IYS)

    async def changes(*_: object) -> MovementPage:
        return MovementPage.read(JsonReader({"after": "1", "list": [unreadable(3)]}))

    monkeypatch.setattr(IysClient, "changes", changes)
    await puller.pull_page(ACTIVE, Stream.IYS)
    items = [{**a_movement(a_phone(2)), "citizenName": NAME}, unreadable(4)]
    async with a_client(harness, BrandCache(harness.ledger), topic) as client:
        pushed = await client.post("/push", json={"list": items})
        broken = await client.post("/push", content=json.dumps({"list": items})[:-1].encode())
    assert (pushed.status_code, broken.status_code) == (httpx.codes.OK, httpx.codes.BAD_REQUEST)
    lost = harness.context.topic_messages.topics.dead_letters.name
    assert sorted(one.topic == lost for one in topic.messages) == [False, False, True, True]
    kept = [repr(one) + one.value.decode("utf-8", "replace") for one in topic.messages]
    logs = json.dumps(logged, default=repr, ensure_ascii=False)
    for text in (*kept, await stored(harness), logs):
        assert NAME not in text
        assert NAME.encode("unicode_escape").decode() not in text
