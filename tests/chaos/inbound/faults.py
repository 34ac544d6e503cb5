"""The faults of the inbound campaign, and how often each is injected."""

from collections.abc import Mapping
from enum import StrEnum


class InboundFault(StrEnum):
    """A fault of a process, or of İYS's pushes."""

    KILL_SINK = "receiver and puller killed"
    FREEZE_SINK = "receiver and puller frozen"
    KILL_ORDER = "order worker killed"
    LOST = "pushes lost"
    DOUBLED = "pushes doubled"
    OVERTAKEN = "pushes reordered"
    UNANSWERED = "answers to pushes lost"
    PULL = "pulls refused"


WEIGHTS: Mapping[InboundFault, int] = {
    InboundFault.KILL_SINK: 20,
    InboundFault.FREEZE_SINK: 8,
    InboundFault.KILL_ORDER: 8,
    InboundFault.LOST: 12,
    InboundFault.DOUBLED: 12,
    InboundFault.OVERTAKEN: 12,
    InboundFault.UNANSWERED: 12,
    InboundFault.PULL: 8,
}
"""How often each comes up in a long campaign, relative to the others."""
AT_IYS: Mapping[InboundFault, Mapping[str, object]] = {
    InboundFault.LOST: {"operation": "push", "delivery": "lost"},
    InboundFault.DOUBLED: {"operation": "push", "delivery": "doubled"},
    InboundFault.OVERTAKEN: {"operation": "push", "delivery": "overtaken", "slowSeconds": 2},
    InboundFault.UNANSWERED: {"operation": "push", "drop": "after"},
    InboundFault.PULL: {"operation": "changes", "status": 503},
}
"""Those that the simulator injects, into the next calls."""
CALLS = 10
"""How many calls each of them spoils."""
