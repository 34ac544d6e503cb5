"""The faults of the order campaign, and how often each is injected."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.order.fault_points import FaultPoint


class OrderFault(StrEnum):
    """A fault of workers that own partitions, or of their brokers."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    FREEZE = "frozen, then a zombie"
    KILL_AT_POINT = "killed at a fault point"
    FREEZE_AT_POINT = "frozen at a fault point"
    BROKER_KILL = "broker killed"
    BROKER_FREEZE = "broker frozen"
    LEADER_KILL = "leader killed while catching up"
    EXPIRE = "transactional ids expired"
    EXPIRE_FROZEN = "transactional ids expired under a frozen worker"


AT_POINTS = frozenset({OrderFault.KILL_AT_POINT, OrderFault.FREEZE_AT_POINT})

WEIGHTS: Mapping[OrderFault, int] = {
    OrderFault.KILL: 16,
    OrderFault.TERM: 8,
    OrderFault.FREEZE: 8,
    OrderFault.KILL_AT_POINT: 30,
    OrderFault.FREEZE_AT_POINT: 10,
    OrderFault.BROKER_KILL: 1,
    OrderFault.BROKER_FREEZE: 1,
    OrderFault.LEADER_KILL: 10,
    OrderFault.EXPIRE: 1,
    OrderFault.EXPIRE_FROZEN: 1,
}
"""How often each comes up in a long campaign, relative to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class InjectedFault:
    """A fault that took effect."""

    at: float
    """Seconds since the campaign began."""
    fault: OrderFault
    target_name: str
    point: FaultPoint | None = None

    def __str__(self) -> str:
        where = f" ({self.point})" if self.point else ""
        return f"{self.at:7.1f} s  {self.target_name:<9} {self.fault}{where}"
