"""The fixtures of the suite do what they say."""

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic


@pytest.mark.broker
def test_topic_prefix_fixture_takes_topics(kafka: str, topic_prefix: str) -> None:
    """The broker is real, and takes topics under the prefix of a test."""
    admin = AdminClient({"bootstrap.servers": kafka})
    name = f"{topic_prefix}consents"
    admin.create_topics([NewTopic(name, num_partitions=2)])[name].result(timeout=10)
    assert name in admin.list_topics(timeout=10).topics


@pytest.mark.database
def test_database_fixture_is_empty_and_utf8(database_url: str) -> None:
    """The database is empty and UTF-8, whatever the machine's own locale."""
    with psycopg.connect(database_url) as connection:
        encoding, tables = connection.execute(
            "SELECT getdatabaseencoding(), "
            "(SELECT count(*) FROM pg_tables WHERE schemaname = 'public')"
        ).fetchone() or ("", -1)
    assert (encoding, tables) == ("UTF8", 0)
