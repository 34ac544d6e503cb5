"""Keys that undecided opt-outs close, and when they are released."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from izin.gate import sources
from izin.gate.sources import Releasing
from izin.gate.undecided import UndecidedOptOuts
from izin.kafka.clients import TopicIdentities
from tests.unit.gate.conftest import TOPICS
from tests.unit.gate.test_key_tables import BULK, EXPRESS

IDENTITIES = TopicIdentities(
    cluster_id="cluster",
    topic_ids={BULK: "bulk", EXPRESS: "express"},
    partitions={BULK: 2, EXPRESS: 2},
)
KEY, OTHER_KEY = b"key", b"other"


@dataclass
class Follower:
    """A follower that says for which instant each partition was read to its end."""

    read_at: dict[int, float] = field(default_factory=dict)

    def complete_at(self, partition: int) -> float:
        """Return that instant."""
        return self.read_at.get(partition, float("-inf"))


class Gate:
    """Marks, what releases them, and a clock."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(sources, "monotonic", lambda: self.now)
        self.undecided = UndecidedOptOuts()
        self.opt_outs = Follower()
        self.lanes = {BULK: Follower(), EXPRESS: Follower()}
        self._releasing = Releasing(self.undecided, TOPICS, IDENTITIES)

    def decide(self, partition: int, *, bulk: int = 0, express: int = 0, **other: object) -> None:
        """Have positions read, a second after whatever was before."""
        self.now += 1
        fields: dict[str, Any] = {
            "cluster_id": "cluster",
            "events_topic_id": "bulk",
            "express_topic_id": "express",
            "events_offset": bulk,
            "express_offset": express,
        }
        self._releasing.put("order-positions", partition, fields | other)

    def read(self, follower: Follower, partition: int) -> None:
        """Have a partition read to an end that was asked for a second after whatever was before."""
        self.now += 1
        follower.read_at[partition] = self.now

    def release(self) -> None:
        """Release what can be released."""
        self._releasing.release(self.opt_outs, self.lanes)  # type: ignore[arg-type]

    def decided(self, lane: str) -> Mapping[int, int]:
        """Return what is decided of a lane."""
        return self._releasing.decided(lane)


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    return Gate(monkeypatch)


def test_key_is_released_once_what_follows_was_read(gate: Gate):
    """Not when it is decided, and not by an end that was asked for before that was seen."""
    gate.undecided.add((EXPRESS, 0), 7, KEY, 0)
    gate.read(gate.opt_outs, 0)
    gate.decide(0, express=8)
    gate.release()
    assert KEY in gate.undecided.digests
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY not in gate.undecided.digests
    assert len(gate.undecided) == 0


def test_what_is_not_decided_stays(gate: Gate):
    """Of the same partition at a later offset, and of the other lane."""
    gate.undecided.add((EXPRESS, 0), 8, KEY, 0)
    gate.undecided.add((BULK, 0), 3, OTHER_KEY, 0)
    gate.decide(0, express=8, bulk=3)
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY in gate.undecided.digests
    assert OTHER_KEY in gate.undecided.digests


def test_many_decisions_do_not_keep_a_key_closed(gate: Gate):
    """Positions that are read all the time: those are waited for that were there before."""
    gate.undecided.add((EXPRESS, 0), 0, KEY, 0)
    for offset in range(1, 5):
        gate.decide(0, express=offset)
        gate.release()
        gate.read(gate.opt_outs, 0)
        gate.decide(0, express=offset)
        gate.release()
    assert KEY not in gate.undecided.digests


def test_opt_out_that_is_read_late_is_released(gate: Gate):
    """The order stage was faster: no other positions come."""
    gate.decide(0, express=8)
    gate.release()
    gate.read(gate.opt_outs, 0)
    gate.release()
    gate.undecided.add((EXPRESS, 0), 7, KEY, 0)
    gate.release()
    assert KEY not in gate.undecided.digests


def test_key_with_two_opt_outs_waits_for_both(gate: Gate):
    """Each has its own mark."""
    gate.undecided.add((EXPRESS, 0), 1, KEY, 0)
    gate.undecided.add((BULK, 0), 1, KEY, 0)
    gate.decide(0, express=2)
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY in gate.undecided.digests
    gate.decide(0, express=2, bulk=2)
    gate.release()
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY not in gate.undecided.digests


def test_stray_opt_out_waits_for_its_own_partition(gate: Gate):
    """It was written again there, and is read there before it is released here."""
    gate.undecided.add((EXPRESS, 0), 1, KEY, 1)
    gate.read(gate.lanes[EXPRESS], 1)
    gate.decide(0, express=2)
    gate.read(gate.opt_outs, 0)
    gate.read(gate.opt_outs, 1)
    gate.read(gate.lanes[EXPRESS], 0)
    gate.read(gate.lanes[BULK], 1)
    gate.release()
    assert KEY in gate.undecided.digests
    gate.undecided.add((EXPRESS, 1), 5, KEY, 1)
    gate.read(gate.lanes[EXPRESS], 1)
    gate.release()
    assert KEY in gate.undecided.digests
    gate.decide(1, express=6)
    gate.read(gate.opt_outs, 1)
    gate.release()
    assert KEY not in gate.undecided.digests


def test_many_decisions_do_not_keep_a_stray_closed(gate: Gate):
    """It waits from when it was first seen to be decided."""
    gate.undecided.add((EXPRESS, 0), 0, KEY, 1)
    gate.decide(0, express=1)
    gate.release()
    gate.read(gate.lanes[EXPRESS], 1)
    gate.decide(0, express=2)
    gate.release()
    assert KEY not in gate.undecided.digests


@pytest.mark.parametrize("other", ["cluster_id", "express_topic_id"])
def test_positions_of_another_topic_say_nothing(other: str, gate: Gate):
    """Neither what is released, nor from where a lane is read."""
    gate.undecided.add((EXPRESS, 0), 1, KEY, 0)
    gate.decide(0, express=100, bulk=50, **{other: "other"})
    gate.read(gate.opt_outs, 0)
    gate.release()
    assert KEY in gate.undecided.digests
    assert gate.decided(EXPRESS) == {}
    gate.decide(0, express=100, bulk=50)
    assert (gate.decided(EXPRESS), gate.decided(BULK)) == ({0: 100}, {0: 50})
