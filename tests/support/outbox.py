"""An outbox under test: its tables in a database, its rows, and what came to the topics."""

import psycopg

from izin.consent import ConsentEvent
from izin.producers.outbox.relay import sql
from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec
from tests.support.builders import BRAND, PHONE, usual
from tests.support.order.verdict import committed_records


def create_outbox(url: str, *more: str) -> None:
    """Create the tables, and run `more` of the files of SQL."""
    with psycopg.connect(url) as connection:
        for name in ("table", *more):
            connection.execute(sql(name))


def insert(connection: psycopg.Connection, **columns: object) -> int:
    """Insert an opt-out with these `columns`; return its id."""
    row = usual(
        columns, brand_code=BRAND, type="MESAJ", recipient=PHONE, status="RET", source="HS_WEB"
    )
    names, marks = ", ".join(row), ", ".join(f"%({name})s" for name in row)
    statement = f"INSERT INTO izin_outbox ({names}) VALUES ({marks}) RETURNING id"
    found = connection.execute(statement.encode(), row).fetchone()
    assert found is not None
    return int(found[0])


def rows_in(url: str, table: str = "izin_outbox") -> int:
    """Return how many rows `table` has."""
    with psycopg.connect(url) as connection:
        found = connection.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()
    assert found is not None
    return int(found[0])


def relayed(settings: KafkaSettings) -> list[tuple[str, ConsentEvent]]:
    """Return each event of both lanes with its topic, as often as it was written."""
    codec, topics = Codec(), (settings.topics.express.name, settings.topics.events.name)
    return [
        (topic, codec.decode_event(message.value() or b""))
        for topic in topics
        for message in committed_records(settings, topic)
    ]
