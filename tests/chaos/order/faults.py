"""The faults of the order campaign, and how often each is injected."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from tests.chaos.input_faults import InputFault
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
    FREEZE_LONG = "frozen beyond its transaction, then a zombie"
    HANG_LANE = "transaction hangs in a lane"
    HANG_ROWS = "transaction hangs in desired-consents"
    SILENT_WORKER = "network of a worker silent"
    SILENT_BROKER = "network of a broker silent"
    CLOCK = "clock moved"
    FLOOD = "junk flood"
    RECORDS = InputFault.RECORDS.value
    HUGE = InputFault.HUGE.value
    BATCHES = InputFault.UNREADABLE.value
    DISK = "disk of a state full"


AT_POINTS = frozenset({OrderFault.KILL_AT_POINT, OrderFault.FREEZE_AT_POINT})

WEIGHTS: Mapping[OrderFault, int] = {
    OrderFault.KILL: 16,
    OrderFault.TERM: 8,
    OrderFault.FREEZE: 8,
    OrderFault.KILL_AT_POINT: 30,
    OrderFault.FREEZE_AT_POINT: 10,
    OrderFault.BROKER_KILL: 1,
    OrderFault.BROKER_FREEZE: 1,
    OrderFault.LEADER_KILL: 5,
    OrderFault.EXPIRE: 1,
    OrderFault.EXPIRE_FROZEN: 1,
    OrderFault.FREEZE_LONG: 4,
    OrderFault.SILENT_WORKER: 8,
}
"""How often each comes up in a long campaign, relative to the others."""

OVERLAPPING: Mapping[OrderFault, int] = {
    OrderFault.HANG_LANE: 4,
    OrderFault.HANG_ROWS: 4,
    OrderFault.SILENT_BROKER: 2,
    OrderFault.CLOCK: 4,
    OrderFault.FLOOD: 3,
    OrderFault.RECORDS: 3,
    OrderFault.HUGE: 1,
    OrderFault.BATCHES: 2,
    OrderFault.DISK: 2,
}
"""The same of those that nobody waits for: they are injected between the others and during them."""


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
