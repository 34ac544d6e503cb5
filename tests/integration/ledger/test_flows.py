"""What the database reads of a decision's bytes is what the codec reads of them."""

import re
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from izin.consent import DecisionKind, Reason, Status, decide
from izin.ledger.db import Ledger, statements
from izin.schemas.codec import Codec
from tests.support.builders import (
    NOON,
    a_decision_record,
    an_admitted_event,
    an_iys_origin,
)

pytestmark = pytest.mark.database
LATER = timedelta(seconds=60)
_PATHS = re.compile(r"'\\x([0-9a-f]+)'::bytea IN m\.decision\) > 0 THEN '(\w+)'")


def records() -> list[dict[str, Any]]:
    """Return decisions on two events of a key, in either order and at one instant."""
    found = []
    steps = (-LATER, timedelta(0), LATER)
    for first, second, step in product(Status, Status, steps):
        before = decide(None, an_admitted_event(event_id="a", status=first, consent_date=NOON))
        at: datetime = NOON + step
        event = an_admitted_event(event_id="b", status=second, consent_date=at)
        found += [before, decide(before.consent, event)]
    return [a_decision_record(one) for one in found if one.kind is not DecisionKind.DUPLICATE]


async def test_opt_out_of_a_decision_is_read_from_its_bytes(ledger: Ledger):
    """Of every kind and reason; the expression never fails, for each row of the history has it."""
    given = records()
    assert {one["opted_out"] for one in given} == {True, False}
    for reason, flag in product(Reason, (True, False)):
        given += [{**given[0], "reason": str(reason), "opted_out": flag}]
    values = [Codec().encode("Decision", one) for one in given]
    values += [b"", b"\xc3\x01", values[0][:20], b"\0" * 16 + b"\xff" * 4]
    rows = await ledger.fetch(
        "SELECT opted_out(d.decision) AS found FROM unnest(%(values)b::bytea[])"
        " WITH ORDINALITY AS d (decision, place) ORDER BY d.place",
        {"values": values},
    )
    expected = [one["kind"] == "Apply" and one["opted_out"] for one in given]
    assert [row["found"] for row in rows[: len(given)]] == expected
    assert [one["opted_out"] for one in given] == expected, "only what applies opts out"
    assert not any(row["found"] for row in rows[len(given) :])


@pytest.mark.parametrize("path", ["push", "pull", "daily"])
@pytest.mark.parametrize("stream", ["IYS", "HS"])
def test_path_of_a_decision_is_read_from_its_bytes(path: str, stream: str):
    """Each is found by the bytes of the statement, and none of the others."""
    origin = an_iys_origin(path=path, stream=stream)
    event = an_admitted_event(status=Status.RET, source="IYS_WEB", origin="iys", iys=origin)
    value = Codec().encode("Decision", a_decision_record(decide(None, event)))
    patterns = _PATHS.findall(statements("flows")["opt-outs"])
    assert len(patterns) == 3
    assert [name for bytes_, name in patterns if bytes.fromhex(bytes_) in value] == [path]
