"""SQL is commented, and migrations are numbered."""

from importlib import resources

import pytest

from izin.sinks.ledger.db.migrate import migrations
from izin.sinks.ledger.db.queries import statements

FILES = [path.name for path in (resources.files("izin.sinks.ledger") / "sql").iterdir()]


@pytest.mark.parametrize("file", sorted(name.removesuffix(".sql") for name in FILES))
def test_every_sql_statement_has_a_comment(file: str):
    """SQL is named and commented, so that it can be read without its caller."""
    for name, text in statements(file).items():
        assert text.startswith("--"), f"{file}.sql: {name} has no comment"


def test_migrations_are_numbered_without_a_gap():
    """They run in the order of their names; what one of them needs outside a transaction has its
    number.
    """
    numbers = [int(one.name.split("_")[0]) for one in migrations()]
    assert numbers == sorted(numbers)
    assert sorted(set(numbers)) == list(range(1, numbers[-1] + 1))
    in_transactions = [one for one in migrations() if not one.is_outside]
    assert len(in_transactions) == numbers[-1]
