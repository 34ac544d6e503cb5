"""The faults of the gate campaign, how often each is injected, and which processes they hit."""

from collections.abc import Mapping
from enum import StrEnum

from tests.chaos.victims import ORDER, SINK


class GateFault(StrEnum):
    """A fault of a process."""

    KILL_GATE = "gate killed"
    FREEZE_GATE = "gate frozen"
    CUT_OFF_GATE = "network of a gate silent"
    KILL_ORDER = "order worker killed"
    FREEZE_ORDER = "order worker frozen"
    KILL_SINK = "sink killed"
    FREEZE_SINK = "sink frozen"


WEIGHTS: Mapping[GateFault, int] = {
    GateFault.KILL_GATE: 20,
    GateFault.FREEZE_GATE: 12,
    GateFault.CUT_OFF_GATE: 12,
    GateFault.KILL_ORDER: 16,
    GateFault.FREEZE_ORDER: 12,
    GateFault.KILL_SINK: 13,
    GateFault.FREEZE_SINK: 9,
}
"""How often each comes up in a long campaign, relative to the others."""
KILLS = frozenset({GateFault.KILL_GATE, GateFault.KILL_ORDER, GateFault.KILL_SINK})
GATE = "gate"
PARTS: Mapping[GateFault, str] = {
    GateFault.KILL_GATE: GATE,
    GateFault.FREEZE_GATE: GATE,
    GateFault.CUT_OFF_GATE: GATE,
    GateFault.KILL_ORDER: ORDER,
    GateFault.FREEZE_ORDER: ORDER,
    GateFault.KILL_SINK: SINK,
    GateFault.FREEZE_SINK: SINK,
}
"""Which processes a fault may hit."""
