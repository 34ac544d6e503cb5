"""Decisions that are cut from bytes are those that the order stage would have written."""

from typing import Any

import pytest

from izin.runtime.settings import KafkaSettings
from izin.schemas.codec import Codec, UndecodableError
from tests.chaos.sink.decision_source import DecisionSource

BRANDS = (100001, 100002)


class KeptRecords:
    """A producer that keeps what it is given."""

    def __init__(self) -> None:
        self.values: list[bytes] = []

    def produce(self, _topic: str, *, value: bytes, **_of: object) -> None:
        """Keep a record."""
        self.values.append(value)

    def poll(self, _timeout: float) -> int:
        """Do nothing."""
        return 0

    def flush(self, _timeout: float) -> int:
        """Do nothing."""
        return 0


def a_source() -> tuple[DecisionSource, KeptRecords]:
    """Return a source whose records are kept, and those records."""
    source, kept = (
        DecisionSource(settings=KafkaSettings(partitions=4), brands=BRANDS),
        KeptRecords(),
    )
    source.__dict__["_producer"] = kept
    return source, kept


def decoded(kept: KeptRecords) -> list[dict[str, Any]]:
    """Return the kept records, decoded, without their coordinates."""
    found = [Codec().decode("Decision", value) for value in kept.values]
    return [{**one, "offset": 0} for one in found]


def test_opt_ins_cut_from_bytes_equal_encoded_ones() -> None:
    """Brand, partition, key and event; the offset may need more bytes than the template's."""
    source, kept = a_source()
    source.opt_in(range(300))
    other, encoded = a_source()
    other._began = source._began
    other.publish(*((other.key(number), "ONAY") for number in range(300)))
    assert decoded(kept) == decoded(encoded)
    assert max(Codec().decode("Decision", one)["offset"] for one in kept.values) > 63


def test_opt_out_follows_an_opt_in_that_was_cut_from_bytes() -> None:
    """The state of a bulk is its template until then; the delay runs from the opt-out on."""
    source, kept = a_source()
    source.opt_in(range(4))
    key = source.key(3)
    source.publish((key, "RET"))
    source.publish((key, "ONAY"))
    (opt_out,) = source.opt_outs
    event_id = f"{key.rpartition('/')[2]}-2"
    assert (opt_out.key, opt_out.event_id, [*source.replaced]) == (key, event_id, [event_id])
    assert source.published == len(kept.values) == 6
    last = decoded(kept)[-1]
    assert last["consent"]["latest_onay_at"] > last["consent"]["latest_ret_at"]


def test_junk_is_undecodable_or_poisonous() -> None:
    """A key too long for an index can be read, and PostgreSQL refuses it."""
    source, kept = a_source()
    source.publish_junk([b"junk", source.poisonous(1)])
    with pytest.raises(UndecodableError):
        Codec().decode("Decision", kept.values[0])
    assert len(Codec().decode("Decision", kept.values[1])["consent"]["recipient"]) > 10_000
