"""The fixtures of the suite work as documented."""

import psycopg
import pytest


@pytest.mark.database
def test_database_fixture_is_empty_and_utf8(empty_database: str) -> None:
    """The database is empty and UTF-8, whatever the machine's own locale."""
    with psycopg.connect(empty_database) as connection:
        encoding, tables = connection.execute(
            "SELECT getdatabaseencoding(), "
            "(SELECT count(*) FROM pg_tables WHERE schemaname = 'public')"
        ).fetchone() or ("", -1)
    assert (encoding, tables) == ("UTF8", 0)
