"""What can befall a house of order workers, and how often it should."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.order.fault_points import Point


class Fault(StrEnum):
    """Each on workers that own partitions, or on the brokers they depend on."""

    KILL = "kill -9"
    TERM = "SIGTERM"
    FREEZE = "frozen, woke as a zombie"
    DIE = "killed at a fault point"
    SLEEP = "frozen at a fault point"
    BROKER_KILL = "broker killed"
    BROKER_FREEZE = "broker frozen"
    LEADER_KILL = "leader killed while catching up"
    EXPIRE = "transactional ids expired"
    EXPIRE_ASLEEP = "transactional ids expired under a sleeper"


AT_POINTS = frozenset({Fault.DIE, Fault.SLEEP})

WEIGHTS: Mapping[Fault, int] = {
    Fault.KILL: 16,
    Fault.TERM: 8,
    Fault.FREEZE: 8,
    Fault.DIE: 30,
    Fault.SLEEP: 10,
    Fault.BROKER_KILL: 1,
    Fault.BROKER_FREEZE: 1,
    Fault.LEADER_KILL: 10,
    Fault.EXPIRE: 1,
    Fault.EXPIRE_ASLEEP: 1,
}
"""How often each comes up in a long campaign, to the others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Strike:
    """A fault that fell."""

    at: float
    """Seconds since the campaign began."""
    fault: Fault
    whom: str
    point: Point | None = None

    def __str__(self) -> str:
        where = f" ({self.point})" if self.point else ""
        return f"{self.at:7.1f} s  {self.whom:<9} {self.fault}{where}"
