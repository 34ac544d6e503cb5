"""The suite's fixtures give what they promise."""

import psycopg
import pytest
from confluent_kafka.admin import AdminClient, NewTopic


@pytest.mark.broker
def test_a_topic_can_be_made_under_the_prefix(kafka: str, topic_prefix: str) -> None:
    """The broker is real, and takes topics under a test's own prefix."""
    admin = AdminClient({"bootstrap.servers": kafka})
    name = f"{topic_prefix}consents"
    admin.create_topics([NewTopic(name, num_partitions=2)])[name].result(timeout=10)
    assert name in admin.list_topics(timeout=10).topics


@pytest.mark.database
def test_each_test_has_a_database_of_its_own(database_url: str) -> None:
    """The database is empty and UTF-8, whatever the machine's own locale."""
    with psycopg.connect(database_url) as connection:
        encoding, tables = connection.execute(
            "SELECT getdatabaseencoding(), "
            "(SELECT count(*) FROM pg_tables WHERE schemaname = 'public')"
        ).fetchone() or ("", -1)
    assert (encoding, tables) == ("UTF8", 0)
