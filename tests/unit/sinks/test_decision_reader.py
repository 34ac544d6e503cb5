"""A row is changed by a simple decision's bytes as by its values.

A reader of a topic is closed only when the thread of its poll has ended.

The size of the next batch of decisions.

What can be read of a decision that cannot be taken.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import pytest
from hypothesis import given, strategies as st

from izin.consent import Consent, ConsentEvent, RefusedEvent, admit, decide
from izin.ledger.record import QuarantinedRecord
from izin.schemas.codec import Codec
from izin.sinks.ingest.batch import BATCH, FEW, most_after
from izin.sinks.ingest.decision_reader import DecisionApplier, DecisionReader
from izin.sinks.ingest.ingested_topics import TopicReader
from izin.sinks.ingest.isolation import Gleaned, glean, opt_out
from tests.support.builders import (
    CUSTOMER,
    NOON,
    PHONE,
    a_decision_record,
    a_key,
    a_ret,
    an_event,
    an_iys_origin,
)

CODEC = Codec()
READER = DecisionReader(CODEC)
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
VALUE = CODEC.encode("Decision", a_decision_record(decide(None, a_ret())))
STATUS_ENDS = VALUE.index(PHONE.encode()) + len(PHONE) + len(b"\6RET")
APPENDED = datetime(2026, 3, 3, tzinfo=UTC)
RECORD = QuarantinedRecord(
    topic="consent-decisions",
    partition=3,
    offset=7,
    appended_at=APPENDED,
    key=None,
    value=b"",
    headers=(),
    reason="poison",
    error="ValueError",
    source="acme/web",
    is_ret=True,
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
    content = a_decision_record(decide(None, admitted))
    content["event"]["received_at"] = milliseconds
    value = CODEC.encode("Decision", content)
    found = READER.read(value)
    assert (found.fields, found.is_ret) == (None, True)
    assert READER.decode(value)["event"]["received_at"] is None
    row = DecisionApplier(READER).apply(None, found, NOON + timedelta(hours=1))
    assert (row.desired_status, row.desired_at, row.received_at) == ("RET", NOON, None)


def test_fast_apply_decodes_a_template_once() -> None:
    """Only the first decision of a template is decoded, whatever number follows."""
    reader = Mock(wraps=READER)
    fast = DecisionApplier(reader)
    earlier = [
        an_event(event_id=str(n), consent_date=NOON - timedelta(seconds=n)) for n in range(5)
    ]
    values = decisions(earlier, stateful=False)
    entry = None
    for value in values:
        entry = fast.apply(entry, READER.read(value), NOON)
    assert len(values) == len(earlier)
    assert reader.decode.call_count == 1


def test_older_opt_out_with_the_id_of_the_opt_in_is_one():
    """Senders choose the ids, and may give one to both; an opt-out is read ahead of others."""
    opt_in = an_event(event_id="1", consent_date=NOON)
    opt_out = an_event(event_id="1", status="RET", consent_date=NOON - timedelta(seconds=1))
    _, stale = decisions([opt_in, opt_out], stateful=True)
    found = READER.read(stale)
    assert (found.fields is not None, found.is_ret) == (True, True)


@dataclass
class Client:
    """A consumer that is busy until it is let go; what it was asked for, in order."""

    going: threading.Event = field(default_factory=threading.Event)
    polling: threading.Event = field(default_factory=threading.Event)
    calls: list[str] = field(default_factory=list)

    def consume(self, _most: int, _wait: float) -> list[object]:
        """Return nothing, once let go."""
        self.polling.set()
        self.going.wait(10)
        self.calls.append("consumed")
        return []

    def close(self) -> None:
        """Take it."""
        self.calls.append("closed")


async def test_close_waits_for_a_cancelled_poll() -> None:
    """The consumer must not be closed while a thread still polls it."""
    client = Client()
    reader = TopicReader(client, topic="t", topic_id="1", positions={0: 0})  # type: ignore[arg-type]
    poll = asyncio.create_task(reader.poll(10, 5))
    await asyncio.to_thread(client.polling.wait, 10)
    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll
    closing = asyncio.create_task(reader.close())
    await asyncio.sleep(0)
    client.going.set()
    await closing
    assert client.calls == ["consumed", "closed"]


@pytest.mark.parametrize(
    ("stored", "seconds", "most"),
    [
        (FEW, 0.1, BATCH),
        (FEW, 0.5, 2 * FEW),
        (2 * FEW, 1.0, 2 * FEW),
        (BATCH, 4.0, 2 * FEW),
        (BATCH, 60.0, FEW),
        (1, 1.5, FEW),
        (0, 1.5, FEW),
    ],
)
def test_next_batch_is_what_a_second_stores(stored: int, seconds: float, most: int) -> None:
    """It is expected to be like the last one, whatever that one's size."""
    assert most_after(BATCH // 2, stored, seconds) == most


@pytest.mark.parametrize("most", [FEW, BATCH])
def test_few_that_are_stored_quickly_change_no_batch(most: int) -> None:
    """A quiet hour makes batches neither small nor large."""
    assert most_after(most, FEW - 1, 0.9) == most


def gleaned(value: bytes = VALUE) -> Gleaned:
    """Return what is gleaned of the bytes of a decision."""
    return glean(CODEC, value)


@pytest.mark.parametrize("end", range(STATUS_ENDS, len(VALUE)))
def test_glean_of_truncated_bytes_with_their_status_finds_the_opt_out(end: int) -> None:
    """Wherever the bytes end behind it."""
    found = gleaned(VALUE[:end])
    assert (found.status, found.key, found.effective_at) == ("RET", gleaned().key, NOON)


@pytest.mark.parametrize("end", range(STATUS_ENDS))
def test_glean_of_bytes_without_their_status_finds_nothing(end: int) -> None:
    """Half a recipient is another one, and must not be closed."""
    assert glean(CODEC, VALUE[:end]) is None


def test_opt_out_stands_at_the_instant_of_its_record() -> None:
    """It has the key and the instant, and names the place of what it stands for."""
    value = opt_out(CODEC, gleaned(), RECORD)
    found = CODEC.decode("Decision", value)
    assert DecisionReader(CODEC).read(value).key == str(a_key())
    assert (found["effective_at"], found["consent"]["status"]) == (NOON, "RET")
    assert (found["event"]["origin"], found["event"]["origin_ref"]) == (
        "quarantine",
        "consent-decisions/3/7",
    )
    assert found["consent"]["customer_id"] == CUSTOMER


@pytest.mark.parametrize(
    "stated", [None, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)]
)
def test_opt_out_without_a_usable_instant_counts_from_its_append(stated: datetime | None) -> None:
    """It is never later than its append, nor in a year before there were consents."""
    value = opt_out(CODEC, gleaned()._replace(effective_at=stated), RECORD)
    assert CODEC.decode("Decision", value)["effective_at"] == APPENDED


def test_opt_out_of_no_key_is_none() -> None:
    """The law builds no key of such a recipient."""
    key = {**gleaned().key, "recipient": "5" * 4000}
    assert opt_out(CODEC, gleaned()._replace(key=key), RECORD) is None
