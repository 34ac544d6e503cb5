"""The generated files are current, and the page of retention forgets no topic."""

import json
from itertools import chain

import pytest

from izin.schemas import contracts
from izin.schemas.topics import Topics
from tools.generate import ROOT, pages


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_generated_file_is_current(name: str) -> None:
    """A file that differs from the code is renewed with: make docs."""
    assert (ROOT / name).read_text(encoding="utf-8") == pages()[name], "run: make docs"


def test_retention_page_has_each_topic_with_recipients() -> None:
    """Also where the field does not say that it is personal data."""
    schemas = {name: json.dumps(one.schema) for name, one in contracts.current().items()}
    naming = {one.name for one in Topics() if '"name": "recipient"' in schemas[one.record]}
    rows = pages()["docs/retention.md"].splitlines()
    cells = chain.from_iterable(row.split("|")[1:2] for row in rows)
    assert naming >= {"consent-events", "gate-receipts"}
    naming -= {Topics().opted_out_merchants.name}  # whose records have digests alone
    assert naming <= {one.strip(" `") for one in cells}
