"""A row is changed by a simple decision's bytes as by its values."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from izin.consent.admission import RefusedEvent, admit
from izin.consent.model import Consent, ConsentEvent
from izin.consent.ordering import decide
from izin.schemas.codec import Codec
from izin.sinks.ingest.decision_reader import DecisionReader
from izin.sinks.ingest.simple_decisions import DecisionApplier
from tests.support.builders import NOON, a_decision_record, an_event, an_iys_origin

CODEC = Codec()
READER = DecisionReader(CODEC)
FAST = DecisionApplier(READER)

_SECONDS = st.integers(-2, 2).map(lambda seconds: NOON + timedelta(seconds=seconds))
_EVENTS = st.builds(
    an_event,
    event_id=st.sampled_from(["1", "2", "3", "4"]),
    status=st.sampled_from(["ONAY", "RET"]),
    source=st.sampled_from(["HS_WEB", "HS_FIZIKSEL_ORTAM"]),
    consent_date=_SECONDS,
    received_at=st.sampled_from([NOON + timedelta(minutes=1), NOON + timedelta(minutes=20)]),
    origin=st.sampled_from(["crm", "web"]),
    origin_ref=st.sampled_from([None, "row-1"]),
    notice_version=st.sampled_from([None, "2026-1"]),
    import_id=st.sampled_from([None, "f00"]),
    retailer_code=st.sampled_from([None, None, None, 11111111]),
    iys=st.sampled_from([None, None, None, an_iys_origin()]),
)


def decisions(events: Sequence[ConsentEvent], *, stateful: bool) -> list[bytes]:
    """Return the decisions on ``events`` of a key; each on its own unless ``stateful``,
    as a ledger that is ahead of its topic reads them.
    """
    values, state = [], None
    for offset, event in enumerate(events):
        admitted = admit(event, appended_at=NOON + timedelta(hours=1))
        if isinstance(admitted, RefusedEvent):
            continue
        known: Consent | None = state if stateful else None
        decision = decide(known, admitted)
        state = decision.consent
        values.append(CODEC.encode("Decision", a_decision_record(decision, offset=offset)))
    return values


@given(
    event=_EVENTS,
    actor=st.sampled_from([None, "shop", "a\0da", "x" * 70]),
    sequence=st.sampled_from([None, 0, 2**40]),
)
def test_origin_of_a_simple_decision_is_that_of_its_values(
    event: ConsentEvent, actor: str | None, sequence: int | None
):
    """Read from its bytes behind what is found there, or decoded."""
    (value,) = decisions([replace(event, actor=actor, sequence=sequence)], stateful=False)
    decoded = READER.decode(value)["event"]
    found = READER.origin_of(READER.read(value))
    assert found == tuple(decoded[name] for name in ("event_id", "actor", "origin"))


@pytest.mark.parametrize("milliseconds", [1 << 62, -(1 << 62), 253_402_300_800_000])
def test_decision_with_a_wild_receipt_is_read_without_it(milliseconds: int):
    """The ledger takes what a record of another writer says, but for what is no instant."""
    admitted = admit(an_event(status="RET"), appended_at=NOON)
    assert not isinstance(admitted, RefusedEvent)
    content = a_decision_record(decide(None, admitted))
    content["event"]["received_at"] = milliseconds
    value = CODEC.encode("Decision", content)
    found = READER.read(value)
    assert (found.fields, found.is_ret) == (None, True)
    assert READER.decode(value)["event"]["received_at"] is None
    row = FAST.apply(None, found, NOON + timedelta(hours=1))
    assert (row.desired_status, row.desired_at, row.received_at) == ("RET", NOON, None)


class CountingReader:
    """Decodes, and counts how often."""

    def __init__(self) -> None:
        self.decoded = 0

    def decode(self, value: bytes) -> dict[str, Any]:
        """Return the Decision that ``value`` frames."""
        self.decoded += 1
        return READER.decode(value)


def test_fast_apply_decodes_a_template_once() -> None:
    """Only the first decision of a template is decoded, whatever number follows."""
    reader = CountingReader()
    fast = DecisionApplier(reader)  # type: ignore[arg-type]
    earlier = [
        an_event(event_id=str(n), consent_date=NOON - timedelta(seconds=n)) for n in range(5)
    ]
    values = decisions(earlier, stateful=False)
    entry = None
    for value in values:
        entry = fast.apply(entry, READER.read(value), NOON)
    assert len(values) == len(earlier)
    assert reader.decoded == 1


def test_older_opt_out_with_the_id_of_the_opt_in_is_one():
    """Senders choose the ids, and may give one to both; an opt-out is read ahead of others."""
    opt_in = an_event(event_id="1", consent_date=NOON)
    opt_out = an_event(event_id="1", status="RET", consent_date=NOON - timedelta(seconds=1))
    _, stale = decisions([opt_in, opt_out], stateful=True)
    found = READER.read(stale)
    assert (found.fields is not None, found.is_ret) == (True, True)
