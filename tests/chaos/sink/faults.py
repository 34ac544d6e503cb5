"""The faults of the sink campaign, and how often each is injected."""

from collections.abc import Mapping
from enum import StrEnum

from tests.chaos.input_faults import InputFault


class SinkFault(StrEnum):
    """The faults of the campaign."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    FREEZE = "frozen, then a zombie"
    OWNER = "owner of a lease frozen"
    CLOCK = "clock set ten minutes wrong"
    SILENT_DATABASE = "silent network to PostgreSQL"
    SILENT_IYS = "silent network to İYS"
    DATABASE = "every connection to PostgreSQL lost"
    LOST_AFTER = "reply lost after its effect"
    LOST_BEFORE = "call lost before its effect"
    BUSY = "İYS busy"
    SLOW = "İYS slower than its deadline"
    DOWN = "İYS down"
    JUNK = "flood of junk among the decisions"
    RECORDS = InputFault.RECORDS.value
    HUGE = InputFault.HUGE.value
    UNREADABLE = InputFault.UNREADABLE.value
    OPEN = InputFault.OPEN.value
    LANES = "lanes created again"
    WILD = "decisions with wild clocks"
    HELD_BACK = "transaction left open among the decisions"
    DISK = "disk of the anchors full"


WEIGHTS: Mapping[SinkFault, int] = {
    SinkFault.KILL: 6,
    SinkFault.TERM: 2,
    SinkFault.FREEZE: 4,
    SinkFault.OWNER: 3,
    SinkFault.CLOCK: 4,
    SinkFault.SILENT_DATABASE: 3,
    SinkFault.SILENT_IYS: 3,
    SinkFault.DATABASE: 2,
    SinkFault.LOST_AFTER: 6,
    SinkFault.LOST_BEFORE: 3,
    SinkFault.BUSY: 3,
    SinkFault.SLOW: 2,
    SinkFault.DOWN: 1,
    SinkFault.JUNK: 1,
    SinkFault.RECORDS: 2,
    SinkFault.HUGE: 1,
    SinkFault.UNREADABLE: 1,
    SinkFault.OPEN: 1,
    SinkFault.LANES: 2,
    SinkFault.WILD: 2,
    SinkFault.HELD_BACK: 2,
    SinkFault.DISK: 2,
}
RESTARTS: Mapping[SinkFault, int] = {SinkFault.KILL: 2, SinkFault.TERM: 1}
"""Nothing but processes that end and come back."""
HELD = frozenset(
    {SinkFault.FREEZE, SinkFault.OWNER, SinkFault.SILENT_DATABASE, SinkFault.SILENT_IYS}
)
"""Faults that hold a worker up for a while."""
OF_LANES = frozenset({SinkFault.RECORDS, SinkFault.HUGE, SinkFault.UNREADABLE, SinkFault.OPEN})
"""Faults of what sinks read beside the decisions."""
SURROUNDING = OF_LANES | {
    SinkFault.LANES,
    SinkFault.WILD,
    SinkFault.HELD_BACK,
    SinkFault.DISK,
}
OF_WORKERS = HELD | {SinkFault.KILL, SinkFault.TERM, SinkFault.CLOCK}
CALLS = ("addV2", "batchV2", "resultV2", "status", "statuses")
"""The operations whose calls fail."""


def simulator_rule(fault: SinkFault, *, timeout: float, outage: float) -> Mapping[str, object]:
    """Return the rule of the simulator for a fault of a call; durations in seconds."""
    rules: Mapping[SinkFault, Mapping[str, object]] = {
        SinkFault.LOST_AFTER: {"drop": "after"},
        SinkFault.LOST_BEFORE: {"drop": "before"},
        SinkFault.BUSY: {"status": 400, "code": "H123", "times": 2},
        SinkFault.SLOW: {"slowSeconds": 1.5 * timeout},
        SinkFault.DOWN: {"status": 503, "code": "H192", "lasts": outage},
    }
    return rules[fault]
